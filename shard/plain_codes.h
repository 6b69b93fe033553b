/* shard/plain_codes.h - integer weights that nobody packed: one code per element, row by row.
 *
 *     codes [n][k] I8, U8 or I32   scales, zeros [n][groups] or, for one group, [n]
 *
 * lmdeploy, torchao and others store int8 (and int4) this way under names of their own; a dialect
 * says which tensors they are and what a code means (its row has `plain` and the two functions
 * below). Slices read exactly their rectangle. */
#ifndef SHOAL_SHARD_PLAIN_CODES_H
#define SHOAL_SHARD_PLAIN_CODES_H

#include "shard/dialect.h"

typedef struct shoal_plain_codes {
    const shoal_tensor *codes, *scales;
    const shoal_tensor *zeros; /* NULL: none */
    int16_t shift;             /* canonical code = stored code + shift                         */
    int16_t top;               /* largest canonical code                                       */
    int16_t middle;            /* canonical code that minimums count from                      */
    bool zeros_are_minimums;   /* zeros are floats that are added: w = (q - middle) * s + zero */
} shoal_plain_codes;

/* Check dtypes and shapes, and fill kind, dtype, group, zeros and bits of the weight. `group` is
 * k for one group per row. zero_const is the code of stored 0, or `middle` where zeros are
 * minimums. */
SHOAL_MUST_USE shoal_status shoal_plain_describe(const shoal_module *module, int64_t group,
                                                 shoal_weight *weight);

uint64_t shoal_plain_read_bytes(const shoal_weight *weight, const shoal_rect *rect);

/* SHOAL_ERR_DATA naming tensor, row and what is wrong: a code beyond `top`, a scale that is not
 * finite, a zero point that is no integer or out of range. */
SHOAL_MUST_USE shoal_status shoal_plain_read(const shoal_manifest *manifest,
                                             const shoal_weight *weight, const shoal_rect *rect,
                                             shoal_canonical *out);

#endif

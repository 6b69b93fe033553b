/* shard/quantize.h - dense weights to integers at load: pure functions of one row's group.
 *
 * Symmetric, round half to even. A code depends only on the weights of its own (row, group), so
 * any slice that holds whole groups gives the codes of the whole matrix.
 *
 *     int4   scale = absmax / 7,    code = clamp(rint(w / scale) + 8, 0, 15),    zero 8
 *     int8   scale = absmax / 127,  code = clamp(rint(w / scale) + 128, 0, 255), zero 128
 *
 * A group whose scale is zero (all weights zero, or too small to divide) has the zero code
 * everywhere. */
#ifndef SHOAL_SHARD_QUANTIZE_H
#define SHOAL_SHARD_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"
#include "proto/status.h"

typedef struct {
    shoal_weight_kind kind; /* INT4 or INT8                          */
    int64_t group;          /* > 0; 0: one group for all of K        */
    int16_t zero;           /* 8 or 128                              */
} shoal_quantizer;

/* "int4-g128", "int4-g64", "int4-g32", "int8"; SHOAL_ERR_USAGE for another word. */
SHOAL_MUST_USE shoal_status shoal_quantizer_parse(const char *word, shoal_quantizer *out);

/* Quantize the `count` weights of one group. False, and nothing written, when one of them is NaN
 * or infinite. */
SHOAL_MUST_USE bool shoal_quantize_weight_group(const float *weights, int64_t count,
                                                shoal_weight_kind kind, uint8_t *codes,
                                                float *scale);

#endif

/* shard/reform.h - one canonical form to another, with the loss.
 *
 * Between what a checkpoint holds and what a writer can hold: groups are split (exact), zero points
 * written out or left out (exact), scales rounded to another dtype, zero points turned into
 * minimums w = (u - zero) * s + (zero - z) * s, codes made anew (symmetric, half to even,
 * shard/quantize.h), or everything turned into floats. The loss is measured on the fp32 weights of
 * docs/arithmetic.md rule 1, not guessed from the operation. */
#ifndef SHOAL_SHARD_REFORM_H
#define SHOAL_SHARD_REFORM_H

#include "shard/writer.h"

typedef struct {
    bool lossless;        /* every weight is the same fp32 number */
    double max_abs_error; /* of a weight */
} shoal_loss;

/* `block` covers all of K in groups of `group`; *out and its arrays come from `arena` or are those
 * of `block`. `order` is the block's own (NULL: natural); the result is in natural order unless
 * form->act_order. SHOAL_ERR_DATA when the form has no zeros and the block needs them. */
SHOAL_MUST_USE shoal_status shoal_reform(const shoal_canonical *block, int64_t group,
                                         const int32_t *order, const shoal_form *form,
                                         shoal_arena *arena, shoal_canonical *out,
                                         shoal_loss *loss);

/* The larger loss of two. */
shoal_loss shoal_loss_join(shoal_loss a, shoal_loss b);

#endif

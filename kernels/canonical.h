/* kernels/canonical.h - the one form in which every dialect meets every layout.
 *
 * A canonical block holds columns (outputs) [n] x inputs [k] of one linear's weights:
 *
 *     integer kinds   w[n][k] = (codes[n][k] - zero) * scale (+ min)
 *                     zero, scale, min belong to (n, weight group of k)
 *     float kind      w[n][k] = dense[n][k], an element of `dtype`, widened exactly
 *
 * Super-groups (K-quants): the scale and minimum of a group are those of a longer stretch of inputs
 * times small integers, scale = super_scale * step and min = super_min * min_step, exact in fp32.
 * Both forms are there then; `scales` and `mins` are of dtype F32.
 *
 * `k` counts in the order in which the kernel walks K: for an act-order layer that is the order
 * sorted by group. Groups are those the block's K range touches: group j of the block is absolute
 * group (k_begin / group) + j. Blocks own nothing; whoever allocated the arrays frees them. */
#ifndef SHOAL_KERNELS_CANONICAL_H
#define SHOAL_KERNELS_CANONICAL_H

#include <stdint.h>

#include "proto/dtype.h"

typedef enum { SHOAL_WEIGHT_INT4, SHOAL_WEIGHT_INT8, SHOAL_WEIGHT_FLOAT } shoal_weight_kind;

typedef struct {
    shoal_weight_kind kind;
    int64_t n, k;       /* columns and inputs of this block                              */
    int64_t groups;     /* weight groups the block touches; 0 for the float kind         */
    uint8_t *codes;     /* [n][k] unsigned codes, 0..15 or 0..255; NULL for floats       */
    int16_t *zeros;     /* [n][groups], or NULL: then zero_const for all                 */
    int16_t zero_const; /* 8 or 128 for symmetric weights                                */
    float *scales;      /* [n][groups]                                                   */
    float *mins;        /* [n][groups] or NULL                                           */
    shoal_dtype dtype;  /* float kind: F32, F16, BF16. Integer kinds: the scales' dtype  */
    void *dense;        /* [n][k] elements of dtype; NULL for integers                   */
    int64_t supers;     /* super-groups the block touches; 0: there are none             */
    float *super_scales, *super_mins; /* [n][supers]; super_mins where mins are          */
    int8_t *steps, *min_steps;        /* [n][groups]                                     */
} shoal_canonical;

#endif

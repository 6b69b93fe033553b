/* shard/compare.h - where two stored models differ, in the canonical form and in natural order of
 * inputs: whatever dialect, group size or code width holds them.
 *
 * Of integer weights every element has an integer u - z, a scale and a minimum (0 where there is
 * none); all of them equal is what a lossless conversion promises. Where one side is float only the
 * fp32 values are compared. */
#ifndef SHOAL_SHARD_COMPARE_H
#define SHOAL_SHARD_COMPARE_H

#include "shard/manifest.h"

typedef struct {
    bool presence;        /* only one side has the weight, or a bias, or their shapes differ */
    bool integers;        /* both sides have integers: the three below count                 */
    uint64_t codes;       /* elements whose u - z differ                                     */
    uint64_t scales;      /*                 scales differ                                   */
    uint64_t minimums;    /*                                                                 */
    uint64_t values;      /* elements whose fp32 value differs, bias included                */
    uint64_t count;       /* elements                                                        */
    double max_abs_error; /* of a value                                                      */
} shoal_difference;

static inline bool shoal_differs(const shoal_difference *d)
{
    return d->presence || d->codes || d->scales || d->minimums || d->values;
}

/* A weight of two models: linear, embedding or vector, with its bias. */
SHOAL_MUST_USE shoal_status shoal_weight_compare(const shoal_manifest *first, const shoal_weight *a,
                                                 const shoal_manifest *second,
                                                 const shoal_weight *b, shoal_difference *out);

#endif

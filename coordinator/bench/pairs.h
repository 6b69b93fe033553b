/* coordinator/bench/pairs.h - a kernel beside its limit, when neither rate stands still.
 *
 * Limit and kernel are measured in turn, limit first and last: each value stands between two
 * limits, and its own limit is their mean. What a slow moment of the machine takes from one it
 * takes from the other, so the median of the ratios says more than the ratio of the medians. */
#ifndef SHOAL_COORDINATOR_BENCH_PAIRS_H
#define SHOAL_COORDINATOR_BENCH_PAIRS_H

#include "coordinator/bench/samples.h"

typedef struct {
    shoal_bench_samples values, limits; /* limits: one more than values */
} shoal_bench_pairs;

typedef struct {
    double value, limit; /* medians                               */
    double fraction;     /* median over the pairs of value / limit */
    double spread;       /* of the values: (p90 - p10) / median   */
} shoal_bench_pair_summary;

/* SHOAL_ERR_INTERNAL unless there are values and one limit more. */
SHOAL_MUST_USE shoal_status shoal_bench_pairs_summary(const shoal_bench_pairs *pairs,
                                                      shoal_bench_pair_summary *out);
void shoal_bench_pairs_free(shoal_bench_pairs *pairs);

#endif

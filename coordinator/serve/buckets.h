/* coordinator/serve/buckets.h - how many values were at most so large: a Prometheus histogram.
 *
 * A value belongs to the first bound that is not below it, or to the last, unbounded bucket. Plain
 * data that may be copied; it has no lock. */
#ifndef SHOAL_COORDINATOR_SERVE_BUCKETS_H
#define SHOAL_COORDINATOR_SERVE_BUCKETS_H

#include <stdint.h>

#include "coordinator/serve/exposition.h"

#define SHOAL_BUCKETS_MAX 28

typedef struct {
    int count;
    double at[SHOAL_BUCKETS_MAX]; /* rising */
} shoal_bounds;

typedef struct {
    const shoal_bounds *bounds;             /* constant, not owned */
    uint64_t counts[SHOAL_BUCKETS_MAX + 1]; /* of each bucket alone, not summed up */
    double sum;
} shoal_buckets;

/* What is no number, or below 0, counts as 0: a sum that is spoilt once is spoilt for ever. */
void shoal_buckets_add(shoal_buckets *buckets, double value);

/* Samples _bucket{le}, _sum and _count of the family announced last, with one further label or none
 * (NULL). */
void shoal_buckets_write(const shoal_buckets *buckets, const shoal_label *label,
                         shoal_exposition *x);

#endif

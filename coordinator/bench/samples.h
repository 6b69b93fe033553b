/* coordinator/bench/samples.h - measured numbers, and what can be said about all of them.
 *
 * Units are the caller's. A quantile is the linear interpolation between the two nearest of the
 * sorted samples: 0 is the smallest, 1 the largest, 0.5 the median (what numpy calls "linear").
 * All zero is a valid empty collection. */
#ifndef SHOAL_COORDINATOR_BENCH_SAMPLES_H
#define SHOAL_COORDINATOR_BENCH_SAMPLES_H

#include <stddef.h>

#include "proto/status.h"

/* More than any run of half a minute brings. */
#define SHOAL_BENCH_SAMPLES_MAX (1u << 24)

typedef struct {
    double *data;
    size_t count, capacity;
} shoal_bench_samples;

/* SHOAL_ERR_TEMPORARY when there is no memory or the collection is full. */
SHOAL_MUST_USE shoal_status shoal_bench_samples_add(shoal_bench_samples *samples, double value);

/* Ascending, as shoal_bench_samples_quantile wants them. */
void shoal_bench_samples_sort(shoal_bench_samples *samples);

/* Of sorted samples, 0 <= q <= 1; NAN when there are none. */
double shoal_bench_samples_quantile(const shoal_bench_samples *samples, double q);

void shoal_bench_samples_free(shoal_bench_samples *samples);

#endif

#include "coordinator/bench/samples.h"

#include <math.h>
#include <stdlib.h>

#include "proto/arena.h"

#define FIRST 256u

shoal_status shoal_bench_samples_add(shoal_bench_samples *samples, double value)
{
    if (samples->count == samples->capacity) {
        const size_t capacity = samples->capacity ? 2 * samples->capacity : FIRST;
        void *block = samples->data;
        if (samples->count >= SHOAL_BENCH_SAMPLES_MAX)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "more than %u samples of one kind",
                              SHOAL_BENCH_SAMPLES_MAX);
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, capacity, sizeof *samples->data, &block));
        samples->data = block;
        samples->capacity = capacity;
    }
    samples->data[samples->count++] = value;
    return SHOAL_OK;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void shoal_bench_samples_sort(shoal_bench_samples *samples)
{
    if (samples->count)
        qsort(samples->data, samples->count, sizeof *samples->data, compare);
}

double shoal_bench_samples_quantile(const shoal_bench_samples *samples, double q)
{
    if (samples->count == 0)
        return NAN;
    const double place = q * (double)(samples->count - 1);
    const size_t below = (size_t)place;
    const size_t above = below + 1 < samples->count ? below + 1 : below;
    const double part = place - (double)below;
    return samples->data[below] + part * (samples->data[above] - samples->data[below]);
}

void shoal_bench_samples_free(shoal_bench_samples *samples)
{
    shoal_free(samples->data);
    *samples = (shoal_bench_samples){0};
}

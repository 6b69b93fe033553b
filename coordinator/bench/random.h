/* coordinator/bench/random.h - repeatable random numbers for prompts and arrivals (splitmix64).
 *
 * The state is any number; the same state gives the same sequence everywhere. Not for secrets. */
#ifndef SHOAL_COORDINATOR_BENCH_RANDOM_H
#define SHOAL_COORDINATOR_BENCH_RANDOM_H

#include <math.h>
#include <stdint.h>

static inline uint64_t shoal_bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. count-1, count > 0 and small against 2^32, so that the bias does not show. */
static inline uint32_t shoal_bench_random_below(uint64_t *state, uint32_t count)
{
    return (uint32_t)(((shoal_bench_random(state) >> 32) * count) >> 32);
}

/* The wait until the next of independent events that come `rate` times a second on average. */
static inline double shoal_bench_random_wait(uint64_t *state, double rate)
{
    const double unit = (double)(shoal_bench_random(state) >> 11) * 0x1p-53; /* [0, 1) */
    return -log1p(-unit) / rate;
}

#endif

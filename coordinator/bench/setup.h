/* coordinator/bench/setup.h - in how many ways one machine's cores make ranks and threads. Pure. */
#ifndef SHOAL_COORDINATOR_BENCH_SETUP_H
#define SHOAL_COORDINATOR_BENCH_SETUP_H

#include <stdbool.h>

typedef struct {
    int ranks, threads; /* threads of each rank */
} shoal_bench_setup;

#define SHOAL_BENCH_SETUPS_MAX 8

/* The setups to measure on `cores` cores, into out[SHOAL_BENCH_SETUPS_MAX]; returns how many.
 * `ranks` 0: one thread alone, then all cores shared by each of counts[0, count) ranks, at least a
 * thread each; else that number only. `threads` 0: as said; else that number in every one. None
 * comes twice. */
int shoal_bench_setups(int cores, int ranks, int threads, const int *counts, int count,
                       shoal_bench_setup *out);

/* Threads that can run at once. */
int shoal_bench_setup_width(const shoal_bench_setup *setup, int cores);

#endif

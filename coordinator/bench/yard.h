/* coordinator/bench/yard.h - the machine's own rates, with some number of threads, right now.
 *
 * A yard is a pool of threads and what kernels/yardstick.h gives them to do. A measurement takes
 * milliseconds, so that it can stand beside one of a kernel; shared machines swing by more than a
 * factor of two within a second. Rates are of all threads together. */
#ifndef SHOAL_COORDINATOR_BENCH_YARD_H
#define SHOAL_COORDINATOR_BENCH_YARD_H

#include <stdint.h>

#include "kernels/threads.h"
#include "kernels/yardstick.h"

typedef struct {
    shoal_pool *pool;
    int threads;
    shoal_cpu_level cap;
    const shoal_reader *reader; /* the fastest of this machine with so many threads */
} shoal_bench_yard;

/* `memory`: of several hundred MiB, on which readers are tried; the level of the reader is not
 * capped: memory is as fast for all. */
SHOAL_MUST_USE shoal_status shoal_bench_yard_open(int threads, shoal_cpu_level cap,
                                                  const void *memory, uint64_t bytes,
                                                  shoal_bench_yard *out);
void shoal_bench_yard_close(shoal_bench_yard *yard);

/* Billions of operations per second of a peak over `seconds`. */
double shoal_bench_yard_peak(const shoal_bench_yard *yard, const shoal_peak *peak, double seconds);

/* Billions of bytes per second of reading `bytes` once, each thread its share. */
double shoal_bench_yard_read(const shoal_bench_yard *yard, const void *memory, uint64_t bytes);

/* Billions of bytes per second copied (read and written counted once). */
double shoal_bench_yard_copy(const shoal_bench_yard *yard, void *to, const void *from,
                             uint64_t bytes);

#endif

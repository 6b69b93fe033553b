/* coordinator/bench/loading_bench.h - how near a load comes to reading the files and no more.
 *
 * For every setup of R ranks and T threads the model M is loaded three times:
 *
 *     load.M.rRtT          GB/s of the bytes that all ranks read, from the opening to the readiness
 *                          limit: the same files from the first byte to the last into a buffer
 *                          that stays in cache, with as many threads
 *     load.M.rRtT.kept     the same beside reading into fresh memory of that size, whose pages the
 *                          system has to clear as it has for weights
 *     load.M.rRtT.seconds  of the load, the median
 *     load.M.rRtT.bytes    that the rank read which reads most, in 10^6; limit: what the plan says
 *
 * Files lie in the page cache: the yardstick reads them first. */
#ifndef SHOAL_COORDINATOR_BENCH_LOADING_BENCH_H
#define SHOAL_COORDINATOR_BENCH_LOADING_BENCH_H

#include "coordinator/bench/stand.h"

/* Adds to `rows`, and the median of memcpy to `yardsticks`. */
SHOAL_MUST_USE shoal_status shoal_bench_loading_run(const shoal_bench_stand_plan *plan,
                                                    const char *label,
                                                    const shoal_bench_setup *setups, int count,
                                                    shoal_bench_rows *rows,
                                                    shoal_bench_rows *yardsticks);

#endif

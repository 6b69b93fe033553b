/* coordinator/bench/kernels_bench.h - `shoal bench kernels`: kernels beside what limits them.
 *
 * A kernel is checked against the reference (memcmp) before it is timed. Then it and its yardstick
 * take turns of some milliseconds (coordinator/bench/pairs.h), at least 7 times. The limits:
 *
 *   gemv, float, attn.decode   reading the same bytes with the same threads, GB/s
 *   gemm, linear, attn.prefill the best instruction of this machine under the cap, GOPS
 *   batch                      GB/s at 1.1 x the longer of: the time of one row; the time of the
 *                              arithmetic at the best instruction's peak. A fraction of 1 says that
 *                              M rows cost no more than that
 *
 * A linear row is what other libraries call a linear: f32 inputs, quantized in each call, weights
 * from memory. */
#ifndef SHOAL_COORDINATOR_BENCH_KERNELS_BENCH_H
#define SHOAL_COORDINATOR_BENCH_KERNELS_BENCH_H

#include "coordinator/bench/rows.h"
#include "kernels/cpu.h"

/* Fill both reports: `pattern` as shoal_bench_kernel_select has it, `threads_max` >= 1. Progress
 * goes to stderr. SHOAL_ERR_INTERNAL naming the row whose bits are not the reference's. */
SHOAL_MUST_USE shoal_status shoal_bench_kernels_run(const char *pattern, int threads_max,
                                                    shoal_cpu_level cap,
                                                    shoal_bench_rows *yardsticks,
                                                    shoal_bench_rows *rows);

#endif

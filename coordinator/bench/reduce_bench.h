/* coordinator/bench/reduce_bench.h - the exchange of a decode step beside MPI_Allreduce.
 *
 * Every rank fills its slot with n unit sums and the count of bad units, as the o or down linear
 * does; measured is what follows: the reduce, and joining the parts to n fp32 values. The yardstick
 * is MPI_Allreduce of n fp32. Both start behind a barrier; the time of one exchange is that of its
 * slowest rank. Blocks of exchanges of either kind take turns. For every n of N ranks:
 *
 *     reduce.n.rN          us, median; fraction: the median over blocks of median / MPI's median
 *     reduce.n.rN.mean .p99 .max
 *
 * The limit is the same statistic of MPI's, so a fraction below 1 is faster than MPI. */
#ifndef SHOAL_COORDINATOR_BENCH_REDUCE_BENCH_H
#define SHOAL_COORDINATOR_BENCH_REDUCE_BENCH_H

#include "coordinator/bench/rows.h"
#include "kernels/cpu.h"
#include "worker/comm.h"

/* Collective; slots must not be open yet. Rank 0 gets the rows. SHOAL_ERR_INTERNAL when a sum is
 * wrong. */
SHOAL_MUST_USE shoal_status shoal_bench_reduce_run(shoal_comm *comm, shoal_cpu_level cap,
                                                   shoal_bench_rows *rows,
                                                   shoal_bench_rows *yardsticks);

#endif

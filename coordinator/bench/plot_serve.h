/* coordinator/bench/plot_serve.h - a picture of `bench serve`: latencies over the number of
 * streams.
 *
 * Writes serve.dat and serve.gp into a folder (made if need be); gnuplot makes serve.png of them.
 */
#ifndef SHOAL_COORDINATOR_BENCH_PLOT_SERVE_H
#define SHOAL_COORDINATOR_BENCH_PLOT_SERVE_H

#include "coordinator/bench/rows.h"
#include "coordinator/bench/serve_bench.h"

/* SHOAL_ERR_CREATE when the folder or a file cannot be made, SHOAL_ERR_IO when gnuplot fails. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_serve(const char *folder,
                                                   const shoal_bench_streams *streams,
                                                   const shoal_bench_rows *rows);

#endif

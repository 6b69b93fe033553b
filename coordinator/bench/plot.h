/* coordinator/bench/plot.h - a picture of a bench: latencies over the number of streams.
 *
 * Writes serve.dat and serve.gp into a folder (made if need be) and lets gnuplot turn them into
 * serve.png. Without gnuplot the two files stay, and stderr says that the picture was skipped. */
#ifndef SHOAL_COORDINATOR_BENCH_PLOT_H
#define SHOAL_COORDINATOR_BENCH_PLOT_H

#include "coordinator/bench/rows.h"
#include "coordinator/bench/serve_bench.h"

/* SHOAL_ERR_CREATE when the folder or a file cannot be made, SHOAL_ERR_IO when gnuplot fails. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_serve(const char *folder,
                                                   const shoal_bench_streams *streams,
                                                   const shoal_bench_rows *rows);

#endif

/* coordinator/bench/plot_kernels.h - pictures of `bench kernels`.
 *
 * kernels.png: how much of its limit each row reaches; roofline.png: operations per second of int4
 * weights over the number of input rows, below what memory and the best instruction allow. Data and
 * scripts (*.dat, *.gp) stay in the folder. */
#ifndef SHOAL_COORDINATOR_BENCH_PLOT_KERNELS_H
#define SHOAL_COORDINATOR_BENCH_PLOT_KERNELS_H

#include "coordinator/bench/rows.h"

/* SHOAL_ERR_CREATE when the folder or a file cannot be made, SHOAL_ERR_IO when gnuplot fails. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_kernels(const char *folder,
                                                     const shoal_bench_rows *rows);

#endif

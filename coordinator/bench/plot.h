/* coordinator/bench/plot.h - a folder with data, a gnuplot script, and the pictures it makes.
 *
 * Without gnuplot the data and the script stay, and stderr says that the picture was skipped. */
#ifndef SHOAL_COORDINATOR_BENCH_PLOT_H
#define SHOAL_COORDINATOR_BENCH_PLOT_H

#include <stdbool.h>
#include <stdio.h>

#include "proto/status.h"

/* Make the folder if need be; SHOAL_ERR_CREATE. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_folder(const char *folder);

/* A new file in it; SHOAL_ERR_CREATE. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_open(const char *folder, const char *name, FILE **out);

/* `written`: all that was written before went well; else, or when this fails, SHOAL_ERR_IO. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_close(FILE *file, bool written);

/* Write a script and let gnuplot run it in the folder; SHOAL_ERR_IO when it fails. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_draw(const char *folder, const char *name,
                                                  const char *script);

#endif

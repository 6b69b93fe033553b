/* coordinator/bench/plot_bars.h - a picture of any report: a bar for every row. */
#ifndef SHOAL_COORDINATOR_BENCH_PLOT_BARS_H
#define SHOAL_COORDINATOR_BENCH_PLOT_BARS_H

#include "coordinator/bench/rows.h"

typedef enum {
    SHOAL_BENCH_BARS_FRACTION, /* of the limit, for rows that have one */
    SHOAL_BENCH_BARS_MS        /* values of rows in ms                 */
} shoal_bench_bars;

/* NAME.dat, NAME.gp, NAME.png in the folder, which is made if need be; all rows are in the data. */
SHOAL_MUST_USE shoal_status shoal_bench_plot_bars(const char *folder, const char *name,
                                                  shoal_bench_bars what,
                                                  const shoal_bench_rows *rows);

#endif

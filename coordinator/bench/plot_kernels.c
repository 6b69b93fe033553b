#include "coordinator/bench/plot_kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/kernel_rows.h"
#include "coordinator/bench/plot.h"
#include "coordinator/bench/plot_bars.h"

/* GOPS of int4 g128: 2 operations a weight and row, 0.5 + 2 / 128 bytes a weight. */
#define BYTES_PER_WEIGHT (0.5 + 2.0 / 128)
#define WIDEST           512

static const char roofline[] =
    "set terminal pngcairo size 900,600\n"
    "set output 'roofline.png'\n"
    "set title 'int4 g128, K = N = 4096: operations per second over input rows'\n"
    "set datafile missing '?'\n"
    "set key bottom right\n"
    "set grid\n"
    "set logscale xy\n"
    "set xlabel 'input rows'\n"
    "set ylabel 'GOPS'\n"
    "plot 'roofline.dat' using 1:2 with linespoints lw 2 title '1 thread', \\\n"
    "     '' using 1:3 with lines dt 2 title 'limit of memory and arithmetic, 1 thread', \\\n"
    "     '' using 1:4 with linespoints lw 2 title '2 threads', \\\n"
    "     '' using 1:5 with lines dt 2 title 'limit of memory and arithmetic, 2 threads'\n";

/* Value or limit of a row; NAN when it was not measured. */
static double number_of(const shoal_bench_rows *rows, const char *name, bool limit)
{
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->data[i].name, name) == 0)
            return limit ? rows->data[i].limit : rows->data[i].value;
    return NAN;
}

/* Batches are reported in GB/s of weights, the widest in GOPS. */
static void point(const shoal_bench_rows *rows, int inputs, int threads, double *rate,
                  double *limit)
{
    char one[SHOAL_BENCH_NAME_MAX], batch[SHOAL_BENCH_NAME_MAX], wide[SHOAL_BENCH_NAME_MAX];
    const double per_byte = 2 * inputs / BYTES_PER_WEIGHT;
    (void)snprintf(one, sizeof one, "batch.int4-g128.m1.dram.t%d", threads);
    (void)snprintf(batch, sizeof batch, "batch.int4-g128.m%d.dram.t%d", inputs, threads);
    (void)snprintf(wide, sizeof wide, "gemm.int4-g128.4096x4096.m512.t%d", threads);
    *rate =
        inputs == WIDEST ? number_of(rows, wide, false) : per_byte * number_of(rows, batch, false);
    *limit = fmin(per_byte * number_of(rows, one, true), number_of(rows, wide, true));
}

static bool write_number(FILE *file, double x)
{
    return (isfinite(x) ? fprintf(file, " %.4g", x) : fputs(" ?", file)) >= 0;
}

static shoal_status write_roofline(const char *folder, const shoal_bench_rows *rows)
{
    /* Those between are there for the limit, which has a knee. */
    static const int inputs[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, WIDEST};
    FILE *file;
    SHOAL_TRY(shoal_bench_plot_open(folder, "roofline.dat", &file));
    bool fine = fputs("# inputs rate.t1 limit.t1 rate.t2 limit.t2\n", file) >= 0;
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        fine = fprintf(file, "%d", inputs[i]) > 0 && fine;
        for (int t = 1; t <= SHOAL_BENCH_THREADS_MAX; t++) {
            double value, limit;
            point(rows, inputs[i], t, &value, &limit);
            fine = write_number(file, value) && write_number(file, limit) && fine;
        }
        fine = fputs("\n", file) >= 0 && fine;
    }
    return shoal_bench_plot_close(file, fine);
}

shoal_status shoal_bench_plot_kernels(const char *folder, const shoal_bench_rows *rows)
{
    SHOAL_TRY(shoal_bench_plot_bars(folder, "kernels", SHOAL_BENCH_BARS_FRACTION, rows));
    SHOAL_TRY(write_roofline(folder, rows));
    if (!isfinite(number_of(rows, "batch.int4-g128.m1.dram.t1", false))) {
        (void)fputs("skipped: no roofline.png without the batch rows\n", stderr);
        return SHOAL_OK;
    }
    return shoal_bench_plot_draw(folder, "roofline.gp", roofline);
}

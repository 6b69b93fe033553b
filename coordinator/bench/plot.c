#include "coordinator/bench/plot.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define GNUPLOT_SECONDS 30.0

static const char *const columns[] = {"ttft.p50", "ttft.p90", "ttft.p99",
                                      "itl.p50",  "itl.p90",  "itl.p99"};

static const char script[] =
    "set terminal pngcairo size 900,600\n"
    "set output 'serve.png'\n"
    "set datafile missing '?'\n"
    "set key top left\n"
    "set grid\n"
    "set logscale xy\n"
    "set xlabel 'streams'\n"
    "set ylabel 'milliseconds'\n"
    "set title 'shoal bench serve, closed loop'\n"
    "plot 'serve.dat' using 1:2 with linespoints title 'first token, p50', \\\n"
    "     '' using 1:3 with linespoints title 'first token, p90', \\\n"
    "     '' using 1:4 with linespoints title 'first token, p99', \\\n"
    "     '' using 1:5 with linespoints title 'next token, p50', \\\n"
    "     '' using 1:6 with linespoints title 'next token, p90', \\\n"
    "     '' using 1:7 with linespoints title 'next token, p99'\n";

static shoal_status open_file(const char *folder, const char *name, FILE **out)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return shoal_fail(SHOAL_ERR_USAGE, "--plot: the path is too long");
    *out = fopen(path, "we");
    if (!*out)
        return shoal_fail(SHOAL_ERR_CREATE, "--plot: %s: %s", path, strerror(errno));
    return SHOAL_OK;
}

/* `written`: all that was written before went well. */
static shoal_status close_file(FILE *file, bool written)
{
    if (fclose(file) != 0 || !written)
        return shoal_fail(SHOAL_ERR_IO, "--plot: writing failed: %s", strerror(errno));
    return SHOAL_OK;
}

static shoal_status write_data(const char *folder, const shoal_bench_streams *streams,
                               const shoal_bench_rows *rows)
{
    FILE *file;
    SHOAL_TRY(open_file(folder, "serve.dat", &file));
    bool fine = fputs("# streams", file) >= 0;
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        fine = fprintf(file, " %s", columns[c]) > 0 && fine;
    for (int i = 0; i < streams->count; i++) {
        fine = fprintf(file, "\n%d", streams->counts[i]) > 0 && fine;
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
            char name[64];
            (void)snprintf(name, sizeof name, "serve.closed.s%d.%s", streams->counts[i],
                           columns[c]);
            const double value = shoal_bench_rows_value(rows, name);
            fine =
                (isfinite(value) ? fprintf(file, " %.4f", value) : fputs(" ?", file)) >= 0 && fine;
        }
    }
    fine = fputs("\n", file) >= 0 && fine;
    return close_file(file, fine);
}

static shoal_status write_script(const char *folder)
{
    FILE *file;
    SHOAL_TRY(open_file(folder, "serve.gp", &file));
    return close_file(file, fputs(script, file) >= 0);
}

shoal_status shoal_bench_plot_serve(const char *folder, const shoal_bench_streams *streams,
                                    const shoal_bench_rows *rows)
{
    static const char *const words[] = {"gnuplot", "serve.gp", NULL};
    shoal_bench_child gnuplot;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return shoal_fail(SHOAL_ERR_CREATE, "--plot: %s: %s", folder, strerror(errno));
    SHOAL_TRY(write_data(folder, streams, rows));
    SHOAL_TRY(write_script(folder));
    if (shoal_bench_child_start(words, folder, &gnuplot) != SHOAL_OK) {
        (void)fprintf(stderr, "skipped: no picture, only serve.dat and serve.gp: %s\n",
                      shoal_error_text());
        return SHOAL_OK;
    }
    if (!shoal_bench_child_stop(&gnuplot, GNUPLOT_SECONDS))
        return shoal_fail(SHOAL_ERR_IO, "gnuplot could not draw %s/serve.gp", folder);
    return SHOAL_OK;
}

#include "coordinator/bench/plot_serve.h"

#include <math.h>
#include <stdio.h>

#include "coordinator/bench/plot.h"

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

static shoal_status write_data(const char *folder, const shoal_bench_streams *streams,
                               const shoal_bench_rows *rows)
{
    FILE *file;
    SHOAL_TRY(shoal_bench_plot_open(folder, "serve.dat", &file));
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
    return shoal_bench_plot_close(file, fine);
}

shoal_status shoal_bench_plot_serve(const char *folder, const shoal_bench_streams *streams,
                                    const shoal_bench_rows *rows)
{
    SHOAL_TRY(shoal_bench_plot_folder(folder));
    SHOAL_TRY(write_data(folder, streams, rows));
    return shoal_bench_plot_draw(folder, "serve.gp", script);
}

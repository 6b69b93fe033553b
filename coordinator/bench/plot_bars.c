#include "coordinator/bench/plot_bars.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/plot.h"

#define SCRIPT_ROOM 1024

/* A bar and its name need so many pixels, the frame as many. */
#define ROW_PIXELS   17
#define FRAME_PIXELS 90

/* The second column is the bar: a number, or ? for none. */
static double bar_of(const shoal_bench_row *row, shoal_bench_bars what)
{
    if (what == SHOAL_BENCH_BARS_FRACTION)
        return row->fraction;
    return strcmp(row->unit, "ms") == 0 ? row->value : NAN;
}

static bool write_number(FILE *file, double x)
{
    return (isfinite(x) ? fprintf(file, " %.6g", x) : fputs(" ?", file)) >= 0;
}

static shoal_status write_data(const char *folder, const char *name, shoal_bench_bars what,
                               const shoal_bench_rows *rows)
{
    FILE *file;
    SHOAL_TRY(shoal_bench_plot_open(folder, name, &file));
    bool fine = fputs("# name bar value limit unit\n", file) >= 0;
    for (int pass = 0; pass < 2; pass++) /* rows without a bar come last, as a comment */
        for (size_t i = 0; i < rows->count; i++) {
            const shoal_bench_row *row = &rows->data[i];
            const double bar = bar_of(row, what);
            if (isfinite(bar) != (pass == 0))
                continue;
            fine = fprintf(file, "%s%s", pass ? "# " : "", row->name) > 0 && fine;
            fine = write_number(file, bar) && write_number(file, row->value) &&
                   write_number(file, row->limit) && fprintf(file, " %s\n", row->unit) > 0 && fine;
        }
    return shoal_bench_plot_close(file, fine);
}

shoal_status shoal_bench_plot_bars(const char *folder, const char *name, shoal_bench_bars what,
                                   const shoal_bench_rows *rows)
{
    char file[64], script[SCRIPT_ROOM];
    SHOAL_TRY(shoal_bench_plot_folder(folder));
    (void)snprintf(file, sizeof file, "%s.dat", name);
    SHOAL_TRY(write_data(folder, file, what, rows));
    (void)snprintf(script, sizeof script,
                   "set terminal pngcairo size 1000,%zu\n"
                   "set output '%s.png'\n"
                   "set title 'shoal bench %s: %s'\n"
                   "set style fill solid 0.8\n"
                   "set yrange [:] reverse\n"
                   "set xrange [0:*]\n"
                   "set grid x\n"
                   "%s"
                   "unset key\n"
                   "plot '%s.dat' using (0.5 * $2):0:(0.5 * $2):(0.4):ytic(1) with boxxyerror\n",
                   FRAME_PIXELS + ROW_PIXELS * rows->count, name, name,
                   what == SHOAL_BENCH_BARS_FRACTION ? "part of the limit that is reached"
                                                     : "milliseconds of a step",
                   what == SHOAL_BENCH_BARS_FRACTION
                       ? "set arrow from first 1, graph 0 to first 1, graph 1 nohead lw 2\n"
                       : "",
                   name);
    (void)snprintf(file, sizeof file, "%s.gp", name);
    return shoal_bench_plot_draw(folder, file, script);
}

#include "coordinator/bench/plot.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "coordinator/bench/child.h"

#define GNUPLOT_SECONDS 30.0

shoal_status shoal_bench_plot_folder(const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return shoal_fail(SHOAL_ERR_CREATE, "--plot: %s: %s", folder, strerror(errno));
    return SHOAL_OK;
}

shoal_status shoal_bench_plot_open(const char *folder, const char *name, FILE **out)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return shoal_fail(SHOAL_ERR_USAGE, "--plot: the path is too long");
    *out = fopen(path, "we");
    if (!*out)
        return shoal_fail(SHOAL_ERR_CREATE, "--plot: %s: %s", path, strerror(errno));
    return SHOAL_OK;
}

shoal_status shoal_bench_plot_close(FILE *file, bool written)
{
    if (fclose(file) != 0 || !written)
        return shoal_fail(SHOAL_ERR_IO, "--plot: writing failed: %s", strerror(errno));
    return SHOAL_OK;
}

shoal_status shoal_bench_plot_draw(const char *folder, const char *name, const char *script)
{
    const char *const words[] = {"gnuplot", name, NULL};
    shoal_bench_child gnuplot;
    FILE *file;
    SHOAL_TRY(shoal_bench_plot_open(folder, name, &file));
    SHOAL_TRY(shoal_bench_plot_close(file, fputs(script, file) >= 0));
    if (shoal_bench_child_start(words, folder, &gnuplot) != SHOAL_OK) {
        (void)fprintf(stderr, "skipped: no picture, only the data and %s: %s\n", name,
                      shoal_error_text());
        return SHOAL_OK;
    }
    if (!shoal_bench_child_stop(&gnuplot, GNUPLOT_SECONDS))
        return shoal_fail(SHOAL_ERR_IO, "gnuplot could not draw %s/%s", folder, name);
    return SHOAL_OK;
}

#include "coordinator/bench/model_rows.h"

#include <regex.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct {
    shoal_bench_model_row *rows;
    int count;
    const regex_t *wanted; /* NULL: all */
} list;

static void add(list *l, shoal_bench_model_row row, const char *format, ...) SHOAL_PRINTF(3, 4);
static void add(list *l, shoal_bench_model_row row, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row.name, sizeof row.name, format, args);
    va_end(args);
    if (!l->wanted || regexec(l->wanted, row.name, 0, NULL, 0) == 0)
        l->rows[l->count++] = row;
}

static void add_setup(list *l, const shoal_bench_setup *setup, int index, bool full, bool launched,
                      const char *label)
{
    static const int batches[] = {8, SHOAL_BENCH_BATCH_MAX};
    const int r = setup->ranks, t = setup->threads;
    shoal_bench_model_row row = {.setup = index, .batch = 1};
    row.kind = SHOAL_BENCH_MODEL_LOAD;
    if (full && !launched)
        add(l, row, "load.%s", label);
    row.kind = SHOAL_BENCH_MODEL_DECODE;
    add(l, row, "model.decode.%s.r%dt%d", label, r, t);
    row.kind = SHOAL_BENCH_MODEL_PREFILL;
    add(l, row, "model.prefill.%s.r%dt%d", label, r, t);
    row.kind = SHOAL_BENCH_MODEL_DECODE;
    for (size_t i = 0; full && i < sizeof batches / sizeof *batches; i++) {
        row.batch = batches[i];
        add(l, row, "model.decode.%s.b%d.r%dt%d", label, row.batch, r, t);
    }
}

shoal_status shoal_bench_model_rows(const shoal_bench_setup *setups, int count, int cores,
                                    bool launched, const char *label, const char *pattern,
                                    shoal_bench_model_row *rows, int *row_count)
{
    regex_t expression;
    char why[128];
    list l = {.rows = rows, .wanted = pattern ? &expression : NULL};
    const int error = pattern ? regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB) : 0;
    if (error) {
        (void)regerror(error, &expression, why, sizeof why);
        return shoal_fail(SHOAL_ERR_USAGE, "--rows: '%.100s': %s", pattern, why);
    }
    for (int i = 0; i < count; i++) {
        const bool widest = setups[i].ranks == 1 && setups[i].threads >= cores;
        add_setup(&l, &setups[i], i, count == 1 || widest, launched, label);
    }
    if (pattern)
        regfree(&expression);
    if (l.count == 0)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--rows: no row matches '%.100s'; rows are named like "
                          "model.decode.%s.r1t1",
                          pattern ? pattern : "", label);
    *row_count = l.count;
    return SHOAL_OK;
}

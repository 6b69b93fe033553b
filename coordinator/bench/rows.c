#include "coordinator/bench/rows.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/report.h"
#include "proto/arena.h"

shoal_status shoal_bench_rows_add(shoal_bench_rows *rows, double value, const char *unit,
                                  double limit, const char *fmt, ...)
{
    va_list args;
    if (!rows->data) {
        void *block;
        SHOAL_TRY(
            shoal_alloc_array(SHOAL_MEM_OTHER, SHOAL_BENCH_ROWS_MAX, sizeof *rows->data, &block));
        rows->data = block;
    }
    if (rows->count >= SHOAL_BENCH_ROWS_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "more than %d rows", SHOAL_BENCH_ROWS_MAX);
    shoal_bench_row *row = &rows->data[rows->count++];
    va_start(args, fmt);
    (void)vsnprintf(row->name, sizeof row->name, fmt, args);
    va_end(args);
    row->value = value;
    row->unit = unit;
    row->limit = limit;
    return SHOAL_OK;
}

double shoal_bench_rows_value(const shoal_bench_rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->data[i].name, name) == 0)
            return rows->data[i].value;
    return NAN;
}

/* JSON has no NaN. */
static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *shoal_bench_rows_json(const shoal_bench_rows *rows)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < rows->count; i++) {
        const shoal_bench_row *row = &rows->data[i];
        json_t *one = json_pack("{s:s, s:o, s:s, s:o, s:o}", "name", row->name, "value",
                                number_or_null(row->value), "unit", row->unit, "limit",
                                number_or_null(row->limit), "fraction",
                                number_or_null(row->value / row->limit));
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static shoal_status number_cell(shoal_table *table, double value, int digits)
{
    if (!isfinite(value))
        return shoal_table_cell(table, "-");
    return shoal_table_cell(table, "%.*f", digits, value);
}

/* Counts need no digits behind the point. */
static int digits_of(double value)
{
    if (value == floor(value))
        return 0;
    return fabs(value) < 10 ? 3 : 1;
}

shoal_status shoal_bench_rows_print(const shoal_bench_rows *rows)
{
    static const shoal_column columns[] = {
        {"name", false}, {"value", true}, {"unit", false}, {"limit", true}, {"fraction", true}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &table));
    for (size_t i = 0; i < rows->count; i++) {
        const shoal_bench_row *row = &rows->data[i];
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s", row->name), destroy);
        SHOAL_TRY_GOTO(number_cell(table, row->value, digits_of(row->value)), destroy);
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s", row->unit), destroy);
        SHOAL_TRY_GOTO(number_cell(table, row->limit, digits_of(row->limit)), destroy);
        SHOAL_TRY_GOTO(number_cell(table, row->value / row->limit, 2), destroy);
    }
    st = shoal_table_print(table);

destroy:
    shoal_table_destroy(table);
    return st;
}

void shoal_bench_rows_free(shoal_bench_rows *rows)
{
    shoal_free(rows->data);
    *rows = (shoal_bench_rows){0};
}

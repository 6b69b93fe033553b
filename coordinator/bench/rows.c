#include "coordinator/bench/rows.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/report.h"
#include "proto/arena.h"

shoal_status shoal_bench_rows_put(shoal_bench_rows *rows, const shoal_bench_row *row)
{
    if (!rows->data) {
        void *block;
        SHOAL_TRY(
            shoal_alloc_array(SHOAL_MEM_OTHER, SHOAL_BENCH_ROWS_MAX, sizeof *rows->data, &block));
        rows->data = block;
    }
    if (rows->count >= SHOAL_BENCH_ROWS_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "more than %d rows", SHOAL_BENCH_ROWS_MAX);
    rows->data[rows->count++] = *row;
    return SHOAL_OK;
}

shoal_status shoal_bench_rows_add(shoal_bench_rows *rows, double value, const char *unit,
                                  double limit, const char *fmt, ...)
{
    shoal_bench_row row = {
        .value = value, .unit = unit, .limit = limit, .fraction = value / limit, .spread = NAN};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(row.name, sizeof row.name, fmt, args);
    va_end(args);
    return shoal_bench_rows_put(rows, &row);
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

static json_t *row_values(const shoal_bench_row *row)
{
    return json_pack("{s:s, s:o, s:s}", "name", row->name, "value", number_or_null(row->value),
                     "unit", row->unit);
}

/* NULL without memory. */
static json_t *row_json(const shoal_bench_row *row)
{
    json_t *one = row_values(row);
    json_t *rest = json_pack("{s:o, s:o, s:o, s:s*}", "limit", number_or_null(row->limit),
                             "fraction", number_or_null(row->fraction), "spread",
                             number_or_null(row->spread), "kernel", row->kernel);
    if (!one || !rest || json_object_update(one, rest) != 0) {
        json_decref(one);
        one = NULL;
    }
    json_decref(rest);
    return one;
}

static json_t *list_of(const shoal_bench_rows *rows, json_t *(*one)(const shoal_bench_row *))
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < rows->count; i++) {
        if (json_array_append_new(list, one(&rows->data[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *shoal_bench_rows_json(const shoal_bench_rows *rows)
{
    return list_of(rows, row_json);
}

json_t *shoal_bench_rows_json_values(const shoal_bench_rows *rows)
{
    return list_of(rows, row_values);
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

/* Which of the optional columns does a report have? */
typedef struct {
    bool spread, kernel;
} extras;

static extras extras_of(const shoal_bench_rows *rows)
{
    extras e = {false, false};
    for (size_t i = 0; i < rows->count; i++) {
        e.spread |= isfinite(rows->data[i].spread);
        e.kernel |= rows->data[i].kernel != NULL;
    }
    return e;
}

static shoal_status print_row(shoal_table *table, const shoal_bench_row *row, extras e)
{
    SHOAL_TRY(shoal_table_cell(table, "%s", row->name));
    SHOAL_TRY(number_cell(table, row->value, digits_of(row->value)));
    SHOAL_TRY(shoal_table_cell(table, "%s", row->unit));
    SHOAL_TRY(number_cell(table, row->limit, digits_of(row->limit)));
    SHOAL_TRY(number_cell(table, row->fraction, 2));
    if (e.spread)
        SHOAL_TRY(number_cell(table, row->spread, 2));
    return e.kernel ? shoal_table_cell(table, "%s", row->kernel ? row->kernel : "-") : SHOAL_OK;
}

shoal_status shoal_bench_rows_print(const shoal_bench_rows *rows)
{
    shoal_column columns[7] = {
        {"name", false}, {"value", true}, {"unit", false}, {"limit", true}, {"fraction", true}};
    int count = 5;
    const extras e = extras_of(rows);
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    if (e.spread)
        columns[count++] = (shoal_column){"spread", true};
    if (e.kernel)
        columns[count++] = (shoal_column){"kernel", false};
    SHOAL_TRY(shoal_table_create(columns, count, &table));
    for (size_t i = 0; i < rows->count; i++)
        SHOAL_TRY_GOTO(print_row(table, &rows->data[i], e), destroy);
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

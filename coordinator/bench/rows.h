/* coordinator/bench/rows.h - the report of a bench: named numbers beside their yardsticks.
 *
 * A row is {name, value, unit, limit, fraction, spread, kernel}: the limit is what the value could
 * be at best by a yardstick; the fraction value / limit, or the median of that over pairs measured
 * together; the spread (p90 - p10) / median of the value; the kernel the row of a kernel table that
 * ran. Where no yardstick applies, or nothing was measured, the number is NAN here, null in JSON
 * and "-" in a table. All zero is a valid empty report. */
#ifndef SHOAL_COORDINATOR_BENCH_ROWS_H
#define SHOAL_COORDINATOR_BENCH_ROWS_H

#include <jansson.h>
#include <stddef.h>

#include "proto/status.h"

#define SHOAL_BENCH_ROWS_MAX 512

typedef struct {
    char name[64]; /* "serve.closed.s8.ttft.p99" */
    double value;
    const char *unit; /* static */
    double limit, fraction, spread;
    const char *kernel; /* static, or NULL: no kernel was chosen */
} shoal_bench_row;

typedef struct {
    shoal_bench_row *data;
    size_t count;
} shoal_bench_rows;

SHOAL_MUST_USE shoal_status shoal_bench_rows_add(shoal_bench_rows *rows, double value,
                                                 const char *unit, double limit, const char *fmt,
                                                 ...) SHOAL_PRINTF(5, 6);

/* The same with everything known; the row is copied. */
SHOAL_MUST_USE shoal_status shoal_bench_rows_put(shoal_bench_rows *rows,
                                                 const shoal_bench_row *row);

/* The value of a row, NAN when there is none of that name. */
double shoal_bench_rows_value(const shoal_bench_rows *rows, const char *name);

/* [{"name", "value", "unit", "limit", "fraction", "spread"}], "kernel" where there is one; NULL
 * without memory. */
json_t *shoal_bench_rows_json(const shoal_bench_rows *rows);

/* The same as [{"name", "value", "unit"}]: what yardsticks have. */
json_t *shoal_bench_rows_json_values(const shoal_bench_rows *rows);

/* A table on stdout; spread and kernel only where some row has one. */
SHOAL_MUST_USE shoal_status shoal_bench_rows_print(const shoal_bench_rows *rows);

void shoal_bench_rows_free(shoal_bench_rows *rows);

#endif

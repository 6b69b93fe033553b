/* coordinator/bench/rows.h - the report of a bench: named numbers beside their yardsticks.
 *
 * A row is {name, value, unit, limit, fraction}: the limit is what the value could be at best by a
 * yardstick, the fraction value / limit. Where no yardstick applies, or nothing was measured, the
 * number is NAN here, null in JSON and "-" in a table. All zero is a valid empty report. */
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
    double limit;
} shoal_bench_row;

typedef struct {
    shoal_bench_row *data;
    size_t count;
} shoal_bench_rows;

SHOAL_MUST_USE shoal_status shoal_bench_rows_add(shoal_bench_rows *rows, double value,
                                                 const char *unit, double limit, const char *fmt,
                                                 ...) SHOAL_PRINTF(5, 6);

/* The value of a row, NAN when there is none of that name. */
double shoal_bench_rows_value(const shoal_bench_rows *rows, const char *name);

/* [{"name", "value", "unit", "limit", "fraction"}]; NULL without memory. */
json_t *shoal_bench_rows_json(const shoal_bench_rows *rows);

/* A table on stdout. */
SHOAL_MUST_USE shoal_status shoal_bench_rows_print(const shoal_bench_rows *rows);

void shoal_bench_rows_free(shoal_bench_rows *rows);

#endif

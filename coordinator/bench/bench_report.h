/* coordinator/bench/bench_report.h - what every bench says in the end, as JSON or for people. */
#ifndef SHOAL_COORDINATOR_BENCH_BENCH_REPORT_H
#define SHOAL_COORDINATOR_BENCH_BENCH_REPORT_H

#include <stdbool.h>

#include "coordinator/bench/rows.h"

/* On stdout: {"machine", "yardsticks", "rows"}; or a line about the machine and two tables (none
 * for no yardsticks). */
SHOAL_MUST_USE shoal_status shoal_bench_report(bool json, const shoal_bench_rows *yardsticks,
                                               const shoal_bench_rows *rows);

/* The same with more keys, an object whose reference is taken over; for people they are not
 * printed. */
SHOAL_MUST_USE shoal_status shoal_bench_report_with(bool json, const shoal_bench_rows *yardsticks,
                                                    const shoal_bench_rows *rows, json_t *more);

#endif

/* coordinator/cli/report.h - how verbs speak: tables and JSON on stdout, progress on stderr.
 *
 * Results go to stdout, and a result that could not be written is SHOAL_ERR_IO. With --json a verb
 * prints exactly one document. Progress is a bar on a terminal, else a line per 5 %. */
#ifndef SHOAL_COORDINATOR_CLI_REPORT_H
#define SHOAL_COORDINATOR_CLI_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

/* Print one document and a line end; takes over the reference. NULL (a failed json_pack) is
 * SHOAL_ERR_TEMPORARY. */
SHOAL_MUST_USE shoal_status shoal_report_json(json_t *document);

/* The same, without indentation: one line of a JSON Lines result. */
SHOAL_MUST_USE shoal_status shoal_report_json_line(json_t *document);

/* printf to stdout. */
SHOAL_MUST_USE shoal_status shoal_report_text(const char *fmt, ...) SHOAL_PRINTF(1, 2);
SHOAL_MUST_USE shoal_status shoal_report_bytes(const char *text, size_t bytes);

/* Write out what stdout still buffers. */
SHOAL_MUST_USE shoal_status shoal_report_flush(void);

/* A string of known length (it may hold U+0000). */
json_t *shoal_json_utf8(const char *text, size_t bytes);

/* [begin, end) as a JSON array of two numbers. */
json_t *shoal_json_range(int64_t begin, int64_t end);

json_t *shoal_json_ids(const int32_t *ids, size_t count);

/* 1234567 → "1.18 MiB". */
void shoal_format_bytes(uint64_t bytes, char *out, size_t room);

/* ---- tables: cells are collected, then printed with the widths they need ---- */

#define SHOAL_TABLE_COLUMNS_MAX 12

typedef struct {
    const char *title;
    bool right; /* numbers */
} shoal_column;

typedef struct shoal_table shoal_table;

SHOAL_MUST_USE shoal_status shoal_table_create(const shoal_column *columns, int count,
                                               shoal_table **out);
void shoal_table_destroy(shoal_table *table);

/* The next cell, left to right, top to bottom. */
SHOAL_MUST_USE shoal_status shoal_table_cell(shoal_table *table, const char *fmt, ...)
    SHOAL_PRINTF(2, 3);
SHOAL_MUST_USE shoal_status shoal_table_print(const shoal_table *table);

/* ---- progress: a bar on a terminal, else a line per 5 %; nothing for what is done in a second
 * ---- */

typedef struct {
    const char *label; /* "load"; borrowed */
    int shown;         /* per cent, or -1 */
    bool bar;
    double begin; /* shoal_clock_seconds */
} shoal_progress;

void shoal_progress_begin(shoal_progress *progress, const char *label);
void shoal_progress_update(shoal_progress *progress, uint64_t done, uint64_t total);

/* The same as a callback, whose context is the shoal_progress. */
void shoal_progress_show(void *progress, uint64_t done, uint64_t total);

/* Remove an unfinished bar, so that an error starts on a clean line. */
void shoal_progress_end(shoal_progress *progress);

#endif

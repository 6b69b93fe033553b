/* shard/file_runs.h - runs of bytes of one file, equally far apart: what a column slice of a
 * row-major matrix is. Narrow runs are read as one span and picked out. */
#ifndef SHOAL_SHARD_FILE_RUNS_H
#define SHOAL_SHARD_FILE_RUNS_H

#include <stdbool.h>

#include "shard/regular_file.h"

/* `rows` times `bytes`, `stride` apart, from `offset` on. */
typedef struct {
    uint64_t offset, bytes, stride, rows;
} shoal_row_runs;

/* Do all runs lie in [0, total), apart from each other? Then rows * bytes is at most total. */
bool shoal_runs_inside(const shoal_row_runs *runs, uint64_t total);

/* Read them one after the other into `out`; `path` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_runs_read(const shoal_regular_file *file, const char *path,
                                            const shoal_row_runs *runs, char *out);

#endif

/* coordinator/bench/model_rows.h - which rows `shoal bench model` measures. Pure. */
#ifndef SHOAL_COORDINATOR_BENCH_MODEL_ROWS_H
#define SHOAL_COORDINATOR_BENCH_MODEL_ROWS_H

#include <stdbool.h>

#include "coordinator/bench/setup.h"
#include "proto/status.h"

typedef enum {
    SHOAL_BENCH_MODEL_LOAD,
    SHOAL_BENCH_MODEL_DECODE,
    SHOAL_BENCH_MODEL_PREFILL
} shoal_bench_model_kind;

typedef struct {
    shoal_bench_model_kind kind;
    int setup;     /* index */
    int batch;     /* DECODE: sequences together */
    char name[64]; /* "model.decode.1b.b8.r1t2" */
} shoal_bench_model_row;

#define SHOAL_BENCH_MODEL_ROWS_MAX (5 * SHOAL_BENCH_SETUPS_MAX)

/* Sequences that a row decodes together at most. */
#define SHOAL_BENCH_BATCH_MAX 32

/* Rows of each setup in turn: the load, decode, prefill, batches. Load and batches are those of the
 * only setup, or of one rank on all `cores`; a launch of ranks opens one engine in its life, and so
 * has no load to measure again. `pattern`: a regular expression that a name must
 * match, or NULL. SHOAL_ERR_USAGE when it is none, or nothing matches. */
SHOAL_MUST_USE shoal_status shoal_bench_model_rows(const shoal_bench_setup *setups, int count,
                                                   int cores, bool launched, const char *label,
                                                   const char *pattern, shoal_bench_model_row *rows,
                                                   int *row_count);

#endif

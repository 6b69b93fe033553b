/* coordinator/runner.h - run token sequences through an engine: prefill, logits, likelihood,
 * generation, for one sequence or many at once.
 *
 * Every round builds one step: sequences that only continue come first, then prompts in chunks,
 * as many rows as the engine takes. A sequence takes its KV pages when it starts, all it can ever
 * need, and gives them back when it ends; those that find no room wait. What a sequence gets does
 * not depend on its neighbours (docs/arithmetic.md). */
#ifndef SHOAL_COORDINATOR_RUNNER_H
#define SHOAL_COORDINATOR_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/engine.h"
#include "worker/step.h"

/* One sequence: what to do with it, then what came out. Arrays are the caller's. */
typedef struct {
    const int32_t *prompt;
    int64_t prompt_count; /* >= 1 */
    shoal_want want;      /* TOKEN: generate; LOGITS: all rows; NLL: of tokens 1..; */
    shoal_sampling sampling;
    const int32_t *stop_ids; /* generation ends after one of these */
    int stop_count;
    int64_t max_tokens; /* TOKEN: >= 1 */
    int32_t *tokens;    /* TOKEN: room for max_tokens */

    int64_t token_count; /* generated, the stop token included */
    bool stopped;        /* by a stop token */
    double nll;          /* NLL: the sum */
} shoal_run;

typedef struct {
    /* Logits of row `row` of runs[run], rows ascending. */
    shoal_status (*on_row)(void *context, int run, int64_t row, const float *logits, int64_t vocab);
    shoal_status (*on_token)(void *context, int run, int32_t token);
    void (*on_progress)(void *context, uint64_t rows_done, uint64_t rows_total);
    void *context;
} shoal_run_hooks;

typedef struct {
    double prefill_seconds, decode_seconds;
    int64_t prefill_rows, decode_rows;
} shoal_run_timing;

/* Tokens of KV that a run can need. */
int64_t shoal_run_tokens(const shoal_run *run);

/* Run all to their end. `chunk`: most rows of one sequence per step. `hooks` and `timing` may be
 * NULL. SHOAL_ERR_DATA naming layer and position when a sequence met a value out of range,
 * SHOAL_ERR_USAGE when one is longer than the engine's context or pool. */
SHOAL_MUST_USE shoal_status shoal_run_all(shoal_engine *engine, int64_t chunk, shoal_run *runs,
                                          int count, const shoal_run_hooks *hooks,
                                          shoal_run_timing *timing);

#endif

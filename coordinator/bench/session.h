/* coordinator/bench/session.h - sequences on an engine that take their steps when told to.
 *
 * A bench wants to time single steps and do something else between them, so nothing is scheduled
 * here: the caller says which rows of which sequences make the next step. Every sequence has its
 * pages for `length` tokens; its prompt is random and repeatable, and tokens the model chooses
 * (greedily) take the places behind the row they were chosen after. Going back is allowed: rows
 * that are computed again write the same bits into the cache. */
#ifndef SHOAL_COORDINATOR_BENCH_SESSION_H
#define SHOAL_COORDINATOR_BENCH_SESSION_H

#include <stdint.h>

#include "coordinator/engine.h"

typedef struct shoal_bench_session shoal_bench_session;

/* Pages of the engine's pool are numbered from 0: one session at a time. SHOAL_ERR_USAGE when
 * sequences or their length do not fit the engine. */
SHOAL_MUST_USE shoal_status shoal_bench_session_open(shoal_engine *engine, int sequences,
                                                     int64_t length, uint64_t seed,
                                                     shoal_bench_session **out);
void shoal_bench_session_close(shoal_bench_session *session);

/* Rows [position, position + rows) of sequences [first, first + count) in one step. */
typedef struct {
    int first, count;
    int64_t position, rows;
    shoal_want want; /* of every sequence */
} shoal_bench_share;

/* Take one step; `seconds` it took, as whoever waits for it sees it. `sink` as
 * shoal_engine_step. SHOAL_ERR_DATA when a value was out of range. */
SHOAL_MUST_USE shoal_status shoal_bench_session_step(shoal_bench_session *session,
                                                     const shoal_bench_share *share,
                                                     double *seconds, shoal_logits_sink sink,
                                                     void *context);

/* Rows [0, tokens) of sequences [0, count), in steps as large as the engine takes; the last row of
 * each chooses a token. `seconds` of all steps. */
SHOAL_MUST_USE shoal_status shoal_bench_session_fill(shoal_bench_session *session, int count,
                                                     int64_t tokens, double *seconds);

/* The token of sequence 0 at a position. */
int32_t shoal_bench_session_token(const shoal_bench_session *session, int64_t position);

#endif

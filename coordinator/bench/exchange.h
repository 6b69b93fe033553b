/* coordinator/bench/exchange.h - one request and its streamed answer, on a socket of its own.
 *
 * Never blocks: begin connects, step goes on when the socket is ready. What is measured goes to a
 * tally while it happens, except the verdict (finished, failed, cut), which is the caller's. Any
 * status but SHOAL_OK means that this request has failed, and why. */
#ifndef SHOAL_COORDINATOR_BENCH_EXCHANGE_H
#define SHOAL_COORDINATOR_BENCH_EXCHANGE_H

#include <stdbool.h>

#include "coordinator/bench/events.h"
#include "coordinator/bench/response.h"
#include "coordinator/bench/tally.h"
#include "coordinator/bench/target.h"

typedef struct {
    int fd; /* -1: none */
    shoal_strbuf request;
    size_t sent;
    shoal_bench_response response;
    shoal_bench_events events;
    double due;        /* when it should have begun, shoal_clock_seconds */
    double last_token; /* when the last one came; 0: none yet */
    int64_t pieces;    /* events with text */
    int64_t tokens;    /* by the server's count; 0: it has not said */
    bool done;         /* "[DONE]" came */
} shoal_bench_exchange;

/* Start to send `x->request`, which the caller has filled. */
SHOAL_MUST_USE shoal_status shoal_bench_exchange_begin(shoal_bench_exchange *x,
                                                       const shoal_bench_target *target,
                                                       double due);

/* The socket is ready for what shoal_bench_exchange_writes says. *ended: the answer is complete. */
SHOAL_MUST_USE shoal_status shoal_bench_exchange_step(shoal_bench_exchange *x,
                                                      shoal_bench_tally *tally, bool *ended);

/* Does it still have something to send? Otherwise it waits for bytes. */
bool shoal_bench_exchange_writes(const shoal_bench_exchange *x);

/* Tokens so far. */
int64_t shoal_bench_exchange_tokens(const shoal_bench_exchange *x);

/* Close the socket and forget everything; buffers are kept for the next request. */
void shoal_bench_exchange_reset(shoal_bench_exchange *x);
void shoal_bench_exchange_free(shoal_bench_exchange *x);

#endif

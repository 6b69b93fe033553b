/* coordinator/bench/load.h - put a server under load: one thread, one epoll, many requests.
 *
 * Closed loop: `streams` requests are kept under way, a new one begins when one ends. Open loop:
 * requests arrive by a Poisson process of `rate` per second, however slow the answers are. Every
 * request has a connection of its own.
 *
 * A run ends when `requests` have ended or, by the clock, when what had begun within
 * `begin_seconds` has ended; at `end_seconds` what is left is cut off. A server that fails
 * SHOAL_BENCH_FAILURES_MAX requests gets no more. Failures of requests are counted, not returned.
 */
#ifndef SHOAL_COORDINATOR_BENCH_LOAD_H
#define SHOAL_COORDINATOR_BENCH_LOAD_H

#include "coordinator/bench/prompt.h"
#include "coordinator/bench/tally.h"
#include "coordinator/bench/target.h"

/* Requests under way at once. */
#define SHOAL_BENCH_STREAMS_MAX  4096
#define SHOAL_BENCH_FAILURES_MAX 100

typedef struct {
    const shoal_bench_target *target;
    const shoal_bench_prompts *prompts;
    uint64_t first_number; /* of the prompts, so that runs do not repeat each other's */
    const char *label;     /* of the progress display */
    int streams;           /* closed loop; 0: open loop */
    double rate;           /* open loop: arrivals per second */
    int64_t requests;      /* 0: as many as begin in time */
    double begin_seconds, end_seconds;
} shoal_bench_load;

/* Run it and fill `tally` (all zero before; free it also after a failure). SHOAL_ERR_TEMPORARY
 * when a signal came or the system gives no memory or descriptors. */
SHOAL_MUST_USE shoal_status shoal_bench_load_run(const shoal_bench_load *load,
                                                 shoal_bench_tally *tally);

#endif

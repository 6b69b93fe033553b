/* coordinator/bench/tally.h - what a run under load has measured.
 *
 *     ttft    from the moment a request was due (open loop: its planned arrival, so that a late
 *             client hides nothing) to its first token; connecting is included
 *     itl     between tokens of one stream, as their events arrive
 *     total   from due to the end of the answer
 *
 * Seconds everywhere. A token is what the server's usage counts; where it counts nothing, an event
 * with text is one. Every request that begins ends in exactly one of finished, failed and cut. */
#ifndef SHOAL_COORDINATOR_BENCH_TALLY_H
#define SHOAL_COORDINATOR_BENCH_TALLY_H

#include <stdint.h>

#include "coordinator/bench/samples.h"

typedef struct {
    shoal_bench_samples ttft, itl, total;
    int64_t begun, finished;
    int64_t failed; /* refused, broken off, or an error in the stream */
    int64_t cut;    /* still under way when time was up: cancelled by us */
    int64_t tokens; /* of finished requests, and those of cut ones that had arrived */
    double seconds; /* from the beginning of the run to the last byte */
    char first_failure[SHOAL_ERROR_MAX]; /* a sentence; "" if none */
} shoal_bench_tally;

/* Count a failed request; the sentence is the recorded one. */
void shoal_bench_tally_fail(shoal_bench_tally *tally);

/* Sort the samples, for quantiles. */
void shoal_bench_tally_sort(shoal_bench_tally *tally);

/* Tokens and finished requests per second; 0 for an empty run. */
double shoal_bench_tally_throughput(const shoal_bench_tally *tally);
double shoal_bench_tally_request_rate(const shoal_bench_tally *tally);

void shoal_bench_tally_free(shoal_bench_tally *tally);

#endif

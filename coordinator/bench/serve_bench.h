/* coordinator/bench/serve_bench.h - which loads a server is put under, and what is reported.
 *
 * First one request alone, not measured: a server that cannot answer it ends the bench. Then a
 * closed loop per number of streams, then an open loop. Rows, for each closed loop of S streams
 * "serve.closed.sS.", for the open one "serve.open.":
 *
 *     rate                            requests/s that arrive (open only)
 *     throughput                      tokens/s of all streams together; limit of a closed loop of
 *                                     S > 1 streams: S times that of one, if measured before
 *     requests                        requests/s that finish
 *     ttft.p50 .p90 .p99              ms
 *     itl.p50 .p90 .p99 .max          ms
 *     total.p50 .p90 .p99             ms
 *     finished, errors, cut           requests (coordinator/bench/tally.h)
 *
 * The limit says what perfect batching would give: reading the weights once for all streams comes
 * near it while memory is the bottleneck, and falls behind where computing is. */
#ifndef SHOAL_COORDINATOR_BENCH_SERVE_BENCH_H
#define SHOAL_COORDINATOR_BENCH_SERVE_BENCH_H

#include "coordinator/bench/child.h"
#include "coordinator/bench/load.h"
#include "coordinator/bench/rows.h"

/* Loads of different numbers of streams in one bench. */
#define SHOAL_BENCH_LOADS_MAX 8

/* A load begins requests for so long, and cuts off what is left at the second time: the default
 * loads fit into two minutes, start of the server not counted. */
#define SHOAL_BENCH_BEGIN_SECONDS 15.0
#define SHOAL_BENCH_END_SECONDS   30.0

/* Without a given rate the open loop runs at this part of the best closed loop. */
#define SHOAL_BENCH_OPEN_PART 0.7

typedef struct {
    int counts[SHOAL_BENCH_LOADS_MAX];
    int count;
} shoal_bench_streams;

/* "1,8,32": different numbers of 1..SHOAL_BENCH_STREAMS_MAX. SHOAL_ERR_USAGE otherwise. Pure. */
SHOAL_MUST_USE shoal_status shoal_bench_streams_parse(const char *text, shoal_bench_streams *out);

typedef struct {
    const shoal_bench_target *target;
    shoal_bench_child *server; /* ours, watched between loads; NULL: somebody else's */
    shoal_bench_prompts prompts;
    shoal_bench_streams streams;
    double rate;      /* of the open loop, requests/s; NAN: from the closed ones; 0: none */
    int64_t requests; /* per load; 0: as many as begin in time */
} shoal_bench_serve_plan;

SHOAL_MUST_USE shoal_status shoal_bench_serve_run(const shoal_bench_serve_plan *plan,
                                                  shoal_bench_rows *rows);

#endif

#include "coordinator/bench/serve_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/log.h"

/* Prompts of different loads are far apart. */
#define NUMBERS_PER_LOAD 1000000u

typedef struct {
    const shoal_bench_serve_plan *plan;
    shoal_bench_rows *rows;
    double single;    /* tokens/s of one stream; NAN: not measured */
    double best_rate; /* finished requests/s of the best closed loop */
    uint64_t loads;   /* run so far */
} bench;

shoal_status shoal_bench_streams_parse(const char *text, shoal_bench_streams *out)
{
    shoal_bench_streams streams = {0};
    for (const char *at = text;; at++) {
        char *end;
        const long value = strtol(at, &end, 10);
        bool fine = *at >= '0' && *at <= '9' && value >= 1 && value <= SHOAL_BENCH_STREAMS_MAX &&
                    (*end == ',' || *end == '\0') && streams.count < SHOAL_BENCH_LOADS_MAX;
        for (int i = 0; i < streams.count; i++)
            fine = fine && streams.counts[i] != value;
        if (!fine)
            return shoal_fail(SHOAL_ERR_USAGE,
                              "--streams: '%.100s' is not a list of up to %d different numbers of "
                              "1..%d",
                              text, SHOAL_BENCH_LOADS_MAX, SHOAL_BENCH_STREAMS_MAX);
        streams.counts[streams.count++] = (int)value;
        at = end;
        if (!*at)
            break;
    }
    *out = streams;
    return SHOAL_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static shoal_status quantile_row(shoal_bench_rows *rows, const char *prefix, const char *what,
                                 const shoal_bench_samples *samples, int percent)
{
    return shoal_bench_rows_add(rows, 1e3 * shoal_bench_samples_quantile(samples, percent / 100.0),
                                "ms", NAN, "%s.%s.p%d", prefix, what, percent);
}

static shoal_status latency_rows(shoal_bench_rows *rows, const char *prefix, const char *what,
                                 const shoal_bench_samples *samples)
{
    SHOAL_TRY(quantile_row(rows, prefix, what, samples, 50));
    SHOAL_TRY(quantile_row(rows, prefix, what, samples, 90));
    return quantile_row(rows, prefix, what, samples, 99);
}

/* Failures of requests go to the log as well as into their row. */
static shoal_status add_rows(shoal_bench_rows *rows, const char *prefix, const shoal_bench_tally *t,
                             double limit)
{
    if (t->failed)
        shoal_log(SHOAL_LOG_WARN, "bench", "%s: %lld of %lld requests failed; the first: %s",
                  prefix, (long long)t->failed, (long long)t->begun, t->first_failure);
    SHOAL_TRY(shoal_bench_rows_add(rows, shoal_bench_tally_throughput(t), "tokens/s", limit,
                                   "%s.throughput", prefix));
    SHOAL_TRY(shoal_bench_rows_add(rows, shoal_bench_tally_request_rate(t), "requests/s", NAN,
                                   "%s.requests", prefix));
    SHOAL_TRY(latency_rows(rows, prefix, "ttft", &t->ttft));
    SHOAL_TRY(latency_rows(rows, prefix, "itl", &t->itl));
    SHOAL_TRY(shoal_bench_rows_add(rows, 1e3 * shoal_bench_samples_quantile(&t->itl, 1), "ms", NAN,
                                   "%s.itl.max", prefix));
    SHOAL_TRY(latency_rows(rows, prefix, "total", &t->total));
    SHOAL_TRY(
        shoal_bench_rows_add(rows, (double)t->finished, "requests", NAN, "%s.finished", prefix));
    SHOAL_TRY(shoal_bench_rows_add(rows, (double)t->failed, "requests", NAN, "%s.errors", prefix));
    return shoal_bench_rows_add(rows, (double)t->cut, "requests", NAN, "%s.cut", prefix);
}

/* ---- loads ----------------------------------------------------------------------------------- */

static shoal_status run_load(bench *b, shoal_bench_load *load, shoal_bench_tally *tally)
{
    const shoal_bench_serve_plan *plan = b->plan;
    load->target = plan->target;
    load->prompts = &plan->prompts;
    load->first_number = NUMBERS_PER_LOAD * b->loads++;
    load->begin_seconds = SHOAL_BENCH_BEGIN_SECONDS;
    load->end_seconds = SHOAL_BENCH_END_SECONDS;
    SHOAL_TRY(shoal_bench_load_run(load, tally));
    /* Failures may be the first sign of a server that is about to be gone. */
    return plan->server ? shoal_bench_child_check(plan->server, tally->failed ? 1 : 0) : SHOAL_OK;
}

/* The first request is slower than its successors; and without an answer there is nothing to
 * measure. */
static shoal_status warm_up(bench *b)
{
    shoal_bench_load load = {.label = "warm-up", .streams = 1, .requests = 1};
    shoal_bench_tally tally = {0};
    shoal_status st = run_load(b, &load, &tally);
    if (st == SHOAL_OK && tally.finished == 0)
        st = shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s does not answer: %s", b->plan->target->authority,
                        tally.cut ? "nothing in 30 s" : tally.first_failure);
    shoal_bench_tally_free(&tally);
    return st;
}

static shoal_status closed_loop(bench *b, int streams)
{
    char name[48];
    shoal_bench_load load = {.label = name, .streams = streams, .requests = b->plan->requests};
    shoal_bench_tally tally = {0};
    (void)snprintf(name, sizeof name, "serve.closed.s%d", streams);
    shoal_status st = run_load(b, &load, &tally);
    if (st == SHOAL_OK) {
        if (streams == 1)
            b->single = shoal_bench_tally_throughput(&tally);
        b->best_rate = fmax(b->best_rate, shoal_bench_tally_request_rate(&tally));
        st = add_rows(b->rows, name, &tally, streams > 1 ? streams * b->single : NAN);
    }
    shoal_bench_tally_free(&tally);
    return st;
}

static shoal_status open_loop(bench *b)
{
    const double rate =
        isfinite(b->plan->rate) ? b->plan->rate : SHOAL_BENCH_OPEN_PART * b->best_rate;
    shoal_bench_load load = {.label = "serve.open", .rate = rate, .requests = b->plan->requests};
    shoal_bench_tally tally = {0};
    if (rate <= 0)
        return SHOAL_OK;
    shoal_status st = run_load(b, &load, &tally);
    if (st == SHOAL_OK)
        st = shoal_bench_rows_add(b->rows, rate, "requests/s", NAN, "serve.open.rate");
    if (st == SHOAL_OK)
        st = add_rows(b->rows, load.label, &tally, NAN);
    shoal_bench_tally_free(&tally);
    return st;
}

shoal_status shoal_bench_serve_run(const shoal_bench_serve_plan *plan, shoal_bench_rows *rows)
{
    bench b = {.plan = plan, .rows = rows, .single = NAN};
    SHOAL_TRY(warm_up(&b));
    for (int i = 0; i < plan->streams.count; i++)
        SHOAL_TRY(closed_loop(&b, plan->streams.counts[i]));
    return open_loop(&b);
}

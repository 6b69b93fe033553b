#include "coordinator/bench/stand.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/unbound.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/model.h"

/* Read round and round; with the weights read in between, nothing of it is still in a cache. */
#define MEMORY_BYTES (UINT64_C(512) << 20)
#define READ_BYTES   (UINT64_C(64) << 20)
#define PEAK_SECONDS 0.005

/* ---- open, close ----------------------------------------------------------------------------- */

static shoal_status choose_lengths(const shoal_worker_settings *settings, shoal_bench_stand *s)
{
    shoal_model *model;
    SHOAL_TRY(shoal_model_open(settings->model, &model));
    int64_t length = model->context;
    shoal_model_close(model);
    if (settings->context > 0)
        length = shoal_min_i64(length, settings->context);
    s->prompt = shoal_min_i64(SHOAL_BENCH_PROMPT, length);
    s->context = shoal_min_i64(SHOAL_BENCH_CONTEXT, length / 2);
    s->cycle = shoal_min_i64(SHOAL_BENCH_CYCLE, length - s->context);
    if (s->context < 1)
        return shoal_fail(SHOAL_ERR_USAGE, "a context of %lld tokens is too short to measure",
                          (long long)length);
    return SHOAL_OK;
}

static int64_t length_of(const shoal_bench_stand *s, int sequences)
{
    const int64_t decode = s->context + s->cycle;
    return sequences > 1 ? decode : shoal_max_i64(s->prompt, decode);
}

static void complete(const shoal_bench_stand *s, int sequences, shoal_engine_request *request)
{
    shoal_worker_settings *w = &request->settings;
    const int64_t one = shoal_round_up(length_of(s, 1), SHOAL_PAGE);
    const int64_t all = sequences * shoal_round_up(length_of(s, 2), SHOAL_PAGE);
    request->ranks = s->setup.ranks;
    request->ranks_given = true;
    w->threads = s->setup.threads;
    w->max_sequences = sequences;
    w->kv_tokens = shoal_max_i64(one, all);
    if (w->prefill_chunk == 0)
        w->prefill_chunk = s->prompt;
}

static shoal_status open_yard(const shoal_bench_stand_plan *plan, shoal_bench_stand *s)
{
    void *block;
    shoal_bench_binding binding = {.changed = false};
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, MEMORY_BYTES, &block));
    s->memory = block;
    memset(s->memory, 1, MEMORY_BYTES); /* pages of its own, not the one of zeros */
    s->peak = shoal_peak_pick(s->work.product, plan->cap);
    if (!s->peak)
        return shoal_fail(SHOAL_ERR_INTERNAL, "no peak for products of kind %d",
                          (int)s->work.product);
    if (plan->launched)
        shoal_bench_unbind(&binding);
    const shoal_status st =
        shoal_bench_yard_open(s->width, plan->cap, s->memory, MEMORY_BYTES, &s->yard);
    shoal_bench_bind_again(&binding);
    return st;
}

/* The engine comes first: other ranks of a launch wait for it, and not quietly. */
shoal_status shoal_bench_stand_open(const shoal_bench_stand_plan *plan,
                                    const shoal_bench_setup *setup, shoal_bench_stand *out)
{
    shoal_bench_stand s = {
        .setup = *setup, .seed = plan->seed, .width = shoal_bench_setup_width(setup, plan->cores)};
    shoal_engine_request request = plan->request;
    SHOAL_TRY(choose_lengths(&request.settings, &s));
    complete(&s, plan->sequences, &request);
    SHOAL_TRY(shoal_bench_work_of(&request.settings, setup->ranks, &s.work));
    SHOAL_TRY(shoal_engine_open(&request, &s.engine));
    const shoal_status st = open_yard(plan, &s);
    if (st != SHOAL_OK)
        return shoal_bench_stand_close(&s, st);
    *out = s;
    return SHOAL_OK;
}

shoal_status shoal_bench_stand_close(shoal_bench_stand *s, shoal_status st)
{
    char text[SHOAL_ERROR_MAX];
    (void)snprintf(text, sizeof text, "%s", shoal_error_text());
    shoal_bench_session_close(s->session);
    const shoal_status closed = shoal_engine_close(s->engine);
    if (s->yard.pool)
        shoal_bench_yard_close(&s->yard);
    shoal_free(s->memory);
    shoal_bench_samples_free(&s->reads);
    shoal_bench_samples_free(&s->peaks);
    *s = (shoal_bench_stand){0};
    return st == SHOAL_OK ? closed : shoal_fail(st, "%s", text);
}

/* ---- yardsticks ------------------------------------------------------------------------------ */

shoal_status shoal_bench_stand_read(shoal_bench_stand *s, double *rate)
{
    *rate = 1e9 * shoal_bench_yard_read(&s->yard, s->memory + s->memory_at, READ_BYTES);
    s->memory_at = (s->memory_at + READ_BYTES) % MEMORY_BYTES;
    return shoal_bench_samples_add(&s->reads, *rate);
}

shoal_status shoal_bench_stand_peak(shoal_bench_stand *s, double *rate)
{
    *rate = 1e9 * shoal_bench_yard_peak(&s->yard, s->peak, PEAK_SECONDS);
    return shoal_bench_samples_add(&s->peaks, *rate);
}

double shoal_bench_stand_copy(shoal_bench_stand *s)
{
    const uint64_t half = MEMORY_BYTES / 2;
    return 1e9 * shoal_bench_yard_copy(&s->yard, s->memory + half, s->memory, half);
}

static shoal_status report_rate(shoal_bench_samples *samples, const char *unit, const char *name,
                                shoal_bench_rows *yardsticks)
{
    if (samples->count == 0 || isfinite(shoal_bench_rows_value(yardsticks, name)))
        return SHOAL_OK;
    shoal_bench_samples_sort(samples);
    return shoal_bench_rows_add(yardsticks, 1e-9 * shoal_bench_samples_quantile(samples, 0.5), unit,
                                NAN, "%s", name);
}

shoal_status shoal_bench_stand_report(shoal_bench_stand *s, shoal_bench_rows *yardsticks)
{
    char name[64];
    (void)snprintf(name, sizeof name, "read.t%d", s->width);
    SHOAL_TRY(report_rate(&s->reads, "GB/s", name, yardsticks));
    (void)snprintf(name, sizeof name, "peak.%s.t%d", s->peak->name, s->width);
    return report_rate(&s->peaks, "GOPS", name, yardsticks);
}

/* ---- steps ----------------------------------------------------------------------------------- */

shoal_status shoal_bench_stand_begin(shoal_bench_stand *s, int sequences)
{
    shoal_bench_session_close(s->session);
    s->session = NULL;
    return shoal_bench_session_open(s->engine, sequences, length_of(s, sequences), s->seed,
                                    &s->session);
}

shoal_status shoal_bench_stand_prefill(shoal_bench_stand *s, double *seconds)
{
    return shoal_bench_session_fill(s->session, 1, s->prompt, seconds);
}

shoal_status shoal_bench_stand_fill(shoal_bench_stand *s, int sequences)
{
    double seconds;
    s->position = s->context;
    return shoal_bench_session_fill(s->session, sequences, s->context, &seconds);
}

shoal_status shoal_bench_stand_decode(shoal_bench_stand *s, int sequences, double *seconds)
{
    const shoal_bench_share share = {
        .count = sequences, .position = s->position, .rows = 1, .want = SHOAL_WANT_TOKEN};
    SHOAL_TRY(shoal_bench_session_step(s->session, &share, seconds, NULL, NULL));
    s->position++;
    if (s->position == s->context + s->cycle)
        s->position = s->context;
    return SHOAL_OK;
}

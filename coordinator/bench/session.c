#include "coordinator/bench/session.h"

#include "coordinator/bench/random.h"
#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"
#include "coordinator/step_builder.h"
#include "kernels/backend.h"
#include "proto/arena.h"
#include "proto/bytes.h"

struct shoal_bench_session {
    shoal_engine *engine;
    int sequences;
    int64_t length, pages_each;
    shoal_sampling sampling;
    shoal_arena *arena;
    int32_t *tokens;                /* [sequences][length]     */
    int32_t *pages;                 /* [sequences][pages_each] */
    shoal_step_part *parts;         /* [sequences]             */
    shoal_sequence_result *results; /* [sequences]             */
    shoal_step_builder builder;
};

/* A zeroed array, or NULL and *st. */
static void *array_of(shoal_bench_session *s, int64_t count, size_t size, shoal_status *st)
{
    void *block = NULL;
    if (*st == SHOAL_OK)
        *st = shoal_arena_array(s->arena, (uint64_t)count, size, &block);
    return block;
}

static shoal_status make_arrays(shoal_bench_session *s, uint64_t seed)
{
    shoal_status st = shoal_arena_create(SHOAL_MEM_OTHER, &s->arena);
    s->tokens = array_of(s, s->sequences * s->length, sizeof *s->tokens, &st);
    s->pages = array_of(s, s->sequences * s->pages_each, sizeof *s->pages, &st);
    s->parts = array_of(s, s->sequences, sizeof *s->parts, &st);
    s->results = array_of(s, s->sequences, sizeof *s->results, &st);
    SHOAL_TRY(st);
    const uint32_t vocab = (uint32_t)s->engine->limits.vocab;
    for (int64_t i = 0; i < s->sequences * s->length; i++)
        s->tokens[i] = (int32_t)shoal_bench_random_below(&seed, vocab);
    for (int64_t i = 0; i < s->sequences * s->pages_each; i++)
        s->pages[i] = (int32_t)i;
    return SHOAL_OK;
}

shoal_status shoal_bench_session_open(shoal_engine *engine, int sequences, int64_t length,
                                      uint64_t seed, shoal_bench_session **out)
{
    const shoal_step_limits *limits = &engine->limits;
    const int64_t pages_each = shoal_ceil_div(length, SHOAL_PAGE);
    void *block;
    if (sequences > limits->sequences_max || length > limits->context ||
        sequences * pages_each > limits->pages)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "%d sequences of %lld tokens; the engine takes %lld of %lld, %lld in all",
                          sequences, (long long)length, (long long)limits->sequences_max,
                          (long long)limits->context, (long long)limits->pages * SHOAL_PAGE);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_bench_session), &block));
    shoal_bench_session *s = block;
    s->engine = engine;
    s->sequences = sequences;
    s->length = length;
    s->pages_each = pages_each;
    s->sampling = (shoal_sampling){
        .top_p = 1, .repetition_penalty = 1, .logprobs = -1}; /* temperature 0: greedy */
    const shoal_status st = make_arrays(s, seed);
    if (st != SHOAL_OK) {
        shoal_bench_session_close(s);
        return st;
    }
    *out = s;
    return SHOAL_OK;
}

void shoal_bench_session_close(shoal_bench_session *session)
{
    if (!session)
        return;
    shoal_step_builder_free(&session->builder);
    shoal_arena_destroy(session->arena);
    shoal_free(session);
}

static void compose(shoal_bench_session *s, const shoal_bench_share *share)
{
    for (int i = 0; i < share->count; i++) {
        const int sequence = share->first + i;
        s->parts[i] = (shoal_step_part){
            .id = (uint64_t)sequence,
            .prompt = s->tokens + sequence * s->length,
            .prompt_count = s->length,
            .position = share->position,
            .rows = share->rows,
            .pages = s->pages + sequence * s->pages_each,
            .want = share->want,
            .sampling = &s->sampling,
        };
    }
}

/* Chosen tokens go behind their rows, unless the sequence is full. */
static shoal_status take_results(shoal_bench_session *s, const shoal_bench_share *share)
{
    const int64_t next = share->position + share->rows;
    for (int i = 0; i < share->count; i++) {
        const shoal_sequence_result *result = &s->results[i];
        if (result->failed_layer >= 0)
            return shoal_fail(SHOAL_ERR_DATA, "layer %d, position %lld: a value out of range",
                              result->failed_layer,
                              (long long)share->position + result->failed_row);
        if (share->want == SHOAL_WANT_TOKEN && next < s->length)
            s->tokens[(share->first + i) * s->length + next] = result->token;
    }
    return SHOAL_OK;
}

shoal_status shoal_bench_session_step(shoal_bench_session *s, const shoal_bench_share *share,
                                      double *seconds, shoal_logits_sink sink, void *context)
{
    SHOAL_TRY(shoal_interrupt_check());
    compose(s, share);
    SHOAL_TRY(shoal_step_build(&s->builder, s->parts, share->count, ++s->engine->steps));
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(shoal_engine_step(s->engine, s->builder.block, s->builder.bytes, s->results, sink,
                                context));
    *seconds = shoal_clock_seconds() - begin;
    return take_results(s, share);
}

shoal_status shoal_bench_session_fill(shoal_bench_session *s, int count, int64_t tokens,
                                      double *seconds)
{
    const int64_t most = s->engine->limits.rows_max;
    const int64_t rows = shoal_min_i64(tokens, most);
    const int together = rows < tokens ? 1 : (int)(most / rows);
    *seconds = 0;
    for (int first = 0; first < count; first += together)
        for (int64_t at = 0; at < tokens; at += rows) {
            double took;
            const shoal_bench_share share = {
                .first = first,
                .count = (int)shoal_min_i64(together, count - first),
                .position = at,
                .rows = shoal_min_i64(rows, tokens - at),
                .want = at + rows < tokens ? SHOAL_WANT_NOTHING : SHOAL_WANT_TOKEN,
            };
            SHOAL_TRY(shoal_bench_session_step(s, &share, &took, NULL, NULL));
            *seconds += took;
        }
    return SHOAL_OK;
}

int32_t shoal_bench_session_token(const shoal_bench_session *session, int64_t position)
{
    return session->tokens[position];
}

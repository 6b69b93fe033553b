#include "coordinator/runner.h"

#include <string.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"
#include "coordinator/step_builder.h"
#include "kernels/backend.h"
#include "proto/bytes.h"
#include "worker/pages.h"

/* Where one run stands. */
typedef struct {
    bool started, ended;
    int64_t position; /* rows in the cache so far */
    int32_t *pages;   /* NULL until started */
    int32_t page_count;
} run_state;

/* What a run contributes to the step being built. */
typedef struct {
    int run;
    int64_t position, rows;
    shoal_want want;
} step_part;

typedef struct {
    shoal_engine *engine;
    int64_t chunk;
    shoal_run *runs;
    int count;
    const shoal_run_hooks *hooks;
    shoal_run_timing timing;
    run_state *states; /* [count] */
    shoal_pages *pages;
    step_part *parts; /* [sequences_max] */
    int part_count;
    shoal_step_part *shares;        /* [sequences_max] */
    shoal_sequence_result *results; /* [sequences_max] */
    shoal_step_builder builder;
    uint64_t rows_done, rows_total;
} runner;

int64_t shoal_run_tokens(const shoal_run *run)
{
    return run->prompt_count + (run->want == SHOAL_WANT_TOKEN ? run->max_tokens - 1 : 0);
}

/* Tokens known so far: the prompt and what was generated. */
static int64_t known(const shoal_run *run)
{
    return run->prompt_count + run->token_count;
}

/* ---- choosing what the step holds ------------------------------------------------------------ */

static bool is_decode(const runner *r, int i)
{
    return r->states[i].started && !r->states[i].ended && r->runs[i].want == SHOAL_WANT_TOKEN &&
           r->runs[i].token_count > 0;
}

/* Pages for the whole run, or nothing when there are too few now. */
static shoal_status start_run(runner *r, int i, bool *started)
{
    shoal_status st = SHOAL_OK;
    run_state *s = &r->states[i];
    void *array;
    const int64_t need = shoal_ceil_div(shoal_run_tokens(&r->runs[i]), SHOAL_PAGE);
    *started = false;
    if (need > shoal_pages_free(r->pages))
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)need, sizeof(int32_t), &array));
    SHOAL_TRY_GOTO(shoal_pages_take(r->pages, (int32_t)need, array), free_array);
    s->pages = array;
    s->page_count = (int32_t)need;
    s->started = *started = true;
    return SHOAL_OK;

free_array:
    shoal_free(array);
    return st;
}

static shoal_status end_run(runner *r, int i)
{
    run_state *s = &r->states[i];
    s->ended = true;
    SHOAL_TRY(shoal_pages_give(r->pages, s->pages, s->page_count));
    shoal_free(s->pages);
    s->pages = NULL;
    return SHOAL_OK;
}

/* The likelihood of a token is said by the row before it, in the same step: a later chunk repeats
 * the last row of the one before (writing the same bits into the cache). */
static step_part next_part(const runner *r, int i, int64_t rows_free)
{
    const shoal_run *run = &r->runs[i];
    int64_t position = r->states[i].position;
    if (run->want == SHOAL_WANT_NLL && position > 0)
        position--;
    const int64_t rows = shoal_min_i64(known(run) - position, shoal_min_i64(r->chunk, rows_free));
    const bool last = position + rows == known(run);
    const shoal_want want = run->want == SHOAL_WANT_TOKEN && !last ? SHOAL_WANT_NOTHING : run->want;
    return (step_part){i, position, rows, want};
}

/* A chunk of likelihood that would bring no new row is no use. */
static bool worth_it(const runner *r, const step_part *part)
{
    return part->position + part->rows > r->states[part->run].position;
}

static shoal_status choose_parts(runner *r)
{
    int64_t rows_free = r->engine->limits.rows_max;
    r->part_count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < r->count; i++) {
            if (rows_free <= 0 || r->part_count >= r->engine->limits.sequences_max)
                return SHOAL_OK;
            if (r->states[i].ended || is_decode(r, i) != (pass == 0))
                continue;
            bool started = r->states[i].started;
            if (!started)
                SHOAL_TRY(start_run(r, i, &started));
            if (!started)
                return SHOAL_OK; /* first come, first served */
            const step_part part = next_part(r, i, rows_free);
            if (!worth_it(r, &part))
                continue;
            r->parts[r->part_count++] = part;
            rows_free -= part.rows;
        }
    }
    return SHOAL_OK;
}

/* ---- building it ----------------------------------------------------------------------------- */

static shoal_status build_step(runner *r)
{
    for (int i = 0; i < r->part_count; i++) {
        const step_part *part = &r->parts[i];
        const shoal_run *run = &r->runs[part->run];
        r->shares[i] = (shoal_step_part){
            .id = (uint64_t)part->run,
            .prompt = run->prompt,
            .output = run->tokens,
            .prompt_count = run->prompt_count,
            .output_count = run->token_count,
            .position = part->position,
            .rows = part->rows,
            .pages = r->states[part->run].pages,
            .want = part->want,
            .sampling = &run->sampling,
        };
    }
    return shoal_step_build(&r->builder, r->shares, r->part_count, ++r->engine->steps);
}

/* ---- what came back -------------------------------------------------------------------------- */

static shoal_status pass_row(void *context, int sequence, int row, const float *logits,
                             int64_t vocab)
{
    const runner *r = context;
    const step_part *part = &r->parts[sequence];
    if (!r->hooks || !r->hooks->on_row)
        return SHOAL_OK;
    return r->hooks->on_row(r->hooks->context, part->run, part->position + row, logits, vocab);
}

static shoal_status take_token(runner *r, int i, int32_t token)
{
    shoal_run *run = &r->runs[i];
    run->tokens[run->token_count++] = token;
    for (int k = 0; k < run->stop_count; k++)
        run->stopped |= run->stop_ids[k] == token;
    if (r->hooks && r->hooks->on_token)
        return r->hooks->on_token(r->hooks->context, i, token);
    return SHOAL_OK;
}

static bool finished(const runner *r, int i)
{
    const shoal_run *run = &r->runs[i];
    if (run->want == SHOAL_WANT_TOKEN)
        return run->stopped || run->token_count >= run->max_tokens;
    return r->states[i].position >= run->prompt_count;
}

static shoal_status take_result(runner *r, const step_part *part,
                                const shoal_sequence_result *result)
{
    shoal_run *run = &r->runs[part->run];
    if (result->failed_layer >= 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "layer %d, position %lld: a value beyond what the arithmetic can hold "
                          "(the weights, or this input, overflow)",
                          result->failed_layer, (long long)part->position + result->failed_row);
    r->states[part->run].position = part->position + part->rows;
    if (part->want == SHOAL_WANT_NLL)
        run->nll += result->nll;
    if (part->want == SHOAL_WANT_TOKEN)
        SHOAL_TRY(take_token(r, part->run, result->token));
    return finished(r, part->run) ? end_run(r, part->run) : SHOAL_OK;
}

/* A step counts as prefill unless every sequence in it only continues. */
static void count_time(runner *r, double seconds, int64_t rows, bool decode)
{
    if (decode) {
        r->timing.decode_seconds += seconds;
        r->timing.decode_rows += rows;
    } else {
        r->timing.prefill_seconds += seconds;
        r->timing.prefill_rows += rows;
    }
    r->rows_done += (uint64_t)rows;
    if (r->hooks && r->hooks->on_progress)
        r->hooks->on_progress(r->hooks->context, r->rows_done, r->rows_total);
}

static shoal_status one_step(runner *r)
{
    int64_t rows = 0;
    bool decode = true;
    SHOAL_TRY(shoal_interrupt_check());
    SHOAL_TRY(choose_parts(r));
    if (r->part_count == 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "no sequence fits into a step");
    for (int i = 0; i < r->part_count; i++) {
        rows += r->parts[i].rows;
        decode &= is_decode(r, r->parts[i].run);
    }
    SHOAL_TRY(build_step(r));
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(
        shoal_engine_step(r->engine, r->builder.block, r->builder.bytes, r->results, pass_row, r));
    count_time(r, shoal_clock_seconds() - begin, rows, decode);
    for (int i = 0; i < r->part_count; i++)
        SHOAL_TRY(take_result(r, &r->parts[i], &r->results[i]));
    return SHOAL_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static shoal_status check_run(const runner *r, int i)
{
    const shoal_run *run = &r->runs[i];
    const int64_t tokens = shoal_run_tokens(run), vocab = r->engine->limits.vocab;
    const int64_t pool = r->engine->limits.pages * SHOAL_PAGE;
    if (run->prompt_count < 1)
        return shoal_fail(SHOAL_ERR_USAGE, "there are no tokens to run");
    for (int64_t k = 0; k < run->prompt_count; k++)
        if (run->prompt[k] < 0 || run->prompt[k] >= vocab)
            return shoal_fail(SHOAL_ERR_DATA,
                              "token %lld has the id %d; the vocabulary ends at %lld", (long long)k,
                              run->prompt[k], (long long)vocab - 1);
    if (tokens > r->engine->limits.context)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "a sequence of %lld tokens is longer than the model's context of %lld",
                          (long long)tokens, (long long)r->engine->limits.context);
    if (tokens > pool)
        return shoal_fail(SHOAL_ERR_USAGE, "a sequence of %lld tokens; the KV cache holds %lld",
                          (long long)tokens, (long long)pool);
    return SHOAL_OK;
}

static shoal_status prepare(runner *r)
{
    void *array;
    const uint64_t sequences = (uint64_t)r->engine->limits.sequences_max;
    for (int i = 0; i < r->count; i++) {
        SHOAL_TRY(check_run(r, i));
        r->runs[i].token_count = 0;
        r->runs[i].stopped = false;
        r->runs[i].nll = 0;
        r->rows_total += (uint64_t)shoal_run_tokens(&r->runs[i]);
    }
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)r->count, sizeof *r->states, &array));
    r->states = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof *r->parts, &array));
    r->parts = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof *r->shares, &array));
    r->shares = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof *r->results, &array));
    r->results = array;
    return shoal_pages_create((int32_t)r->engine->limits.pages, &r->pages);
}

static bool all_ended(const runner *r)
{
    for (int i = 0; i < r->count; i++)
        if (!r->states[i].ended)
            return false;
    return true;
}

static void release(runner *r)
{
    for (int i = 0; r->states && i < r->count; i++)
        shoal_free(r->states[i].pages);
    shoal_pages_destroy(r->pages);
    shoal_free(r->states);
    shoal_free(r->parts);
    shoal_free(r->shares);
    shoal_free(r->results);
    shoal_step_builder_free(&r->builder);
}

shoal_status shoal_run_all(shoal_engine *engine, int64_t chunk, shoal_run *runs, int count,
                           const shoal_run_hooks *hooks, shoal_run_timing *timing)
{
    runner r = {
        .engine = engine,
        .chunk = shoal_min_i64(chunk, engine->limits.rows_max),
        .runs = runs,
        .count = count,
        .hooks = hooks,
    };
    /* Likelihood needs two rows at a time. */
    for (int i = 0; i < count; i++)
        if (runs[i].want == SHOAL_WANT_NLL && r.chunk < 2)
            r.chunk = 2;
    shoal_status st = prepare(&r);
    while (st == SHOAL_OK && !all_ended(&r))
        st = one_step(&r);
    if (st == SHOAL_OK && timing)
        *timing = r.timing;
    release(&r);
    return st;
}

/* tests/unit/fake_engine.h - an engine that computes no model, and dies when it is told to.
 *
 * Its cache holds tokens instead of keys and values. A sequence's next token is a hash of what its
 * pages hold from position 0 on, so a wrong page, a forgotten row or a stale cache changes the
 * answer. A mask moves it on to the next token that is allowed. Every generation begins with
 * garbage in all pages. */
#ifndef SHOAL_TESTS_UNIT_FAKE_ENGINE_H
#define SHOAL_TESTS_UNIT_FAKE_ENGINE_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/engine.h"
#include "kernels/backend.h"
#include "proto/arena.h"

#define FAKE_VOCAB   512
#define FAKE_CONTEXT 256
#define FAKE_NONE    (-1)

/* What the engines of one test do; read by the driver's thread. */
typedef struct {
    int64_t pages, rows_max, sequences_max;
    int deaths[16]; /* step numbers, counted over all generations, at which it dies */
    int death_count;
    int failing_opens; /* generations from now that do not come up */
    int32_t poison;    /* a step that holds this token dies, FAKE_NONE: no such token */
    int32_t overflow;  /* computing a row of it is a row error */
    int step_ms;       /* how long a step takes, at least */
    int steps, opened; /* so far */
} fake_script;

static fake_script fake;

typedef struct {
    shoal_engine base;
    int32_t *kv; /* [pages * SHOAL_PAGE] */
} fake_engine;

/* The token that follows tokens[0, count). */
static inline int32_t fake_next(const int32_t *tokens, int64_t count)
{
    uint64_t h = 14695981039346656037u;
    for (int64_t i = 0; i < count; i++)
        h = (h ^ (uint64_t)(uint32_t)tokens[i]) * 1099511628211u;
    return (int32_t)((h >> 33) % FAKE_VOCAB);
}

/* The first token from this one on, in a circle, that the mask of the sequence allows. */
static inline int32_t fake_allowed(const shoal_step_view *view, const shoal_step_sequence *s,
                                   int32_t token)
{
    if (s->allowed_first < 0)
        return token;
    const uint32_t *mask = view->masks + s->allowed_first;
    for (int i = 0; i < FAKE_VOCAB && !(mask[token / 32] >> (token % 32) & 1); i++)
        token = (token + 1) % FAKE_VOCAB;
    return token;
}

static bool fake_dies(const shoal_step_view *view)
{
    const int step = fake.steps++;
    for (int i = 0; i < fake.death_count; i++)
        if (fake.deaths[i] == step)
            return true;
    for (int32_t i = 0; i < view->step->token_count; i++)
        if (view->tokens[i] == fake.poison)
            return true;
    return false;
}

static void fake_sequence(fake_engine *e, const shoal_step_view *view, int index,
                          shoal_sequence_result *result)
{
    const shoal_step_sequence *s = &view->sequences[index];
    const int32_t *pages = view->pages + s->first_page;
    const int64_t count = s->position + s->rows;
    int32_t known[FAKE_CONTEXT];
    bool overflow = false;
    for (int32_t r = 0; r < s->rows; r++) {
        const int64_t at = s->position + r;
        e->kv[pages[at / SHOAL_PAGE] * SHOAL_PAGE + at % SHOAL_PAGE] =
            view->tokens[s->first_token + r];
        overflow |= view->tokens[s->first_token + r] == fake.overflow;
    }
    for (int64_t at = 0; at < count; at++)
        known[at] = e->kv[pages[at / SHOAL_PAGE] * SHOAL_PAGE + at % SHOAL_PAGE];
    *result = (shoal_sequence_result){.id = s->id, .token = -1, .failed_layer = -1};
    if (overflow)
        result->failed_layer = 1;
    else if (s->want == SHOAL_WANT_TOKEN)
        result->token = fake_allowed(view, s, fake_next(known, count));
}

static shoal_status fake_step(shoal_engine *engine, const void *block, uint64_t bytes,
                              shoal_sequence_result *results, shoal_logits_sink sink, void *context)
{
    shoal_step_view view;
    const struct timespec pause = {.tv_nsec = fake.step_ms * 1000000L};
    (void)sink, (void)context;
    if (fake.step_ms > 0)
        (void)nanosleep(&pause, NULL);
    SHOAL_TRY(shoal_step_open(block, bytes, &engine->limits, &view));
    if (fake_dies(&view))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "the fake engine died");
    for (int i = 0; i < view.step->sequence_count; i++)
        fake_sequence((fake_engine *)engine, &view, i, &results[i]);
    return SHOAL_OK;
}

static shoal_status fake_close(shoal_engine *engine)
{
    shoal_engine_free_reports(engine);
    free(((fake_engine *)engine)->kv);
    free(engine);
    return SHOAL_OK;
}

static shoal_status fake_open(const shoal_engine_request *request, shoal_engine **out)
{
    static const shoal_engine_ops ops = {"fake", fake_step, shoal_engine_wait, fake_close, NULL};
    (void)request;
    fake.opened++;
    if (fake.failing_opens > 0) {
        fake.failing_opens--;
        return shoal_fail(SHOAL_ERR_TEMPORARY, "the fake engine did not come up");
    }
    fake_engine *e = calloc(1, sizeof *e);
    const size_t bytes = (size_t)(fake.pages * SHOAL_PAGE) * sizeof *e->kv;
    e->kv = malloc(bytes);
    memset(e->kv, 0x5a, bytes);
    e->base.ops = &ops;
    e->base.ranks = 1;
    e->base.limits = (shoal_step_limits){.vocab = FAKE_VOCAB,
                                         .context = FAKE_CONTEXT,
                                         .pages = fake.pages,
                                         .rows_max = fake.rows_max,
                                         .sequences_max = fake.sequences_max};
    SHOAL_TRY(shoal_engine_make_reports(&e->base));
    *out = &e->base;
    return SHOAL_OK;
}

#endif

#include "coordinator/bench/scaling_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

/* Rows of logits that the proof covers, and reads of memory between the steps. */
#define PROOF_ROWS 8
#define READS      8

typedef struct {
    const shoal_bench_scaling_plan *plan;
    shoal_bench_stand stand;
    shoal_bench_rows *rows;
    shoal_bench_proof *proof;
    double widest; /* tokens/s of one rank on all cores; NAN: not measured */
    shoal_rank_timing before[SHOAL_RANKS_MAX];
    shoal_xxh128_stream hash;
    int tokens, logit_rows;
} scaling;

static void name_row(const scaling *s, char out[64], const char *more)
{
    (void)snprintf(out, 64, "scaling.%s.r%dt%d%s", s->plan->label, s->stand.setup.ranks,
                   s->stand.setup.threads, more);
}

/* ---- one setup ------------------------------------------------------------------------------- */

static shoal_status add_logits(void *context, int sequence, int row, const float *logits,
                               int64_t vocab)
{
    scaling *s = context;
    (void)sequence;
    (void)row;
    shoal_xxh128_add(&s->hash, logits, (size_t)vocab * sizeof *logits);
    s->logit_rows++;
    return SHOAL_OK;
}

/* The last rows of the context once more, with their logits. */
static shoal_status hash_logits(scaling *s)
{
    double seconds;
    const int64_t rows = shoal_min_i64(PROOF_ROWS, s->stand.context);
    const shoal_bench_share share = {
        .count = 1, .position = s->stand.context - rows, .rows = rows, .want = SHOAL_WANT_LOGITS};
    return shoal_bench_session_step(s->stand.session, &share, &seconds, add_logits, s);
}

static void hash_tokens(scaling *s)
{
    s->tokens = (int)s->stand.cycle;
    for (int64_t i = 0; i < s->stand.cycle; i++)
        shoal_xxh128_add_i64(&s->hash,
                             shoal_bench_session_token(s->stand.session, s->stand.context + i));
}

/* A whole cycle of steps; *rate in tokens per second, a median. */
static shoal_status decode(scaling *s, double *rate)
{
    shoal_bench_samples rates = {0};
    shoal_status st = SHOAL_OK;
    for (int64_t i = 0; i < s->stand.cycle && st == SHOAL_OK; i++) {
        double seconds = 0;
        st = shoal_bench_stand_decode(&s->stand, 1, &seconds);
        if (st == SHOAL_OK)
            st = shoal_bench_samples_add(&rates, 1 / seconds);
    }
    shoal_bench_samples_sort(&rates);
    *rate = shoal_bench_samples_quantile(&rates, 0.5);
    shoal_bench_samples_free(&rates);
    return st;
}

static shoal_status add_rank(scaling *s, int rank)
{
    const shoal_rank_timing *a = &s->before[rank], *b = &s->stand.engine->timing[rank];
    const double steps = (double)(b->steps - a->steps);
    const double step = b->step_seconds - a->step_seconds;
    const double exchange = b->exchange_seconds - a->exchange_seconds;
    const double waited = b->waited_seconds - a->waited_seconds;
    const struct {
        const char *name;
        double seconds;
    } parts[] = {{"compute", step - exchange}, {"reduce", exchange - waited}, {"waiting", waited}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char more[32], name[64];
        (void)snprintf(more, sizeof more, ".rank%d.%s", rank, parts[i].name);
        name_row(s, name, more);
        SHOAL_TRY(
            shoal_bench_rows_add(s->rows, 1e3 * parts[i].seconds / steps, "ms", NAN, "%s", name));
    }
    return SHOAL_OK;
}

static shoal_status measure(scaling *s)
{
    char name[64];
    double rate, read;
    shoal_bench_stand *stand = &s->stand;
    SHOAL_TRY(shoal_bench_stand_begin(stand, 1));
    SHOAL_TRY(shoal_bench_stand_fill(stand, 1));
    SHOAL_TRY(hash_logits(s));
    SHOAL_TRY(shoal_engine_refresh(stand->engine));
    memcpy(s->before, stand->engine->timing, (size_t)stand->engine->ranks * sizeof *s->before);
    SHOAL_TRY(decode(s, &rate));
    SHOAL_TRY(shoal_engine_refresh(stand->engine));
    hash_tokens(s);
    for (int i = 0; i < READS; i++)
        SHOAL_TRY(shoal_bench_stand_read(stand, &read));
    name_row(s, name, "");
    (void)fprintf(stderr, "  %s: %.4g tokens/s\n", name, rate);
    SHOAL_TRY(shoal_bench_rows_add(s->rows, rate, "tokens/s", s->widest, "%s", name));
    for (int r = 0; r < stand->engine->ranks; r++)
        SHOAL_TRY(add_rank(s, r));
    if (stand->setup.ranks == 1 && stand->setup.threads >= s->plan->stand.cores)
        s->widest = rate;
    return SHOAL_OK;
}

/* ---- the proof ------------------------------------------------------------------------------- */

static shoal_status compare(scaling *s)
{
    uint8_t digest[SHOAL_XXH128_BYTES];
    char name[64];
    shoal_xxh128_finish(&s->hash, digest);
    name_row(s, name, "");
    if (s->proof->setups > 0 && memcmp(digest, s->proof->digest, sizeof digest) != 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s gives other tokens or logits than the first",
                          name);
    memcpy(s->proof->digest, digest, sizeof digest);
    s->proof->tokens = s->tokens;
    s->proof->logit_rows = s->logit_rows;
    s->proof->setups++;
    return SHOAL_OK;
}

static shoal_status measure_setup(scaling *s, const shoal_bench_setup *setup,
                                  shoal_bench_rows *yardsticks)
{
    SHOAL_TRY(shoal_bench_stand_open(&s->plan->stand, setup, &s->stand));
    s->logit_rows = 0;
    shoal_xxh128_begin(&s->hash);
    shoal_status st = measure(s);
    if (st == SHOAL_OK)
        st = compare(s);
    if (st == SHOAL_OK)
        st = shoal_bench_stand_report(&s->stand, yardsticks);
    return shoal_bench_stand_close(&s->stand, st);
}

shoal_status shoal_bench_scaling_run(const shoal_bench_scaling_plan *plan,
                                     const shoal_bench_setup *setups, int count,
                                     shoal_bench_rows *rows, shoal_bench_rows *yardsticks,
                                     shoal_bench_proof *proof)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(scaling), &block));
    scaling *s = block;
    s->plan = plan;
    s->rows = rows;
    s->proof = proof;
    s->widest = NAN;
    *proof = (shoal_bench_proof){0};
    for (int i = 0; i < count && st == SHOAL_OK; i++)
        st = measure_setup(s, &setups[i], yardsticks);
    shoal_free(s);
    return st;
}

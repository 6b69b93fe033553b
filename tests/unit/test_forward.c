/* Whole steps, built by hand, on one rank and on several: any chunking gives the same logits and
 * the same cache whatever stale pages hold, and a row that meets a value the arithmetic cannot hold
 * ends its own sequence, naming layer and row, and nobody else's bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kv.h"
#include "proto/dtype.h"
#include "tests/support/model_recipe.h"
#include "tests/support/sanitized.h"
#include "worker/answer.h"
#include "worker/assembly.h"

#define RANKS_MAX 7
#define VOCAB     96
#define LAYERS    2
#define KV_HEADS  3
#define HEAD_DIM  32
#define PROMPT    600
#define TOKENS    (SANITIZED ? 300 : PROMPT) /* of it in chunks: more than one of attention */
#define PIECES    8

/* A rank that waits for ever is a failure, too. */
#define PATIENCE_SECONDS 300

static const shoal_recipe small = {.family = "mistral",
                                   .layers = LAYERS,
                                   .hidden = 128,
                                   .intermediate = 448,
                                   .heads = 2 * KV_HEADS,
                                   .kv_heads = KV_HEADS,
                                   .head_dim = HEAD_DIM,
                                   .vocab = VOCAB,
                                   .context = 640,
                                   .window = 100,
                                   .bits = 4,
                                   .group = 32,
                                   .seed = 3};

/* Tokens of one sequence in a step. */
typedef struct {
    const int32_t *tokens;
    int64_t position;
    int32_t rows;
    const int32_t *pages; /* of positions [0, position + rows) */
    shoal_want want;
    bool masked; /* no token may be chosen */
} piece;

typedef struct {
    int ranks;
    shoal_comm *comm[RANKS_MAX];
    shoal_assembly parts[RANKS_MAX];
    shoal_forward forward[RANKS_MAX];
    _Atomic uint64_t heartbeat[RANKS_MAX];
    shoal_sampler *sampler;
    shoal_step_limits limits;
    /* the step in hand */
    const void *block;
    uint64_t bytes;
    shoal_sequence_result results[PIECES];
    float *logits[PIECES]; /* where each sequence's rows go, by position; NULL: nowhere */
} cluster;

static int32_t prompt[PROMPT];
static shoal_maker *windowed;

/* Rows from which a step is dealt among ranks: every test runs with all steps dealt and with none.
 */
static int64_t deal_rows;

/* ---- a cluster ------------------------------------------------------------------------------- */

typedef struct {
    cluster *c;
    int rank;
    shoal_status status;
    const shoal_worker_settings *settings;
} rank_task;

static void on_all_ranks(cluster *c, const shoal_worker_settings *settings, void *(*run)(void *))
{
    rank_task tasks[RANKS_MAX];
    pthread_t threads[RANKS_MAX];
    for (int r = 0; r < c->ranks; r++) {
        tasks[r] = (rank_task){c, r, SHOAL_OK, settings};
        assert_int_equal(pthread_create(&threads[r], NULL, run, &tasks[r]), 0);
    }
    for (int r = 0; r < c->ranks; r++)
        pthread_join(threads[r], NULL);
    for (int r = 0; r < c->ranks; r++)
        assert_int_equal(tasks[r].status, SHOAL_OK);
}

static void *open_rank(void *context)
{
    rank_task *t = context;
    cluster *c = t->c;
    shoal_assembly *parts = &c->parts[t->rank];
    t->status = shoal_assembly_open(t->settings, c->comm[t->rank], NULL, NULL, parts);
    if (t->status != SHOAL_OK)
        print_error("%s\n", shoal_error_text());
    else
        shoal_assembly_forward(parts, c->comm[t->rank], &c->heartbeat[t->rank],
                               &c->forward[t->rank]);
    return NULL;
}

/* `quantize` and `keep` as in the settings; NULL: none. */
static cluster *open_quantized(const shoal_maker *model, int ranks, shoal_kv_type kv,
                               const char *quantize, const char *keep)
{
    cluster *c = calloc(1, sizeof *c);
    shoal_worker_settings s;
    assert_non_null(c);
    shoal_worker_defaults(&s);
    s.model = shoal_maker_path(model);
    s.quantize = quantize;
    s.keep_regex = keep;
    s.deal_rows = deal_rows;
    s.prefill_chunk = 640;
    s.max_sequences = PIECES;
    s.kv_tokens = (int64_t)1280;
    s.kv = (int)kv;
    c->ranks = ranks;
    assert_int_equal(shoal_comm_local_create(ranks, 1, c->comm), SHOAL_OK);
    on_all_ranks(c, &s, open_rank);
    assert_int_equal(shoal_sampler_create(VOCAB, &c->sampler), SHOAL_OK);
    c->limits = (shoal_step_limits){VOCAB, 640, 1280 / SHOAL_PAGE, 640, PIECES};
    return c;
}

static cluster *open_cluster(const shoal_maker *model, int ranks, shoal_kv_type kv)
{
    return open_quantized(model, ranks, kv, NULL, NULL);
}

static void close_cluster(cluster *c)
{
    for (int r = 0; r < c->ranks; r++) {
        shoal_assembly_close(&c->parts[r]);
        shoal_comm_close(c->comm[r]);
    }
    shoal_sampler_destroy(c->sampler);
    free(c);
}

static void fill_pages(cluster *c, int value)
{
    for (int r = 0; r < c->ranks; r++)
        for (int layer = 0; layer < LAYERS; layer++) {
            const shoal_kv_layer *kv = &c->parts[r].kv.layers[layer];
            const uint64_t head = shoal_kv_head_bytes(kv->type, HEAD_DIM);
            memset(kv->base, value, (size_t)(kv->pages * kv->kv_heads) * head);
        }
}

/* ---- a step ---------------------------------------------------------------------------------- */

static int32_t pages_of(const piece *p)
{
    return (int32_t)((p->position + p->rows + SHOAL_PAGE - 1) / SHOAL_PAGE);
}

/* The block of a step; freed by the caller. */
static void *build(const piece *pieces, int count, uint64_t *bytes)
{
    int32_t tokens = 0, pages = 0;
    const int32_t words = (VOCAB + 31) / 32;
    shoal_step_draft d;
    for (int i = 0; i < count; i++) {
        tokens += pieces[i].rows;
        pages += pages_of(&pieces[i]);
    }
    *bytes = shoal_step_bytes(count, tokens, pages, 0, 0, words);
    void *block = calloc(1, *bytes);
    assert_non_null(block);
    shoal_step_layout(block, count, tokens, pages, 0, 0, words, &d);
    tokens = pages = 0;
    for (int i = 0; i < count; i++) {
        const piece *p = &pieces[i];
        d.sequences[i] = (shoal_step_sequence){
            .id = 100 + (uint64_t)i,
            .position = p->position,
            .rows = p->rows,
            .first_token = tokens,
            .first_page = pages,
            .page_count = pages_of(p),
            .want = (int32_t)p->want,
            .allowed_first = p->masked ? 0 : -1,
            .sampling = {.top_p = 1.0f, .repetition_penalty = 1.0f, .logprobs = 3},
        };
        memcpy(d.tokens + tokens, p->tokens, (size_t)p->rows * sizeof *d.tokens);
        memcpy(d.pages + pages, p->pages, (size_t)pages_of(p) * sizeof *d.pages);
        tokens += p->rows;
        pages += pages_of(p);
    }
    return block;
}

static shoal_status keep_row(void *context, int sequence, int row, const float *logits,
                             int64_t vocab)
{
    const cluster *c = context;
    const shoal_step_sequence *first = (const void *)((const shoal_step *)c->block + 1);
    if (c->logits[sequence])
        memcpy(c->logits[sequence] + (first[sequence].position + row) * vocab, logits,
               (size_t)vocab * sizeof *logits);
    return SHOAL_OK;
}

static shoal_status step_of_rank(cluster *c, int rank)
{
    shoal_step_view view;
    SHOAL_TRY(shoal_step_open(c->block, c->bytes, &c->limits, &view));
    shoal_fp_reset();
    if (rank != 0)
        return shoal_forward_step(&c->forward[rank], &view, NULL, NULL);
    shoal_answer answer = {
        .sampler = c->sampler,
        .view = &view,
        .scratch = &c->parts[0].scratch,
        .results = c->results,
        .sink = keep_row,
        .sink_context = c,
        .vocab = VOCAB,
        .layer_count = LAYERS,
    };
    shoal_answer_begin(&answer);
    SHOAL_TRY(shoal_forward_step(&c->forward[0], &view, shoal_answer_row, &answer));
    return shoal_answer_end(&answer);
}

static void *step_rank(void *context)
{
    rank_task *t = context;
    t->status = step_of_rank(t->c, t->rank);
    if (t->status != SHOAL_OK)
        print_error("%s\n", shoal_error_text());
    return NULL;
}

/* All ranks come to the same verdict about every row, not only rank 0. */
static void expect_one_verdict(const cluster *c, int32_t rows)
{
    for (int r = 1; r < c->ranks; r++)
        assert_memory_equal(c->parts[r].scratch.failed_layer, c->parts[0].scratch.failed_layer,
                            (size_t)rows * sizeof(int32_t));
}

static void step(cluster *c, const piece *pieces, int count)
{
    void *block = build(pieces, count, &c->bytes);
    int32_t rows = 0;
    c->block = block;
    if (c->ranks == 1)
        assert_int_equal(step_of_rank(c, 0), SHOAL_OK);
    else
        on_all_ranks(c, NULL, step_rank);
    for (int i = 0; i < count; i++)
        rows += pieces[i].rows;
    expect_one_verdict(c, rows);
    free(block);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* Pages in an order of their own, every other one of the pool. */
static void scatter(int32_t *pages, int count)
{
    for (int i = 0; i < count; i++)
        pages[i] = (i * 7 + 3) % 40 * 2;
}

/* Run the prompt in chunks of `chunk`; logits [TOKENS][VOCAB]. */
static void run_chunks(cluster *c, int32_t chunk, const int32_t *pages, float *logits)
{
    c->logits[0] = logits;
    for (int32_t at = 0; at < TOKENS; at += chunk) {
        const piece p = {.tokens = prompt + at,
                         .position = at,
                         .rows = at + chunk < TOKENS ? chunk : TOKENS - at,
                         .pages = pages,
                         .want = SHOAL_WANT_LOGITS};
        step(c, &p, 1);
        assert_int_equal(c->results[0].failed_layer, -1);
    }
}

/* Of one position: key, value, and their scales in an int8 cache. */
typedef struct {
    uint8_t key[HEAD_DIM * 4], value[HEAD_DIM * 4];
    float scales[2];
} entry;

static entry entry_at(const shoal_kv_layer *kv, int64_t head, int32_t page, int64_t slot)
{
    const size_t size = (size_t)shoal_kv_element(kv->type);
    const uint8_t *at = shoal_kv_at(kv, head, page, shoal_kv_head_bytes(kv->type, HEAD_DIM));
    const uint8_t *values = at + shoal_kv_values_at(kv->type, HEAD_DIM);
    entry e = {.scales = {0, 0}};
    for (size_t d = 0; d < HEAD_DIM; d++)
        memcpy(e.key + d * size,
               at + (size_t)shoal_kv_key_index(kv->type, HEAD_DIM, (int64_t)d, slot) * size, size);
    memcpy(e.value, values + (size_t)slot * HEAD_DIM * size, HEAD_DIM * size);
    if (kv->type == SHOAL_KV_INT8) {
        const uint8_t *scales = at + shoal_kv_scales_at(HEAD_DIM) + slot * 4;
        memcpy(&e.scales[0], scales, 4);
        memcpy(&e.scales[1], scales + SHOAL_PAGE * 4, 4);
    }
    return e;
}

/* The cache of the prompt, as if one rank held it: out[layer][kv head][TOKENS]. */
static void read_cache(const cluster *c, const int32_t *pages, entry *out)
{
    for (int r = 0; r < c->ranks; r++) {
        const shoal_range heads = c->parts[r].blueprint->plan.rank[r].kv_heads;
        for (int layer = 0; layer < LAYERS; layer++)
            for (int64_t head = heads.begin; head < heads.end; head++)
                for (int at = 0; at < TOKENS; at++)
                    out[(layer * KV_HEADS + head) * TOKENS + at] =
                        entry_at(&c->parts[r].kv.layers[layer], head - heads.begin,
                                 pages[at / SHOAL_PAGE], at % SHOAL_PAGE);
    }
}

#define LOGITS_BYTES (TOKENS * VOCAB * sizeof(float))
#define CACHE_BYTES  (LAYERS * KV_HEADS * TOKENS * sizeof(entry))

static void check_chunks(const shoal_maker *model, int ranks, shoal_kv_type kv, float *want,
                         entry *want_cache)
{
    static const int32_t chunks[] = {TOKENS, 1, 7, 255, 256, 257};
    int32_t pages[TOKENS / SHOAL_PAGE + 1];
    float *got = malloc(LOGITS_BYTES);
    entry *cache = malloc(CACHE_BYTES);
    assert_non_null(got);
    assert_non_null(cache);
    scatter(pages, TOKENS / SHOAL_PAGE + 1);
    cluster *c = open_cluster(model, ranks, kv);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        const bool first = ranks == 1 && i == 0;
        if (ranks > 1 && i % 2) /* the others were compared on one rank */
            continue;
        fill_pages(c, first ? 0 : 0xff); /* zeros once, then NaN */
        run_chunks(c, chunks[i], pages, first ? want : got);
        read_cache(c, pages, first ? want_cache : cache);
        if (first)
            continue;
        if (memcmp(got, want, LOGITS_BYTES) || memcmp(cache, want_cache, CACHE_BYTES))
            fail_msg("%d ranks, kv type %d, chunks of %d: other bits", ranks, (int)kv, chunks[i]);
    }
    close_cluster(c);
    free(got);
    free(cache);
}

/* T single decodes = one prefill = any chunks: logits and cache, with and without a window, in
 * every type of cache, among pages full of NaN. */
static void chunks_give_the_same_bits(void **state)
{
    (void)state;
    shoal_recipe open = small;
    open.window = 0;
    shoal_maker *models[] = {windowed, shoal_recipe_make(&open)};
    float *want = malloc(LOGITS_BYTES), *windowed_want = malloc(LOGITS_BYTES);
    entry *cache = malloc(CACHE_BYTES);
    assert_true(want && windowed_want && cache);
    for (shoal_kv_type kv = SHOAL_KV_F32; kv <= SHOAL_KV_INT8; kv++) {
        for (int m = 0; m < 2; m++) {
            check_chunks(models[m], 1, kv, m ? want : windowed_want, cache);
            check_chunks(models[m], 3, kv, m ? want : windowed_want, cache);
        }
        /* The window is seen from row 100 on: row i sees i - 100 < j <= i. */
        assert_memory_equal(want, windowed_want, 100 * VOCAB * sizeof *want);
        assert_memory_not_equal(want + 100 * VOCAB, windowed_want + 100 * VOCAB,
                                VOCAB * sizeof *want);
    }
    shoal_maker_end(models[1]);
    free(want);
    free(windowed_want);
    free(cache);
}

/* More ranks than heads: some have no attention, no vocabulary or no unit at all; o is gathered in
 * the act-order model. */
static void ranks_may_hold_nothing(void **state)
{
    (void)state;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        shoal_recipe few = small;
        few.heads = 2;
        few.kv_heads = 1;
        few.intermediate = 256;
        few.act_order = shuffled;
        shoal_maker *model = shoal_recipe_make(&few);
        const piece p = {.tokens = prompt,
                         .rows = 20,
                         .pages = (const int32_t[]){4, 2},
                         .want = SHOAL_WANT_LOGITS};
        static float want[20 * VOCAB], got[20 * VOCAB];
        for (int ranks = 1; ranks <= 3; ranks++) {
            cluster *c = open_cluster(model, ranks, SHOAL_KV_F16);
            c->logits[0] = ranks == 1 ? want : got;
            step(c, &p, 1);
            if (ranks > 1)
                assert_memory_equal(got, want, sizeof want);
            close_cluster(c);
        }
        shoal_maker_end(model);
    }
}

/* Norms of the branches before they join, as Gemma has them: any vector of the size will do. */
static void norm_branches(cluster *c)
{
    for (int r = 0; r < c->ranks; r++)
        for (int layer = 0; layer < LAYERS; layer++) {
            const float **norm = c->parts[r].weights.layers[layer].norm;
            norm[SHOAL_ROLE_AFTER_ATTENTION_NORM] = norm[SHOAL_ROLE_MLP_NORM];
            norm[SHOAL_ROLE_AFTER_MLP_NORM] = norm[SHOAL_ROLE_INPUT_NORM];
        }
}

/* Uneven shares of rows, ranks without any, several acts per stage, norms of branches: dealt among
 * any number of ranks or not, the bits are those of one rank. */
static void dealing_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        int bits;
        bool act_order;
        const char *quantize, *keep;
    } kinds[] = {{4, false, NULL, NULL},
                 {4, true, NULL, NULL},
                 {0, false, NULL, NULL},
                 {0, false, "int4-g32", "k_proj|up_proj"}};
    static const int32_t rows[] = {1, 5, 23};
    static float want[23 * VOCAB], got[23 * VOCAB];
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        shoal_recipe recipe = small;
        recipe.bits = kinds[k].bits;
        recipe.act_order = kinds[k].act_order;
        shoal_maker *model = shoal_recipe_make(&recipe);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            for (int ranks = 1; ranks <= RANKS_MAX; ranks++) {
                const piece p = {.tokens = prompt,
                                 .rows = rows[i],
                                 .pages = (const int32_t[]){4, 2},
                                 .want = SHOAL_WANT_LOGITS};
                cluster *c =
                    open_quantized(model, ranks, SHOAL_KV_F16, kinds[k].quantize, kinds[k].keep);
                norm_branches(c);
                c->logits[0] = ranks == 1 ? want : got;
                step(c, &p, 1);
                for (int r = 0; r < ranks; r++)
                    assert_int_equal(c->forward[r].dealt, ranks > 1 && deal_rows == 1);
                if (ranks > 1 && memcmp(got, want, sizeof(float) * VOCAB * (size_t)rows[i]) != 0)
                    fail_msg("kind %zu, %d rows, %d ranks: other bits", k, (int)rows[i], ranks);
                close_cluster(c);
            }
        shoal_maker_end(model);
    }
}

/* ---- rows that end --------------------------------------------------------------------------- */

/* Sequence i of a batch: pages of its own, a stretch of the prompt as its text. */
#define TEXT 40
static int32_t own_pages[PIECES][TEXT / SHOAL_PAGE + 1];

static piece piece_of(int i, int64_t position, int32_t rows, shoal_want want)
{
    for (int p = 0; p <= TEXT / SHOAL_PAGE; p++)
        own_pages[i][p] = i * (TEXT / SHOAL_PAGE + 1) + p;
    return (piece){.tokens = prompt + 50 * i + position,
                   .position = position,
                   .rows = rows,
                   .pages = own_pages[i],
                   .want = want};
}

/* Four sequences: a prefill, two decodes, a short prefill; what they come to. */
typedef struct {
    float logits[4][TEXT][VOCAB];
    shoal_sequence_result results[4];
} outcome;

/* The prompts of the two that decode; then `disturb`, if any; then the step of all. */
static void run_batch(cluster *c, const int32_t *tokens_of_1, void (*disturb)(cluster *),
                      outcome *out)
{
    const piece before[] = {piece_of(1, 0, 20, SHOAL_WANT_NOTHING),
                            piece_of(2, 0, 33, SHOAL_WANT_NOTHING)};
    piece all[] = {piece_of(0, 0, 24, SHOAL_WANT_LOGITS), piece_of(1, 20, 3, SHOAL_WANT_LOGITS),
                   piece_of(2, 33, 1, SHOAL_WANT_TOKEN), piece_of(3, 0, 5, SHOAL_WANT_LOGITS)};
    memset(out, 0, sizeof *out);
    fill_pages(c, 0xff);
    step(c, before, 2);
    if (disturb)
        disturb(c);
    if (tokens_of_1)
        all[1].tokens = tokens_of_1;
    for (int i = 0; i < 4; i++)
        c->logits[i] = &out->logits[i][0][0];
    step(c, all, 4);
    memset(c->logits, 0, sizeof c->logits);
    memcpy(out->results, c->results, sizeof out->results);
}

/* Sequence 1 failed at (layer, row); the others are as in `clean`, bit for bit. */
static void expect_fall_of_1(const outcome *got, const outcome *clean, int32_t layer, int32_t row)
{
    const shoal_sequence_result *r = &got->results[1];
    assert_int_equal(r->failed_layer, layer);
    assert_int_equal(r->failed_row, row);
    assert_int_equal(r->token, -1);
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        assert_memory_equal(&got->results[i], &clean->results[i], sizeof got->results[i]);
        assert_int_equal(got->results[i].failed_layer, -1);
        assert_memory_equal(got->logits[i], clean->logits[i], sizeof got->logits[i]);
    }
    assert_true(clean->results[2].token >= 0);
    /* Rows before the one that failed were sound and were reported. */
    assert_memory_equal(got->logits[1][20], clean->logits[1][20],
                        (size_t)row * sizeof got->logits[1][20]);
}

/* The stored embedding of a token becomes `bits` in one element. */
static void spoil_embedding(cluster *c, int32_t token, uint16_t bits)
{
    for (int r = 0; r < c->ranks; r++) {
        const shoal_range ids = c->parts[r].blueprint->plan.rank[r].vocab;
        if (token < ids.begin || token >= ids.end)
            continue;
        uint8_t *rows = (uint8_t *)(uintptr_t)c->parts[r].weights.embedding;
        memcpy(rows + ((token - ids.begin) * small.hidden + 77) * 2, &bits, 2);
    }
}

static void a_bad_token_ends_its_sequence(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7f80, 0xff80, 0x7fc0}; /* Inf, -Inf, NaN as bf16 */
    static outcome clean, got;
    for (int ranks = 1; ranks <= 3; ranks += 2) {
        cluster *c = open_cluster(windowed, ranks, SHOAL_KV_F16);
        int32_t tokens[3];
        memcpy(tokens, prompt + 50 + 20, sizeof tokens);
        run_batch(c, NULL, NULL, &clean);
        for (int i = 0; i < 4; i++)
            assert_int_equal(clean.results[i].failed_layer, -1);
        for (int row = 0; row < 3; row++) {
            memcpy(tokens, prompt + 50 + 20, sizeof tokens);
            tokens[row] = VOCAB - 1; /* no prompt holds it */
            spoil_embedding(c, VOCAB - 1, bad[row]);
            run_batch(c, tokens, NULL, &got);
            expect_fall_of_1(&got, &clean, 0, row);
        }
        /* Its pages serve the next one as any others. */
        run_batch(c, NULL, NULL, &got);
        assert_memory_equal(&got, &clean, sizeof got);
        close_cluster(c);
    }
}

/* Values of sequence 1 in layer 1 of the last rank's last head become huge: what attention makes of
 * them overflows the sum of one unit, on that rank alone. */
static void inflate_values(cluster *c)
{
    const int last = c->ranks - 1;
    const shoal_kv_layer *kv = &c->parts[last].kv.layers[1];
    const float huge = 1e25f;
    for (int64_t at = 0; at < 20; at++) {
        uint8_t *head = shoal_kv_at(kv, kv->kv_heads - 1, own_pages[1][at / SHOAL_PAGE],
                                    shoal_kv_head_bytes(kv->type, HEAD_DIM));
        uint8_t *values = head + shoal_kv_values_at(kv->type, HEAD_DIM);
        for (int64_t d = 0; d < HEAD_DIM; d++)
            memcpy(values + (at % SHOAL_PAGE * HEAD_DIM + d) * 4, &huge, 4);
    }
}

static void an_overflow_of_the_last_rank_ends_its_sequence(void **state)
{
    (void)state;
    static outcome clean, got;
    for (int ranks = 1; ranks <= 3; ranks++) {
        cluster *c = open_cluster(windowed, ranks, SHOAL_KV_F32);
        run_batch(c, NULL, NULL, &clean);
        run_batch(c, NULL, inflate_values, &got);
        expect_fall_of_1(&got, &clean, 1, 0);
        close_cluster(c);
    }
}

/* The last weight group of the last rank's down, in layer 1: no row survives, on any rank. */
static void a_huge_scale_ends_every_sequence(void **state)
{
    (void)state;
    static outcome got;
    for (int ranks = 1; ranks <= 3; ranks++) {
        cluster *c = open_cluster(windowed, ranks, SHOAL_KV_F16);
        shoal_linear *down = &c->parts[ranks - 1].weights.layers[1].linear[SHOAL_ROLE_DOWN];
        assert_int_equal(down->spec.dtype, SHOAL_F16);
        for (int64_t panel = 0; panel < down->size.panels; panel++) {
            const int64_t cell = ((panel + 1) * down->size.groups - 1) * SHOAL_PANEL;
            for (int64_t i = 0; i < SHOAL_PANEL; i++)
                memcpy(down->scales + 2 * (cell + i), &(uint16_t){0x7bff}, 2);
        }
        run_batch(c, NULL, NULL, &got);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(got.results[i].failed_layer, 1);
            assert_int_equal(got.results[i].failed_row, 0);
        }
        close_cluster(c);
    }
}

/* The final norm's weight makes some rows overflow after the last layer: only they end, before
 * their logits are looked at. */
static void the_final_norm_may_overflow(void **state)
{
    (void)state;
    static outcome got, alone;
    for (int ranks = 1; ranks <= 3; ranks += 2) {
        cluster *c = open_cluster(windowed, ranks, SHOAL_KV_F16);
        int failed = 0, fine = 0;
        for (int r = 0; r < ranks; r++)
            ((float *)(uintptr_t)c->parts[r].weights.final_norm)[5] = 3e38f;
        for (int first = 0; first < 40; first++) {
            piece pieces[PIECES];
            for (int i = 0; i < PIECES; i++) {
                pieces[i] = piece_of(i, 0, 1, i % 2 ? SHOAL_WANT_LOGITS : SHOAL_WANT_TOKEN);
                pieces[i].tokens = prompt + PIECES * first + i;
                c->logits[i] = i < 4 ? &got.logits[i][0][0] : NULL;
            }
            step(c, pieces, PIECES);
            for (int i = 0; i < 4; i++) {
                const shoal_sequence_result r = c->results[i];
                got.results[i] = r;
                failed += r.failed_layer == LAYERS;
                fine += r.failed_layer < 0;
                assert_true(r.failed_layer < 0 || r.failed_layer == LAYERS);
                assert_int_equal(r.token >= 0, i % 2 == 0 && r.failed_layer < 0);
            }
            for (int i = 0; i < 4; i++) {
                c->logits[0] = &alone.logits[i][0][0];
                step(c, &pieces[i], 1);
                c->results[0].id = got.results[i].id;
                assert_memory_equal(&c->results[0], &got.results[i], sizeof got.results[i]);
                if (i % 2 && got.results[i].failed_layer < 0)
                    assert_memory_equal(got.logits[i][0], alone.logits[i][0],
                                        sizeof got.logits[i][0]);
            }
        }
        assert_true(failed > 0 && fine > 0);
        close_cluster(c);
    }
}

/* A mask that allows nothing ends one sequence, too: the step goes on for the others. */
static void nothing_to_choose_ends_its_sequence(void **state)
{
    (void)state;
    cluster *c = open_cluster(windowed, 1, SHOAL_KV_F16);
    piece pieces[] = {piece_of(0, 0, 9, SHOAL_WANT_TOKEN), piece_of(1, 0, 4, SHOAL_WANT_TOKEN)};
    step(c, pieces, 2);
    const shoal_sequence_result before[] = {c->results[0], c->results[1]};
    assert_true(before[0].token >= 0 && before[1].token >= 0);
    pieces[1].masked = true;
    step(c, pieces, 2);
    assert_memory_equal(&c->results[0], &before[0], sizeof before[0]);
    assert_int_equal(c->results[1].token, -1);
    assert_int_equal(c->results[1].failed_layer, LAYERS);
    assert_int_equal(c->results[1].failed_row, 3);
    close_cluster(c);
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* What is no forward step is refused before any rank hears of it; the worker goes on. */
static void a_bye_is_no_step(void **state)
{
    (void)state;
    shoal_comm *comm;
    shoal_worker *worker;
    shoal_worker_settings settings;
    shoal_step_draft d;
    shoal_sequence_result result;
    uint64_t bye[sizeof(shoal_step) / 8] = {0}, bytes;
    shoal_worker_defaults(&settings);
    settings.model = shoal_maker_path(windowed);
    assert_int_equal(shoal_comm_local_create(1, 1, &comm), SHOAL_OK);
    assert_int_equal(shoal_worker_open(&settings, comm, NULL, NULL, &worker), SHOAL_OK);
    shoal_step_layout(bye, 0, 0, 0, 0, 0, 0, &d);
    d.step->kind = SHOAL_STEP_BYE;
    assert_int_equal(shoal_worker_step(worker, bye, sizeof bye, &result, NULL, NULL),
                     SHOAL_ERR_DATA);
    const piece p = piece_of(0, 0, 3, SHOAL_WANT_TOKEN);
    void *block = build(&p, 1, &bytes);
    assert_int_equal(shoal_worker_step(worker, block, bytes, &result, NULL, NULL), SHOAL_OK);
    assert_true(result.token >= 0);
    free(block);
    shoal_worker_close(worker);
    shoal_comm_close(comm);
}

static int set_up(void **state)
{
    (void)state;
    uint32_t x = 9;
    alarm(PATIENCE_SECONDS);
    for (int i = 0; i < PROMPT; i++) {
        x = x * 1664525u + 1013904223u;
        prompt[i] = (int32_t)((x >> 8) % (VOCAB - 1));
    }
    windowed = shoal_recipe_make(&small);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shoal_maker_end(windowed);
    return 0;
}

/* Every step is dealt; none is. */
static int deal_all(void **state)
{
    deal_rows = 1;
    return set_up(state);
}

static int deal_none(void **state)
{
    deal_rows = INT64_MAX;
    return set_up(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_give_the_same_bits),
        cmocka_unit_test(ranks_may_hold_nothing),
        cmocka_unit_test(dealing_changes_nothing),
        cmocka_unit_test(a_bad_token_ends_its_sequence),
        cmocka_unit_test(an_overflow_of_the_last_rank_ends_its_sequence),
        cmocka_unit_test(a_huge_scale_ends_every_sequence),
        cmocka_unit_test(the_final_norm_may_overflow),
        cmocka_unit_test(nothing_to_choose_ends_its_sequence),
        cmocka_unit_test(a_bye_is_no_step),
    };
    return cmocka_run_group_tests_name("every step dealt", tests, deal_all, tear_down) +
           cmocka_run_group_tests_name("no step dealt", tests, deal_none, tear_down);
}

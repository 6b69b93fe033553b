/* Attention: every table row against the reference over head sizes, cache types, windows, chunk
 * borders and blocks of queries, with NaN in every place that must not be looked at; the reference
 * against plain softmax; and through the backend: single decodes, one prefill, any chunking and any
 * number of threads give the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/attention.h"
#include "proto/arena.h"
#include "tests/support/sanitized.h"
#include "tests/unit/ops_case.h"

#define POSITIONS 800
#define BLOCKS    (SANITIZED ? 4 : 6) /* one row and many, anywhere and at edges */

/* Visible ranges: short, on and beside page and chunk borders, windows that start anywhere. */
static const int64_t ranges[][2] = {
    {0, 1},     {0, 2},     {0, 15},    {0, 16},    {0, 17},    {0, 64},    {0, 65},
    {0, 255},   {0, 256},   {0, 257},   {0, 513},   {0, 800},   {5, 6},     {15, 17},
    {3, 300},   {250, 260}, {255, 256}, {255, 257}, {256, 257}, {257, 512}, {300, 600},
    {511, 513}, {512, 768}, {767, 769}, {77, 377},
};
#define RANGES (sizeof ranges / sizeof ranges[0])

/* Fill positions [0, positions) of kv head `head`; values of the size `most`. */
static void fill_cache(const ops_kv *kv, int64_t head, float most)
{
    float key[SHOAL_HEAD_DIM_MAX], value[SHOAL_HEAD_DIM_MAX];
    for (int64_t p = 0; p < kv->positions; p++) {
        ops_fill(key, kv->layer.head_dim, most);
        ops_fill(value, kv->layer.head_dim, most);
        (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv->layer, head,
                              kv->pages[p / SHOAL_PAGE], p % SHOAL_PAGE, key, value);
    }
}

/* Overwrite every position outside [begin, end) with NaN, as a freed or foreign page may hold. */
static void poison(const ops_kv *kv, int64_t head, int64_t begin, int64_t end)
{
    float nan[SHOAL_HEAD_DIM_MAX];
    for (int64_t d = 0; d < kv->layer.head_dim; d++)
        nan[d] = NAN;
    for (int64_t p = 0; p < kv->positions; p++)
        if (p < begin || p >= end)
            (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv->layer, head,
                                  kv->pages[p / SHOAL_PAGE], p % SHOAL_PAGE, nan, nan);
}

/* Random queries of some rows and heads, in the form their cache wants. */
typedef struct {
    shoal_queries of;
    float *f32, *scales;
    int8_t *q;
    int32_t *sums;
} queries;

static int64_t queries_count(const queries *q)
{
    return q->of.rows * q->of.heads;
}

/* Take f32 [queries][SHOAL_QUERY_LD] over. */
static void queries_set(queries *q)
{
    const int64_t n = q->of.kv->head_dim;
    if (q->of.kv->type != SHOAL_KV_INT8) {
        q->of.f32 = q->f32;
        return;
    }
    for (int64_t i = 0; i < queries_count(q); i++) {
        int8_t *to = q->q + i * SHOAL_QUERY_LD;
        assert_int_equal(shoal_quantize_group(&shoal_quantize_ref, q->f32 + i * SHOAL_QUERY_LD, n,
                                              to, &q->scales[i]),
                         0);
        q->sums[i] = shoal_quantize_ref.sum(to, n);
    }
    q->of.q = q->q;
    q->of.scales = q->scales;
    q->of.sums = q->sums;
}

static queries queries_create(const ops_kv *kv, int64_t head, int64_t position, int64_t rows,
                              int64_t heads, int64_t window, float soft_cap, float most)
{
    const int64_t n = kv->layer.head_dim;
    queries q = {.of = {.kv = &kv->layer,
                        .kv_head = head,
                        .pages = kv->pages,
                        .position = position,
                        .rows = rows,
                        .heads = heads,
                        .window = window,
                        .scale = 1.0f / sqrtf((float)n),
                        .soft_cap = soft_cap}};
    q.f32 = ops_array(rows * heads * SHOAL_QUERY_LD, sizeof *q.f32);
    q.q = ops_array(rows * heads * SHOAL_QUERY_LD, sizeof *q.q);
    q.scales = ops_array(rows * heads, sizeof *q.scales);
    q.sums = ops_array(rows * heads, sizeof *q.sums);
    for (int64_t i = 0; i < rows * heads; i++)
        ops_fill(q.f32 + i * SHOAL_QUERY_LD, n, most);
    queries_set(&q);
    return q;
}

static void queries_free(queries *q)
{
    free(q->f32);
    free(q->q);
    free(q->scales);
    free(q->sums);
}

/* One query that sees positions [begin, end). */
static queries one_query(const ops_kv *kv, int64_t head, int64_t begin, int64_t end, float soft_cap,
                         float most)
{
    return queries_create(kv, head, end - 1, 1, 1, end - begin, soft_cap, most);
}

/* out [queries][head_dim] by one row of the table; its room is all NaN and not a float larger than
 * asked for. */
static void attend_by(const shoal_attention_row *row, const shoal_queries *q, float *out)
{
    const int64_t n = q->kv->head_dim, all = q->rows * q->heads, floats = shoal_part_floats(n);
    const size_t room_bytes = (size_t)shoal_attend_room(n, all) * sizeof(float);
    const size_t part_bytes = (size_t)(all * floats) * sizeof(float);
    float *room = aligned_alloc(64, room_bytes), *parts = aligned_alloc(64, part_bytes);
    assert_non_null(room);
    assert_non_null(parts);
    memset(room, 0xff, room_bytes);
    memset(parts, 0xff, part_bytes);
    shoal_attend(row, q, room, parts);
    for (int64_t i = 0; i < all; i++)
        row->finish(parts + i * floats, n, out + i * n);
    free(room);
    free(parts);
}

static void compare_rows(const shoal_queries *q, bool finite)
{
    const int64_t n = q->kv->head_dim, all = q->rows * q->heads * n;
    float *want = ops_array(all, sizeof *want), *got = ops_array(all + 1, sizeof *got);
    attend_by(&shoal_attention_ref, q, want);
    for (int64_t i = 0; finite && i < all; i++)
        assert_true(isfinite(want[i]));
    for (int r = 0; r < shoal_attention_row_count; r++) {
        const shoal_attention_row *row = shoal_attention_rows[r];
        if (!shoal_cpu_has(row->needs))
            continue;
        got[all] = 77.0f;
        attend_by(row, q, got);
        if (!ops_same(got, want, all) || got[all] != 77.0f)
            fail_msg("%s: kv %s, head_dim %lld, %lld rows of %lld heads at %lld, window %lld, "
                     "cap %g",
                     row->name, ops_kv_names[q->kv->type], (long long)n, (long long)q->rows,
                     (long long)q->heads, (long long)q->position, (long long)q->window,
                     (double)q->soft_cap);
    }
    free(want);
    free(got);
}

static void test_rows(void **state)
{
    (void)state;
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (size_t h = 0; h < OPS_HEAD_DIMS; h++) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 2, ops_head_dims[h], POSITIONS);
            fill_cache(&kv, 1, h % 2 ? 2.0f : 20.0f); /* large ones make weights underflow */
            for (size_t r = h % 2; r < RANGES; r += 2) {
                queries q =
                    one_query(&kv, 1, ranges[r][0], ranges[r][1], r % 3 == 0 ? 30.0f : 0.0f, 2.0f);
                compare_rows(&q.of, true);
                queries_free(&q);
            }
            ops_kv_free(&kv);
        }
    }
}

/* Blocks: groups of 1 to 8 heads and more, rows around the edges of pages, chunks and windows. */
static void test_blocks(void **state)
{
    (void)state;
    static const int64_t dims[] = {24, 40, 64, 80, 128, 256};
    static const int64_t windows[] = {0, 1, 17, 100, 255, 256, 257, 300};
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (int heads = 1; heads <= 9; heads++) {
            const int64_t dim = dims[(heads + type) % 6];
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 2, dim, POSITIONS);
            fill_cache(&kv, 1, heads % 2 ? 2.0f : 20.0f);
            for (int i = 0; i < BLOCKS; i++) {
                const int64_t rows = i < 2 ? 1 : 1 + (int64_t)(ops_random() % 23);
                const int64_t near = 256 * (int64_t)(1 + ops_random() % 3) - rows;
                const int64_t position = i % 2 ? near + (int64_t)(ops_random() % (uint32_t)rows)
                                               : (int64_t)(ops_random() % 770);
                queries q = queries_create(&kv, 1, position, rows, heads, windows[ops_random() % 8],
                                           i == 2 ? 20.0f : 0.0f, 2.0f);
                compare_rows(&q.of, true);
                queries_free(&q);
            }
            ops_kv_free(&kv);
        }
    }
}

/* What a block does not see may be NaN, for all of its rows or for the first ones only; and what
 * its rows give does not depend on the block they are in. */
static void test_blocks_among_stale_pages(void **state)
{
    (void)state;
    enum { ROWS = 21, GROUP_ = 3, N = 64 };
    static float alone[ROWS * GROUP_ * N], got[ROWS * GROUP_ * N];
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (int64_t position = 240; position < 540; position += 37) {
            const int64_t window = position % 2 ? 90 : 0;
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 1, N, POSITIONS);
            fill_cache(&kv, 0, 3.0f);
            poison(&kv, 0, window ? position + 1 - window : 0, position + ROWS);
            queries q = queries_create(&kv, 0, position, ROWS, GROUP_, window, 0.0f, 2.0f);
            for (int64_t row = 0; row < ROWS; row++) {
                shoal_queries one = q.of;
                const int64_t first = row * GROUP_;
                one.position += row;
                one.rows = 1;
                if (one.f32)
                    one.f32 += first * SHOAL_QUERY_LD;
                if (one.q) {
                    one.q += first * SHOAL_QUERY_LD;
                    one.scales += first;
                    one.sums += first;
                }
                attend_by(&shoal_attention_ref, &one, alone + first * N);
            }
            for (int i = 0; i < shoal_attention_row_count; i++) {
                if (!shoal_cpu_has(shoal_attention_rows[i]->needs))
                    continue;
                attend_by(shoal_attention_rows[i], &q.of, got);
                assert_memory_equal(got, alone, sizeof got);
            }
            queries_free(&q);
            ops_kv_free(&kv);
        }
    }
}

/* The bytes of the output do not change when everything invisible becomes NaN. */
static void test_stale_pages(void **state)
{
    (void)state;
    float clean[128];
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (size_t r = 0; r < RANGES; r++) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 1, 40, POSITIONS);
            fill_cache(&kv, 0, 3.0f);
            queries q = one_query(&kv, 0, ranges[r][0], ranges[r][1], 0.0f, 2.0f);
            attend_by(&shoal_attention_ref, &q.of, clean);
            poison(&kv, 0, ranges[r][0], ranges[r][1]);
            for (int i = 0; i < shoal_attention_row_count; i++) {
                float got[128];
                if (!shoal_cpu_has(shoal_attention_rows[i]->needs))
                    continue;
                attend_by(shoal_attention_rows[i], &q.of, got);
                assert_memory_equal(got, clean, 40 * sizeof *got);
            }
            queries_free(&q);
            ops_kv_free(&kv);
        }
    }
}

/* A NaN or an infinity at any visible position makes the whole head NaN in every row. */
static void test_bad_positions(void **state)
{
    (void)state;
    float bad[64], want[64];
    ops_kv kv = ops_kv_create(SHOAL_KV_F32, 1, 64, 300);
    for (int64_t at = 0; at < 300; at += 23) {
        fill_cache(&kv, 0, 2.0f);
        queries q = one_query(&kv, 0, 0, 300, 0.0f, 2.0f);
        ops_fill(bad, 64, 2.0f);
        q.f32[at % 64] = 1.0f;
        bad[at % 64] = at % 2 ? NAN : INFINITY;
        (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                              kv.pages[at / SHOAL_PAGE], at % SHOAL_PAGE, bad, bad);
        compare_rows(&q.of, false);
        attend_by(&shoal_attention_ref, &q.of, want);
        for (int d = 0; d < 64; d++)
            assert_true(isnan(want[d]));
        queries_free(&q);
    }
    ops_kv_free(&kv);
}

/* Values so small that weight times value underflows: the sign of zero must agree too. */
static void test_underflow(void **state)
{
    (void)state;
    float key[48], value[48];
    ops_kv kv = ops_kv_create(SHOAL_KV_F32, 1, 48, 300);
    for (int64_t p = 0; p < 300; p++) {
        ops_fill(key, 48, 30.0f);
        ops_fill(value, 48, 0x1p-140f);
        (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                              kv.pages[p / SHOAL_PAGE], p % SHOAL_PAGE, key, value);
    }
    for (int64_t begin = 0; begin < 290; begin += 7) {
        queries q = one_query(&kv, 0, begin, 299, 0.0f, 3.0f);
        compare_rows(&q.of, true);
        queries_free(&q);
    }
    ops_kv_free(&kv);
}

/* Softmax of the textbook in long double, from what the cache holds. */
static void test_reference_means_softmax(void **state)
{
    (void)state;
    float want[64], keys[300][64], values[300][64];
    static const long double tolerance[] = {2e-6L, 2e-3L, 5e-2L};
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        ops_kv kv = ops_kv_create((shoal_kv_type)type, 1, 64, 300);
        for (int64_t p = 0; p < 300; p++) {
            ops_fill(keys[p], 64, 1.0f);
            ops_fill(values[p], 64, 1.0f);
            (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                                  kv.pages[p / SHOAL_PAGE], p % SHOAL_PAGE, keys[p], values[p]);
        }
        queries q = one_query(&kv, 0, 10, 300, 5.0f, 4.0f);
        attend_by(&shoal_attention_ref, &q.of, want);
        long double sum = 0, o[64] = {0};
        for (int64_t p = 10; p < 300; p++) {
            long double dot = 0;
            for (int d = 0; d < 64; d++)
                dot += (long double)q.f32[d] * (long double)keys[p][d];
            const long double weight = expl(5.0L * tanhl(dot * (long double)q.of.scale / 5.0L));
            sum += weight;
            for (int d = 0; d < 64; d++)
                o[d] += weight * (long double)values[p][d];
        }
        for (int d = 0; d < 64; d++)
            assert_true(fabsl((long double)want[d] - o[d] / sum) < tolerance[type]);
        queries_free(&q);
        ops_kv_free(&kv);
    }
}

/* ---- through the backend: chunking ---------------------------------------------------------- */

#define T        560
#define HEADS    3
#define KV_HEADS 2
#define GROUP    2
#define DIM      40

typedef struct {
    float q[T * HEADS * DIM], k[T * KV_HEADS * DIM], v[T * KV_HEADS * DIM];
    float cosine[T * DIM / 2], sine[T * DIM / 2], q_norm[DIM], k_norm[DIM];
    float out[T * HEADS * DIM];
    int64_t pending[T];
} chunk_case;

static void chunk_fill(chunk_case *c)
{
    ops_fill(c->q, T * HEADS * DIM, 3.0f);
    ops_fill(c->k, T * KV_HEADS * DIM, 3.0f);
    ops_fill(c->v, T * KV_HEADS * DIM, 3.0f);
    ops_fill(c->q_norm, DIM, 2.0f);
    ops_fill(c->k_norm, DIM, 2.0f);
    for (int i = 0; i < T * DIM / 2; i++) {
        const float angle = ops_uniform(3.0f);
        c->cosine[i] = cosf(angle);
        c->sine[i] = sinf(angle);
    }
}

/* Feed positions [0, T) in chunks of `chunk`. The rank holds query heads 1..3 of a model with
 * groups of two: kv heads 0 and 1. */
static void run_chunks(shoal_backend *b, chunk_case *c, const ops_kv *kv, int64_t window,
                       int64_t chunk)
{
    memset(kv->layer.base, 0xff, kv->bytes);
    memset(c->out, 0xff, sizeof c->out);
    for (int64_t at = 0; at < T; at += chunk) {
        const int64_t rows = at + chunk < T ? chunk : T - at;
        const shoal_sequence_rows sequence = {0, rows, at, kv->pages};
        const shoal_attention_args args = {
            .q = c->q + at * HEADS * DIM,
            .k = c->k + at * KV_HEADS * DIM,
            .v = c->v + at * KV_HEADS * DIM,
            .rows = rows,
            .heads = HEADS,
            .head_first = 1,
            .kv_heads = KV_HEADS,
            .group = GROUP,
            .head_dim = DIM,
            .rope_dim = DIM - 8,
            .cos = c->cosine + at * (DIM - 8) / 2,
            .sin = c->sine + at * (DIM - 8) / 2,
            .q_norm = c->q_norm,
            .k_norm = c->k_norm,
            .norm_eps = 1e-6f,
            .scale = 0.158f,
            .window = window,
            .sequences = &sequence,
            .sequence_count = 1,
            .kv = &kv->layer,
            .out = c->out + at * HEADS * DIM,
            .pending = c->pending + at,
        };
        assert_int_equal(b->ops->attention(b, &args), SHOAL_OK);
    }
    for (int i = 0; i < T; i++)
        assert_int_equal(c->pending[i], 0);
}

/* What row `row` must give, from the reference's pieces and the meaning of the arguments. */
static void expected_row(const chunk_case *c, const ops_kv *kv, int64_t window, int64_t row,
                         int64_t head, float *out)
{
    const int64_t half = (DIM - 8) / 2;
    queries q = queries_create(kv, (head + 1) / 2, row, 1, 1, window, 0.0f, 1.0f);
    shoal_ops_ref.norm(c->q + (row * HEADS + head) * DIM, DIM, c->q_norm, 1e-6f, q.f32);
    shoal_ops_ref.rope(q.f32, DIM - 8, c->cosine + row * half, c->sine + row * half);
    queries_set(&q);
    q.of.scale = 0.158f;
    attend_by(&shoal_attention_ref, &q.of, out);
    queries_free(&q);
}

/* The cache written again, position by position. */
static void expected_cache(const chunk_case *c, const ops_kv *kv)
{
    float key[DIM];
    const int64_t half = (DIM - 8) / 2;
    for (int64_t p = 0; p < T; p++) {
        for (int64_t head = 0; head < KV_HEADS; head++) {
            const int64_t at = (p * KV_HEADS + head) * DIM;
            shoal_ops_ref.norm(c->k + at, DIM, c->k_norm, 1e-6f, key);
            shoal_ops_ref.rope(key, DIM - 8, c->cosine + p * half, c->sine + p * half);
            (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv->layer, head,
                                  kv->pages[p / SHOAL_PAGE], p % SHOAL_PAGE, key, c->v + at);
        }
    }
}

static void test_meaning(void **state)
{
    (void)state;
    static chunk_case c;
    const shoal_backend_options options = {.threads = 3, .crowded = true, .cap = shoal_cpu_best()};
    shoal_backend *b;
    assert_int_equal(shoal_backend_cpu_open(&options, &b), SHOAL_OK);
    chunk_fill(&c);
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (int64_t window = 0; window <= 300; window += 300) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, KV_HEADS, DIM, T);
            uint8_t *pages = ops_array((int64_t)kv.bytes, 1);
            run_chunks(b, &c, &kv, window, 100);
            memcpy(pages, kv.layer.base, kv.bytes);
            memset(kv.layer.base, 0xff, kv.bytes);
            expected_cache(&c, &kv);
            assert_memory_equal(kv.layer.base, pages, kv.bytes);
            for (int64_t row = 0; row < T; row += row < 290 ? 17 : 7) {
                for (int64_t head = 0; head < HEADS; head++) {
                    float want[DIM];
                    expected_row(&c, &kv, window, row, head, want);
                    assert_memory_equal(c.out + (row * HEADS + head) * DIM, want, sizeof want);
                }
            }
            free(pages);
            ops_kv_free(&kv);
        }
    }
    b->ops->close(b);
}

static void test_chunks(void **state)
{
    (void)state;
    static chunk_case c;
    static float first[T * HEADS * DIM];
    static const int64_t chunks[] = {1, 7, 255, 256, 257};
    const shoal_backend_options options = {.threads = 2, .crowded = true, .cap = shoal_cpu_best()};
    const shoal_backend_options plain = {.threads = 1, .cap = SHOAL_CPU_REF};
    shoal_backend *b, *reference;
    assert_int_equal(shoal_backend_cpu_open(&options, &b), SHOAL_OK);
    assert_int_equal(shoal_backend_cpu_open(&plain, &reference), SHOAL_OK);
    chunk_fill(&c);
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (int64_t window = 0; window <= 300; window += 300) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, KV_HEADS, DIM, T);
            uint8_t *pages = ops_array((int64_t)kv.bytes, 1);
            run_chunks(reference, &c, &kv, window, T);
            memcpy(first, c.out, sizeof first);
            memcpy(pages, kv.layer.base, kv.bytes);
            for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
                run_chunks(b, &c, &kv, window, chunks[i]);
                assert_memory_equal(c.out, first, sizeof first);
                assert_memory_equal(kv.layer.base, pages, kv.bytes);
            }
            free(pages);
            ops_kv_free(&kv);
        }
    }
    b->ops->close(b);
    reference->ops->close(reference);
}

/* ---- through the backend: shares ------------------------------------------------------------ */

#define S_ROWS      96
#define S_SEQUENCES 4

/* Some sequences with a past, rows that belong to none, a rank's part of the heads, the act of o.
 */
typedef struct {
    ops_kv kv;
    shoal_attention_args args;
    shoal_sequence_rows sequences[S_SEQUENCES];
    float *q, *k, *v, *out;
    int64_t pending[S_ROWS];
    shoal_arena *arena;
    shoal_linear linear;
    shoal_act act, want;
} shares;

static int64_t any(int64_t from, int64_t to)
{
    return from + (int64_t)(ops_random() % (uint32_t)(to - from + 1));
}

static void shares_acts(shares *s, int64_t n)
{
    const int64_t heads = s->args.heads, group = n % 128 == 0 ? 128 : any(0, 3) ? n : n * 3;
    const shoal_linear_spec spec = {.n = 64,
                                    .k = heads * n,
                                    .k_begin = group > n ? 0 : s->args.head_first * n,
                                    .kind = SHOAL_WEIGHT_INT4,
                                    .dtype = SHOAL_F16,
                                    .group = any(0, 1) ? 32 : 128,
                                    .zero_const = 8,
                                    .act = any(0, 2) ? SHOAL_ACT_INT8 : SHOAL_ACT_F32,
                                    .act_group = group,
                                    .unit = group > n ? 0 : n};
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &s->arena), SHOAL_OK);
    assert_int_equal(shoal_linear_create(&spec, SHOAL_CPU_REF, s->arena, &s->linear), SHOAL_OK);
    assert_int_equal(shoal_act_create(&s->linear, NULL, S_ROWS, s->arena, &s->act), SHOAL_OK);
    assert_int_equal(shoal_act_create(&s->linear, NULL, S_ROWS, s->arena, &s->want), SHOAL_OK);
}

static void shares_sequences(shares *s, int count)
{
    int64_t row = any(0, 2), pages = 0;
    for (int i = 0; i < count; i++) {
        shoal_sequence_rows *sequence = &s->sequences[i];
        *sequence = (shoal_sequence_rows){row, any(0, 2) ? 1 : any(0, 22), any(0, 2) * any(0, 350),
                                          s->kv.pages + pages};
        row += sequence->rows + (any(0, 3) == 0);
        pages += shoal_ceil_div(sequence->position + sequence->rows, SHOAL_PAGE);
        for (int64_t p = 0; p < sequence->position; p++) {
            for (int64_t head = 0; head < s->args.kv_heads; head++) {
                float key[SHOAL_HEAD_DIM_MAX], value[SHOAL_HEAD_DIM_MAX];
                ops_fill(key, s->args.head_dim, 2.0f);
                ops_fill(value, s->args.head_dim, 2.0f);
                (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &s->kv.layer, head,
                                      sequence->pages[p / SHOAL_PAGE], p % SHOAL_PAGE, key, value);
            }
        }
    }
    s->args.rows = row;
}

static shares *shares_create(void)
{
    static const int64_t dims[] = {24, 64, 80, 128, 256}, windows[] = {0, 0, 40, 300};
    shares *s = ops_array(1, sizeof *s);
    const int64_t n = dims[any(0, 4)], group = any(1, 8), kv_heads = any(1, 3);
    const int64_t first = any(0, group - 1), last = any(first, group * kv_heads - 1);
    s->kv = ops_kv_create((shoal_kv_type)any(SHOAL_KV_F32, SHOAL_KV_INT8), kv_heads, n,
                          S_SEQUENCES * 768);
    s->args = (shoal_attention_args){.heads = last - first + 1,
                                     .head_first = first,
                                     .kv_heads = kv_heads,
                                     .group = group,
                                     .head_dim = n,
                                     .scale = 0.2f,
                                     .soft_cap = any(0, 3) ? 0.0f : 15.0f,
                                     .window = windows[any(0, 3)],
                                     .sequences = s->sequences,
                                     .sequence_count = any(1, S_SEQUENCES)};
    shares_sequences(s, (int)s->args.sequence_count);
    shares_acts(s, n);
    s->q = ops_array(s->args.rows * s->args.heads * n, sizeof *s->q);
    s->k = ops_array(s->args.rows * kv_heads * n, sizeof *s->k);
    s->v = ops_array(s->args.rows * kv_heads * n, sizeof *s->v);
    s->out = ops_array(s->args.rows * s->args.heads * n, sizeof *s->out);
    ops_fill(s->q, s->args.rows * s->args.heads * n, 3.0f);
    ops_fill(s->k, s->args.rows * kv_heads * n, 3.0f);
    ops_fill(s->v, s->args.rows * kv_heads * n, 3.0f);
    s->args.q = s->q;
    s->args.k = s->k;
    s->args.v = s->v;
    s->args.out = s->out;
    s->args.kv = &s->kv.layer;
    s->args.act = &s->act;
    s->args.pending = s->pending;
    return s;
}

static void shares_free(shares *s)
{
    ops_kv_free(&s->kv);
    shoal_arena_destroy(s->arena);
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->out);
    free(s);
}

/* The output of every row and head, query by query from the reference. */
static void shares_expect(const shares *s)
{
    const int64_t n = s->args.head_dim;
    for (int64_t i = 0; i < s->args.sequence_count; i++) {
        const shoal_sequence_rows *sequence = &s->sequences[i];
        ops_kv kv = s->kv;
        kv.pages = (int32_t *)(uintptr_t)sequence->pages;
        for (int64_t r = 0; r < sequence->rows; r++) {
            for (int64_t head = 0; head < s->args.heads; head++) {
                const int64_t at = ((sequence->row + r) * s->args.heads + head) * n;
                float want[SHOAL_HEAD_DIM_MAX];
                queries q = queries_create(&kv, (s->args.head_first + head) / s->args.group,
                                           sequence->position + r, 1, 1, s->args.window,
                                           s->args.soft_cap, 1.0f);
                memcpy(q.f32, s->q + at, (size_t)n * sizeof *q.f32);
                queries_set(&q);
                q.of.scale = s->args.scale;
                attend_by(&shoal_attention_ref, &q.of, want);
                assert_memory_equal(s->out + at, want, (size_t)n * sizeof *want);
                queries_free(&q);
            }
        }
    }
}

static void shares_expect_act(shares *s)
{
    const size_t rows = (size_t)s->args.rows, ld = (size_t)s->act.ld;
    const int64_t width = s->args.heads * s->args.head_dim;
    shoal_quantize_rows(SHOAL_CPU_REF, s->out, width, 0, s->args.rows, &s->want, NULL);
    if (s->act.f32) {
        assert_memory_equal(s->act.f32, s->want.f32, rows * ld * sizeof *s->act.f32);
        return;
    }
    assert_memory_equal(s->act.q, s->want.q, rows * ld);
    assert_memory_equal(s->act.scales, s->want.scales,
                        rows * (size_t)s->linear.size.act_groups * sizeof *s->act.scales);
    assert_memory_equal(s->act.sums, s->want.sums,
                        rows * (size_t)s->linear.size.segments * sizeof *s->act.sums);
}

/* However the step is cut into blocks and pieces, and on whichever level it runs. */
static void test_shares(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        shares *s = shares_create();
        const shoal_backend_options options = {
            .threads = (int)any(1, 9),
            .crowded = true,
            .cap = any(0, 2) ? shoal_cpu_best() : (shoal_cpu_level)any(0, SHOAL_CPU_AMX)};
        shoal_backend *b;
        assert_int_equal(shoal_backend_cpu_open(&options, &b), SHOAL_OK);
        assert_int_equal(b->ops->attention(b, &s->args), SHOAL_OK);
        b->ops->close(b);
        shares_expect(s);
        shares_expect_act(s);
        for (int64_t row = 0; row < s->args.rows; row++)
            assert_int_equal(s->pending[row], 0);
        shares_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_blocks_among_stale_pages),
        cmocka_unit_test(test_stale_pages),
        cmocka_unit_test(test_bad_positions),
        cmocka_unit_test(test_underflow),
        cmocka_unit_test(test_reference_means_softmax),
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

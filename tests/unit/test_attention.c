/* Attention: every table row against the reference over head sizes, cache types, windows and chunk
 * borders, with NaN in every place that must not be looked at; the reference against plain softmax;
 * and through the backend: single decodes, one prefill and any chunking give the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "tests/unit/ops_case.h"

#define POSITIONS 800

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

static shoal_span span_of(const ops_kv *kv, int64_t head, const float *query, float *room,
                          int64_t begin, int64_t end, float soft_cap)
{
    shoal_span s = {.kv = &kv->layer,
                    .kv_head = head,
                    .pages = kv->pages,
                    .begin = begin,
                    .end = end,
                    .scale = 1.0f / sqrtf((float)kv->layer.head_dim),
                    .soft_cap = soft_cap};
    assert_int_equal(shoal_span_query(&shoal_quantize_ref, query, room, &s), 0);
    return s;
}

static void compare_rows(const shoal_span *s, bool finite)
{
    float want[SHOAL_HEAD_DIM_MAX], got[SHOAL_HEAD_DIM_MAX + 1];
    const int64_t n = s->kv->head_dim;
    shoal_ops_ref.attend(s, want);
    for (int64_t d = 0; finite && d < n; d++)
        assert_true(isfinite(want[d]));
    for (int r = 0; r < shoal_ops_row_count; r++) {
        if (!ops_runs(shoal_ops_rows[r]))
            continue;
        got[n] = 77.0f;
        shoal_ops_rows[r]->attend(s, got);
        if (!ops_same(got, want, n) || got[n] != 77.0f)
            fail_msg("%s: kv %s, head_dim %lld, positions [%lld, %lld), cap %g",
                     shoal_ops_rows[r]->name, ops_kv_names[s->kv->type], (long long)n,
                     (long long)s->begin, (long long)s->end, (double)s->soft_cap);
    }
}

static void test_rows(void **state)
{
    (void)state;
    float query[SHOAL_HEAD_DIM_MAX], room[SHOAL_HEAD_DIM_MAX];
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (size_t h = 0; h < OPS_HEAD_DIMS; h++) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 2, ops_head_dims[h], POSITIONS);
            fill_cache(&kv, 1, h % 2 ? 2.0f : 20.0f); /* large ones make weights underflow */
            for (size_t r = h % 2; r < RANGES; r += 2) {
                ops_fill(query, kv.layer.head_dim, 2.0f);
                const shoal_span s = span_of(&kv, 1, query, room, ranges[r][0], ranges[r][1],
                                             r % 3 == 0 ? 30.0f : 0.0f);
                compare_rows(&s, true);
            }
            ops_kv_free(&kv);
        }
    }
}

/* The bytes of the output do not change when everything invisible becomes NaN. */
static void test_stale_pages(void **state)
{
    (void)state;
    float query[128], room[128], clean[128];
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (size_t r = 0; r < RANGES; r++) {
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 1, 40, POSITIONS);
            fill_cache(&kv, 0, 3.0f);
            ops_fill(query, 40, 2.0f);
            const shoal_span s = span_of(&kv, 0, query, room, ranges[r][0], ranges[r][1], 0.0f);
            shoal_ops_ref.attend(&s, clean);
            poison(&kv, 0, ranges[r][0], ranges[r][1]);
            for (int i = 0; i < shoal_ops_row_count; i++) {
                float got[128];
                if (!ops_runs(shoal_ops_rows[i]))
                    continue;
                shoal_ops_rows[i]->attend(&s, got);
                assert_memory_equal(got, clean, 40 * sizeof *got);
            }
            ops_kv_free(&kv);
        }
    }
}

/* A NaN or an infinity at any visible position makes the whole head NaN in every row. */
static void test_bad_positions(void **state)
{
    (void)state;
    float query[64], room[64], bad[64], want[64];
    ops_kv kv = ops_kv_create(SHOAL_KV_F32, 1, 64, 300);
    for (int64_t at = 0; at < 300; at += 23) {
        fill_cache(&kv, 0, 2.0f);
        ops_fill(query, 64, 2.0f);
        ops_fill(bad, 64, 2.0f);
        query[at % 64] = 1.0f;
        bad[at % 64] = at % 2 ? NAN : INFINITY;
        (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                              kv.pages[at / SHOAL_PAGE], at % SHOAL_PAGE, bad, bad);
        const shoal_span s = span_of(&kv, 0, query, room, 0, 300, 0.0f);
        compare_rows(&s, false);
        shoal_ops_ref.attend(&s, want);
        for (int d = 0; d < 64; d++)
            assert_true(isnan(want[d]));
    }
    ops_kv_free(&kv);
}

/* Values so small that weight times value underflows: the sign of zero must agree too. */
static void test_underflow(void **state)
{
    (void)state;
    float query[48], room[48], key[48], value[48];
    ops_kv kv = ops_kv_create(SHOAL_KV_F32, 1, 48, 300);
    for (int64_t p = 0; p < 300; p++) {
        ops_fill(key, 48, 30.0f);
        ops_fill(value, 48, 0x1p-140f);
        (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                              kv.pages[p / SHOAL_PAGE], p % SHOAL_PAGE, key, value);
    }
    ops_fill(query, 48, 3.0f);
    for (int64_t begin = 0; begin < 290; begin += 7) {
        const shoal_span s = span_of(&kv, 0, query, room, begin, 299, 0.0f);
        compare_rows(&s, true);
    }
    ops_kv_free(&kv);
}

/* Softmax of the textbook in long double, from what the cache holds. */
static void test_reference_means_softmax(void **state)
{
    (void)state;
    float query[64], room[64], want[64], keys[300][64], values[300][64];
    static const long double tolerance[] = {2e-6L, 2e-3L, 5e-2L};
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        ops_kv kv = ops_kv_create((shoal_kv_type)type, 1, 64, 300);
        for (int64_t p = 0; p < 300; p++) {
            ops_fill(keys[p], 64, 1.0f);
            ops_fill(values[p], 64, 1.0f);
            (void)shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0,
                                  kv.pages[p / SHOAL_PAGE], p % SHOAL_PAGE, keys[p], values[p]);
        }
        ops_fill(query, 64, 4.0f);
        const shoal_span s = span_of(&kv, 0, query, room, 10, 300, 5.0f);
        shoal_ops_ref.attend(&s, want);
        long double sum = 0, o[64] = {0};
        for (int64_t p = 10; p < 300; p++) {
            long double dot = 0;
            for (int d = 0; d < 64; d++)
                dot += (long double)query[d] * (long double)keys[p][d];
            const long double weight = expl(5.0L * tanhl(dot * (long double)s.scale / 5.0L));
            sum += weight;
            for (int d = 0; d < 64; d++)
                o[d] += weight * (long double)values[p][d];
        }
        for (int d = 0; d < 64; d++)
            assert_true(fabsl((long double)want[d] - o[d] / sum) < tolerance[type]);
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
    float query[DIM], room[DIM];
    const int64_t half = (DIM - 8) / 2, first = row + 1 - window;
    shoal_ops_ref.norm(c->q + (row * HEADS + head) * DIM, DIM, c->q_norm, 1e-6f, query);
    shoal_ops_ref.rope(query, DIM - 8, c->cosine + row * half, c->sine + row * half);
    shoal_span s = span_of(kv, (head + 1) / 2, query, room, window > 0 && first > 0 ? first : 0,
                           row + 1, 0.0f);
    s.scale = 0.158f;
    shoal_ops_ref.attend(&s, out);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_stale_pages),
        cmocka_unit_test(test_bad_positions),
        cmocka_unit_test(test_underflow),
        cmocka_unit_test(test_reference_means_softmax),
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

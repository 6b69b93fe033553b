/* The quantizer (docs/arithmetic.md rule 2): the edges of its cases, and the same bits at every
 * level of the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

#define K_MAX 1100

typedef struct {
    shoal_arena *arena;
    shoal_linear linear;
    shoal_act act;
} bench;

static void bench_open(bench *b, int64_t k, int64_t group, int64_t act_group, shoal_act_form form,
                       const int32_t *perm, int64_t rows)
{
    const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_INT8,
                                 .dtype = SHOAL_F32,
                                 .n = 1,
                                 .k = k,
                                 .group = group,
                                 .zero_const = 128,
                                 .act = form,
                                 .act_group = act_group};
    case_must(shoal_arena_create(SHOAL_MEM_SCRATCH, &b->arena));
    case_must(shoal_linear_create(&s, SHOAL_CPU_REF, b->arena, &b->linear));
    case_must(shoal_act_create(&b->linear, perm, rows, b->arena, &b->act));
}

/* Run one row at every level into the same act; all must leave the same bytes. Returns errors. */
static int64_t quantize_everywhere(bench *b, const float *x)
{
    const shoal_linear *w = &b->linear;
    int8_t q[K_MAX + 128];
    float scales[K_MAX];
    int32_t sums[K_MAX];
    int64_t errors = 0;
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
        int64_t pending = 0;
        memset(b->act.q, 0x55, (size_t)b->act.ld);
        shoal_quantize_rows((shoal_cpu_level)level, x, w->spec.k, 0, 1, &b->act, &pending);
        if (level == 0) {
            memcpy(q, b->act.q, (size_t)b->act.ld);
            memcpy(scales, b->act.scales, (size_t)w->size.act_groups * 4);
            memcpy(sums, b->act.sums, (size_t)w->size.segments * 4);
            errors = pending;
        }
        assert_int_equal(pending, errors);
        assert_memory_equal(b->act.q, q, (size_t)b->act.ld);
        assert_memory_equal(b->act.scales, scales, (size_t)w->size.act_groups * 4);
        assert_memory_equal(b->act.sums, sums, (size_t)w->size.segments * 4);
    }
    for (int64_t i = w->spec.k; i < b->act.ld; i++)
        assert_int_equal(b->act.q[i], 0);
    return errors;
}

static void test_tiny(void **state)
{
    (void)state;
    const float edge = 0x1p-64f;
    const float values[] = {nextafterf(edge, 0), edge, nextafterf(edge, 1)};
    bench b;
    bench_open(&b, 20, 20, 128, SHOAL_ACT_INT8, NULL, 1);
    for (int i = 0; i < 3; i++) {
        for (int at = 0; at < 20; at++) {
            float x[20] = {0};
            x[at] = at % 2 ? values[i] : -values[i];
            assert_int_equal(quantize_everywhere(&b, x), 0);
            const float scale = i == 0 ? 0.0f : values[i] / 127.0f;
            assert_int_equal(shoal_f32_bits(b.act.scales[0]), shoal_f32_bits(scale));
            assert_int_equal(b.act.q[at], i == 0 ? 0 : at % 2 ? 127 : -127);
        }
    }
    shoal_arena_destroy(b.arena);
}

/* absmax 127: the scaled value is the value, so halves must go to the even neighbour. */
static void test_ties(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, 256, 256, 256, SHOAL_ACT_INT8, NULL, 1);
    float x[256];
    for (int i = 0; i < 254; i++)
        x[i] = (float)(i - 127) + 0.5f; /* -126.5 .. 126.5 */
    x[254] = 127;
    x[255] = -0.0f;
    assert_int_equal(quantize_everywhere(&b, x), 0);
    int32_t sum = 0;
    for (int i = 0; i < 256; i++) {
        const int down = i - 127;
        const int want = i == 254 ? 127 : i == 255 ? 0 : down % 2 ? down + 1 : down;
        assert_int_equal(b.act.q[i], want);
        sum += want;
    }
    assert_int_equal(b.act.sums[0], sum);
    assert_true(b.act.scales[0] == 1.0f);
    shoal_arena_destroy(b.arena);
}

/* x * inv and not x / sa: a value where the two differ. */
static void test_inverse(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, 128, 128, 128, SHOAL_ACT_INT8, NULL, 1);
    int differ = 0;
    for (int round = 0; round < 3000; round++) {
        float x[128];
        for (int i = 0; i < 128; i++)
            x[i] = case_uniform(3);
        const float most = 3.0f + fabsf(case_uniform(1));
        x[1] = -most;
        const float inverse = 127.0f / most, sa = most / 127.0f;
        x[0] = ((float)(round % 127) + 0.5f) * sa;
        assert_int_equal(quantize_everywhere(&b, x), 0);
        for (int i = 0; i < 128; i++)
            assert_int_equal(b.act.q[i], (int)rintf(x[i] * inverse));
        differ += rintf(x[0] * inverse) != rintf(x[0] / sa);
    }
    assert_true(differ > 0);
    shoal_arena_destroy(b.arena);
}

/* A NaN of either sign or an infinity at every position, tails included. */
static void test_errors_everywhere(void **state)
{
    (void)state;
    const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001, 0xffffffff};
    static const int64_t ks[] = {1, 15, 16, 33, 67, 150};
    for (size_t k = 0; k < 6; k++) {
        bench b;
        bench_open(&b, ks[k], 64, 128, SHOAL_ACT_INT8, NULL, 1);
        for (int64_t at = 0; at < ks[k]; at++) {
            float x[150];
            for (int i = 0; i < 150; i++)
                x[i] = case_uniform(1);
            x[at] = shoal_f32_from_bits(bad[(size_t)at % 6]);
            assert_int_equal(quantize_everywhere(&b, x), 1);
            for (int64_t g = 0; g < b.linear.size.act_groups; g++)
                assert_int_equal(isnan(b.act.scales[g]), at / 128 == g);
            for (int64_t i = 0; i < ks[k]; i++) {
                if (i / 128 == at / 128)
                    assert_int_equal(b.act.q[i], 0);
            }
        }
        shoal_arena_destroy(b.arena);
    }
}

static void test_largest(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, 40, 40, 40, SHOAL_ACT_INT8, NULL, 1);
    float x[40] = {0};
    x[39] = -3.40282347e38f;
    x[3] = 0x1p-149f;
    assert_int_equal(quantize_everywhere(&b, x), 0);
    assert_int_equal(b.act.q[39], -127);
    assert_int_equal(b.act.q[3], 0);
    assert_true(b.act.scales[0] == 3.40282347e38f / 127.0f);
    shoal_arena_destroy(b.arena);
}

/* Random shapes with permutation against the text; sums over every segment. */
static void check_random(int64_t k, int64_t group, int64_t act_group, bool permuted)
{
    int32_t perm[K_MAX] = {0};
    float x[K_MAX], seen[K_MAX];
    for (int32_t i = 0; i < k; i++)
        perm[i] = i;
    for (int64_t i = k - 1; i > 0; i--) {
        const int64_t j = case_random() % (i + 1);
        const int32_t swap = perm[i];
        perm[i] = perm[j];
        perm[j] = swap;
    }
    for (int64_t i = 0; i < k; i++)
        x[i] = case_uniform(i % 200 < 100 ? 1e-3f : 50);
    for (int64_t i = 0; i < k; i++)
        seen[i] = x[permuted ? perm[i] : i];
    bench b;
    bench_open(&b, k, group, act_group, SHOAL_ACT_INT8, permuted ? perm : NULL, 1);
    assert_int_equal(quantize_everywhere(&b, x), 0);
    for (int64_t g = 0; g * act_group < k; g++) {
        float most = 0;
        const int64_t end = shoal_min_i64(k, (g + 1) * act_group);
        for (int64_t i = g * act_group; i < end; i++)
            most = fmaxf(most, fabsf(seen[i]));
        assert_true(b.act.scales[g] == most / 127.0f);
        for (int64_t i = g * act_group; i < end; i++)
            assert_int_equal(b.act.q[i], (int)rintf(seen[i] * (127.0f / most)));
    }
    for (int64_t s = 0; s < b.linear.size.segments; s++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < b.linear.segments[s].count; i++)
            sum += b.act.q[b.linear.segments[s].k + i];
        assert_int_equal(b.act.sums[s], sum);
    }
    shoal_arena_destroy(b.arena);
}

static void test_random(void **state)
{
    (void)state;
    static const int64_t ks[] = {5, 64, 129, 300, 1024, 1100};
    static const int64_t groups[] = {32, 48, 128, 2000};
    for (int i = 0; i < 6 * 4 * 3 * 2; i++) {
        static const int64_t act_groups[] = {128, 40, 1100};
        check_random(ks[i % 6], groups[i / 6 % 4], act_groups[i / 24 % 3], i / 72);
    }
}

/* Form F32: the values themselves in act order, the padding zero, errors counted. */
static void test_f32(void **state)
{
    (void)state;
    static const int64_t ks[] = {1, 63, 64, 300};
    for (int i = 0; i < 8; i++) {
        const int64_t k = ks[i % 4];
        int32_t perm[300] = {0};
        float x[2 * 300];
        for (int32_t j = 0; j < k; j++)
            perm[j] = (int32_t)k - 1 - j;
        for (int64_t j = 0; j < 2 * k; j++)
            x[j] = case_uniform(9);
        x[k] = i % 2 ? NAN : -0.0f;
        bench b;
        bench_open(&b, k, k, k, SHOAL_ACT_F32, i < 4 ? NULL : perm, 3);
        int64_t pending[2] = {5, 6};
        memset(b.act.f32, 0x55, (size_t)(3 * b.act.ld) * 4);
        shoal_quantize_rows(shoal_cpu_best(), x, k, 1, 2, &b.act, pending);
        assert_int_equal(pending[0], 5);
        assert_int_equal(pending[1], 6 + i % 2);
        for (int64_t r = 0; r < 2; r++) {
            for (int64_t j = 0; j < b.act.ld; j++) {
                const float want = j < k ? x[r * k + (i < 4 ? j : k - 1 - j)] : 0.0f;
                assert_int_equal(shoal_f32_bits(b.act.f32[(1 + r) * b.act.ld + j]),
                                 shoal_f32_bits(want));
            }
        }
        assert_int_equal(shoal_f32_bits(b.act.f32[0]), 0x55555555); /* row 0 untouched */
        shoal_arena_destroy(b.arena);
    }
}

/* Form BF16: half to even at every level; NaN, infinity and what rounds to it are row errors. */
static void test_bf16(void **state)
{
    (void)state;
    static const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf818000,
                                    0x80000000, 0x00007fff, 0x00008000, 0x00018000, 0x007fffff,
                                    0x7f7f7fff, 0x7f7f8000, 0x7f800000, 0x7f800001, 0xffffffff};
    static const uint16_t want[] = {0x3f80, 0x3f82, 0x3f80, 0x3f81, 0xbf82, 0x8000, 0x0000, 0x0000,
                                    0x0002, 0x0080, 0x7f7f, 0x7f80, 0x7f80, 0x7fc0, 0xffff};
    static const int64_t ks[] = {1, 16, 37, 150};
    int32_t perm[150];
    float x[150];
    for (int32_t turn = 0; turn < 4 * 15 * 2; turn++) {
        const int64_t k = ks[turn % 4];
        const int value = turn / 4 % 15;
        const int64_t at = turn * 7 % k;
        for (int32_t i = 0; i < 150; i++) {
            perm[i] = (int32_t)k - 1 - i;
            x[i] = case_uniform(9);
        }
        x[at] = shoal_f32_from_bits(bits[value]);
        bench b;
        bench_open(&b, k, k, k, SHOAL_ACT_BF16, turn < 60 ? NULL : perm, 2);
        assert_int_equal(b.act.ld / 32 % 2, 1);
        for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
            int64_t pending = 5;
            memset(b.act.bf16, 0x55, (size_t)(2 * b.act.ld) * 2);
            shoal_quantize_rows((shoal_cpu_level)level, x, k, 1, 1, &b.act, &pending);
            assert_int_equal(pending, 5 + (value > 10));
            const uint16_t *row = b.act.bf16 + b.act.ld;
            for (int64_t i = 0; i < b.act.ld; i++) {
                const int64_t from = turn < 60 ? i : k - 1 - i;
                const uint16_t near = i < k ? shoal_bf16_from_f32(x[from]) : 0;
                assert_int_equal(row[i], i < k && from == at ? want[value] : near);
            }
            assert_int_equal(row[-1], 0x5555);
        }
        shoal_arena_destroy(b.arena);
    }
}

/* Quantizing x/m (or x*m) by the act's scale is quantizing rows that were divided before, whole or
 * part by part, in every form and order. */
static void test_input_scale(void **state)
{
    static const shoal_act_form forms[] = {SHOAL_ACT_INT8, SHOAL_ACT_F32, SHOAL_ACT_BF16};
    (void)state;
    for (int turn = 0; turn < 60; turn++) {
        const int64_t k = 1 + turn * 13;
        const bool multiply = turn % 2, parts = turn % 4 > 1;
        int32_t perm[K_MAX];
        float x[K_MAX], m[K_MAX], changed[K_MAX];
        bench a, b;
        for (int64_t i = 0; i < k; i++) {
            perm[i] = (int32_t)(k - 1 - i);
            x[i] = case_uniform(3);
            m[i] = 0.1f + fabsf(case_uniform(4));
        }
        const bool permuted = !parts && turn % 3 == 0;
        for (int64_t i = 0; i < k; i++) {
            const float seen = x[permuted ? perm[i] : i];
            changed[i] = multiply ? seen * m[i] : seen / m[i];
        }
        bench_open(&a, k, k, 128, forms[turn % 3], permuted ? perm : NULL, 1);
        bench_open(&b, k, k, 128, forms[turn % 3], NULL, 1);
        a.act.input_scale = m;
        a.act.input_multiply = multiply;
        for (int64_t at = 0; parts && at < k; at += 128)
            (void)shoal_quantize_part(SHOAL_CPU_REF, x + at, 0, at, k - at < 128 ? k - at : 128,
                                      &a.act);
        if (!parts)
            shoal_quantize_rows(SHOAL_CPU_AMX, x, k, 0, 1, &a.act, NULL);
        shoal_quantize_rows(SHOAL_CPU_REF, changed, k, 0, 1, &b.act, NULL);
        const void *got[] = {a.act.q, a.act.f32, a.act.bf16};
        const void *want[] = {b.act.q, b.act.f32, b.act.bf16};
        const size_t bytes = (size_t)(k * shoal_act_value_bytes(forms[turn % 3]));
        assert_memory_equal(got[turn % 3], want[turn % 3], bytes);
        if (turn % 3 == 0) {
            assert_memory_equal(a.act.scales, b.act.scales,
                                (size_t)a.linear.size.act_groups * sizeof(float));
            assert_memory_equal(a.act.sums, b.act.sums,
                                (size_t)a.linear.size.segments * sizeof(int32_t));
        }
        shoal_arena_destroy(a.arena);
        shoal_arena_destroy(b.arena);
    }
}

static void test_levels(void **state)
{
    (void)state;
    const shoal_cpu_level levels[] = {SHOAL_CPU_REF, SHOAL_CPU_AVX2, SHOAL_CPU_AVX512};
    for (int i = 0; i < 3; i++) {
        const bool has = shoal_cpu_has(levels[i]);
        print_message("  %s: %s\n", shoal_cpu_name(levels[i]), has ? "runs" : "skipped: absent");
        if (has)
            assert_int_equal(shoal_quantize_pick(levels[i])->needs, levels[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_inverse),
        cmocka_unit_test(test_errors_everywhere),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_input_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

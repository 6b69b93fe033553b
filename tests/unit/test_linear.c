/* Linears: every row of the table that this machine can run gives, bit for bit, what the text of
 * docs/arithmetic.md says (computed from the canonical form) and what the reference says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/linear_run.h"
#include "tests/unit/linear_case.h"
#include "tests/unit/linear_specs.h"

#include <cmocka.h>

#define GUARD_FLOATS 64
#define GUARD_BITS   0xdeadbeefu

static long compared[64]; /* cases per row of the table that it is meant for */

/* One row of the table over all panels of a whole linear, in one call per panel or in two that
 * hand the accumulators on; guards around them stay. */
static void check_row(const linear_case *t, const shoal_linear_row *row, const float *want,
                      bool in_two)
{
    const int64_t cells = t->rows * SHOAL_PANEL, segments = t->linear.size.segments;
    void *block;
    case_must(shoal_alloc(SHOAL_MEM_OTHER, (uint64_t)(cells + 2 * GUARD_FLOATS) * 4, &block));
    uint32_t *guarded = block;
    float *acc = (float *)block + GUARD_FLOATS;
    for (int64_t panel = 0; panel < t->linear.size.panels; panel++) {
        for (int i = 0; i < GUARD_FLOATS; i++)
            guarded[i] = guarded[GUARD_FLOATS + cells + i] = GUARD_BITS;
        memset(acc, 0, (size_t)cells * 4);
        const int64_t half = in_two ? segments / 2 : segments;
        const int64_t middle = half < segments ? t->linear.segments[half].run : half;
        row->accumulate(&t->linear, &t->act, 0, t->rows, panel, 0, middle, acc);
        row->accumulate(&t->linear, &t->act, 0, t->rows, panel, middle, segments, acc);
        for (int i = 0; i < GUARD_FLOATS; i++) {
            assert_int_equal(guarded[i], GUARD_BITS);
            assert_int_equal(guarded[GUARD_FLOATS + cells + i], GUARD_BITS);
        }
        const int64_t n0 = panel * SHOAL_PANEL;
        for (int64_t r = 0; r < t->rows; r++) {
            const int64_t columns = shoal_min_i64(SHOAL_PANEL, t->spec.n - n0);
            if (memcmp(acc + r * SHOAL_PANEL, want + r * t->spec.n + n0, (size_t)columns * 4))
                fail_msg("%s: row %lld of panel %lld differs (n %lld k %lld g %lld)", row->name,
                         (long long)r, (long long)panel, (long long)t->spec.n, (long long)t->spec.k,
                         (long long)t->spec.group);
        }
    }
    shoal_free(block);
}

static void check_case(linear_case *t)
{
    float *want = case_array(t->rows * t->spec.n, sizeof *want);
    for (int64_t r = 0; r < t->rows; r++) {
        for (int64_t n = 0; n < t->spec.n; n++)
            want[r * t->spec.n + n] = case_whole(t, r, n);
    }
    for (size_t i = 0; i < shoal_linear_row_count; i++) {
        const shoal_linear_row *row = &shoal_linear_rows[i];
        if (!shoal_cpu_has(row->needs) || !row->applicable(&t->linear))
            continue;
        if (row->accumulate != shoal_linear_accumulate_ref) /* one loop over segments anyway */
            check_row(t, row, want, false);
        check_row(t, row, want, true);
        compared[i] += t->rows >= row->rows_min;
    }
    free(want);
}

static void check_spec(shoal_linear_spec spec, int64_t rows)
{
    linear_case *t = case_create(spec, rows);
    check_case(t);
    case_free(t);
}

/* The same linear in form BF16, for machines of every kind. */
static void check_kinds(shoal_linear_spec spec, int64_t rows)
{
    spec.act = SHOAL_ACT_BF16;
    linear_case *t = case_create(spec, rows);
    for (int kind = SHOAL_BF16_F32; kind <= SHOAL_BF16_AMX; kind++) {
        t->linear.bf16 = (shoal_bf16_kind)kind;
        check_case(t);
    }
    case_free(t);
}

static void test_whole_shapes(void **state)
{
    (void)state;
    static const int64_t ks[] = {1, 7, 8, 20, 24, 40, 128, 132, 200, 256, 300, 520, 1100};
    static const int64_t ns[] = {1, 63, 64, 65, 130};
    static const int64_t groups[] = {32, 64, 128, 0};
    static const int64_t act_groups[] = {128, 24, 64, 0};
    static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 11, 13};
    unsigned turn = 0;
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        for (size_t g = 0; g < 4; g++) {
            for (int kind = 0; kind < 2; kind++, turn++) {
                shoal_linear_spec s = int4_g128;
                s.kind = kind ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
                s.k = ks[i];
                s.n = ns[turn % 5];
                s.group = groups[g] ? groups[g] : s.k;
                s.act_group = act_groups[turn / 8 % 4] ? act_groups[turn / 8 % 4] : s.k;
                s = vary(s, turn / 2);
                check_spec(s, rows[turn % 9]);
                check_kinds(s, rows[turn % 8]);
                s.act = SHOAL_ACT_F32;
                check_spec(s, rows[turn % 7]);
            }
        }
    }
}

/* Super-groups: runs of one to many segments, cut by activation groups that fit or do not. */
static void test_super_groups(void **state)
{
    (void)state;
    static const int64_t ks[] = {16, 40, 256, 512, 300, 1024, 776};
    static const int64_t act_groups[] = {128, 48, 64, 0};
    static const int64_t rows[] = {1, 2, 3, 5, 7, 12, 13, 16, 33, 40};
    for (unsigned turn = 0; turn < 112; turn++) {
        shoal_linear_spec s = vary(int4_g128, turn);
        s.kind = turn % 2 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
        s.has_zeros = false;
        s.zero_const = turn % 2 ? (turn % 8 == 1 ? 128 : 32) : (int16_t)(turn % 3 * 4);
        s.n = turn % 5 ? 64 : 67;
        s.k = ks[turn % 7];
        s.group = turn / 2 % 2 ? 32 : 16;
        s.super_group = turn % 9 == 8 ? 64 : 256;
        s.act_group = act_groups[turn / 4 % 4] ? act_groups[turn / 4 % 4] : s.k;
        check_spec(s, rows[turn % 10]);
        if (turn % 4 == 0)
            check_kinds(s, rows[turn % 10]);
        s.act = SHOAL_ACT_F32;
        check_spec(s, rows[turn % 6]);
    }
}

static void test_float_shapes(void **state)
{
    (void)state;
    static const int64_t ks[] = {1, 3, 8, 127, 256, 300, 600};
    static const shoal_dtype types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    for (int i = 0; i < 7 * 3; i++) {
        const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_FLOAT,
                                     .dtype = types[i % 3],
                                     .n = 1 + 37 * (i % 4),
                                     .k = ks[i / 3],
                                     .act = SHOAL_ACT_INT8}; /* forced to F32 */
        check_spec(s, 1 + i % 14);
    }
}

/* More rows than a register tile, several strips, several chunks of K, tiles of 32 inputs. */
static void test_many_rows(void **state)
{
    (void)state;
    static const int64_t rows[] = {16, 31, 32, 33, 47, 64, 70, 127};
    static const int64_t ks[] = {1000, 640, 160, 612, 100};
    static const int64_t groups[] = {128, 32, 64, 96};
    for (unsigned turn = 0; turn < 40; turn++) {
        shoal_linear_spec s = int4_g128;
        s.kind = turn / 2 % 2 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
        s.n = turn % 7 == 0 ? 66 : 64;
        s.k = ks[turn % 5];
        s.group = groups[turn / 3 % 4];
        s.act_group = turn % 11 == 0 ? 64 : 128;
        s = vary(s, turn);
        s.zero_const = turn % 3 == 0 ? 3 : s.zero_const;
        check_spec(s, rows[turn % 8]);
        if (turn % 3 == 0)
            check_kinds(s, rows[turn % 8]);
    }
}

/* Sums around 2^-126, where the instructions flush and fmaf does not. */
static void test_bf16_flush(void **state)
{
    (void)state;
    static const float inputs[] = {0x1p-51f,   0x1p-52f,  0x1p-75f, 0x1p-76f,
                                   0x1.8p-75f, 0x1p-126f, 0,        0x1p-133f};
    const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_INT8,
                                 .dtype = SHOAL_F32,
                                 .n = 64,
                                 .k = 64,
                                 .group = 64,
                                 .zero_const = 128,
                                 .act = SHOAL_ACT_BF16};
    linear_case *t = case_create(s, 33);
    for (int round = 0; round < 20; round++) {
        for (int64_t i = 0; i < s.n * s.k; i++)
            t->block.codes[i] = (uint8_t)(126 + case_random() % 5);
        for (int64_t n = 0; n < s.n; n++)
            t->block.scales[n] = n == 0 ? 0x1p-127f : 0x1p-75f;
        for (int64_t i = 0; i < t->rows * s.k; i++)
            t->x[i] = inputs[case_random() % 8] * (case_random() % 2 ? 1.0f : -1.0f);
        case_must(shoal_linear_pack(&t->linear, 0, &t->block));
        shoal_quantize_rows(SHOAL_CPU_REF, t->x, s.k, 0, t->rows, &t->act, NULL);
        for (int kind = SHOAL_BF16_F32; kind <= SHOAL_BF16_AMX; kind++) {
            t->linear.bf16 = (shoal_bf16_kind)kind;
            check_case(t);
        }
    }
    case_free(t);
}

/* A row has the same bits alone and among any others. */
static void test_bf16_rows_alone(void **state)
{
    (void)state;
    shoal_linear_spec s = int4_g128;
    s.k = 424;
    s.group = 40;
    s.act = SHOAL_ACT_BF16;
    linear_case *t = case_create(s, 41);
    const int64_t segments = t->linear.size.segments;
    _Alignas(64) float together[41 * SHOAL_PANEL], alone[41 * SHOAL_PANEL];
    for (int kind = SHOAL_BF16_F32; kind <= SHOAL_BF16_AMX; kind++) {
        t->linear.bf16 = (shoal_bf16_kind)kind;
        const shoal_linear_row *row = shoal_linear_pick(&t->linear, SHOAL_CPU_AMX, 41);
        memset(together, 0, sizeof together);
        row->accumulate(&t->linear, &t->act, 0, 41, 0, 0, segments, together);
        for (int64_t some = 1; some < 40; some += 6) {
            memset(alone, 0, sizeof alone);
            for (int64_t r = 0; r < 41; r += some)
                row->accumulate(&t->linear, &t->act, r, shoal_min_i64(some, 41 - r), 0, 0, segments,
                                alone + r * SHOAL_PANEL);
            assert_memory_equal(together, alone, sizeof alone);
        }
    }
    case_free(t);
}

/* One weight group of more inputs than are widened at a time, one scale per row. */
static void test_per_token(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        shoal_linear_spec s = int4_g128;
        s.kind = kind ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
        s.zero_const = kind ? 128 : 8;
        s.k = s.group = s.act_group = 2048;
        check_spec(s, 9);
        check_spec(s, 1);
        check_spec(s, 33);
        s.k = s.group = s.act_group = 1100; /* pieces of unequal length */
        s.has_zeros = s.has_mins = true;
        check_spec(s, 12);
        check_spec(s, 14);
    }
}

/* Every number of rows that has a register tile of its own, and the first strips beyond. */
static void test_row_counts(void **state)
{
    (void)state;
    for (int64_t rows = 1; rows <= 26; rows++) {
        for (int kind = 0; kind < 2; kind++) {
            shoal_linear_spec s = vary(int4_g128, (unsigned)rows);
            s.kind = kind ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
            s.zero_const = kind ? 128 : 8;
            s.k = 424;
            s.group = rows % 3 ? 256 : 32;
            check_spec(s, rows);
        }
    }
}

/* The same for fp32 inputs: several pieces of K, the last one of an odd length. */
static void test_float_row_counts(void **state)
{
    (void)state;
    static const shoal_dtype types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    for (int64_t rows = 1; rows <= 13; rows++) {
        shoal_linear_spec quantized = vary(int4_g128, (unsigned)rows);
        quantized.k = 424;
        quantized.act = SHOAL_ACT_F32;
        check_spec(quantized, rows);
        for (int type = 0; type < 3; type++) {
            const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_FLOAT,
                                         .dtype = types[type],
                                         .n = 64,
                                         .k = 301,
                                         .act = SHOAL_ACT_F32};
            check_spec(s, rows);
        }
    }
}

/* Every code times +127 and -127, and the extreme sums: nothing may saturate. */
static void test_extreme_products(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        for (int sign = 0; sign < 3; sign++) {
            shoal_linear_spec s = int4_g128;
            s.kind = kind ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
            s.zero_const = kind ? 128 : 8;
            s.n = 258;
            linear_case *t = case_create(s, 18);
            for (int64_t i = 0; i < s.n * s.k; i++) {
                const int64_t n = i / s.k;
                t->block.codes[i] = (uint8_t)((n < 256 ? n : i % s.k) & (kind ? 255 : 15));
            }
            for (int64_t i = 0; i < t->rows * s.k; i++)
                t->x[i] = sign == 0 ? 1.0f : sign == 1 ? -1.0f : (i & 1 ? 1.0f : -1.0f);
            case_must(shoal_linear_pack(&t->linear, 0, &t->block));
            shoal_quantize_rows(SHOAL_CPU_REF, t->x, s.k, 0, t->rows, &t->act, NULL);
            check_case(t);
            case_free(t);
        }
    }
}

/* The largest integers that a run of SHOAL_SUPER_MAX inputs can have. */
static void test_extreme_runs(void **state)
{
    (void)state;
    for (int signs = 0; signs < 4; signs++) {
        shoal_linear_spec s = int4_g128;
        s.kind = SHOAL_WEIGHT_INT8;
        s.zero_const = 256;
        s.group = 16;
        s.super_group = s.act_group = SHOAL_SUPER_MAX;
        s.k = 2 * SHOAL_SUPER_MAX;
        s.has_mins = true;
        linear_case *t = case_create(s, 18);
        memset(t->block.codes, 0, (size_t)(s.n * s.k));
        for (int64_t i = 0; i < s.n * t->block.groups; i++) {
            t->block.steps[i] = signs & 1 ? 127 : -128;
            t->block.min_steps[i] = -128;
        }
        for (int64_t i = 0; i < t->rows * s.k; i++)
            t->x[i] = signs & 2 ? 1.0f : -1.0f;
        case_must(shoal_linear_pack(&t->linear, 0, &t->block));
        shoal_quantize_rows(SHOAL_CPU_REF, t->x, s.k, 0, t->rows, &t->act, NULL);
        check_case(t);
        case_free(t);
    }
}

/* A row with a NaN or an infinity gives NaN everywhere; its neighbours do not notice. */
static void test_error_rows(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        shoal_linear_spec s = int4_g128;
        s.kind = kind ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
        s.zero_const = kind ? 128 : 8;
        s.has_mins = true;
        linear_case *t = case_create(s, 17);
        int64_t pending[17] = {0};
        t->x[1 * s.k + 5] = NAN;
        t->x[7 * s.k + 200] = -INFINITY;
        shoal_quantize_rows(SHOAL_CPU_REF, t->x, s.k, 0, t->rows, &t->act, pending);
        for (int r = 0; r < 17; r++) {
            assert_int_equal(pending[r], r == 1 || r == 7);
            assert_int_equal(isnan(case_whole(t, r, 3)), r == 1 || r == 7);
        }
        check_case(t);
        case_free(t);
    }
}

/* The driver: any number of threads, rows over several blocks, several jobs, bias, odd ld. */
static void check_whole_run(linear_case *const *cases, int count, int threads)
{
    shoal_pool *pool;
    case_must(shoal_pool_create(threads, true, &pool));
    shoal_whole_job jobs[3] = {{0}};
    for (int j = 0; j < count; j++) {
        const int64_t ld = cases[j]->spec.n + 5;
        jobs[j] = (shoal_whole_job){.linear = &cases[j]->linear,
                                    .act = &cases[j]->act,
                                    .out = case_array(cases[j]->rows * ld + 1, 4),
                                    .ld = ld};
    }
    shoal_linear_whole(pool, jobs, count, cases[0]->rows);
    for (int j = 0; j < count; j++) {
        const linear_case *t = cases[j];
        for (int64_t r = 0; r < t->rows; r++) {
            for (int64_t n = 0; n < t->spec.n; n++) {
                const float y = case_whole(t, r, n);
                const float want = t->linear.bias ? y + t->linear.bias[n] : y;
                const float got = jobs[j].out[r * jobs[j].ld + n];
                assert_int_equal(shoal_f32_bits(got), shoal_f32_bits(want));
            }
            for (int64_t n = t->spec.n; n < jobs[j].ld; n++)
                assert_int_equal(shoal_f32_bits(jobs[j].out[r * jobs[j].ld + n]), 0);
        }
        free(jobs[j].out);
    }
    shoal_pool_destroy(pool);
}

static void test_whole_run(void **state)
{
    (void)state;
    static const int64_t rows[] = {1, 4, 150};
    for (int i = 0; i < 3; i++) {
        linear_case *cases[3];
        for (unsigned j = 0; j < 3; j++) {
            shoal_linear_spec s = vary(int4_g128, j);
            s.n = j == 1 ? 0 : 70 + 60 * (int64_t)j; /* an empty slice is legal */
            s.k = 136;
            cases[j] = case_create(s, rows[i]);
        }
        float bias[200];
        for (int n = 0; n < 200; n++)
            bias[n] = case_uniform(1);
        cases[2]->linear.bias = bias;
        for (int threads = 1; threads <= 3; threads++)
            check_whole_run(cases, 3, threads);
        for (int j = 0; j < 3; j++)
            case_free(cases[j]);
    }
}

static void test_refused_specs(void **state)
{
    (void)state;
    shoal_linear_spec bad[11];
    for (int i = 0; i < 11; i++)
        bad[i] = int4_g128;
    bad[8].super_group = 192; /* no multiple of the group */
    bad[9].super_group = 2 * SHOAL_SUPER_MAX;
    bad[10].super_group = 256;
    bad[10].has_zeros = true;
    bad[0].n = -1;
    bad[1].k = INT64_MAX;
    bad[2].group = 0;
    bad[3].act_group = 0;
    bad[4].k_begin = 128;
    bad[5].dtype = SHOAL_I8;
    bad[6].zero_const = 17;
    bad[7].k = bad[7].group = bad[7].act_group = SHOAL_PER_TOKEN_K_MAX + 1;
    shoal_linear_size size;
    for (int i = 0; i < 11; i++) {
        assert_int_equal(shoal_linear_measure(&bad[i], &size), SHOAL_ERR_DATA);
        assert_true(strlen(shoal_error_text()) > 10);
    }
    bad[7].k = bad[7].group = bad[7].act_group = SHOAL_PER_TOKEN_K_MAX;
    assert_int_equal(shoal_linear_measure(&bad[7], &size), SHOAL_OK);
}

/* SHOAL_CPU's words, and that the rows chosen follow the cap. */
static void test_levels(void **state)
{
    (void)state;
    shoal_cpu_level level;
    assert_int_equal(shoal_cpu_cap("sse9", &level), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_cpu_cap("ref", &level), SHOAL_OK);
    assert_int_equal(level, SHOAL_CPU_REF);
    assert_int_equal(shoal_cpu_cap(NULL, &level), SHOAL_OK);
    assert_int_equal(level, shoal_cpu_best());
    linear_case *t = case_create(int4_g128, 1);
    for (int i = 0; i < SHOAL_CPU_LEVELS; i++) {
        const shoal_cpu_level cap = (shoal_cpu_level)i;
        const bool has = shoal_cpu_has(cap);
        assert_int_equal(shoal_cpu_cap(shoal_cpu_name(cap), &level),
                         has ? SHOAL_OK : SHOAL_ERR_USAGE);
        const shoal_linear_row *decode = shoal_linear_pick(&t->linear, cap, 1);
        const shoal_linear_row *prefill = shoal_linear_pick(&t->linear, cap, 128);
        assert_true(decode->needs <= cap && prefill->needs <= cap);
        print_message("  level %-10s %s: decode %s, prefill %s\n", shoal_cpu_name(cap),
                      has ? "here  " : "absent", decode->name, prefill->name);
    }
    case_free(t);
}

static void test_coverage(void **state)
{
    (void)state;
    for (size_t i = 0; i < shoal_linear_row_count; i++) {
        const shoal_linear_row *row = &shoal_linear_rows[i];
        const bool dots = !strcmp(row->name, "bf16-amx") || !strcmp(row->name, "bf16-avx512bf16");
        const bool has = dots ? shoal_cpu_has_bf16(row->needs) : shoal_cpu_has(row->needs);
        print_message("  row %-16s compared on %ld cases%s\n", shoal_linear_rows[i].name,
                      compared[i], has ? "" : " (skipped: this machine lacks it)");
        assert_true(!has || compared[i] >= 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),           cmocka_unit_test(test_refused_specs),
        cmocka_unit_test(test_whole_shapes),     cmocka_unit_test(test_float_shapes),
        cmocka_unit_test(test_super_groups),     cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_per_token),        cmocka_unit_test(test_row_counts),
        cmocka_unit_test(test_float_row_counts), cmocka_unit_test(test_extreme_products),
        cmocka_unit_test(test_extreme_runs),     cmocka_unit_test(test_error_rows),
        cmocka_unit_test(test_whole_run),        cmocka_unit_test(test_bf16_flush),
        cmocka_unit_test(test_bf16_rows_alone),  cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every row of the ops table against the reference row, and the reference against the rules of
 * docs/arithmetic.md written once more: norms, residual, rope, gates, fp16, the KV append. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/mathf.h"
#include "tests/unit/ops_case.h"

#define MOST 4200

/* Lengths around every vector width and the 64 lanes, and two of real models. */
static const int64_t lengths[] = {1,   2,   3,   7,   8,   9,    15,   16,  17,  24,
                                  31,  33,  40,  63,  64,  65,   80,   96,  127, 129,
                                  191, 192, 193, 255, 576, 1000, 4096, 4191};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static float x[MOST], y[MOST], w[MOST], want[MOST + 1], got[MOST + 1];

/* Runs `call(row, out)` for all rows and compares n floats and the word after them. */
#define COMPARE(n, call)                                                                           \
    do {                                                                                           \
        float *out = want;                                                                         \
        const shoal_ops_row *row = &shoal_ops_ref;                                                 \
        call;                                                                                      \
        for (int r_ = 0; r_ < shoal_ops_row_count; r_++) {                                         \
            row = shoal_ops_rows[r_];                                                              \
            if (!ops_runs(row))                                                                    \
                continue;                                                                          \
            out = got;                                                                             \
            got[n] = 77.0f;                                                                        \
            call;                                                                                  \
            if (!ops_same(got, want, n) || got[n] != 77.0f)                                        \
                fail_msg("%s differs: %s, n %lld", row->name, #call, (long long)(n));              \
        }                                                                                          \
    } while (0)

/* The rule, not the code: 64 lanes, then the tree. */
static void norm_by_rule(const float *v, int64_t n, const float *weight, float eps, float *out)
{
    float lane[64];
    for (int i = 0; i < 64; i++) {
        lane[i] = 0.0f;
        for (int64_t j = i; j < n; j += 64)
            lane[i] = fmaf(v[j], v[j], lane[i]);
    }
    for (int step = 32; step >= 1; step /= 2)
        for (int i = 0; i < step; i++)
            lane[i] = lane[i] + lane[i + step];
    const float mean = lane[0] / (float)n;
    const float root = sqrtf(mean + eps);
    const float r = 1.0f / root;
    for (int64_t i = 0; i < n; i++) {
        const float scaled = v[i] * r;
        out[i] = scaled * weight[i];
    }
}

static void test_norm(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        const int64_t n = lengths[l];
        ops_fill(x, n, 3.0f);
        ops_fill(w, n, 1.5f);
        COMPARE(n, row->norm(x, n, w, 1e-5f, out));
        norm_by_rule(x, n, w, 1e-5f, got);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        memcpy(got, x, (size_t)n * sizeof *got);
        shoal_ops_pick(SHOAL_CPU_AMX)->norm(got, n, w, 1e-5f, got); /* in place */
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
    }
}

static void test_norm_nan_lanes(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 130; n += 43) {
        for (int64_t bad = 0; bad < n; bad++) {
            ops_fill(x, n, 1.0f);
            ops_fill(w, n, 1.0f);
            x[bad] = bad % 2 ? NAN : INFINITY;
            COMPARE(n, row->norm(x, n, w, 1e-6f, out));
            assert_true(isnan(want[bad]));
        }
    }
}

static int64_t wide_random(void)
{
    const uint64_t bits =
        (uint64_t)ops_random() << 40 ^ (uint64_t)ops_random() << 16 ^ ops_random();
    return (int64_t)bits >> ops_random() % 62;
}

/* fp32 from an int64 the slow way: through 64 bits of mantissa, where every int64 is exact. */
static float rounded_once(int64_t v)
{
    return (float)((long double)v) * 0x1p-28f;
}

static void test_join(void **state)
{
    (void)state;
    static int64_t room[5][MOST];
    const int64_t *parts[5];
    for (int p = 0; p < 5; p++)
        parts[p] = room[p];
    for (size_t l = 0; l < LENGTHS; l++) {
        const int64_t n = lengths[l];
        for (int count = 1; count <= 5; count++) {
            for (int64_t i = 0; i < n + 1; i++)
                for (int p = 0; p < count; p++)
                    room[p][i] = wide_random() / 8;
            /* ties that double rounding would get wrong: 2^24 steps with a far sticky bit */
            room[0][1] = (INT64_C(1) << 60) + (INT64_C(1) << 36) + 1;
            for (int p = 1; p < count; p++)
                room[p][1] = 0;
            COMPARE(n, row->join(parts, count, 1, n, out));
            for (int64_t i = 0; i < n; i++) {
                int64_t sum = 0;
                for (int p = 0; p < count; p++)
                    sum += room[p][i + 1];
                const float right = rounded_once(sum);
                assert_memory_equal(&want[i], &right, sizeof right);
            }
        }
    }
}

static void test_add(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        const int64_t n = lengths[l];
        ops_fill(x, n, 1e30f);
        ops_fill(y, n, 1e30f);
        COMPARE(n, (memcpy(out, x, (size_t)n * 4), row->add(out, y, n)));
        for (int64_t i = 0; i < n; i++)
            assert_true(want[i] == x[i] + y[i]);
    }
}

static void test_rope(void **state)
{
    (void)state;
    static float cosine[MOST], sine[MOST];
    for (int64_t dim = 2; dim <= 256; dim += dim < 40 ? 2 : 8) {
        for (int64_t i = 0; i < dim / 2; i++)
            shoal_sincosf(ops_uniform(1e5f), &sine[i], &cosine[i]);
        ops_fill(x, dim + 1, 4.0f);
        const int64_t n = dim;
        COMPARE(n, (memcpy(out, x, (size_t)n * 4), row->rope(out, dim, cosine, sine)));
        for (int64_t i = 0; i < dim / 2; i++) {
            const float a = x[i], b = x[i + dim / 2], bs = b * sine[i], as = a * sine[i];
            assert_true(want[i] == fmaf(a, cosine[i], -bs));
            assert_true(want[i + dim / 2] == fmaf(b, cosine[i], as));
        }
    }
}

static void test_gated(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        const int64_t n = lengths[l];
        ops_fill(x, n, 30.0f);
        ops_fill(y, n, 5.0f);
        x[n / 2] = n % 2 ? -INFINITY : NAN;
        for (shoal_gate kind = SHOAL_GATE_SILU; kind <= SHOAL_GATE_GELU; kind++)
            COMPARE(n, row->gated(kind, x, y, n, out));
        COMPARE(n, (memcpy(out, x, (size_t)n * 4), row->gated(SHOAL_GATE_SILU, out, y, n, out)));
        for (int64_t i = 0; i < n; i++) {
            const float right = (x[i] / (1.0f + shoal_expf(-x[i]))) * y[i];
            assert_true(ops_same(&want[i], &right, 1));
        }
    }
}

static void test_soft_cap(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        const int64_t n = lengths[l];
        ops_fill(x, n, 200.0f);
        x[0] = INFINITY;
        COMPARE(n, (memcpy(out, x, (size_t)n * 4), row->soft_cap(out, n, 30.0f)));
        assert_true(want[0] == 30.0f);
        for (int64_t i = 0; i < n; i++)
            assert_true(fabsf(want[i]) <= 30.0f);
    }
}

/* Every fp16 value, the midpoints between neighbours and the fp32 numbers beside them. */
static void test_f16(void **state)
{
    (void)state;
    static float in[4 * 16];
    uint16_t right[4 * 16], out[4 * 16 + 1];
    for (uint32_t h = 0; h < 0x10000; h += 16) {
        for (uint32_t i = 0; i < 16; i++) {
            const float low = shoal_f32_from_f16((uint16_t)(h + i));
            const float high = shoal_f32_from_f16((uint16_t)(h + i + 1));
            const float middle = 0.5f * low + 0.5f * high;
            in[4 * i] = low;
            in[4 * i + 1] = middle;
            in[4 * i + 2] = nextafterf(middle, low);
            in[4 * i + 3] = nextafterf(middle, high);
        }
        const int64_t n = 64 - h / 16 % 9;
        const bool error = shoal_ops_ref.to_f16(in, n, right);
        for (int r = 0; r < shoal_ops_row_count; r++) {
            if (!ops_runs(shoal_ops_rows[r]))
                continue;
            out[n] = 0x1234;
            assert_int_equal(shoal_ops_rows[r]->to_f16(in, n, out), error);
            assert_memory_equal(out, right, (size_t)n * 2);
            assert_int_equal(out[n], 0x1234);
        }
    }
}

static void test_f16_errors(void **state)
{
    (void)state;
    const struct {
        float value;
        bool error;
    } cases[] = {{65504.0f, false}, {-65504.0f, false}, {nextafterf(65504.0f, 1e9f), true},
                 {-65520.0f, true}, {INFINITY, true},   {NAN, true},
                 {0x1p-24f, false}, {0x1p-30f, false}};
    uint16_t out[40];
    for (int r = 0; r < shoal_ops_row_count; r++) {
        if (!ops_runs(shoal_ops_rows[r]))
            continue;
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            for (int64_t at = 0; at < 40; at++) {
                memset(x, 0, 40 * sizeof *x);
                x[at] = cases[c].value;
                assert_int_equal(shoal_ops_rows[r]->to_f16(x, 40, out), cases[c].error);
            }
        }
    }
}

/* Pages written by every row are the reference's, byte for byte, and hold what rule 5 says. */
static void test_append(void **state)
{
    (void)state;
    static float key[256], value[256];
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        for (size_t h = 0; h < OPS_HEAD_DIMS; h++) {
            const int64_t n = ops_head_dims[h];
            ops_kv kv = ops_kv_create((shoal_kv_type)type, 2, n, 40);
            uint8_t *first = ops_array((int64_t)kv.bytes, 1);
            for (int r = shoal_ops_row_count - 1; r >= 0; r--) {
                const shoal_ops_row *row = shoal_ops_rows[r];
                if (!ops_runs(row))
                    continue;
                memset(kv.layer.base, 0xff, kv.bytes);
                ops_random_state = 99 + (uint64_t)n;
                for (int64_t p = 0; p < 37; p++) {
                    ops_fill(key, n, 3.0f);
                    ops_fill(value, n, 3.0f);
                    assert_int_equal(shoal_kv_append(row, shoal_quantize_pick(row->needs),
                                                     &kv.layer, p % 2, kv.pages[p / SHOAL_PAGE],
                                                     p % SHOAL_PAGE, key, value),
                                     0);
                }
                if (row == &shoal_ops_ref)
                    memcpy(first, kv.layer.base, kv.bytes);
                assert_memory_equal(kv.layer.base, first, kv.bytes);
            }
            free(first);
            ops_kv_free(&kv);
        }
    }
}

static void test_append_int8_meaning(void **state)
{
    (void)state;
    float key[24], value[24];
    ops_kv kv = ops_kv_create(SHOAL_KV_INT8, 1, 24, 16);
    ops_fill(key, 24, 1.0f);
    ops_fill(value, 24, 1.0f);
    key[5] = -2.54f; /* the largest: q = -127, scale 0.02 */
    assert_int_equal(shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0, kv.pages[0],
                                     3, key, value),
                     0);
    const uint8_t *page =
        kv.layer.base + (uint64_t)kv.pages[0] * shoal_kv_head_bytes(SHOAL_KV_INT8, 24);
    float scale;
    memcpy(&scale, page + 2 * 16 * 24 + 4 * 3, sizeof scale);
    assert_true(scale == 2.54f / 127.0f);
    assert_int_equal((int8_t)page[(5 / 4 * 16 + 3) * 4 + 5 % 4], -127);
    for (int d = 0; d < 24; d++)
        assert_int_equal((int8_t)page[(d / 4 * 16 + 3) * 4 + d % 4],
                         (int)rintf(key[d] * (127.0f / 2.54f)));
    key[0] = NAN;
    value[3] = INFINITY;
    assert_int_equal(shoal_kv_append(&shoal_ops_ref, &shoal_quantize_ref, &kv.layer, 0, kv.pages[0],
                                     4, key, value),
                     2);
    ops_kv_free(&kv);
}

static void test_pick(void **state)
{
    (void)state;
    assert_ptr_equal(shoal_ops_pick(SHOAL_CPU_REF), &shoal_ops_ref);
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
        const shoal_ops_row *row = shoal_ops_pick((shoal_cpu_level)level);
        assert_true((int)row->needs <= level && shoal_cpu_has(row->needs));
    }
    assert_string_equal(shoal_ops_rows[shoal_ops_row_count - 1]->name, "ops-ref");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_norm_nan_lanes),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_gated),
        cmocka_unit_test(test_soft_cap),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_f16_errors),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_int8_meaning),
        cmocka_unit_test(test_pick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

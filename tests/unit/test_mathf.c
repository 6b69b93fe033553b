/* Our exp, log, tanh, erf, silu, gelu, sin and cos: near the true value (long double libm), and the
 * same bits on every kernel level.
 *
 * Usage: test_mathf [--all]   --all compares the levels over all 2^32 inputs (some minutes each) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/mathf.h"
#include "kernels/ops.h"
#include "proto/dtype.h"

#define RANDOM_INPUTS 1000000

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20);
}

static float random_in(float low, float high)
{
    return low + (high - low) * ((float)(random_bits() >> 8) * 0x1p-24f);
}

/* Distance in units of the last place that an fp32 number of the size of `want` has. */
static long double ulps(float got, long double want)
{
    int exponent;
    (void)frexpl(want, &exponent);
    if (exponent < -125)
        exponent = -125;
    return fabsl((long double)got - want) / ldexpl(1.0L, exponent - 24);
}

typedef struct {
    const char *name;
    float (*f)(float);
    long double (*truth)(long double);
    float low, high; /* uniform inputs; besides them all magnitudes within [low, high] */
    long double bound;
} row;

static const row rows[] = {
    {"exp", shoal_expf, expl, -87.0f, 88.72283f, 1.0L},
    {"exp near 0", shoal_expf, expl, -1.0f, 1.0f, 1.0L},
    {"log", shoal_logf, logl, 0.0f, 3e38f, 1.0L},
    {"log near 1", shoal_logf, logl, 0.5f, 2.0f, 1.0L},
    {"tanh", shoal_tanhf, tanhl, -10.0f, 10.0f, 2.0L},
    {"tanh near 0", shoal_tanhf, tanhl, -1.0f, 1.0f, 2.0L},
    {"erf", shoal_erff, erfl, -5.0f, 5.0f, 2.0L},
    {"erf near 0", shoal_erff, erfl, -1.0f, 1.0f, 2.0L},
};

static void test_accuracy(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        long double worst = 0.0L;
        float at = 0.0f;
        for (int i = 0; i < RANDOM_INPUTS; i++) {
            float x =
                i % 2 ? random_in(rows[r].low, rows[r].high) : shoal_f32_from_bits(random_bits());
            if (!(x >= rows[r].low && x <= rows[r].high) || x == 0.0f)
                continue;
            const long double u = ulps(rows[r].f(x), rows[r].truth((long double)x));
            if (u > worst) {
                worst = u;
                at = x;
            }
        }
        print_message("%-12s worst %.4Lf ulp at %a\n", rows[r].name, worst, (double)at);
        assert_true(worst <= rows[r].bound);
    }
}

static long double silu(long double g)
{
    return g / (1.0L + expl(-g));
}

static long double gelu(long double x)
{
    return 0.5L * x * erfcl(-x * sqrtl(0.5L));
}

static long double gelu_tanh(long double x)
{
    const long double inner =
        sqrtl(2.0L / 3.14159265358979323846264338328L) * (x + 0.044715L * x * x * x);
    return 0.5L * x * (1.0L + tanhl(inner));
}

/* Gates lose bits where 1 + tanh cancels: the bound is absolute, in units of |x|. */
static void test_gates(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOM_INPUTS; i++) {
        const float x = random_in(-20.0f, 20.0f);
        const long double most = 2e-7L * fabsl((long double)x);
        assert_true(fabsl((long double)shoal_siluf(x) - silu((long double)x)) <= most);
        assert_true(fabsl((long double)shoal_geluf(x) - gelu((long double)x)) <= most);
        assert_true(fabsl((long double)shoal_gelu_tanhf(x) - gelu_tanh((long double)x)) <= most);
        if (x > -80.0f)
            assert_true(ulps(shoal_siluf(x), silu((long double)x)) <= 3.0L);
    }
}

static void check_angle(float angle, long double *worst)
{
    float s, c;
    shoal_sincosf(angle, &s, &c);
    *worst = fmaxl(*worst, ulps(s, sinl((long double)angle)));
    *worst = fmaxl(*worst, ulps(c, cosl((long double)angle)));
}

static void test_sincos(void **state)
{
    (void)state;
    long double worst = 0.0L;
    for (int i = 0; i < RANDOM_INPUTS / 4; i++) {
        check_angle(random_in(-10.0f, 10.0f), &worst);
        check_angle(random_in(0.0f, 1e4f), &worst);
        check_angle(floorf(random_in(0.0f, 1e7f)), &worst);
        check_angle(random_in(-0x1.fffffep31f, 0x1.fffffep31f), &worst);
        /* the fp32 numbers nearest to a multiple of pi/2: where reductions break */
        const float near = (float)((double)(random_bits() % 100000000) * 1.57079632679489661923);
        check_angle(near, &worst);
        check_angle(nextafterf(near, 1e9f), &worst);
        check_angle(shoal_f32_from_bits(random_bits() % 0x4f800000u), &worst);
    }
    print_message("sin, cos     worst %.6Lf ulp\n", worst);
    assert_true(worst <= 0.50001L);
}

static uint32_t bits_of(float (*f)(float), uint32_t x)
{
    return shoal_f32_bits(f(shoal_f32_from_bits(x)));
}

#define ONE      0x3f800000u
#define INF      0x7f800000u
#define SIGN     0x80000000u
#define QUIET    0x7fc00000u
#define SOME_NAN 0xffa12345u

static void test_edges(void **state)
{
    (void)state;
    assert_int_equal(bits_of(shoal_expf, 0), ONE);
    assert_int_equal(bits_of(shoal_expf, SIGN), ONE);
    assert_int_equal(bits_of(shoal_expf, INF), INF);
    assert_int_equal(bits_of(shoal_expf, SIGN | INF), 0);
    assert_true(shoal_expf(-87.0f) > 0x1p-126f);
    assert_int_equal(shoal_f32_bits(shoal_expf(nextafterf(-87.0f, -90.0f))), 0);
    assert_true(shoal_expf(0x1.62e42ep+6f) < INFINITY);
    assert_int_equal(shoal_f32_bits(shoal_expf(nextafterf(0x1.62e42ep+6f, 90.0f))), INF);
    assert_int_equal(bits_of(shoal_expf, 1), ONE);
    assert_int_equal(bits_of(shoal_logf, ONE), 0);
    assert_int_equal(bits_of(shoal_logf, 0), SIGN | INF);
    assert_int_equal(bits_of(shoal_logf, SIGN), SIGN | INF);
    assert_int_equal(bits_of(shoal_logf, INF), INF);
    assert_int_equal(bits_of(shoal_logf, SIGN | 1), QUIET);
    assert_int_equal(bits_of(shoal_tanhf, SIGN), SIGN);
    assert_int_equal(bits_of(shoal_tanhf, INF), ONE);
    assert_int_equal(bits_of(shoal_tanhf, SIGN | INF), SIGN | ONE);
    assert_int_equal(bits_of(shoal_erff, SIGN), SIGN);
    assert_int_equal(bits_of(shoal_erff, INF), ONE);
    assert_int_equal(bits_of(shoal_siluf, SIGN), SIGN);
    assert_int_equal(bits_of(shoal_siluf, INF), INF);
    assert_int_equal(bits_of(shoal_siluf, SIGN | INF), QUIET);
    assert_int_equal(shoal_f32_bits(shoal_siluf(-100.0f)), SIGN);
    assert_int_equal(bits_of(shoal_geluf, INF), INF);
    float (*const all[])(float) = {shoal_expf,  shoal_logf,       shoal_tanhf, shoal_erff,
                                   shoal_siluf, shoal_gelu_tanhf, shoal_geluf};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(bits_of(all[i], SOME_NAN), QUIET);
    float s, c;
    shoal_sincosf(0.0f, &s, &c);
    assert_int_equal(shoal_f32_bits(s), 0);
    assert_int_equal(shoal_f32_bits(c), ONE);
    shoal_sincosf(INFINITY, &s, &c);
    assert_true(isnan(s) && isnan(c));
}

/* Inputs first, first + step, … as bit patterns, in blocks whose length is no multiple of a vector.
 */
#define BLOCK 509

static void compare_levels(uint64_t first, uint64_t step)
{
    static float x[BLOCK], want[BLOCK], got[BLOCK];
    for (uint64_t at = first; at < UINT64_C(1) << 32;) {
        int count = 0;
        for (; count < BLOCK && at < UINT64_C(1) << 32; count++, at += step)
            x[count] = shoal_f32_from_bits((uint32_t)at);
        for (int f = 0; f < SHOAL_MAPS; f++) {
            shoal_ops_ref.map((shoal_map)f, x, count, want);
            for (int r = 0; r + 1 < shoal_ops_row_count; r++) {
                if (!shoal_cpu_has(shoal_ops_rows[r]->needs))
                    continue;
                shoal_ops_rows[r]->map((shoal_map)f, x, count, got);
                assert_memory_equal(got, want, (size_t)count * sizeof *got);
            }
        }
    }
}

static void test_levels(void **state)
{
    (void)state;
    for (int r = 0; r < shoal_ops_row_count; r++)
        print_message("%s: %s\n", shoal_ops_rows[r]->name,
                      shoal_cpu_has(shoal_ops_rows[r]->needs) ? "compared" : "not on this machine");
    compare_levels(0, 4099);
    compare_levels(0x3f000000u, 8191); /* another residue, from 0.5 up */
}

static void test_all_inputs(void **state)
{
    (void)state;
    compare_levels(0, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy), cmocka_unit_test(test_gates),
        cmocka_unit_test(test_sincos),   cmocka_unit_test(test_edges),
        cmocka_unit_test(test_levels),
    };
    const struct CMUnitTest slow[] = {cmocka_unit_test(test_all_inputs)};
    if (argc > 1 && strcmp(argv[1], "--all") == 0)
        return cmocka_run_group_tests(slow, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

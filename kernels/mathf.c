#include "kernels/mathf.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/mathf_constants.h"
#include "proto/dtype.h"

_Static_assert(FLT_EVAL_METHOD == 0, "fp32 expressions must be rounded to fp32");

static float nan32(void)
{
    return shoal_f32_from_bits(SHOAL_NAN_BITS);
}

static bool is_nan(float x)
{
    return (shoal_f32_bits(x) & 0x7fffffffu) > 0x7f800000u;
}

/* x, or the one NaN of this file for any NaN (also the one that 0 * inf makes). */
static float clean(float x)
{
    return is_nan(x) ? nan32() : x;
}

/* c[0] + c[1] x + … + c[degree] x^degree. */
static float horner(const float *c, int degree, float x)
{
    float p = c[degree];
    for (int i = degree - 1; i >= 0; i--)
        p = fmaf(p, x, c[i]);
    return p;
}

static float with_sign_of(float magnitude, float x)
{
    return shoal_f32_from_bits(shoal_f32_bits(magnitude) | (shoal_f32_bits(x) & 0x80000000u));
}

static float magnitude_of(float x)
{
    return shoal_f32_from_bits(shoal_f32_bits(x) & 0x7fffffffu);
}

float shoal_expf(float x)
{
    static const float c[] = {1.0f,        1.0f,        SHOAL_EXP_0, SHOAL_EXP_1,
                              SHOAL_EXP_2, SHOAL_EXP_3, SHOAL_EXP_4};
    if (is_nan(x))
        return nan32();
    if (x < SHOAL_EXP_MIN)
        return 0.0f;
    if (x > SHOAL_EXP_MAX)
        return INFINITY;
    const float n = rintf(x * SHOAL_LOG2E);
    const float r = fmaf(n, -SHOAL_LN2_LO, fmaf(n, -SHOAL_LN2_HI, x));
    const float p = horner(c, 6, r);
    /* p * 2^n: the result is a normal number for every x that gets here */
    return shoal_f32_from_bits(shoal_f32_bits(p) + ((uint32_t)(int32_t)n << 23));
}

float shoal_logf(float x)
{
    static const float c[] = {SHOAL_LOG_0, SHOAL_LOG_1, SHOAL_LOG_2, SHOAL_LOG_3, SHOAL_LOG_4,
                              SHOAL_LOG_5, SHOAL_LOG_6, SHOAL_LOG_7, SHOAL_LOG_8};
    if (is_nan(x) || x < 0.0f)
        return nan32();
    if (x == 0.0f)
        return -INFINITY;
    if (x == INFINITY)
        return x;
    const bool subnormal = x < FLT_MIN;
    const uint32_t bits = shoal_f32_bits(subnormal ? x * 0x1p23f : x) - SHOAL_SQRT_HALF_BITS;
    const int32_t exponent = (int32_t)(bits & 0xff800000u) / (1 << 23);
    const float e = (float)(subnormal ? exponent - 23 : exponent);
    const float f = shoal_f32_from_bits((bits & 0x7fffffu) + SHOAL_SQRT_HALF_BITS) - 1.0f;
    const float z = f * f;
    const float cubic = (horner(c, 8, f) * f) * z;
    const float tail = fmaf(-0.5f, z, fmaf(e, SHOAL_LN2_LO, cubic));
    return fmaf(e, SHOAL_LN2_HI, f + tail);
}

float shoal_tanhf(float x)
{
    static const float c[] = {SHOAL_TANH_0, SHOAL_TANH_1, SHOAL_TANH_2, SHOAL_TANH_3, SHOAL_TANH_4};
    if (is_nan(x))
        return nan32();
    const float a = magnitude_of(x);
    float r;
    if (a < SHOAL_TANH_SPLIT) {
        const float z = a * a;
        r = fmaf(a * z, horner(c, 4, z), a);
    } else {
        r = 1.0f - 2.0f / (shoal_expf(a + a) + 1.0f);
    }
    return with_sign_of(r, x);
}

float shoal_erff(float x)
{
    static const float c[] = {SHOAL_ERF_0, SHOAL_ERF_1, SHOAL_ERF_2, SHOAL_ERF_3,
                              SHOAL_ERF_4, SHOAL_ERF_5, SHOAL_ERF_6};
    static const float far[] = {SHOAL_ERFC_0, SHOAL_ERFC_1, SHOAL_ERFC_2, SHOAL_ERFC_3,
                                SHOAL_ERFC_4, SHOAL_ERFC_5, SHOAL_ERFC_6};
    if (is_nan(x))
        return nan32();
    const float a = magnitude_of(x);
    float r;
    if (a < SHOAL_ERF_SPLIT)
        r = fmaf(a, horner(c, 6, a * a), a);
    else
        r = 1.0f - shoal_expf(-horner(far, 6, a < SHOAL_ERF_END ? a : SHOAL_ERF_END));
    return with_sign_of(r, x);
}

float shoal_siluf(float g)
{
    return clean(g / (1.0f + shoal_expf(-g)));
}

float shoal_gelu_tanhf(float x)
{
    const float inner = fmaf(SHOAL_GELU_CUBIC, (x * x) * x, x) * SHOAL_SQRT_2_PI;
    return clean((0.5f * x) * (1.0f + shoal_tanhf(inner)));
}

float shoal_geluf(float x)
{
    return clean((0.5f * x) * (1.0f + shoal_erff(x * SHOAL_SQRT_HALF)));
}

/* pi/2 in two doubles. The fused steps below keep every bit of the difference, so an angle may
 * lie as close to a multiple of pi/2 as any fp32 number below 2^32 does. */
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define PI_2_HI     0x1.921fb54442d18p+0
#define PI_2_LO     0x1.1a62633145c07p-54

/* Taylor series; |r| <= pi/4, where the first term left out is below 2^-45. */
static double sin_near(double r)
{
    static const double c[] = {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                               -1.0 / 5040.0,      1.0 / 120.0,       -1.0 / 6.0};
    const double z = r * r;
    double p = c[0];
    for (int i = 1; i < 6; i++)
        p = fma(p, z, c[i]);
    return fma(r * z, p, r);
}

static double cos_near(double r)
{
    static const double c[] = {-1.0 / 87178291200.0,
                               1.0 / 479001600.0,
                               -1.0 / 3628800.0,
                               1.0 / 40320.0,
                               -1.0 / 720.0,
                               1.0 / 24.0,
                               -0.5};
    const double z = r * r;
    double p = c[0];
    for (int i = 1; i < 7; i++)
        p = fma(p, z, c[i]);
    return fma(p, z, 1.0);
}

void shoal_sincosf(float angle, float *sine, float *cosine)
{
    if (!(magnitude_of(angle) < 0x1p32f)) {
        *sine = *cosine = nan32();
        return;
    }
    const double a = (double)angle;
    const double n = rint(a * TWO_OVER_PI);
    const double r = fma(-n, PI_2_LO, fma(-n, PI_2_HI, a));
    const double s = sin_near(r), c = cos_near(r);
    const int64_t quadrant = (int64_t)n & 3;
    const double by_sin[] = {s, c, -s, -c}, by_cos[] = {c, -s, -c, s};
    *sine = (float)by_sin[quadrant];
    *cosine = (float)by_cos[quadrant];
}

#include "shard/power.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln 2 in two parts; the first has zeros at its end, so that small multiples of it are exact. */
#define LN2_HIGH    0x1.62e42fee00000p-1
#define LN2_LOW     0x1.a39ef35793c76p-33
#define LN2_INVERSE 0x1.71547652b82fep+0
#define SQRT2       0x1.6a09e667f3bcdp+0

/* A sum of two doubles, the second far below the first. */
typedef struct {
    double high, low;
} pair;

static pair two_sum(double a, double b)
{
    const double sum = a + b, back = sum - a;
    return (pair){sum, (a - (sum - back)) + (b - back)};
}

/* x = mantissa * 2^exponent, the mantissa in (sqrt(1/2), sqrt(2)]. */
static double split(double x, double *exponent)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52 & 0x7ff) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    memcpy(&x, &bits, sizeof bits);
    if (x > SQRT2) {
        x *= 0.5;
        e++;
    }
    *exponent = e;
    return x;
}

/* log m = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1)/(m + 1), |s| < 0.172. */
static pair log_pair(double x)
{
    double exponent, tail = 1.0 / 25;
    const double m = split(x, &exponent);
    const double top = m - 1;
    const pair bottom = two_sum(m, 1);
    const double s = top / bottom.high;
    const double rest = (fma(-s, bottom.high, top) - s * bottom.low) / bottom.high;
    const double square = s * s;
    for (int odd = 23; odd >= 3; odd -= 2)
        tail = fma(tail, square, 1.0 / odd);
    const pair sum = two_sum(exponent * LN2_HIGH, 2 * s);
    const double low = sum.low + fma(exponent, LN2_LOW, fma(2 * s * square, tail, 2 * rest));
    return two_sum(sum.high, low);
}

double shoal_log_double(double x)
{
    return log_pair(x).high;
}

/* exp(x.high + x.low) = 2^n exp(r), |r| < 0.35, by the series of exp to r^14. */
static double exp_pair(pair x)
{
    double series = 1.0 / 87178291200.0, factorial = 87178291200.0;
    const double n = rint(x.high * LN2_INVERSE);
    const double high = fma(-n, LN2_HIGH, x.high), low = fma(-n, LN2_LOW, x.low);
    const pair r = two_sum(high, low);
    for (int i = 14; i > 2; i--) {
        factorial /= i;
        series = fma(series, r.high, 1.0 / factorial);
    }
    const double power = 1 + (r.high + fma(r.high * r.high, series, r.low));
    const uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return power * scale;
}

double shoal_power_double(double base, double exponent)
{
    const pair log = log_pair(base);
    const double high = exponent * log.high;
    const double low = fma(exponent, log.high, -high) + exponent * log.low;
    return exp_pair((pair){high, low});
}

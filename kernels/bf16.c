/* What Intel documents for VDPBF16PS and TDPBF16PS, in plain C. Both round to nearest even whatever
 * MXCSR says, and take numbers below 2^-126 as zeros of their sign, coming in and going out. */
#include "kernels/bf16.h"

#include <math.h>

#include "proto/dtype.h"

#define SMALLEST 0x1p-126f

shoal_bf16_kind shoal_bf16_pick(shoal_cpu_level cap)
{
    if (cap >= SHOAL_CPU_AMX && shoal_cpu_has_bf16(SHOAL_CPU_AMX))
        return SHOAL_BF16_AMX;
    if (cap >= SHOAL_CPU_AVX512VNNI && shoal_cpu_has_bf16(SHOAL_CPU_AVX512VNNI))
        return SHOAL_BF16_AVX512;
    return SHOAL_BF16_F32;
}

const char *shoal_bf16_arithmetic(shoal_bf16_kind kind)
{
    static const char *const names[] = {
        [SHOAL_BF16_F32] = "cpu-bf16-f32/1",
        [SHOAL_BF16_AVX512] = "cpu-bf16-avx512/1",
        [SHOAL_BF16_AMX] = "cpu-bf16-amx/1",
    };
    return names[kind];
}

static float flush(float x)
{
    return fabsf(x) < SMALLEST ? copysignf(0, x) : x;
}

/* a * b + c. Whether it is below 2^-126 is asked before its exponent is limited: a sum less than
 * half a step below is none that rounds up, unlike in fmaf. Such a sum is exact in double. */
static float fma_flushed(float a, float b, float c)
{
    const float sum = fmaf(a, b, c);
    if (fabsf(sum) == SMALLEST && fabs((double)a * (double)b + (double)c) < 0x1.ffffffp-127)
        return copysignf(0, sum);
    return flush(sum);
}

float shoal_bf16_weight(shoal_bf16_kind kind, float w)
{
    return shoal_f32_from_bf16(shoal_bf16_from_f32(kind == SHOAL_BF16_F32 ? w : flush(w)));
}

static float dot_f32(const uint16_t *x, const float *w, int count, float acc)
{
    for (int k = 0; k < count; k++)
        acc = fmaf(shoal_f32_from_bf16(x[k]), w[k], acc);
    return acc;
}

/* The second of a pair comes first. */
static float dot_pairs(const float *x, const float *w, int count, float acc)
{
    acc = flush(acc);
    for (int k = 0; k < count; k += 2) {
        acc = fma_flushed(x[k + 1], w[k + 1], acc);
        acc = fma_flushed(x[k], w[k], acc);
    }
    return acc;
}

/* A chain over the even inputs and one over the odd, each from +0. */
static float dot_tile(const float *x, const float *w, float acc)
{
    float even = 0, odd = 0;
    for (int k = 0; k < SHOAL_BF16_STEP; k += 2) {
        even = fma_flushed(x[k], w[k], even);
        odd = fma_flushed(x[k + 1], w[k + 1], odd);
    }
    return flush(flush(acc) + flush(even + odd));
}

float shoal_bf16_dot(shoal_bf16_kind kind, const uint16_t *x, const float *w, int count, float acc)
{
    float inputs[SHOAL_BF16_STEP] = {0}, weights[SHOAL_BF16_STEP] = {0};
    if (kind == SHOAL_BF16_F32)
        return dot_f32(x, w, count, acc);
    for (int k = 0; k < count; k++) {
        inputs[k] = flush(shoal_f32_from_bf16(x[k]));
        weights[k] = flush(w[k]);
    }
    return kind == SHOAL_BF16_AVX512 ? dot_pairs(inputs, weights, count, acc)
                                     : dot_tile(inputs, weights, acc);
}

/* Norms, rope, gates and attention on 512-bit registers. */
#include "kernels/x86/mathf_avx512.h"

#include "kernels/x86/ops.inc"

ALWAYS_INLINE __m512i sum_of(const int64_t *const *parts, int count, int64_t at, __mmask8 lanes)
{
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < count; p++)
        sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(lanes, parts[p] + at));
    return sum;
}

static void join(const int64_t *const *parts, int count, int64_t offset, int64_t n, float *y)
{
    const __m256 unit = _mm256_set1_ps(1.0f / SHOAL_UNIT_SCALE);
    for (int64_t i = 0; i < n; i += 8) {
        const __mmask8 lanes = n - i >= 8 ? 0xff : (__mmask8)((1u << (n - i)) - 1);
        const __m512i sum = sum_of(parts, count, offset + i, lanes);
        _mm256_mask_storeu_ps(y + i, lanes, _mm256_mul_ps(_mm512_cvtepi64_ps(sum), unit));
    }
}

const shoal_ops_row shoal_ops_avx512 = {.name = "ops-avx512", .needs = SHOAL_CPU_AVX512, OPS_SIMD};

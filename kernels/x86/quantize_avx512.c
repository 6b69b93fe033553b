/* The quantizer's four loops, 16 elements at a time, tails by masks. */
#include <immintrin.h>

#include "kernels/quantize_rows.h"

static __mmask16 lanes_of(int64_t left)
{
    return (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffffu);
}

static uint32_t absmax(const float *x, int64_t count)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += 16) {
        const __m512i bits = _mm512_maskz_loadu_epi32(lanes_of(count - i), x + i);
        most = _mm512_max_epi32(most, _mm512_and_si512(bits, magnitude));
    }
    uint32_t lanes[16], all = 0;
    _mm512_storeu_si512(lanes, most);
    for (int i = 0; i < 16; i++)
        all = lanes[i] > all ? lanes[i] : all;
    return all;
}

static void round_to_int8(const float *x, int64_t count, float inverse, int8_t *q)
{
    const __m512 inv = _mm512_set1_ps(inverse);
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask16 lanes = lanes_of(count - i);
        const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), inv);
        const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
        _mm_mask_storeu_epi8(q + i, lanes, bytes);
    }
}

static int32_t sum(const int8_t *q, int64_t count)
{
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += 16) {
        const __m128i bytes = _mm_maskz_loadu_epi8(lanes_of(count - i), q + i);
        total = _mm512_add_epi32(total, _mm512_cvtepi8_epi32(bytes));
    }
    int32_t lanes[16], all = 0;
    _mm512_storeu_si512(lanes, total);
    for (int i = 0; i < 16; i++)
        all += lanes[i];
    return all;
}

/* Half to even, NaN quiet. */
static void narrow(const float *x, int64_t count, uint16_t *out)
{
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask16 lanes = lanes_of(count - i);
        const __m512 value = _mm512_maskz_loadu_ps(lanes, x + i);
        const __m512i bits = _mm512_castps_si512(value), high = _mm512_srli_epi32(bits, 16);
        const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
        const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        const __m512i near = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
        const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
        const __m512i words = _mm512_mask_or_epi32(near, nan, high, _mm512_set1_epi32(0x40));
        _mm256_mask_storeu_epi16(out + i, lanes, _mm512_cvtepi32_epi16(words));
    }
}

const shoal_quantize_row shoal_quantize_avx512 = {SHOAL_CPU_AVX512, absmax, round_to_int8, sum,
                                                  narrow};

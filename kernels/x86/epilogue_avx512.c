/* Accumulators to outputs, and unit sums to int64 fixed point, 16 columns at a time. */
#include <immintrin.h>

#include "kernels/epilogue.h"
#include "kernels/linear.h"

static void put(int64_t *at, __m512i v, __mmask8 lanes, bool first)
{
    if (!first)
        v = _mm512_add_epi64(v, _mm512_maskz_loadu_epi64(lanes, at));
    _mm512_mask_storeu_epi64(at, lanes, v);
}

void shoal_unit_flush_avx512(const float *acc, int64_t rows, int64_t columns, int64_t *slot,
                             int64_t ld_slot, int64_t *bad, bool first)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i bound = _mm512_castps_si512(_mm512_set1_ps(SHOAL_UNIT_BOUND));
    const __m512 scale = _mm512_set1_ps(SHOAL_UNIT_SCALE);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += 16) {
            const int64_t left = columns - c;
            const __mmask16 lanes = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffffu);
            const __m512 u = _mm512_maskz_loadu_ps(lanes, acc + r * SHOAL_PANEL + c);
            const __m512i bits = _mm512_and_si512(_mm512_castps_si512(u), magnitude);
            const __mmask16 wrong = _mm512_cmpgt_epi32_mask(bits, bound);
            bad[r] += __builtin_popcount(wrong);
            /* Exact: a power of two; the conversion rounds half to even. */
            const __m512 v = _mm512_maskz_mul_ps((__mmask16)~wrong, u, scale);
            int64_t *at = slot + r * ld_slot + c;
            put(at, _mm512_cvtps_epi64(_mm512_castps512_ps256(v)), (__mmask8)lanes, first);
            put(at + 8, _mm512_cvtps_epi64(_mm512_extractf32x8_ps(v, 1)), (__mmask8)(lanes >> 8),
                first);
        }
    }
}

void shoal_panel_put_avx512(const float *acc, int64_t rows, int64_t columns, const float *bias,
                            float *out, int64_t ld)
{
    const int64_t whole = columns & ~INT64_C(15);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = acc + r * SHOAL_PANEL;
        float *to = out + r * ld;
        for (int64_t c = 0; c < whole; c += 16) {
            const __m512 sum = _mm512_loadu_ps(from + c);
            _mm512_storeu_ps(to + c, bias ? _mm512_add_ps(sum, _mm512_loadu_ps(bias + c)) : sum);
        }
    }
    shoal_panel_put_ref(acc + whole, rows, columns - whole, bias ? bias + whole : NULL, out + whole,
                        ld);
}

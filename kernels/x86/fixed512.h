/* kernels/x86/fixed512.h - 16 unit sums to int64 fixed point (docs/arithmetic.md rule 4). */
#ifndef SHOAL_KERNELS_X86_FIXED512_H
#define SHOAL_KERNELS_X86_FIXED512_H

#include <immintrin.h>
#include <stdbool.h>

#include "kernels/linear.h"
#include "kernels/x86/inline.h"

ALWAYS_INLINE void fixed_put(int64_t *at, __m512i v, __mmask8 lanes, bool first)
{
    if (!first)
        v = _mm512_add_epi64(v, _mm512_maskz_loadu_epi64(lanes, at));
    _mm512_mask_storeu_epi64(at, lanes, v);
}

/* Add the sums of `lanes` to at[16], or store them if `first`; returns the lanes of bad units,
 * which add nothing. */
ALWAYS_INLINE __mmask16 fixed_add(__m512 u, __mmask16 lanes, int64_t *at, bool first)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i bound = _mm512_castps_si512(_mm512_set1_ps(SHOAL_UNIT_BOUND));
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(u), magnitude);
    const __mmask16 wrong = _mm512_mask_cmpgt_epi32_mask(lanes, bits, bound);
    /* Exact: a power of two; the conversion rounds half to even. */
    const __m512 v = _mm512_maskz_mul_ps((__mmask16)~wrong, u, _mm512_set1_ps(SHOAL_UNIT_SCALE));
    fixed_put(at, _mm512_cvtps_epi64(_mm512_castps512_ps256(v)), (__mmask8)lanes, first);
    fixed_put(at + 8, _mm512_cvtps_epi64(_mm512_extractf32x8_ps(v, 1)), (__mmask8)(lanes >> 8),
              first);
    return wrong;
}

/* The first `left` of 16 lanes. */
ALWAYS_INLINE __mmask16 fixed_lanes(int64_t left)
{
    return (__mmask16)(left < 16 ? (1u << (left > 0 ? left : 0)) - 1 : 0xffffu);
}

#endif

/* Packing, 16 words at a time. */
#include "kernels/pack.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec512.h"

ALWAYS_INLINE vi join8(const uint8_t *p, vi *all)
{
    const vi even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const vi a = vi_load(p), b = vi_load(p + 64);
    *all = _mm512_or_si512(*all, _mm512_or_si512(a, b));
    const vi low = _mm512_permutex2var_epi32(a, even, b);
    const vi high = _mm512_permutex2var_epi32(a, _mm512_or_si512(even, _mm512_set1_epi32(1)), b);
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
}

/* 4 x 4 words inside every 128 bits, then the 128-bit quarters. */
ALWAYS_INLINE void transpose(vi v[LANES])
{
    vi t[LANES];
    UNROLL
    for (int i = 0; i < LANES; i += 4) {
        const vi a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        const vi b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        const vi c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        const vi d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        const vi a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        const vi b = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        const vi c = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        const vi d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
        v[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        v[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}

ALWAYS_INLINE vi low_halves(vi a, vi b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(a)),
                              _mm512_cvtepi32_epi16(b), 1);
}

ALWAYS_INLINE vi high_halves(vi a, vi b)
{
    return low_halves(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
}

#include "kernels/x86/pack.inc"

const shoal_pack_row shoal_pack_avx512 = {SHOAL_CPU_AVX512, k_words, shoal_pack_n_words_avx2,
                                          codes4,           dwords,  halves};

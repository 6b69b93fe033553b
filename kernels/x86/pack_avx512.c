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

const shoal_pack_row shoal_pack_avx512 = {SHOAL_CPU_AVX512,
                                          k_words,
                                          shoal_pack_n_words_avx2,
                                          column_words,
                                          shoal_pack_fragments_avx2,
                                          codes4,
                                          dwords,
                                          halves};

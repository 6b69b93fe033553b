/* Packing, 16 words at a time. */
#include <immintrin.h>

#include "kernels/pack.h"
#include "kernels/x86/inline.h"
#include "kernels/x86/rows.h"

#define WORDS 16

typedef __m512i words;

ALWAYS_INLINE words load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

ALWAYS_INLINE void store(uint8_t *p, words x)
{
    _mm512_storeu_si512(p, x);
}

ALWAYS_INLINE words zero_words(void)
{
    return _mm512_setzero_si512();
}

ALWAYS_INLINE words flip_by(words x, uint32_t flip)
{
    return _mm512_xor_si512(x, _mm512_set1_epi32((int)flip));
}

ALWAYS_INLINE words spread(words x)
{
    x = _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi32(x, 8)),
                         _mm512_set1_epi32(0x00ff00ff));
    return _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi32(x, 4)),
                            _mm512_set1_epi32(0x0f0f0f0f));
}

ALWAYS_INLINE words pair(words x)
{
    const words low = spread(_mm512_and_si512(x, _mm512_set1_epi32(0xffff)));
    const words high = spread(_mm512_srli_epi32(x, 16));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
}

ALWAYS_INLINE words join8(const uint8_t *p, words *all)
{
    const words even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const words a = load(p), b = load(p + 64);
    *all = _mm512_or_si512(*all, _mm512_or_si512(a, b));
    const words low = _mm512_permutex2var_epi32(a, even, b);
    const words high = _mm512_permutex2var_epi32(a, _mm512_or_si512(even, _mm512_set1_epi32(1)), b);
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
}

ALWAYS_INLINE unsigned or_bytes(words x)
{
    uint32_t lane[WORDS], all = 0;
    _mm512_storeu_si512(lane, x);
    for (int i = 0; i < WORDS; i++)
        all |= lane[i];
    return (all | all >> 8 | all >> 16 | all >> 24) & 255u;
}

/* 4 x 4 words inside every 128 bits, then the 128-bit quarters. */
ALWAYS_INLINE void transpose(words v[WORDS])
{
    words t[WORDS];
    UNROLL
    for (int i = 0; i < WORDS; i += 4) {
        const words a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        const words b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        const words c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        const words d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        const words a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        const words b = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        const words c = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        const words d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
        v[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        v[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}

ALWAYS_INLINE words low_halves(words a, words b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(a)),
                              _mm512_cvtepi32_epi16(b), 1);
}

ALWAYS_INLINE words high_halves(words a, words b)
{
    return low_halves(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
}

#include "kernels/x86/pack.inc"

const shoal_pack_row shoal_pack_avx512 = {SHOAL_CPU_AVX512, k_words, shoal_pack_n_words_avx2,
                                          codes4,           dwords,  halves};

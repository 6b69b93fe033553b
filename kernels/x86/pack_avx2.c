/* Packing, 8 words at a time. */
#include <immintrin.h>

#include "kernels/pack.h"
#include "kernels/x86/inline.h"
#include "kernels/x86/rows.h"

#define WORDS 8

typedef __m256i words;

ALWAYS_INLINE words load(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

ALWAYS_INLINE void store(uint8_t *p, words x)
{
    _mm256_storeu_si256((void *)p, x);
}

ALWAYS_INLINE words zero_words(void)
{
    return _mm256_setzero_si256();
}

ALWAYS_INLINE words flip_by(words x, uint32_t flip)
{
    return _mm256_xor_si256(x, _mm256_set1_epi32((int)flip));
}

ALWAYS_INLINE words spread(words x)
{
    x = _mm256_and_si256(_mm256_or_si256(x, _mm256_slli_epi32(x, 8)),
                         _mm256_set1_epi32(0x00ff00ff));
    return _mm256_and_si256(_mm256_or_si256(x, _mm256_slli_epi32(x, 4)),
                            _mm256_set1_epi32(0x0f0f0f0f));
}

ALWAYS_INLINE words pair(words x)
{
    const words low = spread(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)));
    const words high = spread(_mm256_srli_epi32(x, 16));
    return _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
}

/* Words 0 2 4 6 of a, then of b, by their position; `odd` the others. */
ALWAYS_INLINE words pick(words a, words b, bool odd)
{
    const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    const __m256 mixed = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
}

ALWAYS_INLINE words join8(const uint8_t *p, words *all)
{
    const words a = load(p), b = load(p + 32);
    *all = _mm256_or_si256(*all, _mm256_or_si256(a, b));
    return _mm256_or_si256(pick(a, b, false), _mm256_slli_epi32(pick(a, b, true), 4));
}

ALWAYS_INLINE unsigned or_bytes(words x)
{
    uint32_t lane[WORDS], all = 0;
    _mm256_storeu_si256((void *)lane, x);
    for (int i = 0; i < WORDS; i++)
        all |= lane[i];
    return (all | all >> 8 | all >> 16 | all >> 24) & 255u;
}

/* 4 x 4 words inside every 128 bits, then the halves. */
ALWAYS_INLINE void transpose(words v[WORDS])
{
    words t[WORDS];
    UNROLL
    for (int i = 0; i < WORDS; i += 4) {
        const words a = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        const words b = _mm256_unpackhi_epi32(v[i], v[i + 1]);
        const words c = _mm256_unpacklo_epi32(v[i + 2], v[i + 3]);
        const words d = _mm256_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm256_unpacklo_epi64(a, c);
        t[i + 1] = _mm256_unpackhi_epi64(a, c);
        t[i + 2] = _mm256_unpacklo_epi64(b, d);
        t[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x31);
    }
}

ALWAYS_INLINE words low_halves(words a, words b)
{
    const words mask = _mm256_set1_epi32(0xffff);
    const words mixed = _mm256_packus_epi32(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
    return _mm256_permute4x64_epi64(mixed, 0xd8);
}

ALWAYS_INLINE words high_halves(words a, words b)
{
    const words mixed = _mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16));
    return _mm256_permute4x64_epi64(mixed, 0xd8);
}

#include "kernels/x86/pack.inc"

/* Bytes 4i .. 4i+3 of the result: byte i of t[0], t[1], t[2], t[3]; `part` says which quarter of
 * every 128 bits. */
ALWAYS_INLINE words weave(const words t[4], int part)
{
    const bool upper = part & 2;
    const words a = upper ? _mm256_unpackhi_epi8(t[0], t[1]) : _mm256_unpacklo_epi8(t[0], t[1]);
    const words b = upper ? _mm256_unpackhi_epi8(t[2], t[3]) : _mm256_unpacklo_epi8(t[2], t[3]);
    return part & 1 ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
}

/* Columns 0 4 1 5 of a word and its columns 2 6 3 7: to 0 1 2 3 or to 4 5 6 7. */
ALWAYS_INLINE words sort_columns(words first, words second, bool upper)
{
    const __m256 x = _mm256_castsi256_ps(first), y = _mm256_castsi256_ps(second);
    return _mm256_castps_si256(upper ? _mm256_shuffle_ps(x, y, 0xdd)
                                     : _mm256_shuffle_ps(x, y, 0x88));
}

/* One K step: eight rows of eight words. Low nibbles are columns 0 4 1 5 of a word, high nibbles
 * its columns 2 6 3 7. */
static void n_words_step(const uint8_t *in, int64_t stride, uint8_t *out)
{
    const words nibble = _mm256_set1_epi8(15);
    words low[4], high[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        const words a = load(in + j * stride), b = load(in + (j + 4) * stride);
        low[j] = _mm256_or_si256(_mm256_and_si256(a, nibble),
                                 _mm256_slli_epi16(_mm256_and_si256(b, nibble), 4));
        high[j] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), nibble),
                                  _mm256_andnot_si256(nibble, b));
    }
    UNROLL
    for (int part = 0; part < 4; part++) { /* words `part` and `part` + 4 */
        const words first = weave(low, part), second = weave(high, part);
        const words left = sort_columns(first, second, false);
        const words right = sort_columns(first, second, true);
        store(out + part * 32, _mm256_permute2x128_si256(left, right, 0x20));
        store(out + part * 32 + 128, _mm256_permute2x128_si256(left, right, 0x31));
    }
}

void shoal_pack_n_words_avx2(const uint8_t *in, int64_t stride, int64_t columns, int64_t k,
                             uint8_t *panel)
{
    const int64_t steps = columns < SHOAL_PANEL ? 0 : k / 8;
    for (int64_t step = 0; step < steps; step++)
        n_words_step(in + 8 * step * stride, stride, panel + 256 * step);
    shoal_pack_ref.n_words(in + 8 * steps * stride, stride, columns, k - 8 * steps,
                           panel + 256 * steps);
}

const shoal_pack_row shoal_pack_avx2 = {SHOAL_CPU_AVX2, k_words, shoal_pack_n_words_avx2,
                                        codes4,         dwords,  halves};

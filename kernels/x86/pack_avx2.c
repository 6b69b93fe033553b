/* Packing, 8 words at a time. */
#include "kernels/pack.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec256.h"

/* Words 0 2 4 6 of a, then of b, by their position; `odd` the others. */
ALWAYS_INLINE vi pick(vi a, vi b, bool odd)
{
    const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    const __m256 mixed = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
}

ALWAYS_INLINE vi join8(const uint8_t *p, vi *all)
{
    const vi a = vi_load(p), b = vi_load(p + 32);
    *all = _mm256_or_si256(*all, _mm256_or_si256(a, b));
    return _mm256_or_si256(pick(a, b, false), _mm256_slli_epi32(pick(a, b, true), 4));
}

ALWAYS_INLINE vi low_halves(vi a, vi b)
{
    const vi mask = _mm256_set1_epi32(0xffff);
    const vi mixed = _mm256_packus_epi32(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
    return _mm256_permute4x64_epi64(mixed, 0xd8);
}

ALWAYS_INLINE vi high_halves(vi a, vi b)
{
    const vi mixed = _mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16));
    return _mm256_permute4x64_epi64(mixed, 0xd8);
}

#include "kernels/x86/pack.inc"

/* Bytes 4i .. 4i+3 of the result: byte i of t[0], t[1], t[2], t[3]; `part` says which quarter of
 * every 128 bits. */
ALWAYS_INLINE vi weave(const vi t[4], int part)
{
    const bool upper = part & 2;
    const vi a = upper ? _mm256_unpackhi_epi8(t[0], t[1]) : _mm256_unpacklo_epi8(t[0], t[1]);
    const vi b = upper ? _mm256_unpackhi_epi8(t[2], t[3]) : _mm256_unpacklo_epi8(t[2], t[3]);
    return part & 1 ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
}

/* Columns 0 4 1 5 of a word and its columns 2 6 3 7: to 0 1 2 3 or to 4 5 6 7. */
ALWAYS_INLINE vi sort_columns(vi first, vi second, bool upper)
{
    const __m256 x = _mm256_castsi256_ps(first), y = _mm256_castsi256_ps(second);
    return _mm256_castps_si256(upper ? _mm256_shuffle_ps(x, y, 0xdd)
                                     : _mm256_shuffle_ps(x, y, 0x88));
}

/* One K step: eight rows of eight words. Low nibbles are columns 0 4 1 5 of a word, high nibbles
 * its columns 2 6 3 7. */
static void n_words_step(const uint8_t *in, int64_t stride, uint8_t *out)
{
    const vi nibble = _mm256_set1_epi8(15);
    vi low[4], high[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        const vi a = vi_load(in + j * stride), b = vi_load(in + (j + 4) * stride);
        low[j] = _mm256_or_si256(_mm256_and_si256(a, nibble),
                                 _mm256_slli_epi16(_mm256_and_si256(b, nibble), 4));
        high[j] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), nibble),
                                  _mm256_andnot_si256(nibble, b));
    }
    UNROLL
    for (int part = 0; part < 4; part++) { /* words `part` and `part` + 4 */
        const vi first = weave(low, part), second = weave(high, part);
        const vi left = sort_columns(first, second, false);
        const vi right = sort_columns(first, second, true);
        vi_store(out + part * 32, _mm256_permute2x128_si256(left, right, 0x20));
        vi_store(out + part * 32 + 128, _mm256_permute2x128_si256(left, right, 0x31));
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

/* Of a vector whose halves hold inputs 2p and 2p + 1 of p = 0 and 1 (or, in high nibbles, of p = 2
 * and 3): pairs of columns 16j + q and 16j + q + 8 as words of a panel, by rising j. */
ALWAYS_INLINE vi join_fragments(vi x)
{
    const vi order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15));
    return _mm256_shuffle_epi8(_mm256_permute4x64_epi64(x, 0xd8), order);
}

/* A tile is two K steps: low nibbles of every byte are inputs 0 .. 7, high ones 8 .. 15. Sixteen
 * words are columns q and q + 8 of every 16. */
static void fragments_tile(const uint8_t *in, uint8_t *out)
{
    const vi nibble = _mm256_set1_epi8(15);
    vi first[LANES], second[LANES];
    UNROLL
    for (int q = 0; q < LANES; q++) {
        const vi a = vi_load(in + 64 * q), b = vi_load(in + 64 * q + 32);
        first[q] = join_fragments(_mm256_or_si256(
            _mm256_and_si256(a, nibble), _mm256_slli_epi16(_mm256_and_si256(b, nibble), 4)));
        second[q] = join_fragments(_mm256_or_si256(
            _mm256_and_si256(_mm256_srli_epi16(a, 4), nibble), _mm256_andnot_si256(nibble, b)));
    }
    vi_transpose(first);
    vi_transpose(second);
    UNROLL
    for (int i = 0; i < LANES; i++) {
        vi_store(out + 32 * i, first[i]);
        vi_store(out + 32 * i + 256, second[i]);
    }
}

void shoal_pack_fragments_avx2(const uint8_t *in, int64_t stride, int64_t columns, int64_t k,
                               uint8_t *panel)
{
    const int64_t tiles = columns < SHOAL_PANEL ? 0 : k / 16;
    for (int64_t tile = 0; tile < tiles; tile++)
        fragments_tile(in + tile * stride, panel + 512 * tile);
    shoal_pack_ref.fragments(in + tiles * stride, stride, columns, k - 16 * tiles,
                             panel + 512 * tiles);
}

const shoal_pack_row shoal_pack_avx2 = {SHOAL_CPU_AVX2,
                                        k_words,
                                        shoal_pack_n_words_avx2,
                                        column_words,
                                        shoal_pack_fragments_avx2,
                                        codes4,
                                        dwords,
                                        halves};

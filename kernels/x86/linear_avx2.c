/* int8 inputs x int4/int8 weights by vpmaddubsw: 4 rows x 16 columns.
 *
 * vpmaddubsw adds two products u * q (unsigned x signed bytes) in saturating int16. With 4-bit u
 * a pair is at most 2 * 15 * 127 = 3810, so eight pairs fit 32767. With 8-bit t it multiplies |t|
 * by q carrying t's sign: at most 2 * 128 * 127 = 32512. Neither can saturate. */
#include "kernels/linear_row.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec256.h"
#include "proto/bytes.h"

#define R_MAX     4
#define T_ONE     4
#define T_MANY    2
#define T_MAX     4
#define BYTE_BIAS 0

/* Inputs whose nibble products one int16 lane can hold: eight vpmaddubsw of two each, a lane
 * seeing two of the four bytes of a step. */
#define EIGHT_PAIRS 32

ALWAYS_INLINE vi add_pairs(vi sum16, vi u, vi q)
{
    return _mm256_add_epi16(sum16, _mm256_maddubs_epi16(u, q));
}

/* int32 lanes += the two int16 of each. */
ALWAYS_INLINE vi add_wide(vi c, vi sum16)
{
    return _mm256_add_epi32(c, _mm256_madd_epi16(sum16, _mm256_set1_epi16(1)));
}

/* Up to EIGHT_PAIRS inputs into int16 sums h. */
ALWAYS_INLINE void add_small(const int R, const int T, const bool nibbles, const uint8_t *codes,
                             const int8_t *q, int64_t ld, int32_t count, vi h[R_MAX][T_MAX])
{
    const vi mask = vi_set8(15);
    const int step = nibbles ? 8 : 4;
    for (int32_t k = 0; k < count; k += step, codes += 256) {
        UNROLL for (int t = 0; t < T; t++)
        {
            const vi x = vi_load(codes + 32 * t);
            const vi low = nibbles ? vi_and(x, mask) : x, high = vi_and(vi_high(x), mask);
            UNROLL for (int r = 0; r < R; r++)
            {
                const int8_t *at = q + r * ld + k;
                h[r][t] = add_pairs(h[r][t], low, vi_set(load_dword(at)));
                if (nibbles)
                    h[r][t] = add_pairs(h[r][t], high, vi_set(load_dword(at + 4)));
            }
        }
    }
}

/* u < 16 in bytes, the nibble stream (8 inputs a step) or scratch (4 inputs a step). */
ALWAYS_INLINE void dot_small(const int R, const int T, const bool nibbles, const uint8_t *codes,
                             const int8_t *q, int64_t ld, int32_t count, vi c[R_MAX][T_MAX])
{
    const int block_bytes = EIGHT_PAIRS / (nibbles ? 8 : 4) * 256;
    for (int32_t k = 0; k < count; k += EIGHT_PAIRS, codes += block_bytes) {
        vi h[R_MAX][T_MAX];
        UNROLL for (int r = 0; r < R; r++)
        {
            UNROLL for (int t = 0; t < T; t++) h[r][t] = _mm256_setzero_si256();
        }
        const int32_t left = count - k;
        add_small(R, T, nibbles, codes, q + k, ld, left < EIGHT_PAIRS ? left : EIGHT_PAIRS, h);
        UNROLL for (int r = 0; r < R; r++)
        {
            UNROLL for (int t = 0; t < T; t++) c[r][t] = add_wide(c[r][t], h[r][t]);
        }
    }
}

ALWAYS_INLINE void dot_signed(const int R, const int T, const uint8_t *codes, const int8_t *q,
                              int64_t ld, int32_t count, vi c[R_MAX][T_MAX])
{
    for (int32_t k = 0; k < count; k += 4, codes += 256) {
        UNROLL for (int t = 0; t < T; t++)
        {
            const vi weight = vi_load(codes + 32 * t), magnitude = _mm256_abs_epi8(weight);
            UNROLL for (int r = 0; r < R; r++)
            {
                const vi four = vi_set(load_dword(q + r * ld + k));
                const vi turned = _mm256_sign_epi8(four, weight);
                c[r][t] = add_wide(c[r][t], _mm256_maddubs_epi16(magnitude, turned));
            }
        }
    }
}

#define dot_nibbles(R, T, codes, q, ld, count, c) dot_small(R, T, true, codes, q, ld, count, c)
#define dot_stream8(R, T, codes, q, ld, count, c) dot_signed(R, T, codes, q, ld, count, c)
#define dot_scratch(R, T, codes, q, ld, count, c) dot_small(R, T, false, codes, q, ld, count, c)

#include "kernels/x86/linear_int.inc"

void shoal_linear_accumulate_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                  int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                  float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

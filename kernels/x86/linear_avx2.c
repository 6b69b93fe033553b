/* int8 inputs x int4/int8 weights without VNNI: 4 or 6 rows x 16 columns, or one row x a whole
 * panel: read in one pass, a stream comes faster from memory.
 *
 * vpmaddubsw adds two products u * q (unsigned x signed bytes) in saturating int16. With 4-bit u
 * a pair is at most 2 * 15 * 127 = 3810, so eight pairs fit 32767. 8-bit codes of few rows are
 * multiplied as |t| by q carrying t's sign: at most 2 * 128 * 127 = 32512. For many rows both are
 * widened to int16 words, which vpmaddwd adds in int32. Nothing can saturate. */
#include "kernels/linear_row.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec256.h"
#include "proto/bytes.h"

#define R_MAX4    4
#define R_MAX8    6
#define T_MANY    2
#define T_ONE     8
#define R_FEW     8
#define T_FEW     1
#define T_MAX     8
#define WORD8     2
#define BYTE_BIAS 0
#define STEP      128

/* Inputs whose nibble products one int16 lane can hold: eight vpmaddubsw of two each, a lane
 * seeing two of the four bytes of a step. */
#define EIGHT_PAIRS 32

/* a + b in int16; asm because gcc would add in an order of its own, with all products alive. */
ALWAYS_INLINE vi add_words(vi a, vi b)
{
    __asm__("vpaddw %2, %1, %0" : "=x"(a) : "x"(a), "x"(b));
    return a;
}

/* int32 lanes += the two int16 of each. */
ALWAYS_INLINE vi add_wide(vi c, vi sum16)
{
    return _mm256_add_epi32(c, _mm256_madd_epi16(sum16, _mm256_set1_epi16(1)));
}

/* 4 inputs into int16 sums: the low or the high nibbles of 8, or bytes; `first`: from 0. */
ALWAYS_INLINE void add_four(const int R, const int T, const bool nibbles, const bool high,
                            const bool first, const uint8_t *codes, const int8_t *q, int64_t ld,
                            vi h[][T_MAX])
{
    vi u[T_MAX];
    UNROLL for (int t = 0; t < T; t++)
    {
        const vi x = vi_load(codes + 32 * t);
        u[t] = nibbles ? vi_and(high ? vi_high(x) : x, vi_set8(15)) : x;
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        const vi four = vi_set(load_dword(q + r * ld));
        UNROLL for (int t = 0; t < T; t++)
        {
            const vi sum = _mm256_maddubs_epi16(u[t], four);
            h[r][t] = first ? sum : add_words(h[r][t], sum);
        }
    }
}

/* One step: 8 inputs of the nibble stream or 4 of bytes. */
ALWAYS_INLINE void add_small(const int R, const int T, const bool nibbles, const bool first,
                             const uint8_t *codes, const int8_t *q, int64_t ld, vi h[][T_MAX])
{
    add_four(R, T, nibbles, false, first, codes, q, ld, h);
    if (nibbles)
        add_four(R, T, true, true, false, again(codes), q + 4, ld, h);
}

/* EIGHT_PAIRS inputs, or `count` fewer ones, into the int32 sums `c` in memory. */
ALWAYS_INLINE void dot_eight(const int R, const int T, const bool nibbles, const bool whole,
                             const uint8_t *codes, const int8_t *q, int64_t ld, int32_t count,
                             vi *c)
{
    const int32_t step = nibbles ? 8 : 4;
    vi h[R_FEW][T_MAX];
    add_small(R, T, nibbles, true, codes, q, ld, h);
    if (whole) {
        UNROLL for (int32_t k = step; k < EIGHT_PAIRS; k += step)
            add_small(R, T, nibbles, false, codes + k / step * 256, q + k, ld, h);
    } else {
        for (int32_t k = step; k < count; k += step)
            add_small(R, T, nibbles, false, codes + k / step * 256, q + k, ld, h);
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int t = 0; t < T; t++) c[r * T + t] = add_wide(c[r * T + t], h[r][t]);
    }
}

/* The int16 sums need the registers: the int32 ones wait in memory. */
ALWAYS_INLINE void dot_small(const int R, const int T, const bool nibbles, const uint8_t *codes,
                             const int8_t *q, int64_t ld, int32_t count, vi c[][T_MAX])
{
    const int32_t bytes = EIGHT_PAIRS * (nibbles ? 32 : 64);
    vi sums[R_FEW * T_MAX], *wide = sums;
    __asm__("" : "+r"(wide) : : "memory");
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int t = 0; t < T; t++) wide[r * T + t] = c[r][t];
    }
    for (; count >= EIGHT_PAIRS; count -= EIGHT_PAIRS, codes += bytes, q += EIGHT_PAIRS) {
        for (int32_t i = 0; nibbles && i < bytes; i += 256)
            fetch_stream(codes + i, 32 * T);
        dot_eight(R, T, nibbles, true, codes, q, ld, EIGHT_PAIRS, wide);
    }
    if (count > 0)
        dot_eight(R, T, nibbles, false, codes, q, ld, count, wide);
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int t = 0; t < T; t++) c[r][t] = wide[r * T + t];
    }
}

#define dot_nibbles(R, T, codes, q, ld, count, c)  dot_small(R, T, true, codes, q, ld, count, c)
#define dot_scratch4(R, T, codes, q, ld, count, c) dot_small(R, T, false, codes, q, ld, count, c)

ALWAYS_INLINE void dot_stream8(const int R, const int T, const uint8_t *codes, const int8_t *q,
                               int64_t ld, int32_t count, vi c[][T_MAX])
{
    for (int32_t k = 0; k < count; k += 4, codes += 256) {
        fetch_stream(codes, 32 * T);
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

/* Words of int16: a step is two inputs, four bytes of q. */
ALWAYS_INLINE void dot_scratch8(const int R, const int T, const uint8_t *codes, const int8_t *q,
                                int64_t ld, int32_t count, vi c[][T_MAX])
{
    UNROLL_TWICE for (int32_t k = 0; k < count; k += 4)
    {
        vi t16[T_MAX];
        UNROLL for (int t = 0; t < T; t++) t16[t] = vi_load(codes + 64 * k + 32 * t);
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi two = vi_set(load_dword(q + r * ld + k));
            UNROLL for (int t = 0; t < T; t++) c[r][t] =
                _mm256_add_epi32(c[r][t], _mm256_madd_epi16(t16[t], two));
        }
    }
}

#define dot_step(R, T, codes, q, ld, c) dot_scratch4(R, T, codes, q, ld, STEP, c)

/* Bytes k..k+3 of a lane become the words k, k+1 of one step and k+2, k+3 of the next. */
static void widen8(const uint8_t *in, int64_t count, uint8_t *out)
{
    const vi low = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0,
                                    -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
    const vi high = _mm256_add_epi8(low, _mm256_set1_epi16(0x0200));
    for (; count > 0; count -= 4, in += 256, out += 512) {
        for (int i = 0; i < 256; i += 32) {
            const vi x = vi_load(in + i);
            vi_store(out + i, _mm256_srai_epi16(_mm256_shuffle_epi8(x, low), 8));
            vi_store(out + 256 + i, _mm256_srai_epi16(_mm256_shuffle_epi8(x, high), 8));
        }
    }
}

#include "kernels/x86/linear_int.inc"

void shoal_linear_accumulate_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                  int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                  float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

void shoal_linear_units_avx2(const shoal_linear_row *row, const shoal_linear *w, const shoal_act *a,
                             int64_t row0, int64_t rows, int64_t panel, int64_t columns,
                             int64_t *sums, int64_t *bad)
{
    sum_units(row, w, a, row0, rows, panel, columns, sums, bad);
}

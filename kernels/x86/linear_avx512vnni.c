/* int8 inputs x int4/int8 weights by vpdpbusd on 512-bit registers: 6 rows x 64 columns. */
#include "kernels/linear_row.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec512.h"
#include "proto/bytes.h"

#define R_MAX     6
#define T_ONE     4
#define T_MANY    4
#define T_MAX     4
#define BYTE_BIAS 128

/* How far ahead of a decode the weight stream is fetched. */
#define AHEAD 4096

/* c += u (unsigned bytes) * q (signed bytes), four to a lane. The intrinsic makes gcc 12 spill
 * the accumulators; an asm statement of one instruction does not. */
ALWAYS_INLINE vi dot4(vi c, vi u, vi q)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(u), "v"(q));
    return c;
}

ALWAYS_INLINE void fetch(const uint8_t *codes)
{
    for (int i = 0; i < 256; i += 64)
        _mm_prefetch((const char *)codes + AHEAD + i, _MM_HINT_T0);
}

ALWAYS_INLINE void dot_nibbles(const int R, const int T, const uint8_t *codes, const int8_t *q,
                               int64_t ld, int32_t count, vi c[R_MAX][T_MAX])
{
    const vi mask = vi_set8(15);
    for (int32_t k = 0; k < count; k += 8, codes += 256) {
        vi low[T_MAX], high[T_MAX];
        fetch(codes);
        UNROLL for (int t = 0; t < T; t++)
        {
            const vi x = vi_load(codes + 64 * t);
            low[t] = vi_and(x, mask);
            high[t] = vi_and(vi_high(x), mask);
        }
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi first = vi_set(load_dword(q + r * ld + k));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = dot4(c[r][t], low[t], first);
            const vi second = vi_set(load_dword(q + r * ld + k + 4));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = dot4(c[r][t], high[t], second);
        }
    }
}

ALWAYS_INLINE void dot_bytes(const int R, const int T, const bool stream, const uint8_t *codes,
                             const int8_t *q, int64_t ld, int32_t count, vi c[R_MAX][T_MAX])
{
    const vi flip = vi_set8((int8_t)0x80);
    for (int32_t k = 0; k < count; k += 4, codes += 256) {
        vi u[T_MAX];
        if (stream)
            fetch(codes);
        UNROLL for (int t = 0; t < T; t++)
        {
            const vi x = vi_load(codes + 64 * t);
            u[t] = stream ? vi_xor(x, flip) : x;
        }
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi four = vi_set(load_dword(q + r * ld + k));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = dot4(c[r][t], u[t], four);
        }
    }
}

#define dot_stream8(R, T, codes, q, ld, count, c) dot_bytes(R, T, true, codes, q, ld, count, c)
#define dot_scratch(R, T, codes, q, ld, count, c) dot_bytes(R, T, false, codes, q, ld, count, c)

#include "kernels/x86/linear_int.inc"

void shoal_linear_accumulate_avx512vnni(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

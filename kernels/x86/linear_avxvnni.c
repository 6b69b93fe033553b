/* int8 inputs x int4/int8 weights by the 256-bit vpdpbusd: 6 rows x 16 columns. */
#include "kernels/linear_row.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec256.h"
#include "proto/bytes.h"

#define R_MAX4    6
#define R_MAX8    6
#define T_MANY    2
#define T_ONE     4
#define R_FEW     12
#define T_FEW     1
#define T_MAX     4
#define WORD8     1
#define BYTE_BIAS 128

ALWAYS_INLINE void dot_nibbles(const int R, const int T, const uint8_t *codes, const int8_t *q,
                               int64_t ld, int32_t count, vi c[][T_MAX])
{
    const vi mask = vi_set8(15);
    for (int32_t k = 0; k < count; k += 8, codes += 256) {
        fetch_stream(codes, 32 * T);
        UNROLL for (int half = 0; half < 2; half++)
        {
            vi u[T_MAX];
            UNROLL for (int t = 0; t < T; t++)
            {
                const vi x = vi_load((half ? again(codes) : codes) + 32 * t);
                u[t] = vi_and(half ? vi_high(x) : x, mask);
            }
            UNROLL for (int r = 0; r < R; r++)
            {
                const vi four = vi_set(load_dword(q + r * ld + k + 4 * half));
                UNROLL for (int t = 0; t < T; t++) c[r][t] = vi_dot4(c[r][t], u[t], four);
            }
        }
    }
}

ALWAYS_INLINE void dot_stream8(const int R, const int T, const uint8_t *codes, const int8_t *q,
                               int64_t ld, int32_t count, vi c[][T_MAX])
{
    const vi flip = vi_set8((int8_t)0x80);
    for (int32_t k = 0; k < count; k += 4, codes += 256) {
        vi u[T_MAX];
        fetch_stream(codes, 32 * T);
        UNROLL for (int t = 0; t < T; t++) u[t] = vi_xor(vi_load(codes + 32 * t), flip);
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi four = vi_set(load_dword(q + r * ld + k));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = vi_dot4(c[r][t], u[t], four);
        }
    }
}

ALWAYS_INLINE void dot_bytes(const int R, const int T, const uint8_t *codes, const int8_t *q,
                             int64_t ld, int32_t count, vi c[][T_MAX])
{
    UNROLL_TWICE for (int32_t k = 0; k < count; k += 4)
    {
        vi u[T_MAX];
        UNROLL for (int t = 0; t < T; t++) u[t] = vi_load(codes + 64 * k + 32 * t);
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi four = vi_set(load_dword(q + r * ld + k));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = vi_dot4(c[r][t], u[t], four);
        }
    }
}

#define dot_scratch4 dot_bytes
#define dot_scratch8 dot_bytes

static void widen8(const uint8_t *in, int64_t count, uint8_t *out)
{
    const vi flip = vi_set8((int8_t)0x80);
    for (int64_t i = 0; i < shoal_round_up(count, 4) * SHOAL_PANEL; i += 32)
        vi_store(out + i, vi_xor(vi_load(in + i), flip));
}

#include "kernels/x86/linear_int.inc"

void shoal_linear_accumulate_avxvnni(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                     int64_t rows, int64_t panel, int64_t seg_begin,
                                     int64_t seg_end, float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

/* kernels/x86/bf16_pairs.h - weights as vdpbf16ps and tdpbf16ps take them: the bf16 numbers of two
 * inputs side by side for every column, [inputs / 2][64][2]. */
#ifndef SHOAL_KERNELS_X86_BF16_PAIRS_H
#define SHOAL_KERNELS_X86_BF16_PAIRS_H

#include "kernels/x86/vec512.h"

#define PAIR_BYTES   256
#define COLUMN_BYTES 4

#include "kernels/x86/bf16_weights.inc"

/* The conversion takes numbers below 2^-126 as zeros, as the products would. */
ALWAYS_INLINE void put_pair(vf first, vf second, uint8_t *out)
{
    /* vpermw: word i of the first half, then word i of the second. */
    const vi order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                      23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const vi words = (vi)_mm512_cvtne2ps_pbh(second, first);
    vi_store(out, _mm512_permutexvar_epi16(order, words));
}

/* Zeros for inputs [begin, end) of LANES columns; end is even. */
ALWAYS_INLINE void clear_inputs(uint8_t *out, int64_t begin, int64_t end)
{
    if (begin % 2) {
        uint8_t *pair = out + begin / 2 * PAIR_BYTES;
        vi_store(pair, vi_load(pair) & vi_set(0xffff));
    }
    for (int64_t k = begin + begin % 2; k < end; k += 2)
        vi_store(out + k / 2 * PAIR_BYTES, vi_set(0));
}

#endif

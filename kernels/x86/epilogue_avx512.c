/* Accumulators to outputs, and unit sums to int64 fixed point, 16 columns at a time. */
#include <immintrin.h>

#include "kernels/epilogue.h"
#include "kernels/linear.h"
#include "kernels/x86/fixed512.h"

static void flush(const float *acc, int64_t rows, int64_t columns, int64_t *slot, int64_t ld_slot,
                  int64_t *bad, bool first)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += 16) {
            const __mmask16 lanes = fixed_lanes(columns - c);
            const __m512 u = _mm512_maskz_loadu_ps(lanes, acc + r * SHOAL_PANEL + c);
            const __mmask16 wrong = fixed_add(u, lanes, slot + r * ld_slot + c, first);
            bad[r] += __builtin_popcount(wrong);
        }
    }
}

static void put(const float *acc, int64_t rows, int64_t columns, const float *bias, float *out,
                int64_t ld)
{
    const int64_t whole = columns & ~INT64_C(15);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = acc + r * SHOAL_PANEL;
        float *to = out + r * ld;
        for (int64_t c = 0; c < whole; c += 16) {
            const __m512 sum = _mm512_loadu_ps(from + c);
            _mm512_storeu_ps(to + c, bias ? _mm512_add_ps(sum, _mm512_loadu_ps(bias + c)) : sum);
        }
    }
    shoal_epilogue_ref.put(acc + whole, rows, columns - whole, bias ? bias + whole : NULL,
                           out + whole, ld);
}

const shoal_epilogue shoal_epilogue_avx512 = {SHOAL_CPU_AVX512, put, flush};

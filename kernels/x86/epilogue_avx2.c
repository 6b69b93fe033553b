/* Accumulators to outputs, and unit sums to int64 fixed point, 4 columns at a time. */
#include <immintrin.h>

#include "kernels/epilogue.h"
#include "kernels/linear.h"

/* 1.5 * 2^52: added to a double of at most 2^50 it leaves the nearest integer (half to even) in
 * the low bits, so the difference of the bit patterns is that integer. */
#define MAGIC 6755399441055744.0

static __m256i fixed(__m128 u)
{
    const __m256d magic = _mm256_set1_pd(MAGIC);
    const __m256d exact = _mm256_mul_pd(_mm256_cvtps_pd(u), _mm256_set1_pd(SHOAL_UNIT_SCALE));
    const __m256i bits = _mm256_castpd_si256(_mm256_add_pd(exact, magic));
    return _mm256_sub_epi64(bits, _mm256_castpd_si256(magic));
}

/* Four columns; bad ones become 0. Returns how many were bad. */
static int flush4(const float *acc, int64_t *slot, bool first)
{
    const __m128i bound = _mm_castps_si128(_mm_set1_ps(SHOAL_UNIT_BOUND));
    const __m128 u = _mm_loadu_ps(acc);
    const __m128i bits = _mm_and_si128(_mm_castps_si128(u), _mm_set1_epi32(0x7fffffff));
    const __m128 wrong = _mm_castsi128_ps(_mm_cmpgt_epi32(bits, bound));
    __m256i v = fixed(_mm_andnot_ps(wrong, u));
    if (!first)
        v = _mm256_add_epi64(v, _mm256_loadu_si256((const void *)slot));
    _mm256_storeu_si256((void *)slot, v);
    return __builtin_popcount((unsigned)_mm_movemask_ps(wrong));
}

static void flush(const float *acc, int64_t rows, int64_t columns, int64_t *slot, int64_t ld_slot,
                  int64_t *bad, bool first)
{
    const int64_t whole = columns & ~INT64_C(3);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = acc + r * SHOAL_PANEL;
        int64_t *to = slot + r * ld_slot;
        for (int64_t c = 0; c < whole; c += 4)
            bad[r] += flush4(from + c, to + c, first);
        shoal_epilogue_ref.flush(from + whole, 1, columns - whole, to + whole, ld_slot, &bad[r],
                                 first);
    }
}

static void put(const float *acc, int64_t rows, int64_t columns, const float *bias, float *out,
                int64_t ld)
{
    const int64_t whole = columns & ~INT64_C(7);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = acc + r * SHOAL_PANEL;
        float *to = out + r * ld;
        for (int64_t c = 0; c < whole; c += 8) {
            const __m256 sum = _mm256_loadu_ps(from + c);
            _mm256_storeu_ps(to + c, bias ? _mm256_add_ps(sum, _mm256_loadu_ps(bias + c)) : sum);
        }
    }
    shoal_epilogue_ref.put(acc + whole, rows, columns - whole, bias ? bias + whole : NULL,
                           out + whole, ld);
}

const shoal_epilogue shoal_epilogue_avx2 = {SHOAL_CPU_AVX2, put, flush};

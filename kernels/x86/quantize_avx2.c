/* The quantizer's four loops, 8 to 32 elements at a time; tails by the reference. */
#include <immintrin.h>

#include "kernels/quantize_rows.h"

static uint32_t absmax(const float *x, int64_t count)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    const int64_t whole = count & ~INT64_C(7);
    __m256i most = _mm256_setzero_si256();
    for (int64_t i = 0; i < whole; i += 8) {
        const __m256i bits = _mm256_loadu_si256((const void *)(x + i));
        most = _mm256_max_epi32(most, _mm256_and_si256(bits, magnitude));
    }
    uint32_t lanes[8], all = shoal_quantize_ref.absmax(x + whole, count - whole);
    _mm256_storeu_si256((void *)lanes, most);
    for (int i = 0; i < 8; i++)
        all = lanes[i] > all ? lanes[i] : all;
    return all;
}

static __m256i rounded(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

static void round_to_int8(const float *x, int64_t count, float inverse, int8_t *q)
{
    const __m256 inv = _mm256_set1_ps(inverse);
    /* Packing works per 128-bit half: this puts the dwords of the result in order again. */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const int64_t whole = count & ~INT64_C(31);
    for (int64_t i = 0; i < whole; i += 32) {
        const __m256i low = _mm256_packs_epi32(rounded(x + i, inv), rounded(x + i + 8, inv));
        const __m256i high = _mm256_packs_epi32(rounded(x + i + 16, inv), rounded(x + i + 24, inv));
        const __m256i bytes = _mm256_packs_epi16(low, high);
        _mm256_storeu_si256((void *)(q + i), _mm256_permutevar8x32_epi32(bytes, order));
    }
    shoal_quantize_ref.round(x + whole, count - whole, inverse, q + whole);
}

static int32_t sum(const int8_t *q, int64_t count)
{
    const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    const int64_t whole = count & ~INT64_C(31);
    __m256i total = _mm256_setzero_si256();
    for (int64_t i = 0; i < whole; i += 32) {
        const __m256i bytes = _mm256_loadu_si256((const void *)(q + i));
        const __m256i pairs = _mm256_maddubs_epi16(ones8, bytes);
        total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones16));
    }
    int32_t lanes[8], all = shoal_quantize_ref.sum(q + whole, count - whole);
    _mm256_storeu_si256((void *)lanes, total);
    for (int i = 0; i < 8; i++)
        all += lanes[i];
    return all;
}

/* 8 numbers as bf16 bits in dwords: half to even, NaN quiet. */
static __m256i as_bf16(const float *x)
{
    const __m256 value = _mm256_loadu_ps(x);
    const __m256i bits = _mm256_castps_si256(value), high = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i near = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(near, quiet, nan);
}

static void narrow(const float *x, int64_t count, uint16_t *out)
{
    const int64_t whole = count & ~INT64_C(15);
    for (int64_t i = 0; i < whole; i += 16) {
        const __m256i words = _mm256_packus_epi32(as_bf16(x + i), as_bf16(x + i + 8));
        _mm256_storeu_si256((void *)(out + i), _mm256_permute4x64_epi64(words, 0xd8));
    }
    shoal_quantize_ref.narrow(x + whole, count - whole, out + whole);
}

const shoal_quantize_row shoal_quantize_avx2 = {SHOAL_CPU_AVX2, absmax, round_to_int8, sum, narrow};

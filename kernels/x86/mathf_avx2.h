/* kernels/x86/mathf_avx2.h - eight fp32 lanes: the primitives that mathf.inc and ops.inc are
 * written in, for AVX2 + FMA + F16C. Only for files compiled with those flags. */
#ifndef SHOAL_KERNELS_X86_MATHF_AVX2_H
#define SHOAL_KERNELS_X86_MATHF_AVX2_H

#include <stdint.h>

#include "kernels/x86/vec256.h"

typedef __m256 vm; /* a mask: all ones or zero per lane */

/* Lanes below `count` are set. */
ALWAYS_INLINE __m256i vi_first(int64_t count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

/* The first `count` (< LANES) lanes; the others read nothing and are 0. */
ALWAYS_INLINE vf vf_load_some(const float *at, int64_t count)
{
    return _mm256_maskload_ps(at, vi_first(count));
}

ALWAYS_INLINE void vf_store_some(float *at, vf x, int64_t count)
{
    _mm256_maskstore_ps(at, vi_first(count), x);
}

ALWAYS_INLINE vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}

ALWAYS_INLINE vf vf_rint(vf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a > b ? a : b; b when a or b is NaN. */
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

ALWAYS_INLINE vm vf_less(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

/* Not (a <= b): also where one is NaN. */
ALWAYS_INLINE vm vf_not_up_to(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NLE_UQ);
}

ALWAYS_INLINE vm vf_is_nan(vf x)
{
    return _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
}

/* mask ? a : b, lane by lane. */
ALWAYS_INLINE vf vf_pick(vm mask, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, mask);
}

ALWAYS_INLINE int vm_any(vm mask)
{
    return _mm256_movemask_ps(mask) != 0;
}

ALWAYS_INLINE vi vi_shift_left_23(vi x)
{
    return _mm256_slli_epi32(x, 23);
}

/* Arithmetic. */
ALWAYS_INLINE vi vi_shift_right_23(vi x)
{
    return _mm256_srai_epi32(x, 23);
}

ALWAYS_INLINE vi vi_from_float(vf x)
{
    return _mm256_cvtps_epi32(x);
}

ALWAYS_INLINE void vf_store_f16(uint16_t *at, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)at,
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

ALWAYS_INLINE vf vf_load_i8(const int8_t *at)
{
    return vf_from_i(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)at)));
}

#include "kernels/x86/mathf.inc"

#endif

/* kernels/x86/mathf_avx512.h - sixteen fp32 lanes: the primitives that mathf.inc and ops.inc
 * are written in, for AVX-512 F, BW, DQ, VL. Only for files compiled with those flags. */
#ifndef SHOAL_KERNELS_X86_MATHF_AVX512_H
#define SHOAL_KERNELS_X86_MATHF_AVX512_H

#include <stdint.h>

#include "kernels/x86/vec512.h"

typedef __mmask16 vm; /* a mask, bit per lane */

/* Lanes below `count` are set. */
ALWAYS_INLINE vm vm_first(int64_t count)
{
    return (vm)((1u << count) - 1);
}

/* The first `count` (< LANES) lanes; the others read nothing and are 0. */
ALWAYS_INLINE vf vf_load_some(const float *at, int64_t count)
{
    return _mm512_maskz_loadu_ps(vm_first(count), at);
}

ALWAYS_INLINE void vf_store_some(float *at, vf x, int64_t count)
{
    _mm512_mask_storeu_ps(at, vm_first(count), x);
}

ALWAYS_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

ALWAYS_INLINE vf vf_rint(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a > b ? a : b; b when a or b is NaN. */
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

ALWAYS_INLINE vm vf_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

/* Not (a <= b): also where one is NaN. */
ALWAYS_INLINE vm vf_not_up_to(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ);
}

ALWAYS_INLINE vm vf_is_nan(vf x)
{
    return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
}

/* mask ? a : b, lane by lane. */
ALWAYS_INLINE vf vf_pick(vm mask, vf a, vf b)
{
    return _mm512_mask_blend_ps(mask, b, a);
}

ALWAYS_INLINE int vm_any(vm mask)
{
    return mask != 0;
}

ALWAYS_INLINE vi vi_shift_left_23(vi x)
{
    return _mm512_slli_epi32(x, 23);
}

/* Arithmetic. */
ALWAYS_INLINE vi vi_shift_right_23(vi x)
{
    return _mm512_srai_epi32(x, 23);
}

ALWAYS_INLINE vi vi_from_float(vf x)
{
    return _mm512_cvtps_epi32(x);
}

ALWAYS_INLINE void vf_store_f16(uint16_t *at, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)at,
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

ALWAYS_INLINE vf vf_load_i8(const int8_t *at)
{
    return vf_from_i(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)));
}

#include "kernels/x86/mathf.inc"

#endif

/* kernels/x86/vec512.h - the vector words of the width-neutral templates, 512 bits wide.
 *
 * A template (*.inc) includes this file or vec256.h, never both. Only exact or singly rounded
 * operations are offered: what docs/arithmetic.md allows. */
#ifndef SHOAL_KERNELS_X86_VEC512_H
#define SHOAL_KERNELS_X86_VEC512_H

#include <immintrin.h>

#include "kernels/x86/inline.h"
#include "proto/dtype.h"

#define LANES 16

typedef __m512 vf;
typedef __m512i vi;

ALWAYS_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

ALWAYS_INLINE void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

ALWAYS_INLINE vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}

ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

/* a * b + c, rounded once. */
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

ALWAYS_INLINE vf vf_from_i(vi x)
{
    return _mm512_cvtepi32_ps(x);
}

ALWAYS_INLINE vi vf_bits(vf x)
{
    return _mm512_castps_si512(x);
}

ALWAYS_INLINE vf vf_from_bits(vi x)
{
    return _mm512_castsi512_ps(x);
}

/* LANES elements of F32, F16 or BF16, widened. */
ALWAYS_INLINE vf vf_load_as(shoal_dtype type, const uint8_t *array, int64_t index)
{
    if (type == SHOAL_F32)
        return _mm512_loadu_ps((const void *)(array + 4 * index));
    const __m256i half = _mm256_loadu_si256((const void *)(array + 2 * index));
    if (type == SHOAL_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* The first `count` of LANES words, which alone are read; zeros beside them. */
ALWAYS_INLINE vi vi_load_first(const void *p, int64_t count)
{
    return _mm512_maskz_loadu_epi32((__mmask16)(count < 16 ? (1u << count) - 1 : 0xffffu), p);
}

ALWAYS_INLINE void vi_store(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}

ALWAYS_INLINE vi vi_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}

ALWAYS_INLINE vi vi_set8(int8_t x)
{
    return _mm512_set1_epi8(x);
}

ALWAYS_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

ALWAYS_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

ALWAYS_INLINE vi vi_mul(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}

ALWAYS_INLINE vi vi_max(vi a, vi b)
{
    return _mm512_max_epi32(a, b);
}

ALWAYS_INLINE vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}

ALWAYS_INLINE vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}

ALWAYS_INLINE vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}

/* Every int32 lane shifted right by n, zeros coming in. */
ALWAYS_INLINE vi vi_shift(vi x, int n)
{
    return _mm512_srl_epi32(x, _mm_cvtsi32_si128(n));
}

/* Every int32 lane shifted left by n. */
ALWAYS_INLINE vi vi_shift_left(vi x, int n)
{
    return _mm512_sll_epi32(x, _mm_cvtsi32_si128(n));
}

/* Every int32 lane shifted right by n, its sign coming in. */
ALWAYS_INLINE vi vi_shift_signed(vi x, int n)
{
    return _mm512_sra_epi32(x, _mm_cvtsi32_si128(n));
}

/* The high nibble of every byte, once masked by 15. */
ALWAYS_INLINE vi vi_high(vi x)
{
    return _mm512_srli_epi16(x, 4);
}

ALWAYS_INLINE vi vi_from_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
}

ALWAYS_INLINE vi vi_from_i8(const int8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p));
}

ALWAYS_INLINE vi vi_from_i16(const uint8_t *p)
{
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)p));
}

/* (high << shift) + low, LANES times in 64 bits. */
ALWAYS_INLINE void vi_store_wide(int64_t *p, vi high, int shift, vi low)
{
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m512i first = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(high));
    const __m512i second = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(high, 1));
    _mm512_storeu_si512(p, _mm512_add_epi64(_mm512_sll_epi64(first, by),
                                            _mm512_cvtepi32_epi64(_mm512_castsi512_si256(low))));
    _mm512_storeu_si512(p + 8,
                        _mm512_add_epi64(_mm512_sll_epi64(second, by),
                                         _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(low, 1))));
}

/* c += u (unsigned bytes) * q (signed bytes), four to a lane. The intrinsic makes gcc 12 spill
 * the accumulators; an asm statement of one instruction does not. */
#if defined(__AVX512VNNI__)
ALWAYS_INLINE vi vi_dot4(vi c, vi u, vi q)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(u), "v"(q));
    return c;
}
#endif

/* LANES * 2 signed bytes as int16. */
ALWAYS_INLINE vi vi_widen8(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}

/* v[i] lane j <-> v[j] lane i: 4 x 4 words inside every 128 bits, then the 128-bit quarters. */
ALWAYS_INLINE void vi_transpose(vi v[LANES])
{
    vi t[LANES];
    UNROLL
    for (int i = 0; i < LANES; i += 4) {
        const vi a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        const vi b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        const vi c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        const vi d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        const vi a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        const vi b = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        const vi c = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        const vi d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
        v[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        v[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}

#endif

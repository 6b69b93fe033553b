/* kernels/x86/vec256.h - the vector words of the width-neutral templates, 256 bits wide.
 *
 * A template (*.inc) includes this file or vec512.h, never both. Only exact or singly rounded
 * operations are offered: what docs/arithmetic.md allows. */
#ifndef SHOAL_KERNELS_X86_VEC256_H
#define SHOAL_KERNELS_X86_VEC256_H

#include <immintrin.h>

#include "kernels/x86/inline.h"
#include "proto/dtype.h"

#define LANES 8

typedef __m256 vf;
typedef __m256i vi;

ALWAYS_INLINE vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

ALWAYS_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}

ALWAYS_INLINE vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}

ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}

ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}

ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

/* a * b + c, rounded once. */
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

ALWAYS_INLINE vf vf_from_i(vi x)
{
    return _mm256_cvtepi32_ps(x);
}

ALWAYS_INLINE vi vf_bits(vf x)
{
    return _mm256_castps_si256(x);
}

ALWAYS_INLINE vf vf_from_bits(vi x)
{
    return _mm256_castsi256_ps(x);
}

/* LANES elements of F32, F16 or BF16, widened. */
ALWAYS_INLINE vf vf_load_as(shoal_dtype type, const uint8_t *array, int64_t index)
{
    if (type == SHOAL_F32)
        return _mm256_loadu_ps((const void *)(array + 4 * index));
    const __m128i half = _mm_loadu_si128((const void *)(array + 2 * index));
    if (type == SHOAL_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE vi vi_load(const void *p)
{
    return _mm256_loadu_si256((const void *)p);
}

/* The first `count` of LANES words, which alone are read; zeros beside them. */
ALWAYS_INLINE vi vi_load_first(const void *p, int64_t count)
{
    const vi lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const vi wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(count < 8 ? (int32_t)count : 8), lane);
    return _mm256_maskload_epi32(p, wanted);
}

ALWAYS_INLINE void vi_store(void *p, vi x)
{
    _mm256_storeu_si256((void *)p, x);
}

ALWAYS_INLINE vi vi_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}

ALWAYS_INLINE vi vi_set8(int8_t x)
{
    return _mm256_set1_epi8(x);
}

ALWAYS_INLINE vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}

ALWAYS_INLINE vi vi_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}

ALWAYS_INLINE vi vi_mul(vi a, vi b)
{
    return _mm256_mullo_epi32(a, b);
}

ALWAYS_INLINE vi vi_max(vi a, vi b)
{
    return _mm256_max_epi32(a, b);
}

ALWAYS_INLINE vi vi_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}

ALWAYS_INLINE vi vi_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}

ALWAYS_INLINE vi vi_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}

/* Every int32 lane shifted right by n, zeros coming in. */
ALWAYS_INLINE vi vi_shift(vi x, int n)
{
    return _mm256_srl_epi32(x, _mm_cvtsi32_si128(n));
}

/* Every int32 lane shifted left by n. */
ALWAYS_INLINE vi vi_shift_left(vi x, int n)
{
    return _mm256_sll_epi32(x, _mm_cvtsi32_si128(n));
}

/* Every int32 lane shifted right by n, its sign coming in. */
ALWAYS_INLINE vi vi_shift_signed(vi x, int n)
{
    return _mm256_sra_epi32(x, _mm_cvtsi32_si128(n));
}

/* The high nibble of every byte, once masked by 15. */
ALWAYS_INLINE vi vi_high(vi x)
{
    return _mm256_srli_epi16(x, 4);
}

ALWAYS_INLINE vi vi_from_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p));
}

ALWAYS_INLINE vi vi_from_i8(const int8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p));
}

ALWAYS_INLINE vi vi_from_i16(const uint8_t *p)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)p));
}

/* (high << shift) + low, LANES times in 64 bits. */
ALWAYS_INLINE void vi_store_wide(int64_t *p, vi high, int shift, vi low)
{
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m256i first = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(high));
    const __m256i second = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(high, 1));
    _mm256_storeu_si256((void *)p,
                        _mm256_add_epi64(_mm256_sll_epi64(first, by),
                                         _mm256_cvtepi32_epi64(_mm256_castsi256_si128(low))));
    _mm256_storeu_si256((void *)(p + 4),
                        _mm256_add_epi64(_mm256_sll_epi64(second, by),
                                         _mm256_cvtepi32_epi64(_mm256_extracti128_si256(low, 1))));
}

/* c += u (unsigned bytes) * q (signed bytes), four to a lane; asm because gcc 12 spills around
 * the intrinsic. {vex} keeps the assembler from the AVX-512 encoding. */
#if defined(__AVXVNNI__)
ALWAYS_INLINE vi vi_dot4(vi c, vi u, vi q)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(u), "x"(q));
    return c;
}
#endif

/* LANES * 2 signed bytes as int16. */
ALWAYS_INLINE vi vi_widen8(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}

/* v[i] lane j <-> v[j] lane i: 4 x 4 words inside every 128 bits, then the halves. */
ALWAYS_INLINE void vi_transpose(vi v[LANES])
{
    vi t[LANES];
    UNROLL
    for (int i = 0; i < LANES; i += 4) {
        const vi a = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        const vi b = _mm256_unpackhi_epi32(v[i], v[i + 1]);
        const vi c = _mm256_unpacklo_epi32(v[i + 2], v[i + 3]);
        const vi d = _mm256_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm256_unpacklo_epi64(a, c);
        t[i + 1] = _mm256_unpackhi_epi64(a, c);
        t[i + 2] = _mm256_unpacklo_epi64(b, d);
        t[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x31);
    }
}

#endif

/* kernels/x86/inline.h - what the kernel files say to the compiler: always inline, unroll fully.
 *
 * Register tiles are arrays indexed by loop counters; they live in registers only when every such
 * loop is unrolled before the compiler looks for scalars. */
#ifndef SHOAL_KERNELS_X86_INLINE_H
#define SHOAL_KERNELS_X86_INLINE_H

#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL       _Pragma("clang loop unroll(full)")
#define UNROLL_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define UNROLL       _Pragma("GCC unroll 16")
#define UNROLL_TWICE _Pragma("GCC unroll 2")
#endif

/* The same address, but the compiler does not know: it loads again what it would keep in registers
 * that a tile needs. */
ALWAYS_INLINE const uint8_t *again(const uint8_t *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* From here on the compiler knows nothing about a pointer or an integer. */
#define UNKNOWN(x) __asm__("" : "+r"(x))

/* Nothing in memory is read or written earlier or later than here: gcc 12 would keep what a loop
 * adds to in registers that it does not have. */
#define KEEP_ORDER __asm__ volatile("" : : : "memory")

/* Four bytes at any address: what a broadcast of one K step loads. */
ALWAYS_INLINE int32_t load_dword(const int8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

#endif

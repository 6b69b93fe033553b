/* kernels/x86/fetch.h - asking for memory before it is needed.
 *
 * Packed weights are one stream per panel, and the panels of a thread follow each other: a kernel
 * that asks for what lies a fixed distance ahead also crosses the ends of panels, and pages, where
 * the machine's own prefetcher stops. Past the last byte nothing is read: a prefetch cannot fault.
 */
#ifndef SHOAL_KERNELS_X86_FETCH_H
#define SHOAL_KERNELS_X86_FETCH_H

#include <immintrin.h>

#include "kernels/x86/inline.h"

/* Bytes from the place that a decode multiplies to what it brings into L1 and into L2. The few
 * requests that an L1 can have under way are short ones when L2 was asked long before. */
#define AHEAD_L1 4096
#define AHEAD_L2 16384

ALWAYS_INLINE void fetch_lines(const void *from, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)from + i, _MM_HINT_T0);
}

/* The same into L2 alone, where L1 is full of what is in use. */
ALWAYS_INLINE void fetch_lines_l2(const void *from, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)from + i, _MM_HINT_T1);
}

/* The next `bytes` of a stream that is read at `at`. */
ALWAYS_INLINE void fetch_stream(const uint8_t *at, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)at + AHEAD_L2 + i, _MM_HINT_T1);
        _mm_prefetch((const char *)at + AHEAD_L1 + i, _MM_HINT_T0);
    }
}

#endif

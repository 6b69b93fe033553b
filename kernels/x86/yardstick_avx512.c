/* Peaks and reads of 512-bit registers. */
#include <immintrin.h>

#define VECTOR      __m512i
#define VECTOR_BITS 512
#include "kernels/x86/yardstick.inc"

PEAK(shoal_peak_vpdpbusd_zmm, "vpdpbusd %2, %1, %0", "v", LANE_INT8)
PEAK(shoal_peak_vdpbf16ps_zmm, "vdpbf16ps %2, %1, %0", "v", LANE_BF16)
PEAK(shoal_peak_vfmadd231ps_zmm, "vfmadd231ps %2, %1, %0", "v", LANE_F32)

void shoal_read_zmm(const void *memory, size_t bytes, int32_t ahead)
{
    const char *from = memory;
    __m512i sum[4] = {lanes(0), lanes(0), lanes(0), lanes(0)};
    for (size_t at = 0; at + SHOAL_READER_PIECE <= bytes; at += SHOAL_READER_PIECE) {
        UNROLL for (int i = 0; i < 4; i++)
        {
            const char *line = from + at + 64 * i;
            if (ahead)
                _mm_prefetch(line + ahead, _MM_HINT_T0);
            sum[i] = _mm512_xor_si512(sum[i], _mm512_load_si512(line));
        }
    }
    UNROLL for (int i = 0; i < 4; i++) __asm__ volatile("" : : "v"(sum[i]));
}

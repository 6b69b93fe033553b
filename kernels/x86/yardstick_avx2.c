/* Peaks and reads of 256-bit registers. */
#include <immintrin.h>

#define VECTOR      __m256i
#define VECTOR_BITS 256
#include "kernels/x86/yardstick.inc"

PEAK(shoal_peak_vfmadd231ps_ymm, "vfmadd231ps %2, %1, %0", "x", LANE_F32)

/* It has no sum of its own: each product overwrites a register. */
PEAK(shoal_peak_vpmaddubsw_ymm, "vpmaddubsw %2, %1, %0", "x", LANE_INT8)

/* A register tile of 6 rows shares each vector of weights that it has widened. */
#define ROWS 6

void shoal_peak_vpmaddwd_ymm(int64_t steps)
{
    __m256i sum[SUMS];
    const __m256i a = lanes(LANE_INT8);
    const __m128i codes = _mm256_castsi256_si128(a);
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = lanes(0);
    for (; steps > 0; steps--) {
        UNROLL for (int v = 0; v < SUMS / ROWS; v++)
        {
            __m256i wide;
            __asm__ volatile("vpmovsxbw %1, %0" : "=x"(wide) : "x"(codes));
            UNROLL for (int r = 0; r < ROWS; r++)
            {
                __m256i product;
                __asm__ volatile("vpmaddwd %2, %1, %0" : "=x"(product) : "x"(wide), "x"(a));
                __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sum[v * ROWS + r]) : "x"(product));
            }
        }
    }
}

void shoal_read_ymm(const void *memory, size_t bytes, int32_t ahead)
{
    const char *from = memory;
    __m256i sum[4] = {lanes(0), lanes(0), lanes(0), lanes(0)};
    for (size_t at = 0; at + SHOAL_READER_PIECE <= bytes; at += SHOAL_READER_PIECE) {
        UNROLL for (int i = 0; i < 8; i++)
        {
            const char *half = from + at + 32 * i;
            if (ahead && i % 2 == 0)
                _mm_prefetch(half + ahead, _MM_HINT_T0);
            sum[i / 2] = _mm256_xor_si256(sum[i / 2], _mm256_load_si256((const void *)half));
        }
    }
    UNROLL for (int i = 0; i < 4; i++) __asm__ volatile("" : : "x"(sum[i]));
}

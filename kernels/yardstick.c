#include "kernels/yardstick.h"

#if defined(__x86_64__)
#include "kernels/x86/yardstick.h"
#endif

/* Sums of the portable peaks: enough that a compiler's vectors do not wait for each other. */
#define SUMS 64

/* The compiler must neither drop a step nor see that all of them are equal. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x) : : "memory")

static void products_int32(int64_t steps)
{
    uint32_t sum[SUMS] = {0}, weight[SUMS] = {3, 5, 7}, *w = weight;
    for (; steps > 0; steps--) {
        OPAQUE(w);
        for (int i = 0; i < SUMS; i++)
            sum[i] += w[i] * w[SUMS - 1 - i];
    }
    uint32_t *kept = sum;
    OPAQUE(kept);
}

static void products_f32(int64_t steps)
{
    float sum[SUMS] = {0}, weight[SUMS] = {1, 2, 3}, *w = weight;
    for (; steps > 0; steps--) {
        OPAQUE(w);
        for (int i = 0; i < SUMS; i++)
            sum[i] += w[i] * w[SUMS - 1 - i];
    }
    float *kept = sum;
    OPAQUE(kept);
}

#define INTEGERS (SHOAL_PEAK_INT4 | SHOAL_PEAK_INT8)
#define FLOATS   (SHOAL_PEAK_F32 | SHOAL_PEAK_BF16)

const shoal_peak shoal_peaks[] = {
#if defined(__x86_64__)
    {"tdpbssd", INTEGERS, SHOAL_CPU_AMX, false, 4.0 * 2 * 16 * 16 * 64, shoal_peak_tdpbssd},
    {"tdpbf16ps", SHOAL_PEAK_BF16, SHOAL_CPU_AMX, true, 4.0 * 2 * 16 * 16 * 32,
     shoal_peak_tdpbf16ps},
    {"vpdpbusd.zmm", INTEGERS, SHOAL_CPU_AVX512VNNI, false, 12.0 * 2 * 64, shoal_peak_vpdpbusd_zmm},
    {"vdpbf16ps.zmm", SHOAL_PEAK_BF16, SHOAL_CPU_AVX512VNNI, true, 12.0 * 2 * 32,
     shoal_peak_vdpbf16ps_zmm},
    {"vfmadd231ps.zmm", FLOATS, SHOAL_CPU_AVX512, false, 12.0 * 2 * 16, shoal_peak_vfmadd231ps_zmm},
    {"vpdpbusd.ymm", INTEGERS, SHOAL_CPU_AVXVNNI, false, 12.0 * 2 * 32, shoal_peak_vpdpbusd_ymm},
    {"vpmaddubsw.ymm", SHOAL_PEAK_INT4, SHOAL_CPU_AVX2, false, 12.0 * 2 * 32,
     shoal_peak_vpmaddubsw_ymm},
    {"vpmaddwd.ymm", SHOAL_PEAK_INT8, SHOAL_CPU_AVX2, false, 12.0 * 2 * 16,
     shoal_peak_vpmaddwd_ymm},
    {"vfmadd231ps.ymm", FLOATS, SHOAL_CPU_AVX2, false, 12.0 * 2 * 8, shoal_peak_vfmadd231ps_ymm},
#endif
    {"c.int32", INTEGERS, SHOAL_CPU_REF, false, 2.0 * SUMS, products_int32},
    {"c.f32", FLOATS, SHOAL_CPU_REF, false, 2.0 * SUMS, products_f32},
};

const size_t shoal_peak_count = sizeof shoal_peaks / sizeof shoal_peaks[0];

bool shoal_peak_usable(const shoal_peak *peak, shoal_cpu_level cap)
{
    return peak->needs <= cap && shoal_cpu_has(peak->needs) &&
           (!peak->bf16 || shoal_cpu_has_bf16(peak->needs));
}

const shoal_peak *shoal_peak_pick(shoal_peak_product product, shoal_cpu_level cap)
{
    for (size_t i = 0; i < shoal_peak_count; i++)
        if ((shoal_peaks[i].products & product) && shoal_peak_usable(&shoal_peaks[i], cap))
            return &shoal_peaks[i];
    return NULL;
}

static void read_words(const void *memory, size_t bytes, int32_t ahead)
{
    const uint64_t *from = memory;
    uint64_t sum[4] = {0};
    for (size_t at = 0; at + SHOAL_READER_PIECE <= bytes; at += SHOAL_READER_PIECE) {
        const uint64_t *piece = from + at / sizeof *from;
        if (ahead)
            for (int line = 0; line < SHOAL_READER_PIECE; line += 64)
                __builtin_prefetch((const char *)piece + ahead + line);
        for (int i = 0; i < SHOAL_READER_PIECE / 8; i += 4)
            for (int j = 0; j < 4; j++)
                sum[j] ^= piece[i + j];
    }
    uint64_t *kept = sum;
    OPAQUE(kept);
}

#define EVERY_DISTANCE(name, needs, read)                                                          \
    {name ".0", needs, 0, read}, {name ".1024", needs, 1024, read},                                \
        {name ".2048", needs, 2048, read}, {name ".4096", needs, 4096, read},                      \
    {                                                                                              \
        name ".8192", needs, 8192, read                                                            \
    }

const shoal_reader shoal_readers[] = {
#if defined(__x86_64__)
    EVERY_DISTANCE("read.zmm", SHOAL_CPU_AVX512, shoal_read_zmm),
    EVERY_DISTANCE("read.ymm", SHOAL_CPU_AVX2, shoal_read_ymm),
#endif
    EVERY_DISTANCE("read.c", SHOAL_CPU_REF, read_words),
};

const size_t shoal_reader_count = sizeof shoal_readers / sizeof shoal_readers[0];

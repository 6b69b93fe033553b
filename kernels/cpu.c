#include "kernels/cpu.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const level_names[SHOAL_CPU_LEVELS] = {
    [SHOAL_CPU_REF] = "ref",       [SHOAL_CPU_AVX2] = "avx2", [SHOAL_CPU_AVXVNNI] = "avxvnni",
    [SHOAL_CPU_AVX512] = "avx512", [SHOAL_CPU_AMX] = "amx",   [SHOAL_CPU_AVX512VNNI] = "avx512vnni",
};

static bool machine_has[SHOAL_CPU_LEVELS], machine_has_bf16[SHOAL_CPU_LEVELS];
static pthread_once_t detected = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
/* State the operating system saves (XCR0): SSE and AVX; also opmask and zmm; also tiles. */
#define STATE_AVX    UINT64_C(0x6)
#define STATE_AVX512 UINT64_C(0xe6)
#define STATE_AMX    UINT64_C(0x60000)

#define TILE_DATA            18
#define ARCH_REQ_XCOMP_PERM_ 0x1023

#define BIT(word, n) (((word) >> (n)) & 1u)

typedef struct {
    unsigned a, b, c, d;
} cpuid_words;

/* All zero for a leaf this processor does not know. */
static cpuid_words cpuid_read(unsigned leaf, unsigned sub)
{
    cpuid_words w = {0, 0, 0, 0};
    if (!__get_cpuid_count(leaf, sub, &w.a, &w.b, &w.c, &w.d))
        w = (cpuid_words){0, 0, 0, 0};
    return w;
}

static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Tile registers are off until the process asks for them. */
static bool grant_tiles(void)
{
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_, TILE_DATA) == 0;
}

static void detect(void)
{
    machine_has[SHOAL_CPU_REF] = true;
    const cpuid_words one = cpuid_read(1, 0), seven = cpuid_read(7, 0), more = cpuid_read(7, 1);
    if (!BIT(one.c, 27)) /* OSXSAVE */
        return;
    const uint64_t state = saved_state();

    const bool fma = BIT(one.c, 12), f16c = BIT(one.c, 29), avx = BIT(one.c, 28);
    const bool avx2 = (state & STATE_AVX) == STATE_AVX && avx && fma && f16c && BIT(seven.b, 5);
    const bool f = BIT(seven.b, 16), dq = BIT(seven.b, 17), bw = BIT(seven.b, 30);
    const bool vl = BIT(seven.b, 31);
    const bool avx512 = avx2 && (state & STATE_AVX512) == STATE_AVX512 && f && dq && bw && vl;
    const bool avx512vnni = avx512 && BIT(seven.c, 11);
    const bool tiles = BIT(seven.d, 24) && BIT(seven.d, 25); /* AMX-TILE, AMX-INT8 */

    machine_has[SHOAL_CPU_AVX2] = avx2;
    machine_has[SHOAL_CPU_AVXVNNI] = avx2 && BIT(more.a, 4);
    machine_has[SHOAL_CPU_AVX512] = avx512;
    machine_has[SHOAL_CPU_AVX512VNNI] = avx512vnni;
    machine_has[SHOAL_CPU_AMX] =
        avx512vnni && tiles && (state & STATE_AMX) == STATE_AMX && grant_tiles();
    machine_has_bf16[SHOAL_CPU_AVX512VNNI] = avx512vnni && BIT(more.a, 5);
    machine_has_bf16[SHOAL_CPU_AMX] =
        machine_has[SHOAL_CPU_AMX] && machine_has_bf16[SHOAL_CPU_AVX512VNNI] && BIT(seven.d, 22);
}
#else
static void detect(void)
{
    machine_has[SHOAL_CPU_REF] = true;
}
#endif

const char *shoal_cpu_name(shoal_cpu_level level)
{
    return (unsigned)level < SHOAL_CPU_LEVELS ? level_names[level] : "unknown";
}

bool shoal_cpu_has(shoal_cpu_level level)
{
    (void)pthread_once(&detected, detect);
    return (unsigned)level < SHOAL_CPU_LEVELS && machine_has[level];
}

bool shoal_cpu_has_bf16(shoal_cpu_level level)
{
    return shoal_cpu_has(level) && machine_has_bf16[level];
}

shoal_cpu_level shoal_cpu_best(void)
{
    int level = SHOAL_CPU_LEVELS - 1;
    while (level > 0 && !shoal_cpu_has((shoal_cpu_level)level))
        level--;
    return (shoal_cpu_level)level;
}

shoal_status shoal_cpu_cap(const char *word, shoal_cpu_level *out)
{
    if (!word || !*word) {
        *out = shoal_cpu_best();
        return SHOAL_OK;
    }
    for (int i = 0; i < SHOAL_CPU_LEVELS; i++) {
        if (strcmp(word, level_names[i]) != 0)
            continue;
        if (!shoal_cpu_has((shoal_cpu_level)i))
            return shoal_fail(SHOAL_ERR_USAGE,
                              "this machine lacks the kernel level \"%s\"; its best is \"%s\"",
                              word, shoal_cpu_name(shoal_cpu_best()));
        *out = (shoal_cpu_level)i;
        return SHOAL_OK;
    }
    return shoal_fail(SHOAL_ERR_USAGE,
                      "\"%s\" is no kernel level: ref, avx2, avxvnni, avx512, avx512vnni or amx",
                      word);
}

/* kernels/cpu.h - what this processor can run, and how far SHOAL_CPU lets us go.
 *
 * Levels are ordered; a kernel row names the level it needs and runs when the machine has that
 * level and the cap is not below it. A machine need not have every lower level (Zen 4 has AVX-512
 * VNNI but not AVX-VNNI), so "has" and "cap" are two questions. */
#ifndef SHOAL_KERNELS_CPU_H
#define SHOAL_KERNELS_CPU_H

#include <stdbool.h>

#include "proto/status.h"

typedef enum {
    SHOAL_CPU_REF,
    SHOAL_CPU_AVX2,       /* AVX2 + FMA + F16C                                        */
    SHOAL_CPU_AVXVNNI,    /* + AVX-VNNI (256 bit)                                     */
    SHOAL_CPU_AVX512,     /* AVX-512 F, BW, DQ, VL                                    */
    SHOAL_CPU_AVX512VNNI, /* + VNNI                                                   */
    SHOAL_CPU_AMX,        /* + AMX tile and int8, granted by the kernel               */
    SHOAL_CPU_LEVELS
} shoal_cpu_level;

/* "ref", "avx2", "avxvnni", "avx512", "avx512vnni", "amx". */
const char *shoal_cpu_name(shoal_cpu_level level);

/* Does this machine have exactly what `level` needs? (REF: always.) AMX state is requested from
 * the kernel on the first call. */
bool shoal_cpu_has(shoal_cpu_level level);

/* Does this machine multiply bf16 with the registers of `level`: vdpbf16ps (AVX512VNNI), also
 * tdpbf16ps (AMX)? False for every other level. */
bool shoal_cpu_has_bf16(shoal_cpu_level level);

/* The highest level this machine has. */
shoal_cpu_level shoal_cpu_best(void);

/* The cap that a word asks for; NULL or "" means the best. SHOAL_ERR_USAGE for an unknown word or
 * a level this machine lacks, naming both. */
SHOAL_MUST_USE shoal_status shoal_cpu_cap(const char *word, shoal_cpu_level *out);

#endif

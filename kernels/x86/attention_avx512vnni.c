/* Attention on 512-bit registers; int8 keys by AVX-512 VNNI. */
#include "kernels/x86/mathf_avx512.h"

#define DOT4 1

#include "kernels/x86/attention.inc"

const shoal_attention_row shoal_attention_avx512vnni = {
    .name = "attention-avx512vnni", .needs = SHOAL_CPU_AVX512VNNI, ATTENTION_SIMD};

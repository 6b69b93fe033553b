/* Attention on 256-bit registers; int8 keys by AVX-VNNI. */
#include "kernels/x86/mathf_avx2.h"

#define DOT4 1

#include "kernels/x86/attention.inc"

const shoal_attention_row shoal_attention_avxvnni = {
    .name = "attention-avxvnni", .needs = SHOAL_CPU_AVXVNNI, ATTENTION_SIMD};

/* Attention on 512-bit registers. */
#include "kernels/x86/mathf_avx512.h"

#include "kernels/x86/attention.inc"

const shoal_attention_row shoal_attention_avx512 = {
    .name = "attention-avx512", .needs = SHOAL_CPU_AVX512, ATTENTION_SIMD};

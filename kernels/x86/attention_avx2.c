/* Attention on 256-bit registers. */
#include "kernels/x86/mathf_avx2.h"

#include "kernels/x86/attention.inc"

const shoal_attention_row shoal_attention_avx2 = {
    .name = "attention-avx2", .needs = SHOAL_CPU_AVX2, ATTENTION_SIMD};

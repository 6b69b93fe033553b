/* Norms, rope, gates and attention on 256-bit registers. */
#include "kernels/x86/mathf_avx2.h"

#include "kernels/x86/ops.inc"

/* AVX2 has no int64 to fp32: the scalar instruction rounds once, as the rule asks. */
static void join(const int64_t *const *parts, int count, int64_t offset, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (int p = 0; p < count; p++)
            sum += (uint64_t)parts[p][offset + i];
        y[i] = (float)(int64_t)sum * (1.0f / SHOAL_UNIT_SCALE);
    }
}

const shoal_ops_row shoal_ops_avx2 = {.name = "ops-avx2", .needs = SHOAL_CPU_AVX2, OPS_SIMD};

/* bf16 inputs x integer weights in fmaf chains on 512-bit registers. */
#include "kernels/x86/vec512.h"

#define FLOAT_ROW shoal_linear_accumulate_float_avx512

#include "kernels/x86/linear_bf16.inc"

void shoal_linear_accumulate_bf16_avx512(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                         int64_t rows, int64_t panel, int64_t seg_begin,
                                         int64_t seg_end, float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

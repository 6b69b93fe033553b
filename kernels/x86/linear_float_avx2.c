/* fp32 inputs x weights of any kind on 256-bit registers: 6 rows x 16 columns. */
#include "kernels/linear_row.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec256.h"
#include "proto/bytes.h"

#define R_MAX  6
#define T_ONE  4
#define T_MANY 2
#define T_MAX  4

#include "kernels/x86/linear_float.inc"

void shoal_linear_accumulate_float_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

/* int8 inputs x int4/int8 weights by vpdpbusd on 512-bit registers: 6 rows x 64 columns. */
#include "kernels/x86/vec512.h"

#define R_MAX4 6
#define R_MAX8 6
#define T_MANY 4
#define T_ONE  4
#define R_FEW  12
#define T_FEW  2
#define T_MAX  4

#include "kernels/x86/linear_vnni.inc"

void shoal_linear_accumulate_avx512vnni(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc)
{
    accumulate(w, a, row0, rows, panel, seg_begin, seg_end, acc);
}

void shoal_linear_units_avx512vnni(const shoal_linear_row *row, const shoal_linear *w,
                                   const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                   int64_t columns, int64_t *sums, int64_t *bad)
{
    sum_units(row, w, a, row0, rows, panel, columns, sums, bad);
}

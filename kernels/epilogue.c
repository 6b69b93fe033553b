#include "kernels/epilogue.h"

#include <math.h>

#include "kernels/linear.h"
#include "proto/dtype.h"

bool shoal_unit_fixed(float unit, int64_t *out)
{
    if ((shoal_f32_bits(unit) & 0x7fffffff) > shoal_f32_bits(SHOAL_UNIT_BOUND))
        return false;
    /* Exact in double (24 bits, |v| <= 2^50), then half to even. */
    *out = (int64_t)rint((double)unit * (double)SHOAL_UNIT_SCALE);
    return true;
}

static void put(const float *acc, int64_t rows, int64_t columns, const float *bias, float *out,
                int64_t ld)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            const float sum = acc[r * SHOAL_PANEL + c];
            out[r * ld + c] = bias ? sum + bias[c] : sum;
        }
    }
}

static void flush(const float *acc, int64_t rows, int64_t columns, int64_t *slot, int64_t ld_slot,
                  int64_t *bad, bool first)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            int64_t v = 0;
            if (!shoal_unit_fixed(acc[r * SHOAL_PANEL + c], &v))
                bad[r]++;
            int64_t *at = &slot[r * ld_slot + c];
            *at = first ? v : *at + v;
        }
    }
}

const shoal_epilogue shoal_epilogue_ref = {SHOAL_CPU_REF, put, flush};

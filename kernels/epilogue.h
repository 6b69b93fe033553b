/* kernels/epilogue.h - what happens to the accumulators of a panel when its sums are complete.
 *
 * In a whole linear they become outputs, with the bias added. In a cut one they are the sums of a
 * unit and become int64 fixed point (docs/arithmetic.md rule 4).
 *
 * A value U with |U| <= 2^22 adds round-half-even(U * 2^28) to its slot element; any other (NaN
 * and Inf too) is a bad unit: it adds nothing and is counted against its row. */
#ifndef SHOAL_KERNELS_EPILOGUE_H
#define SHOAL_KERNELS_EPILOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/cpu.h"

/* acc [rows][64] fp32, of which the first `columns` (<= 64) count. */
typedef struct {
    shoal_cpu_level needs;

    /* out[r][c] = acc[r][c] + bias[c]; bias [columns] or NULL; out [rows][ld]. */
    void (*put)(const float *acc, int64_t rows, int64_t columns, const float *bias, float *out,
                int64_t ld);

    /* Add to slot [rows][ld] int64 and to bad [rows]. `first`: store instead of add (a bad unit
     * stores 0). */
    void (*flush)(const float *acc, int64_t rows, int64_t columns, int64_t *slot, int64_t ld,
                  int64_t *bad, bool first);
} shoal_epilogue;

extern const shoal_epilogue shoal_epilogue_ref;
#if defined(__x86_64__)
extern const shoal_epilogue shoal_epilogue_avx2;
extern const shoal_epilogue shoal_epilogue_avx512;
#endif

/* One value: true and *out, or false for a bad unit. */
bool shoal_unit_fixed(float unit, int64_t *out);

#endif

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

/* out[r][c] = acc[r][c] + bias[c]; acc [rows][64], the first `columns` (<= 64) of each row count;
 * bias [columns] or NULL; out [rows][ld]. */
typedef void (*shoal_panel_put)(const float *acc, int64_t rows, int64_t columns, const float *bias,
                                float *out, int64_t ld);

void shoal_panel_put_ref(const float *acc, int64_t rows, int64_t columns, const float *bias,
                         float *out, int64_t ld);

/* acc [rows][64] fp32, the first `columns` (<= 64) of each row count; slot [rows][ld_slot] int64;
 * bad [rows] is added to. `first`: store instead of add (a bad unit stores 0). */
typedef void (*shoal_unit_flush)(const float *acc, int64_t rows, int64_t columns, int64_t *slot,
                                 int64_t ld_slot, int64_t *bad, bool first);

void shoal_unit_flush_ref(const float *acc, int64_t rows, int64_t columns, int64_t *slot,
                          int64_t ld_slot, int64_t *bad, bool first);

/* One value: true and *out, or false for a bad unit. */
bool shoal_unit_fixed(float unit, int64_t *out);

#if defined(__x86_64__)
void shoal_panel_put_avx2(const float *acc, int64_t rows, int64_t columns, const float *bias,
                          float *out, int64_t ld);
void shoal_panel_put_avx512(const float *acc, int64_t rows, int64_t columns, const float *bias,
                            float *out, int64_t ld);
void shoal_unit_flush_avx2(const float *acc, int64_t rows, int64_t columns, int64_t *slot,
                           int64_t ld_slot, int64_t *bad, bool first);
void shoal_unit_flush_avx512(const float *acc, int64_t rows, int64_t columns, int64_t *slot,
                             int64_t ld_slot, int64_t *bad, bool first);
#endif

#endif

/* kernels/quantize_rows.h - fp32 rows become the input of linears (docs/arithmetic.md rule 2).
 *
 * Form INT8: per row and activation group one scale and int8 values, per segment the sum of its
 * values; form F32: the values themselves; form BF16: the values rounded to bf16. The permutation
 * of the act is applied on the way and the padding up to `ld` is zeroed. The bits do not depend on
 * the level. */
#ifndef SHOAL_KERNELS_QUANTIZE_ROWS_H
#define SHOAL_KERNELS_QUANTIZE_ROWS_H

#include <stdint.h>

#include "kernels/act.h"
#include "kernels/cpu.h"

/* Write rows [row0, row0 + rows) of `act` from source [rows][ld_source] (row i of the source is row
 * row0 + i of the act). A group with a NaN or an infinity is a row error: INT8 gets scale NaN and
 * zeros; in every form pending[i] += the number of such groups (F32 and BF16: at most 1 per call;
 * BF16 also for a number that bf16 rounds to infinity). `pending` [rows] may be NULL. Calls for
 * different rows may run at the same time. */
void shoal_quantize_rows(shoal_cpu_level cap, const float *source, int64_t ld_source, int64_t row0,
                         int64_t rows, shoal_act *act, int64_t *pending);

/* As shoal_quantize_rows for inputs [k, k + count) of one row of an act without a permutation, from
 * x[count]; both ends lie on edges of activation groups, and the part that ends the row zeroes its
 * padding. Returns the row errors found. Calls for different parts may run at the same time. */
int64_t shoal_quantize_part(shoal_cpu_level cap, const float *x, int64_t row, int64_t k,
                            int64_t count, shoal_act *act);

/* The four loops that have a variant per level. */
typedef struct {
    shoal_cpu_level needs;
    uint32_t (*absmax)(const float *x, int64_t count); /* max of bits & 0x7fffffff             */
    void (*round)(const float *x, int64_t count, float inverse, int8_t *q); /* rintf(x * inverse) */
    int32_t (*sum)(const int8_t *q, int64_t count);
    void (*narrow)(const float *x, int64_t count, uint16_t *out); /* bits of bf16 numbers       */
} shoal_quantize_row;

/* The one for `cap` on this machine. */
const shoal_quantize_row *shoal_quantize_pick(shoal_cpu_level cap);

/* One group on its own (a head of an int8 cache): q [count] and its scale. Returns 1 for a row
 * error, as above. */
int64_t shoal_quantize_group(const shoal_quantize_row *ops, const float *x, int64_t count,
                             int8_t *q, float *scale);

extern const shoal_quantize_row shoal_quantize_ref;
#if defined(__x86_64__)
extern const shoal_quantize_row shoal_quantize_avx2;
extern const shoal_quantize_row shoal_quantize_avx512;
#endif

#endif

/* kernels/act.h - the input of linears: fp32 or bf16 rows, or int8 rows with scales and sums.
 *
 * One act serves every linear whose spec asks for the same form, groups, segments and
 * permutation; the quantizer (docs/arithmetic.md rule 2) writes it, linears read it. */
#ifndef SHOAL_KERNELS_ACT_H
#define SHOAL_KERNELS_ACT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/linear.h"

typedef struct {
    const shoal_linear *like; /* any linear of the family this act feeds: k, groups, segments   */
    const int32_t *perm;      /* [k]: input i of the act is element perm[i] of the source row;
                                 NULL for the natural order                                     */
    const float *input_scale; /* [k]: input i is divided by element i first; NULL: as it is     */
    bool input_multiply;      /* ... multiplied                                                 */
    int64_t rows_max;
    int64_t ld; /* elements between rows: k rounded up to an odd multiple of 64 (BF16: of 32, a
                   cache line); the rest is 0                                                    */
    float *f32; /* [rows_max][ld], form F32                                                     */
    int8_t *q;  /* [rows_max][ld], form INT8                                                    */
    uint16_t *bf16; /* [rows_max][ld], form BF16                                                */
    float *scales;  /* [rows_max][act_groups]; NaN marks a row error                             */
    int32_t *sums;  /* [rows_max][segments]: sum of q over a segment                             */
} shoal_act;

/* Bytes of one value of a form. */
int64_t shoal_act_value_bytes(shoal_act_form form);

/* Bytes that shoal_act_create takes from the arena for `rows_max` rows. */
uint64_t shoal_act_bytes(const shoal_linear *like, int64_t rows_max);

SHOAL_MUST_USE shoal_status shoal_act_create(const shoal_linear *like, const int32_t *perm,
                                             int64_t rows_max, shoal_arena *arena, shoal_act *out);

/* The same in memory of the caller: shoal_act_bytes of it, 64-byte aligned. */
void shoal_act_place(const shoal_linear *like, const int32_t *perm, int64_t rows_max, void *memory,
                     shoal_act *out);

/* The act as its rows from `row` on see it. */
shoal_act shoal_act_from(const shoal_act *act, int64_t row);

/* Can one act feed both linears (same form, k, k_begin, groups and unit, hence the same segments)?
 * Looks at the specs alone. */
bool shoal_act_shared(const shoal_linear *a, const shoal_linear *b);

#endif

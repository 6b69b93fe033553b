/* kernels/x86/rows.h - the x86 variants that tables list. Each is compiled with
 * its own flags and may only be called on a machine of its level. */
#ifndef SHOAL_KERNELS_X86_ROWS_H
#define SHOAL_KERNELS_X86_ROWS_H

#include "kernels/act.h"
#include "kernels/linear.h"

void shoal_linear_accumulate_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                  int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                  float *acc);
void shoal_linear_accumulate_avxvnni(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                     int64_t rows, int64_t panel, int64_t seg_begin,
                                     int64_t seg_end, float *acc);
void shoal_linear_accumulate_avx512vnni(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc);
void shoal_linear_accumulate_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc);

/* fp32 inputs, weights of any kind. */
void shoal_linear_accumulate_float_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc);
void shoal_linear_accumulate_float_avx512(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                          int64_t rows, int64_t panel, int64_t seg_begin,
                                          int64_t seg_end, float *acc);

/* bf16 inputs, integer weights: fmaf chains, vdpbf16ps, tdpbf16ps. */
void shoal_linear_accumulate_bf16_avx2(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                       int64_t rows, int64_t panel, int64_t seg_begin,
                                       int64_t seg_end, float *acc);
void shoal_linear_accumulate_bf16_avx512(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                         int64_t rows, int64_t panel, int64_t seg_begin,
                                         int64_t seg_end, float *acc);
void shoal_linear_accumulate_bf16_dot(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                      int64_t rows, int64_t panel, int64_t seg_begin,
                                      int64_t seg_end, float *acc);
void shoal_linear_accumulate_bf16_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                      int64_t rows, int64_t panel, int64_t seg_begin,
                                      int64_t seg_end, float *acc);

void shoal_linear_units_avx2(const shoal_linear_row *row, const shoal_linear *w, const shoal_act *a,
                             int64_t row0, int64_t rows, int64_t panel, int64_t columns,
                             int64_t *sums, int64_t *bad);
void shoal_linear_units_avxvnni(const shoal_linear_row *row, const shoal_linear *w,
                                const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                int64_t columns, int64_t *sums, int64_t *bad);
void shoal_linear_units_avx512vnni(const shoal_linear_row *row, const shoal_linear *w,
                                   const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                   int64_t columns, int64_t *sums, int64_t *bad);
void shoal_linear_units_amx(const shoal_linear_row *row, const shoal_linear *w, const shoal_act *a,
                            int64_t row0, int64_t rows, int64_t panel, int64_t columns,
                            int64_t *sums, int64_t *bad);

/* What a wider vector does not make faster of kernels/pack.h. */
void shoal_pack_n_words_avx2(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                             uint8_t *panel);
void shoal_pack_fragments_avx2(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                               uint8_t *panel);

#endif

/* kernels/bf16.h - products of bf16 numbers: the three ways in which machines add them up.
 *
 * `--activations bf16` (docs/arithmetic.md rules 2 and 3): inputs and integer weights are rounded
 * to bf16 and their products, exact in fp32, are added in fp32. What an instruction does with the
 * sums is its own, so a kind is part of the arithmetic id and all ranks must have the same one. */
#ifndef SHOAL_KERNELS_BF16_H
#define SHOAL_KERNELS_BF16_H

#include <stdint.h>

#include "kernels/cpu.h"

typedef enum {
    SHOAL_BF16_F32,    /* one fmaf chain, k ascending: any machine                              */
    SHOAL_BF16_AVX512, /* vdpbf16ps: pairs of inputs                                            */
    SHOAL_BF16_AMX     /* tdpbf16ps: tiles of 32 inputs                                         */
} shoal_bf16_kind;

/* Most inputs that one step of a kind joins. */
#define SHOAL_BF16_STEP 32

/* The kind of this machine under `cap`: the fastest it has. */
shoal_bf16_kind shoal_bf16_pick(shoal_cpu_level cap);

/* "cpu-bf16-f32/1", "cpu-bf16-avx512/1", "cpu-bf16-amx/1". */
const char *shoal_bf16_arithmetic(shoal_bf16_kind kind);

/* The bf16 number, widened, that stands for the fp32 weight w. */
float shoal_bf16_weight(shoal_bf16_kind kind, float w);

/* acc + x·w as the kind computes it, for `count` inputs, at most SHOAL_BF16_STEP. Fewer than a
 * step are filled up with +0; a run of inputs is one call per SHOAL_BF16_STEP of them. x are bf16
 * bits, w widened bf16 numbers. */
float shoal_bf16_dot(shoal_bf16_kind kind, const uint16_t *x, const float *w, int count, float acc);

#endif

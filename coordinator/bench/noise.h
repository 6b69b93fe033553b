/* coordinator/bench/noise.h - memory full of random numbers that are valid where they stand.
 *
 * Kernels take as long for these as for a model's weights: no zeros, no denormals, nothing that
 * overflows. */
#ifndef SHOAL_COORDINATOR_BENCH_NOISE_H
#define SHOAL_COORDINATOR_BENCH_NOISE_H

#include <stdint.h>

#include "proto/dtype.h"

/* Any bits: codes. */
void shoal_bench_noise_codes(uint64_t *random, void *memory, uint64_t bytes);

/* int8 in -127..127. */
void shoal_bench_noise_int8(uint64_t *random, void *memory, uint64_t bytes);

/* Numbers of a type (F32, F16 or BF16) with `exponent`: magnitudes in [2^exponent, 2^(exponent+1)),
 * of both signs where `is_signed`. `bytes` in whole elements. */
void shoal_bench_noise_floats(uint64_t *random, shoal_dtype type, int exponent, bool is_signed,
                              void *memory, uint64_t bytes);

#endif

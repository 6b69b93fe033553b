/* shard/load.h - from a rectangle of a weight to a packed linear: read, pack, bias.
 *
 * Columns go through memory in strips (shoal_rect_staging_columns), so a linear costs its packed
 * size plus a strip. A permuted slice (rect.columns) is staged whole, because its columns lie
 * anywhere. What is read from the checkpoint is shoal_weight_read_bytes of the rectangle plus
 * shoal_vector_read_bytes of the bias, exactly; what is taken from the arena is the linear's size
 * and 4 bytes per column of the bias, each rounded up to 64. */
#ifndef SHOAL_SHARD_LOAD_H
#define SHOAL_SHARD_LOAD_H

#include "kernels/cpu.h"
#include "kernels/linear.h"
#include "shard/manifest.h"

/* Make the linear of `spec` (shape and quantization of this rectangle, see shard/slices.h) in
 * `arena` and fill it. An empty rectangle gives an empty linear, with its bias where it has
 * columns. `out` is written only on success; what was taken from the arena stays taken. */
SHOAL_MUST_USE shoal_status shoal_load_linear(const shoal_manifest *manifest,
                                              const shoal_weight *weight, const shoal_rect *rect,
                                              const shoal_linear_spec *spec, shoal_cpu_level cap,
                                              shoal_arena *arena, shoal_linear *out);

/* All of a vector (a norm) as fp32 from `arena`. */
SHOAL_MUST_USE shoal_status shoal_load_vector(const shoal_manifest *manifest,
                                              const shoal_weight *weight, shoal_arena *arena,
                                              float **out);

#endif

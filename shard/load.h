/* shard/load.h - from rectangles of weights to packed linears: read, pack, bias, on all threads.
 *
 * A load is a list of tasks, one per linear. Each is cut into pieces that fit a core's own cache
 * between the read and the panel, and the threads of a pool take piece after piece:
 *
 *     stored     whole rows of a tile go to panels as the words they are (kernels/pack.h)
 *     canonical  strips of columns over all inputs, by way of kernels/canonical.h
 *     permuted   (rect.columns) strips of the whole weight; columns that the slice wants are kept
 *     rows       no linear: rows as elements of the weight's dtype (an embedding)
 *
 * The reference level (linear.pack) always takes the canonical way. What is read from the
 * checkpoint is shoal_weight_read_bytes of the rectangle plus shoal_vector_read_bytes of the bias,
 * exactly; what is taken from the arena is the linear's size and 4 bytes per column of the bias,
 * each rounded up to 64. A thread stages about 2 * SHOAL_STAGING_BYTES (shard/dialect.h), more
 * only where 64 columns over all inputs are more. */
#ifndef SHOAL_SHARD_LOAD_H
#define SHOAL_SHARD_LOAD_H

#include "kernels/cpu.h"
#include "kernels/linear.h"
#include "kernels/threads.h"
#include "shard/manifest.h"

typedef struct {
    const shoal_weight *weight;
    shoal_rect rect; /* its arrays are borrowed until the task is done */
    shoal_linear *linear;
    uint8_t *rows; /* where linear is NULL: all inputs of columns [n_begin, n_end) */
} shoal_load_task;

/* Called on the caller's thread now and then. */
typedef void (*shoal_load_tell)(void *context);

/* Make the linear of `spec` (shape and quantization of this rectangle, see shard/slices.h) in
 * `arena`, all zero, and read its bias; where `memory` is not NULL what packing fills lies there
 * (shoal_linear_create_in). An empty rectangle gives an empty linear, with its bias where it has
 * columns. `out` is written only on success; what was taken from the arena stays taken. */
SHOAL_MUST_USE shoal_status shoal_load_create(const shoal_manifest *manifest,
                                              const shoal_weight *weight, const shoal_rect *rect,
                                              const shoal_linear_spec *spec, shoal_cpu_level cap,
                                              shoal_arena *arena, void *memory, shoal_linear *out);

/* Fill tasks[0 .. count) on the threads of `pool` (NULL: on this one). Of all failures the one
 * that comes first in the order of the tasks is returned, with its sentence. `tell` may be NULL. */
SHOAL_MUST_USE shoal_status shoal_load_fill(const shoal_manifest *manifest,
                                            const shoal_load_task *tasks, int count,
                                            shoal_pool *pool, shoal_load_tell tell, void *context);

/* This task's bytes will be read soon (shoal_checkpoint_expect). */
void shoal_load_expect(const shoal_manifest *manifest, const shoal_load_task *task);

/* Both for one linear. */
SHOAL_MUST_USE shoal_status shoal_load_linear(const shoal_manifest *manifest,
                                              const shoal_weight *weight, const shoal_rect *rect,
                                              const shoal_linear_spec *spec, shoal_cpu_level cap,
                                              shoal_arena *arena, shoal_pool *pool,
                                              shoal_linear *out);

/* The input scale of a rectangle's inputs as fp32 from `arena`; *out is NULL where the weight has
 * none. A number that is not finite, or a division by 0, is SHOAL_ERR_DATA. */
SHOAL_MUST_USE shoal_status shoal_load_input_scale(const shoal_manifest *manifest,
                                                   const shoal_weight *weight,
                                                   const shoal_rect *rect, shoal_arena *arena,
                                                   const float **out);

/* All of a vector (a norm) as fp32 from `arena`. */
SHOAL_MUST_USE shoal_status shoal_load_vector(const shoal_manifest *manifest,
                                              const shoal_weight *weight, shoal_arena *arena,
                                              float **out);

#endif

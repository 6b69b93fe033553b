/* kernels/experts_run.h - rows through the experts that were chosen for them, over all threads.
 *
 * Every row is computed by itself and what experts give is added as integers, so it does not matter
 * which rows share an expert, in which order they come, or which rank holds which units. */
#ifndef SHOAL_KERNELS_EXPERTS_RUN_H
#define SHOAL_KERNELS_EXPERTS_RUN_H

#include "kernels/backend.h"
#include "kernels/threads.h"

/* The inputs of gate and up of every job, from their rows of args->x. */
void shoal_experts_quantize(shoal_pool *pool, const shoal_experts_args *args, shoal_cpu_level cap);

/* args->slot is overwritten: per row the sum over its jobs of (unit of down * weight), and of
 * (bias of down * weight) by who holds the first unit, as int64; the last element counts the bad
 * ones plus pending[row]. */
void shoal_experts_cut(shoal_pool *pool, const shoal_experts_args *args);

#endif

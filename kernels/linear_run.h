/* kernels/linear_run.h - whole linears over all threads: blocks of rows x panels.
 *
 * Threads take pieces of one panel of 64 outputs (or the few that fill an activation group of what
 * comes next) and one block of input rows, whoever is free the next one; K is never split, so
 * neither the number of threads nor the size of a block can change a bit. The panels of a block
 * follow each other: its inputs stay in the L2 cache while weights stream by. */
#ifndef SHOAL_KERNELS_LINEAR_RUN_H
#define SHOAL_KERNELS_LINEAR_RUN_H

#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/ops.h"
#include "kernels/threads.h"

/* out[rows][ld] = W·act + bias for every job, in one parallel region. A job's soft_cap is not
 * applied here. An empty linear (n 0) writes nothing; k 0 gives the bias alone. */
void shoal_linear_whole(shoal_pool *pool, const shoal_whole_job *jobs, int count, int64_t rows);

/* The sums of this rank's units, as int64 with 28 fractional bits: slot [rows][ld_slot] is
 * overwritten in columns 0..n, where element n counts the bad units of the row plus pending[row]
 * (`pending` may be NULL). No bias. k 0 writes zeros. */
void shoal_linear_cut(shoal_pool *pool, const shoal_linear *linear, const shoal_act *act,
                      int64_t rows, int64_t *slot, int64_t ld_slot, const int64_t *pending);

/* Floats of scratch that every thread of shoal_linear_gated needs. */
int64_t shoal_linear_gated_scratch(const shoal_act *act);

/* Jobs that one parallel region takes. */
#define SHOAL_GATED_JOBS_MAX 64

/* activation(gate)·up of every job, quantized into its act (natural order), in one parallel region;
 * count <= SHOAL_GATED_JOBS_MAX. `scratch` [threads][each], each >= shoal_linear_gated_scratch of
 * every act. */
void shoal_linear_gated(shoal_pool *pool, const shoal_gated_args *args, int count,
                        const shoal_ops_row *ops, shoal_cpu_level cap, float *scratch,
                        int64_t each);

#endif

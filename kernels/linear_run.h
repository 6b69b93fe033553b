/* kernels/linear_run.h - whole linears over all threads: panels x blocks of rows.
 *
 * Threads share panels of 64 outputs and blocks of input rows; K is never split, so neither the
 * number of threads nor the size of a block can change a bit. */
#ifndef SHOAL_KERNELS_LINEAR_RUN_H
#define SHOAL_KERNELS_LINEAR_RUN_H

#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/threads.h"

/* out[rows][ld] = W·act + bias for every job, in one parallel region. A job's soft_cap is not
 * applied here. An empty linear (n 0) writes nothing; k 0 gives the bias alone. */
void shoal_linear_whole(shoal_pool *pool, const shoal_whole_job *jobs, int count, int64_t rows);

/* The sums of this rank's units, as int64 with 28 fractional bits: slot [rows][ld_slot] is
 * overwritten in columns 0..n, where element n counts the bad units of the row plus pending[row]
 * (`pending` may be NULL). No bias. k 0 writes zeros. */
void shoal_linear_cut(shoal_pool *pool, const shoal_linear *linear, const shoal_act *act,
                      int64_t rows, int64_t *slot, int64_t ld_slot, const int64_t *pending);

#endif

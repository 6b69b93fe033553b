/* coordinator/bench/model_bench.h - how near a whole model comes to what the machine can do.
 *
 * For every setup of R ranks and T threads the model M is loaded and stepped:
 *
 *     model.decode.M.rRtT      tokens/s of one sequence at a context of 128
 *                              limit: read bandwidth / bytes of all linears
 *     model.prefill.M.rRtT     tokens/s of a prompt of 512 tokens, in one step
 *                              limit: peak of the best instruction / operations of the linears
 *     model.decode.M.bB.rRtT   tokens/s of B = 8, 32 sequences together
 *                              limit: B / (the longer of the times the two limits imply)
 *     load.M                   GB/s of checkpoint read, packed and ready
 *                              limit: the lower of memcpy and reading from the page cache
 *
 * Batches and the load are measured in one setup: the only one, or one rank on all cores. The
 * yardsticks have as many threads as the ranks together, and are measured between the steps in the
 * process that waits for them; the fraction is the median over such pairs. A load finds the file
 * in the page cache. */
#ifndef SHOAL_COORDINATOR_BENCH_MODEL_BENCH_H
#define SHOAL_COORDINATOR_BENCH_MODEL_BENCH_H

#include "coordinator/bench/model_rows.h"
#include "coordinator/bench/stand.h"

typedef struct {
    shoal_bench_stand_plan stand;
    const char *label;   /* the M of rows: "1b" */
    const char *pattern; /* which rows (coordinator/bench/model_rows.h); NULL: all */
} shoal_bench_model_plan;

/* Adds to `rows`, and the medians of the yardsticks to `yardsticks`. */
SHOAL_MUST_USE shoal_status shoal_bench_model_run(const shoal_bench_model_plan *plan,
                                                  const shoal_bench_setup *setups, int count,
                                                  shoal_bench_rows *rows,
                                                  shoal_bench_rows *yardsticks);

#endif

/* coordinator/bench/scaling_bench.h - what more ranks bring, what they cost, and that they agree.
 *
 * For every setup of R ranks and T threads the model M decodes one sequence:
 *
 *     scaling.M.rRtT                  tokens/s; limit: that of one rank on all cores, once known
 *     scaling.M.rRtT.rankK.compute    ms per step of rank K, by its own clock: outside exchanges,
 *     scaling.M.rRtT.rankK.reduce     in exchanges without waiting,
 *     scaling.M.rRtT.rankK.waiting    waiting in exchanges for other ranks
 *
 * The proof is a digest over the chosen tokens and over the bits of some rows of logits; it must
 * be the same for all setups. A launch of ranks has one setup: there the digests of several
 * launches are compared by whoever started them. */
#ifndef SHOAL_COORDINATOR_BENCH_SCALING_BENCH_H
#define SHOAL_COORDINATOR_BENCH_SCALING_BENCH_H

#include "coordinator/bench/stand.h"
#include "proto/digest.h"

typedef struct {
    shoal_bench_stand_plan stand;
    const char *label; /* the M of rows */
} shoal_bench_scaling_plan;

typedef struct {
    int setups, tokens, logit_rows; /* that agree; of each */
    uint8_t digest[SHOAL_XXH128_BYTES];
} shoal_bench_proof;

/* SHOAL_ERR_INTERNAL naming the first setup that disagrees. */
SHOAL_MUST_USE shoal_status shoal_bench_scaling_run(const shoal_bench_scaling_plan *plan,
                                                    const shoal_bench_setup *setups, int count,
                                                    shoal_bench_rows *rows,
                                                    shoal_bench_rows *yardsticks,
                                                    shoal_bench_proof *proof);

#endif

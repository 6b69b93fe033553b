/* coordinator/bench/profile_bench.h - `shoal bench model --profile`: measure what
 * coordinator/bench/profile.h deals out, for decode and for prefill.
 *
 * Rank 0 must live in this process: more ranks than one are threads of it, but in an MPI launch
 * they are the launch's. Rows, for every line and phase:
 *
 *     profile.PHASE.M.rRtT.LINE    ms per step; limit: the least by the yardsticks */
#ifndef SHOAL_COORDINATOR_BENCH_PROFILE_BENCH_H
#define SHOAL_COORDINATOR_BENCH_PROFILE_BENCH_H

#include "coordinator/bench/profile.h"
#include "coordinator/bench/stand.h"

enum { SHOAL_BENCH_DECODE, SHOAL_BENCH_PREFILL, SHOAL_BENCH_PHASES };

SHOAL_MUST_USE shoal_status shoal_bench_profile_run(
    const shoal_bench_stand_plan *plan, const char *label, const shoal_bench_setup *setup,
    shoal_bench_profile *profiles, shoal_bench_rows *rows, shoal_bench_rows *yardsticks);

#endif

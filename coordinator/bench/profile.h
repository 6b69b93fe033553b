/* coordinator/bench/profile.h - where every part of a step's time goes, beside the least it needs.
 *
 * The time of a step as its caller sees it is dealt out without a rest: to the operations of rank
 * 0 (kernels/backend_timed.h), to exchanges without waiting ("reduce"), to waiting for other ranks
 * ("waiting"), to the rest of the step (layout, copies, sampling: "other") and to what lies outside
 * of it ("outside": the way to the rank and back). Linears go by the name of their role. */
#ifndef SHOAL_COORDINATOR_BENCH_PROFILE_H
#define SHOAL_COORDINATOR_BENCH_PROFILE_H

#include <jansson.h>

#include "coordinator/bench/rows.h"
#include "coordinator/bench/work.h"
#include "kernels/backend_timed.h"

#define SHOAL_BENCH_PROFILE_MAX (SHOAL_TIMED_LINES_MAX + 4)

/* Per step; NAN where nothing is counted. */
typedef struct {
    char name[40]; /* "gate_up" */
    double calls;
    double ms, share;  /* share of the whole: 0..1 */
    double gbps, gops; /* the rates reached */
    double fraction;   /* least time by the yardsticks / time; of linears and attention */
} shoal_bench_profile_line;

typedef struct {
    const char *phase; /* "decode", "prefill" */
    double step_ms;
    shoal_bench_profile_line lines[SHOAL_BENCH_PROFILE_MAX];
    int count;
} shoal_bench_profile;

/* What was measured over `steps` steps. */
typedef struct {
    double steps, seconds;                                 /* as their caller saw them      */
    double step_seconds, exchange_seconds, waited_seconds; /* as rank 0 did               */
    const shoal_timed_line *lines;
    int count;
    double read, peak, f32_peak; /* bytes, operations per second; f32 is for attention */
} shoal_bench_profile_input;

/* Fill everything but the phase. Pure. */
void shoal_bench_profile_make(const shoal_bench_profile_input *input, const shoal_bench_work *work,
                              shoal_bench_profile *out);

/* {"step_ms", "lines": [{"name", "calls", "ms", "share", "gbps", "gops", "fraction"}]}; NULL
 * without memory. */
json_t *shoal_bench_profile_json(const shoal_bench_profile *profile);

/* A table on stdout. */
SHOAL_MUST_USE shoal_status shoal_bench_profile_print(const shoal_bench_profile *profile);

#endif

#include "coordinator/bench/profile_bench.h"

#include <math.h>
#include <stdio.h>

/* Steps of a phase that count, and those before. */
#define DECODE_STEPS  32
#define PREFILL_STEPS 3
#define WARM_STEPS    2

#define F32_PEAK_SECONDS 0.02

typedef struct {
    shoal_bench_stand stand;
    shoal_rank_timing begin;
} profiling;

static shoal_status decode_step(profiling *p, double *seconds)
{
    return shoal_bench_stand_decode(&p->stand, 1, seconds);
}

static shoal_status prefill_step(profiling *p, double *seconds)
{
    return shoal_bench_stand_prefill(&p->stand, seconds);
}

/* Books are opened after the warm steps; yardsticks are measured between the others. */
static shoal_status take_steps(profiling *p, shoal_status (*step)(profiling *, double *), int count,
                               shoal_bench_profile_input *in)
{
    double seconds, read, peak;
    shoal_worker *first = p->stand.engine->first;
    for (int i = 0; i < WARM_STEPS; i++)
        SHOAL_TRY(step(p, &seconds));
    shoal_worker_profile_reset(first);
    p->begin = p->stand.engine->timing[0];
    *in = (shoal_bench_profile_input){.steps = count};
    for (int i = 0; i < count; i++) {
        SHOAL_TRY(shoal_bench_stand_read(&p->stand, &read));
        SHOAL_TRY(shoal_bench_stand_peak(&p->stand, &peak));
        SHOAL_TRY(step(p, &seconds));
        in->seconds += seconds;
    }
    return SHOAL_OK;
}

static double median(shoal_bench_samples *samples)
{
    shoal_bench_samples_sort(samples);
    return shoal_bench_samples_quantile(samples, 0.5);
}

static shoal_status finish(profiling *p, shoal_bench_profile_input *in, shoal_bench_profile *out)
{
    const shoal_bench_yard *yard = &p->stand.yard;
    const shoal_peak *f32 = shoal_peak_pick(SHOAL_PEAK_F32, yard->cap);
    const shoal_rank_timing *end = &p->stand.engine->timing[0];
    if (!f32)
        return shoal_fail(SHOAL_ERR_INTERNAL, "no peak of fp32");
    in->step_seconds = end->step_seconds - p->begin.step_seconds;
    in->exchange_seconds = end->exchange_seconds - p->begin.exchange_seconds;
    in->waited_seconds = end->waited_seconds - p->begin.waited_seconds;
    in->lines = shoal_worker_profile(p->stand.engine->first, &in->count);
    in->read = median(&p->stand.reads);
    in->peak = median(&p->stand.peaks);
    in->f32_peak = 1e9 * shoal_bench_yard_peak(yard, f32, F32_PEAK_SECONDS);
    shoal_bench_profile_make(in, &p->stand.work, out);
    return SHOAL_OK;
}

static shoal_status profile_phases(profiling *p, shoal_bench_profile *profiles)
{
    shoal_bench_profile_input in;
    SHOAL_TRY(shoal_bench_stand_begin(&p->stand, 1));
    SHOAL_TRY(shoal_bench_stand_fill(&p->stand, 1));
    SHOAL_TRY(take_steps(p, decode_step, DECODE_STEPS, &in));
    SHOAL_TRY(finish(p, &in, &profiles[SHOAL_BENCH_DECODE]));
    SHOAL_TRY(take_steps(p, prefill_step, PREFILL_STEPS, &in));
    SHOAL_TRY(finish(p, &in, &profiles[SHOAL_BENCH_PREFILL]));
    profiles[SHOAL_BENCH_DECODE].phase = "decode";
    profiles[SHOAL_BENCH_PREFILL].phase = "prefill";
    return SHOAL_OK;
}

static shoal_status add_rows(const shoal_bench_profile *p, const char *label,
                             const shoal_bench_setup *setup, shoal_bench_rows *rows)
{
    for (int i = 0; i < p->count; i++) {
        const shoal_bench_profile_line *line = &p->lines[i];
        shoal_bench_row row = {.value = line->ms,
                               .unit = "ms",
                               .limit = line->ms * line->fraction,
                               .fraction = line->fraction,
                               .spread = NAN};
        (void)snprintf(row.name, sizeof row.name, "profile.%s.%.20s.r%dt%d.%.16s", p->phase, label,
                       setup->ranks, setup->threads, line->name);
        SHOAL_TRY(shoal_bench_rows_put(rows, &row));
    }
    return SHOAL_OK;
}

shoal_status shoal_bench_profile_run(const shoal_bench_stand_plan *plan, const char *label,
                                     const shoal_bench_setup *setup, shoal_bench_profile *profiles,
                                     shoal_bench_rows *rows, shoal_bench_rows *yardsticks)
{
    profiling p = {0};
    shoal_bench_stand_plan here = *plan;
    here.request.settings.profile = true;
    if (!plan->launched)
        here.request.emulate = setup->ranks;
    SHOAL_TRY(shoal_bench_stand_open(&here, setup, &p.stand));
    shoal_status st = profile_phases(&p, profiles);
    for (int i = 0; i < SHOAL_BENCH_PHASES && st == SHOAL_OK; i++)
        st = add_rows(&profiles[i], label, setup, rows);
    if (st == SHOAL_OK)
        st = shoal_bench_stand_report(&p.stand, yardsticks);
    return shoal_bench_stand_close(&p.stand, st);
}

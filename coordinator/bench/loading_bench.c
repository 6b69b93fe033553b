#include "coordinator/bench/loading_bench.h"

#include <math.h>
#include <stdio.h>

#include "coordinator/bench/page_cache.h"
#include "coordinator/bench/pairs.h"

#define LOADS 3

/* What is known of one setup: two yardsticks for the same loads. */
typedef struct {
    shoal_bench_pairs cached, kept;
    shoal_bench_samples seconds, copies;
    shoal_rank_memory most; /* of the rank that reads most */
} loads;

static void free_loads(loads *l)
{
    shoal_bench_pairs_free(&l->cached);
    shoal_bench_pairs_free(&l->kept);
    shoal_bench_samples_free(&l->seconds);
    shoal_bench_samples_free(&l->copies);
}

static shoal_status add_limits(const char *model, shoal_bench_stand *stand, loads *l)
{
    double cached, kept;
    SHOAL_TRY(shoal_bench_page_cache_read(model, stand->yard.pool, false, &cached));
    SHOAL_TRY(shoal_bench_page_cache_read(model, stand->yard.pool, true, &kept));
    SHOAL_TRY(shoal_bench_samples_add(&l->cached.limits, cached));
    SHOAL_TRY(shoal_bench_samples_add(&l->kept.limits, kept));
    return shoal_bench_samples_add(&l->copies, 1e-9 * shoal_bench_stand_copy(stand));
}

/* The stand's load with the limits behind it; those of the first stand before it, too. */
static shoal_status add_load(const char *model, shoal_bench_stand *stand, loads *l)
{
    const shoal_engine *engine = stand->engine;
    const double rate = shoal_engine_load_rate(engine);
    for (int r = 0; r < engine->ranks; r++)
        if (engine->memory[r].measured_read > l->most.measured_read)
            l->most = engine->memory[r];
    if (l->seconds.count == 0)
        SHOAL_TRY(add_limits(model, stand, l));
    SHOAL_TRY(shoal_bench_samples_add(&l->cached.values, rate));
    SHOAL_TRY(shoal_bench_samples_add(&l->kept.values, rate));
    SHOAL_TRY(shoal_bench_samples_add(&l->seconds, engine->facts.load_seconds));
    return add_limits(model, stand, l);
}

static double median(shoal_bench_samples *samples)
{
    shoal_bench_samples_sort(samples);
    return shoal_bench_samples_quantile(samples, 0.5);
}

static shoal_status add_pairs(const shoal_bench_pairs *pairs, const char *name, const char *tail,
                              shoal_bench_rows *rows)
{
    shoal_bench_pair_summary s;
    SHOAL_TRY(shoal_bench_pairs_summary(pairs, &s));
    shoal_bench_row row = {.value = s.value,
                           .unit = "GB/s",
                           .limit = s.limit,
                           .fraction = s.fraction,
                           .spread = s.spread};
    (void)snprintf(row.name, sizeof row.name, "%s%s", name, tail);
    return shoal_bench_rows_put(rows, &row);
}

static shoal_status report(const shoal_bench_setup *setup, int width, const char *label, loads *l,
                           shoal_bench_rows *rows, shoal_bench_rows *yardsticks)
{
    char name[48], copy[32];
    (void)snprintf(name, sizeof name, "load.%s.r%dt%d", label, setup->ranks, setup->threads);
    (void)snprintf(copy, sizeof copy, "copy.t%d", width);
    SHOAL_TRY(add_pairs(&l->cached, name, "", rows));
    SHOAL_TRY(add_pairs(&l->kept, name, ".kept", rows));
    SHOAL_TRY(shoal_bench_rows_add(rows, median(&l->seconds), "s", NAN, "%s.seconds", name));
    SHOAL_TRY(shoal_bench_rows_add(rows, 1e-6 * (double)l->most.measured_read, "MB",
                                   1e-6 * (double)l->most.planned_read, "%s.bytes", name));
    if (isfinite(shoal_bench_rows_value(yardsticks, copy)))
        return SHOAL_OK;
    return shoal_bench_rows_add(yardsticks, median(&l->copies), "GB/s", NAN, "%s", copy);
}

static shoal_status measure(const shoal_bench_stand_plan *plan, const char *label,
                            const shoal_bench_setup *setup, loads *l, shoal_bench_rows *rows,
                            shoal_bench_rows *yardsticks)
{
    const char *model = plan->request.settings.model;
    int width = 0;
    for (int i = 0; i < LOADS; i++) {
        shoal_bench_stand stand;
        SHOAL_TRY(shoal_bench_stand_open(plan, setup, &stand));
        width = stand.width;
        SHOAL_TRY(shoal_bench_stand_close(&stand, add_load(model, &stand, l)));
    }
    return report(setup, width, label, l, rows, yardsticks);
}

shoal_status shoal_bench_loading_run(const shoal_bench_stand_plan *plan, const char *label,
                                     const shoal_bench_setup *setups, int count,
                                     shoal_bench_rows *rows, shoal_bench_rows *yardsticks)
{
    if (plan->launched)
        return shoal_fail(SHOAL_ERR_USAGE, "bench load starts its own ranks: without mpirun");
    for (int i = 0; i < count; i++) {
        loads l = {0};
        const shoal_status st = measure(plan, label, &setups[i], &l, rows, yardsticks);
        free_loads(&l);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

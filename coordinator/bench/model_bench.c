#include "coordinator/bench/model_bench.h"

#include <math.h>
#include <stdio.h>

#include "coordinator/bench/page_cache.h"
#include "coordinator/bench/pairs.h"
#include "coordinator/clock.h"

/* Pairs of one row: at least and at most, and for how many seconds beyond the least. */
#define PAIRS_MIN   7
#define PAIRS_MAX   60
#define PAIRS_SLOW  3 /* enough, once SLOW_SECONDS are over */
#define ROW_SECONDS 2.0
#define SLOW_FACTOR 5

/* Steps before the first that counts. */
#define WARM_STEPS 2

#define LOADS 3

typedef struct {
    const shoal_bench_model_plan *plan;
    shoal_bench_stand *stand;
    shoal_bench_rows *rows;
    int batch; /* sequences of the row being measured */
} bench;

/* What a row measures: the rate now, and what it could be at best now. */
typedef struct {
    shoal_status (*value)(bench *, double *rate);
    shoal_status (*limit)(bench *, double *rate);
} measure;

/* ---- one row --------------------------------------------------------------------------------- */

static bool enough(size_t count, double seconds)
{
    if (count >= PAIRS_MAX || (count >= PAIRS_SLOW && seconds > SLOW_FACTOR * ROW_SECONDS))
        return true;
    return count >= PAIRS_MIN && seconds > ROW_SECONDS;
}

static shoal_status collect(bench *b, const measure *m, shoal_bench_pairs *pairs)
{
    double rate;
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(m->limit(b, &rate));
    SHOAL_TRY(shoal_bench_samples_add(&pairs->limits, rate));
    while (!enough(pairs->values.count, shoal_clock_seconds() - begin)) {
        SHOAL_TRY(m->value(b, &rate));
        SHOAL_TRY(shoal_bench_samples_add(&pairs->values, rate));
        SHOAL_TRY(m->limit(b, &rate));
        SHOAL_TRY(shoal_bench_samples_add(&pairs->limits, rate));
    }
    return SHOAL_OK;
}

static shoal_status add_pairs(const shoal_bench_pairs *pairs, const char *unit, const char *name,
                              shoal_bench_rows *rows)
{
    shoal_bench_pair_summary s;
    SHOAL_TRY(shoal_bench_pairs_summary(pairs, &s));
    (void)fprintf(stderr, "  %s: %.4g %s, %.0f %% of the limit\n", name, s.value, unit,
                  100 * s.fraction);
    shoal_bench_row row = {.value = s.value,
                           .unit = unit,
                           .limit = s.limit,
                           .fraction = s.fraction,
                           .spread = s.spread};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    return shoal_bench_rows_put(rows, &row);
}

static shoal_status measure_row(bench *b, const measure *m, const char *name)
{
    shoal_bench_pairs pairs = {0};
    shoal_status st = collect(b, m, &pairs);
    if (st == SHOAL_OK)
        st = add_pairs(&pairs, "tokens/s", name, b->rows);
    shoal_bench_pairs_free(&pairs);
    return st;
}

/* ---- decode, prefill ------------------------------------------------------------------------- */

static shoal_status decode_value(bench *b, double *rate)
{
    double seconds;
    SHOAL_TRY(shoal_bench_stand_decode(b->stand, b->batch, &seconds));
    *rate = b->batch / seconds;
    return SHOAL_OK;
}

static shoal_status decode_limit(bench *b, double *rate)
{
    double read;
    SHOAL_TRY(shoal_bench_stand_read(b->stand, &read));
    *rate = read / b->stand->work.weight_bytes;
    return SHOAL_OK;
}

static shoal_status batch_limit(bench *b, double *rate)
{
    const shoal_bench_work *work = &b->stand->work;
    double read, peak;
    SHOAL_TRY(shoal_bench_stand_read(b->stand, &read));
    SHOAL_TRY(shoal_bench_stand_peak(b->stand, &peak));
    const double operations = b->batch * (work->layer_operations + work->head_operations);
    *rate = b->batch / fmax(work->weight_bytes / read, operations / peak);
    return SHOAL_OK;
}

static shoal_status prefill_value(bench *b, double *rate)
{
    double seconds;
    SHOAL_TRY(shoal_bench_stand_prefill(b->stand, &seconds));
    *rate = (double)b->stand->prompt / seconds;
    return SHOAL_OK;
}

static shoal_status prefill_limit(bench *b, double *rate)
{
    const shoal_bench_work *work = &b->stand->work;
    const double rows = (double)b->stand->prompt;
    double peak;
    SHOAL_TRY(shoal_bench_stand_peak(b->stand, &peak));
    *rate = rows * peak / (rows * work->layer_operations + work->head_operations);
    return SHOAL_OK;
}

static shoal_status measure_decode(bench *b, const shoal_bench_model_row *row)
{
    static const measure one = {decode_value, decode_limit}, many = {decode_value, batch_limit};
    double seconds;
    b->batch = row->batch;
    SHOAL_TRY(shoal_bench_stand_begin(b->stand, b->batch));
    SHOAL_TRY(shoal_bench_stand_fill(b->stand, b->batch));
    for (int i = 0; i < WARM_STEPS; i++)
        SHOAL_TRY(shoal_bench_stand_decode(b->stand, b->batch, &seconds));
    return measure_row(b, b->batch > 1 ? &many : &one, row->name);
}

static shoal_status measure_prefill(bench *b, const shoal_bench_model_row *row)
{
    static const measure prefill = {prefill_value, prefill_limit};
    double seconds;
    SHOAL_TRY(shoal_bench_stand_begin(b->stand, 1));
    SHOAL_TRY(shoal_bench_stand_prefill(b->stand, &seconds));
    return measure_row(b, &prefill, row->name);
}

/* ---- load ------------------------------------------------------------------------------------ */

static shoal_status load_limit(bench *b, double *rate)
{
    double cached;
    SHOAL_TRY(shoal_bench_page_cache_read(b->plan->stand.request.settings.model,
                                          b->stand->yard.pool, false, &cached));
    *rate = fmin(cached, 1e-9 * shoal_bench_stand_copy(b->stand));
    return SHOAL_OK;
}

/* The stand's load, and the limit behind it; the first has the same limit before it. */
static shoal_status take_load(bench *b, shoal_bench_pairs *pairs)
{
    double limit;
    SHOAL_TRY(load_limit(b, &limit));
    if (pairs->limits.count == 0)
        SHOAL_TRY(shoal_bench_samples_add(&pairs->limits, limit));
    SHOAL_TRY(shoal_bench_samples_add(&pairs->values, shoal_engine_load_rate(b->stand->engine)));
    return shoal_bench_samples_add(&pairs->limits, limit);
}

static shoal_status load_once(bench *b, const shoal_bench_setup *setup, shoal_bench_pairs *pairs)
{
    shoal_bench_stand stand;
    SHOAL_TRY(shoal_bench_stand_open(&b->plan->stand, setup, &stand));
    b->stand = &stand;
    return shoal_bench_stand_close(&stand, take_load(b, pairs));
}

static shoal_status measure_load(bench *b, const shoal_bench_setup *setup, const char *name)
{
    shoal_status st = SHOAL_OK;
    shoal_bench_pairs pairs = {0};
    for (int i = 0; i < LOADS && st == SHOAL_OK; i++)
        st = load_once(b, setup, &pairs);
    if (st == SHOAL_OK)
        st = add_pairs(&pairs, "GB/s", name, b->rows);
    shoal_bench_pairs_free(&pairs);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static shoal_status measure_steps(bench *b, const shoal_bench_model_row *rows, int count)
{
    for (int i = 0; i < count; i++)
        SHOAL_TRY(rows[i].kind == SHOAL_BENCH_MODEL_PREFILL ? measure_prefill(b, &rows[i])
                                                            : measure_decode(b, &rows[i]));
    return SHOAL_OK;
}

static shoal_status measure_setup(bench *b, const shoal_bench_setup *setup,
                                  const shoal_bench_model_row *rows, int count,
                                  shoal_bench_rows *yardsticks)
{
    shoal_bench_stand stand;
    if (rows->kind == SHOAL_BENCH_MODEL_LOAD) {
        SHOAL_TRY(measure_load(b, setup, rows->name));
        rows++, count--;
    }
    if (count == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_bench_stand_open(&b->plan->stand, setup, &stand));
    b->stand = &stand;
    shoal_status st = measure_steps(b, rows, count);
    if (st == SHOAL_OK)
        st = shoal_bench_stand_report(&stand, yardsticks);
    return shoal_bench_stand_close(&stand, st);
}

shoal_status shoal_bench_model_run(const shoal_bench_model_plan *plan,
                                   const shoal_bench_setup *setups, int count,
                                   shoal_bench_rows *rows, shoal_bench_rows *yardsticks)
{
    bench b = {.plan = plan, .rows = rows};
    shoal_bench_model_row todo[SHOAL_BENCH_MODEL_ROWS_MAX];
    int total, end;
    SHOAL_TRY(shoal_bench_model_rows(setups, count, plan->stand.cores, plan->stand.launched,
                                     plan->label, plan->pattern, todo, &total));
    for (int at = 0; at < total; at = end) {
        for (end = at; end < total && todo[end].setup == todo[at].setup;)
            end++;
        SHOAL_TRY(measure_setup(&b, &setups[todo[at].setup], &todo[at], end - at, yardsticks));
    }
    return SHOAL_OK;
}

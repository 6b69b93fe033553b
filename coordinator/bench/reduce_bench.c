#include "coordinator/bench/reduce_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/samples.h"
#include "coordinator/clock.h"
#include "kernels/ops.h"
#include "proto/arena.h"
#include "shard/plan.h"

/* Exchanges of one kind in a row, blocks of each kind, and exchanges before the first block. */
#define BLOCK  200
#define BLOCKS 15
#define WARM   100

#define N_MAX 8192

typedef struct {
    shoal_comm *comm;
    const shoal_ops_row *ops;
    int64_t n;
    uint64_t round;
    float *from, *to; /* [N_MAX] */
} exchange;

/* One exchange; the seconds of this rank. */
typedef shoal_status (*exchange_kind)(exchange *x, double *seconds);

/* What one kind took: medians of the blocks, and every exchange. */
typedef struct {
    shoal_bench_samples medians, all;
} record;

/* ---- the two kinds --------------------------------------------------------------------------- */

/* Rank r says (r + 1) * (1 + (i + round) % 64) in place i: small integers, so fp32 sums are
 * exact. */
static int64_t part_at(const exchange *x, int rank, int64_t i)
{
    return (rank + 1) * (1 + (int64_t)(((uint64_t)i + x->round) % 64));
}

static shoal_status ours(exchange *x, double *seconds)
{
    const int64_t *parts[SHOAL_RANKS_MAX];
    int count;
    int64_t *slot = shoal_comm_slot(x->comm);
    for (int64_t i = 0; i < x->n; i++)
        slot[i] = part_at(x, x->comm->rank, i) * (int64_t)SHOAL_UNIT_SCALE;
    slot[x->n] = 0;
    SHOAL_TRY(shoal_comm_barrier(x->comm));
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(shoal_comm_reduce(x->comm, (uint64_t)x->n + 1, parts, &count));
    x->ops->join(parts, count, 0, x->n, x->to);
    *seconds = shoal_clock_seconds() - begin;
    return SHOAL_OK;
}

static shoal_status theirs(exchange *x, double *seconds)
{
    for (int64_t i = 0; i < x->n; i++)
        x->from[i] = (float)part_at(x, x->comm->rank, i);
    SHOAL_TRY(shoal_comm_barrier(x->comm));
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(shoal_comm_mpi_allreduce(x->comm, x->from, x->to, (int)x->n));
    *seconds = shoal_clock_seconds() - begin;
    return SHOAL_OK;
}

static shoal_status check_sum(const exchange *x)
{
    const int64_t ranks = x->comm->size, weight = ranks * (ranks + 1) / 2;
    for (int64_t i = 0; i < x->n; i++)
        if (x->to[i] != (float)(weight * part_at(x, 0, i)))
            return shoal_fail(SHOAL_ERR_INTERNAL, "the sum over %d ranks in place %lld is %g",
                              x->comm->size, (long long)i, (double)x->to[i]);
    return SHOAL_OK;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Every rank shows its times; the slowest makes each sample. */
static shoal_status take_block(const exchange *x, const double *mine, record *r)
{
    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    shoal_bench_samples block = {0};
    shoal_status st = SHOAL_OK;
    for (int i = 0; i < x->comm->size; i++)
        bytes[i] = BLOCK * sizeof *mine;
    memcpy(shoal_comm_slot(x->comm), mine, BLOCK * sizeof *mine);
    SHOAL_TRY(shoal_comm_gather(x->comm, bytes, parts));
    for (int i = 0; i < BLOCK; i++) {
        double slowest = 0;
        for (int rank = 0; rank < x->comm->size; rank++)
            slowest = fmax(slowest, ((const double *)parts[rank])[i]);
        SHOAL_TRY_GOTO(shoal_bench_samples_add(&block, 1e6 * slowest), free_block);
        SHOAL_TRY_GOTO(shoal_bench_samples_add(&r->all, 1e6 * slowest), free_block);
    }
    shoal_bench_samples_sort(&block);
    st = shoal_bench_samples_add(&r->medians, shoal_bench_samples_quantile(&block, 0.5));

free_block:
    shoal_bench_samples_free(&block);
    return st;
}

static shoal_status run_block(exchange *x, exchange_kind kind, record *r)
{
    double seconds[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        x->round++;
        SHOAL_TRY(kind(x, &seconds[i]));
    }
    SHOAL_TRY(shoal_comm_agree(x->comm, check_sum(x)));
    return take_block(x, seconds, r);
}

static shoal_status run_blocks(exchange *x, record *our, record *their)
{
    double seconds;
    for (int i = 0; i < WARM; i++) {
        SHOAL_TRY(ours(x, &seconds));
        SHOAL_TRY(theirs(x, &seconds));
    }
    for (int i = 0; i < BLOCKS; i++) {
        SHOAL_TRY(run_block(x, ours, our));
        SHOAL_TRY(run_block(x, theirs, their));
    }
    return SHOAL_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static double mean_of(const shoal_bench_samples *samples)
{
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++)
        sum += samples->data[i];
    return sum / (double)samples->count;
}

/* Blocks of the two kinds that followed each other. */
static shoal_status median_ratio(const record *our, const record *their, double *out)
{
    shoal_bench_samples ratios = {0};
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < our->medians.count && st == SHOAL_OK; i++)
        st = shoal_bench_samples_add(&ratios, our->medians.data[i] / their->medians.data[i]);
    shoal_bench_samples_sort(&ratios);
    *out = shoal_bench_samples_quantile(&ratios, 0.5);
    shoal_bench_samples_free(&ratios);
    return st;
}

static shoal_status add_rows(const exchange *x, record *our, record *their, shoal_bench_rows *rows,
                             shoal_bench_rows *yardsticks)
{
    char name[48];
    shoal_bench_row row = {.unit = "us"};
    SHOAL_TRY(median_ratio(our, their, &row.fraction));
    shoal_bench_samples_sort(&our->all);
    shoal_bench_samples_sort(&their->all);
    (void)snprintf(name, sizeof name, "reduce.%d.r%d", (int)x->n, x->comm->size);
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    row.value = shoal_bench_samples_quantile(&our->all, 0.5);
    row.limit = shoal_bench_samples_quantile(&their->all, 0.5);
    row.spread = (shoal_bench_samples_quantile(&our->all, 0.9) -
                  shoal_bench_samples_quantile(&our->all, 0.1)) /
                 row.value;
    SHOAL_TRY(shoal_bench_rows_put(rows, &row));
    SHOAL_TRY(shoal_bench_rows_add(yardsticks, row.limit, "us", NAN, "mpi_allreduce.%d.r%d",
                                   (int)x->n, x->comm->size));
    SHOAL_TRY(shoal_bench_rows_add(rows, mean_of(&our->all), "us", mean_of(&their->all), "%s.mean",
                                   name));
    SHOAL_TRY(shoal_bench_rows_add(rows, shoal_bench_samples_quantile(&our->all, 0.99), "us",
                                   shoal_bench_samples_quantile(&their->all, 0.99), "%s.p99",
                                   name));
    return shoal_bench_rows_add(rows, shoal_bench_samples_quantile(&our->all, 1), "us",
                                shoal_bench_samples_quantile(&their->all, 1), "%s.max", name);
}

static shoal_status measure_size(exchange *x, shoal_bench_rows *rows, shoal_bench_rows *yardsticks)
{
    record our = {0}, their = {0};
    shoal_status st = run_blocks(x, &our, &their);
    if (st == SHOAL_OK && x->comm->rank == 0)
        st = add_rows(x, &our, &their, rows, yardsticks);
    shoal_bench_samples_free(&our.medians);
    shoal_bench_samples_free(&our.all);
    shoal_bench_samples_free(&their.medians);
    shoal_bench_samples_free(&their.all);
    return st;
}

shoal_status shoal_bench_reduce_run(shoal_comm *comm, shoal_cpu_level cap, shoal_bench_rows *rows,
                                    shoal_bench_rows *yardsticks)
{
    static const int64_t sizes[] = {2048, 4096, N_MAX};
    shoal_status st = SHOAL_OK;
    exchange x = {.comm = comm, .ops = shoal_ops_pick(cap)};
    void *block = NULL;
    SHOAL_TRY(shoal_comm_open_slots(comm, (N_MAX + 1) * sizeof(int64_t)));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, 2 * N_MAX, sizeof(float), &block));
    x.from = block;
    x.to = x.from + N_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && st == SHOAL_OK; i++) {
        x.n = sizes[i];
        st = measure_size(&x, rows, yardsticks);
    }
    shoal_free(block);
    return st;
}

#include "coordinator/bench/convert_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/pairs.h"
#include "coordinator/bench/yard.h"
#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"
#include "coordinator/cluster/run_folder.h"
#include "proto/arena.h"

#define TURNS        3
#define MEMORY_BYTES (UINT64_C(512) << 20)
#define MEMORY_LIMIT (UINT64_C(256) << 20)

typedef struct {
    shoal_convert_request request;
    shoal_bench_yard yard;
    char *memory; /* what is copied, and whereto */
    shoal_bench_pairs pairs;
    shoal_bench_samples seconds, syncs;
    shoal_convert_result result;
} bench;

static shoal_status add_limit(bench *b)
{
    const uint64_t half = MEMORY_BYTES / 2;
    return shoal_bench_samples_add(
        &b->pairs.limits, shoal_bench_yard_copy(&b->yard, b->memory + half, b->memory, half));
}

static shoal_status add_turn(bench *b, double seconds)
{
    const shoal_convert_result *r = &b->result;
    const double bytes = 1e-9 * (double)(r->read + r->bytes);
    SHOAL_TRY(shoal_bench_samples_add(&b->pairs.values, bytes / (seconds - r->sync_seconds)));
    SHOAL_TRY(shoal_bench_samples_add(&b->seconds, seconds));
    SHOAL_TRY(shoal_bench_samples_add(&b->syncs, r->sync_seconds));
    return add_limit(b);
}

static shoal_status convert_into(bench *b, const char *folder)
{
    static const shoal_convert_listener nobody = {0};
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/out", folder);
    b->request.destination = path;
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(shoal_convert(&b->request, &nobody, &b->result));
    return add_turn(b, shoal_clock_seconds() - begin);
}

static shoal_status take_turn(bench *b)
{
    shoal_run_folder folder = {.lock = -1, .shared_lock = -1};
    shoal_status st = shoal_run_folder_create(&folder);
    if (st == SHOAL_OK)
        st = convert_into(b, folder.path);
    shoal_run_folder_remove(&folder);
    return st;
}

static double median(shoal_bench_samples *samples)
{
    shoal_bench_samples_sort(samples);
    return shoal_bench_samples_quantile(samples, 0.5);
}

static shoal_status report(bench *b, const char *label, shoal_bench_rows *rows)
{
    char name[48];
    shoal_bench_pair_summary s;
    const shoal_target *to = &b->request.target;
    const uint64_t limit = 3 * b->result.largest + MEMORY_LIMIT;
    (void)snprintf(name, sizeof name, "convert.%s.%s%s%s", label, to->writer->name,
                   to->argument[0] ? "-" : "", to->argument);
    SHOAL_TRY(shoal_bench_pairs_summary(&b->pairs, &s));
    shoal_bench_row row = {.value = s.value,
                           .unit = "GB/s",
                           .limit = s.limit,
                           .fraction = s.fraction,
                           .spread = s.spread};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    SHOAL_TRY(shoal_bench_rows_put(rows, &row));
    SHOAL_TRY(shoal_bench_rows_add(rows, median(&b->seconds), "s", NAN, "%s.seconds", name));
    SHOAL_TRY(shoal_bench_rows_add(rows, median(&b->syncs), "s", NAN, "%s.sync", name));
    return shoal_bench_rows_add(rows, 1e-6 * (double)shoal_mem_peak(SHOAL_MEM_CHECKPOINT), "MB",
                                1e-6 * (double)limit, "%s.memory", name);
}

static shoal_status measure(bench *b, const char *label, shoal_bench_rows *rows)
{
    SHOAL_TRY(add_limit(b));
    for (int i = 0; i < TURNS; i++)
        SHOAL_TRY(take_turn(b));
    return report(b, label, rows);
}

shoal_status shoal_bench_convert_run(const shoal_convert_request *request, const char *label,
                                     shoal_bench_rows *rows)
{
    bench b = {.request = *request};
    void *block;
    int signals;
    shoal_status st;
    SHOAL_TRY(shoal_interrupt_listen(&signals));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, MEMORY_BYTES, &block));
    b.memory = block;
    memset(b.memory, 1, MEMORY_BYTES); /* pages of its own, not the one of zeros */
    SHOAL_TRY_GOTO(shoal_bench_yard_open(request->threads, SHOAL_CPU_LEVELS - 1, b.memory,
                                         MEMORY_BYTES, &b.yard),
                   done);
    st = measure(&b, label, rows);
    shoal_bench_yard_close(&b.yard);
done:
    shoal_bench_pairs_free(&b.pairs);
    shoal_bench_samples_free(&b.seconds);
    shoal_bench_samples_free(&b.syncs);
    shoal_free(block);
    return st;
}

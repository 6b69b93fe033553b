#include "coordinator/bench/yard.h"

#include <stdatomic.h>
#include <string.h>

#include "coordinator/clock.h"

/* Steps between two looks at the clock: some microseconds of the fastest peak. */
#define STEPS 2048

/* Bytes of one trial of a reader, and trials of each. */
#define TRIAL_BYTES (UINT64_C(32) << 20)
#define TRIALS      5

typedef struct {
    const shoal_peak *peak;
    double seconds;
    _Atomic uint64_t rate; /* sum over the threads, steps per second */
} peak_run;

/* Each thread keeps its own time: none waits for another to wake up. */
static void peak_task(void *context, int thread, int threads)
{
    peak_run *run = context;
    const double begin = shoal_clock_seconds();
    double now = begin;
    uint64_t steps = 0;
    (void)thread;
    (void)threads;
    for (; now - begin < run->seconds; now = shoal_clock_seconds()) {
        run->peak->run(STEPS);
        steps += STEPS;
    }
    atomic_fetch_add(&run->rate, (uint64_t)((double)steps / (now - begin)));
}

double shoal_bench_yard_peak(const shoal_bench_yard *yard, const shoal_peak *peak, double seconds)
{
    peak_run run = {.peak = peak, .seconds = seconds};
    shoal_pool_run(yard->pool, peak_task, &run);
    return 1e-9 * (double)atomic_load(&run.rate) * peak->operations;
}

typedef struct {
    const shoal_reader *reader; /* NULL: copy */
    char *to;
    const char *from;
    uint64_t bytes;
} pass;

static void pass_task(void *context, int thread, int threads)
{
    const pass *p = context;
    int64_t begin, end;
    shoal_share((int64_t)(p->bytes / SHOAL_READER_PIECE), thread, threads, &begin, &end);
    const size_t at = (size_t)begin * SHOAL_READER_PIECE;
    const size_t count = (size_t)(end - begin) * SHOAL_READER_PIECE;
    if (p->reader)
        p->reader->read(p->from + at, count, p->reader->ahead);
    else
        memcpy(p->to + at, p->from + at, count);
}

static double pass_rate(const shoal_bench_yard *yard, pass p)
{
    const double begin = shoal_clock_seconds();
    shoal_pool_run(yard->pool, pass_task, &p);
    return 1e-9 * (double)p.bytes / (shoal_clock_seconds() - begin);
}

double shoal_bench_yard_read(const shoal_bench_yard *yard, const void *memory, uint64_t bytes)
{
    return pass_rate(yard, (pass){.reader = yard->reader, .from = memory, .bytes = bytes});
}

double shoal_bench_yard_copy(const shoal_bench_yard *yard, void *to, const void *from,
                             uint64_t bytes)
{
    return pass_rate(yard, (pass){.to = to, .from = from, .bytes = bytes});
}

/* Rounds go over all readers, so that a slow moment hits them alike; each keeps its best. */
static const shoal_reader *fastest_reader(shoal_bench_yard yard, const char *memory, uint64_t bytes)
{
    const uint64_t each = bytes < TRIAL_BYTES ? bytes : TRIAL_BYTES;
    const shoal_reader *best = NULL;
    double best_rate = 0;
    uint64_t at = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        for (size_t i = 0; i < shoal_reader_count; i++) {
            yard.reader = &shoal_readers[i];
            if (!shoal_cpu_has(yard.reader->needs))
                continue;
            const double rate = shoal_bench_yard_read(&yard, memory + at, each);
            at = at + 2 * each <= bytes ? at + each : 0;
            if (rate > best_rate) {
                best_rate = rate;
                best = yard.reader;
            }
        }
    }
    return best;
}

shoal_status shoal_bench_yard_open(int threads, shoal_cpu_level cap, const void *memory,
                                   uint64_t bytes, shoal_bench_yard *out)
{
    shoal_bench_yard yard = {.threads = threads, .cap = cap};
    SHOAL_TRY(shoal_pool_create(threads, false, &yard.pool));
    yard.reader = fastest_reader(yard, memory, bytes);
    *out = yard;
    return SHOAL_OK;
}

void shoal_bench_yard_close(shoal_bench_yard *yard)
{
    shoal_pool_destroy(yard->pool);
    *yard = (shoal_bench_yard){0};
}

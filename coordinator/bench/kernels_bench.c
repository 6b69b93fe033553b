#include "coordinator/bench/kernels_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/bench/attention_subject.h"
#include "coordinator/bench/kernel_rows.h"
#include "coordinator/bench/linear_subject.h"
#include "coordinator/bench/pairs.h"
#include "coordinator/cli/report.h"
#include "coordinator/clock.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* One turn of a kernel and of its yardstick: short, so that both see the same moment. */
#define TURN_SECONDS  0.008
#define PEAK_SECONDS  0.004
#define TURN_BYTES    (UINT64_C(48) << 20)
#define CALLS_MAX     100000
#define ONE_ROW_CALLS 4

/* Turns of a row: at least, at most, and as many as begin in this time. */
#define TURNS_MIN   7
#define TURNS_MAX   31
#define ROW_SECONDS 1.5

/* Memory that "from DRAM" rotates over: twice the last cache, within limits. */
#define DRAM_BYTES_MIN (UINT64_C(768) << 20)
#define DRAM_BYTES_MAX (UINT64_C(2) << 30)

/* What a row of several inputs may cost more than the limit says. */
#define BATCH_ALLOWANCE 1.1

typedef struct {
    shoal_cpu_level cap;
    int64_t l2, l3; /* bytes, 0: unknown */
    uint64_t dram_bytes;
    shoal_bench_yard yards[SHOAL_BENCH_THREADS_MAX + 1]; /* by threads; 0 is unused */
    int threads_max;
    shoal_bench_linears linears; /* of the last linear row, for the next one */
    shoal_bench_place place;
} bench;

/* ---- the machine alone ----------------------------------------------------------------------- */

static void size_up(bench *b)
{
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE), l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    b->l2 = l2 > 0 ? l2 : 0;
    b->l3 = l3 > 0 ? l3 : 0;
    b->dram_bytes = 2 * (uint64_t)b->l3;
    if (b->dram_bytes < DRAM_BYTES_MIN)
        b->dram_bytes = DRAM_BYTES_MIN;
    if (b->dram_bytes > DRAM_BYTES_MAX)
        b->dram_bytes = DRAM_BYTES_MAX;
}

typedef enum { RATE_PEAK, RATE_READ, RATE_COPY } rate_kind;

static double rate(const shoal_bench_yard *yard, rate_kind kind, const shoal_peak *peak,
                   char *memory, uint64_t bytes, int turn)
{
    const uint64_t half = bytes / 2, at = (uint64_t)turn * TURN_BYTES % (half - TURN_BYTES);
    switch (kind) {
    case RATE_PEAK: return shoal_bench_yard_peak(yard, peak, PEAK_SECONDS);
    case RATE_READ: return shoal_bench_yard_read(yard, memory + at / 64 * 64, TURN_BYTES);
    default: return shoal_bench_yard_copy(yard, memory + half + at, memory + at, TURN_BYTES);
    }
}

/* The median of some turns as a row of the yardsticks. */
static shoal_status yardstick_row(const shoal_bench_yard *yard, rate_kind kind,
                                  const shoal_peak *peak, char *memory, uint64_t bytes,
                                  shoal_bench_rows *out)
{
    static const char *const names[] = {NULL, "read", "memcpy"};
    shoal_bench_samples samples = {0};
    shoal_status st = SHOAL_OK;
    for (int i = 0; i < TURNS_MIN; i++)
        SHOAL_TRY_GOTO(shoal_bench_samples_add(&samples, rate(yard, kind, peak, memory, bytes, i)),
                       free);
    shoal_bench_samples_sort(&samples);
    st = shoal_bench_rows_add(out, shoal_bench_samples_quantile(&samples, 0.5),
                              kind == RATE_PEAK ? "GOPS" : "GB/s", NAN, "%s.t%d",
                              kind == RATE_PEAK ? peak->name : names[kind], yard->threads);

free:
    shoal_bench_samples_free(&samples);
    return st;
}

static shoal_status yardstick_rows(bench *b, char *memory, shoal_bench_rows *out)
{
    for (int t = 1; t <= b->threads_max; t++) {
        const shoal_bench_yard *yard = &b->yards[t];
        SHOAL_TRY(yardstick_row(yard, RATE_READ, NULL, memory, b->dram_bytes, out));
        SHOAL_TRY(yardstick_row(yard, RATE_COPY, NULL, memory, b->dram_bytes, out));
        for (size_t i = 0; i < shoal_peak_count; i++)
            if (shoal_peak_usable(&shoal_peaks[i], shoal_cpu_best()))
                SHOAL_TRY(
                    yardstick_row(yard, RATE_PEAK, &shoal_peaks[i], memory, b->dram_bytes, out));
    }
    return SHOAL_OK;
}

static shoal_status open_yards(bench *b, shoal_bench_rows *yardsticks)
{
    shoal_status st;
    void *memory;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, b->dram_bytes, &memory));
    memset(memory, 1, b->dram_bytes); /* pages of its own, not the one of zeros */
    for (int t = 1; t <= b->threads_max; t++)
        SHOAL_TRY_GOTO(shoal_bench_yard_open(t, b->cap, memory, b->dram_bytes, &b->yards[t]), free);
    st = yardstick_rows(b, memory, yardsticks);

free:
    shoal_free(memory);
    return st;
}

/* ---- one row --------------------------------------------------------------------------------- */

/* A kernel that is measured: a linear or attention. */
typedef struct {
    const shoal_bench_kernel *kernel;
    const shoal_bench_yard *yard;
    const shoal_peak *peak;
    shoal_bench_linears *linears;     /* NULL: attention */
    shoal_bench_attention *attention; /* NULL: a linear  */
    const char *row;                  /* the table row that runs */
    double gigabytes, gigaoperations; /* of one call */
    int calls;                        /* of one turn */
} subject;

static shoal_status seconds_of(const subject *s, int calls, double *out)
{
    if (s->attention)
        return shoal_bench_attention_seconds(s->attention, calls, out);
    *out = shoal_bench_linears_seconds(s->linears, s->yard, s->kernel->rows, s->kernel->quantizes,
                                       calls);
    return SHOAL_OK;
}

static bool in_operations(const subject *s)
{
    return s->kernel->limit == SHOAL_BENCH_LIMIT_PEAK || s->kernel->limit == SHOAL_BENCH_LIMIT_ROOF;
}

static shoal_status value_of(const subject *s, double *out)
{
    double seconds;
    SHOAL_TRY(seconds_of(s, s->calls, &seconds));
    *out = (in_operations(s) ? s->gigaoperations : s->gigabytes) / seconds;
    return SHOAL_OK;
}

static double roof_limit(const subject *s)
{
    const double read = s->gigabytes / shoal_bench_linears_read(s->linears, s->yard, TURN_BYTES);
    const double arithmetic =
        s->gigaoperations / shoal_bench_yard_peak(s->yard, s->peak, PEAK_SECONDS);
    return s->gigaoperations / fmax(read, arithmetic);
}

static double batch_limit(const subject *s)
{
    const double one_row =
        shoal_bench_linears_seconds(s->linears, s->yard, 1, false, ONE_ROW_CALLS);
    const double arithmetic =
        s->gigaoperations / shoal_bench_yard_peak(s->yard, s->peak, PEAK_SECONDS);
    return s->gigabytes / (BATCH_ALLOWANCE * fmax(one_row, arithmetic));
}

static double limit_of(const subject *s)
{
    switch (s->kernel->limit) {
    case SHOAL_BENCH_LIMIT_PEAK: return shoal_bench_yard_peak(s->yard, s->peak, PEAK_SECONDS);
    case SHOAL_BENCH_LIMIT_ROOF: return roof_limit(s);
    case SHOAL_BENCH_LIMIT_BATCH: return batch_limit(s);
    default: break;
    }
    return s->attention ? shoal_bench_attention_read(s->attention, s->yard, TURN_BYTES)
                        : shoal_bench_linears_read(s->linears, s->yard, TURN_BYTES);
}

static shoal_status take_turns(const subject *s, shoal_bench_pairs *pairs)
{
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(shoal_bench_samples_add(&pairs->limits, limit_of(s)));
    while (pairs->values.count < TURNS_MAX &&
           (pairs->values.count < TURNS_MIN || shoal_clock_seconds() - begin < ROW_SECONDS)) {
        double value;
        SHOAL_TRY(value_of(s, &value));
        SHOAL_TRY(shoal_bench_samples_add(&pairs->values, value));
        SHOAL_TRY(shoal_bench_samples_add(&pairs->limits, limit_of(s)));
    }
    return SHOAL_OK;
}

static shoal_status measure(subject *s, shoal_bench_rows *rows)
{
    shoal_bench_pairs pairs = {0};
    shoal_bench_pair_summary sum;
    shoal_status st;
    double once;
    SHOAL_TRY(seconds_of(s, 1, &once));
    s->calls = (int)fmin(fmax(TURN_SECONDS / once, 1), CALLS_MAX);
    SHOAL_TRY_GOTO(take_turns(s, &pairs), free);
    SHOAL_TRY_GOTO(shoal_bench_pairs_summary(&pairs, &sum), free);
    shoal_bench_row row = {.value = sum.value,
                           .unit = in_operations(s) ? "GOPS" : "GB/s",
                           .limit = sum.limit,
                           .fraction = sum.fraction,
                           .spread = sum.spread,
                           .kernel = s->row};
    shoal_bench_kernel_name(s->kernel, s->yard->threads, row.name);
    st = shoal_bench_rows_put(rows, &row);

free:
    shoal_bench_pairs_free(&pairs);
    return st;
}

/* The most input rows of any kernel that shares these weights. */
static int64_t rows_of(const shoal_bench_kernel *kernel)
{
    int64_t most = kernel->rows;
    for (size_t i = 0; i < shoal_bench_kernel_count; i++) {
        const shoal_bench_kernel *other = &shoal_bench_kernels[i];
        if (other->format == kernel->format && other->n == kernel->n &&
            other->place == kernel->place)
            most = shoal_max_i64(most, other->rows);
    }
    return most;
}

/* The weights of the row before, if they serve; else new ones. */
static shoal_status need_linears(bench *b, const shoal_bench_kernel *kernel, int64_t n)
{
    if (b->linears.arena && b->linears.format == kernel->format && b->linears.n == n &&
        b->place == kernel->place)
        return SHOAL_OK;
    shoal_bench_linears_close(&b->linears);
    b->place = kernel->place;
    return shoal_bench_linears_open(kernel->format, n, rows_of(kernel),
                                    kernel->place == SHOAL_BENCH_DRAM ? b->dram_bytes : 1, b->cap,
                                    &b->linears);
}

static shoal_status linear_row(bench *b, const shoal_bench_kernel_row *at, shoal_bench_rows *rows)
{
    const shoal_bench_kernel *kernel = at->kernel;
    const int64_t n = shoal_bench_kernel_outputs(kernel, b->l2, b->l3);
    SHOAL_TRY(need_linears(b, kernel, n));
    subject s = {.kernel = kernel,
                 .yard = &b->yards[at->threads],
                 .peak = shoal_peak_pick(kernel->format->product, b->cap),
                 .linears = &b->linears,
                 .row = shoal_bench_linears_row(&b->linears, kernel->rows),
                 .gigabytes = 1e-9 * (double)b->linears.bytes,
                 .gigaoperations = 1e-9 * shoal_bench_kernel_operations(kernel, n)};
    SHOAL_TRY(shoal_bench_linears_check(s.linears, s.yard, kernel->rows));
    return measure(&s, rows);
}

static shoal_status attention_row(bench *b, const shoal_bench_kernel_row *at,
                                  shoal_bench_rows *rows)
{
    const shoal_bench_kernel *kernel = at->kernel;
    shoal_bench_attention attention;
    shoal_bench_linears_close(&b->linears);
    SHOAL_TRY(shoal_bench_attention_open(kernel, at->threads, b->cap,
                                         kernel->place == SHOAL_BENCH_DRAM ? b->dram_bytes : 1,
                                         &attention));
    subject s = {.kernel = kernel,
                 .yard = &b->yards[at->threads],
                 .peak = shoal_peak_pick(SHOAL_PEAK_F32, b->cap),
                 .attention = &attention,
                 .row = shoal_backend_cpu_attention_row(attention.backend),
                 .gigabytes = 1e-9 * (double)attention.bytes,
                 .gigaoperations = 1e-9 * shoal_bench_kernel_operations(kernel, 0)};
    shoal_status st = shoal_bench_attention_check(&attention);
    if (st == SHOAL_OK)
        st = measure(&s, rows);
    shoal_bench_attention_close(&attention);
    return st;
}

static shoal_status one_row(bench *b, const shoal_bench_kernel_row *at, shoal_bench_rows *rows)
{
    char name[SHOAL_BENCH_NAME_MAX];
    const shoal_status st =
        at->kernel->format ? linear_row(b, at, rows) : attention_row(b, at, rows);
    if (st == SHOAL_OK)
        return SHOAL_OK;
    shoal_bench_kernel_name(at->kernel, at->threads, name);
    return shoal_fail_within(st, "%s", name);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static shoal_status all_rows(bench *b, const shoal_bench_kernel_row *selected, size_t count,
                             shoal_bench_rows *rows)
{
    shoal_progress progress;
    shoal_status st = SHOAL_OK;
    shoal_progress_begin(&progress, "bench");
    for (size_t i = 0; st == SHOAL_OK && i < count; i++) {
        st = one_row(b, &selected[i], rows);
        shoal_progress_update(&progress, i + 1, count);
    }
    shoal_progress_end(&progress);
    return st;
}

shoal_status shoal_bench_kernels_run(const char *pattern, int threads_max, shoal_cpu_level cap,
                                     shoal_bench_rows *yardsticks, shoal_bench_rows *rows)
{
    shoal_bench_kernel_row selected[SHOAL_BENCH_KERNEL_ROWS_MAX];
    size_t count;
    bench b = {.cap = cap,
               .threads_max =
                   threads_max < SHOAL_BENCH_THREADS_MAX ? threads_max : SHOAL_BENCH_THREADS_MAX};
    SHOAL_TRY(shoal_bench_kernel_select(pattern, b.threads_max, selected, &count));
    size_up(&b);
    shoal_status st = open_yards(&b, yardsticks);
    if (st == SHOAL_OK)
        st = all_rows(&b, selected, count, rows);
    shoal_bench_linears_close(&b.linears);
    for (int t = 1; t <= b.threads_max; t++)
        shoal_bench_yard_close(&b.yards[t]);
    return st;
}

#include "coordinator/bench/linear_subject.h"

#include <string.h>

#include "coordinator/bench/noise.h"
#include "coordinator/clock.h"
#include "kernels/linear_row.h"
#include "kernels/linear_run.h"
#include "kernels/quantize_rows.h"

#define COPIES_MAX 4096

static shoal_act_form act_of(const shoal_bench_format *format)
{
    if (format->product == SHOAL_PEAK_F32)
        return SHOAL_ACT_F32;
    return format->product == SHOAL_PEAK_BF16 ? SHOAL_ACT_BF16 : SHOAL_ACT_INT8;
}

static shoal_linear_spec spec_of(const shoal_bench_format *format, int64_t n)
{
    return (shoal_linear_spec){
        .n = n,
        .k = SHOAL_BENCH_K,
        .kind = format->kind,
        .dtype = format->dtype,
        .group = format->group ? format->group : SHOAL_BENCH_K,
        .zero_const = format->kind == SHOAL_WEIGHT_INT4 ? 8 : 128,
        .act = act_of(format),
        .act_group = format->act_group ? format->act_group : SHOAL_BENCH_K,
    };
}

static void fill_weights(uint64_t *random, shoal_linear *w)
{
    if (w->spec.kind == SHOAL_WEIGHT_FLOAT)
        shoal_bench_noise_floats(random, w->spec.dtype, -7, true, w->codes, w->size.codes_bytes);
    else
        shoal_bench_noise_codes(random, w->codes, w->size.codes_bytes);
    shoal_bench_noise_floats(random, w->spec.dtype, -10, false, w->scales, w->size.scales_bytes);
}

static shoal_status make_copies(shoal_bench_linears *l, const shoal_linear_spec *spec,
                                uint64_t bytes, shoal_cpu_level cap)
{
    shoal_linear_size size;
    uint64_t random = 1;
    void *copies;
    SHOAL_TRY(shoal_linear_measure(spec, &size));
    l->bytes = size.bytes - size.segments_bytes;
    const uint64_t wanted = (bytes + l->bytes - 1) / l->bytes;
    l->count = wanted < 1 ? 1 : wanted > COPIES_MAX ? COPIES_MAX : (int)wanted;
    SHOAL_TRY(shoal_arena_array(l->arena, (uint64_t)l->count, sizeof *l->copies, &copies));
    l->copies = copies;
    for (int i = 0; i < l->count; i++) {
        SHOAL_TRY(shoal_linear_create(spec, cap, l->arena, &l->copies[i]));
        fill_weights(&random, &l->copies[i]);
    }
    return SHOAL_OK;
}

static shoal_status make_rows(shoal_bench_linears *l, shoal_cpu_level cap)
{
    uint64_t random = 2;
    void *source, *out;
    const uint64_t elements = (uint64_t)(l->rows_max * SHOAL_BENCH_K);
    SHOAL_TRY(shoal_act_create(l->copies, NULL, l->rows_max, l->arena, &l->act));
    SHOAL_TRY(shoal_arena_array(l->arena, (uint64_t)(l->rows_max * l->n), sizeof(float), &out));
    SHOAL_TRY(shoal_arena_array(l->arena, elements, sizeof(float), &source));
    shoal_bench_noise_floats(&random, SHOAL_F32, -1, true, source, elements * sizeof(float));
    shoal_quantize_rows(cap, source, SHOAL_BENCH_K, 0, l->rows_max, &l->act, NULL);
    l->source = source;
    l->out = out;
    return SHOAL_OK;
}

shoal_status shoal_bench_linears_open(const shoal_bench_format *format, int64_t n, int64_t rows_max,
                                      uint64_t bytes, shoal_cpu_level cap, shoal_bench_linears *out)
{
    const shoal_linear_spec spec = spec_of(format, n);
    shoal_bench_linears l = {.format = format, .n = n, .rows_max = rows_max};
    shoal_status st;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_WEIGHTS, &l.arena));
    SHOAL_TRY_GOTO(make_copies(&l, &spec, bytes, cap), destroy);
    SHOAL_TRY_GOTO(make_rows(&l, cap), destroy);
    *out = l;
    return SHOAL_OK;

destroy:
    shoal_bench_linears_close(&l);
    return st;
}

void shoal_bench_linears_close(shoal_bench_linears *linears)
{
    shoal_arena_destroy(linears->arena);
    *linears = (shoal_bench_linears){0};
}

const char *shoal_bench_linears_row(const shoal_bench_linears *linears, int64_t rows)
{
    const shoal_linear *w = linears->copies;
    return (rows <= SHOAL_DECODE_ROWS ? w->decode : w->prefill)->name;
}

static shoal_linear *next_copy(shoal_bench_linears *l)
{
    l->next = (l->next + 1) % l->count;
    return &l->copies[l->next];
}

static void call(shoal_bench_linears *l, const shoal_bench_yard *yard, const shoal_linear *w,
                 int64_t rows)
{
    const shoal_whole_job job = {.linear = w, .act = &l->act, .out = l->out, .ld = l->n};
    shoal_linear_whole(yard->pool, &job, 1, rows);
}

/* Do the outputs of a panel in one row have the reference's bits? */
static bool same(const shoal_bench_linears *l, const shoal_linear *w, int64_t row, int64_t panel)
{
    _Alignas(64) float acc[SHOAL_PANEL] = {0};
    shoal_linear_accumulate_ref(w, &l->act, row, 1, panel, 0, w->size.segments, acc);
    return memcmp(acc, l->out + row * l->n + panel * SHOAL_PANEL, sizeof acc) == 0;
}

shoal_status shoal_bench_linears_check(shoal_bench_linears *linears, const shoal_bench_yard *yard,
                                       int64_t rows)
{
    const shoal_linear *w = next_copy(linears);
    const int64_t panels[] = {0, w->size.panels / 2, w->size.panels - 1};
    const int64_t some[] = {0, rows / 3, rows / 2, rows - 1};
    call(linears, yard, w, rows);
    for (size_t p = 0; p < sizeof panels / sizeof *panels; p++)
        for (size_t r = 0; r < sizeof some / sizeof *some; r++)
            if (!same(linears, w, some[r], panels[p]))
                return shoal_fail(
                    SHOAL_ERR_INTERNAL,
                    "%s: outputs %lld to %lld of input row %lld differ from the reference",
                    shoal_bench_linears_row(linears, rows), (long long)(panels[p] * SHOAL_PANEL),
                    (long long)((panels[p] + 1) * SHOAL_PANEL - 1), (long long)some[r]);
    return SHOAL_OK;
}

typedef struct {
    shoal_bench_linears *linears;
    shoal_cpu_level cap;
    int64_t rows;
} quantization;

static void quantize_share(void *context, int thread, int threads)
{
    const quantization *q = context;
    shoal_bench_linears *l = q->linears;
    int64_t begin, end;
    shoal_share(q->rows, thread, threads, &begin, &end);
    shoal_quantize_rows(q->cap, l->source + begin * SHOAL_BENCH_K, SHOAL_BENCH_K, begin,
                        end - begin, &l->act, NULL);
}

double shoal_bench_linears_seconds(shoal_bench_linears *linears, const shoal_bench_yard *yard,
                                   int64_t rows, bool quantizes, int calls)
{
    quantization job = {.linears = linears, .cap = yard->cap, .rows = rows};
    const double begin = shoal_clock_seconds();
    for (int i = 0; i < calls; i++) {
        if (quantizes)
            shoal_pool_run(yard->pool, quantize_share, &job);
        call(linears, yard, next_copy(linears), rows);
    }
    return (shoal_clock_seconds() - begin) / calls;
}

double shoal_bench_linears_read(shoal_bench_linears *linears, const shoal_bench_yard *yard,
                                uint64_t bytes)
{
    double seconds = 0, read = 0;
    while (read < (double)bytes) {
        const shoal_linear *w = next_copy(linears);
        const double codes = 1e-9 * (double)w->size.codes_bytes;
        seconds += codes / shoal_bench_yard_read(yard, w->codes, w->size.codes_bytes);
        read += 1e9 * codes;
    }
    return 1e-9 * read / seconds;
}

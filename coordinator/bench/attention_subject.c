#include "coordinator/bench/attention_subject.h"

#include <math.h>
#include <string.h>

#include "coordinator/bench/noise.h"
#include "coordinator/clock.h"
#include "kernels/kv.h"
#include "kernels/ops.h"
#include "proto/bytes.h"

#define SEQUENCES_MAX 4096

static int64_t pages_of(const shoal_bench_kernel *kernel)
{
    return kernel->positions / SHOAL_PAGE;
}

/* ---- the cache ------------------------------------------------------------------------------- */

/* Every page of an int8 cache ends with its scales. */
static void fill_int8(uint64_t *random, const shoal_kv_layer *kv)
{
    const uint64_t each = shoal_kv_head_bytes(kv->type, kv->head_dim);
    const uint64_t scales = (uint64_t)shoal_kv_scales_at(kv->head_dim);
    uint8_t *at = kv->base;
    for (int64_t i = 0; i < kv->pages * kv->kv_heads; i++, at += each) {
        shoal_bench_noise_int8(random, at, scales);
        shoal_bench_noise_floats(random, SHOAL_F32, -7, false, at + scales, each - scales);
    }
}

static shoal_status make_cache(shoal_bench_attention *a, uint64_t bytes)
{
    const shoal_bench_kernel *kernel = a->kernel;
    const int64_t pages = pages_of(kernel);
    const uint64_t page =
        (uint64_t)kernel->kv_heads * shoal_kv_head_bytes(kernel->kv, kernel->head_dim);
    uint64_t random = 3;
    void *base, *table;
    a->bytes = (uint64_t)pages * page;
    a->count = shoal_min_i64((int64_t)((bytes + a->bytes - 1) / a->bytes), SEQUENCES_MAX);
    a->count = shoal_max_i64(a->count, 1);
    a->kv = (shoal_kv_layer){.pages = a->count * pages,
                             .kv_heads = kernel->kv_heads,
                             .head_dim = kernel->head_dim,
                             .type = kernel->kv};
    SHOAL_TRY(shoal_arena_alloc(a->arena, (uint64_t)a->count * a->bytes, &base));
    SHOAL_TRY(shoal_arena_array(a->arena, (uint64_t)a->kv.pages, sizeof(int32_t), &table));
    a->kv.base = base;
    a->pages = table;
    for (int64_t i = 0; i < a->kv.pages; i++)
        a->pages[i] = (int32_t)i;
    if (kernel->kv == SHOAL_KV_INT8)
        fill_int8(&random, &a->kv);
    else
        shoal_bench_noise_floats(&random, kernel->kv == SHOAL_KV_F16 ? SHOAL_F16 : SHOAL_F32, -1,
                                 true, base, (uint64_t)a->count * a->bytes);
    return SHOAL_OK;
}

/* ---- the rows -------------------------------------------------------------------------------- */

static shoal_status make_row_array(shoal_bench_attention *a, uint64_t seed, int64_t width,
                                   float **out)
{
    const uint64_t elements = (uint64_t)(a->kernel->rows * width);
    void *block;
    SHOAL_TRY(shoal_arena_array(a->arena, elements, sizeof(float), &block));
    shoal_bench_noise_floats(&seed, SHOAL_F32, -1, true, block, elements * sizeof(float));
    *out = block;
    return SHOAL_OK;
}

static shoal_status make_rows(shoal_bench_attention *a)
{
    const int64_t queries = a->kernel->heads * a->kernel->head_dim;
    const int64_t keys = a->kernel->kv_heads * a->kernel->head_dim;
    SHOAL_TRY(make_row_array(a, 4, queries, &a->q));
    SHOAL_TRY(make_row_array(a, 5, keys, &a->k));
    SHOAL_TRY(make_row_array(a, 6, keys, &a->v));
    SHOAL_TRY(make_row_array(a, 7, queries, &a->out));
    return make_row_array(a, 8, queries, &a->right);
}

static shoal_status open_backends(shoal_bench_attention *a, int threads, shoal_cpu_level cap)
{
    shoal_backend_options options = {.threads = threads, .cap = cap};
    SHOAL_TRY(shoal_backend_cpu_open(&options, &a->backend));
    options.cap = SHOAL_CPU_REF;
    return shoal_backend_cpu_open(&options, &a->reference);
}

shoal_status shoal_bench_attention_open(const shoal_bench_kernel *kernel, int threads,
                                        shoal_cpu_level cap, uint64_t bytes,
                                        shoal_bench_attention *out)
{
    shoal_bench_attention a = {.kernel = kernel};
    shoal_status st;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_KV, &a.arena));
    SHOAL_TRY_GOTO(make_cache(&a, bytes), destroy);
    SHOAL_TRY_GOTO(make_rows(&a), destroy);
    SHOAL_TRY_GOTO(open_backends(&a, threads, cap), destroy);
    *out = a;
    return SHOAL_OK;

destroy:
    shoal_bench_attention_close(&a);
    return st;
}

void shoal_bench_attention_close(shoal_bench_attention *attention)
{
    shoal_backend *const backends[] = {attention->backend, attention->reference};
    for (int i = 0; i < 2; i++)
        if (backends[i])
            backends[i]->ops->close(backends[i]);
    shoal_arena_destroy(attention->arena);
    *attention = (shoal_bench_attention){0};
}

/* ---- the step -------------------------------------------------------------------------------- */

/* Rows [row, row + rows) of sequence `which`, at the end of its positions, into `out`. */
static shoal_status attend(const shoal_bench_attention *a, shoal_backend *backend, int64_t which,
                           int64_t row, int64_t rows, float *out)
{
    const shoal_bench_kernel *kernel = a->kernel;
    const int64_t queries = kernel->heads * kernel->head_dim;
    const int64_t keys = kernel->kv_heads * kernel->head_dim;
    const shoal_sequence_rows sequence = {.rows = rows,
                                          .position = kernel->positions - kernel->rows + row,
                                          .pages = a->pages + which * pages_of(kernel)};
    const shoal_attention_args args = {
        .q = a->q + row * queries,
        .k = a->k + row * keys,
        .v = a->v + row * keys,
        .rows = rows,
        .heads = kernel->heads,
        .kv_heads = kernel->kv_heads,
        .group = kernel->heads / kernel->kv_heads,
        .head_dim = kernel->head_dim,
        .scale = 1.0f / sqrtf((float)kernel->head_dim),
        .sequences = &sequence,
        .sequence_count = 1,
        .kv = &a->kv,
        .out = out + row * queries,
    };
    return backend->ops->attention(backend, &args);
}

static int64_t next_sequence(shoal_bench_attention *a)
{
    a->next = (a->next + 1) % a->count;
    return a->next;
}

/* A row alone has the bits that it has among others, and finds the same keys and values. */
shoal_status shoal_bench_attention_check(shoal_bench_attention *attention)
{
    shoal_bench_attention *a = attention;
    const int64_t rows = a->kernel->rows, which = next_sequence(a);
    const int64_t width = a->kernel->heads * a->kernel->head_dim;
    const int64_t some[] = {0, rows / 5, rows / 2, rows - 1};
    SHOAL_TRY(attend(a, a->backend, which, 0, rows, a->out));
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const int64_t at = some[i] * width;
        SHOAL_TRY(attend(a, a->reference, which, some[i], 1, a->right));
        if (memcmp(a->out + at, a->right + at, (size_t)width * sizeof *a->out) != 0)
            return shoal_fail(SHOAL_ERR_INTERNAL,
                              "%s: attention of row %lld differs from the reference",
                              shoal_backend_cpu_attention_row(a->backend), (long long)some[i]);
        if (rows == 1)
            break;
    }
    return SHOAL_OK;
}

shoal_status shoal_bench_attention_seconds(shoal_bench_attention *attention, int calls, double *out)
{
    shoal_bench_attention *a = attention;
    const double begin = shoal_clock_seconds();
    for (int i = 0; i < calls; i++)
        SHOAL_TRY(attend(a, a->backend, next_sequence(a), 0, a->kernel->rows, a->out));
    *out = (shoal_clock_seconds() - begin) / calls;
    return SHOAL_OK;
}

double shoal_bench_attention_read(shoal_bench_attention *attention, const shoal_bench_yard *yard,
                                  uint64_t bytes)
{
    double seconds = 0, read = 0;
    while (read < (double)bytes) {
        const uint8_t *from =
            attention->kv.base + (uint64_t)next_sequence(attention) * attention->bytes;
        const double each = (double)attention->bytes;
        seconds += 1e-9 * each / shoal_bench_yard_read(yard, from, attention->bytes);
        read += each;
    }
    return 1e-9 * read / seconds;
}

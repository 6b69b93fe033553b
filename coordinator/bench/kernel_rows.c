#include "coordinator/bench/kernel_rows.h"

#include <regex.h>
#include <stdio.h>

#include "proto/bytes.h"

/* Caches of a machine that does not tell. */
#define L2_USUAL (INT64_C(1) << 20)
#define L3_USUAL (INT64_C(16) << 20)

static const shoal_bench_format int4_g128 = {"int4-g128", SHOAL_WEIGHT_INT4, SHOAL_F16, 128,
                                             128,         SHOAL_PEAK_INT4};
static const shoal_bench_format int4_g32 = {"int4-g32", SHOAL_WEIGHT_INT4, SHOAL_F16, 32,
                                            128,        SHOAL_PEAK_INT4};
static const shoal_bench_format int4_channel = {
    "int4-channel", SHOAL_WEIGHT_INT4, SHOAL_F16, 0, 128, SHOAL_PEAK_INT4};
static const shoal_bench_format int8 = {"int8", SHOAL_WEIGHT_INT8, SHOAL_F16, 0,
                                        128,    SHOAL_PEAK_INT8};
static const shoal_bench_format int8_g128 = {"int8-g128", SHOAL_WEIGHT_INT8, SHOAL_F16, 128,
                                             128,         SHOAL_PEAK_INT8};
static const shoal_bench_format int8_token = {"int8-token",   SHOAL_WEIGHT_INT8, SHOAL_F16, 0, 0,
                                              SHOAL_PEAK_INT8};
static const shoal_bench_format int4_g128_bf16 = {
    "int4-g128-bf16", SHOAL_WEIGHT_INT4, SHOAL_F16, 128, 128, SHOAL_PEAK_BF16};
static const shoal_bench_format int4_f32act = {
    "f32act-int4-g128", SHOAL_WEIGHT_INT4, SHOAL_F16, 128, 0, SHOAL_PEAK_F32};
static const shoal_bench_format bf16 = {"bf16", SHOAL_WEIGHT_FLOAT, SHOAL_BF16, 0,
                                        0,      SHOAL_PEAK_F32};

#define STREAM(label, weights, m, bound, threads)                                                  \
    {                                                                                              \
        .name = label, .format = &(weights), .n = 4096, .rows = (m), .place = SHOAL_BENCH_DRAM,    \
        .limit = SHOAL_BENCH_LIMIT_##bound, .threads_max = (threads)                               \
    }
#define SLICE(label, weights, where)                                                               \
    {                                                                                              \
        .name = label, .format = &(weights), .rows = 1, .place = SHOAL_BENCH_##where,              \
        .limit = SHOAL_BENCH_LIMIT_READ, .threads_max = 1                                          \
    }
#define GEMM(label, weights, outputs, threads)                                                     \
    {                                                                                              \
        .name = label, .format = &(weights), .n = (outputs), .rows = 512,                          \
        .place = SHOAL_BENCH_ONCE, .limit = SHOAL_BENCH_LIMIT_PEAK, .threads_max = (threads)       \
    }
#define ALONE(outputs, m)                                                                          \
    {                                                                                              \
        .name = "linear.int4-g128.4096x" #outputs ".m" #m ".dram", .format = &int4_g128,           \
        .n = (outputs), .rows = (m), .place = SHOAL_BENCH_DRAM, .limit = SHOAL_BENCH_LIMIT_ROOF,   \
        .threads_max = 2, .quantizes = true                                                        \
    }
#define DECODE(label, dim, type, threads)                                                          \
    {                                                                                              \
        .name = label, .rows = 1, .place = SHOAL_BENCH_DRAM, .limit = SHOAL_BENCH_LIMIT_READ,      \
        .positions = 8192, .heads = 32, .kv_heads = 8, .head_dim = (dim), .kv = SHOAL_KV_##type,   \
        .threads_max = (threads)                                                                   \
    }
#define PREFILL(label, dim)                                                                        \
    {                                                                                              \
        .name = label, .rows = 2048, .place = SHOAL_BENCH_ONCE, .limit = SHOAL_BENCH_LIMIT_PEAK,   \
        .positions = 2048, .heads = 8, .kv_heads = 2, .head_dim = (dim), .kv = SHOAL_KV_F16,       \
        .threads_max = 1                                                                           \
    }

/* Neighbours share their weights: one format from DRAM is made once. */
const shoal_bench_kernel shoal_bench_kernels[] = {
    STREAM("gemv.int4-g128.dram", int4_g128, 1, READ, 2),
    STREAM("batch.int4-g128.m1.dram", int4_g128, 1, READ, 2),
    STREAM("batch.int4-g128.m4.dram", int4_g128, 4, BATCH, 2),
    STREAM("batch.int4-g128.m8.dram", int4_g128, 8, BATCH, 2),
    STREAM("batch.int4-g128.m16.dram", int4_g128, 16, BATCH, 2),
    STREAM("batch.int4-g128.m32.dram", int4_g128, 32, BATCH, 2),
    ALONE(4096, 1),
    ALONE(4096, 16),
    ALONE(4096, 128),
    ALONE(4096, 512),
    ALONE(14336, 1),
    ALONE(14336, 16),
    ALONE(14336, 128),
    ALONE(14336, 512),
    ALONE(28672, 1),
    ALONE(28672, 16),
    ALONE(28672, 128),
    ALONE(28672, 512),
    STREAM("gemv.int8.dram", int8, 1, READ, 2),
    STREAM("gemv.int4-g128-bf16.dram", int4_g128_bf16, 1, READ, 2),
    STREAM("float.bf16.dram", bf16, 1, READ, 2),
    STREAM("float.bf16.m4.dram", bf16, 4, READ, 2),
    SLICE("gemv.int4-g128.l3", int4_g128, L3),
    SLICE("gemv.int4-g128.l2", int4_g128, L2),
    GEMM("gemm.int4-g128.4096x4096.m512", int4_g128, 4096, 2),
    GEMM("gemm.int4-g128.4096x14336.m512", int4_g128, 14336, 2),
    GEMM("gemm.int4-g32.4096x4096.m512", int4_g32, 4096, 1),
    GEMM("gemm.int4-g32.4096x14336.m512", int4_g32, 14336, 1),
    GEMM("gemm.int4-channel.4096x4096.m512", int4_channel, 4096, 1),
    GEMM("gemm.int4-channel.4096x14336.m512", int4_channel, 14336, 1),
    GEMM("gemm.int8-token.4096x4096.m512", int8_token, 4096, 2),
    GEMM("gemm.int8-token.4096x14336.m512", int8_token, 14336, 2),
    GEMM("gemm.int8-g128.4096x4096.m512", int8_g128, 4096, 1),
    GEMM("gemm.int8-g128.4096x14336.m512", int8_g128, 14336, 1),
    GEMM("gemm.int4-g128-bf16.4096x4096.m512", int4_g128_bf16, 4096, 2),
    GEMM("gemm.bf16.4096x4096.m512", bf16, 4096, 1),
    GEMM("gemm.f32act-int4-g128.4096x4096.m512", int4_f32act, 4096, 1),
    DECODE("attn.decode.8k", 128, F16, 2),
    DECODE("attn.decode.8k.hd64", 64, F16, 2),
    DECODE("attn.decode.8k.int8", 128, INT8, 2),
    PREFILL("attn.prefill.2k", 128),
    PREFILL("attn.prefill.2k.hd64", 64),
};

const size_t shoal_bench_kernel_count = sizeof shoal_bench_kernels / sizeof shoal_bench_kernels[0];

_Static_assert(sizeof shoal_bench_kernels / sizeof shoal_bench_kernels[0] *
                       SHOAL_BENCH_THREADS_MAX <=
                   SHOAL_BENCH_KERNEL_ROWS_MAX,
               "every kernel has room for a row per number of threads");

static size_t select_rows(const regex_t *expression, int threads_max, shoal_bench_kernel_row *rows)
{
    char name[SHOAL_BENCH_NAME_MAX];
    size_t count = 0;
    for (size_t i = 0; i < shoal_bench_kernel_count; i++) {
        const shoal_bench_kernel *kernel = &shoal_bench_kernels[i];
        for (int t = 1; t <= kernel->threads_max && t <= threads_max; t++) {
            shoal_bench_kernel_name(kernel, t, name);
            if (!expression || regexec(expression, name, 0, NULL, 0) == 0)
                rows[count++] = (shoal_bench_kernel_row){kernel, t};
        }
    }
    return count;
}

shoal_status shoal_bench_kernel_select(const char *pattern, int threads_max,
                                       shoal_bench_kernel_row rows[SHOAL_BENCH_KERNEL_ROWS_MAX],
                                       size_t *count)
{
    regex_t expression;
    char why[128];
    const int error = pattern ? regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB) : 0;
    if (error) {
        (void)regerror(error, &expression, why, sizeof why);
        return shoal_fail(SHOAL_ERR_USAGE, "--rows: '%.100s': %s", pattern, why);
    }
    const size_t found = select_rows(pattern ? &expression : NULL, threads_max, rows);
    if (pattern)
        regfree(&expression);
    if (found == 0)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--rows: no row with up to %d threads matches '%.100s'; rows are named "
                          "like gemv.int4-g128.dram.t1",
                          threads_max, pattern ? pattern : "");
    *count = found;
    return SHOAL_OK;
}

void shoal_bench_kernel_name(const shoal_bench_kernel *kernel, int threads,
                             char out[SHOAL_BENCH_NAME_MAX])
{
    (void)snprintf(out, SHOAL_BENCH_NAME_MAX, "%s.t%d", kernel->name, threads);
}

double shoal_bench_kernel_operations(const shoal_bench_kernel *kernel, int64_t n)
{
    if (kernel->format)
        return 2.0 * (double)kernel->rows * (double)n * SHOAL_BENCH_K;
    /* Row i of the last `rows` positions sees all before it and itself. */
    const double rows = (double)kernel->rows, before = (double)kernel->positions - rows;
    const double seen = rows * before + rows * (rows + 1) / 2;
    return 2 * 2 * seen * (double)(kernel->heads * kernel->head_dim);
}

/* int4 slices: half a byte a code, scales beside them left out. */
int64_t shoal_bench_kernel_outputs(const shoal_bench_kernel *kernel, int64_t l2, int64_t l3)
{
    if (kernel->n > 0 || !kernel->format)
        return kernel->n;
    l2 = l2 > 0 ? l2 : L2_USUAL;
    l3 = l3 > l2 ? l3 : L3_USUAL;
    const int64_t room = kernel->place == SHOAL_BENCH_L2 ? l2 / 2 : shoal_min_i64(4 * l2, l3 / 2);
    return shoal_max_i64(room / (SHOAL_BENCH_K / 2) / SHOAL_PANEL, 1) * SHOAL_PANEL;
}

/* coordinator/bench/kernel_rows.h - which kernels `shoal bench kernels` measures, on which shapes.
 *
 * A table of cases, each measured with one thread and some with two: pure, nothing runs here. A row
 * is named after its case, ".t1" or ".t2" behind it. K is 4096 for all linears. */
#ifndef SHOAL_COORDINATOR_BENCH_KERNEL_ROWS_H
#define SHOAL_COORDINATOR_BENCH_KERNEL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/yardstick.h"
#include "proto/status.h"

#define SHOAL_BENCH_K 4096

typedef struct {
    const char *name; /* "int4-g128" */
    shoal_weight_kind kind;
    shoal_dtype dtype;
    int64_t group, act_group;   /* 0: the whole K                                              */
    shoal_peak_product product; /* the peak that limits it; of fp32: inputs are fp32           */
} shoal_bench_format;

typedef enum {
    SHOAL_BENCH_ONCE, /* one linear, over and over                                               */
    SHOAL_BENCH_DRAM, /* so many copies in rotation that no cache holds them                    */
    SHOAL_BENCH_L3,   /* as many columns as fit the third cache, not the second                  */
    SHOAL_BENCH_L2    /* as many columns as fit the second cache                                 */
} shoal_bench_place;

typedef enum {
    SHOAL_BENCH_LIMIT_READ, /* GB/s of reading the same bytes where they are                     */
    SHOAL_BENCH_LIMIT_PEAK, /* GOPS of the best instruction                                      */
    SHOAL_BENCH_LIMIT_ROOF, /* GOPS of the longer of time(read) and time(peak)                   */
    SHOAL_BENCH_LIMIT_BATCH /* GB/s that 1.1 x the longer of time(one row) and time(peak) gives  */
} shoal_bench_limit;

typedef struct {
    const char *name;
    const shoal_bench_format *format; /* of a linear; NULL: attention                            */
    int64_t n, rows;                  /* outputs (0: by place); input rows, or queries           */
    shoal_bench_place place;          /*                                                         */
    shoal_bench_limit limit;          /*                                                         */
    int64_t positions, heads, kv_heads, head_dim; /* attention                                   */
    shoal_kv_type kv;                             /* attention                                   */
    int threads_max;                              /* 1: only .t1                                 */
    bool quantizes;                               /* a linear's inputs are f32, quantized in each
                                                   * call, as other libraries' linears do it     */
} shoal_bench_kernel;

extern const shoal_bench_kernel shoal_bench_kernels[];
extern const size_t shoal_bench_kernel_count;

/* A kernel with so many threads. */
typedef struct {
    const shoal_bench_kernel *kernel;
    int threads;
} shoal_bench_kernel_row;

/* Threads a row may have, and rows there can be. */
#define SHOAL_BENCH_THREADS_MAX     2
#define SHOAL_BENCH_KERNEL_ROWS_MAX 128

/* The rows whose name `pattern` (an extended regular expression; NULL: all) matches somewhere, with
 * up to `threads_max` threads. SHOAL_ERR_USAGE when it is no expression or no row matches. */
SHOAL_MUST_USE shoal_status
shoal_bench_kernel_select(const char *pattern, int threads_max,
                          shoal_bench_kernel_row rows[SHOAL_BENCH_KERNEL_ROWS_MAX], size_t *count);

#define SHOAL_BENCH_NAME_MAX 64

/* "gemv.int4-g128.dram.t1" */
void shoal_bench_kernel_name(const shoal_bench_kernel *kernel, int threads,
                             char out[SHOAL_BENCH_NAME_MAX]);

/* What one call computes, multiplications and additions counted apart: of a linear over all its
 * rows; of attention the products with visible keys and values. */
double shoal_bench_kernel_operations(const shoal_bench_kernel *kernel, int64_t n);

/* Outputs of the linear: the kernel's own, or as many panels as its place has room for. Caches in
 * bytes, 0: unknown. */
int64_t shoal_bench_kernel_outputs(const shoal_bench_kernel *kernel, int64_t l2, int64_t l3);

#endif

/* coordinator/bench/linear_subject.h - a linear to be measured: random weights, inputs, results.
 *
 * Weights lie in memory as a loaded model's do. From DRAM there are so many copies that none is
 * still in a cache when its turn comes; kernel and yardstick take the copies by turns. */
#ifndef SHOAL_COORDINATOR_BENCH_LINEAR_SUBJECT_H
#define SHOAL_COORDINATOR_BENCH_LINEAR_SUBJECT_H

#include "coordinator/bench/kernel_rows.h"
#include "coordinator/bench/yard.h"
#include "kernels/act.h"

typedef struct {
    const shoal_bench_format *format;
    int64_t n, rows_max;
    shoal_arena *arena;
    shoal_linear *copies; /* [count] */
    int count, next;
    uint64_t bytes; /* of one copy's weights: codes and what belongs to them */
    float *source;  /* [rows_max][SHOAL_BENCH_K] */
    shoal_act act;  /* the same, quantized */
    float *out;     /* [rows_max][n] */
} shoal_bench_linears;

/* `bytes`: make copies up to so many bytes; at least one. */
SHOAL_MUST_USE shoal_status shoal_bench_linears_open(const shoal_bench_format *format, int64_t n,
                                                     int64_t rows_max, uint64_t bytes,
                                                     shoal_cpu_level cap, shoal_bench_linears *out);
void shoal_bench_linears_close(shoal_bench_linears *linears);

/* The table row that serves so many input rows. */
const char *shoal_bench_linears_row(const shoal_bench_linears *linears, int64_t rows);

/* Compare some outputs with the reference's: SHOAL_ERR_INTERNAL when a bit differs. */
SHOAL_MUST_USE shoal_status shoal_bench_linears_check(shoal_bench_linears *linears,
                                                      const shoal_bench_yard *yard, int64_t rows);

/* Seconds of one call, over `calls` calls on one copy after the other; `quantizes`: from f32
 * inputs, which each call quantizes. */
double shoal_bench_linears_seconds(shoal_bench_linears *linears, const shoal_bench_yard *yard,
                                   int64_t rows, bool quantizes, int calls);

/* GB/s of reading the codes of about `bytes` bytes of the next copies. */
double shoal_bench_linears_read(shoal_bench_linears *linears, const shoal_bench_yard *yard,
                                uint64_t bytes);

#endif

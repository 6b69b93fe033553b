/* coordinator/bench/attention_subject.h - attention to be measured: a cache full of random keys and
 * values, and the rows of one sequence that look at it.
 *
 * One row is a decode step: sequences take turns, so that no cache of the processor holds the keys
 * and values. Many rows are a prefill from position 0 on. */
#ifndef SHOAL_COORDINATOR_BENCH_ATTENTION_SUBJECT_H
#define SHOAL_COORDINATOR_BENCH_ATTENTION_SUBJECT_H

#include "coordinator/bench/kernel_rows.h"
#include "coordinator/bench/yard.h"

typedef struct {
    const shoal_bench_kernel *kernel;
    shoal_arena *arena;
    shoal_backend *backend, *reference;
    shoal_kv_layer kv;
    int32_t *pages;                 /* [count][pages of a sequence] */
    int64_t count, next;            /* sequences */
    uint64_t bytes;                 /* keys and values of one sequence */
    float *q, *k, *v, *out, *right; /* [rows][heads * head_dim] or [rows][kv_heads * head_dim] */
} shoal_bench_attention;

/* `bytes`: make sequences up to so many bytes of keys and values; at least one. */
SHOAL_MUST_USE shoal_status shoal_bench_attention_open(const shoal_bench_kernel *kernel,
                                                       int threads, shoal_cpu_level cap,
                                                       uint64_t bytes, shoal_bench_attention *out);
void shoal_bench_attention_close(shoal_bench_attention *attention);

/* Compare some rows with the reference's: SHOAL_ERR_INTERNAL when a bit differs. */
SHOAL_MUST_USE shoal_status shoal_bench_attention_check(shoal_bench_attention *attention);

/* *out = seconds of one step, over `calls` steps on one sequence after the other. */
SHOAL_MUST_USE shoal_status shoal_bench_attention_seconds(shoal_bench_attention *attention,
                                                          int calls, double *out);

/* GB/s of reading the keys and values of about `bytes` bytes of the next sequences. */
double shoal_bench_attention_read(shoal_bench_attention *attention, const shoal_bench_yard *yard,
                                  uint64_t bytes);

#endif

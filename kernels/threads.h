/* kernels/threads.h - a fixed pool that runs one function on all its threads.
 *
 * The caller is thread 0. A run returns when every thread has finished: that is the barrier of a
 * fused step, some half a microsecond for two threads. Waiting threads spin, then yield, then
 * sleep (kernels/counter.h), so an idle pool uses no CPU. Every thread makes sure that MXCSR is
 * 0x1F80 when it starts and at the beginning of every run (docs/arithmetic.md, 0). */
#ifndef SHOAL_KERNELS_THREADS_H
#define SHOAL_KERNELS_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct shoal_pool shoal_pool;

#define SHOAL_THREADS_MAX 4096

/* threads: 1 to SHOAL_THREADS_MAX, else SHOAL_ERR_USAGE; `crowded` says that more threads than
 * cores share this node: do not spin. */
SHOAL_MUST_USE shoal_status shoal_pool_create(int threads, bool crowded, shoal_pool **out);
void shoal_pool_destroy(shoal_pool *pool);

/* Thread t stays on processors[t] (as the kernel counts) from now on, the caller included, who gets
 * his affinity back when he destroys the pool. Once per pool. False, and nobody is moved, where
 * that is not allowed. */
bool shoal_pool_pin(shoal_pool *pool, const int *processors);

int shoal_pool_threads(const shoal_pool *pool);

typedef void (*shoal_pool_task)(void *context, int thread, int threads);

/* Run task(context, t, threads) on every thread t; not reentrant. A pool of 1 is a plain call. */
void shoal_pool_run(shoal_pool *pool, shoal_pool_task task, void *context);

/* The half-open share of `count` items of thread t of n: contiguous, sizes differ by at most 1. */
void shoal_share(int64_t count, int thread, int threads, int64_t *begin, int64_t *end);

/* Put this thread's floating-point environment into the state docs/arithmetic.md asks for. */
void shoal_fp_reset(void);

#endif

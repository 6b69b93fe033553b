#include "kernels/threads.h"

#include <assert.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/counter.h"
#include "proto/arena.h"

/* Numbers of runs rise from 1 and wrap. The first run of a thread is the one after its start. */
typedef struct {
    alignas(SHOAL_COUNTER_LINE) shoal_counter done; /* the last run this thread has finished */
    shoal_pool *pool;
    pthread_t handle;
    int thread;
} worker;

struct shoal_pool {
    /* The run to be done, and on the same line what it is. */
    alignas(SHOAL_COUNTER_LINE) shoal_counter start;
    shoal_pool_task task; /* NULL: leave */
    void *context;
    int threads;
    alignas(SHOAL_COUNTER_LINE) uint32_t run;
    bool crowded, pinned;
    cpu_set_t before; /* the caller's affinity until he was pinned */
    int started;
    worker *workers; /* [threads]; element 0, the caller, is unused */
    void *block;     /* what the pool lies in */
};

void shoal_fp_reset(void)
{
    (void)fesetround(FE_TONEAREST);
#if defined(__x86_64__)
    _mm_setcsr(0x1F80);
#endif
}

static bool fp_is_right(void)
{
#if defined(__x86_64__)
    return (_mm_getcsr() & ~0x3Fu) == 0x1F80; /* the low six bits are flags */
#else
    return fegetround() == FE_TONEAREST;
#endif
}

/* Debug builds: did the task leave the environment as it found it? */
static void check_fp(void)
{
    assert(fp_is_right());
}

void shoal_share(int64_t count, int thread, int threads, int64_t *begin, int64_t *end)
{
    const int64_t each = count / threads, rest = count % threads;
    *begin = each * thread + (thread < rest ? thread : rest);
    *end = *begin + each + (thread < rest);
}

static void run_task(const shoal_pool *pool, int thread)
{
    if (!fp_is_right())
        shoal_fp_reset();
    pool->task(pool->context, thread, pool->threads);
    check_fp();
}

static void *worker_main(void *argument)
{
    worker *me = argument;
    shoal_pool *pool = me->pool;
    shoal_fp_reset();
    for (uint32_t run = 1;; run++) {
        shoal_counter_wait(&pool->start, run, pool->crowded);
        if (!pool->task)
            return NULL;
        run_task(pool, me->thread);
        shoal_counter_raise(&me->done, run);
    }
}

static shoal_status start_workers(shoal_pool *pool)
{
    for (int t = 1; t < pool->threads; t++) {
        worker *w = &pool->workers[t];
        w->pool = pool;
        w->thread = t;
        const int error = pthread_create(&w->handle, NULL, worker_main, w);
        if (error)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "cannot start thread %d of %d: %s", t + 1,
                              pool->threads, strerror(error));
        pool->started = t;
    }
    return SHOAL_OK;
}

/* The next place in `block` where a counter's lines begin; blocks have a line to spare. */
static void *on_line(void *block)
{
    return (char *)block + (-(uintptr_t)block & (SHOAL_COUNTER_LINE - 1));
}

shoal_status shoal_pool_create(int threads, bool crowded, shoal_pool **out)
{
    void *block;
    if (threads < 1 || threads > SHOAL_THREADS_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%d threads; allowed are 1 to %d", threads,
                          SHOAL_THREADS_MAX);
    const uint64_t bytes =
        sizeof(shoal_pool) + (uint64_t)threads * sizeof(worker) + SHOAL_COUNTER_LINE;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, bytes, &block));
    shoal_pool *pool = on_line(block);
    pool->block = block;
    pool->crowded = crowded;
    pool->threads = threads;
    pool->workers = (worker *)(pool + 1);
    const shoal_status st = start_workers(pool);
    if (st != SHOAL_OK) {
        shoal_pool_destroy(pool);
        return st;
    }
    *out = pool;
    return SHOAL_OK;
}

void shoal_pool_destroy(shoal_pool *pool)
{
    if (!pool)
        return;
    pool->task = NULL;
    shoal_counter_raise(&pool->start, pool->run + 1);
    for (int t = 1; t <= pool->started; t++)
        (void)pthread_join(pool->workers[t].handle, NULL);
    if (pool->pinned)
        (void)pthread_setaffinity_np(pthread_self(), sizeof pool->before, &pool->before);
    shoal_free(pool->block);
}

static pthread_t handle_of(const shoal_pool *pool, int thread)
{
    return thread == 0 ? pthread_self() : pool->workers[thread].handle;
}

bool shoal_pool_pin(shoal_pool *pool, const int *processors)
{
    cpu_set_t before;
    if (pool->pinned || pthread_getaffinity_np(pthread_self(), sizeof before, &before) != 0)
        return false;
    bool done = true;
    for (int t = pool->threads - 1; t >= 0 && done; t--) {
        cpu_set_t one;
        CPU_ZERO(&one);
        const unsigned processor = (unsigned)processors[t];
        done = processor < CPU_SETSIZE;
        if (done)
            CPU_SET(processor, &one);
        done = done && pthread_setaffinity_np(handle_of(pool, t), sizeof one, &one) == 0;
    }
    for (int t = 1; t < pool->threads && !done; t++)
        (void)pthread_setaffinity_np(handle_of(pool, t), sizeof before, &before);
    if (done)
        pool->before = before;
    pool->pinned = done;
    return done;
}

int shoal_pool_threads(const shoal_pool *pool)
{
    return pool->threads;
}

void shoal_pool_run(shoal_pool *pool, shoal_pool_task task, void *context)
{
    pool->task = task;
    pool->context = context;
    if (pool->threads > 1)
        shoal_counter_raise(&pool->start, ++pool->run);
    run_task(pool, 0);
    for (int t = 1; t < pool->threads; t++)
        shoal_counter_wait(&pool->workers[t].done, pool->run, pool->crowded);
}

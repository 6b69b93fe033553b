#include "kernels/threads.h"

#include <assert.h>
#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "proto/arena.h"

/* A wait spins (at most about a tenth of a millisecond: the gap between two fused steps), then
 * yields some times, then sleeps. */
#define SPINS  2000
#define YIELDS 64

_Static_assert(sizeof(_Atomic int) == sizeof(int), "the futex word is a plain int");

/* A word that one side raises and the other waits for. `sleepers` keeps the raising side free of
 * system calls while nobody sleeps. Each on its own cache line. */
typedef struct {
    _Alignas(64) _Atomic int value;
    _Atomic int sleepers;
} gate;

struct shoal_pool {
    gate start; /* number of the run, wraps               */
    gate done;  /* threads that finished, over all runs   */
    shoal_pool_task task;
    void *context;
    _Atomic bool leave;
    bool crowded;
    int threads, started;
    struct worker {
        shoal_pool *pool;
        pthread_t handle;
        int thread;
    } * workers; /* [threads]; element 0, the caller, is unused */
};

void shoal_fp_reset(void)
{
    (void)fesetround(FE_TONEAREST);
#if defined(__x86_64__)
    _mm_setcsr(0x1F80);
#endif
}

/* Debug builds: did the task leave the environment as it found it? The low six bits are flags. */
static void check_fp(void)
{
#if defined(__x86_64__)
    assert((_mm_getcsr() & ~0x3Fu) == 0x1F80);
#endif
    assert(fegetround() == FE_TONEAREST);
}

void shoal_share(int64_t count, int thread, int threads, int64_t *begin, int64_t *end)
{
    const int64_t each = count / threads, rest = count % threads;
    *begin = each * thread + (thread < rest ? thread : rest);
    *end = *begin + each + (thread < rest);
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

static void raise_gate(gate *g, int by)
{
    atomic_fetch_add(&g->value, by);
    if (atomic_load(&g->sleepers) > 0)
        (void)syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Sequential consistency makes "count me as a sleeper, then look" meet "raise, then look for
 * sleepers": one of the two sides always sees the other. */
static void sleep_at(gate *g, int seen)
{
    atomic_fetch_add(&g->sleepers, 1);
    if (atomic_load(&g->value) == seen)
        (void)syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
}

/* Has the counter reached `target`? Both wrap; they are never 2^31 apart. */
static bool reached(int value, int target)
{
    return (int)((unsigned)value - (unsigned)target) >= 0;
}

static void wait_gate(gate *g, int target, bool crowded)
{
    const int spins = crowded ? 0 : SPINS;
    for (int tries = 0;; tries++) {
        const int value = atomic_load(&g->value);
        if (reached(value, target))
            return;
        if (tries < spins)
            pause_cpu();
        else if (tries < spins + YIELDS)
            (void)sched_yield();
        else
            sleep_at(g, value);
    }
}

static int next(int value)
{
    return (int)((unsigned)value + 1u);
}

static void *worker_main(void *argument)
{
    struct worker *me = argument;
    shoal_pool *pool = me->pool;
    shoal_fp_reset();
    for (int run = 1;; run = next(run)) {
        wait_gate(&pool->start, run, pool->crowded);
        if (atomic_load(&pool->leave))
            return NULL;
        shoal_fp_reset();
        pool->task(pool->context, me->thread, pool->threads);
        check_fp();
        raise_gate(&pool->done, 1);
    }
}

static shoal_status start_workers(shoal_pool *pool)
{
    for (int t = 1; t < pool->threads; t++) {
        struct worker *w = &pool->workers[t];
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

shoal_status shoal_pool_create(int threads, bool crowded, shoal_pool **out)
{
    shoal_pool *pool = NULL;
    void *block;
    if (threads < 1 || threads > SHOAL_THREADS_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%d threads; allowed are 1 to %d", threads,
                          SHOAL_THREADS_MAX);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof *pool, &block));
    pool = block;
    pool->crowded = crowded;
    pool->threads = threads;
    shoal_status st =
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)threads, sizeof *pool->workers, &block);
    if (st != SHOAL_OK)
        goto destroy;
    pool->workers = block;
    SHOAL_TRY_GOTO(start_workers(pool), destroy);
    *out = pool;
    return SHOAL_OK;

destroy:
    shoal_pool_destroy(pool);
    return st;
}

void shoal_pool_destroy(shoal_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->leave, true);
    raise_gate(&pool->start, 1);
    for (int t = 1; t <= pool->started; t++)
        (void)pthread_join(pool->workers[t].handle, NULL);
    shoal_free(pool->workers);
    shoal_free(pool);
}

int shoal_pool_threads(const shoal_pool *pool)
{
    return pool->threads;
}

void shoal_pool_run(shoal_pool *pool, shoal_pool_task task, void *context)
{
    shoal_fp_reset();
    if (pool->threads > 1) {
        pool->task = task;
        pool->context = context;
        raise_gate(&pool->start, 1);
    }
    task(context, 0, pool->threads);
    check_fp();
    if (pool->threads > 1) {
        const unsigned runs = (unsigned)atomic_load(&pool->start.value);
        wait_gate(&pool->done, (int)(runs * (unsigned)(pool->threads - 1)), pool->crowded);
    }
}

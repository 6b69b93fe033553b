/* The pool: every thread runs every task exactly once, a run is a barrier, idleness costs nothing,
 * and the floating-point environment inside a task is the one docs/arithmetic.md rule 0 asks for.
 */
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cmocka.h>

#include "kernels/threads.h"
#include "proto/arena.h"

#define MOST 9

static void test_share(void **state)
{
    (void)state;
    for (int64_t count = 0; count < 40; count++) {
        for (int threads = 1; threads < 12; threads++) {
            int64_t at = 0;
            for (int t = 0; t < threads; t++) {
                int64_t begin, end;
                shoal_share(count, t, threads, &begin, &end);
                assert_int_equal(begin, at);
                assert_in_range(end - begin, count / threads, count / threads + 1);
                at = end;
            }
            assert_int_equal(at, count);
        }
    }
}

typedef struct {
    int ran[MOST]; /* plain ints: the barrier alone must make them visible */
    int threads_seen[MOST];
} marks;

static void mark(void *context, int thread, int threads)
{
    marks *m = context;
    m->ran[thread]++;
    m->threads_seen[thread] = threads;
}

static void run_many(int threads, bool crowded, int runs)
{
    shoal_pool *pool;
    marks m;
    memset(&m, 0, sizeof m);
    assert_int_equal(shoal_pool_create(threads, crowded, &pool), SHOAL_OK);
    assert_int_equal(shoal_pool_threads(pool), threads);
    for (int r = 1; r <= runs; r++) {
        shoal_pool_run(pool, mark, &m);
        for (int t = 0; t < threads; t++) {
            assert_int_equal(m.ran[t], r);
            assert_int_equal(m.threads_seen[t], threads);
        }
    }
    shoal_pool_destroy(pool);
}

static void test_barrier(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST; threads += 2) {
        run_many(threads, false, 300);
        run_many(threads, true, 300);
    }
    run_many(2, false, 20000);
}

/* Runs with pauses long enough for everyone to fall asleep in between. */
static void test_wake(void **state)
{
    (void)state;
    shoal_pool *pool;
    marks m;
    memset(&m, 0, sizeof m);
    assert_int_equal(shoal_pool_create(3, false, &pool), SHOAL_OK);
    for (int r = 1; r <= 20; r++) {
        const struct timespec pause = {0, 2000000};
        (void)nanosleep(&pause, NULL);
        shoal_pool_run(pool, mark, &m);
        assert_int_equal(m.ran[0] + m.ran[1] + m.ran[2], 3 * r);
    }
    shoal_pool_destroy(pool);
}

static double cpu_seconds(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void test_idle(void **state)
{
    (void)state;
    shoal_pool *pool;
    marks m;
    memset(&m, 0, sizeof m);
    assert_int_equal(shoal_pool_create(4, false, &pool), SHOAL_OK);
    shoal_pool_run(pool, mark, &m);
    const struct timespec settle = {0, 100000000}, pause = {0, 400000000};
    (void)nanosleep(&settle, NULL);
    const double before = cpu_seconds();
    (void)nanosleep(&pause, NULL);
    assert_true(cpu_seconds() - before < 0.02); /* of 0.4 s x 3 threads */
    shoal_pool_destroy(pool);
}

typedef struct {
    _Atomic int wrong;
} environment;

static void look(void *context, int thread, int threads)
{
    environment *e = context;
    (void)thread;
    (void)threads;
    if (fegetround() != FE_TONEAREST)
        atomic_fetch_add(&e->wrong, 1);
#if defined(__x86_64__)
    if ((_mm_getcsr() & ~0x3Fu) != 0x1F80)
        atomic_fetch_add(&e->wrong, 1);
#endif
    volatile float tiny = 0x1p-126f;
    volatile float half = 0.5f;
    if (tiny * half == 0.0f) /* denormals stay on */
        atomic_fetch_add(&e->wrong, 1);
}

#if defined(NDEBUG) /* a debug build stops at the task that does this */
static void spoil(void *context, int thread, int threads)
{
    (void)context;
    (void)thread;
    (void)threads;
    (void)fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

/* What a loaded library does to a thread in one run is gone in the next. */
static void test_spoiled(void **state)
{
    (void)state;
    shoal_pool *pool;
    environment e = {0};
    assert_int_equal(shoal_pool_create(3, false, &pool), SHOAL_OK);
    for (int i = 0; i < 3; i++) {
        shoal_pool_run(pool, spoil, NULL);
        shoal_pool_run(pool, look, &e);
        assert_int_equal(e.wrong, 0);
    }
    shoal_pool_destroy(pool);
}
#endif

static void test_environment(void **state)
{
    (void)state;
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (int threads = 1; threads <= 3; threads += 2) {
        for (size_t i = 0; i < 3; i++) {
            shoal_pool *pool;
            environment e = {0};
            (void)fesetround(modes[i]); /* inherited by new threads, and set on the caller */
#if defined(__x86_64__)
            _mm_setcsr(_mm_getcsr() | 0x8040); /* flush to zero, denormals are zero */
#endif
            assert_int_equal(shoal_pool_create(threads, false, &pool), SHOAL_OK);
            shoal_pool_run(pool, look, &e);
            assert_int_equal(e.wrong, 0);
            (void)fesetround(modes[i]);
            shoal_pool_run(pool, look, &e);
            assert_int_equal(e.wrong, 0);
            shoal_pool_destroy(pool);
        }
    }
    assert_int_equal(fegetround(), FE_TONEAREST);
}

static void test_refusals(void **state)
{
    (void)state;
    shoal_pool *pool = NULL;
    assert_int_equal(shoal_pool_create(0, false, &pool), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_pool_create(-3, false, &pool), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_pool_create(1 << 20, false, &pool), SHOAL_ERR_USAGE);
    shoal_mem_fail_nth(1);
    assert_int_equal(shoal_pool_create(2, false, &pool), SHOAL_ERR_TEMPORARY);
    shoal_mem_fail_nth(0);
    assert_null(pool);
    shoal_pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(NDEBUG)
        cmocka_unit_test(test_spoiled),
#endif
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "kernels/counter.h"

#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Looks between two looks at the clock. */
#define SPIN_BATCH 16

double shoal_seconds_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* The futex is not private: waiters may be processes. */
void shoal_counter_wake(shoal_counter *counter)
{
    (void)syscall(SYS_futex, &counter->value, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The store and the look at `sleepers` must not change places (nor the sleeper's two steps below):
 * hence the full order instead of a release. */
void shoal_counter_raise(shoal_counter *counter, uint32_t value)
{
    atomic_store(&counter->value, value);
    if (atomic_load(&counter->sleepers) != 0)
        shoal_counter_wake(counter);
}

void shoal_counter_sleep(shoal_counter *counter, uint32_t value, long nanoseconds)
{
    const struct timespec limit = {0, nanoseconds};
    atomic_fetch_add(&counter->sleepers, 1);
    const uint32_t now = atomic_load(&counter->value);
    if ((int32_t)(now - value) < 0)
        (void)syscall(SYS_futex, &counter->value, FUTEX_WAIT, now, nanoseconds ? &limit : NULL,
                      NULL, 0);
    atomic_fetch_sub(&counter->sleepers, 1);
}

bool shoal_counter_watch(shoal_counter *counter, uint32_t value, bool crowded)
{
    if (shoal_counter_reached(counter, value))
        return true;
    const double begin = shoal_seconds_now();
    for (double waited = 0; waited < SHOAL_YIELD_SECONDS; waited = shoal_seconds_now() - begin) {
        if (crowded || waited > SHOAL_SPIN_SECONDS)
            (void)sched_yield();
        else
            for (int i = 0; i < SPIN_BATCH && !shoal_counter_reached(counter, value); i++)
                pause_briefly();
        if (shoal_counter_reached(counter, value))
            return true;
    }
    return false;
}

void shoal_counter_wait(shoal_counter *counter, uint32_t value, bool crowded)
{
    if (shoal_counter_watch(counter, value, crowded))
        return;
    while (!shoal_counter_reached(counter, value))
        shoal_counter_sleep(counter, value, 0);
}

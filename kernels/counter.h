/* kernels/counter.h - a rising number that threads or processes wait for.
 *
 * One side raises it, the others wait until it has reached a value: they spin for microseconds,
 * then yield, then sleep on a futex, so what waits long uses no CPU and what waits briefly costs no
 * system call. With more threads than cores spinning would keep the awaited one from running:
 * `crowded` waiters yield at once. Numbers wrap; they are compared by signed difference, so the two
 * sides may never be 2^31 apart.
 *
 * A counter may lie in memory shared by processes. Give it cache lines of its own
 * (SHOAL_COUNTER_LINE), and put beside it what only its readers want to read. */
#ifndef SHOAL_KERNELS_COUNTER_H
#define SHOAL_KERNELS_COUNTER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Two lines: x86 prefetches the neighbour. */
#define SHOAL_COUNTER_LINE 128

/* All zero is a counter that stands at 0. */
typedef struct {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers; /* keeps the raising side free of system calls while nobody sleeps */
} shoal_counter;

/* Only one thread raises a counter. What it wrote before is seen by whoever sees the new value. */
void shoal_counter_raise(shoal_counter *counter, uint32_t value);

/* Wake all sleepers to have another look at whatever made them wait. */
void shoal_counter_wake(shoal_counter *counter);

static inline bool shoal_counter_reached(shoal_counter *counter, uint32_t value)
{
    const uint32_t now = atomic_load_explicit(&counter->value, memory_order_acquire);
    return (int32_t)(now - value) >= 0;
}

/* Spin, then yield, for less than a millisecond in all; true as soon as the value is reached. */
bool shoal_counter_watch(shoal_counter *counter, uint32_t value, bool crowded);

/* Sleep once unless the value is reached, at most `nanoseconds` (below a second; 0: no limit). */
void shoal_counter_sleep(shoal_counter *counter, uint32_t value, long nanoseconds);

/* Wait as long as it takes. */
void shoal_counter_wait(shoal_counter *counter, uint32_t value, bool crowded);

/* Seconds on the monotonic clock. */
double shoal_seconds_now(void);

/* How long to spin, then to yield, before sleeping: for waits that have no counter, too. A wait
 * inside a step is mostly shorter than a sleep and a wake-up (some 50 us). */
#define SHOAL_SPIN_SECONDS  20e-6
#define SHOAL_YIELD_SECONDS 400e-6

#endif

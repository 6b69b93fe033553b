/* coordinator/clock.h - seconds on the monotonic clock: for deadlines and durations only. */
#ifndef SHOAL_COORDINATOR_CLOCK_H
#define SHOAL_COORDINATOR_CLOCK_H

#include <time.h>

static inline double shoal_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif

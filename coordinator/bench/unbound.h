/* coordinator/bench/unbound.h - beyond the cores that a launcher has bound this rank to.
 *
 * mpirun binds ranks to cores of their own. A yardstick of all ranks is measured by one of them,
 * while the others rest, and needs the cores of all. */
#ifndef SHOAL_COORDINATOR_BENCH_UNBOUND_H
#define SHOAL_COORDINATOR_BENCH_UNBOUND_H

#include <sched.h>
#include <stdbool.h>

typedef struct {
    bool changed;
    cpu_set_t before;
} shoal_bench_binding;

/* Let this thread, and threads it creates, use every core the system allows. */
void shoal_bench_unbind(shoal_bench_binding *out);

/* This thread, but not those created meanwhile, as it was. */
void shoal_bench_bind_again(const shoal_bench_binding *binding);

/* How many cores that are. */
int shoal_bench_unbound_cores(void);

#endif

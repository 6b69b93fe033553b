#include "coordinator/bench/unbound.h"

#include <string.h>

#include "coordinator/engine.h"

/* The system takes from the mask what it does not allow. */
void shoal_bench_unbind(shoal_bench_binding *out)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    out->changed = sched_getaffinity(0, sizeof out->before, &out->before) == 0 &&
                   sched_setaffinity(0, sizeof all, &all) == 0;
}

void shoal_bench_bind_again(const shoal_bench_binding *binding)
{
    if (binding->changed)
        (void)sched_setaffinity(0, sizeof binding->before, &binding->before);
}

int shoal_bench_unbound_cores(void)
{
    shoal_bench_binding binding;
    shoal_bench_unbind(&binding);
    const int cores = shoal_default_threads(1);
    shoal_bench_bind_again(&binding);
    return cores;
}

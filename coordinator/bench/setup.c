#include "coordinator/bench/setup.h"

static int add(shoal_bench_setup *out, int count, int ranks, int threads)
{
    for (int i = 0; i < count; i++)
        if (out[i].ranks == ranks && out[i].threads == threads)
            return count;
    if (count < SHOAL_BENCH_SETUPS_MAX)
        out[count++] = (shoal_bench_setup){ranks, threads};
    return count;
}

static int share_of(int cores, int ranks)
{
    return cores > ranks ? cores / ranks : 1;
}

int shoal_bench_setups(int cores, int ranks, int threads, const int *counts, int count,
                       shoal_bench_setup *out)
{
    if (ranks > 0)
        return add(out, 0, ranks, threads > 0 ? threads : share_of(cores, ranks));
    int made = add(out, 0, 1, threads > 0 ? threads : 1);
    for (int i = 0; i < count; i++)
        made = add(out, made, counts[i], threads > 0 ? threads : share_of(cores, counts[i]));
    return made;
}

int shoal_bench_setup_width(const shoal_bench_setup *setup, int cores)
{
    const int all = setup->ranks * setup->threads;
    return all < cores ? all : cores;
}

#include "coordinator/cli/threads_wanted.h"

#include "kernels/topology.h"

int shoal_threads_wanted(const shoal_options *options)
{
    shoal_topology topology;
    int threads = (int)shoal_option_int(options, SHOAL_OPT_THREADS);
    if (threads == 0 && shoal_topology_read(&topology) == SHOAL_OK) {
        threads = shoal_topology_threads(&topology, 1);
        shoal_topology_free(&topology);
    }
    return threads > 0 ? threads : 1;
}

/* kernels/topology.h - the cores of this machine that we may use, as hwloc sees them.
 *
 * Threads of a rank work best on cores of their own that lie together: a rank per NUMA node, a
 * thread per core (not per hyperthread: two of them share the units that linears keep busy). This
 * file finds the cores and deals them; it alone sees hwloc.h. What others have decided stays: only
 * processors in the affinity mask of the calling thread count, be it made by mpirun, taskset or a
 * container. */
#ifndef SHOAL_KERNELS_TOPOLOGY_H
#define SHOAL_KERNELS_TOPOLOGY_H

#include <stdbool.h>

#include "proto/status.h"

/* One core: its first allowed processor as the kernel counts, and its NUMA node (0, 1, …). */
typedef struct {
    int processor, node;
} shoal_core;

typedef struct {
    int packages, nodes, caches; /* sockets, NUMA nodes, L3 caches: those with an allowed core */
    int processors;              /* allowed hyperthreads                                       */
    int core_count;
    shoal_core *cores; /* [core_count], neighbours side by side */
} shoal_topology;

/* SHOAL_ERR_UNAVAILABLE where hwloc finds nothing. */
SHOAL_MUST_USE shoal_status shoal_topology_read(shoal_topology *out);
void shoal_topology_free(shoal_topology *topology);

/* Ranks that are worth having on this machine, and threads for each of `ranks`. At least 1. */
int shoal_topology_ranks(const shoal_topology *topology);
int shoal_topology_threads(const shoal_topology *topology, int ranks);

/* The cores are dealt to `shares` ranks; processors[threads] for the threads of rank `share`.
 * False unless they are exactly as many as its cores: with more, threads would wait for each other,
 * and with fewer the cores left over may be someone else's, or ours the same as his. */
bool shoal_topology_place(const shoal_topology *topology, int share, int shares, int threads,
                          int *processors);

/* Before a rank fills memory it will compute on: where there are several NUMA nodes the calling
 * thread, and threads it starts, stay on the cores of the rank's share, so that pages come from
 * their node; a share of several nodes takes pages from all of them in turn. False: nothing to do,
 * or not possible. */
bool shoal_topology_settle(const shoal_topology *topology, int share, int shares);

#endif

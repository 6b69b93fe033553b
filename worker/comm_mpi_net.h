/* worker/comm_mpi_net.h - what node leaders say to each other through MPI.
 *
 * Private to worker/comm_mpi*.c, the only files that see mpi.h. Nothing here blocks a core while
 * there is nothing to do: idle waits poll and sleep. Sizes beyond what an int counts travel in
 * pieces. Functions return SHOAL_ERR_UNAVAILABLE with MPI's own words when MPI fails. */
#ifndef SHOAL_WORKER_COMM_MPI_NET_H
#define SHOAL_WORKER_COMM_MPI_NET_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

/* Unit of gathered blocks: displacements of 64 bytes reach far beyond 2 GiB. */
#define SHOAL_NET_BLOCK 64

/* SHOAL_OK for MPI_SUCCESS, else the failure of `what`. */
SHOAL_MUST_USE shoal_status shoal_net_check(int rc, const char *what);

/* values += those of the other ranks of `comm`, as int64 sums. */
SHOAL_MUST_USE shoal_status shoal_net_sum(MPI_Comm comm, int64_t *values, uint64_t count);

/* The values of all `nodes` ranks of `comm` are added, then dealt: counts[r] of them to rank r, one
 * after another. A rank's own come to lie at the beginning of `values`; the rest is lost.
 * `scratch` has room for `nodes` ints. */
SHOAL_MUST_USE shoal_status shoal_net_scatter(MPI_Comm comm, int64_t *values, int nodes,
                                              const int64_t *counts, int *scratch);

/* Rank r of `comm` owns blocks[r] blocks of `base` starting at block first[r]; afterwards every
 * rank has all of them. `scratch` has room for 2 * (ranks of comm) ints. */
SHOAL_MUST_USE shoal_status shoal_net_gather(MPI_Comm comm, void *base, const int64_t *first,
                                             const int64_t *blocks, int *scratch);

/* Down a binomial tree from `root`; who waits sleeps. */
SHOAL_MUST_USE shoal_status shoal_net_broadcast(MPI_Comm comm, void *data, uint64_t bytes, int root,
                                                bool crowded);

/* Wait until every rank of `comm` has come here, at most `seconds` (0: for ever); *all says
 * whether they came. */
SHOAL_MUST_USE shoal_status shoal_net_barrier(MPI_Comm comm, double seconds, bool crowded,
                                              bool *all);

#endif

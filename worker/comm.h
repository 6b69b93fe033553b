/* worker/comm.h - what ranks say to each other during a step, whoever carries it.
 *
 * A communicator joins `size` ranks that all call the same operations in the same order. The data
 * plane is one idea: every rank writes its part into its own *slot*, publishes it, and then reads
 * the others' parts. Slots are double-buffered: a slot obtained by `slot` may be filled while slow
 * peers still read the previous one, and no trailing barrier is needed.
 *
 *     void *mine = shoal_comm_slot(comm);          fill up to slot_bytes
 *     shoal_comm_gather(comm, bytes, parts)        parts[r] = what rank r published
 *     shoal_comm_reduce(comm, count, parts, &n)    parts whose int64 sum is the sum over all ranks
 *     shoal_comm_scatter(comm, counts, parts, &n)  the same, but each rank gets its share alone
 *
 * Returned parts stay readable until this rank's next gather, reduce or scatter begins; filling the
 * slot for it, broadcasts and barriers do not touch them. With all ranks on one node, parts are the
 * slots themselves (no copy); between nodes they are sums or copies made by MPI.
 * Waiting spins briefly, then yields, then sleeps; with more ranks than cores it yields at once.
 * A peer that closed early makes the waiting ranks fail where they share memory. A peer that died
 * is not detected here: supervision ends the whole generation. A communicator belongs to one
 * thread. */
#ifndef SHOAL_WORKER_COMM_H
#define SHOAL_WORKER_COMM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/payload.h"

typedef struct shoal_comm shoal_comm;

typedef struct {
    const char *name; /* "local", "mpi" */
    shoal_status (*open_slots)(shoal_comm *, uint64_t slot_bytes);
    void *(*slot)(shoal_comm *);
    shoal_status (*gather)(shoal_comm *, const uint64_t *bytes_of_rank, const void **parts);
    shoal_status (*reduce)(shoal_comm *, uint64_t count, const int64_t **parts, int *part_count);
    shoal_status (*scatter)(shoal_comm *, const uint64_t *counts, const int64_t **parts,
                            int *part_count);
    shoal_status (*broadcast)(shoal_comm *, void *data, uint64_t bytes, int root);
    shoal_status (*barrier)(shoal_comm *);
    void (*close)(shoal_comm *);
} shoal_comm_ops;

/* `broken` is set by an operation that failed, and by an owner who closes because of a failure the
 * others do not know of. Closing then does not wait for the others: where they share memory they
 * fail in their next wait, and ranks that do not come to close within seconds are ended with the
 * whole launch (MPI_Abort with code 75). */
struct shoal_comm {
    const shoal_comm_ops *ops;
    int rank, size;
    const int *place;  /* [size]: the order in which shares are dealt, node after node */
    int share, shares; /* place among the ranks that may use the same cores; shares 0: unclear */
    bool crowded;      /* more ranks (x threads) than cores on this node   */
    bool broken;       /* this rank leaves alone: see below                */
    shoal_payload payload; /* how sums travel between nodes: shoal_comm_round */
    uint64_t row_values;
    uint64_t slot_bytes;       /* capacity of a slot                               */
    uint64_t bytes_held;       /* memory this rank holds for slots and staging     */
    _Atomic uint64_t sequence; /* exchanges done: for dumps of a hung generation */
    double exchanged;          /* seconds inside gather, reduce and broadcast, for statistics */
    double waited;             /* seconds waiting for peers: a part of them                   */
};

/* The buffer for the next exchange; NULL before shoal_comm_open_slots. */
static inline void *shoal_comm_slot(shoal_comm *comm)
{
    return comm->ops->slot(comm);
}

/* bytes_of_rank: [size], known alike on every rank, each <= slot_bytes; parts: [size] pointers. */
SHOAL_MUST_USE shoal_status shoal_comm_gather(shoal_comm *comm, const uint64_t *bytes_of_rank,
                                              const void **parts);

/* The slot holds `count` int64; parts has room for `size` pointers. */
SHOAL_MUST_USE shoal_status shoal_comm_reduce(shoal_comm *comm, uint64_t count,
                                              const int64_t **parts, int *part_count);

/* The slots hold the shares of all ranks one after another, in the order of their places: counts[r]
 * int64 are rank r's. The parts' sum is the sum over all ranks, of this rank's share alone. */
SHOAL_MUST_USE shoal_status shoal_comm_scatter(shoal_comm *comm, const uint64_t *counts,
                                               const int64_t **parts, int *part_count);

/* Any size; small messages and steps, not tensors. Idle ranks wait here without using CPU. */
SHOAL_MUST_USE shoal_status shoal_comm_broadcast(shoal_comm *comm, void *data, uint64_t bytes,
                                                 int root);

SHOAL_MUST_USE static inline shoal_status shoal_comm_barrier(shoal_comm *comm)
{
    return comm->ops->barrier(comm);
}

static inline void shoal_comm_close(shoal_comm *comm)
{
    if (comm)
        comm->ops->close(comm);
}

/* All ranks say how a fallible phase went; all get SHOAL_OK, or all get the failure of the lowest
 * failing rank with its sentence (prefixed by the rank). Call it at the end of every such phase,
 * so that no rank goes on alone into a collective. */
SHOAL_MUST_USE shoal_status shoal_comm_agree(shoal_comm *comm, shoal_status mine);

/* Make slots of at least `slot_bytes` (collective, same value everywhere; at most once). A rank
 * holds two of them. Ends with all ranks agreeing. */
SHOAL_MUST_USE shoal_status shoal_comm_open_slots(shoal_comm *comm, uint64_t slot_bytes);

/* From now on sums are rows of `row_values` int64, the last of which counts, and travel between
 * nodes in this way; alike on every rank. A node of its own loses nothing. */
void shoal_comm_round(shoal_comm *comm, shoal_payload payload, uint64_t row_values);

/* For implementations of gather, reduce and scatter: do the sizes fit the slots? SHOAL_ERR_INTERNAL
 * if not; alike on every rank, so nobody is left waiting. */
SHOAL_MUST_USE shoal_status shoal_comm_check_gather(const shoal_comm *comm,
                                                    const uint64_t *bytes_of_rank);
SHOAL_MUST_USE shoal_status shoal_comm_check_reduce(const shoal_comm *comm, uint64_t count);

/* Where the share of the rank at `place` begins; the end of all for place = size. */
uint64_t shoal_comm_share_begin(const shoal_comm *comm, const uint64_t *counts, int place);

/* worker/comm_local.c: `size` ranks in one process, one thread each. Fills out[size]; each is
 * closed by its own rank. `threads` per rank decides `crowded`. */
SHOAL_MUST_USE shoal_status shoal_comm_local_create(int size, int threads, shoal_comm **out);

/* worker/comm_mpi.c: the world this process was launched in. `force_network` (SHOAL_COMM=network)
 * treats every rank as a node of its own, so that the MPI path is testable on one machine. */
SHOAL_MUST_USE shoal_status shoal_comm_mpi_open(int threads, bool force_network, shoal_comm **out);

/* The same, with the ranks dealt round robin to `pretended_nodes` nodes (0: the real ones), so
 * that leaders with followers are testable on one machine, too. */
SHOAL_MUST_USE shoal_status shoal_comm_mpi_open_nodes(int threads, int pretended_nodes,
                                                      shoal_comm **out);

/* MPI_Allreduce of `count` <= INT32_MAX fp32 over all ranks: what the reduce above is measured
 * against, and nothing else. `comm` is one that shoal_comm_mpi_open made. */
SHOAL_MUST_USE shoal_status shoal_comm_mpi_allreduce(shoal_comm *comm, const float *from, float *to,
                                                     int count);

/* Was this process started inside an MPI launch (Open MPI, PMIx or Slurm variables)? If so *size
 * and *rank are what the variables say; *size is 0 where PMIx names a rank but nobody the size.
 * Does not touch MPI (worker/comm_launch.c). */
bool shoal_comm_mpi_launched(int *rank, int *size);

#endif

/* coordinator/engine.h - N ranks that compute steps, wherever they run.
 *
 * Verbs open an engine, hand it steps (worker/step.h) and close it. Three fillings of one table:
 *
 *     local    ranks are threads of this process       one rank, or --emulate-ranks
 *     world    this process is rank 0 of an MPI launch  mpirun -n 3 shoal eval ...
 *     cluster  mpirun is started and supervised         shoal eval -n 3 ...
 *
 * In a world the ranks above 0 never return from shoal_engine_open: they follow rank 0 and exit.
 * After a failed step the engine can only be closed. An engine belongs to one thread; of a cluster
 * that thread must live as long as the engine, because mpirun dies with it. */
#ifndef SHOAL_COORDINATOR_ENGINE_H
#define SHOAL_COORDINATOR_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/worker.h"

/* How long a cluster may be silent or stand still, in seconds; 0: the default. A step's deadline
 * adds 20 times the moving average of such steps, up to 30 s in all; the first of its kind gets
 * those 30 s. */
typedef struct {
    double start, load, decode, prefill; /* 30, 30 (without progress), 2, 5 */
} shoal_deadlines;

typedef struct {
    shoal_worker_settings settings; /* threads 0: allowed cores / ranks on the node; in a world
                                       ranks above 0 may leave the model open: rank 0's */
    int ranks;                      /* -n */
    bool ranks_given;               /* said by the user, not the default */
    int emulate;                    /* --emulate-ranks; 0: not asked for */
    bool force_network;             /* --comm network */
    bool supervised;                /* one rank, too, gets a process of its own under mpirun */
    uint32_t generation;            /* which start this is, from 1; 0 means 1 */
    int stop_fd; /* 0: Ctrl-C and its relatives end the engine's work; else a descriptor that
                    does so once it is readable */
    shoal_deadlines deadlines;       /* 0s: the defaults */
    const char *hostfile, *mpi_args; /* NULL: none */
    const char *program;             /* what ranks run; NULL: this executable */
    shoal_load_progress progress;    /* bytes read by all ranks together; may be NULL */
    void *progress_context;
} shoal_engine_request;

/* The kernel row of one linear role. */
typedef struct {
    char role[32], layout[48], decode[48], prefill[48];
} shoal_engine_kernel;

#define SHOAL_ENGINE_KERNELS_MAX 16

/* What a rank promised and what it took, in bytes; as in shoal_worker_facts. */
typedef struct {
    uint64_t planned_read, measured_read, planned_resident, measured_resident;
    uint64_t planned_streamed, pinned;
} shoal_rank_memory;

/* Sums since the start of a rank. */
typedef shoal_worker_timing shoal_rank_timing;

/* Who a rank is. */
typedef struct {
    int64_t pid;
    char host[64], level[16];
} shoal_rank_identity;

typedef struct shoal_engine shoal_engine;

typedef struct {
    const char *name; /* "local", "world", "cluster" */
    shoal_status (*step)(shoal_engine *, const void *block, uint64_t bytes,
                         shoal_sequence_result *results, shoal_logits_sink sink, void *context);
    /* Wait until `fd` is readable or `seconds` are over; notice meanwhile what happens to ranks. */
    shoal_status (*idle)(shoal_engine *, int fd, double seconds);
    shoal_status (*close)(shoal_engine *);   /* frees the engine whatever it returns */
    shoal_status (*refresh)(shoal_engine *); /* NULL: `timing` is that of the last step anyway */
} shoal_engine_ops;

/* A filling extends this struct. */
struct shoal_engine {
    const shoal_engine_ops *ops;
    int ranks;
    bool broken;              /* a step failed, or a rank was lost */
    uint64_t steps;           /* made so far: their numbers */
    shoal_worker_facts facts; /* of rank 0 */
    shoal_step_limits limits;
    char arithmetic[64]; /* what facts.arithmetic points to */
    shoal_engine_kernel kernels[SHOAL_ENGINE_KERNELS_MAX];
    int kernel_count;
    shoal_rank_memory *memory;       /* [ranks]; freed by close */
    shoal_rank_timing *timing;       /* [ranks]; as last heard, half a second old at most;
                                        of a world only rank 0's (but shoal_engine_refresh) */
    shoal_rank_identity *identities; /* [ranks]; the same */
    shoal_worker *first;             /* rank 0 where it lives in this process, else NULL */
};

SHOAL_MUST_USE shoal_status shoal_engine_open(const shoal_engine_request *request,
                                              shoal_engine **out);

/* As shoal_worker_step. */
SHOAL_MUST_USE shoal_status shoal_engine_step(shoal_engine *engine, const void *block,
                                              uint64_t bytes, shoal_sequence_result *results,
                                              shoal_logits_sink sink, void *context);

/* Wait for `fd` to become readable, at most `seconds`, with an eye on the ranks. A failure means
 * that one is lost; the engine can only be closed then. */
SHOAL_MUST_USE shoal_status shoal_engine_idle(shoal_engine *engine, int fd, double seconds);

/* Bring the timing of all ranks up to the last step; a cluster takes a second for it. */
SHOAL_MUST_USE shoal_status shoal_engine_refresh(shoal_engine *engine);

/* SHOAL_OK only when every rank ended well. NULL is allowed. */
SHOAL_MUST_USE shoal_status shoal_engine_close(shoal_engine *engine);

/* Am I a rank above 0 of an MPI launch? Then a verb need not prepare anything: it opens the engine
 * with what its command line says, and never comes back. */
bool shoal_engine_is_follower(void);

/* For fillings. Copy facts, limits and kernel rows of an open worker into the engine. */
void shoal_engine_describe(shoal_engine *engine, const shoal_worker *worker);

/* This process as a rank. */
void shoal_engine_identify(shoal_rank_identity *out);

/* Bytes that the ranks read per second of loading, 10^9; 0 where nobody kept the time. */
double shoal_engine_load_rate(const shoal_engine *engine);

/* For fillings: the arrays of `ranks` records in the engine. */
SHOAL_MUST_USE shoal_status shoal_engine_make_reports(shoal_engine *engine);
void shoal_engine_free_reports(shoal_engine *engine);

/* For fillings whose ranks need no watching: the `idle` that only waits. */
SHOAL_MUST_USE shoal_status shoal_engine_wait(shoal_engine *engine, int fd, double seconds);

/* For fillings. Collective, after shoal_worker_open: every rank shows its memory to all;
 * `all` has room for one record per rank, or is NULL. */
SHOAL_MUST_USE shoal_status shoal_engine_gather_memory(shoal_comm *comm, const shoal_worker *worker,
                                                       shoal_rank_memory *all);

/* Cores this process may use / ranks on the node, at least 1; and how many ranks suit the machine:
 * one per NUMA node. */
int shoal_default_threads(int ranks_on_node);
int shoal_default_ranks(void);

/* Ranks of this MPI launch on this node as the launcher says, else `world_size`. */
int shoal_ranks_on_node(int world_size);

/* Have the kernel kill this process when its parent (mpirun, orted) dies. */
void shoal_die_with_parent(void);

/* The fillings. */
SHOAL_MUST_USE shoal_status shoal_engine_local_open(const shoal_engine_request *request, int ranks,
                                                    shoal_engine **out);
SHOAL_MUST_USE shoal_status shoal_engine_world_open(const shoal_engine_request *request, int rank,
                                                    int size, shoal_engine **out);
SHOAL_MUST_USE shoal_status shoal_engine_cluster_open(const shoal_engine_request *request,
                                                      shoal_engine **out);

#endif

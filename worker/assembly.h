/* worker/assembly.h - from settings to a rank that is ready: every fallible phase, in agreement.
 *
 *     start    this machine can do what is asked, and all ranks were asked for the same phases
 *     settle   on the cores of this rank's share, where there are several NUMA nodes
 *     look     model, manifest, plan, budget from headers      (--load push: shared by rank 0)
 *     compare  all ranks made the same blueprint
 *     load     this rank's slices, by byte ranges
 *     prepare  pages, buffers, slots, threads
 *
 * After each phase all ranks agree, so either all go on or all stop with the same sentence. */
#ifndef SHOAL_WORKER_ASSEMBLY_H
#define SHOAL_WORKER_ASSEMBLY_H

#include "kernels/topology.h"
#include "worker/blueprint.h"
#include "worker/comm.h"
#include "worker/forward.h"
#include "worker/push.h"

typedef struct {
    shoal_blueprint *blueprint;
    shoal_weights weights;
    shoal_kv kv;
    shoal_scratch_shape scratch_shape;
    shoal_scratch scratch;
    shoal_backend *backend;
    bool profiled; /* the backend is a timed one */
    float *inv_freq[SHOAL_ROPES_MAX];
    uint64_t read_bytes;     /* measured, of this rank */
    shoal_topology topology; /* of this machine; no cores: unknown */
    int64_t deal_rows;       /* worker/residual.h */
    bool pushed;             /* rank 0 reads for all */
    char skeleton[SHOAL_PUSH_PATH_MAX];
} shoal_assembly;

/* Collective. `assembly` must stay where it is: buffers point into it. */
SHOAL_MUST_USE shoal_status shoal_assembly_open(const shoal_worker_settings *settings,
                                                shoal_comm *comm, shoal_load_progress progress,
                                                void *context, shoal_assembly *assembly);
void shoal_assembly_close(shoal_assembly *assembly);

/* What a step of this rank touches; borrows everything, `heartbeat` too. */
void shoal_assembly_forward(shoal_assembly *assembly, shoal_comm *comm, _Atomic uint64_t *heartbeat,
                            shoal_forward *out);

/* Bytes of all arenas and slots of this rank. */
uint64_t shoal_assembly_resident(const shoal_assembly *assembly, const shoal_comm *comm);

#endif

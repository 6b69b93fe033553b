/* worker/blueprint.h - what a cluster will look like, from headers alone: no weight, no MPI.
 *
 * Settings and a number of ranks become model, manifest, plan and budget. `shoal plan` prints it;
 * every rank builds the same one before it loads, and its digest is what the ranks compare. */
#ifndef SHOAL_WORKER_BLUEPRINT_H
#define SHOAL_WORKER_BLUEPRINT_H

#include "shard/budget.h"
#include "shard/checkpoint.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "shard/plan.h"
#include "worker/kv.h"
#include "worker/scratch.h"
#include "worker/worker.h"

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
    shoal_plan plan;
    shoal_slicing slicing; /* borrows the three above */
    shoal_budget budget;
    shoal_kv_type kv;
    int64_t context;     /* longest sequence                         */
    int64_t kv_tokens;   /* tokens the page pool holds, all sequences */
    char arithmetic[64]; /* "cpu-int8/1", "cpu-bf16-amx/1" …         */
    uint64_t other_bytes[SHOAL_RANKS_MAX];
} shoal_blueprint;

/* `folder` is where this process finds the model (not settings->model under --load push).
 * SHOAL_ERR_USAGE names a setting that is out of its range; threads are not looked at here. */
SHOAL_MUST_USE shoal_status shoal_blueprint_open(const shoal_worker_settings *settings,
                                                 const char *folder, int ranks,
                                                 shoal_blueprint **out);
void shoal_blueprint_close(shoal_blueprint *blueprint);

/* SHOAL_ERR_NOFIT with what would fit, when memory was limited and does not suffice. */
SHOAL_MUST_USE shoal_status shoal_blueprint_check_fit(const shoal_worker_settings *settings,
                                                      const shoal_blueprint *blueprint);

/* Sizes of a rank's buffers and pages. */
void shoal_blueprint_scratch(const shoal_worker_settings *settings,
                             const shoal_blueprint *blueprint, int rank, shoal_scratch_shape *out);
void shoal_blueprint_kv(const shoal_blueprint *blueprint, int rank, shoal_kv_shape *out);

/* Everything all ranks must agree on: plan, model, weights and tensors, arithmetic, sizes. */
void shoal_blueprint_digest(const shoal_worker_settings *settings, const shoal_blueprint *blueprint,
                            uint8_t out[16]);

#endif

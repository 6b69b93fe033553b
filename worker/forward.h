/* worker/forward.h - the transformer step on one rank: fused operations and exchanges, in order.
 *
 * Nothing is chosen here: kernels were chosen at load, buffers sized at start. Per layer
 *
 *     norm → q,k,v → rope, append, attention → o ┐ exchange   norm → gate·up → down ┐ exchange
 *                                                └────────────┘                    └─────────
 *
 * where an exchange joins the ranks' int64 unit sums (or, for an act-order o, gathers fp32
 * columns). The sum of an exchange is added to the residual by the next norm (worker/residual.h);
 * in steps of many rows each rank does that for its share of them. */
#ifndef SHOAL_WORKER_FORWARD_H
#define SHOAL_WORKER_FORWARD_H

#include <stdatomic.h>

#include "kernels/backend.h"
#include "shard/model.h"
#include "shard/plan.h"
#include "worker/comm.h"
#include "worker/kv.h"
#include "worker/scratch.h"
#include "worker/step.h"
#include "worker/weights.h"

/* Everything a step touches; all borrowed. */
typedef struct {
    const shoal_model *model;
    const shoal_plan *plan;
    const shoal_weights *weights;
    const shoal_kv *kv;
    const float *inv_freq[SHOAL_ROPES_MAX];
    shoal_scratch *scratch;
    shoal_backend *backend;
    shoal_comm *comm;
    int64_t logit_rows;
    int64_t deal_rows;        /* of a step, from which they are dealt (worker/residual.h) */
    uint64_t dealt_row_bytes; /* of a slot, per dealt row                                 */
    bool dealt;               /* in the present step                                      */
    _Atomic uint64_t *heartbeat;
} shoal_forward;

/* One row of logits on rank 0: `pick` counts the rows that wanted logits, in step order. */
typedef shoal_status (*shoal_row_sink)(void *context, int64_t pick, const float *logits);

/* Bytes a reduce slot needs for this shape and plan. */
uint64_t shoal_forward_slot_bytes(const shoal_scratch_shape *shape, const shoal_plan *plan);

/* Compute a checked step; collective. Rows that want logits are listed in scratch->pick (row) and
 * pick_sequence; rank 0 receives them through `sink` in that order. Row errors are left in
 * scratch->failed_layer, for a row whose logits the sink gets before it gets them. */
SHOAL_MUST_USE shoal_status shoal_forward_step(shoal_forward *f, const shoal_step_view *step,
                                               shoal_row_sink sink, void *context);

#endif

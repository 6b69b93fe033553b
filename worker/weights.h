/* worker/weights.h - everything this rank holds of a model, in place and ready for the step.
 *
 * Which rectangle of which weight belongs here is shard/slices.h; this file only asks for it and
 * remembers where it lies. All memory comes from two arenas, whose byte counts add up to what the
 * plan promised: one of small things, and one that nobody writes to but who fills a panel or a row,
 * so that each thread of a load clears and fills pages of its own. */
#ifndef SHOAL_WORKER_WEIGHTS_H
#define SHOAL_WORKER_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/linear.h"
#include "kernels/threads.h"
#include "proto/arena.h"
#include "shard/budget.h"
#include "shard/manifest.h"
#include "shard/plan.h"
#include "shard/slices.h"
#include "worker/stream.h"

/* Gate, up and down of an expert, by role - SHOAL_ROLE_GATE. */
typedef struct {
    shoal_linear linear[SHOAL_EXPERT_LINEARS];
    const int32_t *order[SHOAL_EXPERT_LINEARS]; /* as in shoal_layer_weights */
} shoal_expert_weights;

typedef struct {
    shoal_linear linear[SHOAL_ROLE_LAYER_LINEARS]; /* gate, up, down: of a plain MLP */
    /* The input permutation of an act-order linear whose K is whole here; else NULL. */
    const int32_t *order[SHOAL_ROLE_LAYER_LINEARS];
    /* [k of this rank]: its input is divided by it, or multiplied; NULL: neither. */
    const float *input_scale[SHOAL_ROLE_LAYER_LINEARS];
    bool input_multiply[SHOAL_ROLE_LAYER_LINEARS];
    const float *norm[SHOAL_ROLE_LAYER_ALL]; /* vectors by role; NULL where there is none */
    bool gathered_o; /* act-order o: attention is gathered, o is cut along n                     */
    /* a layer of experts instead of a plain MLP; the shared expert is the last */
    shoal_expert_weights *experts;
    int expert_count;
    bool has_shared;
    shoal_linear router, shared_router;
} shoal_layer_weights;

typedef struct {
    shoal_layer_weights *layers;
    int64_t layer_count;
    shoal_expert_weights *experts; /* of all layers */
    const uint8_t *embedding; /* [ids of this rank][hidden] of embedding_dtype; NULL when tied   */
    shoal_dtype embedding_dtype;
    shoal_linear lm_head;
    const int32_t *lm_head_order;
    const float *final_norm;
    shoal_arena *arena;   /* segments, biases, norms, scales, orders                            */
    shoal_arena *filled;  /* panels, rows of the embedding                                      */
    shoal_stream *stream; /* of linears that are not held; NULL: all are */
    uint64_t pinned;      /* bytes of linears that are locked in memory  */
} shoal_weights;

/* Called now and then while weights are read, on the caller's thread. May be NULL. */
typedef void (*shoal_weights_progress)(void *context);

/* Read and pack everything `rank` owns under `slicing`, on the threads of `pool` (NULL: on this
 * one). Each arena is one piece of huge pages, of the size that the budget has. What is streamed is
 * read and packed, too, each place into the buffer over the one before. What is to be pinned and
 * cannot be is held all the same, with a warning. */
SHOAL_MUST_USE shoal_status shoal_weights_load(const shoal_slicing *slicing, int rank,
                                               shoal_cpu_level cap, shoal_pool *pool,
                                               shoal_weights_progress progress, void *context,
                                               shoal_weights *out);

/* The same shape without contents: specs and sizes of every linear, and a marker where an order
 * is kept. What sizes of buffers are computed from before anything is read. */
SHOAL_MUST_USE shoal_status shoal_weights_outline(const shoal_slicing *slicing, int rank,
                                                  shoal_weights *out);
void shoal_weights_destroy(shoal_weights *weights);

/* What both arenas have given away. */
uint64_t shoal_weights_bytes(const shoal_weights *weights);

#endif

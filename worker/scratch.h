/* worker/scratch.h - the buffers of a step, sized once for the largest step.
 *
 * Activations are made and consumed inside one fused operation's neighbourhood, so all layers
 * share the buffers of a *stage*. In a layer of experts the stage of gate and up holds the fp32
 * rows that the router sees; which rows go to which expert is known only then, so acts of experts
 * are placed step by step in memory that is large enough for any choice; a layer's view of a stage
 * adds only its permutation and input scale. Sizes are pure functions of slices and settings, so
 * the plan can state them before a weight is read. */
#ifndef SHOAL_WORKER_SCRATCH_H
#define SHOAL_WORKER_SCRATCH_H

#include <stdint.h>

#include "kernels/act.h"
#include "kernels/backend.h"
#include "proto/arena.h"
#include "worker/weights.h"

/* Where activations are consumed. */
typedef enum {
    SHOAL_STAGE_QKV,
    SHOAL_STAGE_O,
    SHOAL_STAGE_GATE_UP,
    SHOAL_STAGE_DOWN,
    SHOAL_STAGE_LM_HEAD,
    SHOAL_STAGES
} shoal_stage;

/* At most one act per linear of the widest stage (q, k, v). */
#define SHOAL_STAGE_ACTS_MAX 3

/* The acts of a stage in one layer, and which of them feeds which linear of the stage. */
typedef struct {
    shoal_act acts[SHOAL_STAGE_ACTS_MAX];
    int count;
    int of_linear[SHOAL_STAGE_ACTS_MAX];
} shoal_stage_view;

typedef struct {
    int64_t rows_max, sequences_max; /* of a step */
    int64_t logit_rows;              /* rows of logits computed at once */
    bool assembles_logits;           /* rank 0 */
    int64_t hidden, vocab;
    int64_t q_width, kv_width;     /* columns of q, and of k, on this rank                     */
    int64_t attention_width_total; /* of all ranks; 0 unless some layer gathers                */
    int64_t rope_half;             /* largest rope dim / 2                                     */
    int rope_count;
    int64_t experts_chosen; /* by a row, the most of all layers; 0: no layer has experts       */
} shoal_scratch_shape;

/* What rows on their way through experts need; a *pair* is a row and one of its experts. */
typedef struct {
    float *scores, *shared_scores; /* [rows][experts], [rows]                                  */
    int32_t *index;                /* [rows][chosen]                                           */
    float *weight, *shared_weight; /* [rows][chosen], [rows]                                   */
    int32_t *every_row;            /* [rows]: 0, 1, 2, …                                       */
    int64_t *first;                /* [experts + 1]: pairs of an expert begin here             */
    int32_t *rows_of;              /* [pairs], by expert                                       */
    float *pair_weight;            /* [pairs]                                                  */
    shoal_expert_job *jobs;        /* [experts, the shared one too]                            */
    uint8_t *inputs, *gated;       /* memory of acts: inputs of gate and up, and of down       */
} shoal_expert_scratch;

typedef struct {
    float *x;                                           /* [rows][hidden]                      */
    float *q, *k, *v, *attention;                       /* [rows][width]                       */
    float *gathered;                                    /* [rows][attention_width_total]       */
    float *branch;                                      /* [rows][hidden] where o is gathered  */
    float *cos[SHOAL_ROPES_MAX], *sin[SHOAL_ROPES_MAX]; /* [rows][rope_half]                   */
    float *logits;                                      /* [vocab], rank 0                     */
    int64_t *positions, *bad, *pending;                 /* [rows]                              */
    int32_t *failed_layer;                              /* [rows], -1: fine (worker/step.h)    */
    int32_t *pick, *pick_sequence;                      /* [rows]: rows that want logits       */
    shoal_sequence_rows *sequences;                     /* [sequences_max]                     */
    shoal_expert_scratch experts;
    shoal_stage_view *views; /* [layer_count + 1][SHOAL_STAGES]     */
    shoal_arena *arena;
} shoal_scratch;

/* Bytes shoal_scratch_create will take for these weights; an outline (worker/weights.h) will do. */
SHOAL_MUST_USE shoal_status shoal_scratch_measure(const shoal_scratch_shape *shape,
                                                  const shoal_weights *weights, uint64_t *out);

SHOAL_MUST_USE shoal_status shoal_scratch_create(const shoal_scratch_shape *shape,
                                                 const shoal_weights *weights, shoal_scratch *out);
void shoal_scratch_destroy(shoal_scratch *scratch);

/* Are two permutations of `k` inputs the same? NULL is the natural order. */
bool shoal_same_order(const int32_t *a, const int32_t *b, int64_t k);

/* Linears of a stage: the first role and how many follow it. */
void shoal_stage_roles(shoal_stage stage, shoal_role *first, int *count);

/* View of a stage; layer = layer_count for SHOAL_STAGE_LM_HEAD. */
static inline shoal_stage_view *shoal_scratch_view(const shoal_scratch *scratch, int64_t layer,
                                                   shoal_stage stage)
{
    return &scratch->views[layer * SHOAL_STAGES + stage];
}

#endif

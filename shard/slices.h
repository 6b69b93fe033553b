/* shard/slices.h - which rectangle of which weight a rank holds, and how it computes with it.
 *
 * The only place that turns a plan's ranges into slices: budget and load both ask here, so what
 * is planned is what is read. Pure: no files, no allocation.
 *
 *     role        columns (n)                 inputs (k)
 *     q           q heads x head_dim          whole
 *     k, v        kv heads x head_dim         whole
 *     o           whole                       q heads x head_dim, units of one head
 *     o, act-order: a share of hidden         whole, sorted by group
 *     gate, up    intermediate elements       whole; in down's order where down is act-order
 *     down        whole                       intermediate elements, units of the plan
 *     of experts  as gate, up, down of a layer, with the elements of shoal_plan_expert
 *     routers     whole                       whole, fp32 inputs: every rank chooses by itself
 *     lm_head     ids of the vocabulary       whole
 *     embedding   ids (rows)                  whole
 *     norms       every rank holds them whole
 *
 * A bias belongs to the slice's columns [n_begin, n_end): for o and down cut along k that is the
 * whole bias on every rank, because everyone adds it after the sum (docs/arithmetic.md rule 4). */
#ifndef SHOAL_SHARD_SLICES_H
#define SHOAL_SHARD_SLICES_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/linear.h"
#include "shard/manifest.h"
#include "shard/plan.h"

/* --activations: AUTO and INT8 give int8 inputs to every linear with integer weights, BF16 rounds
 * its inputs and weights to bf16; float linears take fp32 in any case. */
typedef enum {
    SHOAL_ACTIVATIONS_AUTO,
    SHOAL_ACTIVATIONS_INT8,
    SHOAL_ACTIVATIONS_BF16,
    SHOAL_ACTIVATIONS_F32
} shoal_activations;

/* "auto", "int8", "bf16", "f32"; false for another word. */
bool shoal_activations_parse(const char *word, shoal_activations *out);
const char *shoal_activations_name(shoal_activations activations);

/* Everything that decides the slices of a model; all borrowed. */
typedef struct {
    const shoal_manifest *manifest;
    const shoal_plan *plan;
    shoal_activations activations;
} shoal_slicing;

/* What the plan needs to know of a model. SHOAL_ERR_DATA as shoal_plan_down_unit. */
SHOAL_MUST_USE shoal_status shoal_slices_shape(const shoal_manifest *manifest,
                                               shoal_plan_shape *out);

/* The rectangle of a linear or of the embedding that `rank` holds; false, and *out untouched, when
 * the model has no such weight or it lies elsewhere (a tied embedding). An empty rectangle is a
 * slice too: the linear exists and contributes nothing. `columns` and `order` are NULL; where the
 * functions below say so the reader of the weight must set them. */
bool shoal_slice_rect_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                         shoal_rect *out);

/* Shape, quantization and activation settings of the same slice; false as above. Linears only. */
bool shoal_slice_spec_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                         shoal_linear_spec *out);

/* Is o of this layer act-order: attention output gathered, o cut along n, its output gathered? */
bool shoal_slice_o_gathered(const shoal_manifest *manifest, int layer);

/* Must `rank` read the permutation (shoal_weight_order) of this linear? True where an act-order
 * slice is not empty, and for every linear that a norm feeds: any rank may make its input for all
 * of them (worker/residual.h). Experts take theirs from fp32 rows. The permutation becomes
 * rect.order of the slice itself. */
bool shoal_slice_reads_order_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight);

/* Must the rank keep it while it computes, to permute the inputs? True for all such linears but
 * down: its order is folded into the columns of gate and up. */
bool shoal_slice_keeps_order_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight);

/* Are the columns of this slice (gate, up and their biases) those at sorted positions
 * [n_begin, n_end) of down's order? Then rect.columns = down's order + n_begin. */
bool shoal_slice_in_down_order_of(const shoal_manifest *manifest, const shoal_weight *weight);

/* Bytes that reading the slice takes, bias and permutation not included. */
uint64_t shoal_slice_read_bytes_of(const shoal_slicing *slicing, int rank,
                                   const shoal_weight *weight);

/* shoal_slice_rect_of by place; `layer` is ignored for roles outside layers. */
static inline bool shoal_slice_rect(const shoal_slicing *slicing, int rank, int layer,
                                    shoal_role role, shoal_rect *out)
{
    return shoal_slice_rect_of(slicing, rank, shoal_manifest_weight(slicing->manifest, layer, role),
                               out);
}

/* Is the embedding read from the lm_head slice instead of held a second time? (Tied, and lm_head
 * still has float weights.) */
bool shoal_slice_embedding_shared(const shoal_manifest *manifest);

#endif

/* shard/budget.h - what a plan costs every rank, before a weight is read: bytes and tokens.
 *
 * Numbers come from headers only. read_bytes is what loading will add to the checkpoint's count;
 * weight_bytes is the sum of what loading takes from the arenas of weights, each block rounded up
 * to 64 as shoal_arena_bytes counts it:
 *
 *     linears            shoal_linear_measure of the slice; of those that are streamed
 *                        (shard/offload.h) the segments alone
 *     biases             fp32, the slice's columns
 *     norms              fp32, whole
 *     input scales       fp32, the slice's inputs
 *     kept permutations  int32 [k] (shoal_slice_keeps_order_of)
 *     embedding          the rank's rows in the weight's dtype, unless shared with lm_head
 *     buffer             the largest sum of packed bytes that one layer, or lm_head, streams
 *
 * Scratch and reduce slots depend on how steps are run; whoever runs them states their bytes. */
#ifndef SHOAL_SHARD_BUDGET_H
#define SHOAL_SHARD_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "shard/slices.h"

/* What a rank's memory is made of. */
typedef struct {
    uint64_t weight_bytes;
    uint64_t kv_bytes;    /* pages for the context asked for */
    uint64_t other_bytes; /* scratch, slots, tables          */
} shoal_rank_layout;

static inline uint64_t shoal_rank_layout_bytes(const shoal_rank_layout *layout)
{
    return layout->weight_bytes + layout->kv_bytes + layout->other_bytes;
}

typedef struct {
    shoal_slicing slicing;
    shoal_kv_type kv;
    int64_t context;             /* tokens the pages must hold, of all sequences together     */
    uint64_t memory;             /* bytes each rank may use; 0: no limit                      */
    const uint64_t *other_bytes; /* [ranks] from whoever runs the steps; NULL: 0 everywhere   */
} shoal_budget_request;

/* Linears of a rank by where they lie. */
typedef struct {
    int64_t host, pinned, streamed;
} shoal_placement_counts;

/* Bytes of a rank's weights. */
typedef struct {
    uint64_t read;     /* of the files, by loading                               */
    uint64_t held;     /* in the arenas of weights                               */
    uint64_t filled;   /* of `held`: panels and rows of the embedding            */
    uint64_t streamed; /* not held: packed bytes that pass through the buffer    */
    uint64_t buffer;   /* of `held`: what layers that are streamed use in turn   */
    shoal_placement_counts linears;
} shoal_weight_bytes;

typedef struct {
    uint64_t read_bytes;
    uint64_t streamed_bytes, buffer_bytes; /* as in shoal_weight_bytes */
    shoal_placement_counts linears;
    shoal_rank_layout memory;
    uint64_t resident_bytes; /* the sum of `memory` */
    int64_t kv_tokens;       /* what fits beside the rest, whole pages; without a limit, or on a
                                rank without kv heads, the context */
    bool fits;
} shoal_rank_budget;

typedef struct {
    int ranks;
    bool fits;                       /* every rank */
    double imbalance;                /* most weight bytes of a rank, held or streamed, / mean - 1 */
    uint64_t reduce_bytes_per_token; /* what each rank puts into the exact sums of one token  */
    uint64_t memory_needed;          /* the least --memory that fits this plan and context    */
    int64_t kv_tokens;               /* the least of the ranks: what the whole plan can hold  */
    shoal_rank_budget rank[SHOAL_RANKS_MAX];
} shoal_budget;

/* Bytes one token position costs on a rank, times SHOAL_PAGE: one page, all layers. */
uint64_t shoal_budget_page_bytes(const shoal_slicing *slicing, int rank, shoal_kv_type kv);

/* Weights of one rank. */
SHOAL_MUST_USE shoal_status shoal_budget_weights(const shoal_slicing *slicing, int rank,
                                                 shoal_weight_bytes *out);

/* Fill *out for all ranks. Not fitting is no error here. */
SHOAL_MUST_USE shoal_status shoal_budget_make(const shoal_budget_request *request,
                                              shoal_budget *out);

/* SHOAL_OK when it fits; else SHOAL_ERR_NOFIT with the sentence that says what would: more memory,
 * a shorter context, or more ranks (with equal capacities; tried up to four times as many). */
SHOAL_MUST_USE shoal_status shoal_budget_check(const shoal_budget_request *request,
                                               const shoal_budget *budget);

#endif

/* worker/residual.h - the branches of all ranks join the residual, and its norm feeds linears.
 *
 * A branch is what attention or the MLP adds to the residual: after an exchange either int64 parts
 * to be summed, or fp32 rows (act-order o). There are two ways to join it, with the same bits:
 *
 *     together   every rank sums, joins, norms and quantizes every row
 *     dealt      every rank does so for its share of the rows only, and a second exchange hands
 *                the inputs of the next linears round: int8 and scales instead of int64
 *
 * A step is done in one way throughout: when rows are dealt, scratch->x holds this rank's rows
 * only, until shoal_residual_end completes it. Which way is chosen by numbers all ranks know. */
#ifndef SHOAL_WORKER_RESIDUAL_H
#define SHOAL_WORKER_RESIDUAL_H

#include "worker/forward.h"

/* Rows of a step from which they are dealt, unless the settings say otherwise. Measured on two
 * cores, hidden 2048: dealing costs nothing for a single row, saves 3 to 5 % of a step of 4 to 8
 * rows and 10 to 15 % of one of 32 to 512 on 2 ranks, 16 to 30 % on 4, and 1 to 5 % where every
 * rank is a node of its own. Below 4 the second exchange is a latency for nothing. */
#define SHOAL_DEAL_ROWS 4

typedef struct {
    const int64_t *parts[SHOAL_RANKS_MAX]; /* of this rank's rows, [rows][hidden + 1]        */
    int part_count;
    const float *rows; /* instead: fp32 [rows of the step][hidden], this rank's are there    */
    const float *bias; /* joins after the sum                                                */
    const float *norm; /* of the branch before it joins                                      */
    int layer;         /* whose branch it is; -1: none yet                                   */
} shoal_branch;

/* Bytes that a dealt row needs in a slot: the most of all layers. */
uint64_t shoal_residual_row_bytes(const shoal_forward *f);

/* Will a step of `rows` be dealt? */
bool shoal_residual_deals(const shoal_forward *f, int64_t rows);

/* The rows that `rank` joins in the present step of `rows`. */
shoal_range shoal_residual_share(const shoal_forward *f, int64_t rows, int rank);

/* The slot holds this rank's unit sums of every row: exchange them, set the branch's parts. */
SHOAL_MUST_USE shoal_status shoal_residual_reduce(const shoal_forward *f, int64_t rows,
                                                  shoal_branch *b);

/* Join the branch (none: leave x), norm with `weight` into the view's acts, note rows that fell.
 * The branch is empty afterwards. */
SHOAL_MUST_USE shoal_status shoal_residual_norm(const shoal_forward *f, int64_t rows,
                                                shoal_branch *b, const float *weight,
                                                const shoal_stage_view *view);

/* Join the last branch of a step; then scratch->x is whole on every rank. */
SHOAL_MUST_USE shoal_status shoal_residual_end(const shoal_forward *f, int64_t rows,
                                               shoal_branch *b);

#endif

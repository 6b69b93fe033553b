/* shard/plan.h - who owns what: pure integers, no files, no MPI, no allocation of weights.
 *
 * Any number of ranks >= 1 works; a rank may own nothing of a part (an empty range). q heads are
 * dealt singly or by whole kv groups, the intermediate size in units (docs/arithmetic.md rule 4),
 * the vocabulary in panels of 64; unequal capacities by largest remainder. kv heads follow by
 * touched range and are held twice only where two ranks touch one.
 *
 * The units of all experts of a layer are dealt together, in the order (unit, expert): every expert
 * is cut like an MLP, to within one unit, and a layer of experts of one unit each is still shared
 * evenly. Where whole experts are wanted the order is (expert, unit), and the deal is in experts.
 *
 * The cost rule that decides between single heads and whole kv groups. In blocks of
 * head_dim x hidden weights a rank's attention costs
 *
 *     2 per q head (its columns of q and of o)
 *     4 per kv head it touches (k, v, and as much again for the pages they fill)
 *
 * divided by the rank's capacity; a deal costs what its costliest rank costs. Whole groups are
 * kept unless single heads make that at least SHOAL_PLAN_SINGLE_GAIN percent cheaper. Everything
 * is integers (capacities that are not whole numbers are first scaled so that the largest is
 * 2^30), so every rank on every machine makes the same plan. */
#ifndef SHOAL_SHARD_PLAN_H
#define SHOAL_SHARD_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_RANKS_MAX        1024
#define SHOAL_PLAN_SINGLE_GAIN 10

/* Half open; empty is [x, x) at the running boundary. */
typedef struct {
    int64_t begin, end;
} shoal_range;

static inline int64_t shoal_range_size(shoal_range r)
{
    return r.end - r.begin;
}

/* MLPs of one size beside the plain ones. */
typedef struct {
    int64_t count; /* of them in a layer; 0: no layer has any */
    int64_t intermediate, unit;
} shoal_plan_mlps;

/* What the deal needs to know of a model. */
typedef struct {
    int64_t heads, kv_heads, head_dim;
    int64_t intermediate; /* of plain MLPs; may be 0 where every layer has experts */
    int64_t unit;         /* of down: elements, from shoal_plan_down_unit */
    int64_t vocab;
    int64_t hidden;
    shoal_plan_mlps experts, shared; /* `shared` is one expert that every row goes through */
    int64_t chosen;                  /* experts that a row goes through beside the shared one */
    bool whole_experts;
} shoal_plan_shape;

typedef struct {
    shoal_range q_heads, kv_heads, units, vocab_panels;
    shoal_range intermediate; /* the elements that `units` cover, cut at the end */
    shoal_range expert_units; /* of all experts of a layer, in the order of the deal */
    shoal_range shared;       /* elements of the shared expert */
    shoal_range vocab;        /* the ids that `vocab_panels` cover, cut at the end */
    shoal_range hidden;       /* columns of o where o is cut along n (act-order) */
    int64_t streamed;         /* of the layers that may be: shard/offload.h      */
} shoal_rank_plan;

typedef struct {
    int ranks;
    shoal_plan_shape shape;
    bool whole_kv_groups; /* the choice the cost rule made */
    shoal_rank_plan rank[SHOAL_RANKS_MAX];
} shoal_plan;

/* Unit of down: lcm(group, 128) over the down of all MLPs of one size, doubled where K >= 4096;
 * per-channel and float weights count as group 128. `groups` holds one group per down, in the order
 * of the layers, already so normalised.
 * SHOAL_ERR_DATA when it would need more than SHOAL_UNITS_MAX units. */
SHOAL_MUST_USE shoal_status shoal_plan_down_unit(const int64_t *groups, int64_t count,
                                                 int64_t intermediate, int64_t *out);

/* Deal `count` items (0 .. 2^32) over `ranks` by capacity (NULL: equal) by largest remainder; ties
 * to the lower rank; ranges ascend with the rank. Arguments are as shoal_plan_make checks them. */
void shoal_plan_deal(int64_t count, int ranks, const double *capacity, shoal_range *out);

/* The intermediate elements of `expert` that `rank` holds; maybe none, then at the running
 * boundary. */
shoal_range shoal_plan_expert(const shoal_plan *plan, int rank, int64_t expert);

/* Units to show of a rank: of plain MLPs or, where there are none, of the experts. */
static inline shoal_range shoal_plan_units(const shoal_plan *plan, int rank)
{
    return plan->shape.intermediate ? plan->rank[rank].units : plan->rank[rank].expert_units;
}

/* Fill *out. capacity: `ranks` positive weights, or NULL. SHOAL_ERR_USAGE for ranks outside
 * 1..SHOAL_RANKS_MAX or a capacity that is not a positive number; SHOAL_ERR_DATA for a shape that
 * is no model (a size below 1 or above 2^31, kv heads that do not divide heads, too many units). */
SHOAL_MUST_USE shoal_status shoal_plan_make(const shoal_plan_shape *shape, int ranks,
                                            const double *capacity, shoal_plan *out);

/* A digest of everything that decides who owns what; equal plans, equal digests. */
void shoal_plan_digest(const shoal_plan *plan, uint8_t out[16]);

#endif

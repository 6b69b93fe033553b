/* shard/offload.h - where weights lie while steps run: what --offload says, and what the plan makes
 * of it.
 *
 *     host      in the rank's arena
 *     pinned    there too, locked in memory where the system allows it
 *     mmap      not held: streamed. When a step comes to its layer it is read from the pack file,
 *               checked and packed into one buffer that all layers use in turn
 *
 * SPEC is `REGEX=PLACEMENT` (POSIX extended, on names as "model.layers.3.mlp.down_proj"), or a
 * PLACEMENT alone, several with commas between; the first that matches decides, and what none
 * matches is host. `mmap` alone leaves it to the plan: whole layers are streamed, as few as the
 * memory of a rank demands and all of them where it is not limited; lm_head goes last. Only linears
 * are streamed: norms, biases, the embedding and an lm_head that serves as embedding are held.
 *
 * The k layers streamed of n are spread evenly, so that every one of them can come from the disk
 * while layers before it are computed. Pure but for the names: no files, no memory of weights. */
#ifndef SHOAL_SHARD_OFFLOAD_H
#define SHOAL_SHARD_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/slices.h"

/* Note for every weight where SPEC puts it. SHOAL_ERR_USAGE names what is wrong in it: a placement
 * that is none, a regex that is none or matches no linear. *streams: is anything `mmap`? */
SHOAL_MUST_USE shoal_status shoal_offload_mark(shoal_manifest *manifest, const char *spec,
                                               bool *streams);

/* Places are the layers, and behind them lm_head. */
int64_t shoal_offload_places(const shoal_manifest *manifest);
int64_t shoal_offload_place(const shoal_manifest *manifest, const shoal_weight *weight);

/* Of `places` places, `streamed` of them free to be: is this one? */
bool shoal_offload_is_streamed(int64_t place, int64_t places, int64_t streamed);

/* What a rank's places cost, in bytes of packed arrays. */
typedef struct {
    uint64_t held;          /* of everything that is not streamed in any case */
    int64_t places;         /*                                                */
    const uint64_t *chosen; /* [places]: streamed in any case                 */
    const uint64_t *free;   /* [places]: part of `held`, may be streamed      */
} shoal_offload_costs;

/* Bytes held, the buffer among them, with `streamed` places streamed. */
uint64_t shoal_offload_held(const shoal_offload_costs *costs, int64_t streamed);

/* The fewest places to stream so that no more than `room` bytes are held; all when none suffice. */
int64_t shoal_offload_decide(const shoal_offload_costs *costs, uint64_t room);

/* The same for a rank of a plan, whose `streamed` is still 0; room in bytes for weights. */
SHOAL_MUST_USE shoal_status shoal_offload_plan(const shoal_slicing *slicing, int rank,
                                               uint64_t room, int64_t *streamed);

/* Is this linear streamed on a rank? */
bool shoal_offload_streams(const shoal_slicing *slicing, int rank, const shoal_weight *weight);

/* Must the order of an act-order down be kept because gate, up or down may be streamed? */
bool shoal_offload_keeps_order(const shoal_slicing *slicing, int rank, const shoal_weight *weight);

#endif

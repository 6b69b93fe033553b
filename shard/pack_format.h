/* shard/pack_format.h - the pack file, layout "shoal-pack/1": one file that any number of workers
 * load by contiguous reads.
 *
 *     0   "SHOALPK" and a byte 1   8 u32 version   12 u32 byte order word   16 u64 bytes of header
 *     24  XXH3-128 of the header   40 zeros   64 header: JSON, padded with spaces to 64
 *     then, without a gap: digests, texts (config.json, tokenizer files), tensors
 *
 * Every tensor is a sequence of runs, and every run has an XXH3-128 digest that is checked by
 * whoever reads it; header, digests and texts are checked when the file is opened. So a flipped
 * bit is found, whichever it is. Runs of plain tensors are rows (vectors: all). A linear with
 * integers, or with floats whose inputs are cut between workers, is MODULE.pack:
 *
 *     along n   a run is `step` outputs over all inputs
 *     along k   a run is `step` inputs (a unit, docs/arithmetic.md rule 4) of all outputs
 *
 * Integers of a run: words [inputs / 8][outputs] (8 bits: / 4) of codes along k, lowest first;
 * scales [groups][outputs] of dtype; zero points i16 and minimums fp32 likewise where the linear
 * has them; zeros up to a multiple of 64 bytes. Groups are those the run's inputs touch. Floats:
 * [outputs][inputs]. An act-order linear is stored in sorted order, MODULE.pack_order i32 [k] says
 * which. */
#ifndef SHOAL_SHARD_PACK_FORMAT_H
#define SHOAL_SHARD_PACK_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"
#include "proto/bytes.h"

#define SHOAL_PACK_MAGIC      "SHOALPK\x01"
#define SHOAL_PACK_LAYOUT     "shoal-pack/1"
#define SHOAL_PACK_VERSION    1u
#define SHOAL_PACK_ORDER      0x01020304u
#define SHOAL_PACK_PREAMBLE   64
#define SHOAL_PACK_ALIGN      64
#define SHOAL_PACK_HEADER_MAX (1ull << 30)

/* How a linear lies in runs. */
typedef struct shoal_pack_linear {
    int64_t n, k;
    bool along_k;
    int64_t step; /* outputs or inputs of a run; the last may be short */
    shoal_weight_kind kind;
    int bits; /* as the source had it */
    int64_t group, source_group;
    bool has_zeros, has_mins, act_order, per_token;
    int16_t zero_const;
    shoal_dtype dtype;
} shoal_pack_linear;

/* One run: where it is in the linear, and the places of its arrays. */
typedef struct {
    int64_t n_begin, n_end, k_begin, k_end;
    int64_t group_begin, groups;
    uint64_t scales, zeros, mins; /* offsets of the arrays; codes begin at 0 */
    uint64_t bytes;
} shoal_pack_run;

static inline int64_t shoal_pack_runs(const shoal_pack_linear *l)
{
    return shoal_ceil_div(l->along_k ? l->k : l->n, l->step);
}

/* Codes in a word of 32 bits. */
static inline int64_t shoal_pack_fields(const shoal_pack_linear *l)
{
    return l->kind == SHOAL_WEIGHT_INT8 ? 4 : 8;
}

/* Run `index`. */
shoal_pack_run shoal_pack_run_at(const shoal_pack_linear *linear, int64_t index);

/* Bytes of runs but the last, and of all. False where the numbers are too large. */
bool shoal_pack_measure(const shoal_pack_linear *linear, uint64_t *run_bytes, uint64_t *bytes);

#endif

/* shard/gguf_block.h - what a block of a GGUF tensor holds: codes, scales and minimums.
 *
 * A block is `elements` neighbours of a row in `bytes` bytes. Decoding gives the canonical form
 * (kernels/canonical.h): w = (code - zero) * scale + min, scale and min belonging to every `group`
 * elements. Super-blocks of 256 have one half float each for scales and minimums, multiplied by
 * small integers per group: the products are exact in fp32. Codes through a table (IQ4) are the
 * table's int8 values + 128. Layouts: ggml's block structures; numbers, not code, are taken. */
#ifndef SHOAL_SHARD_GGUF_BLOCK_H
#define SHOAL_SHARD_GGUF_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"

#define SHOAL_GGUF_BLOCK_MAX  256 /* elements */
#define SHOAL_GGUF_GROUPS_MAX 16  /* of a block */

typedef struct {
    uint32_t type; /* as in the file (shard/gguf.h) */
    int16_t elements, bytes, group;
    int16_t bits; /* of a code in the file */
    shoal_weight_kind kind;
    int16_t zero;
    bool has_mins;
    shoal_dtype dtype; /* of the scales: what holds them exactly */
    /* codes [elements], scales and mins [elements / group]; mins are left alone without has_mins.
     */
    void (*decode)(const uint8_t *block, uint8_t *codes, float *scales, float *mins);
} shoal_gguf_block;

/* NULL for types that are not read. */
const shoal_gguf_block *shoal_gguf_block_find(uint32_t type);

/* "Q4_0, Q4_1, ...": those that are, for messages. */
const char *shoal_gguf_block_list(void);

#endif

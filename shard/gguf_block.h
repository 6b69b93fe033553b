/* shard/gguf_block.h - what a block of a GGUF tensor holds: codes, scales and minimums.
 *
 * A block is `elements` neighbours of a row in `bytes` bytes: w = (code - zero) * scale + min. In
 * blocks of several groups (K-quants, IQ4_XS) scale and min are one half float each times small
 * integers, the steps of a group: exact in fp32. Codes through a table (IQ4) are the table's int8
 * values + 128. Layouts: ggml's block structures; numbers, not code, are taken. */
#ifndef SHOAL_SHARD_GGUF_BLOCK_H
#define SHOAL_SHARD_GGUF_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"

#define SHOAL_GGUF_BLOCK_MAX  256 /* elements */
#define SHOAL_GGUF_GROUPS_MAX 16  /* of a block */
#define SHOAL_GGUF_TABLE      16  /* values of a code of IQ4 */

/* A block, decoded; steps only where it has several groups, min and min_steps with has_mins. The
 * minimum of group g is min * min_steps[g], so min is negative where the file subtracts. */
typedef struct {
    float scale, min;
    uint8_t codes[SHOAL_GGUF_BLOCK_MAX];
    int8_t steps[SHOAL_GGUF_GROUPS_MAX], min_steps[SHOAL_GGUF_GROUPS_MAX];
} shoal_gguf_content;

typedef struct shoal_gguf_block {
    uint32_t type; /* as in the file (shard/gguf.h) */
    int16_t elements, bytes, group;
    int16_t bits; /* of a code in the file */
    shoal_weight_kind kind;
    int16_t zero;
    bool has_mins;
    void (*decode)(const uint8_t *block, shoal_gguf_content *out);
} shoal_gguf_block;

static inline bool shoal_gguf_block_has_steps(const shoal_gguf_block *block)
{
    return block->group < block->elements;
}

/* Write `content` as a block of `form->bytes` bytes: decode gives it back. Halves are rounded,
 * codes and steps must be in range. */
void shoal_gguf_encode(const shoal_gguf_block *form, const shoal_gguf_content *content,
                       uint8_t *block);

/* Are its codes those of a table? Then they are among these, kvalues_iq4nl of ggml + 128. */
static inline bool shoal_gguf_block_has_table(const shoal_gguf_block *block)
{
    return block->bits == 4 && block->zero == 128;
}
extern const uint8_t shoal_gguf_iq4_codes[SHOAL_GGUF_TABLE];

/* NULL for types that are not read. */
const shoal_gguf_block *shoal_gguf_block_find(uint32_t type);

/* "Q4_0, Q4_1, ...": those that are, for messages. */
const char *shoal_gguf_block_list(void);

#endif

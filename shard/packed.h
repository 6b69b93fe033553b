/* shard/packed.h - fields of a few bits in 32-bit little-endian words, as GPTQ and AWQ store them.
 *
 * Field i of a run starts at bit i * bits, lowest bit first; a 3-bit field may lie in two words.
 * Words are given as bytes because they are read as they lie in the file. */
#ifndef SHOAL_SHARD_PACKED_H
#define SHOAL_SHARD_PACKED_H

#include <stdint.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "proto/bytes.h"

#define SHOAL_WORD_BYTES 4

/* Fields that fill whole words together, and those words: 3 bits meet a word edge every 32. */
static inline int64_t shoal_packed_fields(int bits)
{
    return bits == 3 ? 32 : 32 / bits;
}

static inline int64_t shoal_packed_words(int bits)
{
    return bits == 3 ? 3 : 1;
}

/* The words [begin, end) that hold fields [first, last), widened to such blocks and cut at
 * `words`, the length of the run. */
typedef struct {
    int64_t begin, end;
    int64_t field; /* the first field of word `begin` */
} shoal_packed_span;

static inline shoal_packed_span shoal_packed_cover(int64_t first, int64_t last, int bits,
                                                   int64_t words)
{
    const int64_t fields = shoal_packed_fields(bits), step = shoal_packed_words(bits);
    const int64_t block = first / fields;
    const int64_t end = shoal_ceil_div(last, fields) * step;
    if (first >= last)
        return (shoal_packed_span){0, 0, 0};
    return (shoal_packed_span){block * step, shoal_min_i64(end, words), block * fields};
}

/* Field `index` of a run whose word w lies at words + w * stride bytes. `count` words. */
static inline uint32_t shoal_packed_field(const uint8_t *words, int64_t stride, int64_t count,
                                          int64_t index, int bits)
{
    const int64_t bit = index * bits, word = bit / 32;
    const int shift = (int)(bit % 32);
    uint64_t pair = shoal_load_le32(words + word * stride);
    if (shift + bits > 32 && word + 1 < count)
        pair |= (uint64_t)shoal_load_le32(words + (word + 1) * stride) << 32;
    return (uint32_t)(pair >> shift) & ((1u << bits) - 1);
}

/* Eight 4-bit codes as a word, the first in the lowest bits. */
static inline uint32_t shoal_pack_nibbles(uint64_t codes)
{
    codes = (codes | codes >> 4) & 0x00ff00ff00ff00ffu;
    codes = (codes | codes >> 8) & 0x0000ffff0000ffffu;
    return (uint32_t)(codes | codes >> 16);
}

/* Codes [first, first + count) of a row of 4- or 8-bit fields, a byte each, to `out`. In
 * little-endian words field i of such a row is field i of its bytes. */
static inline void shoal_packed_row(const uint8_t *row, int64_t first, int64_t count, int bits,
                                    uint8_t *out)
{
    if (bits == 8) {
        memcpy(out, row + first, (size_t)count);
        return;
    }
    if (first % 2 && count > 0) {
        *out++ = row[first++ / 2] >> 4;
        count--;
    }
    shoal_nibbles_best()->unpack(row + first / 2, count, &shoal_nibbles_plain, out);
}

#endif

/* proto/bytes.h - sizes that come from outside, numbers and words as bytes.
 *
 * Every product or sum of a size read from a file, a message or an option goes through these
 * functions: they return false on overflow and leave the output alone. Byte order of files and
 * of the wire is little-endian; loads and stores accept any alignment. */
#ifndef SHOAL_PROTO_BYTES_H
#define SHOAL_PROTO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool shoal_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline bool shoal_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

/* Round `a` up to a multiple of `step` (> 0). */
static inline bool shoal_pad_u64(uint64_t a, uint64_t step, uint64_t *out)
{
    const uint64_t rest = a % step;
    return shoal_add_u64(a, rest ? step - rest : 0, out);
}

/* Is [offset, offset + bytes) inside an object of `total` bytes? */
static inline bool shoal_range_inside(uint64_t offset, uint64_t bytes, uint64_t total)
{
    return offset <= total && bytes <= total - offset;
}

/* For counts that are already known to be small and non-negative; b > 0. */
static inline int64_t shoal_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t shoal_round_up(int64_t a, int64_t step)
{
    return shoal_ceil_div(a, step) * step;
}

static inline int64_t shoal_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t shoal_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Is a text without a terminator this word? */
static inline bool shoal_text_is(const char *text, uint64_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(text, word, bytes) == 0;
}

static inline uint16_t shoal_load_le16(const void *at)
{
    const unsigned char *b = at;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t shoal_load_le32(const void *at)
{
    const unsigned char *b = at;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t shoal_load_le64(const void *at)
{
    const unsigned char *b = at;
    return (uint64_t)shoal_load_le32(b) | (uint64_t)shoal_load_le32(b + 4) << 32;
}

static inline void shoal_store_le32(void *at, uint32_t v)
{
    unsigned char *b = at;
    for (int i = 0; i < 4; i++)
        b[i] = (unsigned char)(v >> (8 * i));
}

static inline void shoal_store_le64(void *at, uint64_t v)
{
    unsigned char *b = at;
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)(v >> (8 * i));
}

#endif

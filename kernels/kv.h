/* kernels/kv.h - inside a KV page (docs/arithmetic.md rule 5): where an element is, and writing one
 * position. What a page holds is private to kernels/; its size (kernels/backend.h) is not.
 *
 * A page of one kv head: keys, then values [16 positions][head_dim]; an int8 page then has 16 fp32
 * scales of the keys and 16 of the values. fp32 and fp16 keys are [head_dim][16 positions], so a
 * vector is one element of many positions; int8 keys are [head_dim / 4][16 positions][4], so it is
 * four elements of each (what a dot product of bytes takes), and head_dim % 4 elements at the end
 * are [.][16 positions] again. */
#ifndef SHOAL_KERNELS_KV_H
#define SHOAL_KERNELS_KV_H

#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/ops.h"
#include "kernels/quantize_rows.h"

/* Append one position's key and value [head_dim] to `slot` (0..15) of a page of one kv head, in
 * the cache's type. Returns the row errors found (a value that the cache cannot hold). */
int64_t shoal_kv_append(const shoal_ops_row *ops, const shoal_quantize_row *quantize,
                        const shoal_kv_layer *kv, int64_t kv_head, int32_t page, int64_t slot,
                        const float *key, const float *value);

/* Where one kv head of one page is, and the parts of it. */
static inline uint8_t *shoal_kv_at(const shoal_kv_layer *kv, int64_t kv_head, int32_t page,
                                   uint64_t head_bytes)
{
    return kv->base + (uint64_t)(page * kv->kv_heads + kv_head) * head_bytes;
}

static inline int64_t shoal_kv_element(shoal_kv_type type)
{
    return type == SHOAL_KV_F32 ? 4 : type == SHOAL_KV_F16 ? 2 : 1;
}

/* Index (in elements) of element d of the key in a slot. */
static inline int64_t shoal_kv_key_index(shoal_kv_type type, int64_t head_dim, int64_t d,
                                         int64_t slot)
{
    if (type == SHOAL_KV_INT8 && d < head_dim / 4 * 4)
        return (d / 4 * SHOAL_PAGE + slot) * 4 + d % 4;
    return d * SHOAL_PAGE + slot;
}

/* Values start here, and in an int8 page the scales: 16 of the keys, then 16 of the values. */
static inline int64_t shoal_kv_values_at(shoal_kv_type type, int64_t head_dim)
{
    return SHOAL_PAGE * head_dim * shoal_kv_element(type);
}

static inline int64_t shoal_kv_scales_at(int64_t head_dim)
{
    return 2 * SHOAL_PAGE * head_dim;
}

#endif

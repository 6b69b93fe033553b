/* KV pages: their size, and writing one position into them (docs/arithmetic.md rule 5). */
#include "kernels/kv.h"

#include <string.h>

#include "proto/bytes.h"

uint64_t shoal_kv_head_bytes(shoal_kv_type type, int64_t head_dim)
{
    uint64_t bytes = (uint64_t)(2 * shoal_kv_values_at(type, head_dim));
    if (type == SHOAL_KV_INT8)
        bytes += 2 * SHOAL_PAGE * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* Copy a key of `size`-byte elements to its slot. */
static void put_key(shoal_kv_type type, uint8_t *keys, int64_t n, int64_t slot, const void *key,
                    size_t size)
{
    for (int64_t d = 0; d < n; d++)
        memcpy(keys + (size_t)shoal_kv_key_index(type, n, d, slot) * size,
               (const uint8_t *)key + (size_t)d * size, size);
}

static int64_t append_f16(const shoal_ops_row *ops, uint8_t *keys, uint8_t *values, int64_t n,
                          int64_t slot, const float *key, const float *value)
{
    uint16_t half[SHOAL_HEAD_DIM_MAX];
    int64_t errors = ops->to_f16(key, n, half);
    put_key(SHOAL_KV_F16, keys, n, slot, half, sizeof *half);
    errors += ops->to_f16(value, n, half);
    memcpy(values, half, (size_t)n * sizeof *half);
    return errors;
}

static int64_t append_int8(const shoal_quantize_row *quantize, uint8_t *keys, uint8_t *values,
                           int64_t n, int64_t slot, const float *key, const float *value)
{
    int8_t q[SHOAL_HEAD_DIM_MAX];
    float scales[2];
    uint8_t *stored = keys + shoal_kv_scales_at(n) + slot * 4;
    int64_t errors = shoal_quantize_group(quantize, key, n, q, &scales[0]);
    put_key(SHOAL_KV_INT8, keys, n, slot, q, sizeof *q);
    errors += shoal_quantize_group(quantize, value, n, q, &scales[1]);
    memcpy(values, q, (size_t)n);
    memcpy(stored, &scales[0], sizeof(float));
    memcpy(stored + SHOAL_PAGE * sizeof(float), &scales[1], sizeof(float));
    return errors;
}

int64_t shoal_kv_append(const shoal_ops_row *ops, const shoal_quantize_row *quantize,
                        const shoal_kv_layer *kv, int64_t kv_head, int32_t page, int64_t slot,
                        const float *key, const float *value)
{
    const int64_t n = kv->head_dim, element = shoal_kv_element(kv->type);
    uint8_t *keys = shoal_kv_at(kv, kv_head, page, shoal_kv_head_bytes(kv->type, n));
    uint8_t *values = keys + shoal_kv_values_at(kv->type, n) + slot * n * element;
    switch (kv->type) {
    case SHOAL_KV_F32:
        put_key(SHOAL_KV_F32, keys, n, slot, key, sizeof *key);
        memcpy(values, value, (size_t)n * sizeof *value);
        return 0;
    case SHOAL_KV_F16: return append_f16(ops, keys, values, n, slot, key, value);
    default: return append_int8(quantize, keys, values, n, slot, key, value);
    }
}

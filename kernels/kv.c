/* KV pages: their size, and writing one position into them (docs/arithmetic.md rule 5). */
#include <string.h>

#include "kernels/ops.h"
#include "proto/bytes.h"

uint64_t shoal_kv_head_bytes(shoal_kv_type type, int64_t head_dim)
{
    uint64_t bytes = (uint64_t)(2 * shoal_kv_values_at(type, head_dim));
    if (type == SHOAL_KV_INT8)
        bytes += 2 * SHOAL_PAGE * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* One position in each type; `keys` points at its slot, `values` at its row. */
static void append_f32(uint8_t *keys, uint8_t *values, int64_t n, const float *key,
                       const float *value)
{
    for (int64_t d = 0; d < n; d++)
        memcpy(keys + d * SHOAL_PAGE * 4, key + d, 4);
    memcpy(values, value, (size_t)n * 4);
}

static int64_t append_f16(const shoal_ops_row *ops, uint8_t *keys, uint8_t *values, int64_t n,
                          const float *key, const float *value)
{
    uint16_t half[SHOAL_HEAD_DIM_MAX];
    int64_t errors = ops->to_f16(key, n, half);
    for (int64_t d = 0; d < n; d++)
        memcpy(keys + d * SHOAL_PAGE * 2, half + d, 2);
    errors += ops->to_f16(value, n, half);
    memcpy(values, half, (size_t)n * 2);
    return errors;
}

static int64_t append_int8(const shoal_quantize_row *quantize, uint8_t *keys, uint8_t *values,
                           int64_t n, const float *key, const float *value, float scales[2])
{
    int8_t q[SHOAL_HEAD_DIM_MAX];
    int64_t errors = shoal_quantize_group(quantize, key, n, q, &scales[0]);
    for (int64_t d = 0; d < n; d++)
        keys[d * SHOAL_PAGE] = (uint8_t)q[d];
    errors += shoal_quantize_group(quantize, value, n, q, &scales[1]);
    memcpy(values, q, (size_t)n);
    return errors;
}

int64_t shoal_kv_append(const shoal_ops_row *ops, const shoal_quantize_row *quantize,
                        const shoal_kv_layer *kv, int64_t kv_head, int32_t page, int64_t slot,
                        const float *key, const float *value)
{
    const int64_t n = kv->head_dim, element = shoal_kv_element(kv->type);
    uint8_t *at = shoal_kv_at(kv, kv_head, page, shoal_kv_head_bytes(kv->type, n));
    uint8_t *keys = at + slot * element;
    uint8_t *values = at + shoal_kv_values_at(kv->type, n) + slot * n * element;
    switch (kv->type) {
    case SHOAL_KV_F32: append_f32(keys, values, n, key, value); return 0;
    case SHOAL_KV_F16: return append_f16(ops, keys, values, n, key, value);
    default: break;
    }
    float scales[2];
    const int64_t errors = append_int8(quantize, keys, values, n, key, value, scales);
    uint8_t *stored = at + shoal_kv_scales_at(n) + slot * 4;
    memcpy(stored, &scales[0], sizeof(float));
    memcpy(stored + SHOAL_PAGE * sizeof(float), &scales[1], sizeof(float));
    return errors;
}

int64_t shoal_span_query(const shoal_quantize_row *quantize, const float *query, float *room,
                         shoal_span *span)
{
    span->query = query;
    span->query_scale = 1.0f;
    if (span->kv->type != SHOAL_KV_INT8)
        return 0;
    int8_t q[SHOAL_HEAD_DIM_MAX];
    const int64_t errors =
        shoal_quantize_group(quantize, query, span->kv->head_dim, q, &span->query_scale);
    for (int64_t d = 0; d < span->kv->head_dim; d++)
        room[d] = (float)q[d];
    span->query = room;
    return errors;
}

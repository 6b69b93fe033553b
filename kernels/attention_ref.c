/* The definition of right for attention, element by element from docs/arithmetic.md rule 5. Slow on
 * purpose: no step here is shared with a fast row. */
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/kv.h"
#include "kernels/mathf.h"
#include "proto/dtype.h"

/* The cache, one element at a time. */
static float stored(shoal_kv_type type, const uint8_t *array, int64_t index)
{
    switch (type) {
    case SHOAL_KV_F32: return shoal_load_f32(array, SHOAL_F32, (size_t)index);
    case SHOAL_KV_F16: return shoal_load_f32(array, SHOAL_F16, (size_t)index);
    default: return (float)(int8_t)array[index];
    }
}

static const uint8_t *page_of(const shoal_queries *q, int64_t position)
{
    const uint64_t bytes = shoal_kv_head_bytes(q->kv->type, q->kv->head_dim);
    return shoal_kv_at(q->kv, q->kv_head, q->pages[position / SHOAL_PAGE], bytes);
}

/* int8: the scale of the key (part 0) or the value (part 1) of a page's position. */
static float scale_of(const shoal_queries *q, const uint8_t *page, int64_t slot, int part)
{
    const uint8_t *scales = page + shoal_kv_scales_at(q->kv->head_dim);
    return shoal_load_f32(scales, SHOAL_F32, (size_t)(part * SHOAL_PAGE + slot));
}

static float score(const shoal_queries *q, int64_t i, int64_t position)
{
    const shoal_kv_type type = q->kv->type;
    const uint8_t *keys = page_of(q, position);
    const int64_t slot = position % SHOAL_PAGE, n = q->kv->head_dim;
    float x;
    if (type == SHOAL_KV_INT8) {
        int32_t dot = 0;
        for (int64_t d = 0; d < n; d++)
            dot +=
                q->q[i * SHOAL_QUERY_LD + d] * (int8_t)keys[shoal_kv_key_index(type, n, d, slot)];
        x = (float)dot * (q->scales[i] * scale_of(q, keys, slot, 0));
    } else {
        x = 0.0f;
        for (int64_t d = 0; d < n; d++)
            x = fmaf(q->f32[i * SHOAL_QUERY_LD + d],
                     stored(type, keys, shoal_kv_key_index(type, n, d, slot)), x);
    }
    x *= q->scale;
    return q->soft_cap != 0.0f ? q->soft_cap * shoal_tanhf(x / q->soft_cap) : x;
}

/* o[d] = fmaf(weight, value of the position, o[d]). A value of an int8 cache is (float)q * scale,
 * rounded once, before its fmaf. */
static void add_value(const shoal_queries *q, int64_t position, float weight, float *o)
{
    const shoal_kv_type type = q->kv->type;
    const int64_t head_dim = q->kv->head_dim, slot = position % SHOAL_PAGE;
    const uint8_t *page = page_of(q, position);
    const uint8_t *values = page + shoal_kv_values_at(type, head_dim);
    for (int64_t d = 0; d < head_dim; d++) {
        float v = stored(type, values, slot * head_dim + d);
        if (type == SHOAL_KV_INT8)
            v *= scale_of(q, page, slot, 1);
        o[d] = fmaf(weight, v, o[d]);
    }
}

/* Query i over positions [begin, end), all inside one chunk. The highest score is never a NaN, but
 * a NaN makes the sum NaN. */
static void attend(const shoal_queries *q, int64_t i, int64_t begin, int64_t end, float *part)
{
    float p[SHOAL_CHUNK], lane[SHOAL_SUM_LANES] = {0}, max = -INFINITY;
    for (int64_t j = begin; j < end; j++) {
        p[j - begin] = score(q, i, j);
        if (p[j - begin] > max)
            max = p[j - begin];
    }
    memset(part + SHOAL_PART_O, 0, (size_t)q->kv->head_dim * sizeof *part);
    for (int64_t j = begin; j < end; j++) {
        p[j - begin] = shoal_expf(p[j - begin] - max);
        lane[j % SHOAL_SUM_LANES] += p[j - begin];
        add_value(q, j, p[j - begin], part + SHOAL_PART_O);
    }
    for (int half = SHOAL_SUM_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    part[0] = max;
    part[1] = lane[0];
}

static void chunk(const shoal_queries *q, int64_t which, float *room, float *parts)
{
    const int64_t start = which * SHOAL_CHUNK;
    (void)room;
    for (int64_t i = 0; i < q->rows * q->heads; i++) {
        const int64_t past = q->position + i / q->heads + 1;
        const int64_t from = q->window > 0 ? shoal_max_i64(past - q->window, 0) : 0;
        const int64_t begin = shoal_max_i64(from, start);
        const int64_t end = shoal_min_i64(past, start + SHOAL_CHUNK);
        if (begin < end)
            attend(q, i, begin, end, parts + i * shoal_part_floats(q->kv->head_dim));
    }
}

static void join(float *part, const float *next, int64_t head_dim)
{
    float *o = part + SHOAL_PART_O;
    const float *next_o = next + SHOAL_PART_O;
    if (next[0] <= part[0]) {
        const float b = shoal_expf(next[0] - part[0]);
        part[1] = fmaf(b, next[1], part[1]);
        for (int64_t d = 0; d < head_dim; d++)
            o[d] = fmaf(b, next_o[d], o[d]);
    } else {
        const float a = shoal_expf(part[0] - next[0]);
        part[1] = fmaf(a, part[1], next[1]);
        for (int64_t d = 0; d < head_dim; d++)
            o[d] = fmaf(a, o[d], next_o[d]);
        part[0] = next[0];
    }
}

static void finish(const float *part, int64_t head_dim, float *out)
{
    const float inverse = 1.0f / part[1];
    for (int64_t d = 0; d < head_dim; d++)
        out[d] = part[SHOAL_PART_O + d] * inverse;
}

const shoal_attention_row shoal_attention_ref = {
    .name = "attention-ref",
    .needs = SHOAL_CPU_REF,
    .chunk = chunk,
    .join = join,
    .finish = finish,
};

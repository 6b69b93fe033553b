/* The definition of right for everything but linears, element by element from docs/arithmetic.md.
 * Slow on purpose: no step here is shared with a fast row. */
#include <math.h>
#include <string.h>

#include "kernels/mathf.h"
#include "kernels/ops.h"
#include "proto/bytes.h"
#include "proto/dtype.h"

typedef float (*function)(float);

static const function functions[SHOAL_MAPS] = {
    [SHOAL_MAP_EXP] = shoal_expf,   [SHOAL_MAP_LOG] = shoal_logf,
    [SHOAL_MAP_TANH] = shoal_tanhf, [SHOAL_MAP_ERF] = shoal_erff,
    [SHOAL_MAP_SILU] = shoal_siluf, [SHOAL_MAP_GELU_TANH] = shoal_gelu_tanhf,
    [SHOAL_MAP_GELU] = shoal_geluf,
};

static void map(shoal_map f, const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = functions[f](x[i]);
}

static void norm(const float *x, int64_t n, const float *weight, float eps, float *y)
{
    float lane[SHOAL_NORM_LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % SHOAL_NORM_LANES] = fmaf(x[i], x[i], lane[i % SHOAL_NORM_LANES]);
    const float sum = shoal_tree_sum(lane, SHOAL_NORM_LANES);
    const float r = 1.0f / sqrtf(sum / (float)n + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * weight[i];
}

static void join(const int64_t *const *parts, int count, int64_t offset, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t sum = 0; /* unsigned: a wild peer's numbers wrap instead of being undefined */
        for (int p = 0; p < count; p++)
            sum += (uint64_t)parts[p][offset + i];
        y[i] = (float)(int64_t)sum * (1.0f / SHOAL_UNIT_SCALE);
    }
}

static void add(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void rope(float *head, int64_t dim, const float *cos, const float *sin)
{
    const int64_t half = dim / 2;
    for (int64_t i = 0; i < half; i++) {
        const float a = head[i], b = head[i + half];
        head[i] = fmaf(a, cos[i], -(b * sin[i]));
        head[i + half] = fmaf(b, cos[i], a * sin[i]);
    }
}

static void gated(shoal_gate kind, const float *gate, const float *up, int64_t n, float *y)
{
    const function f = kind == SHOAL_GATE_SILU        ? shoal_siluf
                       : kind == SHOAL_GATE_GELU_TANH ? shoal_gelu_tanhf
                                                      : shoal_geluf;
    for (int64_t i = 0; i < n; i++)
        y[i] = f(gate[i]) * up[i];
}

static float capped(float x, float cap)
{
    return cap * shoal_tanhf(x / cap);
}

static void soft_cap(float *x, int64_t n, float cap)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = capped(x[i], cap);
}

static bool to_f16(const float *x, int64_t n, uint16_t *y)
{
    bool error = false;
    for (int64_t i = 0; i < n; i++) {
        y[i] = shoal_f16_from_f32(x[i]);
        error |= !(fabsf(x[i]) <= 65504.0f);
    }
    return error;
}

/* The cache, one element at a time. */
static float stored(shoal_kv_type type, const uint8_t *array, int64_t index)
{
    switch (type) {
    case SHOAL_KV_F32: return shoal_load_f32(array, SHOAL_F32, (size_t)index);
    case SHOAL_KV_F16: return shoal_load_f32(array, SHOAL_F16, (size_t)index);
    default: return (float)(int8_t)array[index];
    }
}

static const uint8_t *page_of(const shoal_span *s, int64_t position)
{
    const uint64_t bytes = shoal_kv_head_bytes(s->kv->type, s->kv->head_dim);
    return shoal_kv_at(s->kv, s->kv_head, s->pages[position / SHOAL_PAGE], bytes);
}

/* int8: the scale of the key (part 0) or the value (part 1) of a page's position. */
static float scale_of(const shoal_span *s, const uint8_t *page, int64_t slot, int part)
{
    const uint8_t *scales = page + shoal_kv_scales_at(s->kv->head_dim);
    return shoal_load_f32(scales, SHOAL_F32, (size_t)(part * SHOAL_PAGE + slot));
}

static float score(const shoal_span *s, int64_t position)
{
    const uint8_t *keys = page_of(s, position);
    const int64_t slot = position % SHOAL_PAGE, head_dim = s->kv->head_dim;
    float x;
    if (s->kv->type == SHOAL_KV_INT8) {
        int32_t dot = 0;
        for (int64_t d = 0; d < head_dim; d++)
            dot += (int32_t)s->query[d] * (int8_t)keys[d * SHOAL_PAGE + slot];
        x = (float)dot * (s->query_scale * scale_of(s, keys, slot, 0));
    } else {
        x = 0.0f;
        for (int64_t d = 0; d < head_dim; d++)
            x = fmaf(s->query[d], stored(s->kv->type, keys, d * SHOAL_PAGE + slot), x);
    }
    x *= s->scale;
    return s->soft_cap != 0.0f ? capped(x, s->soft_cap) : x;
}

/* o[d] = fmaf(weight, value of the position, o[d]). */
static void add_value(const shoal_span *s, int64_t position, float weight, float *o)
{
    const shoal_kv_type type = s->kv->type;
    const int64_t head_dim = s->kv->head_dim, slot = position % SHOAL_PAGE;
    const uint8_t *page = page_of(s, position);
    const uint8_t *values = page + shoal_kv_values_at(type, head_dim);
    for (int64_t d = 0; d < head_dim; d++) {
        float v = stored(type, values, slot * head_dim + d);
        if (type == SHOAL_KV_INT8)
            v *= scale_of(s, page, slot, 1);
        o[d] = fmaf(weight, v, o[d]);
    }
}

/* The weights and values of positions [begin, end), all inside one chunk. Returns the sum of the
 * weights; *max is the highest score (a NaN score is never the highest, but makes the sum NaN). */
static float attend_chunk(const shoal_span *s, int64_t begin, int64_t end, float *max, float *o)
{
    float p[SHOAL_CHUNK], lane[SHOAL_SUM_LANES] = {0};
    *max = -INFINITY;
    for (int64_t j = begin; j < end; j++) {
        p[j - begin] = score(s, j);
        if (p[j - begin] > *max)
            *max = p[j - begin];
    }
    memset(o, 0, (size_t)s->kv->head_dim * sizeof *o);
    for (int64_t j = begin; j < end; j++) {
        p[j - begin] = shoal_expf(p[j - begin] - *max);
        lane[j % SHOAL_SUM_LANES] += p[j - begin];
        add_value(s, j, p[j - begin], o);
    }
    return shoal_tree_sum(lane, SHOAL_SUM_LANES);
}

static void attend(const shoal_span *s, float *out)
{
    const int64_t head_dim = s->kv->head_dim;
    float o[SHOAL_HEAD_DIM_MAX], part[SHOAL_HEAD_DIM_MAX], m, l, part_m;
    int64_t end = shoal_min_i64(s->end, (s->begin / SHOAL_CHUNK + 1) * SHOAL_CHUNK);
    l = attend_chunk(s, s->begin, end, &m, o);
    for (int64_t begin = end; begin < s->end; begin = end) {
        end = shoal_min_i64(s->end, begin + SHOAL_CHUNK);
        const float part_l = attend_chunk(s, begin, end, &part_m, part);
        if (part_m <= m) {
            const float b = shoal_expf(part_m - m);
            l = fmaf(b, part_l, l);
            for (int64_t d = 0; d < head_dim; d++)
                o[d] = fmaf(b, part[d], o[d]);
        } else {
            const float a = shoal_expf(m - part_m);
            l = fmaf(a, l, part_l);
            for (int64_t d = 0; d < head_dim; d++)
                o[d] = fmaf(a, o[d], part[d]);
            m = part_m;
        }
    }
    const float inverse = 1.0f / l;
    for (int64_t d = 0; d < head_dim; d++)
        out[d] = o[d] * inverse;
}

const shoal_ops_row shoal_ops_ref = {
    .name = "ops-ref",
    .needs = SHOAL_CPU_REF,
    .map = map,
    .norm = norm,
    .join = join,
    .add = add,
    .rope = rope,
    .gated = gated,
    .soft_cap = soft_cap,
    .to_f16 = to_f16,
    .attend = attend,
};

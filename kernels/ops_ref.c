/* The definition of right for the ops of kernels/ops.h, element by element from docs/arithmetic.md.
 * Slow on purpose: no step here is shared with a fast row. */
#include <math.h>

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
};

/* kernels/ops.h - everything of a step that is no linear: norms, rope, gates, the KV cache,
 * attention.
 *
 * One table row per kernel level; all rows give the same bits as the reference row, which is
 * written from docs/arithmetic.md (rules 2, 4, 5, 6). Functions work on one row or one head; the
 * backend shares rows and heads among threads. Nothing here allocates or fails; counts are >= 0. */
#ifndef SHOAL_KERNELS_OPS_H
#define SHOAL_KERNELS_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/cpu.h"
#include "kernels/quantize_rows.h"

/* Lanes of the sum of squares, and of the sum of attention weights. */
#define SHOAL_NORM_LANES 64
#define SHOAL_SUM_LANES  16

typedef enum {
    SHOAL_MAP_EXP,
    SHOAL_MAP_LOG,
    SHOAL_MAP_TANH,
    SHOAL_MAP_ERF,
    SHOAL_MAP_SILU,
    SHOAL_MAP_GELU_TANH,
    SHOAL_MAP_GELU,
    SHOAL_MAPS
} shoal_map;

/* What one query head of one row sees. */
typedef struct {
    const shoal_kv_layer *kv;
    int64_t kv_head;
    const int32_t *pages; /* of the sequence, by position / SHOAL_PAGE                           */
    int64_t begin, end;   /* visible absolute positions [begin, end), begin < end                */
    float scale, soft_cap;
    const float *query; /* [head_dim] fp32; int8 cache: the quantized values as floats           */
    float query_scale;  /* int8 cache: their scale                                               */
} shoal_span;

typedef struct {
    const char *name; /* "ops-avx2": reports, tests */
    shoal_cpu_level needs;

    /* y[i] = f(x[i]), kernels/mathf.h; y may be x. */
    void (*map)(shoal_map f, const float *x, int64_t n, float *y);

    /* y = (x * r) * weight, r = 1 / sqrt(sum of squares / n + eps); y may be x. */
    void (*norm)(const float *x, int64_t n, const float *weight, float eps, float *y);

    /* y = the sum of `count` int64 arrays, times 2^-28, rounded once. */
    void (*join)(const int64_t *const *parts, int count, int64_t offset, int64_t n, float *y);

    /* x += y. */
    void (*add)(float *x, const float *y, int64_t n);

    /* Turn the pairs (i, i + dim / 2) of one head's first `dim` elements; cos, sin [dim / 2]. */
    void (*rope)(float *head, int64_t dim, const float *cos, const float *sin);

    /* y = f(gate) * up; y may be gate. */
    void (*gated)(shoal_gate f, const float *gate, const float *up, int64_t n, float *y);

    /* x = cap * tanh(x / cap). */
    void (*soft_cap)(float *x, int64_t n, float cap);

    /* Half to even. True when some |x| > 65504 or x is NaN: a row error. */
    bool (*to_f16)(const float *x, int64_t n, uint16_t *y);

    /* out[head_dim] of one query head (rule 5). A value of an int8 cache is (float)q * scale,
     * rounded once, before its fmaf. */
    void (*attend)(const shoal_span *span, float *out);
} shoal_ops_row;

/* Fastest first, the reference last. */
extern const shoal_ops_row *const shoal_ops_rows[];
extern const int shoal_ops_row_count;

/* The first row that this machine has and `cap` allows. */
const shoal_ops_row *shoal_ops_pick(shoal_cpu_level cap);

extern const shoal_ops_row shoal_ops_ref;
#if defined(__x86_64__)
extern const shoal_ops_row shoal_ops_avx2;
extern const shoal_ops_row shoal_ops_avx512;
#endif

/* Append one position's key and value [head_dim] to `slot` (0..15) of a page of one kv head, in
 * the cache's type. Returns the row errors found (a value that the cache cannot hold). */
int64_t shoal_kv_append(const shoal_ops_row *ops, const shoal_quantize_row *quantize,
                        const shoal_kv_layer *kv, int64_t kv_head, int32_t page, int64_t slot,
                        const float *key, const float *value);

/* Make `span->query` from a head's fp32 values; `room` [head_dim] backs it for an int8 cache.
 * Returns the row errors found. */
int64_t shoal_span_query(const shoal_quantize_row *quantize, const float *query, float *room,
                         shoal_span *span);

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

/* Values start here, and in an int8 page the scales: 16 of the keys, then 16 of the values. */
static inline int64_t shoal_kv_values_at(shoal_kv_type type, int64_t head_dim)
{
    return SHOAL_PAGE * head_dim * shoal_kv_element(type);
}

static inline int64_t shoal_kv_scales_at(int64_t head_dim)
{
    return 2 * SHOAL_PAGE * head_dim;
}

/* Sum of `lanes` (a power of two) by halves: +lanes/2 … +2 +1. Destroys them. */
static inline float shoal_tree_sum(float *lane, int lanes)
{
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

#endif

/* kernels/ops.h - everything of a step that is neither a linear nor attention: norms, rope, gates,
 * joins.
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

/* Lanes of the sum of squares. */
#define SHOAL_NORM_LANES 64

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

/* Sum of `lanes` (a power of two) by halves: +lanes/2 … +2 +1. Destroys them. */
static inline float shoal_tree_sum(float *lane, int lanes)
{
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

#endif

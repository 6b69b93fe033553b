/* shard/gguf_quantize.c - see gguf_quantize.h. */
#include "shard/gguf_quantize.h"

#include <math.h>
#include <string.h>

#include "proto/dtype.h"

#define GROUP_MAX 32
#define LANES     16 /* divides the groups */

/* Beyond all that codes, steps and half floats make together; squares of it are numbers. */
#define LARGEST 1e10f

/* The values that a code stands for, less the scale. */
typedef struct {
    float lowest, highest;
    float reach;          /* between two starts of the search */
    const uint8_t *table; /* NULL: all integers between       */
} grid;

static grid grid_of(const shoal_gguf_block *form)
{
    const int codes = 1 << form->bits;
    if (shoal_gguf_block_has_table(form))
        return (grid){(float)(shoal_gguf_iq4_codes[0] - form->zero),
                      (float)(shoal_gguf_iq4_codes[SHOAL_GGUF_TABLE - 1] - form->zero), 0.8f,
                      shoal_gguf_iq4_codes};
    return (grid){(float)-form->zero, (float)(codes - 1 - form->zero), 0.1f, NULL};
}

static float half_of(float value)
{
    return shoal_f32_from_f16(shoal_f16_from_f32(value));
}

/* Sums of products in LANES lanes, then by halves. */
static float dot(const float *a, const float *b, int n)
{
    float lanes[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            lanes[j] += lanes[j + width];
    return lanes[0];
}

/* Half to even, for numbers that are far below 2^22. */
static float round_near(float x)
{
    const float large = 12582912.0f; /* 1.5 * 2^23 */
    return (x + large) - large;
}

/* The value nearest to each (x + shift) * inverse; 0 where there is no such factor. */
static void nearest(const grid *g, const float *x, int n, float shift, float inverse, float *v)
{
    if (!isfinite(inverse))
        inverse = 0;
    for (int i = 0; i < n; i++) {
        const float t = (x[i] + shift) * inverse;
        v[i] = t < g->lowest ? g->lowest : t > g->highest ? g->highest : t;
    }
    for (int i = 0; i < n && !g->table; i++)
        v[i] = round_near(v[i]);
    for (int i = 0; i < n && g->table; i++) {
        int place = 0;
        for (int p = 1; p < SHOAL_GGUF_TABLE; p++)
            place += v[i] > 0.5f * (float)(g->table[p - 1] + g->table[p] - 256);
        v[i] = (float)(g->table[place] - 128);
    }
}

static float inverse_of(float scale)
{
    return scale == 0 ? 0 : 1 / scale;
}

static float squared_error(const float *x, const float *v, int n, float scale, float min)
{
    float off[GROUP_MAX];
    for (int i = 0; i < n; i++)
        off[i] = x[i] - (scale * v[i] + min);
    return dot(off, off, n);
}

/* ---- one group ---- */

/* Without a minimum. The error is what the weights have by themselves less xv * xv / vv. */
static float fit_scale(const grid *g, const float *x, int n)
{
    float best = 0, gain = 0, extreme = 0, v[GROUP_MAX];
    for (int i = 0; i < n; i++)
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    for (int start = -9; start <= 9 && extreme != 0; start++) {
        float inverse = (g->lowest + g->reach * (float)start) / extreme;
        for (int round = 0; round < 2; round++) {
            nearest(g, x, n, 0, inverse, v);
            const float vv = dot(v, v, n), xv = dot(x, v, n);
            if (vv == 0 || xv == 0)
                break;
            if (xv * xv / vv > gain) {
                gain = xv * xv / vv;
                best = xv / vv;
            }
            inverse = vv / xv;
        }
    }
    return best;
}

typedef struct {
    float scale, min;
} line;

/* The line through (v, x) by least squares; `below`: not above zero at v = 0. */
static line least_squares(const float *x, const float *v, int n, bool below)
{
    static const float ones[GROUP_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float count = (float)n, sv = dot(v, ones, n), sx = dot(x, ones, n);
    const float vv = dot(v, v, n), xv = dot(x, v, n);
    const float determinant = count * vv - sv * sv;
    if (!(determinant > 0) && below && sx > 0)
        return (line){vv > 0 ? xv / vv : 0, 0};
    if (!(determinant > 0))
        return (line){0, sx / count};
    const line l = {(count * xv - sv * sx) / determinant, (vv * sx - sv * xv) / determinant};
    return below && l.min > 0 ? (line){xv / vv, 0} : l;
}

static line fit_line(const grid *g, const float *x, int n, bool below)
{
    float low = x[0], high = x[0], v[GROUP_MAX], least = INFINITY;
    line best = {0, 0};
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    low = below && low > 0 ? 0 : low;
    for (int start = 0; start <= 20; start++) {
        line l = {(high - low) / (g->highest - 1 + 0.1f * (float)start), low};
        for (int round = 0; round < 2; round++) {
            nearest(g, x, n, -l.min, inverse_of(l.scale), v);
            l = least_squares(x, v, n, below);
            const float error = squared_error(x, v, n, l.scale, l.min);
            if (error < least && l.scale >= 0) {
                least = error;
                best = l;
            }
        }
    }
    return best;
}

/* ---- what is stored ---- */

static void store_codes(const shoal_gguf_block *form, const float *v, int n, uint8_t *codes)
{
    for (int i = 0; i < n; i++)
        codes[i] = (uint8_t)((int)v[i] + form->zero);
}

/* A block that is one group. */
static void fill_group(const shoal_gguf_block *form, const grid *g, const float *x,
                       shoal_gguf_content *out)
{
    float v[GROUP_MAX];
    const int n = form->group;
    const line l = form->has_mins ? fit_line(g, x, n, false) : (line){fit_scale(g, x, n), 0};
    out->scale = half_of(l.scale);
    out->min = half_of(l.min);
    if (!isfinite(out->scale) || !isfinite(out->min))
        return;
    nearest(g, x, n, -out->min, inverse_of(out->scale), v);
    store_codes(form, v, n, out->codes);
}

/* What steps a group may have, of its scale and of its minimum. */
typedef struct {
    int lowest, highest;
    bool mins;
} ladder;

static ladder ladder_of(const shoal_gguf_block *form)
{
    if (form->has_mins)
        return (ladder){0, form->bits == 2 ? 15 : 63, true};
    return form->bits == 6 ? (ladder){-128, 127, false} : (ladder){-32, 31, false};
}

static int step_near(const ladder *l, float value, float unit)
{
    const float step = value * inverse_of(unit);
    if (!isfinite(step))
        return 0;
    return (int)round_near(fminf(fmaxf(step, (float)l->lowest), (float)l->highest));
}

static int step_within(const ladder *l, int step)
{
    return step < l->lowest ? l->lowest : step > l->highest ? l->highest : step;
}

/* The steps of group `group` and its codes; `near` is what the search found for it alone. */
static void fill_steps(const shoal_gguf_block *form, const grid *g, const ladder *l, int group,
                       const float *x, line near, shoal_gguf_content *out)
{
    static const int off[] = {0, -1, 1};
    const int n = form->group;
    const int step = step_near(l, near.scale, out->scale);
    const int min_step = l->mins ? step_near(l, near.min, out->min) : 0;
    float least = INFINITY, v[GROUP_MAX];
    for (int i = 0; i < (l->mins ? 9 : 3); i++) {
        const int a = step_within(l, step + off[i % 3]);
        const int b = l->mins ? step_within(l, min_step + off[i / 3]) : 0;
        const float scale = out->scale * (float)a, min = out->min * (float)b;
        nearest(g, x, n, -min, inverse_of(scale), v);
        const float error = squared_error(x, v, n, scale, min);
        if (i > 0 && !(error < least))
            continue;
        least = error;
        out->steps[group] = (int8_t)a;
        out->min_steps[group] = (int8_t)b;
        store_codes(form, v, n, out->codes + group * n);
    }
}

/* A block of several groups. */
static void fill_groups(const shoal_gguf_block *form, const grid *g, const float *x,
                        shoal_gguf_content *out)
{
    const ladder l = ladder_of(form);
    const int groups = form->elements / form->group;
    const float last = (float)(l.mins ? l.highest : l.lowest);
    line near[SHOAL_GGUF_GROUPS_MAX], most = {0, 0};
    for (int i = 0; i < groups; i++) {
        const float *at = x + i * form->group;
        near[i] =
            l.mins ? fit_line(g, at, form->group, true) : (line){fit_scale(g, at, form->group), 0};
        most.scale = fabsf(near[i].scale) > fabsf(most.scale) ? near[i].scale : most.scale;
        most.min = fminf(most.min, near[i].min);
    }
    out->scale = half_of(most.scale / last);
    out->min = half_of(most.min / last);
    for (int i = 0; i < groups && isfinite(out->scale) && isfinite(out->min); i++)
        fill_steps(form, g, &l, i, x + i * form->group, near[i], out);
}

bool shoal_gguf_quantize(const shoal_gguf_block *form, const float *weights,
                         shoal_gguf_content *out)
{
    const grid g = grid_of(form);
    *out = (shoal_gguf_content){0};
    for (int i = 0; i < form->elements; i++)
        if (!(fabsf(weights[i]) < LARGEST))
            return false;
    if (shoal_gguf_block_has_steps(form))
        fill_groups(form, &g, weights, out);
    else
        fill_group(form, &g, weights, out);
    return isfinite(out->scale) && isfinite(out->min);
}

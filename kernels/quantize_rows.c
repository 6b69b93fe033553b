#include "kernels/quantize_rows.h"

#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/dtype.h"

#define INFINITY_BITS UINT32_C(0x7f800000) /* from here on: a row error           */
#define OVER_BITS     UINT32_C(0x7f7f8000) /* the same for bf16, which rounds it up */
#define TINY_BITS     UINT32_C(0x1f800000) /* 2^-64: below it a group counts as 0 */
#define NAN_BITS      UINT32_C(0x7fc00000)

/* Elements taken at a time when the act is permuted or scaled. */
#define GATHER 256

static uint32_t absmax_ref(const float *x, int64_t count)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = shoal_f32_bits(x[i]) & 0x7fffffff;
        if (bits > most)
            most = bits;
    }
    return most;
}

static void round_ref(const float *x, int64_t count, float inverse, int8_t *q)
{
    for (int64_t i = 0; i < count; i++)
        q[i] = (int8_t)rintf(x[i] * inverse);
}

static int32_t sum_ref(const int8_t *q, int64_t count)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += q[i];
    return sum;
}

static void narrow_ref(const float *x, int64_t count, uint16_t *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = shoal_bf16_from_f32(x[i]);
}

const shoal_quantize_row shoal_quantize_ref = {SHOAL_CPU_REF, absmax_ref, round_ref, sum_ref,
                                               narrow_ref};

const shoal_quantize_row *shoal_quantize_pick(shoal_cpu_level cap)
{
#if defined(__x86_64__)
    const shoal_quantize_row *const rows[] = {&shoal_quantize_avx512, &shoal_quantize_avx2};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i]->needs <= cap && shoal_cpu_has(rows[i]->needs))
            return rows[i];
    }
#endif
    (void)cap;
    return &shoal_quantize_ref;
}

/* A source row as the act sees it. */
typedef struct {
    const float *x;
    const int32_t *perm;
    const float *scale; /* of the view's first element; NULL: none */
    bool multiply;
    float gathered[GATHER];
} view;

static void apply_scale(view *v, const float *x, int64_t k, int64_t count)
{
    const float *by = v->scale + k;
    for (int64_t i = 0; i < count && v->multiply; i++)
        v->gathered[i] = x[i] * by[i];
    for (int64_t i = 0; i < count && !v->multiply; i++)
        v->gathered[i] = x[i] / by[i];
}

/* Elements [k, k + count) of the act's row, count <= GATHER when permuted or scaled. */
static const float *look(view *v, int64_t k, int64_t count)
{
    const float *x = v->x + k;
    if (v->perm) {
        for (int64_t i = 0; i < count; i++)
            v->gathered[i] = v->x[v->perm[k + i]];
        x = v->gathered;
    }
    if (!v->scale)
        return x;
    apply_scale(v, x, k, count);
    return v->gathered;
}

static int64_t look_step(const view *v, int64_t left)
{
    return v->perm || v->scale ? shoal_min_i64(left, GATHER) : left;
}

static uint32_t group_absmax(const shoal_quantize_row *ops, view *v, int64_t k, int64_t count)
{
    uint32_t most = 0;
    for (int64_t i = 0, step; i < count; i += step) {
        step = look_step(v, count - i);
        const uint32_t bits = ops->absmax(look(v, k + i, step), step);
        if (bits > most)
            most = bits;
    }
    return most;
}

/* One activation group: its values and its scale. Returns 1 for a row error. */
static int64_t quantize_group(const shoal_quantize_row *ops, view *v, int64_t k, int64_t count,
                              int8_t *q, float *scale)
{
    const uint32_t bits = group_absmax(ops, v, k, count);
    if (bits >= INFINITY_BITS || bits < TINY_BITS) {
        const bool error = bits >= INFINITY_BITS;
        for (int64_t i = 0; i < count; i++)
            q[i] = 0;
        *scale = error ? shoal_f32_from_bits(NAN_BITS) : 0.0f;
        return error;
    }
    const float absmax = shoal_f32_from_bits(bits);
    const float inverse = 127.0f / absmax;
    for (int64_t i = 0, step; i < count; i += step) {
        step = look_step(v, count - i);
        ops->round(look(v, k + i, step), step, inverse, q + i);
    }
    *scale = absmax / 127.0f;
    return 0;
}

int64_t shoal_quantize_group(const shoal_quantize_row *ops, const float *x, int64_t count,
                             int8_t *q, float *scale)
{
    view v;
    v.x = x;
    v.perm = NULL;
    v.scale = NULL;
    return quantize_group(ops, &v, 0, count, q, scale);
}

/* The first segment that starts at k or later. */
static int64_t segment_from(const shoal_linear *like, int64_t k)
{
    int64_t begin = 0, end = like->size.segments;
    while (begin < end) {
        const int64_t middle = (begin + end) / 2;
        if (like->segments[middle].k < k)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* Inputs [k, k + count) of a row are the elements of the view. */
static int64_t quantize_int8(const shoal_quantize_row *ops, view *v, const shoal_act *act,
                             int64_t row, int64_t k, int64_t count)
{
    const shoal_linear *like = act->like;
    const int64_t group = like->spec.act_group, past = k + count;
    int8_t *q = act->q + row * act->ld;
    float *scales = act->scales + row * like->size.act_groups;
    int32_t *sums = act->sums + row * like->size.segments;
    int64_t errors = 0;
    for (int64_t i = k; i < past; i += group)
        errors += quantize_group(ops, v, i - k, shoal_min_i64(group, past - i), q + i,
                                 scales + i / group);
    if (past == like->spec.k)
        memset(q + past, 0, (size_t)(act->ld - past));
    for (int64_t i = segment_from(like, k); i < like->size.segments; i++) {
        const shoal_segment *segment = &like->segments[i];
        if (segment->k >= past)
            break;
        sums[i] = ops->sum(q + segment->k, segment->count);
    }
    return errors;
}

static int64_t copy_f32(const shoal_quantize_row *ops, view *v, const shoal_act *act, int64_t row,
                        int64_t k, int64_t count)
{
    const int64_t past = k + count;
    float *out = act->f32 + row * act->ld + k;
    for (int64_t i = 0, step; i < count; i += step) {
        step = look_step(v, count - i);
        memcpy(out + i, look(v, i, step), (size_t)step * sizeof *out);
    }
    if (past == act->like->spec.k)
        memset(out + count, 0, (size_t)(act->ld - past) * sizeof *out);
    return ops->absmax(out, count) >= INFINITY_BITS;
}

static int64_t narrow_f32(const shoal_quantize_row *ops, view *v, const shoal_act *act, int64_t row,
                          int64_t k, int64_t count)
{
    const int64_t past = k + count;
    uint16_t *out = act->bf16 + row * act->ld + k;
    bool error = false;
    for (int64_t i = 0, step; i < count; i += step) {
        step = look_step(v, count - i);
        const float *x = look(v, i, step);
        ops->narrow(x, step, out + i);
        error |= ops->absmax(x, step) >= OVER_BITS;
    }
    if (past == act->like->spec.k)
        memset(out + count, 0, (size_t)(act->ld - past) * sizeof *out);
    return error;
}

static int64_t quantize(const shoal_quantize_row *ops, view *v, const shoal_act *act, int64_t row,
                        int64_t k, int64_t count)
{
    switch (act->like->spec.act) {
    case SHOAL_ACT_INT8: return quantize_int8(ops, v, act, row, k, count);
    case SHOAL_ACT_BF16: return narrow_f32(ops, v, act, row, k, count);
    default: return copy_f32(ops, v, act, row, k, count);
    }
}

void shoal_quantize_rows(shoal_cpu_level cap, const float *source, int64_t ld_source, int64_t row0,
                         int64_t rows, shoal_act *act, int64_t *pending)
{
    const shoal_quantize_row *ops = shoal_quantize_pick(cap);
    const int64_t k = act->like->spec.k;
    if (k == 0)
        return;
    for (int64_t i = 0; i < rows; i++) {
        view v;
        v.x = source + i * ld_source;
        v.perm = act->perm;
        v.scale = act->input_scale;
        v.multiply = act->input_multiply;
        const int64_t errors = quantize(ops, &v, act, row0 + i, 0, k);
        if (pending)
            pending[i] += errors;
    }
}

int64_t shoal_quantize_part(shoal_cpu_level cap, const float *x, int64_t row, int64_t k,
                            int64_t count, shoal_act *act)
{
    view v;
    v.x = x;
    v.perm = NULL;
    v.scale = act->input_scale ? act->input_scale + k : NULL;
    v.multiply = act->input_multiply;
    return quantize(shoal_quantize_pick(cap), &v, act, row, k, count);
}

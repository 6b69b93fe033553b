/* tests/unit/linear_case.h - a random linear with inputs, and its outputs computed from the
 * canonical form: the text of docs/arithmetic.md rules 1 to 4, without layouts or segments. */
#ifndef SHOAL_TESTS_LINEAR_CASE_H
#define SHOAL_TESTS_LINEAR_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/act.h"
#include "kernels/linear_row.h"
#include "kernels/quantize_rows.h"
#include "proto/bytes.h"

/* These helpers come before cmocka.h in every test that includes them. */

typedef struct {
    shoal_linear_spec spec;
    shoal_canonical block; /* all outputs, all inputs, absolute from spec.k_begin */
    float *x;              /* [rows][k] */
    int64_t rows;
    shoal_arena *arena;
    shoal_linear linear;
    shoal_act act;
} linear_case;

static uint64_t case_state = 88172645463325252u;

static inline uint32_t case_random(void)
{
    case_state ^= case_state << 13;
    case_state ^= case_state >> 7;
    case_state ^= case_state << 17;
    return (uint32_t)(case_state >> 16);
}

static inline float case_uniform(float most)
{
    return ((float)(case_random() >> 8) * 0x1p-23f - 1.0f) * most;
}

static inline void *case_array(int64_t count, size_t size)
{
    void *p = calloc((size_t)shoal_max_i64(count, 1), size);
    if (!p)
        abort();
    return p;
}

static inline void case_must(shoal_status st)
{
    if (st != SHOAL_OK) {
        (void)fprintf(stderr, "unexpected failure: %s\n", shoal_error_text());
        abort();
    }
}

/* A number of `type`: mostly ordinary, sometimes zero, negative, or the smallest subnormal. */
static inline float case_scale(shoal_dtype type)
{
    const uint32_t kind = case_random() % 16;
    const float plain = case_uniform(0.02f);
    const float value = kind == 0   ? 0.0f
                        : kind == 1 ? -0.0f
                        : kind == 2 ? (type == SHOAL_F16 ? 0x1p-24f : 0x1p-133f)
                                    : plain;
    if (type == SHOAL_F16)
        return shoal_f32_from_f16(shoal_f16_from_f32(value));
    if (type == SHOAL_BF16)
        return shoal_f32_from_bf16(shoal_bf16_from_f32(value));
    return value;
}

/* Super-groups: steps of every size, and the scales and minimums of groups that they give. */
static inline void case_fill_supers(linear_case *t)
{
    shoal_canonical *b = &t->block;
    const int64_t supers = b->n * b->supers, cells = b->n * b->groups;
    b->super_scales = case_array(supers, sizeof *b->super_scales);
    b->steps = case_array(cells, 1);
    for (int64_t i = 0; i < supers; i++)
        b->super_scales[i] = case_scale(t->spec.dtype);
    if (b->mins) {
        b->super_mins = case_array(supers, sizeof *b->super_mins);
        b->min_steps = case_array(cells, 1);
        for (int64_t i = 0; i < supers; i++)
            b->super_mins[i] = case_scale(SHOAL_F16);
    }
    for (int64_t i = 0; i < cells; i++) {
        const int64_t g = i % b->groups + t->spec.k_begin / t->spec.group;
        const int64_t super = i / b->groups * b->supers + g * t->spec.group / t->spec.super_group -
                              t->spec.k_begin / t->spec.super_group;
        b->steps[i] = (int8_t)(case_random() % 8 ? case_random() % 64 : case_random());
        b->scales[i] = b->super_scales[super] * (float)b->steps[i];
        if (b->mins) {
            b->min_steps[i] = (int8_t)(case_random() % 64);
            b->mins[i] = b->super_mins[super] * (float)b->min_steps[i];
        }
    }
}

static inline void case_fill_weights(linear_case *t)
{
    shoal_canonical *b = &t->block;
    const int64_t cells = b->n * b->groups;
    if (b->kind == SHOAL_WEIGHT_FLOAT) {
        const size_t size = shoal_dtype_bytes(b->dtype);
        uint8_t *dense = case_array(b->n * b->k, size);
        for (int64_t i = 0; i < b->n * b->k; i++) {
            const float w = case_scale(b->dtype);
            const uint16_t h =
                b->dtype == SHOAL_F16 ? shoal_f16_from_f32(w) : shoal_bf16_from_f32(w);
            memcpy(dense + (size_t)i * size, size == 4 ? (const void *)&w : (const void *)&h, size);
        }
        b->dense = dense;
        return;
    }
    const bool int4 = b->kind == SHOAL_WEIGHT_INT4;
    b->codes = case_array(b->n * b->k, 1);
    b->scales = case_array(cells, sizeof *b->scales);
    for (int64_t i = 0; i < b->n * b->k; i++)
        b->codes[i] = (uint8_t)(case_random() & (int4 ? 15u : 255u));
    if (t->spec.has_zeros)
        b->zeros = case_array(cells, sizeof *b->zeros);
    if (t->spec.has_mins)
        b->mins = case_array(cells, sizeof *b->mins);
    for (int64_t i = 0; i < cells; i++) {
        b->scales[i] = case_scale(t->spec.dtype);
        if (b->zeros)
            b->zeros[i] = (int16_t)(case_random() % (int4 ? 17 : 257));
        if (b->mins)
            b->mins[i] = case_uniform(0.5f);
    }
    if (b->supers)
        case_fill_supers(t);
}

/* Rows of ordinary values with zeros of both signs, a group of tiny values and a large outlier. */
static inline void case_fill_inputs(linear_case *t)
{
    const int64_t k = t->spec.k;
    t->x = case_array(t->rows * k, sizeof *t->x);
    for (int64_t i = 0; i < t->rows * k; i++) {
        const uint32_t kind = case_random() % 64;
        t->x[i] = kind == 0   ? 0.0f
                  : kind == 1 ? -0.0f
                  : kind == 2 ? case_uniform(40)
                              : case_uniform(2);
    }
    for (int64_t i = 0; i < (t->rows > 2 ? shoal_min_i64(k, 128) : 0); i++)
        t->x[2 * k + i] *= 0x1p-80f;
}

static inline linear_case *case_create(shoal_linear_spec spec, int64_t rows)
{
    linear_case *t = case_array(1, sizeof *t);
    shoal_linear_size size;
    case_must(shoal_linear_measure(&spec, &size));
    t->spec = spec;
    t->rows = rows;
    t->block = (shoal_canonical){.kind = spec.kind,
                                 .n = spec.n,
                                 .k = spec.k,
                                 .groups = size.groups,
                                 .supers = spec.super_group ? size.supers : 0,
                                 .zero_const = spec.zero_const,
                                 .dtype = spec.dtype};
    case_fill_weights(t);
    case_fill_inputs(t);
    case_must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &t->arena));
    case_must(shoal_linear_create(&spec, SHOAL_CPU_AMX, t->arena, &t->linear));
    case_must(shoal_linear_pack(&t->linear, 0, &t->block));
    case_must(shoal_act_create(&t->linear, NULL, rows, t->arena, &t->act));
    shoal_quantize_rows(SHOAL_CPU_REF, t->x, spec.k, 0, rows, &t->act, NULL);
    return t;
}

static inline void case_free(linear_case *t)
{
    shoal_arena_destroy(t->arena);
    free(t->block.codes);
    free(t->block.zeros);
    free(t->block.scales);
    free(t->block.mins);
    free(t->block.super_scales);
    free(t->block.super_mins);
    free(t->block.steps);
    free(t->block.min_steps);
    free(t->block.dense);
    free(t->x);
    free(t);
}

static inline int case_zero(const linear_case *t, int64_t cell)
{
    return t->block.zeros ? t->block.zeros[cell] : t->block.zero_const;
}

/* The scale of the activation group that local input k of a row is in; its inverse. */
static inline float case_act_scale(const linear_case *t, const float *x, int64_t k, float *inverse)
{
    const shoal_linear_spec *s = &t->spec;
    const int64_t begin = (s->k_begin + k) / s->act_group * s->act_group - s->k_begin;
    const int64_t end = shoal_min_i64(begin + s->act_group, s->k);
    uint32_t absmax = 0;
    for (int64_t i = begin; i < end; i++)
        absmax = (uint32_t)shoal_max_i64(absmax, shoal_f32_bits(x[i]) & 0x7fffffff);
    const float most = shoal_f32_from_bits(absmax);
    *inverse = absmax < shoal_f32_bits(0x1p-64f) || absmax >= 0x7f800000 ? 0 : 127.0f / most;
    if (absmax >= 0x7f800000)
        return shoal_f32_from_bits(0x7fc00000);
    return *inverse == 0 ? 0 : most / 127.0f;
}

/* Rule 3 with super-groups: all integers of an activation group and super-group together. */
static inline float case_unit_runs(const linear_case *t, int64_t row, int64_t n, int64_t begin,
                                   int64_t end)
{
    const shoal_linear_spec *s = &t->spec;
    const float *x = t->x + row * s->k;
    float acc = 0;
    for (int64_t k = begin; k < end;) {
        const int64_t at = s->k_begin + k, super = at / s->super_group;
        const int64_t act = at / s->act_group;
        const int64_t top = n * t->block.supers + super - s->k_begin / s->super_group;
        float inverse;
        const float sa = case_act_scale(t, x, k, &inverse);
        int64_t dots = 0, sums = 0;
        for (; k < end && (s->k_begin + k) / s->super_group == super &&
               (s->k_begin + k) / s->act_group == act;
             k++) {
            const int64_t cell =
                n * t->block.groups + (s->k_begin + k) / s->group - s->k_begin / s->group;
            const int q = inverse == 0 ? 0 : (int)rintf(x[k] * inverse);
            dots += q * (t->block.codes[n * s->k + k] - t->block.zero_const) * t->block.steps[cell];
            sums += t->block.min_steps ? q * t->block.min_steps[cell] : 0;
        }
        acc = fmaf((float)dots, sa * t->block.super_scales[top], acc);
        if (t->block.min_steps)
            acc = fmaf((float)sums, sa * t->block.super_mins[top], acc);
    }
    return acc;
}

/* Rule 3 with int8 inputs, one unit [begin, end) of local k: group after group of the row,
 * inside it weight group after weight group. */
static inline float case_unit_int8(const linear_case *t, int64_t row, int64_t n, int64_t begin,
                                   int64_t end)
{
    const shoal_linear_spec *s = &t->spec;
    const float *x = t->x + row * s->k;
    float acc = 0;
    for (int64_t k = begin; k < end;) {
        const int64_t at = s->k_begin + k;
        const int64_t group1 = (at / s->act_group + 1) * s->act_group - s->k_begin;
        const int64_t next =
            shoal_min_i64(end, shoal_min_i64(group1, (at / s->group + 1) * s->group - s->k_begin));
        int64_t dot = 0, sum = 0;
        float inverse;
        const float sa = case_act_scale(t, x, k, &inverse);
        const int64_t cell = n * t->block.groups + at / s->group - s->k_begin / s->group;
        for (; k < next; k++) {
            const int q = inverse == 0 ? 0 : (int)rintf(x[k] * inverse);
            dot += q * (t->block.codes[n * s->k + k] - case_zero(t, cell));
            sum += q;
        }
        acc = fmaf((float)dot, sa * t->block.scales[cell], acc);
        if (t->block.mins)
            acc = fmaf((float)sum * sa, t->block.mins[cell], acc);
    }
    return acc;
}

static inline float case_weight(const linear_case *t, int64_t n, int64_t k)
{
    const shoal_linear_spec *s = &t->spec;
    if (s->kind == SHOAL_WEIGHT_FLOAT)
        return shoal_load_f32(t->block.dense, s->dtype, (size_t)(n * s->k + k));
    const int64_t group = (s->k_begin + k) / s->group - s->k_begin / s->group;
    const int64_t cell = n * t->block.groups + group;
    const float centred = (float)(t->block.codes[n * s->k + k] - case_zero(t, cell));
    return t->block.mins ? fmaf(centred, t->block.scales[cell], t->block.mins[cell])
                         : centred * t->block.scales[cell];
}

/* Form BF16: weight group after weight group, 32 inputs (what is left of the group) at a time. */
static inline float case_unit_bf16(const linear_case *t, int64_t row, int64_t n, int64_t begin,
                                   int64_t end)
{
    const shoal_linear_spec *s = &t->spec;
    const shoal_bf16_kind kind = t->linear.bf16;
    float acc = 0;
    for (int64_t k = begin; k < end;) {
        const int64_t edge = ((s->k_begin + k) / s->group + 1) * s->group - s->k_begin;
        const int64_t left = shoal_min_i64(edge, end) - k;
        uint16_t x[32];
        float w[32];
        int count = 0;
        for (; count < shoal_min_i64(left, 32); count++, k++) {
            x[count] = shoal_bf16_from_f32(t->x[row * s->k + k]);
            w[count] = shoal_bf16_weight(kind, case_weight(t, n, k));
        }
        acc = shoal_bf16_dot(kind, x, w, count, acc);
    }
    return acc;
}

static inline float case_unit(const linear_case *t, int64_t row, int64_t n, int64_t begin,
                              int64_t end)
{
    if (t->linear.spec.act == SHOAL_ACT_INT8)
        return t->spec.super_group ? case_unit_runs(t, row, n, begin, end)
                                   : case_unit_int8(t, row, n, begin, end);
    if (t->linear.spec.act == SHOAL_ACT_BF16)
        return case_unit_bf16(t, row, n, begin, end);
    float acc = 0;
    for (int64_t k = begin; k < end; k++)
        acc = fmaf(t->x[row * t->spec.k + k], case_weight(t, n, k), acc);
    return acc;
}

/* Whole K (the spec's unit is 0). */
static inline float case_whole(const linear_case *t, int64_t row, int64_t n)
{
    return case_unit(t, row, n, 0, t->spec.k);
}

/* Sum of the units as int64; *bad += units out of bounds. */
static inline int64_t case_cut(const linear_case *t, int64_t row, int64_t n, int64_t *bad)
{
    const shoal_linear_spec *s = &t->spec;
    int64_t total = 0;
    for (int64_t k = 0; k < s->k; k += s->unit) {
        const float u = case_unit(t, row, n, k, shoal_min_i64(k + s->unit, s->k));
        if (!(fabsf(u) <= 4194304.0f))
            ++*bad;
        else
            total += (int64_t)nearbyint((double)u * 268435456.0);
    }
    return total;
}

#endif

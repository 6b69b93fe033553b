#include "kernels/linear.h"

#include <string.h>

#include "kernels/linear_row.h"
#include "kernels/pack.h"
#include "proto/bytes.h"

/* Larger than any model's dimension, small enough that no product below leaves 64 bits and every
 * local k fits the int32 of a segment. */
#define DIM_MAX (INT64_C(1) << 27)

/* The float kind has no integer codes, so its inputs are always fp32. */
static bool int8_inputs(const shoal_linear_spec *s)
{
    return s->kind != SHOAL_WEIGHT_FLOAT && s->act == SHOAL_ACT_INT8;
}

/* K step of the layout. */
static int64_t k_step(shoal_weight_kind kind)
{
    return kind == SHOAL_WEIGHT_INT4 ? 8 : kind == SHOAL_WEIGHT_INT8 ? 4 : 1;
}

/* Strides of `stride` that [begin, begin + count) touches. */
static int64_t touched(int64_t begin, int64_t count, int64_t stride)
{
    return count ? (begin + count - 1) / stride - begin / stride + 1 : 0;
}

static int64_t next_edge(int64_t at, int64_t stride)
{
    return (at / stride + 1) * stride;
}

/* The absolute k where the segment starting at absolute `at` ends. */
static int64_t segment_end(const shoal_linear_spec *s, int64_t at)
{
    int64_t end = s->k_begin + s->k;
    if (s->kind != SHOAL_WEIGHT_FLOAT)
        end = shoal_min_i64(end, next_edge(at, s->group));
    if (int8_inputs(s))
        end = shoal_min_i64(end, next_edge(at, s->act_group));
    if (s->unit)
        end = shoal_min_i64(end, next_edge(at, s->unit));
    return end;
}

static shoal_status check_dims(const shoal_linear_spec *s)
{
    const struct {
        const char *name;
        int64_t value, least;
    } dims[] = {{"outputs", s->n, 0},
                {"inputs", s->k, 0},
                {"first input", s->k_begin, 0},
                {"unit", s->unit, 0},
                {"weight group", s->kind == SHOAL_WEIGHT_FLOAT ? 1 : s->group, 1},
                {"activation group", int8_inputs(s) ? s->act_group : 1, 1}};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        if (dims[i].value < dims[i].least || dims[i].value > DIM_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "linear: %s is %lld, outside %lld..%lld",
                              dims[i].name, (long long)dims[i].value, (long long)dims[i].least,
                              (long long)DIM_MAX);
    }
    if (!shoal_dtype_is_float(s->dtype))
        return shoal_fail(SHOAL_ERR_DATA, "linear: type %s cannot hold %s",
                          shoal_dtype_name(s->dtype),
                          s->kind == SHOAL_WEIGHT_FLOAT ? "weights" : "scales");
    return SHOAL_OK;
}

/* A run has at most SHOAL_SUPER_MAX inputs, so that its integers fit 32 bits:
 * 127 * 256 * 256 * 128 < 2^31. */
static shoal_status check_supers(const shoal_linear_spec *s)
{
    const int64_t super = s->super_group;
    if (super == 0 || (s->kind != SHOAL_WEIGHT_FLOAT && !s->has_zeros && super > 0 &&
                       super <= SHOAL_SUPER_MAX && super % s->group == 0))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "linear: super-groups of %lld over weight groups of %lld; multiples up to %d "
                      "are possible, without stored zero points",
                      (long long)super, (long long)s->group, SHOAL_SUPER_MAX);
}

shoal_status shoal_linear_check_zero(shoal_weight_kind kind, int zero)
{
    const int most = kind == SHOAL_WEIGHT_INT4 ? 16 : 256;
    if (zero < 0 || zero > most)
        return shoal_fail(SHOAL_ERR_DATA, "the zero point %d is outside 0..%d", zero, most);
    return SHOAL_OK;
}

static shoal_status check_spec(const shoal_linear_spec *s)
{
    SHOAL_TRY(check_dims(s));
    SHOAL_TRY(check_supers(s));
    if (s->kind != SHOAL_WEIGHT_FLOAT && !s->has_zeros)
        SHOAL_TRY(shoal_linear_check_zero(s->kind, s->zero_const));
    if (s->k == 0)
        return SHOAL_OK;
    if (!s->unit && s->k_begin)
        return shoal_fail(SHOAL_ERR_DATA, "linear: a whole linear cannot start at input %lld",
                          (long long)s->k_begin);
    if (s->unit && s->k_begin % s->unit)
        return shoal_fail(SHOAL_ERR_DATA, "linear: input %lld does not start a unit of %lld",
                          (long long)s->k_begin, (long long)s->unit);
    if (int8_inputs(s) && s->k_begin % s->act_group)
        return shoal_fail(SHOAL_ERR_DATA,
                          "linear: input %lld does not start an activation group of %lld",
                          (long long)s->k_begin, (long long)s->act_group);
    return SHOAL_OK;
}

static uint64_t pad64(int64_t bytes)
{
    return (uint64_t)shoal_round_up(bytes, 64);
}

static shoal_status measure_segments(const shoal_linear_spec *s, shoal_linear_size *size)
{
    for (int64_t at = s->k_begin, end; at < s->k_begin + s->k; at = end) {
        end = segment_end(s, at);
        if (int8_inputs(s) && end - at > SHOAL_PER_TOKEN_K_MAX)
            return shoal_fail(SHOAL_ERR_DATA,
                              "linear: %lld inputs under one scale; 32-bit sums hold %d",
                              (long long)(end - at), SHOAL_PER_TOKEN_K_MAX);
        size->segments++;
    }
    return SHOAL_OK;
}

static void measure_bytes(const shoal_linear_spec *s, shoal_linear_size *size)
{
    const int64_t element = (int64_t)shoal_dtype_bytes(s->dtype);
    const int64_t cells = size->panels * size->groups * SHOAL_PANEL;
    const int64_t scales = size->panels * size->supers * SHOAL_PANEL;
    if (s->kind == SHOAL_WEIGHT_FLOAT) {
        size->codes_bytes = pad64(size->panels * size->k_padded * SHOAL_PANEL * element);
    } else {
        const int64_t codes = size->panels * size->k_padded * SHOAL_PANEL;
        const bool int4 = s->kind == SHOAL_WEIGHT_INT4;
        size->codes_bytes = pad64(int4 ? codes / 2 : codes);
        size->scales_bytes = pad64(scales * element);
        size->zeros_bytes = s->has_zeros ? pad64(int4 ? cells : cells * 2) : 0;
        size->mins_bytes = s->has_mins ? pad64(scales * 4) : 0;
        size->steps_bytes = s->super_group ? pad64(cells) : 0;
        size->min_steps_bytes = s->super_group && s->has_mins ? pad64(cells) : 0;
    }
    size->segments_bytes = pad64(size->segments * (int64_t)sizeof(shoal_segment));
    size->bytes = size->codes_bytes + size->scales_bytes + size->zeros_bytes + size->mins_bytes +
                  size->steps_bytes + size->min_steps_bytes + size->segments_bytes;
}

shoal_status shoal_linear_measure(const shoal_linear_spec *s, shoal_linear_size *out)
{
    SHOAL_TRY(check_spec(s));
    shoal_linear_size size = {0};
    size.panels = shoal_ceil_div(s->n, SHOAL_PANEL);
    size.k_padded = shoal_round_up(s->k, k_step(s->kind));
    if (s->kind != SHOAL_WEIGHT_FLOAT)
        size.groups = touched(s->k_begin, s->k, s->group);
    size.supers = s->super_group ? touched(s->k_begin, s->k, s->super_group) : size.groups;
    if (int8_inputs(s))
        size.act_groups = touched(s->k_begin, s->k, s->act_group);
    size.units = s->unit ? touched(s->k_begin, s->k, s->unit) : s->k > 0;
    SHOAL_TRY(measure_segments(s, &size));
    measure_bytes(s, &size);
    *out = size;
    return SHOAL_OK;
}

static int32_t local_index(int64_t at, int64_t begin, int64_t stride)
{
    return (int32_t)(at / stride - begin / stride);
}

static bool same_run(const shoal_segment *a, const shoal_segment *b)
{
    return a->act_group == b->act_group && a->scale_group == b->scale_group && a->unit == b->unit;
}

static void find_runs(const shoal_linear_spec *s, int64_t count, shoal_segment *segments)
{
    for (int64_t i = 0, run = 0; i < count; i++) {
        shoal_segment *x = &segments[i];
        if (!s->super_group || !same_run(x, &segments[run]))
            run = i;
        x->run = (int32_t)run;
        x->ends_run = !s->super_group || i + 1 == count || !same_run(x, &segments[i + 1]);
    }
}

static void fill_segments(const shoal_linear_spec *s, shoal_segment *segments)
{
    const int64_t begin = s->k_begin, scaled = s->super_group ? s->super_group : s->group;
    const bool dense = s->kind == SHOAL_WEIGHT_FLOAT;
    for (int64_t at = begin, end; at < begin + s->k; at = end) {
        end = segment_end(s, at);
        *segments++ = (shoal_segment){
            .k = (int32_t)(at - begin),
            .count = (int32_t)(end - at),
            .act_group = int8_inputs(s) ? local_index(at, begin, s->act_group) : 0,
            .weight_group = dense ? 0 : local_index(at, begin, s->group),
            .scale_group = dense ? 0 : local_index(at, begin, scaled),
            .unit = s->unit ? local_index(at, begin, s->unit) : 0,
        };
    }
}

/* The next `bytes` of *memory; an array that a shape does not need stays NULL. */
static void *take(uint8_t **memory, uint64_t bytes)
{
    void *array = bytes ? *memory : NULL;
    *memory += bytes;
    return array;
}

static void place_arrays(shoal_linear *w, uint8_t *memory)
{
    w->codes = take(&memory, w->size.codes_bytes);
    w->scales = take(&memory, w->size.scales_bytes);
    w->zeros = take(&memory, w->size.zeros_bytes);
    w->mins = take(&memory, w->size.mins_bytes);
    w->steps = take(&memory, w->size.steps_bytes);
    w->min_steps = take(&memory, w->size.min_steps_bytes);
}

shoal_status shoal_linear_create_in(const shoal_linear_spec *spec, shoal_cpu_level cap,
                                    shoal_arena *arena, void *memory, shoal_linear *linear)
{
    shoal_linear w = {.spec = *spec};
    void *segments = NULL;
    SHOAL_TRY(shoal_linear_measure(spec, &w.size));
    if (w.size.segments_bytes)
        SHOAL_TRY(shoal_arena_alloc(arena, w.size.segments_bytes, &segments));
    if (spec->kind == SHOAL_WEIGHT_FLOAT)
        w.spec.act = SHOAL_ACT_F32;
    w.bf16 = shoal_bf16_pick(cap);
    w.segments = segments;
    if (memory)
        place_arrays(&w, memory);
    fill_segments(&w.spec, w.segments);
    find_runs(&w.spec, w.size.segments, w.segments);
    w.decode = shoal_linear_pick(&w, cap, SHOAL_DECODE_ROWS);
    w.prefill = shoal_linear_pick(&w, cap, SHOAL_ROW_BLOCK);
    w.pack = shoal_pack_pick(cap);
    *linear = w;
    return SHOAL_OK;
}

shoal_status shoal_linear_create(const shoal_linear_spec *spec, shoal_cpu_level cap,
                                 shoal_arena *arena, shoal_linear *linear)
{
    shoal_linear_size size;
    void *memory = NULL;
    SHOAL_TRY(shoal_linear_measure(spec, &size));
    if (shoal_linear_packed_bytes(&size))
        SHOAL_TRY(shoal_arena_alloc(arena, shoal_linear_packed_bytes(&size), &memory));
    return shoal_linear_create_in(spec, cap, arena, memory, linear);
}

void shoal_linear_clear_padding(const shoal_linear *w)
{
    if (w->codes && (w->spec.n % SHOAL_PANEL || w->size.k_padded != w->spec.k))
        memset(w->codes, 0, shoal_linear_packed_bytes(&w->size));
}

/* The scale dtype is part of the name: a reader must not have to guess it. */
const char *shoal_linear_layout(const shoal_linear_spec *s)
{
    static const char *const names[3][3] = {
        {"cpu-panel64-int4-f32/1", "cpu-panel64-int4-f16/1", "cpu-panel64-int4-bf16/1"},
        {"cpu-panel64-int8-f32/1", "cpu-panel64-int8-f16/1", "cpu-panel64-int8-bf16/1"},
        {"cpu-panel64-f32/1", "cpu-panel64-f16/1", "cpu-panel64-bf16/1"},
    };
    static const char *const supers[2][3] = {
        {"cpu-panel64-int4-steps-f32/1", "cpu-panel64-int4-steps-f16/1",
         "cpu-panel64-int4-steps-bf16/1"},
        {"cpu-panel64-int8-steps-f32/1", "cpu-panel64-int8-steps-f16/1",
         "cpu-panel64-int8-steps-bf16/1"},
    };
    const int kind = s->kind == SHOAL_WEIGHT_INT4 ? 0 : s->kind == SHOAL_WEIGHT_INT8 ? 1 : 2;
    const int type = s->dtype == SHOAL_F32 ? 0 : s->dtype == SHOAL_F16 ? 1 : 2;
    if (s->super_group && kind < 2)
        return supers[kind][type];
    return names[kind][type];
}

/* shard/load.c - see load.h. */
#include "shard/load.h"

#include <math.h>

#include "proto/bytes.h"
#include "shard/dialect.h"

static shoal_status check_spec(const shoal_weight *weight, const shoal_rect *rect,
                               const shoal_linear_spec *spec)
{
    const int64_t n = rect->n_end - rect->n_begin, k = rect->k_end - rect->k_begin;
    if (spec->n == n && spec->k == k && spec->kind == weight->kind && spec->dtype == weight->dtype)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_INTERNAL,
                      "%s of layer %d: a linear of %lld x %lld for a slice of %lld x %lld",
                      shoal_role_name(weight->role), weight->layer, (long long)spec->n,
                      (long long)spec->k, (long long)n, (long long)k);
}

/* The bias of the rectangle's columns, from where their rows lie in the module. */
static shoal_status read_bias(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, float *bias)
{
    const int64_t n = rect->n_end - rect->n_begin;
    const int64_t first = weight->row_offset + rect->n_begin;
    void *block = NULL;
    if (!rect->columns && weight->run == 0)
        return shoal_vector_read(manifest, weight->bias, first, first + n, NULL, bias);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)n, sizeof(int32_t), &block));
    int32_t *rows = block;
    for (int64_t i = 0; i < n; i++)
        rows[i] =
            (int32_t)shoal_weight_row(weight, rect->columns ? rect->columns[i] : rect->n_begin + i);
    const shoal_status st = shoal_vector_read(manifest, weight->bias, 0, n, rows, bias);
    shoal_free(block);
    return st;
}

shoal_status shoal_load_create(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const shoal_linear_spec *spec,
                               shoal_cpu_level cap, shoal_arena *arena, void *memory,
                               shoal_linear *out)
{
    const int64_t n = rect->n_end - rect->n_begin;
    shoal_linear linear;
    void *bias = NULL;
    SHOAL_TRY(check_spec(weight, rect, spec));
    SHOAL_TRY(memory ? shoal_linear_create_in(spec, cap, arena, memory, &linear)
                     : shoal_linear_create(spec, cap, arena, &linear));
    if (weight->bias && n > 0) {
        SHOAL_TRY(shoal_arena_array(arena, (uint64_t)n, sizeof(float), &bias));
        SHOAL_TRY(read_bias(manifest, weight, rect, bias));
        linear.bias = bias;
    }
    *out = linear;
    return SHOAL_OK;
}

shoal_status shoal_load_linear(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const shoal_linear_spec *spec,
                               shoal_cpu_level cap, shoal_arena *arena, shoal_pool *pool,
                               shoal_linear *out)
{
    shoal_linear linear;
    SHOAL_TRY(shoal_load_create(manifest, weight, rect, spec, cap, arena, NULL, &linear));
    const shoal_load_task task = {weight, *rect, &linear, NULL};
    SHOAL_TRY(shoal_load_fill(manifest, &task, 1, pool, NULL, NULL));
    *out = linear;
    return SHOAL_OK;
}

void shoal_load_expect(const shoal_manifest *manifest, const shoal_load_task *task)
{
    const shoal_weight *weight = task->weight;
    uint64_t offset = 0, bytes = weight->parts[0]->bytes;
    if (shoal_rect_empty(&task->rect))
        return;
    if (weight->dialect->span)
        weight->dialect->span(weight, &task->rect, &offset, &bytes);
    shoal_checkpoint_expect(manifest->checkpoint, weight->parts[0], offset, bytes);
}

uint64_t shoal_weight_input_scale_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    if (!weight->input_scale || rect->k_end <= rect->k_begin)
        return 0;
    return (uint64_t)(rect->k_end - rect->k_begin) * shoal_dtype_bytes(weight->input_scale->dtype);
}

static shoal_status check_input_scale(const shoal_weight *weight, const shoal_rect *rect,
                                      const float *scale)
{
    for (int64_t i = 0; i < rect->k_end - rect->k_begin; i++)
        if (!isfinite(scale[i]) || (scale[i] == 0 && !weight->input_multiply))
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: the scale of input %lld is %g",
                              weight->input_scale->name, (long long)(rect->k_begin + i),
                              (double)scale[i]);
    return SHOAL_OK;
}

shoal_status shoal_load_input_scale(const shoal_manifest *manifest, const shoal_weight *weight,
                                    const shoal_rect *rect, shoal_arena *arena, const float **out)
{
    const shoal_tensor *tensor = weight->input_scale;
    const uint64_t bytes = shoal_weight_input_scale_bytes(weight, rect);
    void *stored, *scale;
    *out = NULL;
    if (bytes == 0)
        return SHOAL_OK;
    const uint64_t size = shoal_dtype_bytes(tensor->dtype);
    SHOAL_TRY(shoal_arena_array(arena, bytes / size, sizeof(float), &scale));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &stored));
    shoal_status st = shoal_checkpoint_read(manifest->checkpoint, tensor,
                                            (uint64_t)rect->k_begin * size, bytes, stored);
    if (st == SHOAL_OK) {
        shoal_widen_f32(stored, tensor->dtype, (size_t)(bytes / size), scale);
        st = check_input_scale(weight, rect, scale);
    }
    shoal_free(stored);
    if (st == SHOAL_OK)
        *out = scale;
    return st;
}

shoal_status shoal_load_vector(const shoal_manifest *manifest, const shoal_weight *weight,
                               shoal_arena *arena, float **out)
{
    void *values;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)weight->n, sizeof(float), &values));
    SHOAL_TRY(shoal_vector_read(manifest, weight->parts[0], 0, weight->n, NULL, values));
    *out = values;
    return SHOAL_OK;
}

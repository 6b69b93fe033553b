/* shard/weight.c - reading rectangles of weights and pieces of vectors: what is the same for every
 * dialect. Declared in shard/manifest.h. */
#include <math.h>
#include <string.h>

#include "kernels/threads.h"
#include "proto/bytes.h"
#include "shard/dialect.h"

/* Calls with a rectangle outside the weight are bugs of the caller, said rather than obeyed. */
shoal_status shoal_weight_check(const shoal_weight *weight, const shoal_rect *rect)
{
    const char *role = shoal_role_name(weight->role);
    const bool inside = rect->n_begin >= 0 && rect->n_begin <= rect->n_end &&
                        (rect->columns || rect->n_end <= weight->n) && rect->k_begin >= 0 &&
                        rect->k_begin <= rect->k_end && rect->k_end <= weight->k;
    if (!weight->present || !weight->dialect)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s of layer %d is not a linear", role,
                          weight->layer);
    if (!inside)
        return shoal_fail(
            SHOAL_ERR_INTERNAL,
            "%s of layer %d: columns %lld to %lld, inputs %lld to %lld of %lld x %lld", role,
            weight->layer, (long long)rect->n_begin, (long long)rect->n_end,
            (long long)rect->k_begin, (long long)rect->k_end, (long long)weight->n,
            (long long)weight->k);
    if (weight->act_order != (rect->order != NULL))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s of layer %d: %s", role, weight->layer,
                          rect->order ? "an order for plain groups" : "its order is not given");
    for (int64_t i = 0; rect->columns && i < rect->n_end - rect->n_begin; i++)
        if (rect->columns[i] < 0 || rect->columns[i] >= weight->n)
            return shoal_fail(SHOAL_ERR_INTERNAL, "%s of layer %d: column %d", role, weight->layer,
                              (int)rect->columns[i]);
    for (int64_t i = rect->k_begin; rect->order && i < rect->k_end; i++)
        if (rect->order[i] < 0 || rect->order[i] >= weight->k)
            return shoal_fail(SHOAL_ERR_INTERNAL, "%s of layer %d: input %d", role, weight->layer,
                              (int)rect->order[i]);
    return SHOAL_OK;
}

static int64_t first_column(const shoal_rect *rect)
{
    return rect->columns ? 0 : rect->n_begin;
}

/* Rectangles are read in strips of columns, so that what lies between stored and canonical form
 * stays small, and that a strip lies together in the file: it ends with a run. A permuted slice
 * walks the strips of the whole weight and keeps what it wants. *strip becomes the strip that
 * begins at column `begin`; false at the end. */
static bool next_strip(const shoal_weight *weight, const shoal_rect *rect, int64_t begin,
                       shoal_rect *strip)
{
    const int64_t end = rect->columns ? weight->n : rect->n_end;
    const int64_t step = shoal_rect_staging_columns(weight, rect), first = first_column(rect);
    if (shoal_rect_empty(rect) || begin >= end)
        return false;
    *strip = *rect;
    strip->columns = NULL;
    strip->n_begin = begin;
    strip->n_end = shoal_min_i64(first + ((begin - first) / step + 1) * step, end);
    if (weight->run)
        strip->n_end = shoal_min_i64(strip->n_end, (begin / weight->run + 1) * weight->run);
    return true;
}

/* The weight as a dialect sees it in a strip: rows that follow each other. */
static shoal_weight in_strip(const shoal_weight *weight, const shoal_rect *strip)
{
    shoal_weight plain = *weight;
    plain.row_offset = shoal_weight_row(weight, strip->n_begin) - strip->n_begin;
    plain.run = plain.period = 0;
    return plain;
}

uint64_t shoal_weight_read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    shoal_rect strip;
    uint64_t bytes = 0;
    for (int64_t n = first_column(rect); next_strip(weight, rect, n, &strip); n = strip.n_end) {
        const shoal_weight plain = in_strip(weight, &strip);
        bytes += weight->dialect->read_bytes(&plain, &strip);
    }
    return bytes;
}

/* Columns [first, first + count) of a block, as a block. */
static shoal_canonical part_of(const shoal_canonical *block, int64_t first, int64_t count)
{
    const size_t cells = (size_t)(first * block->k), groups = (size_t)(first * block->groups);
    shoal_canonical part = *block;
    part.n = count;
    if (block->dense)
        part.dense = (char *)block->dense + cells * shoal_dtype_bytes(block->dtype);
    if (block->codes)
        part.codes = block->codes + cells;
    if (block->scales)
        part.scales = block->scales + groups;
    if (block->zeros)
        part.zeros = block->zeros + groups;
    if (block->mins)
        part.mins = block->mins + groups;
    if (block->supers) {
        const size_t supers = (size_t)(first * block->supers);
        part.super_scales = block->super_scales + supers;
        part.steps = block->steps + groups;
        part.super_mins = block->super_mins ? block->super_mins + supers : NULL;
        part.min_steps = block->min_steps ? block->min_steps + groups : NULL;
    }
    return part;
}

static void copy_supers(const shoal_canonical *from, size_t a, shoal_canonical *to, size_t b)
{
    const size_t groups = (size_t)from->groups, supers = (size_t)from->supers;
    memcpy(to->super_scales + b * supers, from->super_scales + a * supers, supers * sizeof(float));
    memcpy(to->steps + b * groups, from->steps + a * groups, groups);
    if (!from->min_steps)
        return;
    memcpy(to->super_mins + b * supers, from->super_mins + a * supers, supers * sizeof(float));
    memcpy(to->min_steps + b * groups, from->min_steps + a * groups, groups);
}

static void copy_column(const shoal_canonical *from, int64_t i, shoal_canonical *to, int64_t j)
{
    const size_t k = (size_t)from->k, groups = (size_t)from->groups;
    const size_t a = (size_t)i, b = (size_t)j;
    if (from->dense) {
        const size_t bytes = k * shoal_dtype_bytes(from->dtype);
        memcpy((char *)to->dense + b * bytes, (const char *)from->dense + a * bytes, bytes);
        return;
    }
    memcpy(to->codes + b * k, from->codes + a * k, k);
    memcpy(to->scales + b * groups, from->scales + a * groups, groups * sizeof(float));
    if (from->zeros)
        memcpy(to->zeros + b * groups, from->zeros + a * groups, groups * sizeof(int16_t));
    if (from->mins)
        memcpy(to->mins + b * groups, from->mins + a * groups, groups * sizeof(float));
    if (from->supers)
        copy_supers(from, a, to, b);
}

/* Read a strip aside and keep the columns that a permuted slice wants of it. */
static shoal_status pick_columns(const shoal_manifest *manifest, const shoal_weight *weight,
                                 const shoal_rect *strip, const int32_t *columns,
                                 shoal_canonical *out)
{
    shoal_arena *scratch = NULL;
    shoal_canonical block;
    shoal_status st;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &scratch));
    SHOAL_TRY_GOTO(shoal_dialect_allocate(weight, strip, scratch, &block), done);
    SHOAL_TRY_GOTO(weight->dialect->read(manifest, weight, strip, &block), done);
    for (int64_t j = 0; j < out->n; j++)
        if (columns[j] >= strip->n_begin && columns[j] < strip->n_end)
            copy_column(&block, columns[j] - strip->n_begin, out, j);
done:
    shoal_arena_destroy(scratch);
    return st;
}

static shoal_status read_strip(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const shoal_rect *strip,
                               shoal_canonical *out)
{
    if (rect->columns)
        return pick_columns(manifest, weight, strip, rect->columns, out);
    shoal_canonical part =
        part_of(out, strip->n_begin - rect->n_begin, strip->n_end - strip->n_begin);
    return weight->dialect->read(manifest, weight, strip, &part);
}

static shoal_status read_strips(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_rect *rect, shoal_canonical *block)
{
    shoal_rect strip;
    shoal_fp_reset();
    for (int64_t n = first_column(rect); next_strip(weight, rect, n, &strip); n = strip.n_end) {
        const shoal_weight plain = in_strip(weight, &strip);
        SHOAL_TRY(read_strip(manifest, &plain, rect, &strip, block));
    }
    return SHOAL_OK;
}

shoal_status shoal_weight_read(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_arena *arena, shoal_canonical *out)
{
    shoal_canonical block;
    SHOAL_TRY(shoal_weight_check(weight, rect));
    SHOAL_TRY(shoal_dialect_allocate(weight, rect, arena, &block));
    SHOAL_TRY(read_strips(manifest, weight, rect, &block));
    *out = block;
    return SHOAL_OK;
}

shoal_status shoal_weight_read_groups(const shoal_manifest *manifest, const shoal_weight *weight,
                                      const shoal_rect *rect, shoal_arena *arena,
                                      shoal_canonical *out)
{
    shoal_canonical block;
    SHOAL_TRY(shoal_weight_check(weight, rect));
    SHOAL_TRY(shoal_dialect_allocate_groups(weight, rect, arena, &block));
    SHOAL_TRY(read_strips(manifest, weight, rect, &block));
    *out = block;
    return SHOAL_OK;
}

shoal_status shoal_weight_order(const shoal_manifest *manifest, const shoal_weight *weight,
                                int32_t *order)
{
    if (!weight->act_order || !weight->dialect || !weight->dialect->order)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s of layer %d has no order",
                          shoal_role_name(weight->role), weight->layer);
    return weight->dialect->order(manifest, weight, order);
}

/* Must all of a vector be read? Where its elements are picked, and where a digest covers it. */
static bool is_whole(const shoal_tensor *tensor, const int32_t *columns)
{
    return columns || tensor->digests;
}

uint64_t shoal_vector_read_bytes(const shoal_tensor *tensor, int64_t begin, int64_t end,
                                 const int32_t *columns)
{
    if (end <= begin)
        return 0;
    const int64_t count = is_whole(tensor, columns) ? tensor->shape[0] : end - begin;
    return (uint64_t)count * shoal_dtype_bytes(tensor->dtype);
}

uint64_t shoal_weight_bias_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    static const int32_t anywhere = 0; /* which rows does not change what is read */
    const bool scattered = rect->columns || weight->run;
    if (!weight->bias)
        return 0;
    return shoal_vector_read_bytes(weight->bias, rect->n_begin, rect->n_end,
                                   scattered ? &anywhere : NULL);
}

shoal_status shoal_vector_read(const shoal_manifest *manifest, const shoal_tensor *tensor,
                               int64_t begin, int64_t end, const int32_t *columns, float *out)
{
    const uint64_t size = shoal_dtype_bytes(tensor->dtype);
    const uint64_t bytes = shoal_vector_read_bytes(tensor, begin, end, columns);
    const int64_t first = is_whole(tensor, columns) ? 0 : begin;
    shoal_status st;
    void *stored;
    if (end <= begin)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &stored));
    SHOAL_TRY_GOTO(shoal_checkpoint_read_matrix(manifest->checkpoint, tensor, first,
                                                (int64_t)(bytes / size), 0, size, stored),
                   done);
    for (int64_t i = 0; i < end - begin; i++) {
        const int64_t at = columns ? columns[i] : begin - first + i;
        if (columns && (at < 0 || at >= tensor->shape[0])) {
            st = shoal_fail(SHOAL_ERR_INTERNAL, "tensor %s: element %lld", tensor->name,
                            (long long)at);
            goto done;
        }
        out[i] = shoal_load_f32(stored, tensor->dtype, (size_t)at);
        if (!isfinite(out[i])) {
            st = shoal_fail(SHOAL_ERR_DATA, "tensor %s: element %lld is %s", tensor->name,
                            (long long)(columns ? at : begin + i),
                            isnan(out[i]) ? "NaN" : "infinite");
            goto done;
        }
    }
done:
    shoal_free(stored);
    return st;
}

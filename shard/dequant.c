#include "shard/dequant.h"

#include <math.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/safetensors_write.h"

/* Elements of a strip of outputs, as fp32: 32 MiB. */
#define STRIP_ELEMENTS (8 << 20)

/* `count` codes of group `g` (counted over the block) as numbers. */
static void dequant_group(const shoal_canonical *b, int64_t g, const uint8_t *restrict codes,
                          int64_t count, float *restrict out)
{
    const int zero = b->zeros ? b->zeros[g] : b->zero_const;
    const float scale = b->scales[g];
    for (int64_t k = 0; !b->mins && k < count; k++)
        out[k] = (float)((int)codes[k] - zero) * scale;
    for (int64_t k = 0; b->mins && k < count; k++)
        out[k] = fmaf((float)((int)codes[k] - zero), scale, b->mins[g]);
}

/* A row in the order of the block, a group after the other. */
static void dequant_groups(const shoal_canonical *b, int64_t group, int64_t n, float *out)
{
    for (int64_t k = 0, g = n * b->groups; k < b->k; k += group, g++)
        dequant_group(b, g, b->codes + n * b->k + k, shoal_min_i64(group, b->k - k), out + k);
}

/* Permute a row by way of a piece of the stack: what is read at k belongs at order[k]. */
static void dequant_ordered(const shoal_canonical *b, int64_t group, const int32_t *order,
                            int64_t n, float *out)
{
    float piece[256];
    for (int64_t k = 0, count; k < b->k; k += count) {
        count = shoal_min_i64(256, shoal_min_i64((k / group + 1) * group, b->k) - k);
        dequant_group(b, n * b->groups + k / group, b->codes + n * b->k + k, count, piece);
        for (int64_t i = 0; i < count; i++)
            out[order[k + i]] = piece[i];
    }
}

void shoal_dequant_row(const shoal_canonical *b, int64_t group, const int32_t *order, int64_t n,
                       float *out)
{
    if (b->kind == SHOAL_WEIGHT_FLOAT)
        shoal_widen_f32((const char *)b->dense + (size_t)(n * b->k) * shoal_dtype_bytes(b->dtype),
                        b->dtype, (size_t)b->k, out);
    else if (order)
        dequant_ordered(b, group, order, n, out);
    else
        dequant_groups(b, group, n, out);
}

void shoal_dequant_block(const shoal_canonical *b, int64_t group, const int32_t *order, float *out)
{
    for (int64_t n = 0; n < b->n; n++)
        shoal_dequant_row(b, group, order, n, out + n * b->k);
}

/* ---- strips ---------------------------------------------------------------------------------- */

/* What a walk over a weight calls per strip; `values` is [block->n][k], natural order. */
typedef shoal_status (*strip_visitor)(void *context, const shoal_canonical *block,
                                      const float *values);

static shoal_status visit_strip(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_rect *rect, float *values, strip_visitor visit,
                                void *context)
{
    shoal_status st = SHOAL_OK;
    shoal_canonical block;
    shoal_arena *arena;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(shoal_weight_read(manifest, weight, rect, arena, &block), destroy);
    shoal_dequant_block(&block, weight->group, rect->order, values);
    st = visit(context, &block, values);

destroy:
    shoal_arena_destroy(arena);
    return st;
}

static shoal_status read_order(const shoal_manifest *manifest, const shoal_weight *weight,
                               void **out)
{
    *out = NULL;
    if (!weight->act_order)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)weight->k, sizeof(int32_t), out));
    const shoal_status st = shoal_weight_order(manifest, weight, *out);
    if (st != SHOAL_OK)
        shoal_free(*out);
    return st;
}

/* Outputs [first, end) of a weight, strip by strip. */
static shoal_status walk(const shoal_manifest *manifest, const shoal_weight *weight, int64_t first,
                         int64_t end, strip_visitor visit, void *context)
{
    shoal_status st = SHOAL_OK;
    void *order, *values;
    const int64_t step = shoal_min_i64(end - first, shoal_max_i64(1, STRIP_ELEMENTS / weight->k));
    SHOAL_TRY(read_order(manifest, weight, &order));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)(step * weight->k),
                                     sizeof(float), &values),
                   free_order);
    for (int64_t n = first; st == SHOAL_OK && n < end; n += step) {
        const shoal_rect rect = {.n_begin = n,
                                 .n_end = shoal_min_i64(n + step, end),
                                 .k_end = weight->k,
                                 .order = order};
        st = visit_strip(manifest, weight, &rect, values, visit, context);
    }
    shoal_free(values);

free_order:
    shoal_free(order);
    return st;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* One tensor of the output. Roles stacked in one module join as they lie there. */
typedef struct {
    const shoal_weight *weights[SHOAL_ROLE_LAYER_LINEARS];
    int count;
    bool is_bias;
} output_part;

typedef struct {
    const shoal_manifest *manifest;
    shoal_tensor_decl *decls;
    output_part *parts;
    uint64_t count, room;
    shoal_arena *names;
    shoal_st_writer *writer;
    shoal_dequant_progress progress;
    void *context;
    uint64_t done, total; /* elements */
} output;

static bool is_matrix(const shoal_weight *weight)
{
    return weight->dialect != NULL;
}

static shoal_status grow(output *o)
{
    void *decls = o->decls, *parts = o->parts;
    const uint64_t room = o->room ? 2 * o->room : 256;
    if (o->count < o->room)
        return SHOAL_OK;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *o->decls, &decls));
    o->decls = decls;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *o->parts, &parts));
    o->parts = parts;
    o->room = room;
    return SHOAL_OK;
}

static shoal_status declare(output *o, const shoal_weight *weight, bool is_bias)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    void *copy;
    shoal_weight_name(o->manifest, weight, name, sizeof name - sizeof ".weight");
    memcpy(name + strlen(name), is_bias ? ".bias" : ".weight", is_bias ? 6 : 8);
    const bool matrix = is_matrix(weight) && !is_bias;
    o->total += (uint64_t)(weight->n * (matrix ? weight->k : 1));
    for (uint64_t i = o->count; i-- > 0 && o->count - i <= SHOAL_ROLE_LAYER_ALL;) {
        if (strcmp(o->decls[i].name, name) != 0)
            continue;
        o->parts[i].weights[o->parts[i].count++] = weight;
        o->decls[i].shape[0] += weight->n;
        return SHOAL_OK;
    }
    SHOAL_TRY(grow(o));
    SHOAL_TRY(shoal_arena_alloc(o->names, strlen(name) + 1, &copy));
    memcpy(copy, name, strlen(name) + 1);
    o->parts[o->count] = (output_part){{weight}, 1, is_bias};
    o->decls[o->count++] = (shoal_tensor_decl){.name = copy,
                                               .dtype = SHOAL_F32,
                                               .rank = matrix ? 2 : 1,
                                               .shape = {weight->n, matrix ? weight->k : 0}};
    return SHOAL_OK;
}

static shoal_status declare_weight(output *o, const shoal_weight *weight)
{
    if (!weight->present || (weight->role == SHOAL_ROLE_LM_HEAD && o->manifest->model->tied))
        return SHOAL_OK;
    SHOAL_TRY(declare(o, weight, false));
    return weight->bias ? declare(o, weight, true) : SHOAL_OK;
}

static shoal_status emit(output *o, const float *values, uint64_t count)
{
    o->done += count;
    if (o->progress)
        o->progress(o->context, o->done, o->total);
    return shoal_st_writer_append(o->writer, values, count * sizeof *values);
}

static shoal_status emit_strip(void *context, const shoal_canonical *block, const float *values)
{
    return emit(context, values, (uint64_t)(block->n * block->k));
}

/* `count` elements that follow each other in the tensor. */
static shoal_status emit_vector(output *o, const shoal_tensor *tensor, int64_t first, int64_t count)
{
    void *values;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)count, sizeof(float), &values));
    shoal_status st = shoal_vector_read(o->manifest, tensor, first, first + count, NULL, values);
    if (st == SHOAL_OK)
        st = emit(o, values, (uint64_t)count);
    shoal_free(values);
    return st;
}

/* Outputs [first, first + count): a run, or all. */
static shoal_status emit_rows(output *o, const output_part *part, const shoal_weight *weight,
                              int64_t first, int64_t count)
{
    if (is_matrix(weight) && !part->is_bias)
        return walk(o->manifest, weight, first, first + count, emit_strip, o);
    return emit_vector(o, part->is_bias ? weight->bias : weight->parts[0],
                       shoal_weight_row(weight, first), count);
}

static shoal_status emit_part(output *o, const output_part *part)
{
    const shoal_weight *any = part->weights[0];
    const int64_t runs = any->run ? any->n / any->run : 1;
    for (int64_t r = 0; r < runs; r++)
        for (int i = 0; i < part->count; i++) {
            const shoal_weight *weight = part->weights[i];
            const int64_t count = weight->n / runs;
            SHOAL_TRY(emit_rows(o, part, weight, r * count, count));
        }
    return SHOAL_OK;
}

static shoal_status write_file(output *o, const char *path)
{
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_TEXT, &o->names));
    for (size_t i = 0; i < shoal_manifest_count(o->manifest); i++)
        SHOAL_TRY(declare_weight(o, shoal_manifest_at(o->manifest, i)));
    SHOAL_TRY(shoal_st_writer_create(path, o->decls, o->count, &o->writer));
    for (uint64_t i = 0; i < o->count; i++)
        SHOAL_TRY(emit_part(o, &o->parts[i]));
    SHOAL_TRY(shoal_checkpoint_verify_unchanged(o->manifest->checkpoint));
    shoal_st_writer *writer = o->writer;
    o->writer = NULL;
    return shoal_st_writer_finish(writer);
}

shoal_status shoal_dequant_file(const shoal_manifest *manifest, const char *path,
                                shoal_dequant_progress progress, void *context)
{
    output o = {.manifest = manifest, .progress = progress, .context = context};
    const shoal_status st = write_file(&o, path);
    shoal_st_writer_abandon(o.writer);
    shoal_arena_destroy(o.names);
    shoal_free(o.parts);
    shoal_free(o.decls);
    return st;
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* Sums while it grows: mean holds the sum, deviation the sum of squares. */
static void count_value(shoal_statistics *s, double value)
{
    s->min = s->count == 0 || value < s->min ? value : s->min;
    s->max = s->count == 0 || value > s->max ? value : s->max;
    s->mean += value;
    s->deviation += value * value;
    s->count++;
}

static void finish_statistics(shoal_statistics *s)
{
    if (s->count == 0)
        return;
    s->mean /= (double)s->count;
    const double variance = s->deviation / (double)s->count - s->mean * s->mean;
    s->deviation = variance > 0 ? sqrt(variance) : 0;
}

static void count_integers(shoal_weight_summary *s, const shoal_canonical *b)
{
    for (int64_t i = 0; i < b->n * b->k; i++)
        s->histogram[b->codes[i]]++;
    for (int64_t i = 0; i < b->n * b->groups; i++) {
        count_value(&s->scales, b->scales[i]);
        count_value(&s->zeros, b->zeros ? b->zeros[i] : b->zero_const);
    }
}

static shoal_status summarize_strip(void *context, const shoal_canonical *b, const float *values)
{
    shoal_weight_summary *s = context;
    if (s->values.count == 0) {
        s->first_count = (int)shoal_min_i64(b->k, SHOAL_SUMMARY_FIRST);
        for (int i = 0; i < s->first_count; i++) {
            s->first[i] = values[i];
            s->first_codes[i] = b->kind == SHOAL_WEIGHT_FLOAT ? 0 : b->codes[i];
        }
    }
    s->groups = b->groups;
    for (int64_t i = 0; i < b->n * b->k; i++)
        count_value(&s->values, values[i]);
    if (b->kind != SHOAL_WEIGHT_FLOAT)
        count_integers(s, b);
    return SHOAL_OK;
}

static void finish_summary(shoal_weight_summary *s)
{
    for (int code = 0; code < 256; code++) {
        const double n = (double)s->histogram[code];
        if (s->histogram[code] == 0)
            continue;
        s->codes.min = s->codes.count == 0 ? code : s->codes.min;
        s->codes.max = code;
        s->codes.mean += n * code;
        s->codes.deviation += n * code * code;
        s->codes.count += s->histogram[code];
    }
    finish_statistics(&s->codes);
    finish_statistics(&s->zeros);
    finish_statistics(&s->scales);
    finish_statistics(&s->values);
}

shoal_status shoal_weight_summarize(const shoal_manifest *manifest, const shoal_weight *weight,
                                    shoal_weight_summary *out)
{
    shoal_weight_summary s = {0};
    SHOAL_TRY(walk(manifest, weight, 0, weight->n, summarize_strip, &s));
    finish_summary(&s);
    *out = s;
    return SHOAL_OK;
}

shoal_status shoal_tensor_summarize(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                    shoal_weight_summary *out)
{
    shoal_weight_summary s = {0};
    char piece[65536];
    const uint64_t size = shoal_dtype_bytes(tensor->dtype);
    for (uint64_t at = 0; at < tensor->bytes; at += sizeof piece) {
        const uint64_t left = tensor->bytes - at;
        const uint64_t bytes = left < sizeof piece ? left : sizeof piece;
        SHOAL_TRY(shoal_checkpoint_read(checkpoint, tensor, at, bytes, piece));
        for (uint64_t i = 0; i < bytes / size; i++) {
            const float value = shoal_load_f32(piece, tensor->dtype, i);
            if (s.first_count < SHOAL_SUMMARY_FIRST)
                s.first[s.first_count++] = value;
            count_value(&s.values, value);
        }
    }
    finish_summary(&s);
    *out = s;
    return SHOAL_OK;
}

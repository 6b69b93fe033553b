/* shard/dialect.c - see dialect.h. */
#include "shard/dialect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "proto/bytes.h"

static const shoal_dialect *const table[] = {
    &shoal_dialect_dense,         &shoal_dialect_gptq,
    &shoal_dialect_gptq_word,     &shoal_dialect_gptq_v2,
    &shoal_dialect_marlin,        &shoal_dialect_awq,
    &shoal_dialect_awq_gemv,      &shoal_dialect_awq_gemv_fast,
    &shoal_dialect_awq_marlin,    &shoal_dialect_pack_quantized,
    &shoal_dialect_int_quantized, &shoal_dialect_lmdeploy,
    &shoal_dialect_torchao,       &shoal_dialect_torchao_aqt,
    &shoal_dialect_torchao_int4,  &shoal_dialect_torchao_int4_aqt,
    &shoal_dialect_gguf,          &shoal_dialect_pack,
};

void shoal_tensor_shape_text(const shoal_tensor *tensor, char *out, size_t room)
{
    size_t at = (size_t)snprintf(out, room, "[");
    for (int i = 0; i < tensor->rank && at < room; i++)
        at += (size_t)snprintf(out + at, room - at, "%s%lld", i ? ", " : "",
                               (long long)tensor->shape[i]);
    if (at < room)
        snprintf(out + at, room - at, "]");
}

const shoal_tensor *shoal_module_tensor(const shoal_module *module, const char *suffix)
{
    char name[SHOAL_TENSOR_NAME_MAX + 1];
    const int length = snprintf(name, sizeof name, "%s.%s", module->name, suffix);
    if (length < 0 || (size_t)length >= sizeof name)
        return NULL;
    return shoal_checkpoint_find(module->checkpoint, name);
}

int64_t shoal_module_group(const shoal_module *module)
{
    const int64_t group = module->quantization->group;
    return group < 0 ? module->k : shoal_min_i64(group, module->k);
}

/* Is a tensor called "MODULE.something"? */
static bool is_of(const shoal_tensor *tensor, const shoal_module *module)
{
    const size_t length = strlen(module->name);
    return strncmp(tensor->name, module->name, length) == 0 && tensor->name[length] == '.';
}

/* "weight BF16 [64, 128], bias BF16 [64]": what the checkpoint has under a module. */
static void list_parts(const shoal_module *module, char *out, size_t room)
{
    const size_t length = strlen(module->name);
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < shoal_checkpoint_count(module->checkpoint); i++) {
        const shoal_tensor *tensor = shoal_checkpoint_at(module->checkpoint, i);
        char shape[160];
        if (!is_of(tensor, module))
            continue;
        shoal_tensor_shape_text(tensor, shape, sizeof shape);
        at += (size_t)snprintf(out + at, room - at, "%s%s %s %s", at ? ", " : "",
                               tensor->name + length + 1, shoal_tensor_type_name(tensor), shape);
        if (at >= room)
            return;
    }
}

/* The class of the module's weight, if it is a subclass. */
static const shoal_tensor_subclass *subclass_of(const shoal_module *module)
{
    for (size_t i = 0; i < shoal_checkpoint_count(module->checkpoint); i++) {
        const shoal_tensor *t = shoal_checkpoint_at(module->checkpoint, i);
        if (t->subclass && is_of(t, module))
            return t->subclass;
    }
    return NULL;
}

static shoal_status nobody_claims(const shoal_module *module)
{
    char parts[512];
    list_parts(module, parts, sizeof parts);
    const shoal_tensor_subclass *subclass = subclass_of(module);
    if (subclass)
        return shoal_fail(SHOAL_ERR_DATA, "%s is a tensor of class %.100s, which is not read: %s",
                          subclass->name, subclass->type, parts);
    if (parts[0] == '\0')
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: the model needs it and the checkpoint has no tensor of that name",
                          module->name);
    if (module->quantization->left_out)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: the quantization config leaves it in floating point, but it is "
                          "stored otherwise: %s",
                          module->name, parts);
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: not a stored form that is read under quantization method '%s': %s",
                      module->name, shoal_method_name(module->quantization->method), parts);
}

shoal_status shoal_dialect_find(const shoal_module *module, const shoal_dialect **out)
{
    const shoal_dialect *found = NULL;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!table[i]->claims(module))
            continue;
        if (found)
            return shoal_fail(SHOAL_ERR_DATA, "%s is stored twice: as %s (%s.%s) and as %s (%s.%s)",
                              module->name, found->name, module->name, found->parts[0],
                              table[i]->name, module->name, table[i]->parts[0]);
        found = table[i];
    }
    if (!found)
        return nobody_claims(module);
    *out = found;
    return SHOAL_OK;
}

shoal_status shoal_dialect_expect(const shoal_module *module, const char *suffix,
                                  const shoal_tensor *tensor, int64_t rows, int64_t columns)
{
    char shape[160];
    if (!tensor)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s.%s is missing", module->name, suffix);
    if (tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns)
        return SHOAL_OK;
    shoal_tensor_shape_text(tensor, shape, sizeof shape);
    return shoal_fail(SHOAL_ERR_DATA,
                      "tensor %s has shape %s; [%lld, %lld] is right for %lld outputs and %lld "
                      "inputs of config.json",
                      tensor->name, shape, (long long)rows, (long long)columns,
                      (long long)module->n, (long long)module->k);
}

shoal_status shoal_dialect_expect_dtype(const shoal_tensor *tensor, shoal_dtype dtype)
{
    if (tensor->dtype == dtype)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s has dtype %s; expected %s", tensor->name,
                      shoal_tensor_type_name(tensor), shoal_dtype_name(dtype));
}

shoal_status shoal_dialect_expect_float(const shoal_tensor *tensor)
{
    if (shoal_dtype_is_float(tensor->dtype))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s has dtype %s; expected F32, F16 or BF16",
                      tensor->name, shoal_tensor_type_name(tensor));
}

shoal_status shoal_dialect_set_input_scale(const shoal_module *module, const shoal_tensor *tensor,
                                           bool multiply, shoal_weight *weight)
{
    char shape[160];
    const bool row = tensor->rank == 2 && tensor->shape[0] == 1 && tensor->shape[1] == module->k;
    SHOAL_TRY(shoal_dialect_expect_float(tensor));
    if (!row && (tensor->rank != 1 || tensor->shape[0] != module->k)) {
        shoal_tensor_shape_text(tensor, shape, sizeof shape);
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s has shape %s; [%lld] is right for a scale per input",
                          tensor->name, shape, (long long)module->k);
    }
    weight->input_scale = tensor;
    weight->input_multiply = multiply;
    return SHOAL_OK;
}

int64_t shoal_rect_group_begin(const shoal_weight *weight, const shoal_rect *rect)
{
    return weight->group > 0 ? rect->k_begin / weight->group : 0;
}

int64_t shoal_rect_groups(const shoal_weight *weight, const shoal_rect *rect)
{
    if (weight->kind == SHOAL_WEIGHT_FLOAT || weight->group <= 0 || rect->k_end <= rect->k_begin)
        return 0;
    return shoal_ceil_div(rect->k_end, weight->group) - rect->k_begin / weight->group;
}

static int64_t columns_to_stage(const shoal_weight *weight, const shoal_rect *rect)
{
    const int64_t k = weight->act_order ? weight->k : rect->k_end - rect->k_begin;
    const int64_t element =
        weight->kind == SHOAL_WEIGHT_FLOAT ? (int64_t)shoal_dtype_bytes(weight->dtype) : 2;
    const int64_t columns = SHOAL_STAGING_BYTES / (shoal_max_i64(k, 1) * element);
    return shoal_max_i64(columns / SHOAL_PANEL * SHOAL_PANEL, SHOAL_PANEL);
}

int64_t shoal_rect_staging_columns(const shoal_weight *weight, const shoal_rect *rect)
{
    int64_t columns, inputs;
    if (!weight->dialect || !weight->dialect->tile)
        return columns_to_stage(weight, rect);
    weight->dialect->tile(weight, rect, &columns, &inputs);
    return columns;
}

void shoal_dialect_tile_columns(const shoal_weight *weight, const shoal_rect *rect,
                                int64_t *columns, int64_t *inputs)
{
    *columns = columns_to_stage(weight, rect);
    *inputs = shoal_max_i64(rect->k_end - rect->k_begin, 1);
}

static int64_t supers_of(const shoal_weight *weight, const shoal_rect *rect)
{
    if (!weight->super_group || rect->k_end <= rect->k_begin)
        return 0;
    return shoal_ceil_div(rect->k_end, weight->super_group) - rect->k_begin / weight->super_group;
}

static shoal_status allocate_supers(const shoal_weight *weight, shoal_arena *arena,
                                    shoal_canonical *block)
{
    const uint64_t supers = (uint64_t)block->n * (uint64_t)block->supers;
    const uint64_t cells = (uint64_t)block->n * (uint64_t)block->groups;
    void *at;
    if (!block->supers)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_array(arena, supers, sizeof(float), &at));
    block->super_scales = at;
    SHOAL_TRY(shoal_arena_array(arena, cells, 1, &at));
    block->steps = at;
    if (!weight->has_mins)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_array(arena, supers, sizeof(float), &at));
    block->super_mins = at;
    SHOAL_TRY(shoal_arena_array(arena, cells, 1, &at));
    block->min_steps = at;
    return SHOAL_OK;
}

static shoal_status allocate_groups(const shoal_weight *weight, shoal_arena *arena,
                                    shoal_canonical *block)
{
    const uint64_t scales = (uint64_t)block->n * (uint64_t)block->groups;
    void *at;
    if (block->kind == SHOAL_WEIGHT_FLOAT)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_array(arena, scales, sizeof(float), &at));
    block->scales = at;
    if (weight->has_zeros) {
        SHOAL_TRY(shoal_arena_array(arena, scales, sizeof(int16_t), &at));
        block->zeros = at;
    }
    if (weight->has_mins) {
        SHOAL_TRY(shoal_arena_array(arena, scales, sizeof(float), &at));
        block->mins = at;
    }
    return allocate_supers(weight, arena, block);
}

static shoal_canonical block_of(const shoal_weight *weight, const shoal_rect *rect)
{
    return (shoal_canonical){
        .kind = weight->kind,
        .n = rect->n_end - rect->n_begin,
        .k = rect->k_end - rect->k_begin,
        .groups = shoal_rect_groups(weight, rect),
        .zero_const = weight->zero_const,
        .dtype = weight->super_group ? SHOAL_F32 : weight->dtype,
        .supers = supers_of(weight, rect),
    };
}

shoal_status shoal_dialect_allocate_groups(const shoal_weight *weight, const shoal_rect *rect,
                                           shoal_arena *arena, shoal_canonical *out)
{
    shoal_canonical block = block_of(weight, rect);
    SHOAL_TRY(allocate_groups(weight, arena, &block));
    *out = block;
    return SHOAL_OK;
}

shoal_status shoal_dialect_allocate(const shoal_weight *weight, const shoal_rect *rect,
                                    shoal_arena *arena, shoal_canonical *out)
{
    shoal_canonical block = block_of(weight, rect);
    const bool is_float = block.kind == SHOAL_WEIGHT_FLOAT;
    void *at;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)block.n * (uint64_t)block.k,
                                is_float ? shoal_dtype_bytes(block.dtype) : 1, &at));
    block.dense = is_float ? at : NULL;
    block.codes = is_float ? NULL : at;
    SHOAL_TRY(allocate_groups(weight, arena, &block));
    *out = block;
    return SHOAL_OK;
}

static shoal_status read_block(const shoal_manifest *manifest, const shoal_tensor *tensor,
                               int64_t first, int64_t rows, int64_t begin, int64_t bytes,
                               uint8_t *out)
{
    const int64_t columns = tensor->rank > 1 ? tensor->shape[1] : 1;
    const uint64_t stride = (uint64_t)columns * shoal_dtype_bytes(tensor->dtype);
    if (rows <= 0 || bytes <= 0)
        return SHOAL_OK;
    return shoal_checkpoint_read_rows(manifest->checkpoint, tensor,
                                      (uint64_t)first * stride + (uint64_t)begin, (uint64_t)bytes,
                                      stride, (uint64_t)rows, out);
}

static shoal_status too_many(const shoal_tensor *tensor, int64_t rows, int64_t bytes)
{
    return shoal_fail(SHOAL_ERR_TEMPORARY, "tensor %s: %lld rows of %lld bytes are too many",
                      tensor->name, (long long)rows, (long long)bytes);
}

shoal_status shoal_dialect_stage(const shoal_manifest *manifest, const shoal_tensor *tensor,
                                 int64_t first, int64_t rows, int64_t begin, int64_t bytes,
                                 uint8_t **out)
{
    void *block = NULL;
    uint64_t room;
    if (!shoal_mul_u64((uint64_t)rows, (uint64_t)bytes, &room))
        return too_many(tensor, rows, bytes);
    SHOAL_TRY(shoal_alloc_unset(SHOAL_MEM_CHECKPOINT, room, &block));
    const shoal_status st = read_block(manifest, tensor, first, rows, begin, bytes, block);
    if (st != SHOAL_OK) {
        shoal_free(block);
        return st;
    }
    *out = block;
    return SHOAL_OK;
}

shoal_status shoal_dialect_stage_slot(const shoal_manifest *manifest, const shoal_tensor *tensor,
                                      int64_t first, int64_t rows, int64_t begin, int64_t bytes,
                                      shoal_staging *staging, shoal_stage_slot slot, uint8_t **out)
{
    uint64_t room;
    if (!shoal_mul_u64((uint64_t)rows, (uint64_t)bytes, &room))
        return too_many(tensor, rows, bytes);
    SHOAL_TRY(shoal_staging_take(staging, slot, room, out));
    return read_block(manifest, tensor, first, rows, begin, bytes, *out);
}

/* ---- scales ---- */

uint64_t shoal_dialect_scales_bytes(const shoal_weight *weight, const shoal_tensor *tensor,
                                    const shoal_rect *rect)
{
    return (uint64_t)(rect->n_end - rect->n_begin) * (uint64_t)shoal_rect_groups(weight, rect) *
           shoal_dtype_bytes(tensor->dtype);
}

bool shoal_dialect_all_finite(const uint8_t *stored, shoal_dtype dtype, int64_t count)
{
    const uint16_t top = dtype == SHOAL_F16 ? 0x7c00 : 0x7f80;
    unsigned bad = 0;
    for (int64_t i = 0; i < count && dtype == SHOAL_F32; i++)
        bad |= (shoal_load_le32(stored + 4 * i) & 0x7f800000u) == 0x7f800000u;
    for (int64_t i = 0; i < count && dtype != SHOAL_F32; i++)
        bad |= (shoal_load_le16(stored + 2 * i) & top) == top;
    return !bad;
}

static shoal_status bad_scale(const shoal_tensor *tensor, float value, int64_t group,
                              int64_t column)
{
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s: the scale of group %lld, column %lld is %s",
                      tensor->name, (long long)group, (long long)column,
                      isnan(value) ? "NaN" : "infinite");
}

shoal_status shoal_dialect_check_scales(const shoal_tensor *tensor, const uint8_t *stored,
                                        int64_t groups, int64_t columns, int64_t first_group,
                                        int64_t first_column)
{
    if (shoal_dialect_all_finite(stored, tensor->dtype, groups * columns))
        return SHOAL_OK;
    int64_t at = 0;
    while (isfinite(shoal_load_f32(stored, tensor->dtype, (size_t)at)))
        at++;
    return bad_scale(tensor, shoal_load_f32(stored, tensor->dtype, (size_t)at),
                     first_group + at / columns, first_column + at % columns);
}

shoal_status shoal_dialect_stage_scales(const shoal_manifest *manifest, const shoal_weight *weight,
                                        const shoal_tensor *tensor, const shoal_tile *tile,
                                        shoal_staging *staging, uint8_t **out)
{
    const int64_t size = (int64_t)shoal_dtype_bytes(tensor->dtype);
    const int64_t columns = tile->rect.n_end - tile->rect.n_begin;
    const int64_t groups = tile->group_end - tile->group_begin;
    const int64_t column = weight->row_offset + tile->rect.n_begin;
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, tensor, tile->group_begin, groups, column * size,
                                       columns * size, staging, SHOAL_STAGE_SCALES, out));
    return shoal_dialect_check_scales(tensor, *out, groups, columns, tile->group_begin, column);
}

/* [groups][columns] as they are stored to out[columns][groups], in pieces of the stack. */
static void turn_scales(const uint8_t *stored, shoal_dtype dtype, int64_t groups, int64_t columns,
                        float *out)
{
    enum { ROWS = 16, SIDE = 64 };
    const int64_t size = (int64_t)shoal_dtype_bytes(dtype);
    float rows[ROWS][SIDE];
    for (int64_t g = 0; g < groups; g += ROWS)
        for (int64_t n = 0; n < columns; n += SIDE) {
            const int64_t count = shoal_min_i64(ROWS, groups - g);
            const int64_t here = shoal_min_i64(SIDE, columns - n);
            for (int64_t i = 0; i < count; i++)
                shoal_widen_f32(stored + ((g + i) * columns + n) * size, dtype, (size_t)here,
                                rows[i]);
            shoal_nibbles_best()->turn_words((const uint8_t *)rows[0], sizeof rows[0], count, here,
                                             (uint8_t *)(out + n * groups + g), 4 * groups);
        }
}

shoal_status shoal_dialect_read_scales(const shoal_manifest *manifest, const shoal_weight *weight,
                                       const shoal_tensor *tensor, const shoal_rect *rect,
                                       float *out)
{
    shoal_staging staging = {0};
    uint8_t *stored = NULL;
    const int64_t first = shoal_rect_group_begin(weight, rect);
    const int64_t columns = rect->n_end - rect->n_begin, groups = shoal_rect_groups(weight, rect);
    const shoal_tile tile = {*rect, first, first + groups};
    const shoal_status st =
        shoal_dialect_stage_scales(manifest, weight, tensor, &tile, &staging, &stored);
    if (st == SHOAL_OK)
        turn_scales(stored, tensor->dtype, groups, columns, out);
    shoal_staging_free(&staging);
    return st;
}

uint64_t shoal_dialect_row_scales_bytes(const shoal_weight *weight, const shoal_tensor *tensor,
                                        const shoal_rect *rect)
{
    if (shoal_rect_empty(rect))
        return 0;
    return shoal_tensor_is_single(tensor) ? shoal_dtype_bytes(tensor->dtype)
                                          : shoal_dialect_scales_bytes(weight, tensor, rect);
}

/* What a rectangle needs of scales [columns][groups]: one number, or rows of some of them. */
typedef struct {
    bool single;
    int64_t row, rows, first, across;
} row_reach;

static row_reach rows_of(const shoal_weight *weight, const shoal_tensor *tensor,
                         const shoal_tile *tile)
{
    const shoal_rect *rect = &tile->rect;
    if (shoal_tensor_is_single(tensor))
        return (row_reach){true, 0, 1, 0, 1};
    return (row_reach){false, weight->row_offset + rect->n_begin, rect->n_end - rect->n_begin,
                       tile->group_begin, tile->group_end - tile->group_begin};
}

static shoal_status check_rows(const shoal_tensor *tensor, const uint8_t *stored,
                               const row_reach *r)
{
    const int64_t count = r->rows * r->across;
    if (shoal_dialect_all_finite(stored, tensor->dtype, count))
        return SHOAL_OK;
    int64_t at = 0;
    while (isfinite(shoal_load_f32(stored, tensor->dtype, (size_t)at)))
        at++;
    return bad_scale(tensor, shoal_load_f32(stored, tensor->dtype, (size_t)at),
                     r->first + at % r->across, r->row + at / r->across);
}

shoal_status shoal_dialect_read_row_scales(const shoal_manifest *manifest,
                                           const shoal_weight *weight, const shoal_tensor *tensor,
                                           const shoal_rect *rect, float *out)
{
    const int64_t size = (int64_t)shoal_dtype_bytes(tensor->dtype);
    const int64_t first = shoal_rect_group_begin(weight, rect);
    const int64_t groups = shoal_rect_groups(weight, rect);
    const int64_t count = (rect->n_end - rect->n_begin) * groups;
    const row_reach r = rows_of(weight, tensor, &(shoal_tile){*rect, first, first + groups});
    uint8_t *stored;
    if (shoal_rect_empty(rect))
        return SHOAL_OK;
    SHOAL_TRY(shoal_dialect_stage(manifest, tensor, r.row, r.rows, r.first * size, r.across * size,
                                  &stored));
    const shoal_status st = check_rows(tensor, stored, &r);
    for (int64_t i = 0; i < count && st == SHOAL_OK; i++)
        out[i] = shoal_load_f32(stored, tensor->dtype, (size_t)(r.single ? 0 : i));
    shoal_free(stored);
    return st;
}

shoal_status shoal_dialect_stage_row_scales(const shoal_manifest *manifest,
                                            const shoal_weight *weight, const shoal_tensor *tensor,
                                            const shoal_tile *tile, shoal_staging *staging,
                                            uint8_t **out)
{
    const int64_t size = (int64_t)shoal_dtype_bytes(tensor->dtype);
    const int64_t n = tile->rect.n_end - tile->rect.n_begin;
    const int64_t groups = tile->group_end - tile->group_begin;
    const row_reach r = rows_of(weight, tensor, tile);
    uint8_t *stored;
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, tensor, r.row, r.rows, r.first * size,
                                       r.across * size, staging, SHOAL_STAGE_STORED, &stored));
    SHOAL_TRY(check_rows(tensor, stored, &r));
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_SCALES, (uint64_t)(n * groups * size), out));
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 0; c < n; c++) {
            uint8_t *to = *out + (g * n + c) * size;
            const uint8_t *from = stored + (r.single ? 0 : c * r.across + g) * size;
            if (size == 2)
                memcpy(to, from, 2);
            else
                memcpy(to, from, 4);
        }
    return SHOAL_OK;
}

shoal_status shoal_dialect_stage_points(const int16_t *zeros, int64_t columns, int64_t groups,
                                        shoal_staging *staging, uint8_t **out)
{
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_POINTS, (uint64_t)(columns * groups), out));
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 0; c < columns; c++)
            (*out)[g * columns + c] = (uint8_t)zeros[c * groups + g];
    return SHOAL_OK;
}

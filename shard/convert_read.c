/* shard/convert_read.c - see convert_read.h. */
#include "shard/convert_read.h"

#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/model_family.h"
#include "shard/whole_zeros.h"

/* Groups of a module that are looked at together. */
#define LOOK_CELLS (1 << 20)

int64_t shoal_convert_strip_columns(const shoal_writer_module *module)
{
    const shoal_rect all = {.n_end = module->n, .k_end = module->k};
    return shoal_rect_staging_columns(module->weights[0], &all);
}

shoal_status shoal_convert_order(const shoal_manifest *manifest, const shoal_writer_module *module,
                                 int32_t **order)
{
    void *block;
    *order = NULL;
    if (!module->weights[0]->act_order)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)module->k, sizeof **order, &block));
    const shoal_status st = shoal_weight_order(manifest, module->weights[0], block);
    if (st != SHOAL_OK) {
        shoal_free(block);
        return st;
    }
    *order = block;
    return SHOAL_OK;
}

/* Copy the rows of `part` behind `row` of `whole`. */
static void join(shoal_canonical *whole, int64_t row, const shoal_canonical *part)
{
    const size_t cells = (size_t)(row * whole->k), count = (size_t)(part->n * part->k);
    const size_t groups = (size_t)(row * whole->groups), scales = (size_t)(part->n * part->groups);
    const size_t element = shoal_dtype_bytes(whole->dtype);
    if (whole->dense)
        memcpy((char *)whole->dense + cells * element, part->dense, count * element);
    if (whole->codes)
        memcpy(whole->codes + cells, part->codes, count);
    if (whole->scales)
        memcpy(whole->scales + groups, part->scales, scales * sizeof(float));
    if (whole->zeros)
        memcpy(whole->zeros + groups, part->zeros, scales * sizeof(int16_t));
    if (whole->mins)
        memcpy(whole->mins + groups, part->mins, scales * sizeof(float));
}

/* Which output of `w` is row `row` of the module, and how many follow it there; 0: another's row.
 */
static int64_t outputs_at(const shoal_weight *w, int64_t row, int64_t *output)
{
    const int64_t at = row - w->row_offset;
    if (at < 0)
        return 0;
    *output = w->run ? at / w->period * w->run + at % w->period : at;
    if (*output >= w->n || (w->run && at % w->period >= w->run))
        return 0;
    return w->run ? w->run - at % w->period : w->n - at;
}

/* The run of rows that begins at `row`, from whichever linear has it, cut at `end`. */
static shoal_status read_run(const shoal_manifest *manifest, const shoal_writer_module *module,
                             const int32_t *order, int64_t row, int64_t end, shoal_arena *arena,
                             shoal_canonical *out)
{
    int64_t output = 0;
    for (int i = 0; i < module->count; i++) {
        const int64_t count = outputs_at(module->weights[i], row, &output);
        const shoal_rect rect = {.n_begin = output,
                                 .n_end = output + shoal_min_i64(count, end - row),
                                 .k_end = module->k,
                                 .order = order};
        if (count > 0)
            return shoal_weight_read(manifest, module->weights[i], &rect, arena, out);
    }
    return shoal_fail(SHOAL_ERR_INTERNAL, "%s: no linear has row %lld", module->name,
                      (long long)row);
}

static shoal_status read_joined(const shoal_manifest *manifest, const shoal_writer_module *module,
                                const int32_t *order, int64_t begin, int64_t end,
                                shoal_arena *arena, shoal_canonical *out)
{
    const shoal_rect all = {.n_end = end - begin, .k_end = module->k};
    shoal_canonical part;
    SHOAL_TRY(shoal_dialect_allocate(module->weights[0], &all, arena, out));
    for (int64_t row = begin; row < end; row += part.n) {
        SHOAL_TRY(read_run(manifest, module, order, row, end, arena, &part));
        join(out, row - begin, &part);
    }
    return SHOAL_OK;
}

/* Minimums that are zero points in another form, as those. */
static shoal_status take_whole_zeros(const shoal_writer_module *module, shoal_arena *arena,
                                     shoal_canonical *block)
{
    void *zeros;
    if (!block->mins || module->has_mins)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)block->n * (uint64_t)block->groups,
                                sizeof(int16_t), &zeros));
    if (!shoal_whole_zeros(block, module->bits, zeros))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s: its minimums have changed while it was read",
                          module->name);
    block->zeros = zeros;
    block->mins = NULL;
    return SHOAL_OK;
}

shoal_status shoal_convert_read(const shoal_manifest *manifest, const shoal_writer_module *module,
                                const int32_t *order, int64_t begin, int64_t end,
                                shoal_arena *arena, shoal_canonical *out)
{
    const shoal_rect rect = {.n_begin = begin, .n_end = end, .k_end = module->k, .order = order};
    shoal_canonical block;
    if (module->count == 1)
        SHOAL_TRY(shoal_weight_read(manifest, module->weights[0], &rect, arena, &block));
    else
        SHOAL_TRY(read_joined(manifest, module, order, begin, end, arena, &block));
    SHOAL_TRY(take_whole_zeros(module, arena, &block));
    *out = block;
    return SHOAL_OK;
}

/* ---- a look at zero points ---- */

/* What was found so far; a minimum that is no zero point ends the look. */
typedef struct {
    bool symmetric, has_mins;
} zero_points;

static shoal_status look_at(const shoal_writer_module *module, const shoal_canonical *block,
                            shoal_arena *arena, zero_points *found)
{
    const int64_t count = block->n * block->groups;
    const int16_t *zeros = block->zeros;
    if (block->mins) {
        void *whole;
        SHOAL_TRY(shoal_arena_array(arena, (uint64_t)count, sizeof(int16_t), &whole));
        found->has_mins = !shoal_whole_zeros(block, module->bits, whole);
        zeros = whole;
    }
    for (int64_t i = 0; i < count && found->symmetric && !found->has_mins; i++)
        found->symmetric = zeros[i] == 1 << (module->bits - 1);
    return SHOAL_OK;
}

static shoal_status look_at_columns(const shoal_manifest *manifest,
                                    const shoal_writer_module *module, const shoal_weight *weight,
                                    const shoal_rect *rect, zero_points *found)
{
    shoal_arena *arena;
    shoal_canonical block;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    shoal_status st = shoal_weight_read_groups(manifest, weight, rect, arena, &block);
    if (st == SHOAL_OK)
        st = look_at(module, &block, arena, found);
    shoal_arena_destroy(arena);
    return st;
}

/* More would change nothing: minimums as they are, or zero points that are not the middle. */
static bool knows_enough(const shoal_weight *weight, const zero_points *found)
{
    return found->has_mins || (!weight->has_mins && !found->symmetric);
}

static shoal_status look(const shoal_manifest *manifest, const shoal_writer_module *module,
                         const int32_t *order, zero_points *found)
{
    for (int i = 0; i < module->count; i++) {
        const shoal_weight *w = module->weights[i];
        const int64_t groups = shoal_ceil_div(w->k, w->group);
        const int64_t step = shoal_max_i64(LOOK_CELLS / groups, 1);
        for (int64_t n = 0; n < w->n && !knows_enough(w, found); n += step) {
            const shoal_rect rect = {.n_begin = n,
                                     .n_end = shoal_min_i64(n + step, w->n),
                                     .k_end = w->k,
                                     .order = order};
            SHOAL_TRY(look_at_columns(manifest, module, w, &rect, found));
        }
    }
    return SHOAL_OK;
}

shoal_status shoal_convert_look(const shoal_manifest *manifest, shoal_writer_module *module)
{
    const shoal_weight *w = module->weights[0];
    int32_t *order;
    zero_points found = {.symmetric = true};
    if (!w->has_zeros && !w->has_mins) {
        module->symmetric = w->zero_const == 1 << (module->bits - 1);
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_convert_order(manifest, module, &order));
    const shoal_status st = look(manifest, module, order, &found);
    shoal_free(order);
    if (st == SHOAL_OK) {
        module->has_mins = found.has_mins;
        module->symmetric = found.symmetric && !found.has_mins;
    }
    return st;
}

float shoal_convert_norm_offset(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tensor *vector)
{
    const shoal_family *family = shoal_family_find(manifest->model->family);
    if (!shoal_checkpoint_gguf(manifest->checkpoint) || vector == weight->bias)
        return 0;
    return family && family->norms_less_one ? 1 : 0;
}

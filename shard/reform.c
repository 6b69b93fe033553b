/* shard/reform.c - see reform.h. */
#include "shard/reform.h"

#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/dequant.h"
#include "shard/gguf_block.h"
#include "shard/gguf_quantize.h"
#include "shard/quantize.h"

shoal_loss shoal_loss_join(shoal_loss a, shoal_loss b)
{
    return (shoal_loss){a.lossless && b.lossless, fmax(a.max_abs_error, b.max_abs_error)};
}

/* Everything that a reform goes by. */
typedef struct {
    const shoal_canonical *from;
    int64_t group; /* of `from` */
    const int32_t *order;
    const shoal_form *form;
    shoal_arena *arena;
    shoal_canonical *to;
} reform;

static float rounded(float value, shoal_dtype dtype)
{
    if (dtype == SHOAL_F16)
        return shoal_f32_from_f16(shoal_f16_from_f32(value));
    return dtype == SHOAL_BF16 ? shoal_f32_from_bf16(shoal_bf16_from_f32(value)) : value;
}

static shoal_status floats(shoal_arena *arena, int64_t count, float **out)
{
    void *block;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)count, sizeof(float), &block));
    *out = block;
    return SHOAL_OK;
}

/* ---- the same codes, other scales ---- */

static shoal_status allocate_groups(const reform *r)
{
    const int64_t count = r->to->n * r->to->groups;
    void *block;
    SHOAL_TRY(floats(r->arena, count, &r->to->scales));
    if (r->form->has_mins)
        SHOAL_TRY(floats(r->arena, count, &r->to->mins));
    if (!r->form->has_zeros)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)count, sizeof(int16_t), &block));
    r->to->zeros = block;
    return SHOAL_OK;
}

/* Group `g` of column `n` of the new form, from group `old` of the source. */
static shoal_status convert_group(const reform *r, int64_t n, int64_t g, int64_t old)
{
    const shoal_form *form = r->form;
    const int64_t at = n * r->to->groups + g, from = n * r->from->groups + old;
    const int zero = shoal_canonical_zero(r->from, n, old);
    const float scale = r->from->scales[from], min = r->from->mins ? r->from->mins[from] : 0;
    r->to->scales[at] = rounded(scale, form->dtype);
    if (form->has_mins)
        r->to->mins[at] = rounded(fmaf((float)(form->zero - zero), scale, min), form->dtype);
    else if (r->from->mins && min != 0)
        return shoal_fail(SHOAL_ERR_DATA, "output %lld, group %lld has a float zero point",
                          (long long)n, (long long)old);
    if (form->has_zeros)
        r->to->zeros[at] = (int16_t)zero;
    else if (!form->has_mins && !form->recentred && zero != form->zero)
        return shoal_fail(SHOAL_ERR_DATA, "output %lld, group %lld has zero point %d, not %d",
                          (long long)n, (long long)old, zero, form->zero);
    return SHOAL_OK;
}

static shoal_status recentre(const reform *r)
{
    void *block;
    const shoal_canonical *from = r->from;
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)from->n, (uint64_t)from->k, &block));
    r->to->codes = block;
    for (int64_t n = 0; n < from->n; n++)
        for (int64_t k = 0; k < from->k; k++) {
            const int64_t at = n * from->k + k;
            const int code =
                from->codes[at] - shoal_canonical_zero(from, n, k / r->group) + r->form->zero;
            if (code < 0 || code > 255)
                return shoal_fail(SHOAL_ERR_DATA,
                                  "output %lld, input %lld is %d steps from zero; a signed byte "
                                  "holds -128 to 127",
                                  (long long)n, (long long)k, code - r->form->zero);
            r->to->codes[at] = (uint8_t)code;
        }
    return SHOAL_OK;
}

static shoal_status convert_groups(const reform *r)
{
    SHOAL_TRY(allocate_groups(r));
    r->to->codes = r->from->codes;
    if (r->form->recentred)
        SHOAL_TRY(recentre(r));
    for (int64_t n = 0; n < r->to->n; n++)
        for (int64_t g = 0; g < r->to->groups; g++)
            SHOAL_TRY(convert_group(r, n, g, g * r->form->group / r->group));
    return SHOAL_OK;
}

/* ---- new codes ---- */

static shoal_status bad_weight(int64_t output, const char *what)
{
    return shoal_fail(SHOAL_ERR_DATA, "output %lld has a weight that is %s", (long long)output,
                      what);
}

/* Room for codes, scales and, of blocks with steps, the upper level. */
static shoal_status allocate_blocks(const reform *r, int64_t blocks)
{
    shoal_canonical *to = r->to;
    const uint64_t groups = (uint64_t)(to->n * to->groups);
    void *block;
    SHOAL_TRY(allocate_groups(r));
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)to->n, (uint64_t)to->k, &block));
    to->codes = block;
    if (!shoal_gguf_block_has_steps(r->form->block))
        return SHOAL_OK;
    to->supers = blocks;
    SHOAL_TRY(floats(r->arena, to->n * blocks, &to->super_scales));
    SHOAL_TRY(shoal_arena_array(r->arena, groups, sizeof(int8_t), &block));
    to->steps = block;
    if (!r->form->has_mins)
        return SHOAL_OK;
    SHOAL_TRY(floats(r->arena, to->n * blocks, &to->super_mins));
    SHOAL_TRY(shoal_arena_array(r->arena, groups, sizeof(int8_t), &block));
    to->min_steps = block;
    return SHOAL_OK;
}

/* What block `index` of output n holds, as groups. */
static void place_block(const reform *r, int64_t n, int64_t index, const shoal_gguf_content *from)
{
    shoal_canonical *to = r->to;
    const shoal_gguf_block *form = r->form->block;
    const bool steps = shoal_gguf_block_has_steps(form);
    const int groups = form->elements / form->group;
    memcpy(to->codes + n * to->k + index * form->elements, from->codes, (size_t)form->elements);
    for (int g = 0; g < groups; g++) {
        const int64_t at = n * to->groups + index * groups + g;
        to->scales[at] = steps ? from->scale * (float)from->steps[g] : from->scale;
        if (to->mins)
            to->mins[at] = steps ? from->min * (float)from->min_steps[g] : from->min;
        if (to->steps)
            to->steps[at] = from->steps[g];
        if (to->min_steps)
            to->min_steps[at] = from->min_steps[g];
    }
    if (to->super_scales)
        to->super_scales[n * to->supers + index] = from->scale;
    if (to->super_mins)
        to->super_mins[n * to->supers + index] = from->min;
}

static shoal_status quantize_blocks(const reform *r, const float *values)
{
    const shoal_gguf_block *form = r->form->block;
    const int64_t blocks = r->to->k / form->elements;
    SHOAL_TRY(allocate_blocks(r, blocks));
    for (int64_t n = 0; n < r->to->n; n++)
        for (int64_t i = 0; i < blocks; i++) {
            shoal_gguf_content content;
            const float *from = values + n * r->to->k + i * form->elements;
            if (!shoal_gguf_quantize(form, from, &content))
                return bad_weight(n, "not finite, or too large for half floats");
            place_block(r, n, i, &content);
        }
    return SHOAL_OK;
}

static shoal_status quantize(const reform *r, const float *values)
{
    void *block;
    const shoal_form *form = r->form;
    shoal_canonical *to = r->to;
    SHOAL_TRY(allocate_groups(r));
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)to->n, (uint64_t)to->k, &block));
    to->codes = block;
    for (int64_t n = 0; n < to->n; n++)
        for (int64_t g = 0; g < to->groups; g++) {
            const int64_t k = g * form->group, at = n * to->k + k;
            float scale;
            if (!shoal_quantize_weight_group(values + at, shoal_min_i64(form->group, to->k - k),
                                             form->kind, to->codes + at, &scale))
                return bad_weight(n, "no number");
            to->scales[n * to->groups + g] = rounded(scale, form->dtype);
            if (to->zeros)
                to->zeros[n * to->groups + g] = form->zero;
        }
    return SHOAL_OK;
}

/* ---- floats ---- */

static shoal_status store(const reform *r, const float *values)
{
    void *block;
    const int64_t count = r->to->n * r->to->k;
    SHOAL_TRY(
        shoal_arena_array(r->arena, (uint64_t)count, shoal_dtype_bytes(r->form->dtype), &block));
    for (int64_t i = 0; i < count; i++)
        shoal_store_float(block, r->form->dtype, (size_t)i, values[i]);
    r->to->dense = block;
    return SHOAL_OK;
}

/* ---- the loss ---- */

/* Do both say the same by the same numbers? Then nothing needs to be computed. */
static bool is_same(const reform *r)
{
    const shoal_canonical *a = r->from, *b = r->to;
    const bool moved = r->form->recentred;
    if ((a->codes != b->codes && !moved) || b->mins || a->mins || a->kind == SHOAL_WEIGHT_FLOAT)
        return false;
    for (int64_t n = 0; n < b->n; n++)
        for (int64_t g = 0; g < b->groups; g++) {
            const int64_t old = g * r->form->group / r->group;
            if (a->scales[n * a->groups + old] != b->scales[n * b->groups + g] ||
                (!moved && shoal_canonical_zero(a, n, old) != shoal_canonical_zero(b, n, g)))
                return false;
        }
    return true;
}

static shoal_status measure(const reform *r, const float *before, shoal_loss *loss)
{
    const int64_t count = r->to->n * r->to->k;
    float *after;
    shoal_loss l = {true, 0};
    SHOAL_TRY(floats(r->arena, count, &after));
    shoal_dequant_block(r->to, r->form->group, r->form->act_order ? r->order : NULL, after);
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)before[i] - (double)after[i]);
        l.lossless &= before[i] == after[i];
        l.max_abs_error = error > l.max_abs_error ? error : l.max_abs_error;
    }
    *loss = l;
    return SHOAL_OK;
}

/* ---- all together ---- */

static shoal_status convert(const reform *r, float *values)
{
    if (r->form->kind == SHOAL_WEIGHT_FLOAT)
        return store(r, values);
    if (r->form->requantized)
        return r->form->block ? quantize_blocks(r, values) : quantize(r, values);
    return convert_groups(r);
}

/* Is there nothing to do: numbers of the type, or blocks of several groups that stay as they are?
 */
static bool is_as_wanted(const shoal_canonical *block, const shoal_form *form)
{
    if (form->kind == SHOAL_WEIGHT_FLOAT)
        return block->kind == SHOAL_WEIGHT_FLOAT && block->dtype == form->dtype;
    return form->block && shoal_gguf_block_has_steps(form->block) && !form->requantized;
}

shoal_status shoal_reform(const shoal_canonical *block, int64_t group, const int32_t *order,
                          const shoal_form *form, shoal_arena *arena, shoal_canonical *out,
                          shoal_loss *loss)
{
    const bool is_float = form->kind == SHOAL_WEIGHT_FLOAT;
    shoal_canonical to = {.kind = form->kind, .n = block->n, .k = block->k, .dtype = form->dtype};
    const reform r = {block, group, order, form, arena, &to};
    float *values;
    *loss = (shoal_loss){true, 0};
    if (is_as_wanted(block, form)) {
        *out = *block;
        return SHOAL_OK;
    }
    to.groups = is_float ? 0 : shoal_ceil_div(block->k, form->group);
    to.zero_const = form->zero;
    if (!is_float && !form->requantized) {
        SHOAL_TRY(convert(&r, NULL));
        if (is_same(&r)) {
            *out = to;
            return SHOAL_OK;
        }
    }
    SHOAL_TRY(floats(arena, block->n * block->k, &values));
    shoal_dequant_block(block, group, order, values);
    if (!to.codes)
        SHOAL_TRY(convert(&r, values));
    SHOAL_TRY(measure(&r, values, loss));
    *out = to;
    return SHOAL_OK;
}

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

/* Numbers that are looked at together. */
#define PIECE 256

static void round_to(shoal_dtype dtype, int64_t count, float *values)
{
    uint8_t narrow[PIECE * sizeof(float)];
    for (int64_t i = 0; dtype != SHOAL_F32 && i < count; i += PIECE) {
        const size_t here = (size_t)shoal_min_i64(PIECE, count - i);
        shoal_narrow_f32(values + i, dtype, here, narrow);
        shoal_widen_f32(narrow, dtype, here, values + i);
    }
}

/* The group of the source that holds group `g`. */
static int64_t source_group(const reform *r, int64_t g)
{
    return r->form->group == r->group ? g : g * r->form->group / r->group;
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
    r->to->scales[at] = scale;
    if (form->has_mins)
        r->to->mins[at] = fmaf((float)(form->zero - zero), scale, min);
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

/* Codes moved by `shift`; the OR of all, with bits above 8 where one left the range. */
static unsigned shift_codes(const uint8_t *restrict from, int16_t shift, int64_t count,
                            uint8_t *restrict to)
{
    uint16_t all = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint16_t code = (uint16_t)(from[i] + shift);
        all |= code;
        to[i] = (uint8_t)code;
    }
    return all;
}

static shoal_status beyond_a_byte(const reform *r, int64_t n, int64_t k, int shift)
{
    const uint8_t *codes = r->from->codes + n * r->from->k;
    while (codes[k] + shift >= 0 && codes[k] + shift <= 255)
        k++;
    return shoal_fail(SHOAL_ERR_DATA,
                      "output %lld, input %lld is %d steps from zero; a signed byte holds -128 to "
                      "127",
                      (long long)n, (long long)k, codes[k] + shift - r->form->zero);
}

static shoal_status recentre(const reform *r)
{
    void *block;
    const shoal_canonical *from = r->from;
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)from->n, (uint64_t)from->k, &block));
    r->to->codes = block;
    for (int64_t n = 0; n < from->n; n++)
        for (int64_t k = 0; k < from->k; k += r->group) {
            const int64_t at = n * from->k + k, count = shoal_min_i64(r->group, from->k - k);
            const int shift = r->form->zero - shoal_canonical_zero(from, n, k / r->group);
            if (shift_codes(from->codes + at, (int16_t)shift, count, r->to->codes + at) > 255)
                return beyond_a_byte(r, n, k, shift);
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
            SHOAL_TRY(convert_group(r, n, g, source_group(r, g)));
    round_to(r->form->dtype, r->to->n * r->to->groups, r->to->scales);
    if (r->form->has_mins)
        round_to(r->form->dtype, r->to->n * r->to->groups, r->to->mins);
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
            to->scales[n * to->groups + g] = scale;
            if (to->zeros)
                to->zeros[n * to->groups + g] = form->zero;
        }
    round_to(form->dtype, to->n * to->groups, to->scales);
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
            const int64_t old = source_group(r, g);
            if (a->scales[n * a->groups + old] != b->scales[n * b->groups + g] ||
                (!moved && shoal_canonical_zero(a, n, old) != shoal_canonical_zero(b, n, g)))
                return false;
        }
    return true;
}

/* The bits of the largest |before - after| in fp32; as signed numbers, which vectors of every level
 * compare. NaN is the largest of all. */
static int32_t roughly(const float *before, const float *after, int64_t count)
{
    int32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        const int32_t bits = (int32_t)(shoal_f32_bits(before[i] - after[i]) & 0x7fffffffu);
        most = bits > most ? bits : most;
    }
    return most;
}

static void compare(const float *before, const float *after, int64_t count, shoal_loss *l)
{
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)before[i] - (double)after[i]);
        l->lossless &= before[i] == after[i];
        l->max_abs_error = error > l->max_abs_error ? error : l->max_abs_error;
    }
}

/* Join the loss of a row. Pieces whose largest error is below what was found already, by more than
 * fp32 rounds, need no closer look. */
static void measure_row(const float *before, const float *after, int64_t count, shoal_loss *l)
{
    for (int64_t i = 0; i < count; i += PIECE) {
        const int64_t here = shoal_min_i64(PIECE, count - i);
        const int32_t most = roughly(before + i, after + i, here);
        if (most == 0)
            continue;
        l->lossless = most >= 0x7f800000 && l->lossless;
        if (most >= (int32_t)shoal_f32_bits((float)l->max_abs_error) - 2)
            compare(before + i, after + i, here, l);
    }
}

static shoal_status measure(const reform *r, shoal_loss *loss)
{
    const int64_t k = r->to->k;
    const int32_t *order = r->form->act_order ? r->order : NULL;
    float *rows;
    SHOAL_TRY(floats(r->arena, 2 * k, &rows));
    for (int64_t n = 0; n < r->to->n; n++) {
        shoal_dequant_row(r->from, r->group, r->order, n, rows);
        shoal_dequant_row(r->to, r->form->group, order, n, rows + k);
        measure_row(rows, rows + k, k, loss);
    }
    return SHOAL_OK;
}

/* ---- floats ---- */

/* Numbers of another type, row by row with their loss: a row stays in cache. */
static shoal_status convert_floats(const reform *r, shoal_loss *loss)
{
    const size_t element = shoal_dtype_bytes(r->form->dtype);
    const int64_t k = r->to->k;
    void *block;
    float *rows;
    SHOAL_TRY(shoal_arena_array(r->arena, (uint64_t)(r->to->n * k), element, &block));
    SHOAL_TRY(floats(r->arena, 2 * k, &rows));
    r->to->dense = block;
    for (int64_t n = 0; n < r->to->n; n++) {
        shoal_dequant_row(r->from, r->group, r->order, n, rows);
        shoal_narrow_f32(rows, r->form->dtype, (size_t)k,
                         (char *)block + (size_t)(n * k) * element);
        shoal_dequant_row(r->to, r->form->group, NULL, n, rows + k);
        measure_row(rows, rows + k, k, loss);
    }
    return SHOAL_OK;
}

/* ---- all together ---- */

static shoal_status convert(const reform *r, shoal_loss *loss)
{
    float *values;
    if (r->form->kind == SHOAL_WEIGHT_FLOAT)
        return convert_floats(r, loss);
    if (!r->form->requantized) {
        SHOAL_TRY(convert_groups(r));
        return is_same(r) ? SHOAL_OK : measure(r, loss);
    }
    SHOAL_TRY(floats(r->arena, r->from->n * r->from->k, &values));
    shoal_dequant_block(r->from, r->group, r->order, values);
    SHOAL_TRY(r->form->block ? quantize_blocks(r, values) : quantize(r, values));
    return measure(r, loss);
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
    *loss = (shoal_loss){true, 0};
    if (is_as_wanted(block, form)) {
        *out = *block;
        return SHOAL_OK;
    }
    to.groups = is_float ? 0 : shoal_ceil_div(block->k, form->group);
    to.zero_const = form->zero;
    SHOAL_TRY(convert(&r, loss));
    *out = to;
    return SHOAL_OK;
}

/* shard/writer_gguf.c - linears as rows of GGUF blocks, or of plain numbers.
 *
 * What a block holds is shard/gguf_block.h, how new ones are found shard/gguf_quantize.h. Integers
 * of a GGUF source of the same type stay as they are. Of other sources blocks of 32 with one scale
 * take groups of 32 or multiples, which then repeat their scale: with a minimum any zero point,
 * without one those that leave the codes inside the type's range. Files of architecture llama hold
 * the rows of q and k interleaved, see shoal_tensor.pairs. Where and how the tensors lie:
 * shard/convert_gguf.c. */
#include "shard/writer_gguf.h"

#include <string.h>

#include "shard/gguf_block.h"

static const shoal_gguf_target types[] = {
    {"f32", 0, 0, SHOAL_F32},    {"f16", 1, 1, SHOAL_F16},      {"bf16", 30, 32, SHOAL_BF16},
    {"q4_0", 2, 2, SHOAL_F16},   {"q4_1", 3, 3, SHOAL_F16},     {"q5_0", 6, 8, SHOAL_F16},
    {"q5_1", 7, 9, SHOAL_F16},   {"q8_0", 8, 7, SHOAL_F16},     {"q2_k", 10, 10, SHOAL_F16},
    {"q3_k", 11, 11, SHOAL_F16}, {"q4_k", 12, 14, SHOAL_F16},   {"q5_k", 13, 16, SHOAL_F16},
    {"q6_k", 14, 18, SHOAL_F16}, {"iq4_nl", 20, 25, SHOAL_F16}, {"iq4_xs", 23, 30, SHOAL_F16},
};

const shoal_gguf_target *shoal_gguf_target_of(const shoal_target *target)
{
    size_t i = 0;
    while (strcmp(types[i].name, target->argument) != 0)
        i++;
    return &types[i];
}

/* NULL where linears are plain numbers. */
static const shoal_gguf_block *block_of(const shoal_target *target)
{
    return shoal_gguf_block_find(shoal_gguf_target_of(target)->type);
}

/* ---- the form ---- */

static shoal_form block_form(const shoal_gguf_block *b)
{
    return (shoal_form){.kind = b->kind,
                        .bits = b->bits,
                        .group = b->group,
                        .has_mins = b->has_mins,
                        .zero = b->zero,
                        .dtype = SHOAL_F16,
                        .block = b,
                        .requantized = true};
}

/* Are the weight's groups, codes and steps those of such blocks already? */
static bool is_form_of(const shoal_weight *w, const shoal_gguf_block *b)
{
    const int64_t super = shoal_gguf_block_has_steps(b) ? b->elements : 0;
    const shoal_tensor *t = w->parts[0];
    if (shoal_gguf_block_has_table(b) && (!t || t->block_type != b->type))
        return false;
    return w->kind == b->kind && w->group == b->group && w->super_group == super &&
           w->bits == b->bits && w->zero_const == b->zero && w->has_mins == b->has_mins &&
           !w->has_zeros && !w->act_order && !w->quantized_at_load;
}

/* Do all u - z of the module lie in the range of the blocks' codes? Of 8 bits each is looked at. */
static bool codes_fit(const shoal_writer_module *m, const shoal_gguf_block *b)
{
    if (b->has_mins)
        return m->bits <= b->bits;
    return m->bits + (m->symmetric ? 0 : 1) <= b->bits || (b->bits == 8 && m->bits == 8);
}

/* Blocks with one scale hold the integers of other forms, too. */
static shoal_status other_form(const shoal_target *target, const shoal_writer_module *m,
                               const shoal_gguf_block *b, shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    const char *name = shoal_gguf_target_of(target)->name;
    if (w->kind == SHOAL_WEIGHT_FLOAT)
        return shoal_writer_refuse(target, m, "it is float");
    if (shoal_gguf_block_has_steps(b) || shoal_gguf_block_has_table(b))
        return shoal_writer_refuse(target, m, "it is not stored in blocks of %s", name);
    if (w->act_order || w->group % b->elements != 0 || (m->has_mins && !b->has_mins))
        return shoal_writer_refuse(target, m, "%s",
                                   w->act_order  ? "its groups are in act-order"
                                   : m->has_mins ? "its zero points are floats"
                                                 : "its groups are no blocks of 32");
    if (!codes_fit(m, b))
        return shoal_writer_refuse(target, m, "%s has %d bits%s, this is %d bits%s", name, b->bits,
                                   b->has_mins || b->bits == 8 ? "" : " around zero", m->bits,
                                   m->symmetric ? "" : " with zero points of its own");
    form->requantized = false;
    form->recentred = !b->has_mins;
    return SHOAL_OK;
}

static shoal_status integer_form(const shoal_target *target, const shoal_writer_module *m,
                                 const shoal_gguf_block *b, shoal_form *form)
{
    if (m->k % b->elements != 0)
        return shoal_writer_refuse(target, m, "%lld inputs are no blocks of %d", (long long)m->k,
                                   b->elements);
    *form = block_form(b);
    if (!is_form_of(m->weights[0], b))
        return other_form(target, m, b, form);
    form->requantized = false;
    return SHOAL_OK;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const shoal_gguf_block *b = block_of(target);
    if (m->count == 0) { /* a vector */
        *form = shoal_form_float(m, SHOAL_F32);
        return SHOAL_OK;
    }
    const shoal_weight *w = m->weights[0];
    const bool stays = w->kind == SHOAL_WEIGHT_FLOAT &&
                       (w->role == SHOAL_ROLE_EMBEDDING || w->role == SHOAL_ROLE_LM_HEAD);
    if (shoal_role_routes(w->role)) { /* as llama.cpp has them */
        *form = shoal_form_float(m, SHOAL_F32);
        return SHOAL_OK;
    }
    if (b && !stays)
        return integer_form(target, m, b, form);
    *form = shoal_form_float(m, b ? w->dtype : shoal_gguf_target_of(target)->dtype);
    return SHOAL_OK;
}

/* ---- bytes ---- */

static int64_t row_bytes(const shoal_form *form, int64_t k)
{
    if (form->kind == SHOAL_WEIGHT_FLOAT)
        return k * (int64_t)shoal_dtype_bytes(form->dtype);
    return k / form->block->elements * form->block->bytes;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    parts[0] = (shoal_part){".weight", SHOAL_U8, 2, {m->n, row_bytes(form, m->k)}};
    return 1;
}

/* Block `index` of output n. */
static void content_of(const shoal_canonical *b, const shoal_gguf_block *form, int64_t n,
                       int64_t index, shoal_gguf_content *out)
{
    const int groups = form->elements / form->group;
    const int64_t at = n * b->groups + index * groups;
    memcpy(out->codes, b->codes + n * b->k + index * form->elements, (size_t)form->elements);
    if (!b->supers) {
        out->scale = b->scales[at];
        out->min = b->mins ? b->mins[at] : 0;
        return;
    }
    out->scale = b->super_scales[n * b->supers + index];
    out->min = b->super_mins ? b->super_mins[n * b->supers + index] : 0;
    memcpy(out->steps, b->steps + at, (size_t)groups);
    if (b->min_steps)
        memcpy(out->min_steps, b->min_steps + at, (size_t)groups);
}

static void pack_blocks(const shoal_strip *s, int64_t n, uint8_t *at)
{
    const shoal_gguf_block *form = s->form->block;
    shoal_gguf_content content = {0};
    memset(at, 0, (size_t)row_bytes(s->form, s->block->k));
    for (int64_t i = 0; i < s->block->k / form->elements; i++, at += form->bytes) {
        content_of(s->block, form, n, i, &content);
        shoal_gguf_encode(form, &content, at);
    }
}

static shoal_status pack(const shoal_strip *s)
{
    const shoal_canonical *b = s->block;
    const int64_t bytes = row_bytes(s->form, b->k);
    for (int64_t n = 0; n < b->n; n++) {
        const int64_t row = s->target->row
                                ? s->target->row(s->target, s->module->weights[0], s->column + n)
                                : s->column + n;
        uint8_t *at = s->parts[0] + row * bytes;
        if (s->form->kind == SHOAL_WEIGHT_FLOAT)
            memcpy(at, (const char *)b->dense + n * bytes, (size_t)bytes);
        else
            pack_blocks(s, n, at);
    }
    return SHOAL_OK;
}

const shoal_writer shoal_writer_gguf = {
    .name = "gguf",
    .arguments = "f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs",
    .writes_floats = true,
    .packs_floats = true,
    .whole_codes = true,
    .form = form_of,
    .parts = parts_of,
    .pack = pack};

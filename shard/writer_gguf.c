/* shard/writer_gguf.c - linears as rows of GGUF blocks of 32 inputs.
 *
 *     q4_0   f16 d, 16 bytes: inputs j and j + 16 of a block in a byte     w = (u - 8) * d
 *     q4_1   f16 d, f16 m, 16 bytes                                        w = u * d + m
 *     q8_0   f16 d, 32 signed bytes                                        w = q * d
 *     f32, f16, bf16: the numbers
 *
 * A group of 64 or more repeats its scale. Files of architecture llama hold the rows of q and k
 * interleaved, see shoal_tensor.pairs. Where and how the tensors lie: shard/convert_gguf.c. */
#include <string.h>

#include "shard/writer.h"

#define BLOCK 32

typedef struct {
    const char *name;
    shoal_dtype dtype; /* of floats          */
    int bits;          /* of integers, or 0  */
    bool mins;
    int64_t bytes; /* of a block, or of an element */
} gguf_type;

static const gguf_type types[] = {
    {"f32", SHOAL_F32, 0, false, 4},   {"f16", SHOAL_F16, 0, false, 2},
    {"bf16", SHOAL_BF16, 0, false, 2}, {"q4_0", SHOAL_F16, 4, false, 18},
    {"q4_1", SHOAL_F16, 4, true, 20},  {"q8_0", SHOAL_F16, 8, false, 34},
};

static const gguf_type *type_of(const shoal_target *target)
{
    size_t i = 0;
    while (strcmp(types[i].name, target->argument) != 0)
        i++;
    return &types[i];
}

static shoal_form block_form(const gguf_type *t)
{
    shoal_form form = shoal_form_requantized(t->bits, BLOCK, SHOAL_F16);
    form.has_mins = t->mins;
    form.requantized = !t->mins; /* new codes are symmetric */
    if (t->mins)
        form.zero = 0;
    return form;
}

static shoal_status integer_form(const shoal_target *target, const shoal_writer_module *m,
                                 const gguf_type *t, shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    if (m->k % BLOCK != 0)
        return shoal_writer_refuse(target, m, "%lld inputs are no blocks of 32", (long long)m->k);
    *form = block_form(t);
    if (w->kind == SHOAL_WEIGHT_FLOAT)
        return shoal_writer_refuse(target, m, "it is float");
    if (m->has_mins || w->act_order || w->group % BLOCK != 0)
        return shoal_writer_refuse(target, m, "%s",
                                   m->has_mins    ? "its zero points are floats"
                                   : w->act_order ? "its groups are in act-order"
                                                  : "its groups are no blocks of 32");
    if (m->bits > t->bits || (t->bits == 4 && !t->mins && !m->symmetric))
        return shoal_writer_refuse(target, m, "%s has %d bits%s, this is %d bits%s", t->name,
                                   t->bits, t->mins || t->bits == 8 ? "" : " with zero point 8",
                                   m->bits, m->symmetric ? "" : " with zero points of its own");
    form->requantized = false;
    form->recentred = !t->mins;
    return SHOAL_OK;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const gguf_type *t = type_of(target);
    if (m->count == 0) { /* a vector */
        *form = shoal_form_float(m, SHOAL_F32);
        return SHOAL_OK;
    }
    const shoal_weight *w = m->weights[0];
    const bool stays = w->kind == SHOAL_WEIGHT_FLOAT &&
                       (w->role == SHOAL_ROLE_EMBEDDING || w->role == SHOAL_ROLE_LM_HEAD);
    if (t->bits && !stays)
        return integer_form(target, m, t, form);
    *form = shoal_form_float(m, t->bits ? w->dtype : t->dtype);
    return SHOAL_OK;
}

static int64_t row_bytes(const shoal_target *target, const shoal_form *form, int64_t k)
{
    if (form->kind == SHOAL_WEIGHT_FLOAT)
        return k * (int64_t)shoal_dtype_bytes(form->dtype);
    return k / BLOCK * type_of(target)->bytes;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    parts[0] = (shoal_part){".weight", SHOAL_U8, 2, {m->n, row_bytes(target, form, m->k)}};
    return 1;
}

static uint8_t *put_half(uint8_t *at, float value)
{
    const uint16_t half = shoal_f16_from_f32(value);
    at[0] = (uint8_t)half;
    at[1] = (uint8_t)(half >> 8);
    return at + 2;
}

static void pack_block(const shoal_strip *s, int64_t n, int64_t g, uint8_t *at)
{
    const shoal_canonical *b = s->block;
    const uint8_t *codes = b->codes + n * b->k + g * BLOCK;
    at = put_half(at, b->scales[n * b->groups + g]);
    if (b->mins)
        at = put_half(at, b->mins[n * b->groups + g]);
    for (int i = 0; s->form->bits == 8 && i < BLOCK; i++)
        at[i] = codes[i] ^ 0x80;
    for (int i = 0; s->form->bits == 4 && i < BLOCK / 2; i++)
        at[i] = (uint8_t)(codes[i] | codes[i + BLOCK / 2] << 4);
}

static shoal_status pack(const shoal_strip *s)
{
    const shoal_canonical *b = s->block;
    const int64_t bytes = row_bytes(s->target, s->form, b->k);
    for (int64_t n = 0; n < b->n; n++) {
        const int64_t row = s->target->row
                                ? s->target->row(s->target, s->module->weights[0], s->column + n)
                                : s->column + n;
        uint8_t *at = s->parts[0] + row * bytes;
        if (s->form->kind == SHOAL_WEIGHT_FLOAT)
            memcpy(at, (const char *)b->dense + n * bytes, (size_t)bytes);
        for (int64_t g = 0; s->form->kind != SHOAL_WEIGHT_FLOAT && g < b->groups; g++)
            pack_block(s, n, g, at + g * type_of(s->target)->bytes);
    }
    return SHOAL_OK;
}

const shoal_writer shoal_writer_gguf = {.name = "gguf",
                                        .arguments = "f32 f16 bf16 q4_0 q4_1 q8_0",
                                        .writes_floats = true,
                                        .packs_floats = true,
                                        .form = form_of,
                                        .parts = parts_of,
                                        .pack = pack};

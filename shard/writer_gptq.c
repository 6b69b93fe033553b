/* shard/writer_gptq.c - gptq (v1) and gptq_v2: what shard/dialect_gptq.c reads.
 *
 *     qweight [k*bits/32][n]   qzeros [groups][n*bits/32]   scales [groups][n]   g_idx [k]
 *
 * v1 stores z - 1 per field and has no word for z = 0. Every loader wants whole words along k and
 * along n, and g_idx always. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "shard/packed.h"
#include "shard/writer.h"

enum { QWEIGHT, QZEROS, SCALES, G_IDX };

/* Rows of words, and columns, that are written together: cache lines in both directions. */
#define ROWS    16
#define COLUMNS 64

/* v2 says z, v1 says z - 1. */
static int stored_less(const shoal_target *target)
{
    return target->writer == &shoal_writer_gptq ? 1 : 0;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    const int bits = m->bits > 4 ? 8 : m->bits;
    *form = shoal_form_requantized(bits > 4 ? 8 : 4, w->k < 128 ? w->k : 128, SHOAL_F16);
    if (m->n * bits % 32 != 0 || m->k * bits % 32 != 0) {
        form->requantized = false;
        return shoal_writer_refuse(target, m,
                                   "%lld outputs and %lld inputs of %d bits do not fill "
                                   "words of 32 bits",
                                   (long long)m->n, (long long)m->k, bits);
    }
    if (m->has_mins)
        return shoal_writer_refuse(target, m, "its zero points are floats");
    *form = shoal_form_of(m, bits);
    form->dtype = shoal_form_half(w->dtype);
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    const int64_t groups = shoal_form_groups(form, m);
    parts[QWEIGHT] = (shoal_part){".qweight", SHOAL_I32, 2, {m->k * form->bits / 32, m->n}};
    parts[QZEROS] = (shoal_part){".qzeros", SHOAL_I32, 2, {groups, m->n * form->bits / 32}};
    parts[SCALES] = (shoal_part){".scales", form->dtype, 2, {groups, m->n}};
    parts[G_IDX] = (shoal_part){".g_idx", SHOAL_I32, 1, {m->k}};
    return 4;
}

/* Codes of 2 and 8 bits: a word of one column after the other. */
static uint32_t word_of(const uint8_t *codes, int bits)
{
    uint32_t word = 0;
    if (bits == 8)
        return shoal_load_le32(codes);
    for (int i = 0; i < 32 / bits; i++)
        word |= (uint32_t)codes[i] << (i * bits);
    return word;
}

/* Codes of 4 bits: each column's words in a row, then turned. */
static void pack_codes4(const shoal_strip *s, const uint8_t *codes, uint8_t *first)
{
    const shoal_nibbles_row *nibbles = shoal_nibbles_best();
    const int64_t k = s->module->k, rows = k / 8, row = s->module->n * SHOAL_WORD_BYTES;
    uint8_t words[COLUMNS][ROWS * SHOAL_WORD_BYTES];
    for (int64_t r = 0; r < rows; r += ROWS)
        for (int64_t c = 0; c < s->block->n; c += COLUMNS) {
            const int64_t count = shoal_min_i64(ROWS, rows - r);
            const int64_t columns = shoal_min_i64(COLUMNS, s->block->n - c);
            for (int64_t i = 0; i < columns; i++)
                nibbles->pack(codes + (c + i) * k + 8 * r, 8 * count, &shoal_nibbles_plain,
                              words[i]);
            nibbles->turn_words(words[0], sizeof words[0], columns, count,
                                first + r * row + c * SHOAL_WORD_BYTES, row);
        }
}

static void pack_codes(const shoal_strip *s, const uint8_t *codes)
{
    const int bits = s->form->bits;
    const int64_t k = s->module->k, n = s->module->n, fields = 32 / bits;
    uint8_t *first = s->parts[QWEIGHT] + s->column * SHOAL_WORD_BYTES;
    if (bits == 4) {
        pack_codes4(s, codes, first);
        return;
    }
    for (int64_t r = 0; bits == 3 && r < k * 3 / 32; r++)
        memset(first + r * n * SHOAL_WORD_BYTES, 0, (size_t)(s->block->n * SHOAL_WORD_BYTES));
    for (int64_t c = 0; bits == 3 && c < s->block->n; c++)
        for (int64_t i = 0; i < k; i++)
            shoal_packed_put(first + c * SHOAL_WORD_BYTES, n, i, bits, codes[c * k + i]);
    for (int64_t r = 0; bits != 3 && r < k / fields; r += ROWS)
        for (int64_t c = 0; c < s->block->n; c++)
            for (int64_t i = r; i < shoal_min_i64(r + ROWS, k / fields); i++)
                shoal_store_le32(first + (i * n + c) * SHOAL_WORD_BYTES,
                                 word_of(codes + c * k + i * fields, bits));
}

static shoal_status pack_zeros(const shoal_strip *s)
{
    const int bits = s->form->bits, less = stored_less(s->target);
    const int64_t words = s->module->n * bits / 32;
    for (int64_t n = 0; n < s->block->n; n++)
        for (int64_t g = 0; g < s->block->groups; g++) {
            const int stored = shoal_canonical_zero(s->block, n, g) - less;
            if (stored < 0 || stored >= 1 << bits)
                return shoal_writer_refuse(s->target, s->module,
                                           "the zero point of output %lld, group %lld is %d; it "
                                           "must be %d to %d%s",
                                           (long long)(s->column + n), (long long)g, stored + less,
                                           less, (1 << bits) - 1 + less,
                                           less ? " (gptq_v2 holds 0)" : "");
            shoal_packed_put(s->parts[QZEROS] + g * words * SHOAL_WORD_BYTES, 1, s->column + n,
                             bits, (unsigned)stored);
        }
    return SHOAL_OK;
}

static void pack_g_idx(const shoal_strip *s)
{
    for (int64_t i = 0; i < s->module->k; i++)
        shoal_store_le32(s->parts[G_IDX] + (s->order ? s->order[i] : i) * SHOAL_WORD_BYTES,
                         (uint32_t)(i / s->form->group));
}

static shoal_status pack(const shoal_strip *s)
{
    const uint8_t *codes;
    void *copy;
    SHOAL_TRY(pack_zeros(s));
    SHOAL_TRY(shoal_strip_codes(s, &codes, &copy));
    pack_codes(s, codes);
    shoal_free(copy);
    shoal_strip_scales(s, true, s->parts[SCALES]);
    if (s->column == 0)
        pack_g_idx(s);
    return SHOAL_OK;
}

/* ---- the config ---- */

/* "+:^model\.layers\.0\.mlp\.up_proj$": a rule of "dynamic" for one module. */
static void rule_of(const char *head, const char *name, char *out, size_t room)
{
    size_t at = (size_t)snprintf(out, room, "%s^", head);
    for (; *name && at + 4 < room; name++) {
        if (*name == '.')
            out[at++] = '\\';
        out[at++] = *name;
    }
    (void)snprintf(out + at, room - at, "$");
}

/* Modules that are stored otherwise than the config's own numbers say. */
static json_t *dynamic_of(const shoal_written_module *modules, size_t count, int bits,
                          int64_t group)
{
    char rule[2 * SHOAL_TENSOR_NAME_MAX];
    json_t *dynamic = json_object();
    for (size_t i = 0; i < count; i++) {
        const shoal_written_module *m = &modules[i];
        const bool is_float = m->form.kind == SHOAL_WEIGHT_FLOAT;
        if (!shoal_writer_is_linear(&m->module) ||
            (is_float && m->module.weights[0]->role == SHOAL_ROLE_LM_HEAD))
            continue;
        if (!is_float && m->form.bits == bits && shoal_form_has_group(m, group))
            continue;
        rule_of(is_float ? "-:" : "+:", m->module.name, rule, sizeof rule);
        json_object_set_new(
            dynamic, rule,
            is_float ? json_object()
                     : json_pack("{s:i, s:I}", "bits", m->form.bits, "group_size",
                                 (json_int_t)(m->form.group < m->module.k ? m->form.group : -1)));
    }
    return dynamic;
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    int bits = 0;
    const int64_t group = shoal_form_usual_group(modules, count);
    bool symmetric = true, ordered = false, lm_head = false;
    for (size_t i = 0; i < count; i++) {
        const shoal_form *form = &modules[i].form;
        if (form->kind == SHOAL_WEIGHT_FLOAT)
            continue;
        bits = bits ? bits : form->bits;
        symmetric = symmetric && !form->has_zeros;
        ordered = ordered || form->act_order;
        lm_head = lm_head || modules[i].module.weights[0]->role == SHOAL_ROLE_LM_HEAD;
    }
    const char *name = target->writer->name;
    json_t *values = json_pack(
        "{s:i, s:I, s:b, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:{s:[s], s:b}}", "bits", bits,
        "group_size", (json_int_t)group, "desc_act", ordered, "sym", symmetric, "lm_head", lm_head,
        "quant_method", "gptq", "method", "gptq", "checkpoint_format", name, "format", name,
        "pack_dtype", "int32", "meta", "quantizer", "shoal", "static_groups", 0);
    json_t *dynamic = dynamic_of(modules, count, bits, group);
    if (json_object_size(dynamic) > 0)
        json_object_set(values, "dynamic", dynamic);
    json_object_update(out, values);
    json_decref(dynamic);
    json_decref(values);
    return SHOAL_OK;
}

#define GPTQ_ROW(row_name)                                                                         \
    {                                                                                              \
        .name = row_name, .config_file = "quantize_config.json", .whole_codes = true,              \
        .form = form_of, .parts = parts_of, .pack = pack, .config = config                         \
    }

const shoal_writer shoal_writer_gptq = GPTQ_ROW("gptq");
const shoal_writer shoal_writer_gptq_v2 = GPTQ_ROW("gptq_v2");

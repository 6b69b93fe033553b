/* shard/writer_awq.c - AWQ, version "gemm": what shard/dialect_awq.c reads.
 *
 *     qweight [k][n/8]   qzeros [groups][n/8]   scales [groups][n]
 *
 * Column 8c+j of a word lies in nibble 0, 4, 1, 5, 2, 6, 3, 7 of it. Its loaders know fp16 scales,
 * one group size for the whole model, and no quantized lm_head. */
#include <jansson.h>

#include "kernels/nibbles.h"
#include "shard/packed.h"
#include "shard/writer.h"

enum { QWEIGHT, QZEROS, SCALES };

/* Inputs and columns that are packed together: words of a cache line of each input. */
#define INPUTS  64
#define COLUMNS 128

static const uint8_t nibble_of_column[8] = {0, 4, 1, 5, 2, 6, 3, 7};

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    *form = shoal_form_requantized(4, w->k < 128 ? w->k : 128, SHOAL_F16);
    form->requantized = m->n % 8 == 0 && w->role != SHOAL_ROLE_LM_HEAD;
    form->has_zeros = true;
    if (m->n % 8 != 0)
        return shoal_writer_refuse(target, m, "%lld outputs do not fill words of 8",
                                   (long long)m->n);
    if (w->role == SHOAL_ROLE_LM_HEAD)
        return shoal_writer_refuse(target, m, "awq leaves lm_head in floats");
    if (m->has_mins)
        return shoal_writer_refuse(target, m, "its zero points are floats");
    if (m->bits > 4)
        return shoal_writer_refuse(target, m, "it has %d bits, awq has 4", m->bits);
    if (w->act_order)
        return shoal_writer_refuse(target, m,
                                   "its groups are in act-order, awq's in natural order");
    *form = shoal_form_of(m, 4);
    form->has_zeros = true;
    form->dtype = SHOAL_F16;
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    const int64_t groups = shoal_form_groups(form, m);
    parts[QWEIGHT] = (shoal_part){".qweight", SHOAL_I32, 2, {m->k, m->n / 8}};
    parts[QZEROS] = (shoal_part){".qzeros", SHOAL_I32, 2, {groups, m->n / 8}};
    parts[SCALES] = (shoal_part){".scales", SHOAL_F16, 2, {groups, m->n}};
    return 3;
}

/* Column `n` of a row of words. */
static void put(uint8_t *row, int64_t n, unsigned value)
{
    uint8_t *word = row + n / 8 * SHOAL_WORD_BYTES;
    shoal_store_le32(word, shoal_load_le32(word) | value << (4 * nibble_of_column[n % 8]));
}

static void pack_codes(const shoal_strip *s)
{
    const shoal_nibbles_row *nibbles = shoal_nibbles_best();
    const int64_t k = s->module->k, row = s->module->n / 8 * SHOAL_WORD_BYTES;
    uint8_t *first = s->parts[QWEIGHT] + s->column / 8 * SHOAL_WORD_BYTES;
    uint8_t codes[INPUTS][COLUMNS];
    for (int64_t begin = 0; begin < k; begin += INPUTS)
        for (int64_t n = 0; n < s->block->n; n += COLUMNS) {
            const int64_t inputs = shoal_min_i64(INPUTS, k - begin);
            const int64_t columns = shoal_min_i64(COLUMNS, s->block->n - n);
            nibbles->turn_bytes(s->block->codes + n * k + begin, k, columns, inputs, codes[0],
                                COLUMNS);
            for (int64_t i = 0; i < inputs; i++)
                nibbles->pack(codes[i], columns, &shoal_nibbles_awq,
                              first + (begin + i) * row + n / 2);
        }
}

static shoal_status pack(const shoal_strip *s)
{
    const int64_t row = s->module->n / 8 * SHOAL_WORD_BYTES;
    for (int64_t n = 0; n < s->block->n; n++)
        for (int64_t g = 0; g < s->block->groups; g++) {
            const int zero = shoal_canonical_zero(s->block, n, g);
            if (zero < 0 || zero > 15)
                return shoal_writer_refuse(s->target, s->module,
                                           "the zero point of output %lld, group %lld is %d; it "
                                           "must be 0 to 15",
                                           (long long)(s->column + n), (long long)g, zero);
            put(s->parts[QZEROS] + g * row, s->column + n, (unsigned)zero);
        }
    pack_codes(s);
    shoal_strip_scales(s, true, s->parts[SCALES]);
    return SHOAL_OK;
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    const int64_t group = shoal_form_usual_group(modules, count);
    json_t *floats = shoal_float_linears(modules, count);
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < count && st == SHOAL_OK; i++) {
        const shoal_written_module *m = &modules[i];
        const bool is_float = m->form.kind == SHOAL_WEIGHT_FLOAT;
        if (!is_float && !shoal_form_has_group(m, group))
            st = shoal_writer_refuse(target, &m->module,
                                     "its group is %lld and that of others %lld; awq has one for "
                                     "the whole model",
                                     (long long)m->form.group, (long long)group);
    }
    if (st == SHOAL_OK) {
        json_t *values =
            json_pack("{s:s, s:i, s:I, s:b, s:s, s:O?}", "quant_method", "awq", "bits", 4,
                      "group_size", (json_int_t)group, "zero_point", 1, "version", "gemm",
                      "modules_to_not_convert", json_array_size(floats) > 0 ? floats : NULL);
        json_object_update(out, values);
        json_decref(values);
    }
    json_decref(floats);
    return st;
}

const shoal_writer shoal_writer_awq = {.name = "awq",
                                       .any_zeros = true,
                                       .whole_codes = true,
                                       .form = form_of,
                                       .parts = parts_of,
                                       .pack = pack,
                                       .config = config};

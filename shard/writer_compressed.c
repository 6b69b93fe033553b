/* shard/writer_compressed.c - compressed-tensors: what llm-compressor writes and vLLM loads.
 *
 *     pack-quantized   weight_packed [n][k*bits/32]   weight_scale [n][groups]   weight_shape [2]
 *                      weight_zero_point [n*bits/32][groups]   weight_g_idx [k]
 *     int-quantized    weight i8 [n][k]   weight_scale [n][1]   weight_zero_point i8 [n][1]
 *
 * Zero points only where they are not the middle, g_idx only in act-order. Linears whose
 * activations are int8 per token are int-quantized, all others packed. Codes of 2 and 3 bits are
 * written as 4, which every loader knows. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "shard/packed.h"
#include "shard/writer.h"

static bool is_plain(const shoal_writer_module *m)
{
    return m->weights[0]->per_token && m->weights[0]->group >= m->k;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const int bits = m->bits > 4 ? 8 : 4;
    const int64_t group = bits == 8 || m->k < 128 ? m->k : 128;
    *form = shoal_form_requantized(bits, group, SHOAL_F16);
    if (m->has_mins)
        return shoal_writer_refuse(target, m, "its zero points are floats");
    *form = shoal_form_of(m, is_plain(m) ? 8 : bits);
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    const int64_t groups = shoal_form_groups(form, m);
    const int64_t words = shoal_ceil_div(m->k * form->bits, 32);
    int count = 0;
    if (is_plain(m))
        parts[count++] = (shoal_part){".weight", SHOAL_I8, 2, {m->n, m->k}};
    else
        parts[count++] = (shoal_part){".weight_packed", SHOAL_I32, 2, {m->n, words}};
    parts[count++] = (shoal_part){".weight_scale", form->dtype, 2, {m->n, groups}};
    if (form->has_zeros && is_plain(m))
        parts[count++] = (shoal_part){".weight_zero_point", SHOAL_I8, 2, {m->n, groups}};
    else if (form->has_zeros)
        parts[count++] = (shoal_part){
            ".weight_zero_point", SHOAL_I32, 2, {shoal_ceil_div(m->n * form->bits, 32), groups}};
    if (!is_plain(m))
        parts[count++] = (shoal_part){".weight_shape", SHOAL_I64, 1, {2}};
    if (form->act_order)
        parts[count++] = (shoal_part){".weight_g_idx", SHOAL_I32, 1, {m->k}};
    return count;
}

static void pack_codes(const shoal_strip *s, const uint8_t *codes)
{
    const int bits = s->form->bits;
    const int64_t k = s->module->k, words = shoal_ceil_div(k * bits, 32);
    for (int64_t n = 0; n < s->block->n; n++) {
        uint8_t *row = s->parts[0] + (s->column + n) * words * SHOAL_WORD_BYTES;
        shoal_store_le32(row + (words - 1) * SHOAL_WORD_BYTES, 0); /* codes may end inside it */
        if (bits == 8) { /* in little-endian words: bytes */
            memcpy(row, codes + n * k, (size_t)k);
            continue;
        }
        const int64_t even = k / 2 * 2;
        shoal_nibbles_best()->pack(codes + n * k, even, &shoal_nibbles_plain, row);
        if (even < k)
            row[k / 2] = codes[n * k + even];
    }
}

static shoal_status pack_zeros(const shoal_strip *s, uint8_t *part)
{
    const int bits = s->form->bits;
    const int64_t groups = s->block->groups;
    for (int64_t n = 0; n < s->block->n; n++)
        for (int64_t g = 0; g < groups; g++) {
            const int zero = shoal_canonical_zero(s->block, n, g);
            const int64_t column = s->column + n;
            if (zero < 0 || zero >= 1 << bits)
                return shoal_writer_refuse(s->target, s->module,
                                           "the zero point of output %lld, group %lld is %d; it "
                                           "must be 0 to %d",
                                           (long long)column, (long long)g, zero, (1 << bits) - 1);
            if (is_plain(s->module))
                part[column * groups + g] = (uint8_t)(zero ^ 0x80);
            else
                shoal_packed_put(part + g * SHOAL_WORD_BYTES, groups, column, bits, (unsigned)zero);
        }
    return SHOAL_OK;
}

/* What is there once per module. */
static void pack_whole(const shoal_strip *s, int part)
{
    if (!is_plain(s->module)) {
        shoal_store_le64(s->parts[part], (uint64_t)s->module->n);
        shoal_store_le64(s->parts[part] + 8, (uint64_t)s->module->k);
        part++;
    }
    for (int64_t i = 0; s->order && i < s->module->k; i++)
        shoal_store_le32(s->parts[part] + s->order[i] * SHOAL_WORD_BYTES,
                         (uint32_t)(i / s->form->group));
}

static shoal_status pack(const shoal_strip *s)
{
    const uint8_t *codes;
    void *copy;
    int part = 2;
    if (s->form->has_zeros)
        SHOAL_TRY(pack_zeros(s, s->parts[part++]));
    SHOAL_TRY(shoal_strip_codes(s, &codes, &copy));
    if (is_plain(s->module))
        shoal_strip_signed(s, s->parts[0]);
    else
        pack_codes(s, codes);
    shoal_free(copy);
    shoal_strip_scales(s, false, s->parts[1]);
    if (s->column == 0)
        pack_whole(s, part);
    return SHOAL_OK;
}

/* ---- the config ---- */

static bool same_scheme(const shoal_written_module *a, const shoal_written_module *b)
{
    const bool channel_a = a->form.group >= a->module.k, channel_b = b->form.group >= b->module.k;
    return is_plain(&a->module) == is_plain(&b->module) && a->form.bits == b->form.bits &&
           a->form.has_zeros == b->form.has_zeros && a->form.act_order == b->form.act_order &&
           channel_a == channel_b && (channel_a || a->form.group == b->form.group);
}

static json_t *arguments(int bits, bool symmetric, const char *strategy)
{
    return json_pack("{s:i, s:s, s:b, s:n, s:s, s:n, s:n, s:b, s:s, s:{}}", "num_bits", bits,
                     "type", "int", "symmetric", symmetric, "group_size", "strategy", strategy,
                     "block_structure", "actorder", "dynamic", 0, "observer", "minmax",
                     "observer_kwargs");
}

static const char *format_of(const shoal_written_module *m)
{
    return is_plain(&m->module) ? "int-quantized" : "pack-quantized";
}

/* One config group with every module of the same scheme; names are left out where it is alone. */
static json_t *group_of(const shoal_written_module *modules, size_t count, size_t first, bool alone)
{
    const shoal_written_module *m = &modules[first];
    const bool channel = m->form.group >= m->module.k;
    json_t *targets = json_array();
    for (size_t i = first; !alone && i < count; i++)
        if (modules[i].form.kind != SHOAL_WEIGHT_FLOAT && same_scheme(m, &modules[i]))
            json_array_append_new(targets, json_string(modules[i].module.name));
    if (alone)
        json_array_append_new(targets, json_string("Linear"));
    json_t *weights = arguments(m->form.bits, !m->form.has_zeros, channel ? "channel" : "group");
    if (!channel)
        json_object_set_new(weights, "group_size", json_integer((json_int_t)m->form.group));
    if (m->form.act_order)
        json_object_set_new(weights, "actorder", json_string("group"));
    json_t *inputs = json_null();
    if (is_plain(&m->module)) {
        inputs = arguments(8, true, "token");
        json_object_set_new(inputs, "dynamic", json_true());
    }
    return json_pack("{s:o, s:o, s:o, s:n, s:s}", "targets", targets, "weights", weights,
                     "input_activations", inputs, "output_activations", "format", format_of(m));
}

/* Is this the first module of its scheme? */
static bool is_first(const shoal_written_module *modules, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (modules[i].form.kind != SHOAL_WEIGHT_FLOAT && same_scheme(&modules[i], &modules[index]))
            return false;
    return modules[index].form.kind != SHOAL_WEIGHT_FLOAT;
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    (void)target;
    json_t *groups = json_object(), *ignore = shoal_float_linears(modules, count);
    const char *format = NULL;
    size_t schemes = 0;
    char name[32];
    for (size_t i = 0; i < count; i++) {
        schemes += is_first(modules, i);
        if (modules[i].form.kind == SHOAL_WEIGHT_FLOAT &&
            modules[i].module.weights[0]->role == SHOAL_ROLE_LM_HEAD)
            json_array_append_new(ignore, json_string(modules[i].module.name));
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_first(modules, i))
            continue;
        (void)snprintf(name, sizeof name, "group_%zu", json_object_size(groups));
        json_object_set_new(groups, name, group_of(modules, count, i, schemes == 1));
        format = format && strcmp(format, format_of(&modules[i])) != 0 ? "mixed-precision"
                                                                       : format_of(&modules[i]);
    }
    json_t *values = json_pack("{s:s, s:s, s:s, s:o, s:o, s:n, s:n}", "quant_method",
                               "compressed-tensors", "format", format ? format : "pack-quantized",
                               "quantization_status", "compressed", "config_groups", groups,
                               "ignore", ignore, "kv_cache_scheme", "global_compression_ratio");
    json_object_update(out, values);
    json_decref(values);
    return SHOAL_OK;
}

const shoal_writer shoal_writer_compressed = {.name = "compressed-tensors",
                                              .whole_codes = true,
                                              .form = form_of,
                                              .parts = parts_of,
                                              .pack = pack,
                                              .config = config};

/* shard/writer_torchao.c - torchao's packed int4 tensors in safetensors, in two layouts.
 *
 *     torchao-int4-tiled      Int4TilePackedTo4dTensor: _weight_qdata i32 [n/8][k/128][32][4] for
 *                             CUDA, n padded to 8 and k to 1024
 *     torchao-int4-cpu:ISA    Int4OpaqueTensor: _weight_qdata u8 [n][k/2] in blocks of outputs
 *                             whose order is that of the CPU: avx512, avx2 or generic
 *
 * Both with _weight_scale_and_zero bf16 [k/group][n][2] and w = (u - 8) * scale + zero, where the
 * zero of a zero point z is (8 - z) * scale. torchao itself flattens only the first into
 * safetensors; the second is named in the same way, with its layout in __metadata__. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "shard/packed.h"
#include "shard/writer.h"

enum { QDATA, SCALE_AND_ZERO };

#define PAD_N 8
#define PAD_K 1024
#define INNER 8 /* tiles of 16 inputs in a word group */

static bool is_tiled(const shoal_target *target)
{
    return target->writer == &shoal_writer_torchao_tiled;
}

static int64_t padded_k(const shoal_target *target, const shoal_writer_module *m)
{
    return is_tiled(target) ? shoal_round_up(m->k, PAD_K) : m->k;
}

static int64_t padded_n(const shoal_target *target, const shoal_writer_module *m)
{
    return is_tiled(target) ? shoal_round_up(m->n, PAD_N) : m->n;
}

static bool is_group(int64_t group, int64_t k)
{
    return (group == 32 || group == 64 || group == 128 || group == 256) && k % group == 0;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    *form = shoal_form_requantized(4, m->k % 128 == 0 ? 128 : 32, SHOAL_BF16);
    form->has_mins = true;
    form->requantized = m->k % 32 == 0;
    if (!is_tiled(target) && (m->n % 16 != 0 || m->k % 2 != 0)) {
        form->requantized = false;
        return shoal_writer_refuse(target, m,
                                   "%lld outputs are no multiple of 16, or %lld inputs of 2",
                                   (long long)m->n, (long long)m->k);
    }
    if (m->bits > 4)
        return shoal_writer_refuse(target, m, "it has %d bits", m->bits);
    if (w->act_order)
        return shoal_writer_refuse(target, m, "its groups are in act-order");
    if (!is_group(w->group, m->k))
        return shoal_writer_refuse(
            target, m,
            "its group is %lld of %lld inputs; torchao has whole ones of 32, "
            "64, 128 and 256",
            (long long)w->group, (long long)m->k);
    *form = shoal_form_of(m, 4);
    form->has_zeros = false;
    form->has_mins = true;
    form->dtype = SHOAL_BF16;
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    const int64_t n = padded_n(target, m), k = padded_k(target, m);
    if (is_tiled(target))
        parts[QDATA] =
            (shoal_part){"._weight_qdata", SHOAL_I32, 4, {n / 8, k / (16 * INNER), 32, INNER / 2}};
    else
        parts[QDATA] = (shoal_part){"._weight_qdata", SHOAL_U8, 2, {n, k / 2}};
    parts[SCALE_AND_ZERO] =
        (shoal_part){"._weight_scale_and_zero", SHOAL_BF16, 3, {k / form->group, n, 2}};
    return 2;
}

static unsigned code_at(const shoal_canonical *b, int64_t n, int64_t k)
{
    return n < b->n && k < b->k ? b->codes[n * b->k + k] : 0;
}

/* Word p of lane `lane` of the word group `outer` of eight outputs. */
static uint32_t tiled_word(const shoal_canonical *b, int64_t n, int64_t outer, int lane, int p)
{
    static const uint8_t step[8] = {0, 8, 16, 24, 1, 9, 17, 25};
    const int64_t first = (outer * INNER + 2 * p) * 16 + 2 * (lane % 4);
    uint32_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= code_at(b, n + lane / 4, first + step[i]) << (4 * i);
    return word;
}

static void pack_tiled(const shoal_strip *s)
{
    const int64_t outers = padded_k(s->target, s->module) / (16 * INNER);
    for (int64_t n = 0; n < s->block->n; n += 8)
        for (int64_t o = 0; o < outers; o++) {
            uint8_t *at = s->parts[QDATA] + (((s->column + n) / 8 * outers + o) * 32) *
                                                (INNER / 2) * SHOAL_WORD_BYTES;
            for (int lane = 0; lane < 32; lane++)
                for (int p = 0; p < INNER / 2; p++, at += SHOAL_WORD_BYTES)
                    shoal_store_le32(at, tiled_word(s->block, n, o, lane, p));
        }
}

/* The output, within its block, of the low nibble of byte `d` of an input; the high nibble's lies
 * `*apart` further. */
static int64_t low_output(const char *isa, int64_t d, int64_t outputs, int64_t *apart)
{
    if (strcmp(isa, "avx512") == 0 && outputs == 64) {
        *apart = 32;
        return d;
    }
    if (strcmp(isa, "avx2") == 0 && outputs == 32) {
        *apart = 16;
        return d;
    }
    *apart = 1;
    return 2 * d;
}

/* One block of outputs: all its inputs one after the other. */
static void pack_cpu_block(const shoal_strip *s, int64_t n, int64_t outputs)
{
    const int64_t k = s->module->k;
    uint8_t *at = s->parts[QDATA] + (s->column + n) * k / 2;
    for (int64_t i = 0; i < k; i++)
        for (int64_t d = 0; d < outputs / 2; d++) {
            int64_t apart;
            const int64_t low = n + low_output(s->target->argument, d, outputs, &apart);
            *at++ = (uint8_t)(code_at(s->block, low, i) | code_at(s->block, low + apart, i) << 4);
        }
}

static void pack_cpu(const shoal_strip *s)
{
    const int64_t step = strcmp(s->target->argument, "avx512") == 0 ? 64 : 32;
    for (int64_t n = 0; n < s->block->n; n += step)
        pack_cpu_block(s, n, shoal_min_i64(step, s->block->n - n));
}

static shoal_status pack(const shoal_strip *s)
{
    const shoal_canonical *b = s->block;
    const int64_t n = padded_n(s->target, s->module);
    if (is_tiled(s->target))
        pack_tiled(s);
    else
        pack_cpu(s);
    for (int64_t g = 0; g < b->groups; g++)
        for (int64_t c = 0; c < b->n; c++) {
            const size_t at = (size_t)(2 * (g * n + s->column + c));
            const int64_t from = c * b->groups + g;
            shoal_store_float(s->parts[SCALE_AND_ZERO], SHOAL_BF16, at, b->scales[from]);
            shoal_store_float(s->parts[SCALE_AND_ZERO], SHOAL_BF16, at + 1, b->mins[from]);
        }
    return SHOAL_OK;
}

static json_t *metadata(const shoal_target *target, const shoal_written_module *m)
{
    char layout[64];
    if (!m)
        return json_pack("{s:s}", "_type", "Tensor");
    json_t *data = json_pack("{s:[i, I], s:[I, I]}", "block_size", 1, (json_int_t)m->form.group,
                             "shape", (json_int_t)m->module.n, (json_int_t)m->module.k);
    if (!is_tiled(target)) {
        (void)snprintf(layout, sizeof layout, "torchao-cpu-%s/1", target->argument);
        json_object_set_new(data, "layout", json_string(layout));
    }
    return json_pack("{s:s, s:o, s:[s, s]}", "_type",
                     is_tiled(target) ? "Int4TilePackedTo4dTensor" : "Int4OpaqueTensor", "_data",
                     data, "_tensor_data_names", "qdata", "scale_and_zero");
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    json_t *floats = shoal_float_linears(modules, count);
    const int64_t group = shoal_form_usual_group(modules, count);
    json_t *data = json_pack("{s:I, s:{s:s, s:s}, s:b}", "group_size", (json_int_t)group,
                             "int4_choose_qparams_algorithm", "_type", "Int4ChooseQParamsAlgorithm",
                             "_data", "TINYGEMM", "set_inductor_config", 1);
    if (is_tiled(target))
        json_object_set_new(data, "int4_packing_format", json_string("tile_packed_to_4d"));
    json_array_append_new(floats, json_string("lm_head"));
    json_t *values =
        json_pack("{s:s, s:{s:{s:s, s:i, s:o}}, s:o, s:b, s:b}", "quant_method", "torchao",
                  "quant_type", "default", "_type",
                  is_tiled(target) ? "Int4WeightOnlyConfig" : "PrototypeInt4WeightOnlyConfig",
                  "_version", is_tiled(target) ? 2 : 1, "_data", data, "modules_to_not_convert",
                  floats, "include_input_output_embeddings", 0, "untie_embedding_weights", 0);
    if (!is_tiled(target))
        json_object_set_new(values, "int4_cpu_layout", json_string(target->argument));
    json_object_update(out, values);
    json_decref(values);
    return SHOAL_OK;
}

#define TORCHAO_ROW(row_name, row_arguments)                                                       \
    {                                                                                              \
        .name = row_name, .arguments = row_arguments, .form = form_of, .parts = parts_of,          \
        .pack = pack, .config = config, .metadata = metadata                                       \
    }

const shoal_writer shoal_writer_torchao_tiled = TORCHAO_ROW("torchao-int4-tiled", NULL);
const shoal_writer shoal_writer_torchao_cpu =
    TORCHAO_ROW("torchao-int4-cpu", "avx512 avx2 generic");

/* shard/writer_marlin.c - Marlin checkpoints as AutoGPTQ writes and vLLM loads them.
 *
 *     B [k/16][2n]: words of tiles of 16 inputs x 64 outputs   s fp16 [groups][n], permuted
 *
 * Word 4*lane + j of a tile holds inputs 2*(lane%4) + 0, 8, 1, 9 of outputs 16j + lane/4 (+ 8).
 * Scales of several groups are permuted within 64 outputs, those of one group within 32, as the
 * kernel's threads take them. 4 bits, symmetric, groups of 128 or one per output. */
#include <jansson.h>

#include "shard/packed.h"
#include "shard/writer.h"

enum { WORDS, SCALES };

#define TILE_K 16
#define TILE_N 64

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    *form = shoal_form_requantized(4, m->k > 128 && m->k % 128 == 0 ? 128 : m->k, SHOAL_F16);
    form->requantized = m->k % TILE_K == 0 && m->n % TILE_N == 0 && w->role != SHOAL_ROLE_LM_HEAD;
    if (w->role == SHOAL_ROLE_LM_HEAD)
        return shoal_writer_refuse(target, m, "marlin leaves lm_head in floats");
    if (!form->requantized)
        return shoal_writer_refuse(target, m,
                                   "%lld outputs and %lld inputs are no whole tiles of 64 x 16",
                                   (long long)m->n, (long long)m->k);
    if (m->bits != 4 || m->has_mins || !m->symmetric)
        return shoal_writer_refuse(target, m,
                                   "marlin has 4 bits with zero point 8, this is %d "
                                   "bits%s",
                                   m->bits, m->symmetric ? "" : " with others");
    if (w->act_order)
        return shoal_writer_refuse(target, m, "its groups are in act-order");
    if (w->group != 128 && w->group < m->k)
        return shoal_writer_refuse(target, m, "its group is %lld; marlin has 128 or one per output",
                                   (long long)w->group);
    *form = shoal_form_of(m, 4);
    form->dtype = SHOAL_F16;
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    parts[WORDS] = (shoal_part){".B", SHOAL_I32, 2, {m->k / TILE_K, 2 * m->n}};
    parts[SCALES] = (shoal_part){".s", SHOAL_F16, 2, {shoal_form_groups(form, m), m->n}};
    return 2;
}

/* The 16 codes of an output in a tile: input i of the first eight beside input i + 8. */
static uint64_t pairs_of(const uint8_t *codes)
{
    return shoal_load_le64(codes) | shoal_load_le64(codes + 8) << 4;
}

/* Four bytes with a zero byte behind each. */
static uint64_t spread_bytes(uint32_t bytes)
{
    uint64_t x = bytes;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    return (x | x << 8) & 0x00ff00ff00ff00ffu;
}

/* The words of four lanes, 16 bytes apart: the pairs of an output and of the one 8 behind it take
 * turns byte by byte. */
static void pack_lanes(const uint8_t *codes, int64_t k, uint8_t *out)
{
    const uint64_t near = pairs_of(codes), far = pairs_of(codes + 8 * k);
    for (int half = 0; half < 2; half++) {
        const uint64_t two = spread_bytes((uint32_t)(near >> (32 * half))) |
                             spread_bytes((uint32_t)(far >> (32 * half))) << 8;
        shoal_store_le32(out + 32 * half, (uint32_t)two);
        shoal_store_le32(out + 32 * half + 16, (uint32_t)(two >> 32));
    }
}

static void pack_tile(const shoal_strip *s, int64_t n, int64_t kt)
{
    const int64_t k = s->module->k;
    const uint8_t *codes = s->block->codes + n * k + kt * TILE_K;
    uint8_t *tile =
        s->parts[WORDS] + (kt * 2 * s->module->n + 2 * (s->column + n)) * SHOAL_WORD_BYTES;
    for (int j = 0; j < 4; j++)
        for (int row = 0; row < 8; row++)
            pack_lanes(codes + (16 * j + row) * k, k, tile + (16 * row + j) * SHOAL_WORD_BYTES);
}

/* Where output `n` of a block of 64 goes: the permutations are their own inverses. */
static int64_t place_of(int64_t n, bool one_group)
{
    static const uint8_t pairs[8] = {0, 1, 8, 9, 16, 17, 24, 25};
    if (!one_group)
        return n % 8 * 8 + n / 8;
    int64_t j = 0;
    while (pairs[j] != n % 32 / 8 * 8 + n % 2)
        j++;
    return n / 32 * 32 + n % 8 / 2 * 8 + j;
}

static shoal_status pack(const shoal_strip *s)
{
    const shoal_canonical *b = s->block;
    for (int64_t n = 0; n < b->n; n += TILE_N)
        for (int64_t kt = 0; kt < b->k / TILE_K; kt++)
            pack_tile(s, n, kt);
    for (int64_t n = 0; n < b->n; n++)
        for (int64_t g = 0; g < b->groups; g++) {
            const int64_t column =
                s->column + n / TILE_N * TILE_N + place_of(n % TILE_N, b->groups == 1);
            shoal_store_float(s->parts[SCALES], SHOAL_F16, (size_t)(g * s->module->n + column),
                              b->scales[n * b->groups + g]);
        }
    return SHOAL_OK;
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    const int64_t group = shoal_form_usual_group(modules, count);
    for (size_t i = 0; i < count; i++)
        if (modules[i].form.kind != SHOAL_WEIGHT_FLOAT && !shoal_form_has_group(&modules[i], group))
            return shoal_writer_refuse(target, &modules[i].module,
                                       "its group is %lld, that of others %lld; marlin has one for "
                                       "the whole model",
                                       (long long)modules[i].form.group, (long long)group);
    json_t *values =
        json_pack("{s:s, s:i, s:I, s:b, s:b, s:b, s:b, s:s, s:f, s:b}", "quant_method", "gptq",
                  "bits", 4, "group_size", (json_int_t)group, "sym", 1, "desc_act", 0,
                  "static_groups", 0, "is_marlin_format", 1, "checkpoint_format", "marlin",
                  "damp_percent", 0.01, "true_sequential", 1);
    json_object_update(out, values);
    json_decref(values);
    return SHOAL_OK;
}

const shoal_writer shoal_writer_marlin = {.name = "marlin",
                                          .config_file = "quantize_config.json",
                                          .whole_codes = true,
                                          .form = form_of,
                                          .parts = parts_of,
                                          .pack = pack,
                                          .config = config};

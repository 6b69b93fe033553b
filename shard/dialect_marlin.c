/* shard/dialect_marlin.c - Marlin: symmetric 4-bit codes in the order of a GPU's matrix fragments.
 *
 *     B [k/16][2n]   s [groups][n]             GPTQ (AutoGPTQ, GPTQModel)
 *     qweight [k/16][2n]   scales [groups][n]  AWQ (AutoAWQ)
 *
 * A tile is 16 inputs by 64 columns in 128 words. Word 4t + j of it (t = 0..31, j = 0..3) holds
 * inputs r, r+8, r+1, r+9 (r = 2(t % 4)) of columns c and c+8 (c = 16j + t/4), in the order
 * (r, c) (r+8, c) (r, c+8) (r+8, c+8) (r+1, c) (r+9, c) (r+1, c+8) (r+9, c+8), lowest nibble first.
 * Scales are permuted within 64 columns, or, where all of k is one group, within 32. The zero is 8
 * everywhere. A bias lies in natural order. A workspace, which some writers leave in the file, is
 * not read. */
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/dialect_awq.h"
#include "shard/packed.h"

enum { CODES, SCALES };

#define TILE_K     16
#define TILE_N     64
#define TILE_WORDS 128
#define TILE_BYTES (TILE_WORDS * SHOAL_WORD_BYTES)

static bool claims_gptq(const shoal_module *module)
{
    return module->quantization->method == SHOAL_METHOD_GPTQ && shoal_module_tensor(module, "B");
}

static bool claims_awq(const shoal_module *module)
{
    return shoal_awq_is(module, SHOAL_LAYOUT_MARLIN);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_quantization *q = module->quantization;
    const int64_t group = shoal_module_group(module);
    const int64_t groups = shoal_ceil_div(module->k, group);
    const char *const *names = weight->dialect->parts;
    const shoal_tensor *const *parts = weight->parts;
    if (q->layout != SHOAL_LAYOUT_MARLIN)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s is stored as marlin does, but the quantization config does "
                          "not say so",
                          parts[CODES]->name);
    if (module->k % TILE_K || module->n % TILE_N)
        return shoal_fail(
            SHOAL_ERR_DATA,
            "tensor %s: marlin packs %d inputs by %d outputs, %lld by %lld do not fit",
            parts[CODES]->name, TILE_K, TILE_N, (long long)module->k, (long long)module->n);
    SHOAL_TRY(shoal_dialect_expect(module, names[CODES], parts[CODES], module->k / TILE_K,
                                   2 * module->n));
    SHOAL_TRY(shoal_dialect_expect(module, names[SCALES], parts[SCALES], groups, module->n));
    SHOAL_TRY(shoal_dialect_expect_dtype(parts[CODES], SHOAL_I32));
    SHOAL_TRY(shoal_dialect_expect_float(parts[SCALES]));
    weight->kind = SHOAL_WEIGHT_INT4;
    weight->dtype = parts[SCALES]->dtype;
    weight->group = group;
    weight->zero_const = 8;
    weight->bits = 4;
    weight->source_group = q->group;
    return SHOAL_OK;
}

/* The columns of whole tiles around a rectangle's; all scales of a block of 32 or 64 lie there. */
typedef struct {
    int64_t begin, end;
} span;

static span whole_tiles(const shoal_weight *weight, const shoal_rect *rect)
{
    const int64_t first = weight->row_offset + rect->n_begin;
    const int64_t last = weight->row_offset + rect->n_end;
    if (shoal_rect_empty(rect))
        return (span){0, 0};
    return (span){first / TILE_N * TILE_N, shoal_round_up(last, TILE_N)};
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const span columns = whole_tiles(weight, rect);
    const uint64_t across = (uint64_t)(columns.end - columns.begin);
    const uint64_t tiles = (uint64_t)(shoal_ceil_div(rect->k_end, TILE_K) - rect->k_begin / TILE_K);
    return across / TILE_N * tiles * TILE_BYTES +
           across * (uint64_t)shoal_rect_groups(weight, rect) * shoal_dtype_bytes(weight->dtype);
}

/* The 16 codes of column c of a tile: four words, each with four of them. */
static void unpack_tile(const uint8_t *tile, int c, uint8_t *out)
{
    const uint8_t *words = tile + (4 * (4 * (c % 8)) + c / 16) * SHOAL_WORD_BYTES;
    for (int i = 0; i < 4; i++) {
        const uint32_t word = shoal_load_le32(words + 4 * i * SHOAL_WORD_BYTES) >> (c / 8 % 2 * 8);
        out[2 * i] = word & 15u;
        out[2 * i + 8] = word >> 4 & 15u;
        out[2 * i + 1] = word >> 16 & 15u;
        out[2 * i + 9] = word >> 20 & 15u;
    }
}

/* Codes of one column of the tiles that were read (a row of `tiles` of them per 16 inputs). */
static void unpack_column(const uint8_t *stored, int64_t tiles, int64_t column,
                          const shoal_rect *rect, uint8_t *out)
{
    const int c = (int)(column % TILE_N);
    const uint8_t *tile = stored + column / TILE_N * TILE_BYTES;
    uint8_t codes[TILE_K];
    for (int64_t k = rect->k_begin, end; k < rect->k_end; k = end, tile += tiles * TILE_BYTES) {
        end = shoal_min_i64((k / TILE_K + 1) * TILE_K, rect->k_end);
        unpack_tile(tile, c, codes);
        memcpy(out + (k - rect->k_begin), codes + k % TILE_K, (size_t)(end - k));
    }
}

/* Where the scale of column c lies among its 64. */
static int scale_place(int c, bool one_group)
{
    if (one_group)
        return c / 32 * 32 + c % 8 / 2 * 8 + c % 32 / 8 * 2 + c % 2;
    return c % 8 * 8 + c / 8;
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const span *columns, shoal_canonical *out)
{
    const int64_t tiles = (columns->end - columns->begin) / TILE_N;
    const int64_t first = rect->k_begin / TILE_K;
    uint8_t *stored = NULL;
    SHOAL_TRY(shoal_dialect_stage(
        manifest, weight->parts[CODES], first, shoal_ceil_div(rect->k_end, TILE_K) - first,
        columns->begin / TILE_N * TILE_BYTES, tiles * TILE_BYTES, &stored));
    for (int64_t n = 0; n < out->n; n++)
        unpack_column(stored, tiles, weight->row_offset + rect->n_begin + n - columns->begin, rect,
                      out->codes + n * out->k);
    shoal_free(stored);
    return SHOAL_OK;
}

/* Where the scale of column c of the tiles that were read lies in a row of them. */
static int64_t scale_at(const shoal_weight *weight, int64_t c)
{
    return c / TILE_N * TILE_N +
           scale_place((int)(c % TILE_N), weight->parts[SCALES]->shape[0] == 1);
}

static shoal_status read_scales(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_rect *rect, const span *columns, shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[SCALES];
    const int64_t across = columns->end - columns->begin,
                  first = shoal_rect_group_begin(weight, rect);
    const int64_t size = (int64_t)shoal_dtype_bytes(tensor->dtype);
    uint8_t *stored = NULL;
    SHOAL_TRY(shoal_dialect_stage(manifest, tensor, first, out->groups, columns->begin * size,
                                  across * size, &stored));
    const shoal_status st =
        shoal_dialect_check_scales(tensor, stored, out->groups, across, first, columns->begin);
    for (int64_t n = 0; n < out->n && st == SHOAL_OK; n++) {
        const int64_t place =
            scale_at(weight, weight->row_offset + rect->n_begin + n - columns->begin);
        for (int64_t g = 0; g < out->groups; g++)
            out->scales[n * out->groups + g] =
                shoal_load_f32(stored, tensor->dtype, (size_t)(g * across + place));
    }
    shoal_free(stored);
    return st;
}

static shoal_status read_marlin(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_rect *rect, shoal_canonical *out)
{
    const span columns = whole_tiles(weight, rect);
    if (shoal_rect_empty(rect))
        return SHOAL_OK;
    SHOAL_TRY(read_codes(manifest, weight, rect, &columns, out));
    return read_scales(manifest, weight, rect, &columns, out);
}

/* Tiles that start a panel. */
static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    return rect->k_begin % TILE_K == 0 && (weight->row_offset + rect->n_begin) % TILE_N == 0;
}

static shoal_status stage_scales(const shoal_manifest *manifest, const shoal_weight *weight,
                                 const shoal_tile *tile, const span *columns,
                                 shoal_staging *staging, uint8_t **out)
{
    const shoal_tensor *tensor = weight->parts[SCALES];
    const int64_t across = columns->end - columns->begin;
    const int64_t n = tile->rect.n_end - tile->rect.n_begin;
    const int64_t groups = tile->group_end - tile->group_begin;
    const int64_t size = (int64_t)shoal_dtype_bytes(tensor->dtype);
    uint8_t *stored;
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, tensor, tile->group_begin, groups,
                                       columns->begin * size, across * size, staging,
                                       SHOAL_STAGE_STORED, &stored));
    SHOAL_TRY(shoal_dialect_check_scales(tensor, stored, groups, across, tile->group_begin,
                                         columns->begin));
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_SCALES, (uint64_t)(groups * n * size), out));
    for (int64_t c = 0; c < n; c++) {
        const int64_t place = scale_at(weight, c);
        for (int64_t g = 0; g < groups; g++)
            memcpy(*out + (g * n + c) * size, stored + (g * across + place) * size, (size_t)size);
    }
    return SHOAL_OK;
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect *rect = &tile->rect;
    const span columns = whole_tiles(weight, rect);
    const int64_t row = (columns.end - columns.begin) / TILE_N * TILE_BYTES;
    const int64_t first = rect->k_begin / TILE_K;
    uint8_t *codes, *scales;
    SHOAL_TRY(shoal_dialect_stage_slot(
        manifest, weight->parts[CODES], first, shoal_ceil_div(rect->k_end, TILE_K) - first,
        columns.begin / TILE_N * TILE_BYTES, row, staging, SHOAL_STAGE_CODES, &codes));
    SHOAL_TRY(stage_scales(manifest, weight, tile, &columns, staging, &scales));
    *out = (shoal_stored){SHOAL_WORDS_FRAGMENTS,
                          rect->n_end - rect->n_begin,
                          rect->k_end - rect->k_begin,
                          codes,
                          row,
                          tile->group_end - tile->group_begin,
                          scales,
                          NULL};
    return SHOAL_OK;
}

#define MARLIN_ROW(row_name, row_codes, row_scales, row_claims)                                    \
    {                                                                                              \
        .name = row_name, .parts = {row_codes, row_scales, "workspace"}, .claims = row_claims,     \
        .describe = describe, .read_bytes = read_bytes, .read = read_marlin, .storable = storable, \
        .read_stored = read_stored                                                                 \
    }

const shoal_dialect shoal_dialect_marlin = MARLIN_ROW("marlin", "B", "s", claims_gptq);
const shoal_dialect shoal_dialect_awq_marlin =
    MARLIN_ROW("awq-marlin", "qweight", "scales", claims_awq);

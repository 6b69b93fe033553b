/* shard/dialect_awq.c - AWQ, version "gemm": 4-bit codes packed along n.
 *
 *     qweight [k][n/8]   qzeros [groups][n/8]   scales [groups][n]
 *
 * A word holds columns 8c .. 8c+7, column 8c+j in nibble order[j]; qzeros likewise. The zero is
 * stored as it is. */
#include "shard/dialect_awq.h"

#include "kernels/nibbles.h"
#include "proto/bytes.h"
#include "shard/packed.h"

/* Inputs and columns unpacked at a time. */
#define SIDE 64

static const uint8_t nibble_of_column[8] = {0, 4, 1, 5, 2, 6, 3, 7};

bool shoal_awq_is(const shoal_module *module, shoal_stored_layout layout)
{
    return module->quantization->method == SHOAL_METHOD_AWQ &&
           module->quantization->layout == layout && shoal_module_tensor(module, "qweight");
}

shoal_status shoal_awq_describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *const *parts = weight->parts;
    SHOAL_TRY(shoal_dialect_expect_dtype(parts[SHOAL_AWQ_CODES], SHOAL_I32));
    SHOAL_TRY(shoal_dialect_expect_dtype(parts[SHOAL_AWQ_ZEROS], SHOAL_I32));
    SHOAL_TRY(shoal_dialect_expect_float(parts[SHOAL_AWQ_SCALES]));
    weight->kind = SHOAL_WEIGHT_INT4;
    weight->dtype = parts[SHOAL_AWQ_SCALES]->dtype;
    weight->group = shoal_module_group(module);
    weight->has_zeros = true;
    weight->zero_const = 8;
    weight->bits = 4;
    weight->source_group = module->quantization->group;
    return SHOAL_OK;
}

static bool claims(const shoal_module *module)
{
    return shoal_awq_is(module, SHOAL_LAYOUT_PLAIN);
}

static shoal_status check_shape(const shoal_module *module, const shoal_tensor *qweight)
{
    if (module->n % 8 != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: awq packs 8 outputs in a word, %lld do not fit",
                          qweight->name, (long long)module->n);
    if (qweight->rank == 2 && qweight->shape[0] == shoal_ceil_div(module->k, 8) &&
        qweight->shape[1] == module->n)
        return shoal_fail(
            SHOAL_ERR_DATA,
            "tensor %s is [%lld, %lld], packed along the inputs as gptq does, but the "
            "quantization config says awq",
            qweight->name, (long long)qweight->shape[0], (long long)qweight->shape[1]);
    return shoal_dialect_expect(module, "qweight", qweight, module->k, module->n / 8);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const int64_t groups = shoal_ceil_div(module->k, shoal_module_group(module));
    const shoal_tensor *const *parts = weight->parts;
    SHOAL_TRY(check_shape(module, parts[SHOAL_AWQ_CODES]));
    SHOAL_TRY(
        shoal_dialect_expect(module, "qzeros", parts[SHOAL_AWQ_ZEROS], groups, module->n / 8));
    SHOAL_TRY(shoal_dialect_expect(module, "scales", parts[SHOAL_AWQ_SCALES], groups, module->n));
    return shoal_awq_describe(module, weight);
}

/* Word columns [begin, end) that hold the rectangle's columns. */
static void word_range(const shoal_weight *weight, const shoal_rect *rect, int64_t *begin,
                       int64_t *end)
{
    *begin = (weight->row_offset + rect->n_begin) / 8;
    *end = shoal_ceil_div(weight->row_offset + rect->n_end, 8);
    if (rect->n_begin == rect->n_end)
        *end = *begin;
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    int64_t begin, end;
    word_range(weight, rect, &begin, &end);
    const int64_t rows = rect->k_end - rect->k_begin + shoal_rect_groups(weight, rect);
    return (uint64_t)rows * (uint64_t)(end - begin) * SHOAL_WORD_BYTES +
           shoal_dialect_scales_bytes(weight, weight->parts[SHOAL_AWQ_SCALES], rect);
}

/* One stored matrix of packed words: rows x words, whose first word holds column `column`. */
typedef struct {
    uint8_t *at;
    int64_t words;
    int64_t column;
} words;

static unsigned code_at(const words *w, int64_t row, int64_t column)
{
    const int64_t c = column - w->column;
    const uint32_t word = shoal_load_le32(w->at + (row * w->words + c / 8) * SHOAL_WORD_BYTES);
    return word >> (4 * nibble_of_column[c % 8]) & 15u;
}

/* Columns [column, column + SIDE) of inputs [k, k + inputs), as far as the block has them. */
static void unpack_square(const words *w, int64_t first, int64_t column, int64_t k, int64_t inputs,
                          shoal_canonical *out)
{
    const shoal_nibbles_row *nibbles = shoal_nibbles_best();
    const int64_t begin = shoal_max_i64(column, first);
    const int64_t end = shoal_min_i64(column + SIDE, first + out->n);
    const int64_t there = shoal_min_i64(SIDE, w->column + 8 * w->words - column);
    uint8_t codes[SIDE][SIDE];
    for (int64_t i = 0; i < inputs; i++)
        nibbles->unpack(w->at + (k + i) * w->words * SHOAL_WORD_BYTES + (column - w->column) / 2,
                        there, &shoal_nibbles_awq, codes[i]);
    nibbles->turn_bytes(codes[0] + (begin - column), SIDE, inputs, end - begin,
                        out->codes + (begin - first) * out->k + k, out->k);
}

static void unpack_codes(const words *w, int64_t first, shoal_canonical *out)
{
    for (int64_t k = 0; k < out->k; k += SIDE)
        for (int64_t column = w->column; column < first + out->n; column += SIDE)
            unpack_square(w, first, column, k, shoal_min_i64(SIDE, out->k - k), out);
}

/* Rows [row, row + rows) of codes or zeros, as far as the rectangle's columns go; *out->at is the
 * caller's to free. */
static shoal_status stage_words(const shoal_manifest *manifest, const shoal_weight *weight,
                                int part, const shoal_rect *rect, int64_t row, int64_t rows,
                                words *out)
{
    int64_t begin, end;
    uint8_t *at = NULL;
    word_range(weight, rect, &begin, &end);
    SHOAL_TRY(shoal_dialect_stage(manifest, weight->parts[part], row, rows,
                                  begin * SHOAL_WORD_BYTES, (end - begin) * SHOAL_WORD_BYTES, &at));
    *out = (words){at, end - begin, 8 * begin};
    return SHOAL_OK;
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_canonical *out)
{
    words stored;
    SHOAL_TRY(stage_words(manifest, weight, SHOAL_AWQ_CODES, rect, rect->k_begin, out->k, &stored));
    unpack_codes(&stored, weight->row_offset + rect->n_begin, out);
    shoal_free(stored.at);
    return SHOAL_OK;
}

static shoal_status read_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_canonical *out)
{
    const int64_t first = weight->row_offset + rect->n_begin;
    words stored;
    SHOAL_TRY(stage_words(manifest, weight, SHOAL_AWQ_ZEROS, rect,
                          shoal_rect_group_begin(weight, rect), out->groups, &stored));
    for (int64_t g = 0; g < out->groups; g++)
        for (int64_t n = 0; n < out->n; n++)
            out->zeros[n * out->groups + g] = (int16_t)code_at(&stored, g, first + n);
    shoal_free(stored.at);
    return SHOAL_OK;
}

static shoal_status read_awq(const shoal_manifest *manifest, const shoal_weight *weight,
                             const shoal_rect *rect, shoal_canonical *out)
{
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, rect, out));
    SHOAL_TRY(read_zeros(manifest, weight, rect, out));
    return shoal_dialect_read_scales(manifest, weight, weight->parts[SHOAL_AWQ_SCALES], rect,
                                     out->scales);
}

/* Panels begin where words do. */
static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    return (weight->row_offset + rect->n_begin) % 8 == 0;
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect *rect = &tile->rect;
    const int64_t groups = tile->group_end - tile->group_begin;
    uint8_t *codes, *zeros, *scales, *points;
    int64_t begin, end;
    word_range(weight, rect, &begin, &end);
    const int64_t stride = (end - begin) * SHOAL_WORD_BYTES, n = rect->n_end - rect->n_begin;
    const int64_t k = rect->k_end - rect->k_begin;
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, weight->parts[SHOAL_AWQ_CODES], rect->k_begin, k,
                                       begin * SHOAL_WORD_BYTES, stride, staging, SHOAL_STAGE_CODES,
                                       &codes));
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, weight->parts[SHOAL_AWQ_ZEROS], tile->group_begin,
                                       groups, begin * SHOAL_WORD_BYTES, stride, staging,
                                       SHOAL_STAGE_ZEROS, &zeros));
    SHOAL_TRY(shoal_dialect_stage_scales(manifest, weight, weight->parts[SHOAL_AWQ_SCALES], tile,
                                         staging, &scales));
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_POINTS, (uint64_t)(groups * n), &points));
    const words stored_zeros = {zeros, end - begin, 0};
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 0; c < n; c++)
            points[g * n + c] = (uint8_t)code_at(&stored_zeros, g, c);
    *out = (shoal_stored){SHOAL_WORDS_ALONG_N, n, k, codes, stride, groups, scales, points};
    return SHOAL_OK;
}

const shoal_dialect shoal_dialect_awq = {
    .name = "awq-gemm",
    .parts = {"qweight", "qzeros", "scales"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_awq,
    .storable = storable,
    .read_stored = read_stored,
};

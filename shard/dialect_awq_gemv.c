/* shard/dialect_awq_gemv.c - AWQ, version "gemv": 4-bit codes packed along k, a row per output.
 *
 *     qweight [n][k/8]   qzeros [n][w]   scales [n][8w]
 *
 * Field i of a row is code or zero i, lowest bits first. w words hold the zeros of all groups,
 * rounded up to what the kernel read at a time: 1 word, 2 with groups of 64, 4 with groups of 32.
 * Scales and zeros beyond the last group are padding. The zero is stored as it is. */
#include "proto/bytes.h"
#include "shard/dialect_awq.h"
#include "shard/packed.h"

static bool claims(const shoal_module *module)
{
    return shoal_awq_is(module, SHOAL_LAYOUT_GEMV);
}

shoal_status shoal_awq_zero_words(const shoal_module *module, int64_t *out)
{
    const int64_t group = shoal_module_group(module);
    const int64_t words = shoal_ceil_div(shoal_ceil_div(module->k, group), 8);
    const int64_t step = group >= 128 ? 1 : 128 / group;
    if (group < 128 && group != 64 && group != 32)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: awq gemv has groups of 32, 64, or 128 and more; not of %lld",
                          module->name, (long long)group);
    *out = shoal_round_up(words, step);
    return SHOAL_OK;
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *const *parts = weight->parts;
    int64_t words;
    SHOAL_TRY(shoal_awq_zero_words(module, &words));
    SHOAL_TRY(shoal_dialect_expect(module, "qweight", parts[SHOAL_AWQ_CODES], module->n,
                                   shoal_ceil_div(module->k, 8)));
    SHOAL_TRY(shoal_dialect_expect(module, "qzeros", parts[SHOAL_AWQ_ZEROS], module->n, words));
    SHOAL_TRY(
        shoal_dialect_expect(module, "scales", parts[SHOAL_AWQ_SCALES], module->n, 8 * words));
    return shoal_awq_describe(module, weight);
}

/* Words of a row that a rectangle needs of codes and of zeros. */
typedef struct {
    shoal_packed_span codes, zeros;
} reach;

static reach reach_of(const shoal_weight *weight, const shoal_rect *rect)
{
    const int64_t group = shoal_rect_group_begin(weight, rect);
    return (reach){
        shoal_packed_cover(rect->k_begin, rect->k_end, 4, weight->parts[SHOAL_AWQ_CODES]->shape[1]),
        shoal_packed_cover(group, group + shoal_rect_groups(weight, rect), 4,
                           weight->parts[SHOAL_AWQ_ZEROS]->shape[1]),
    };
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const reach r = reach_of(weight, rect);
    const int64_t words = r.codes.end - r.codes.begin + r.zeros.end - r.zeros.begin;
    if (shoal_rect_empty(rect))
        return 0;
    return (uint64_t)(words * (rect->n_end - rect->n_begin)) * SHOAL_WORD_BYTES +
           shoal_dialect_row_scales_bytes(weight, weight->parts[SHOAL_AWQ_SCALES], rect);
}

/* Rows of words [begin, end) of a packed tensor, for the rectangle's columns. */
static shoal_status stage_rows(const shoal_manifest *manifest, const shoal_weight *weight, int part,
                               const shoal_rect *rect, const shoal_packed_span *span, uint8_t **out)
{
    return shoal_dialect_stage(manifest, weight->parts[part], weight->row_offset + rect->n_begin,
                               rect->n_end - rect->n_begin, span->begin * SHOAL_WORD_BYTES,
                               (span->end - span->begin) * SHOAL_WORD_BYTES, out);
}

static shoal_status read_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const shoal_packed_span *span,
                               shoal_canonical *out)
{
    const int64_t first = shoal_rect_group_begin(weight, rect) - span->field;
    const int64_t words = span->end - span->begin;
    uint8_t *stored;
    SHOAL_TRY(stage_rows(manifest, weight, SHOAL_AWQ_ZEROS, rect, span, &stored));
    for (int64_t n = 0; n < out->n; n++)
        for (int64_t g = 0; g < out->groups; g++)
            out->zeros[n * out->groups + g] = (int16_t)shoal_packed_field(
                stored + n * words * SHOAL_WORD_BYTES, SHOAL_WORD_BYTES, words, first + g, 4);
    shoal_free(stored);
    return SHOAL_OK;
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const shoal_packed_span *span,
                               shoal_canonical *out)
{
    const int64_t row = (span->end - span->begin) * SHOAL_WORD_BYTES;
    uint8_t *stored;
    SHOAL_TRY(stage_rows(manifest, weight, SHOAL_AWQ_CODES, rect, span, &stored));
    for (int64_t n = 0; n < out->n; n++)
        shoal_packed_row(stored + n * row, rect->k_begin - span->field, out->k, 4,
                         out->codes + n * out->k);
    shoal_free(stored);
    return SHOAL_OK;
}

static shoal_status read_gemv(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, shoal_canonical *out)
{
    const reach r = reach_of(weight, rect);
    if (shoal_rect_empty(rect))
        return SHOAL_OK;
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, rect, &r.codes, out));
    SHOAL_TRY(read_zeros(manifest, weight, rect, &r.zeros, out));
    return shoal_dialect_read_row_scales(manifest, weight, weight->parts[SHOAL_AWQ_SCALES], rect,
                                         out->scales);
}

/* Words that start a K step. */
static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    (void)weight;
    return rect->k_begin % 8 == 0;
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect *rect = &tile->rect;
    const reach r = reach_of(weight, rect);
    const int64_t row = (r.codes.end - r.codes.begin) * SHOAL_WORD_BYTES;
    shoal_canonical zeros = {.n = rect->n_end - rect->n_begin,
                             .groups = tile->group_end - tile->group_begin};
    uint8_t *codes, *scales, *points, *block;
    SHOAL_TRY(shoal_dialect_stage_slot(
        manifest, weight->parts[SHOAL_AWQ_CODES], weight->row_offset + rect->n_begin, zeros.n,
        r.codes.begin * SHOAL_WORD_BYTES, row, staging, SHOAL_STAGE_CODES, &codes));
    SHOAL_TRY(shoal_dialect_stage_row_scales(manifest, weight, weight->parts[SHOAL_AWQ_SCALES],
                                             tile, staging, &scales));
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_ZEROS,
                                 (uint64_t)(zeros.n * zeros.groups) * sizeof(int16_t), &block));
    zeros.zeros = (void *)block;
    SHOAL_TRY(read_zeros(manifest, weight, rect, &r.zeros, &zeros));
    SHOAL_TRY(shoal_dialect_stage_points(zeros.zeros, zeros.n, zeros.groups, staging, &points));
    *out = (shoal_stored){SHOAL_WORDS_BY_COLUMN,
                          zeros.n,
                          rect->k_end - rect->k_begin,
                          codes,
                          row,
                          zeros.groups,
                          scales,
                          points};
    return SHOAL_OK;
}

const shoal_dialect shoal_dialect_awq_gemv = {
    .name = "awq-gemv",
    .parts = {"qweight", "qzeros", "scales"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_gemv,
    .storable = storable,
    .read_stored = read_stored,
    .tile = shoal_dialect_tile_columns,
};

/* shard/dialect_compressed.c - compressed-tensors: a row per output, codes packed or as bytes.
 *
 *     pack-quantized   weight_packed [n][k*bits/32] I32, code k in field k, lowest bits first
 *     int-quantized    weight [n][k] I8, code - 128
 *     both             weight_scale [n][groups] ([n] or [1] where all of k is one group)
 *
 * Asymmetric weights have weight_zero_point: I8 like the scales, less the middle of the range; or,
 * packed, I32 [n*bits/32][groups] whose field n is the zero. A symmetric weight may have one too
 * if it says nothing new. weight_g_idx [k] makes an act-order weight; a -1 in it says that it was
 * never filled in, and groups are in order. weight_shape [2] repeats what config.json says.
 * input_scale and input_zero_point are for activations that Shoal scales itself. */
#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/packed.h"

enum { CODES, SCALE, ZERO_POINT, SHAPE, G_IDX };

static bool is_packed(const shoal_weight *weight)
{
    return weight->parts[CODES]->dtype == SHOAL_I32;
}

static bool claims_packed(const shoal_module *module)
{
    return module->quantization->method == SHOAL_METHOD_COMPRESSED &&
           shoal_module_tensor(module, "weight_packed");
}

static bool claims_bytes(const shoal_module *module)
{
    const shoal_tensor *weight = shoal_module_tensor(module, "weight");
    return module->quantization->method == SHOAL_METHOD_COMPRESSED && weight &&
           weight->dtype == SHOAL_I8;
}

/* A middle that packed and byte codes are shifted by. */
static int middle_of(const shoal_weight *weight)
{
    return 1 << (weight->bits - 1);
}

/* ---- describing ---- */

/* [n][groups] of a dtype that `what` says; where all of k is one group also [n], and [1] or [] for
 * one number. */
static shoal_status expect_rows(const shoal_module *module, const char *suffix,
                                const shoal_tensor *tensor, int64_t groups)
{
    const int64_t count = tensor && tensor->rank == 1 ? tensor->shape[0] : 1;
    if (tensor && tensor->rank < 2 && groups == 1 && (count == 1 || count == module->n))
        return SHOAL_OK;
    return shoal_dialect_expect(module, suffix, tensor, module->n, groups);
}

static shoal_status check_zero_point(const shoal_module *module, const shoal_weight *weight,
                                     int64_t groups)
{
    const shoal_tensor *zero = weight->parts[ZERO_POINT];
    const char *suffix = weight->dialect->parts[ZERO_POINT];
    if (!zero && !weight->has_zeros)
        return SHOAL_OK;
    if (zero && zero->dtype == SHOAL_I8)
        return expect_rows(module, suffix, zero, groups);
    SHOAL_TRY(shoal_dialect_expect(module, suffix, zero,
                                   shoal_ceil_div(module->n * weight->bits, 32), groups));
    return shoal_dialect_expect_dtype(zero, is_packed(weight) ? SHOAL_I32 : SHOAL_I8);
}

static shoal_status check_shape_tensor(const shoal_tensor *shape)
{
    if (!shape)
        return SHOAL_OK;
    SHOAL_TRY(shoal_dialect_expect_dtype(shape, SHOAL_I64));
    if (shape->rank == 1 && shape->shape[0] == 2)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s does not hold two numbers", shape->name);
}

static shoal_status check_codes(const shoal_module *module, const shoal_weight *weight)
{
    const shoal_tensor *codes = weight->parts[CODES];
    const bool packed = weight->dialect == &shoal_dialect_pack_quantized;
    const bool told_packed = module->quantization->layout == SHOAL_LAYOUT_PACKED;
    const int64_t words = shoal_ceil_div(module->k * weight->bits, 32);
    if (packed != told_packed)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s is %s, but the quantization config says %s-quantized",
                          codes->name, packed ? "packed in words" : "a byte per weight",
                          told_packed ? "pack" : "int");
    SHOAL_TRY(shoal_dialect_expect(module, weight->dialect->parts[CODES], codes, module->n,
                                   packed ? words : module->k));
    return shoal_dialect_expect_dtype(codes, packed ? SHOAL_I32 : SHOAL_I8);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_quantization *q = module->quantization;
    const int64_t group = shoal_module_group(module);
    const int64_t groups = shoal_ceil_div(module->k, group);
    const shoal_tensor *const *parts = weight->parts;
    weight->bits = q->bits;
    weight->has_zeros = !q->symmetric;
    SHOAL_TRY(check_codes(module, weight));
    SHOAL_TRY(expect_rows(module, weight->dialect->parts[SCALE], parts[SCALE], groups));
    SHOAL_TRY(shoal_dialect_expect_float(parts[SCALE]));
    SHOAL_TRY(check_zero_point(module, weight, groups));
    SHOAL_TRY(check_shape_tensor(parts[SHAPE]));
    if (parts[G_IDX])
        SHOAL_TRY(shoal_dialect_expect_order(module, parts[G_IDX]));
    weight->kind = q->bits == 8 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
    weight->dtype = parts[SCALE]->dtype;
    weight->group = group;
    weight->zero_const = (int16_t)middle_of(weight);
    weight->act_order = parts[G_IDX] && groups > 1;
    weight->per_token = q->per_token;
    weight->source_group = q->group;
    return SHOAL_OK;
}

/* ---- what a rectangle needs ---- */

typedef struct {
    int64_t k_begin, k_end;  /* inputs that are unpacked: all of them for an act-order weight */
    int64_t byte, bytes;     /* of a row of codes                                             */
    int64_t first;           /* the input at `byte`                                           */
    shoal_packed_span zeros; /* rows of packed zeros                                          */
} reach;

static reach reach_of(const shoal_weight *weight, const shoal_rect *rect)
{
    reach r = {.k_begin = rect->k_begin, .k_end = rect->k_end};
    const int64_t row = weight->row_offset;
    if (weight->act_order)
        r = (reach){.k_end = weight->k};
    r.first = r.byte = r.k_begin;
    r.bytes = r.k_end - r.k_begin;
    if (is_packed(weight)) {
        const shoal_packed_span words =
            shoal_packed_cover(r.k_begin, r.k_end, weight->bits, weight->parts[CODES]->shape[1]);
        r.first = words.field;
        r.byte = words.begin * SHOAL_WORD_BYTES;
        r.bytes = (words.end - words.begin) * SHOAL_WORD_BYTES;
    }
    if (weight->parts[ZERO_POINT] && weight->parts[ZERO_POINT]->dtype == SHOAL_I32)
        r.zeros = shoal_packed_cover(row + rect->n_begin, row + rect->n_end, weight->bits,
                                     weight->parts[ZERO_POINT]->shape[0]);
    return r;
}

/* Does a rectangle compare weight_shape? Whoever reads the first weight does. */
static bool compares_shape(const shoal_weight *weight, const shoal_rect *rect)
{
    return weight->parts[SHAPE] && weight->row_offset + rect->n_begin == 0 && rect->k_begin == 0;
}

static uint64_t zero_bytes(const shoal_weight *weight, const shoal_rect *rect, const reach *r)
{
    const shoal_tensor *zero = weight->parts[ZERO_POINT];
    if (!zero)
        return 0;
    if (zero->dtype == SHOAL_I8)
        return shoal_dialect_row_scales_bytes(weight, zero, rect);
    return (uint64_t)((r->zeros.end - r->zeros.begin) * shoal_rect_groups(weight, rect)) *
           SHOAL_WORD_BYTES;
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const reach r = reach_of(weight, rect);
    if (shoal_rect_empty(rect))
        return 0;
    return (uint64_t)(rect->n_end - rect->n_begin) * (uint64_t)r.bytes +
           shoal_dialect_row_scales_bytes(weight, weight->parts[SCALE], rect) +
           zero_bytes(weight, rect, &r) +
           (compares_shape(weight, rect) ? weight->parts[SHAPE]->bytes : 0);
}

/* ---- reading ---- */

static shoal_status compare_shape(const shoal_manifest *manifest, const shoal_weight *weight)
{
    const shoal_tensor *tensor = weight->parts[SHAPE];
    const int64_t n = weight->parts[CODES]->shape[0];
    uint8_t stored[16];
    SHOAL_TRY(shoal_checkpoint_read(manifest->checkpoint, tensor, 0, sizeof stored, stored));
    const int64_t rows = (int64_t)shoal_load_le64(stored);
    const int64_t columns = (int64_t)shoal_load_le64(stored + 8);
    if (rows == n && columns == weight->k)
        return SHOAL_OK;
    return shoal_fail(
        SHOAL_ERR_DATA, "tensor %s says %lld by %lld, but config.json makes it %lld by %lld",
        tensor->name, (long long)rows, (long long)columns, (long long)n, (long long)weight->k);
}

/* Codes of inputs [r->k_begin, r->k_end) of a row. */
static void unpack_row(const shoal_weight *weight, const uint8_t *row, const reach *r, uint8_t *out)
{
    const int64_t count = r->k_end - r->k_begin;
    if (is_packed(weight)) {
        shoal_packed_row(row, r->k_begin - r->first, count, weight->bits, out);
        return;
    }
    for (int64_t k = 0; k < count; k++)
        out[k] = row[k] ^ 0x80;
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, const reach *r, shoal_canonical *out)
{
    uint8_t *stored = NULL;
    void *line = NULL;
    shoal_status st;
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, (uint64_t)(r->k_end - r->k_begin), &line),
                   done);
    SHOAL_TRY_GOTO(shoal_dialect_stage(manifest, weight->parts[CODES],
                                       weight->row_offset + rect->n_begin, out->n, r->byte,
                                       r->bytes, &stored),
                   done);
    for (int64_t n = 0; n < out->n; n++) {
        uint8_t *to = out->codes + n * out->k;
        const uint8_t *codes = line;
        unpack_row(weight, stored + n * r->bytes, r, rect->order ? line : to);
        for (int64_t k = 0; rect->order && k < out->k; k++)
            to[k] = codes[rect->order[rect->k_begin + k]];
    }
done:
    shoal_free(stored);
    shoal_free(line);
    return st;
}

/* The zero of (row n, group g) of a rectangle, or what makes it none. */
static shoal_status take_zero(const shoal_weight *weight, const shoal_rect *rect, int zero,
                              int64_t n, int64_t g, shoal_canonical *out)
{
    const int middle = middle_of(weight);
    const char *name = weight->parts[ZERO_POINT]->name;
    const int64_t column = weight->row_offset + rect->n_begin + n;
    const int64_t group = shoal_rect_group_begin(weight, rect) + g;
    if (zero < 0 || zero >= 2 * middle)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: the zero point of column %lld, group %lld is %d, which %d "
                          "bits do not hold",
                          name, (long long)column, (long long)group, zero - middle, weight->bits);
    if (!weight->has_zeros && zero != middle)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: the quantization config says symmetric, but column %lld, "
                          "group %lld has zero point %d",
                          name, (long long)column, (long long)group, zero - middle);
    if (weight->has_zeros)
        out->zeros[n * out->groups + g] = (int16_t)zero;
    return SHOAL_OK;
}

static shoal_status read_packed_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                                      const shoal_rect *rect, const reach *r, shoal_canonical *out)
{
    const int64_t rows = r->zeros.end - r->zeros.begin, stride = out->groups * SHOAL_WORD_BYTES;
    const int64_t column = weight->row_offset + rect->n_begin - r->zeros.field;
    uint8_t *stored;
    SHOAL_TRY(shoal_dialect_stage(manifest, weight->parts[ZERO_POINT], r->zeros.begin, rows,
                                  shoal_rect_group_begin(weight, rect) * SHOAL_WORD_BYTES, stride,
                                  &stored));
    shoal_status st = SHOAL_OK;
    for (int64_t n = 0; n < out->n && st == SHOAL_OK; n++)
        for (int64_t g = 0; g < out->groups && st == SHOAL_OK; g++)
            st = take_zero(weight, rect,
                           (int)shoal_packed_field(stored + g * SHOAL_WORD_BYTES, stride, rows,
                                                   column + n, weight->bits),
                           n, g, out);
    shoal_free(stored);
    return st;
}

static shoal_status read_byte_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                                    const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[ZERO_POINT];
    const bool single = shoal_tensor_is_single(tensor);
    const int64_t row = single ? 0 : weight->row_offset + rect->n_begin;
    uint8_t *stored;
    SHOAL_TRY(shoal_dialect_stage(manifest, tensor, row, single ? 1 : out->n,
                                  shoal_rect_group_begin(weight, rect), out->groups, &stored));
    shoal_status st = SHOAL_OK;
    for (int64_t n = 0; n < out->n && st == SHOAL_OK; n++)
        for (int64_t g = 0; g < out->groups && st == SHOAL_OK; g++)
            st = take_zero(weight, rect,
                           (int8_t)stored[single ? 0 : n * out->groups + g] + middle_of(weight), n,
                           g, out);
    shoal_free(stored);
    return st;
}

static shoal_status read_compressed(const shoal_manifest *manifest, const shoal_weight *weight,
                                    const shoal_rect *rect, shoal_canonical *out)
{
    const reach r = reach_of(weight, rect);
    const shoal_tensor *zero = weight->parts[ZERO_POINT];
    if (shoal_rect_empty(rect))
        return SHOAL_OK;
    if (compares_shape(weight, rect))
        SHOAL_TRY(compare_shape(manifest, weight));
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, rect, &r, out));
    if (zero && zero->dtype == SHOAL_I8)
        SHOAL_TRY(read_byte_zeros(manifest, weight, rect, out));
    else if (zero)
        SHOAL_TRY(read_packed_zeros(manifest, weight, rect, &r, out));
    return shoal_dialect_read_row_scales(manifest, weight, weight->parts[SCALE], rect, out->scales);
}

/* Words of 4 or 8 codes that start a K step, in the order of the file, and zeros that start a
 * word. */
static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    return is_packed(weight) && !weight->act_order && (weight->bits == 4 || weight->bits == 8) &&
           rect->k_begin % 8 == 0 && (weight->row_offset + rect->n_begin) % 8 == 0;
}

static shoal_status stage_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_rect *rect, const reach *r, int64_t groups,
                                shoal_staging *staging, const uint8_t **out)
{
    const shoal_tensor *zero = weight->parts[ZERO_POINT];
    shoal_canonical zeros = {.n = rect->n_end - rect->n_begin, .groups = groups};
    uint8_t *block, *points;
    *out = NULL;
    if (!zero)
        return SHOAL_OK;
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_ZEROS,
                                 (uint64_t)(zeros.n * groups) * sizeof(int16_t), &block));
    zeros.zeros = (void *)block;
    SHOAL_TRY(zero->dtype == SHOAL_I8 ? read_byte_zeros(manifest, weight, rect, &zeros)
                                      : read_packed_zeros(manifest, weight, rect, r, &zeros));
    if (!weight->has_zeros)
        return SHOAL_OK;
    SHOAL_TRY(shoal_dialect_stage_points(zeros.zeros, zeros.n, groups, staging, &points));
    *out = points;
    return SHOAL_OK;
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect *rect = &tile->rect;
    const reach r = reach_of(weight, rect);
    const int64_t n = rect->n_end - rect->n_begin, groups = tile->group_end - tile->group_begin;
    uint8_t *codes, *scales;
    const uint8_t *points;
    if (compares_shape(weight, rect))
        SHOAL_TRY(compare_shape(manifest, weight));
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, weight->parts[CODES],
                                       weight->row_offset + rect->n_begin, n, r.byte, r.bytes,
                                       staging, SHOAL_STAGE_CODES, &codes));
    SHOAL_TRY(shoal_dialect_stage_row_scales(manifest, weight, weight->parts[SCALE], tile, staging,
                                             &scales));
    SHOAL_TRY(stage_zeros(manifest, weight, rect, &r, groups, staging, &points));
    *out = (shoal_stored){
        SHOAL_WORDS_BY_COLUMN, n, r.k_end - r.k_begin, codes, r.bytes, groups, scales, points};
    return SHOAL_OK;
}

static shoal_status read_order(const shoal_manifest *manifest, const shoal_weight *weight,
                               int32_t *order)
{
    return shoal_dialect_read_order(manifest, weight, weight->parts[G_IDX], true, order);
}

#define COMPRESSED_ROW(row_name, row_codes, row_claims)                                            \
    {                                                                                              \
        .name = row_name,                                                                          \
        .parts = {row_codes,      "weight_scale", "weight_zero_point", "weight_shape",             \
                  "weight_g_idx", "input_scale",  "input_zero_point"},                             \
        .claims = row_claims, .describe = describe, .read_bytes = read_bytes,                      \
        .read = read_compressed, .storable = storable, .read_stored = read_stored,                 \
        .tile = shoal_dialect_tile_columns, .order = read_order                                    \
    }

const shoal_dialect shoal_dialect_pack_quantized =
    COMPRESSED_ROW("pack-quantized", "weight_packed", claims_packed);
const shoal_dialect shoal_dialect_int_quantized =
    COMPRESSED_ROW("int-quantized", "weight", claims_bytes);

/* shard/dialect_gptq.c - GPTQ with 2, 3, 4 and 8 bits: codes packed along k.
 *
 *     qweight [k*bits/32][n]   qzeros [groups][n*bits/32]   scales [groups][n]   g_idx [k]
 *
 * Three rows differ in how zeros were stored (shard/quantization.h). 2- and 3-bit codes become
 * canonical 4-bit codes with their own zero. Symmetric weights keep no zeros; their stored zeros
 * are still read and compared, so that a file that lies about symmetry is not believed. g_idx is
 * the order of an act-order weight; where the config promises plain groups it must hold them. */
#include <stdatomic.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "proto/bytes.h"
#include "proto/log.h"
#include "shard/dialect.h"
#include "shard/packed.h"

enum { QWEIGHT, QZEROS, SCALES, G_IDX };

/* Columns unpacked at a time, and blocks of words of each: a strip stays in cache. */
#define STRIP       64
#define BLOCKS_STEP 16

static bool is_gptq(const shoal_module *module, shoal_zeros_rule zeros)
{
    return module->quantization->method == SHOAL_METHOD_GPTQ &&
           module->quantization->zeros == zeros && shoal_module_tensor(module, "qweight");
}

static bool claims_v1(const shoal_module *module)
{
    return is_gptq(module, SHOAL_ZEROS_MINUS_ONE);
}

static bool claims_v1_word(const shoal_module *module)
{
    return is_gptq(module, SHOAL_ZEROS_MINUS_ONE_WORD);
}

static bool claims_v2(const shoal_module *module)
{
    return is_gptq(module, SHOAL_ZEROS_PLAIN);
}

static shoal_status check_g_idx(const shoal_module *module, const shoal_weight *weight)
{
    const shoal_tensor *g_idx = weight->parts[G_IDX];
    if (!g_idx && weight->act_order)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s.g_idx is missing, but the quantization config says desc_act",
                          module->name);
    return g_idx ? shoal_dialect_expect_order(module, g_idx) : SHOAL_OK;
}

static shoal_status check_shapes(const shoal_module *module, const shoal_weight *weight,
                                 int64_t groups)
{
    const int bits = module->quantization->bits;
    const shoal_tensor *const *parts = weight->parts;
    const shoal_tensor *qweight = parts[QWEIGHT];
    const int64_t zero_words = shoal_ceil_div(module->n * bits, 32);
    if (qweight->rank == 2 && qweight->shape[0] == module->k &&
        qweight->shape[1] == shoal_ceil_div(module->n, 8))
        return shoal_fail(
            SHOAL_ERR_DATA,
            "tensor %s is [%lld, %lld], packed along the outputs as awq does, but the "
            "quantization config says gptq",
            qweight->name, (long long)qweight->shape[0], (long long)qweight->shape[1]);
    SHOAL_TRY(shoal_dialect_expect(module, "qweight", qweight, shoal_ceil_div(module->k * bits, 32),
                                   module->n));
    SHOAL_TRY(shoal_dialect_expect(module, "qzeros", parts[QZEROS], groups, zero_words));
    SHOAL_TRY(shoal_dialect_expect(module, "scales", parts[SCALES], groups, module->n));
    SHOAL_TRY(shoal_dialect_expect_dtype(qweight, SHOAL_I32));
    SHOAL_TRY(shoal_dialect_expect_dtype(parts[QZEROS], SHOAL_I32));
    return shoal_dialect_expect_float(parts[SCALES]);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_quantization *q = module->quantization;
    const int64_t group = shoal_module_group(module);
    if (q->layout == SHOAL_LAYOUT_MARLIN)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s is stored as gptq does, but the quantization config says "
                          "marlin",
                          weight->parts[QWEIGHT]->name);
    SHOAL_TRY(check_shapes(module, weight, shoal_ceil_div(module->k, group)));
    weight->act_order = q->act_order;
    SHOAL_TRY(check_g_idx(module, weight));
    weight->kind = q->bits == 8 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
    weight->dtype = weight->parts[SCALES]->dtype;
    weight->group = group;
    weight->has_zeros = !q->symmetric;
    weight->zero_const = (int16_t)(1 << (q->bits - 1));
    weight->bits = q->bits;
    weight->source_group = q->group;
    return SHOAL_OK;
}

/* What a rectangle needs of each packed tensor. An act-order weight reads all of K: the rows of a
 * range of sorted k lie anywhere, and how many there are must be known without reading g_idx. */
typedef struct {
    shoal_packed_span codes; /* rows of qweight, whose first field is input codes.field */
    int64_t k_last;          /* inputs that are unpacked end here                       */
    shoal_packed_span zeros; /* words of a row of qzeros                                */
} reach;

static reach reach_of(const shoal_weight *weight, const shoal_rect *rect)
{
    const int64_t first = weight->act_order ? 0 : rect->k_begin;
    const int64_t last = weight->act_order ? weight->k : rect->k_end;
    const int64_t column = weight->row_offset;
    return (reach){
        .codes = shoal_packed_cover(first, last, weight->bits, weight->parts[QWEIGHT]->shape[0]),
        .k_last = last,
        .zeros = shoal_packed_cover(column + rect->n_begin, column + rect->n_end, weight->bits,
                                    weight->parts[QZEROS]->shape[1]),
    };
}

/* Does a rectangle compare g_idx with plain groups? Whoever reads column 0 does it for its inputs:
 * together the ranks compare every element once. */
static bool compares_g_idx(const shoal_weight *weight, const shoal_rect *rect)
{
    return weight->parts[G_IDX] && !weight->act_order && weight->row_offset + rect->n_begin == 0;
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const reach r = reach_of(weight, rect);
    const int64_t rows = r.codes.end - r.codes.begin;
    const int64_t zeros = shoal_rect_groups(weight, rect) * (r.zeros.end - r.zeros.begin);
    const int64_t g_idx = compares_g_idx(weight, rect) ? rect->k_end - rect->k_begin : 0;
    const int64_t words = rows * (rect->n_end - rect->n_begin) + zeros + g_idx;
    return (uint64_t)words * SHOAL_WORD_BYTES +
           shoal_dialect_scales_bytes(weight, weight->parts[SCALES], rect);
}

static shoal_status compare_g_idx(const shoal_manifest *manifest, const shoal_weight *weight,
                                  const shoal_rect *rect)
{
    const shoal_tensor *tensor = weight->parts[G_IDX];
    const int64_t count = rect->k_end - rect->k_begin;
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)count, SHOAL_WORD_BYTES, &block));
    const uint8_t *g_idx = block;
    shoal_status st = shoal_checkpoint_read(manifest->checkpoint, tensor,
                                            (uint64_t)rect->k_begin * SHOAL_WORD_BYTES,
                                            (uint64_t)count * SHOAL_WORD_BYTES, block);
    for (int64_t i = 0; i < count && st == SHOAL_OK; i++) {
        const int32_t group = (int32_t)shoal_load_le32(g_idx + i * SHOAL_WORD_BYTES);
        const int64_t k = rect->k_begin + i;
        if (group != k / weight->group)
            st = shoal_fail(SHOAL_ERR_DATA,
                            "tensor %s puts input %lld in group %d; the quantization config "
                            "promises groups of %lld in order, so %lld",
                            tensor->name, (long long)k, (int)group, (long long)weight->group,
                            (long long)(k / weight->group));
    }
    shoal_free(block);
    return st;
}

/* Unpack `count` codes (at most the fields of a block) from words `stride` bytes apart. `out` has
 * room for a whole block. */
static void unpack_block(const uint8_t *words, int64_t stride, int bits, int64_t count,
                         uint8_t *out)
{
    const int64_t there = shoal_ceil_div(count * bits, 32);
    for (int64_t i = 0; i < count; i++)
        out[i] = (uint8_t)shoal_packed_field(words, stride, there, i, bits);
}

/* The rows of qweight that were read, as a matrix of words. */
typedef struct {
    const uint8_t *at;
    int64_t columns;
    int64_t codes; /* inputs they hold */
    int bits;
} stored_codes;

/* The same of 4-bit codes: words are turned, then each column's lie in a row. */
static void unpack_strip4(const stored_codes *stored, int64_t n, int64_t count, int64_t ld,
                          uint8_t *strip)
{
    const shoal_nibbles_row *nibbles = shoal_nibbles_best();
    const int64_t rows = shoal_ceil_div(stored->codes, 8);
    const int64_t stride = stored->columns * SHOAL_WORD_BYTES;
    uint8_t turned[STRIP][BLOCKS_STEP * SHOAL_WORD_BYTES];
    for (int64_t c = 0; c < count; c += STRIP)
        for (int64_t r = 0; r < rows; r += BLOCKS_STEP) {
            const int64_t words = shoal_min_i64(BLOCKS_STEP, rows - r);
            const int64_t columns = shoal_min_i64(STRIP, count - c);
            nibbles->turn_words(stored->at + r * stride + (n + c) * SHOAL_WORD_BYTES, stride, words,
                                columns, turned[0], sizeof turned[0]);
            for (int64_t i = 0; i < columns; i++)
                nibbles->unpack(turned[i], 8 * words, &shoal_nibbles_plain,
                                strip + (c + i) * ld + 8 * r);
        }
}

/* Codes of columns [n, n + count) into strip[count][ld], inputs as stored. */
static void unpack_strip(const stored_codes *stored, int64_t n, int64_t count, int64_t ld,
                         uint8_t *strip)
{
    if (stored->bits == 4) {
        unpack_strip4(stored, n, count, ld, strip);
        return;
    }
    const int64_t fields = shoal_packed_fields(stored->bits);
    const int64_t step = shoal_packed_words(stored->bits);
    const int64_t stride = stored->columns * SHOAL_WORD_BYTES;
    const int64_t blocks = shoal_ceil_div(stored->codes, fields);
    for (int64_t b = 0; b < blocks; b += BLOCKS_STEP)
        for (int64_t c = 0; c < count; c++)
            for (int64_t i = b; i < shoal_min_i64(b + BLOCKS_STEP, blocks); i++) {
                const uint8_t *words = stored->at + i * step * stride + (n + c) * SHOAL_WORD_BYTES;
                const int64_t left = shoal_min_i64(fields, stored->codes - i * fields);
                unpack_block(words, stride, stored->bits, left, strip + c * ld + i * fields);
            }
}

/* Stored codes to out->codes: cut, or walked in sorted order. */
static shoal_status place_codes(const stored_codes *stored, const reach *r, const shoal_rect *rect,
                                shoal_canonical *out)
{
    const int64_t ld = shoal_round_up(stored->codes, 32);
    void *block;
    if (!rect->order && r->codes.field == rect->k_begin && out->k % 32 == 0) {
        unpack_strip(stored, 0, out->n, out->k, out->codes); /* all blocks whole, none too many */
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, STRIP, (uint64_t)ld, &block));
    const uint8_t *strip = block;
    for (int64_t n = 0; n < out->n; n += STRIP) {
        const int64_t count = shoal_min_i64(STRIP, out->n - n);
        unpack_strip(stored, n, count, ld, block);
        for (int64_t c = 0; c < count; c++) {
            uint8_t *to = out->codes + (n + c) * out->k;
            const uint8_t *from = strip + c * ld;
            if (!rect->order) {
                memcpy(to, from + (rect->k_begin - r->codes.field), (size_t)out->k);
                continue;
            }
            for (int64_t k = 0; k < out->k; k++)
                to[k] = from[rect->order[rect->k_begin + k]];
        }
    }
    shoal_free(block);
    return SHOAL_OK;
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const reach *r, const shoal_rect *rect, shoal_canonical *out)
{
    uint8_t *block = NULL;
    const int64_t column = weight->row_offset + rect->n_begin;
    SHOAL_TRY(shoal_dialect_stage(manifest, weight->parts[QWEIGHT], r->codes.begin,
                                  r->codes.end - r->codes.begin, column * SHOAL_WORD_BYTES,
                                  out->n * SHOAL_WORD_BYTES, &block));
    const stored_codes stored = {block, out->n, r->k_last - r->codes.field, weight->bits};
    const shoal_status st = place_codes(&stored, r, rect, out);
    shoal_free(block);
    return st;
}

/* The row of stored zeros of one group. */
typedef struct {
    const uint8_t *words;
    int64_t count;
    int64_t field; /* column of the first field */
} zero_row;

static unsigned stored_zero(const zero_row *row, int64_t column, int bits)
{
    return shoal_packed_field(row->words, SHOAL_WORD_BYTES, row->count, column - row->field, bits);
}

/* Does word `index` of a row hold `field` all through? */
static bool word_is(const zero_row *row, int64_t index, unsigned field, int bits)
{
    return index < row->count && shoal_load_le32(row->words + index * SHOAL_WORD_BYTES) ==
                                     field * (~0u / ((1u << bits) - 1));
}

static shoal_status compare_zeros(const shoal_weight *weight, const shoal_rect *rect,
                                  const zero_row *row, int64_t group)
{
    const unsigned middle = 1u << (weight->bits - 1);
    const unsigned less = weight->dialect->zeros == SHOAL_ZEROS_PLAIN ? 0 : 1;
    const int64_t fields = weight->bits == 3 ? 0 : 32 / weight->bits; /* of whole words */
    for (int64_t n = rect->n_begin; n < rect->n_end; n++) {
        const int64_t at = weight->row_offset + n - row->field;
        if (fields && at % fields == 0 && word_is(row, at / fields, middle - less, weight->bits)) {
            n += fields - 1;
            continue;
        }
        const unsigned stored = stored_zero(row, weight->row_offset + n, weight->bits);
        if (stored != middle - less)
            return shoal_fail(SHOAL_ERR_DATA,
                              "tensor %s: the quantization config says symmetric, but group %lld, "
                              "column %lld stores zero %u instead of %u",
                              weight->parts[QZEROS]->name, (long long)group,
                              (long long)(weight->row_offset + n), stored, middle - less);
    }
    return SHOAL_OK;
}

/* v1 cannot say z = 0: its writers left all ones in the field. Said once, it may concern many. */
static void warn_wrapped(const char *tensor, int64_t group, int64_t column)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&said))
        shoal_log(SHOAL_LOG_WARN, "load",
                  "tensor %s: the zero of group %lld, column %lld is stored as all ones (gptq v1) "
                  "and read as zero 0; said once",
                  tensor, (long long)group, (long long)column);
}

/* The zero of weight column `n`. */
static unsigned zero_point(const shoal_weight *weight, const zero_row *row, int64_t group,
                           int64_t n)
{
    const unsigned mask = (1u << weight->bits) - 1;
    const unsigned more = weight->dialect->zeros == SHOAL_ZEROS_MINUS_ONE ? 1 : 0;
    const int64_t column = weight->row_offset + n;
    const unsigned stored = stored_zero(row, column, weight->bits);
    if (more && stored == mask)
        warn_wrapped(weight->parts[QZEROS]->name, group, column);
    return (stored + more) & mask;
}

/* GPTQModel took 1 from every field by one subtraction on the word, borrows and all. */
static void undo_word_subtraction(uint8_t *words, int64_t count, int bits)
{
    const uint32_t ones = bits == 2 ? 0x55555555u : bits == 4 ? 0x11111111u : 0x01010101u;
    for (int64_t i = 0; i < count; i++)
        shoal_store_le32(words + i * 4, shoal_load_le32(words + i * 4) + ones);
}

/* Zeros of groups [first, first + groups) in staging; symmetric ones are compared, others are as
 * they should have been written. */
static shoal_status stage_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, uint8_t **out)
{
    const shoal_packed_span span = reach_of(weight, &tile->rect).zeros;
    const int64_t words = span.end - span.begin, groups = tile->group_end - tile->group_begin;
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, weight->parts[QZEROS], tile->group_begin, groups,
                                       span.begin * SHOAL_WORD_BYTES, words * SHOAL_WORD_BYTES,
                                       staging, SHOAL_STAGE_ZEROS, out));
    if (weight->has_zeros && weight->dialect->zeros == SHOAL_ZEROS_MINUS_ONE_WORD)
        undo_word_subtraction(*out, groups * words, weight->bits);
    for (int64_t g = 0; g < groups && !weight->has_zeros; g++) {
        const zero_row row = {*out + g * words * SHOAL_WORD_BYTES, words, span.field};
        SHOAL_TRY(compare_zeros(weight, &tile->rect, &row, tile->group_begin + g));
    }
    return SHOAL_OK;
}

/* Row g of what stage_zeros left. */
static zero_row staged_row(const shoal_weight *weight, const shoal_rect *rect,
                           const uint8_t *staged, int64_t g)
{
    const shoal_packed_span span = reach_of(weight, rect).zeros;
    const int64_t words = span.end - span.begin;
    return (zero_row){staged + g * words * SHOAL_WORD_BYTES, words, span.field};
}

static shoal_status read_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_canonical *out)
{
    const int64_t first = shoal_rect_group_begin(weight, rect);
    const shoal_tile tile = {*rect, first, first + out->groups};
    shoal_staging staging = {0};
    uint8_t *stored = NULL;
    const shoal_status st = stage_zeros(manifest, weight, &tile, &staging, &stored);
    for (int64_t g = 0; g < out->groups && weight->has_zeros && st == SHOAL_OK; g++) {
        const zero_row row = staged_row(weight, rect, stored, g);
        for (int64_t n = 0; n < out->n; n++)
            out->zeros[n * out->groups + g] =
                (int16_t)zero_point(weight, &row, first + g, rect->n_begin + n);
    }
    shoal_staging_free(&staging);
    return st;
}

static shoal_status read_gptq(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, shoal_canonical *out)
{
    const reach r = reach_of(weight, rect);
    if (compares_g_idx(weight, rect))
        SHOAL_TRY(compare_g_idx(manifest, weight, rect));
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, &r, rect, out));
    SHOAL_TRY(read_zeros(manifest, weight, rect, out));
    return shoal_dialect_read_scales(manifest, weight, weight->parts[SCALES], rect, out->scales);
}

/* Words of 4 or 8 codes along k that start a K step, in the order of the file, and zeros that
 * start a word. */
static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    return !weight->act_order && (weight->bits == 4 || weight->bits == 8) &&
           rect->k_begin % 8 == 0 && (weight->row_offset + rect->n_begin) % 8 == 0;
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect *rect = &tile->rect;
    const reach r = reach_of(weight, rect);
    const int64_t n = rect->n_end - rect->n_begin, groups = tile->group_end - tile->group_begin;
    uint8_t *codes, *zeros, *scales, *points = NULL;
    if (compares_g_idx(weight, rect))
        SHOAL_TRY(compare_g_idx(manifest, weight, rect));
    SHOAL_TRY(shoal_dialect_stage_slot(manifest, weight->parts[QWEIGHT], r.codes.begin,
                                       r.codes.end - r.codes.begin,
                                       (weight->row_offset + rect->n_begin) * SHOAL_WORD_BYTES,
                                       n * SHOAL_WORD_BYTES, staging, SHOAL_STAGE_CODES, &codes));
    SHOAL_TRY(stage_zeros(manifest, weight, tile, staging, &zeros));
    SHOAL_TRY(shoal_dialect_stage_scales(manifest, weight, weight->parts[SCALES], tile, staging,
                                         &scales));
    if (weight->has_zeros)
        SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_POINTS, (uint64_t)(groups * n), &points));
    for (int64_t g = 0; g < groups && points; g++) {
        const zero_row row = staged_row(weight, rect, zeros, g);
        for (int64_t c = 0; c < n; c++)
            points[g * n + c] =
                (uint8_t)zero_point(weight, &row, tile->group_begin + g, rect->n_begin + c);
    }
    *out = (shoal_stored){SHOAL_WORDS_ALONG_K,
                          n,
                          rect->k_end - rect->k_begin,
                          codes,
                          n * SHOAL_WORD_BYTES,
                          groups,
                          scales,
                          points};
    return SHOAL_OK;
}

static shoal_status read_order(const shoal_manifest *manifest, const shoal_weight *weight,
                               int32_t *order)
{
    return shoal_dialect_read_order(manifest, weight, weight->parts[G_IDX], false, order);
}

#define GPTQ_ROW(row_name, row_zeros, row_claims)                                                  \
    {                                                                                              \
        .name = row_name, .parts = {"qweight", "qzeros", "scales", "g_idx"}, .zeros = row_zeros,   \
        .claims = row_claims, .describe = describe, .read_bytes = read_bytes, .read = read_gptq,   \
        .storable = storable, .read_stored = read_stored, .order = read_order                      \
    }

const shoal_dialect shoal_dialect_gptq = GPTQ_ROW("gptq", SHOAL_ZEROS_MINUS_ONE, claims_v1);
const shoal_dialect shoal_dialect_gptq_word =
    GPTQ_ROW("gptq (word zeros)", SHOAL_ZEROS_MINUS_ONE_WORD, claims_v1_word);
const shoal_dialect shoal_dialect_gptq_v2 = GPTQ_ROW("gptq_v2", SHOAL_ZEROS_PLAIN, claims_v2);

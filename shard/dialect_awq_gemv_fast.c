/* shard/dialect_awq_gemv_fast.c - AWQ, version "gemv_fast": 4-bit codes, four rows interleaved in
 * 16-bit words.
 *
 *     qweight [n/4][k] I16   qzeros [8w][n]   scales [8w][n]     w as in shard/dialect_awq_gemv.c
 *
 * Sixteen words hold 64 nibbles, lowest first: inputs 64b .. 64b+63 of one row; the next sixteen
 * those of the next row, so that 64 words are a block b of four rows. The 32 inputs of half a
 * block come as 0 1 8 9 16 17 24 25, 2 3 10 11 ..., 4 5 .., 6 7 .., and of each such eight the
 * first, third, fifth and seventh before the others. A stored zero is the number -scale * zero:
 * w = code * scale + zero. */
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect_awq.h"
#include "shard/packed.h"

#define ROWS        4
#define BLOCK_K     64
#define BLOCK_BYTES 128 /* of four rows */
#define ROW_BYTES   32  /* of one row in a block */

static bool claims(const shoal_module *module)
{
    return shoal_awq_is(module, SHOAL_LAYOUT_GEMV_FAST);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *const *parts = weight->parts;
    int64_t words;
    SHOAL_TRY(shoal_awq_zero_words(module, &words));
    if (module->n % ROWS || module->k % BLOCK_K)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: awq gemv_fast packs %d outputs by %d inputs, %lld by %lld do "
                          "not fit",
                          parts[SHOAL_AWQ_CODES]->name, ROWS, BLOCK_K, (long long)module->n,
                          (long long)module->k);
    SHOAL_TRY(shoal_dialect_expect(module, "qweight", parts[SHOAL_AWQ_CODES], module->n / ROWS,
                                   module->k));
    SHOAL_TRY(shoal_dialect_expect(module, "qzeros", parts[SHOAL_AWQ_ZEROS], 8 * words, module->n));
    SHOAL_TRY(
        shoal_dialect_expect(module, "scales", parts[SHOAL_AWQ_SCALES], 8 * words, module->n));
    SHOAL_TRY(shoal_dialect_expect_dtype(parts[SHOAL_AWQ_CODES], SHOAL_I16));
    SHOAL_TRY(shoal_dialect_expect_float(parts[SHOAL_AWQ_ZEROS]));
    SHOAL_TRY(shoal_dialect_expect_float(parts[SHOAL_AWQ_SCALES]));
    weight->kind = SHOAL_WEIGHT_INT4;
    weight->dtype = parts[SHOAL_AWQ_SCALES]->dtype;
    weight->group = shoal_module_group(module);
    weight->has_mins = true;
    weight->bits = 4;
    weight->source_group = module->quantization->group;
    return SHOAL_OK;
}

/* Rows of words and blocks of inputs around a rectangle. */
typedef struct {
    int64_t row, rows, block, blocks;
} reach;

static reach reach_of(const shoal_weight *weight, const shoal_rect *rect)
{
    const int64_t first = weight->row_offset + rect->n_begin;
    const int64_t last = weight->row_offset + rect->n_end;
    reach r = {first / ROWS, 0, rect->k_begin / BLOCK_K, 0};
    if (shoal_rect_empty(rect))
        return r;
    r.rows = shoal_ceil_div(last, ROWS) - r.row;
    r.blocks = shoal_ceil_div(rect->k_end, BLOCK_K) - r.block;
    return r;
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const reach r = reach_of(weight, rect);
    if (shoal_rect_empty(rect))
        return 0;
    return (uint64_t)(r.rows * r.blocks) * BLOCK_BYTES +
           shoal_dialect_scales_bytes(weight, weight->parts[SHOAL_AWQ_SCALES], rect) +
           shoal_dialect_scales_bytes(weight, weight->parts[SHOAL_AWQ_ZEROS], rect);
}

/* The 64 codes of a row in a block: two halves of four words. Nibble i of word p holds input
 * 8i + 2p of its half, nibble i + 4 the input after that. */
static void unpack_block(const uint8_t *row, uint8_t *out)
{
    for (int half = 0; half < 2; half++)
        for (int p = 0; p < 4; p++) {
            const uint32_t word = shoal_load_le32(row + half * 16 + p * 4);
            uint8_t *to = out + half * 32 + p * 2;
            for (int i = 0; i < 4; i++) {
                to[8 * i] = word >> (4 * i) & 15u;
                to[8 * i + 1] = word >> (4 * i + 16) & 15u;
            }
        }
}

static void unpack_column(const uint8_t *stored, const reach *r, int64_t column,
                          const shoal_rect *rect, uint8_t *out)
{
    const uint8_t *row =
        stored + (column / ROWS - r->row) * r->blocks * BLOCK_BYTES + column % ROWS * ROW_BYTES;
    uint8_t codes[BLOCK_K];
    for (int64_t k = rect->k_begin, end; k < rect->k_end; k = end, row += BLOCK_BYTES) {
        end = shoal_min_i64((k / BLOCK_K + 1) * BLOCK_K, rect->k_end);
        unpack_block(row, codes);
        memcpy(out + (k - rect->k_begin), codes + k % BLOCK_K, (size_t)(end - k));
    }
}

static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_canonical *out)
{
    const reach r = reach_of(weight, rect);
    uint8_t *stored;
    SHOAL_TRY(shoal_dialect_stage(manifest, weight->parts[SHOAL_AWQ_CODES], r.row, r.rows,
                                  r.block * BLOCK_BYTES, r.blocks * BLOCK_BYTES, &stored));
    for (int64_t n = 0; n < out->n; n++)
        unpack_column(stored, &r, weight->row_offset + rect->n_begin + n, rect,
                      out->codes + n * out->k);
    shoal_free(stored);
    return SHOAL_OK;
}

static shoal_status read_gemv_fast(const shoal_manifest *manifest, const shoal_weight *weight,
                                   const shoal_rect *rect, shoal_canonical *out)
{
    if (shoal_rect_empty(rect))
        return SHOAL_OK;
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, rect, out));
    SHOAL_TRY(shoal_dialect_read_scales(manifest, weight, weight->parts[SHOAL_AWQ_ZEROS], rect,
                                        out->mins));
    return shoal_dialect_read_scales(manifest, weight, weight->parts[SHOAL_AWQ_SCALES], rect,
                                     out->scales);
}

const shoal_dialect shoal_dialect_awq_gemv_fast = {
    .name = "awq-gemv-fast",
    .parts = {"qweight", "qzeros", "scales"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_gemv_fast,
};

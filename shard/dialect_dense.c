/* shard/dialect_dense.c - linears in floating point: MODULE.weight [n][k], F32, F16 or BF16.
 *
 * Also the form they take when they become integers while they are read (--quantize): a rectangle
 * then reads the whole groups that its K range touches and is cut afterwards, because a code is a
 * function of its whole group. */
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/quantize.h"

/* Rows quantized at a time: staging stays small whatever the rectangle. */
#define ROWS_STEP 64

static bool claims(const shoal_module *module)
{
    const shoal_tensor *weight = shoal_module_tensor(module, "weight");
    return weight && shoal_dtype_is_float(weight->dtype);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *tensor = weight->parts[0];
    SHOAL_TRY(shoal_dialect_expect(module, "weight", tensor, module->n, module->k));
    SHOAL_TRY(shoal_dialect_expect_float(tensor));
    weight->kind = SHOAL_WEIGHT_FLOAT;
    weight->dtype = tensor->dtype;
    weight->group = weight->k;
    weight->bits = (int)shoal_dtype_bits(tensor->dtype);
    weight->source_group = 0;
    return SHOAL_OK;
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    return (uint64_t)(rect->n_end - rect->n_begin) * (uint64_t)(rect->k_end - rect->k_begin) *
           shoal_dtype_bytes(weight->parts[0]->dtype);
}

static shoal_status read_dense(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[0];
    const uint64_t size = shoal_dtype_bytes(tensor->dtype);
    return shoal_checkpoint_read_matrix(
        manifest->checkpoint, tensor, weight->row_offset + rect->n_begin, out->n,
        (uint64_t)rect->k_begin * size, (uint64_t)out->k * size, out->dense);
}

const shoal_dialect shoal_dialect_dense = {
    .name = "dense",
    .parts = {"weight"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_dense,
};

/* The K range of whole groups around a rectangle's. */
static void whole_groups(const shoal_weight *weight, const shoal_rect *rect, int64_t *begin,
                         int64_t *end)
{
    *begin = *end = rect->k_begin;
    if (rect->k_begin >= rect->k_end)
        return;
    *begin = rect->k_begin / weight->group * weight->group;
    *end = shoal_min_i64(shoal_round_up(rect->k_end, weight->group), weight->k);
}

static uint64_t at_load_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    int64_t begin, end;
    whole_groups(weight, rect, &begin, &end);
    return (uint64_t)(rect->n_end - rect->n_begin) * (uint64_t)(end - begin) *
           shoal_dtype_bytes(weight->parts[0]->dtype);
}

/* Buffers of one strip of rows, all [ROWS_STEP][end - begin] or one row of that. */
typedef struct {
    int64_t begin, end; /* K range of whole groups */
    uint8_t *stored;
    float *row;
    uint8_t *codes;
} row_strip;

/* Quantize stored row `i` of the strip and write what the rectangle wants as row `n` of `out`. */
static shoal_status quantize_row(const shoal_weight *weight, const shoal_rect *rect,
                                 const row_strip *strip, int64_t i, int64_t n, shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[0];
    const int64_t span = strip->end - strip->begin;
    const uint8_t *stored = strip->stored + (size_t)(i * span) * shoal_dtype_bytes(tensor->dtype);
    shoal_widen_f32(stored, tensor->dtype, (size_t)span, strip->row);
    for (int64_t g = 0; g < out->groups; g++) {
        const int64_t at = g * weight->group;
        const int64_t count = shoal_min_i64(weight->group, span - at);
        if (!shoal_quantize_weight_group(strip->row + at, count, weight->kind, strip->codes + at,
                                         &out->scales[n * out->groups + g]))
            return shoal_fail(SHOAL_ERR_DATA,
                              "tensor %s: row %lld has a NaN or infinite weight in columns %lld to "
                              "%lld and cannot be quantized",
                              tensor->name, (long long)(weight->row_offset + rect->n_begin + n),
                              (long long)(strip->begin + at),
                              (long long)(strip->begin + at + count - 1));
    }
    memcpy(out->codes + n * out->k, strip->codes + (rect->k_begin - strip->begin), (size_t)out->k);
    return SHOAL_OK;
}

static shoal_status quantize_rows(const shoal_manifest *manifest, const shoal_weight *weight,
                                  const shoal_rect *rect, const row_strip *strip,
                                  shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[0];
    const uint64_t size = shoal_dtype_bytes(tensor->dtype);
    const uint64_t run = (uint64_t)(strip->end - strip->begin) * size;
    for (int64_t n = 0; n < out->n; n += ROWS_STEP) {
        const int64_t rows = shoal_min_i64(ROWS_STEP, out->n - n);
        SHOAL_TRY(shoal_checkpoint_read_matrix(manifest->checkpoint, tensor,
                                               weight->row_offset + rect->n_begin + n, rows,
                                               (uint64_t)strip->begin * size, run, strip->stored));
        for (int64_t i = 0; i < rows; i++)
            SHOAL_TRY(quantize_row(weight, rect, strip, i, n + i, out));
    }
    return SHOAL_OK;
}

static shoal_status read_at_load(const shoal_manifest *manifest, const shoal_weight *weight,
                                 const shoal_rect *rect, shoal_canonical *out)
{
    shoal_status st = SHOAL_OK;
    shoal_arena *scratch = NULL;
    row_strip strip = {0};
    void *at = NULL;
    whole_groups(weight, rect, &strip.begin, &strip.end);
    const uint64_t span = (uint64_t)(strip.end - strip.begin);
    if (out->n == 0 || span == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &scratch));
    SHOAL_TRY_GOTO(shoal_arena_array(scratch, ROWS_STEP * span,
                                     shoal_dtype_bytes(weight->parts[0]->dtype), &at),
                   done);
    strip.stored = at;
    SHOAL_TRY_GOTO(shoal_arena_array(scratch, span, sizeof(float), &at), done);
    strip.row = at;
    SHOAL_TRY_GOTO(shoal_arena_array(scratch, span, 1, &at), done);
    strip.codes = at;
    st = quantize_rows(manifest, weight, rect, &strip, out);
done:
    shoal_arena_destroy(scratch);
    return st;
}

const shoal_dialect shoal_dialect_at_load = {
    .name = "dense, quantized at load",
    .parts = {"weight"},
    .describe = describe,
    .read_bytes = at_load_bytes,
    .read = read_at_load,
};

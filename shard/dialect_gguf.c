/* shard/dialect_gguf.c - linears of a GGUF file: MODULE.weight in rows of blocks.
 *
 * A rectangle reads the whole blocks that its inputs touch and keeps what it wants of them: a cut
 * between workers may fall inside a block, then both read it. Types differ from tensor to tensor;
 * what a block holds is shard/gguf_block.h. Also the embedding of such files, whose rows are held
 * as the fp32 numbers that they stand for. Plain types (F32, F16, BF16) are dialect_dense.c's. */
#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/gguf_block.h"

static bool claims(const shoal_module *module)
{
    const shoal_tensor *weight = shoal_module_tensor(module, "weight");
    return weight && weight->block_type != 0;
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *tensor = weight->parts[0];
    SHOAL_TRY(shoal_dialect_expect(module, "weight", tensor, module->n, module->k));
    const shoal_gguf_block *block = shoal_gguf_block_find(tensor->block_type);
    if (!block)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s has type %s; %s are read", tensor->name,
                          shoal_tensor_type_name(tensor), shoal_gguf_block_list());
    weight->kind = block->kind;
    weight->dtype = SHOAL_F16;
    weight->group = block->group;
    weight->super_group = shoal_gguf_block_has_steps(block) ? block->elements : 0;
    weight->zero_const = block->zero;
    weight->has_mins = block->has_mins;
    weight->bits = block->bits;
    weight->source_group = block->group;
    return SHOAL_OK;
}

static shoal_status describe_rows(const shoal_module *module, shoal_weight *weight)
{
    SHOAL_TRY(describe(module, weight));
    weight->kind = SHOAL_WEIGHT_FLOAT;
    weight->dtype = SHOAL_F32;
    weight->group = weight->k;
    weight->super_group = 0;
    weight->zero_const = 0;
    weight->has_mins = false;
    return SHOAL_OK;
}

/* Blocks of a row that a rectangle touches. */
typedef struct {
    const shoal_gguf_block *form;
    int64_t begin, end;
} span;

static span span_of(const shoal_weight *weight, const shoal_rect *rect)
{
    const shoal_gguf_block *form = shoal_gguf_block_find(weight->parts[0]->block_type);
    if (shoal_rect_empty(rect))
        return (span){form, 0, 0};
    return (span){form, rect->k_begin / form->elements,
                  shoal_ceil_div(rect->k_end, form->elements)};
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const span s = span_of(weight, rect);
    return (uint64_t)(rect->n_end - rect->n_begin) * (uint64_t)(s.end - s.begin) *
           (uint64_t)s.form->bytes;
}

static shoal_status decode(const shoal_weight *weight, const span *s, const uint8_t *stored,
                           int64_t row, int64_t block, shoal_gguf_content *out)
{
    s->form->decode(stored, out);
    const float min = s->form->has_mins ? out->min : 0;
    if (isfinite(out->scale) && isfinite(min))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s: row %lld, block %lld has a %s that is %s",
                      weight->parts[0]->name, (long long)row, (long long)block,
                      isfinite(min) ? "scale" : "minimum",
                      isnan(out->scale) || isnan(min) ? "NaN" : "infinite");
}

/* Scale and minimum of group g of a block. */
static float scale_of(const span *s, const shoal_gguf_content *from, int64_t g)
{
    return shoal_gguf_block_has_steps(s->form) ? from->scale * (float)from->steps[g] : from->scale;
}

static float min_of(const span *s, const shoal_gguf_content *from, int64_t g)
{
    return shoal_gguf_block_has_steps(s->form) ? from->min * (float)from->min_steps[g] : from->min;
}

/* What row `n` of `out` wants of block `block`. */
static void place(const shoal_rect *rect, const span *s, int64_t block,
                  const shoal_gguf_content *from, int64_t n, shoal_canonical *out)
{
    const int64_t first = block * s->form->elements, group = s->form->group;
    const int64_t begin = shoal_max_i64(first, rect->k_begin);
    const int64_t end = shoal_min_i64(first + s->form->elements, rect->k_end);
    if (out->codes)
        memcpy(out->codes + n * out->k + (begin - rect->k_begin), from->codes + (begin - first),
               (size_t)(end - begin));
    for (int64_t g = begin / group; g < shoal_ceil_div(end, group); g++) {
        const int64_t at = n * out->groups + g - rect->k_begin / group, in = g - first / group;
        out->scales[at] = scale_of(s, from, in);
        if (out->mins)
            out->mins[at] = min_of(s, from, in);
        if (out->steps)
            out->steps[at] = from->steps[in];
        if (out->min_steps)
            out->min_steps[at] = from->min_steps[in];
    }
    if (!out->supers)
        return;
    out->super_scales[n * out->supers + block - s->begin] = from->scale;
    if (out->super_mins)
        out->super_mins[n * out->supers + block - s->begin] = from->min;
}

/* The same as numbers. */
static void place_values(const shoal_rect *rect, const span *s, int64_t block,
                         const shoal_gguf_content *from, int64_t n, shoal_canonical *out)
{
    float *row = (float *)out->dense + n * out->k;
    const int64_t first = block * s->form->elements;
    for (int64_t k = shoal_max_i64(first, rect->k_begin);
         k < shoal_min_i64(first + s->form->elements, rect->k_end); k++) {
        const int64_t g = (k - first) / s->form->group;
        const float code = (float)(from->codes[k - first] - s->form->zero);
        const float scale = scale_of(s, from, g);
        row[k - rect->k_begin] =
            s->form->has_mins ? fmaf(code, scale, min_of(s, from, g)) : code * scale;
    }
}

static shoal_status read_gguf(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_tensor *tensor = weight->parts[0];
    const span s = span_of(weight, rect);
    const int64_t blocks = s.end - s.begin, bytes = s.form->bytes;
    const int64_t row = weight->row_offset + rect->n_begin;
    void *staged;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)out->n, (uint64_t)(blocks * bytes),
                                &staged));
    const uint8_t *at = staged;
    shoal_status st = shoal_checkpoint_read_matrix(manifest->checkpoint, tensor, row, out->n,
                                                   (uint64_t)(s.begin * bytes),
                                                   (uint64_t)(blocks * bytes), staged);
    for (int64_t n = 0; n < out->n && st == SHOAL_OK; n++)
        for (int64_t b = s.begin; b < s.end && st == SHOAL_OK; b++, at += bytes) {
            shoal_gguf_content block;
            st = decode(weight, &s, at, row + n, b, &block);
            if (st == SHOAL_OK && out->dense)
                place_values(rect, &s, b, &block, n, out);
            else if (st == SHOAL_OK)
                place(rect, &s, b, &block, n, out);
        }
    shoal_free(staged);
    return st;
}

const shoal_dialect shoal_dialect_gguf = {
    .name = "gguf",
    .parts = {"weight"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_gguf,
};

const shoal_dialect shoal_dialect_gguf_rows = {
    .name = "gguf",
    .parts = {"weight"},
    .describe = describe_rows,
    .read_bytes = read_bytes,
    .read = read_gguf,
};

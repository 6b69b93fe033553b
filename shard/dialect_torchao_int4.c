/* shard/dialect_torchao_int4.c - torchao weights packed to 4 bits: w = (u - 8) * scale + zero, the
 * zero a number and not a code.
 *
 *     _weight_qdata (packed)           _weight_scale_and_zero [groups][n][2]
 *     _weight_packed_weight (packed)   the same                                 AQT of 2024-25
 *     _weight_qdata (nibbles)          _weight_scale, _weight_zero_point [groups][n]
 *
 * The class says the packing (shard/int4_packing.h), except that a CPU's depends on the CPU: the
 * config names it, or the codes tell it, or the weight is refused. n and k of the parts may be
 * padded. act_pre_scale multiplies the input. */
#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/cpu_packing.h"
#include "shard/dialect.h"

enum { CODES, SCALE_AND_ZERO, SCALE, ZERO_POINT, PRE_SCALE };

static const struct {
    const char *type, *part;
    shoal_int4_order order; /* SHOAL_INT4_UNKNOWN: as the CPU had it */
} classes[] = {
    {"Int4TilePackedTo4dTensor", "_weight_qdata", SHOAL_INT4_TILED},
    {"Int4OpaqueTensor", "_weight_qdata", SHOAL_INT4_UNKNOWN},
    {"Int4Tensor", "_weight_qdata", SHOAL_INT4_NIBBLES},
    {"TensorCoreTiledAQTTensorImpl", "_weight_packed_weight", SHOAL_INT4_TILED},
    {"Int4CPUAQTTensorImpl", "_weight_packed_weight", SHOAL_INT4_UNKNOWN},
};

/* Index into classes, or -1. */
static int class_of(const shoal_module *module, const char *part)
{
    const shoal_tensor *codes = shoal_module_tensor(module, part);
    for (int i = 0; codes && codes->subclass && i < (int)(sizeof classes / sizeof classes[0]); i++)
        if (strcmp(classes[i].part, part) == 0 &&
            strcmp(classes[i].type, codes->subclass->type) == 0)
            return i;
    return -1;
}

static bool claims(const shoal_module *module)
{
    return class_of(module, "_weight_qdata") >= 0;
}

static bool claims_aqt(const shoal_module *module)
{
    return class_of(module, "_weight_packed_weight") >= 0;
}

/* ---- description ---- */

/* The config's word counts, then what the codes say. */
static shoal_status find_order(const shoal_module *module, const shoal_tensor *codes,
                               shoal_int4_order *out)
{
    const int index = class_of(module, codes->name + strlen(module->name) + 1);
    *out = classes[index].order;
    if (*out == SHOAL_INT4_UNKNOWN)
        *out = module->quantization->cpu_order;
    if (*out == SHOAL_INT4_UNKNOWN)
        *out = (shoal_int4_order)shoal_checkpoint_cpu_order(module->checkpoint);
    if (*out != SHOAL_INT4_UNKNOWN)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "tensor %s was packed for a CPU in an order that the file does not name and "
                      "its codes do not tell; set \"int4_cpu_layout\" in the quantization_config "
                      "(with \"quant_method\": \"torchao\") of config.json to avx512, avx2 or "
                      "generic, as the CPU was that packed it",
                      codes->name);
}

static shoal_status check_codes(const shoal_module *module, const shoal_tensor *codes,
                                shoal_int4_order order, shoal_int4_packing *packing)
{
    char shape[160];
    if (shoal_int4_packing_of(codes, order, module->n, module->k, packing))
        return SHOAL_OK;
    shoal_tensor_shape_text(codes, shape, sizeof shape);
    return shoal_fail(SHOAL_ERR_DATA,
                      "tensor %s is %s %s; that is not how %lld outputs and %lld inputs of 4 bits "
                      "are packed (%s)",
                      codes->name, shoal_dtype_name(codes->dtype), shape, (long long)module->n,
                      (long long)module->k, shoal_int4_order_name(order));
}

/* A float tensor of scales: [groups][n], with a last dimension of 2 where `pairs`. */
static shoal_status check_scales(const shoal_module *module, const shoal_tensor *tensor,
                                 const char *suffix, int64_t groups, int64_t n, bool pairs)
{
    char shape[160];
    if (!tensor)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s.%s is missing", module->name, suffix);
    SHOAL_TRY(shoal_dialect_expect_float(tensor));
    if (tensor->rank == (pairs ? 3 : 2) && tensor->shape[0] == groups && tensor->shape[1] == n &&
        (!pairs || tensor->shape[2] == 2))
        return SHOAL_OK;
    shoal_tensor_shape_text(tensor, shape, sizeof shape);
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s has shape %s; [%lld, %lld%s] is right",
                      tensor->name, shape, (long long)groups, (long long)n, pairs ? ", 2" : "");
}

/* Inputs of a group: what the class says, else as many as make the scales' number of groups. */
static shoal_status find_group(const shoal_weight *weight, int64_t k, int64_t *out)
{
    const shoal_tensor_subclass *s = weight->parts[CODES]->subclass;
    const shoal_tensor *scales =
        weight->parts[SCALE_AND_ZERO] ? weight->parts[SCALE_AND_ZERO] : weight->parts[SCALE];
    const int64_t groups = scales && scales->rank > 0 ? scales->shape[0] : 0;
    *out = s->block[1] ? s->block[1] : groups > 0 ? k / groups : 0;
    if (*out > 0 && k % *out == 0 && (s->block[0] == 0 || s->block[0] == 1))
        return SHOAL_OK;
    return shoal_fail(
        SHOAL_ERR_DATA, "tensor %s: a scale per block of [%lld, %lld] in %lld inputs is not read",
        weight->parts[CODES]->name, (long long)s->block[0], (long long)*out, (long long)k);
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor *const *parts = weight->parts;
    shoal_int4_packing packing;
    shoal_int4_order order;
    int64_t group;
    SHOAL_TRY(find_order(module, parts[CODES], &order));
    SHOAL_TRY(check_codes(module, parts[CODES], order, &packing));
    SHOAL_TRY(find_group(weight, packing.k, &group));
    const bool pairs = order != SHOAL_INT4_NIBBLES;
    const int64_t groups = packing.k / group;
    if (pairs) {
        SHOAL_TRY(check_scales(module, parts[SCALE_AND_ZERO], "_weight_scale_and_zero", groups,
                               packing.n, true));
    } else {
        SHOAL_TRY(check_scales(module, parts[SCALE], "_weight_scale", groups, packing.n, false));
        SHOAL_TRY(check_scales(module, parts[ZERO_POINT], "_weight_zero_point", groups, packing.n,
                               false));
    }
    weight->variant = (int)order;
    weight->kind = SHOAL_WEIGHT_INT4;
    weight->dtype = parts[pairs ? SCALE_AND_ZERO : SCALE]->dtype;
    weight->group = shoal_min_i64(group, module->k);
    weight->has_mins = true;
    weight->zero_const = 8;
    weight->bits = 4;
    weight->source_group = (int)group;
    if (parts[PRE_SCALE])
        return shoal_dialect_set_input_scale(module, parts[PRE_SCALE], true, weight);
    return SHOAL_OK;
}

/* ---- reading ---- */

static shoal_int4_packing packing_of(const shoal_weight *weight)
{
    const shoal_tensor *codes = weight->parts[CODES];
    const shoal_tensor *scales =
        weight->parts[weight->variant == SHOAL_INT4_NIBBLES ? SCALE : SCALE_AND_ZERO];
    const bool tiled = weight->variant == SHOAL_INT4_TILED;
    const int64_t inner = tiled ? 2 * codes->shape[3] : 0;
    return (shoal_int4_packing){(shoal_int4_order)weight->variant, scales->shape[1],
                                tiled ? codes->shape[1] * inner * 16 : weight->k, inner};
}

static shoal_int4_range range_of(const shoal_weight *weight, const shoal_rect *rect)
{
    return (shoal_int4_range){weight->row_offset + rect->n_begin, weight->row_offset + rect->n_end,
                              rect->k_begin, rect->k_end};
}

/* Scale and zero together, as they are stored. */
static uint64_t pair_bytes(const shoal_weight *weight)
{
    if (weight->variant == SHOAL_INT4_NIBBLES)
        return shoal_dtype_bytes(weight->parts[SCALE]->dtype) +
               shoal_dtype_bytes(weight->parts[ZERO_POINT]->dtype);
    return 2 * shoal_dtype_bytes(weight->parts[SCALE_AND_ZERO]->dtype);
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const shoal_int4_packing packing = packing_of(weight);
    const shoal_int4_range range = range_of(weight, rect);
    return shoal_int4_read_bytes(&packing, &range) + (uint64_t)(rect->n_end - rect->n_begin) *
                                                         (uint64_t)shoal_rect_groups(weight, rect) *
                                                         pair_bytes(weight);
}

/* Numbers [groups][n][each] of a rectangle; number `which` of each goes to out[n][groups]. */
static shoal_status take_numbers(const shoal_weight *weight, const shoal_tensor *tensor,
                                 const shoal_rect *rect, const uint8_t *stored, int64_t each,
                                 int64_t which, float *out)
{
    const int64_t n = rect->n_end - rect->n_begin, groups = shoal_rect_groups(weight, rect);
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < n; i++) {
            const float value =
                shoal_load_f32(stored, tensor->dtype, (size_t)((g * n + i) * each + which));
            if (!isfinite(value))
                return shoal_fail(SHOAL_ERR_DATA,
                                  "tensor %s: the %s of group %lld, output %lld is "
                                  "%s",
                                  tensor->name, which ? "zero" : "number",
                                  (long long)(shoal_rect_group_begin(weight, rect) + g),
                                  (long long)(weight->row_offset + rect->n_begin + i),
                                  isnan(value) ? "NaN" : "infinite");
            out[i * groups + g] = value;
        }
    return SHOAL_OK;
}

/* Read [groups][n][each] of a rectangle and spread it over one or two arrays. */
static shoal_status read_numbers(const shoal_manifest *manifest, const shoal_weight *weight,
                                 const shoal_tensor *tensor, const shoal_rect *rect, int64_t each,
                                 float *const out[2])
{
    const uint64_t size = shoal_dtype_bytes(tensor->dtype) * (uint64_t)each;
    const uint64_t columns = (uint64_t)(rect->n_end - rect->n_begin);
    const uint64_t groups = (uint64_t)shoal_rect_groups(weight, rect);
    const uint64_t stride = (uint64_t)tensor->shape[1] * size;
    const uint64_t first = (uint64_t)shoal_rect_group_begin(weight, rect) * stride +
                           (uint64_t)(weight->row_offset + rect->n_begin) * size;
    void *stored;
    if (columns == 0 || groups == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, groups * columns, size, &stored));
    shoal_status st = shoal_checkpoint_read_rows(manifest->checkpoint, tensor, first,
                                                 columns * size, stride, groups, stored);
    for (int64_t i = 0; i < each && st == SHOAL_OK; i++)
        st = take_numbers(weight, tensor, rect, stored, each, i, out[i]);
    shoal_free(stored);
    return st;
}

static shoal_status read(const shoal_manifest *manifest, const shoal_weight *weight,
                         const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_int4_packing packing = packing_of(weight);
    const shoal_int4_range range = range_of(weight, rect);
    float *const pair[2] = {out->scales, out->mins}, *const zeros[2] = {out->mins, NULL};
    if (out->codes)
        SHOAL_TRY(shoal_int4_read(manifest->checkpoint, weight->parts[CODES], &packing, &range,
                                  out->codes));
    if (weight->variant != SHOAL_INT4_NIBBLES)
        return read_numbers(manifest, weight, weight->parts[SCALE_AND_ZERO], rect, 2, pair);
    SHOAL_TRY(read_numbers(manifest, weight, weight->parts[SCALE], rect, 1, pair));
    return read_numbers(manifest, weight, weight->parts[ZERO_POINT], rect, 1, zeros);
}

#define INT4_ROW(row_name, row_claims, first_part)                                                 \
    {                                                                                              \
        .name = row_name,                                                                          \
        .parts = {first_part, "_weight_scale_and_zero", "_weight_scale", "_weight_zero_point",     \
                  "_weight_act_pre_scale"},                                                        \
        .claims = row_claims, .describe = describe, .read_bytes = read_bytes, .read = read         \
    }

const shoal_dialect shoal_dialect_torchao_int4 = INT4_ROW("torchao int4", claims, "_weight_qdata");
const shoal_dialect shoal_dialect_torchao_int4_aqt =
    INT4_ROW("torchao int4 (AQT)", claims_aqt, "_weight_packed_weight");

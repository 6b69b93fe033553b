#include "shard/plain_codes.h"

#include <math.h>

#include "proto/bytes.h"

static int64_t groups_of(const shoal_weight *weight)
{
    return shoal_ceil_div(weight->k, weight->group);
}

/* [n][groups]; one group may also be [n]. */
static shoal_status check_parameters(const shoal_module *module, const shoal_weight *weight,
                                     const shoal_tensor *tensor, const char *suffix)
{
    const int64_t groups = groups_of(weight);
    if (tensor && groups == 1 && tensor->rank == 1 && tensor->shape[0] == module->n)
        return SHOAL_OK;
    return shoal_dialect_expect(module, suffix, tensor, module->n, groups);
}

static bool is_zero_dtype(shoal_dtype dtype)
{
    return dtype == SHOAL_I8 || dtype == SHOAL_I32 || dtype == SHOAL_I64 ||
           shoal_dtype_is_float(dtype);
}

static shoal_status check_zeros(const shoal_module *module, const shoal_plain_codes *plain,
                                const shoal_weight *weight)
{
    const shoal_tensor *zeros = plain->zeros;
    if (!zeros)
        return SHOAL_OK;
    SHOAL_TRY(check_parameters(module, weight, zeros, "zero point"));
    if (plain->zeros_are_minimums)
        return shoal_dialect_expect_float(zeros);
    if (is_zero_dtype(zeros->dtype))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "tensor %s has dtype %s; zero points are I8, I32, I64 or "
                      "floats",
                      zeros->name, shoal_dtype_name(zeros->dtype));
}

shoal_status shoal_plain_describe(const shoal_module *module, int64_t group, shoal_weight *weight)
{
    const shoal_plain_codes plain = weight->dialect->plain(weight);
    const shoal_tensor *codes = plain.codes;
    weight->group = group;
    SHOAL_TRY(shoal_dialect_expect(module, "codes", codes, module->n, module->k));
    if (codes->dtype != SHOAL_I8 && codes->dtype != SHOAL_U8 && codes->dtype != SHOAL_I32)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s has dtype %s; expected I8, U8 or I32",
                          codes->name, shoal_dtype_name(codes->dtype));
    SHOAL_TRY(check_parameters(module, weight, plain.scales, "scale"));
    SHOAL_TRY(shoal_dialect_expect_float(plain.scales));
    SHOAL_TRY(check_zeros(module, &plain, weight));
    weight->kind = plain.top > 15 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
    weight->dtype = plain.scales->dtype;
    weight->has_mins = plain.zeros && plain.zeros_are_minimums;
    weight->has_zeros = plain.zeros && !plain.zeros_are_minimums;
    weight->zero_const = weight->has_mins ? plain.middle : plain.shift;
    weight->bits = plain.top > 15 ? 8 : 4;
    weight->source_group = group == weight->k ? -1 : (int)group;
    return SHOAL_OK;
}

uint64_t shoal_plain_read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const shoal_plain_codes plain = weight->dialect->plain(weight);
    const uint64_t rows = (uint64_t)(rect->n_end - rect->n_begin);
    const uint64_t groups = (uint64_t)shoal_rect_groups(weight, rect);
    const uint64_t each = shoal_dtype_bytes(plain.scales->dtype) +
                          (plain.zeros ? shoal_dtype_bytes(plain.zeros->dtype) : 0);
    const uint64_t inputs = (uint64_t)(rect->k_end - rect->k_begin);
    return rows * (inputs * shoal_dtype_bytes(plain.codes->dtype) + groups * each);
}

/* ---- codes ---- */

static int stored_code(const uint8_t *stored, shoal_dtype dtype, int64_t i)
{
    switch (dtype) {
    case SHOAL_I8: return (int8_t)stored[i];
    case SHOAL_U8: return stored[i];
    default: return (int32_t)shoal_load_le32(stored + 4 * i);
    }
}

/* From `stored` (which may be out->codes itself, where a code is a byte) to canonical codes. */
static shoal_status shift_codes(const shoal_weight *weight, const shoal_plain_codes *plain,
                                const shoal_rect *rect, const uint8_t *stored, shoal_canonical *out)
{
    const int low = -plain->shift, high = plain->top - plain->shift;
    if (plain->codes->dtype == SHOAL_I8 && low == -128 && high == 127) {
        for (int64_t i = 0; i < out->n * out->k; i++)
            out->codes[i] = stored[i] ^ 0x80;
        return SHOAL_OK;
    }
    for (int64_t i = 0; i < out->n * out->k; i++) {
        const int code = stored_code(stored, plain->codes->dtype, i);
        if (code < low || code > high)
            return shoal_fail(SHOAL_ERR_DATA,
                              "tensor %s: the code of row %lld, input %lld is %d; %d to %d are "
                              "right",
                              plain->codes->name,
                              (long long)(weight->row_offset + rect->n_begin + i / out->k),
                              (long long)(rect->k_begin + i % out->k), code, low, high);
        out->codes[i] = (uint8_t)(code + plain->shift);
    }
    return SHOAL_OK;
}

/* Bytes are read where the codes go, wider codes aside. */
static shoal_status read_codes(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_plain_codes *plain, const shoal_rect *rect,
                               shoal_canonical *out)
{
    const uint64_t size = shoal_dtype_bytes(plain->codes->dtype);
    void *block = NULL;
    if (size > 1)
        SHOAL_TRY(
            shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)(out->n * out->k), size, &block));
    uint8_t *stored = block ? block : out->codes;
    shoal_status st = shoal_checkpoint_read_matrix(
        manifest->checkpoint, plain->codes, weight->row_offset + rect->n_begin, out->n,
        (uint64_t)rect->k_begin * size, (uint64_t)out->k * size, stored);
    if (st == SHOAL_OK)
        st = shift_codes(weight, plain, rect, stored, out);
    shoal_free(block);
    return st;
}

/* ---- zeros ---- */

/* A zero point as a number, whatever holds it. */
static double zero_of(const uint8_t *stored, shoal_dtype dtype, int64_t i)
{
    switch (dtype) {
    case SHOAL_I8: return (int8_t)stored[i];
    case SHOAL_I32: return (int32_t)shoal_load_le32(stored + 4 * i);
    case SHOAL_I64: return (double)(int64_t)shoal_load_le64(stored + 8 * i);
    default: return (double)shoal_load_f32(stored, dtype, (size_t)i);
    }
}

/* Zero points lie near the codes: far away they would be no zero points. */
static shoal_status read_zeros(const shoal_manifest *manifest, const shoal_weight *weight,
                               const shoal_plain_codes *plain, const shoal_rect *rect,
                               shoal_canonical *out)
{
    const int64_t count = out->n * out->groups;
    uint8_t *stored = NULL;
    const int64_t size = (int64_t)shoal_dtype_bytes(plain->zeros->dtype);
    shoal_status st = shoal_dialect_stage(
        manifest, plain->zeros, weight->row_offset + rect->n_begin, out->n,
        shoal_rect_group_begin(weight, rect) * size, out->groups * size, &stored);
    for (int64_t i = 0; i < count && st == SHOAL_OK; i++) {
        const double zero = zero_of(stored, plain->zeros->dtype, i) + plain->shift;
        if (zero >= 0 && zero <= plain->top && zero == floor(zero))
            out->zeros[i] = (int16_t)zero;
        else
            st = shoal_fail(SHOAL_ERR_DATA,
                            "tensor %s: the zero point of row %lld, group %lld is %g; a whole "
                            "number from %d to %d is right",
                            plain->zeros->name,
                            (long long)(weight->row_offset + rect->n_begin + i / out->groups),
                            (long long)(shoal_rect_group_begin(weight, rect) + i % out->groups),
                            zero - plain->shift, -plain->shift, plain->top - plain->shift);
    }
    shoal_free(stored);
    return st;
}

shoal_status shoal_plain_read(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_plain_codes plain = weight->dialect->plain(weight);
    if (out->codes)
        SHOAL_TRY(read_codes(manifest, weight, &plain, rect, out));
    SHOAL_TRY(shoal_dialect_read_row_scales(manifest, weight, plain.scales, rect, out->scales));
    if (out->mins)
        return shoal_dialect_read_row_scales(manifest, weight, plain.zeros, rect, out->mins);
    if (out->zeros)
        return read_zeros(manifest, weight, &plain, rect, out);
    return SHOAL_OK;
}

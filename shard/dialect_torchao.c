/* shard/dialect_torchao.c - torchao weights of a byte (or an int32) per code: int8 and, unpacked,
 * int4.
 *
 *     _weight_qdata [n][k]      _weight_scale [n][groups]   _weight_zero_point     Int8Tensor, ...
 *     _weight_int_data [n][k]   the same, or [n] for one group                     AQT of 2024-25
 *
 * Codes are signed or as quant_min says; the zero point is an integer, or (domain FLOAT) a number
 * that is added. act_pre_scale multiplies the input. */
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/plain_codes.h"

enum { CODES, SCALE, ZERO_POINT, PRE_SCALE };

static bool is_class(const shoal_module *module, const char *part, const char *const *types)
{
    const shoal_tensor *codes = shoal_module_tensor(module, part);
    for (int i = 0; codes && codes->subclass && types[i]; i++)
        if (strcmp(codes->subclass->type, types[i]) == 0)
            return true;
    return false;
}

static bool claims(const shoal_module *module)
{
    static const char *const types[] = {"Int8Tensor", "IntxUnpackedToInt8Tensor", NULL};
    return is_class(module, "_weight_qdata", types);
}

static bool claims_aqt(const shoal_module *module)
{
    static const char *const types[] = {"PlainAQTTensorImpl", NULL};
    return is_class(module, "_weight_int_data", types);
}

/* Stored codes lie in quant_min .. quant_max, or are any int8. */
static shoal_plain_codes plain_of(const shoal_weight *weight)
{
    const shoal_tensor_subclass *s = weight->parts[CODES]->subclass;
    const int64_t low = s->has_range ? s->quant_min : -128,
                  high = s->has_range ? s->quant_max : 127;
    const bool few = high - low <= 15;
    shoal_plain_codes plain = {
        .codes = weight->parts[CODES],
        .scales = weight->parts[SCALE],
        .zeros = s->domain == SHOAL_ZERO_DOMAIN_NONE ? NULL : weight->parts[ZERO_POINT],
        .shift = (int16_t)(few ? -low : 128),
        .top = few ? 15 : 255,
        .zeros_are_minimums = s->domain == SHOAL_ZERO_DOMAIN_FLOAT,
    };
    plain.middle = (int16_t)((low + high + 1) / 2 + plain.shift);
    return plain;
}

static shoal_status check_range(const shoal_module *module, const shoal_tensor_subclass *s)
{
    if (!s->has_range || (s->quant_min >= -128 && s->quant_max <= 255 &&
                          s->quant_min < s->quant_max && s->quant_max - s->quant_min <= 255 &&
                          (s->quant_max <= 127 || s->quant_max - s->quant_min <= 15)))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s.weight: codes from %lld to %lld; int8 and 4 bits are "
                      "read",
                      module->name, (long long)s->quant_min, (long long)s->quant_max);
}

static shoal_status check_subclass(const shoal_module *module, const shoal_tensor_subclass *s)
{
    if (s->rank != 0 && (s->shape[0] != module->n || s->shape[1] != module->k))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s is said to be [%lld, %lld]; config.json makes it [%lld, %lld]",
                          s->name, (long long)s->shape[0], (long long)s->shape[1],
                          (long long)module->n, (long long)module->k);
    if (s->block[1] != 0 && (s->block[0] != 1 || s->block[1] > module->k))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: a scale per block of [%lld, %lld]; one row and at most %lld "
                          "inputs are read",
                          s->name, (long long)s->block[0], (long long)s->block[1],
                          (long long)module->k);
    return SHOAL_OK;
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_tensor_subclass *s = weight->parts[CODES]->subclass;
    const int64_t group = s->block[1] ? s->block[1] : module->k;
    SHOAL_TRY(check_subclass(module, s));
    SHOAL_TRY(check_range(module, s));
    SHOAL_TRY(shoal_plain_describe(module, group, weight));
    weight->per_token = s->per_token && weight->kind == SHOAL_WEIGHT_INT8 && group == module->k &&
                        !weight->has_mins;
    if (weight->parts[PRE_SCALE])
        return shoal_dialect_set_input_scale(module, weight->parts[PRE_SCALE], true, weight);
    return SHOAL_OK;
}

const shoal_dialect shoal_dialect_torchao = {
    .name = "torchao",
    .parts = {"_weight_qdata", "_weight_scale", "_weight_zero_point", "_weight_act_pre_scale"},
    .claims = claims,
    .plain = plain_of,
    .describe = describe,
    .read_bytes = shoal_plain_read_bytes,
    .read = shoal_plain_read,
};

const shoal_dialect shoal_dialect_torchao_aqt = {
    .name = "torchao (AQT)",
    .parts = {"_weight_int_data", "_weight_scale", "_weight_zero_point", "_weight_act_pre_scale"},
    .claims = claims_aqt,
    .plain = plain_of,
    .describe = describe,
    .read_bytes = shoal_plain_read_bytes,
    .read = shoal_plain_read,
};

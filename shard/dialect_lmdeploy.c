/* shard/dialect_lmdeploy.c - lmdeploy's SmoothQuant: int8 with a scale per output channel, made for
 * int8 activations with a scale per token.
 *
 *     weight [n][k] I8   scale [n][1]   migration_scale [k] (not upstream)
 *
 * Checkpoints of upstream have folded the smoothing into the norms and weights and hold nothing of
 * it. Some exporters keep it beside: migration_scale divides the input, because the norm before was
 * left as it was (shard/quantization.h: another meaning must be said in the config). */
#include "shard/dialect.h"
#include "shard/plain_codes.h"

enum { WEIGHT, SCALE, MIGRATION };

/* Old checkpoints have no quantization config: then the tensors alone say it. */
static bool claims(const shoal_module *module)
{
    const shoal_method method = module->quantization->method;
    const shoal_tensor *weight = shoal_module_tensor(module, "weight");
    return (method == SHOAL_METHOD_SMOOTH_QUANT ||
            (method == SHOAL_METHOD_NONE && shoal_module_tensor(module, "scale"))) &&
           weight && weight->dtype == SHOAL_I8;
}

static shoal_plain_codes plain_of(const shoal_weight *weight)
{
    return (shoal_plain_codes){
        .codes = weight->parts[WEIGHT], .scales = weight->parts[SCALE], .shift = 128, .top = 255};
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_input_rule rule = module->quantization->input_rule;
    SHOAL_TRY(shoal_plain_describe(module, module->k, weight));
    weight->per_token = true;
    if (weight->parts[MIGRATION] && rule != SHOAL_INPUT_IGNORE)
        SHOAL_TRY(shoal_dialect_set_input_scale(module, weight->parts[MIGRATION],
                                                rule == SHOAL_INPUT_MULTIPLY, weight));
    return SHOAL_OK;
}

const shoal_dialect shoal_dialect_lmdeploy = {
    .name = "lmdeploy",
    .parts = {"weight", "scale", "migration_scale"},
    .claims = claims,
    .plain = plain_of,
    .describe = describe,
    .read_bytes = shoal_plain_read_bytes,
    .read = shoal_plain_read,
};

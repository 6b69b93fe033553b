/* shard/quantization_compressed.c - what a compressed-tensors config says (llm-compressor).
 *
 * Modules that `ignore` names stay dense. Of the others a group's targets name some by exact name,
 * some by "re:PATTERN", and all linears by the class "Linear"; the more exact target counts, among
 * equals the first. What no target names is dense too. */
#include <string.h>

#include "proto/log.h"
#include "shard/quantization_method.h"

static bool is_null(const json_t *value)
{
    return !value || json_is_null(value);
}

static shoal_status want_object(const json_t *value, const char *name)
{
    if (json_is_object(value))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is not an object", name);
}

/* "re:PATTERN", the class of all linears, or a module. */
static shoal_rule_kind kind_of(const char **target)
{
    if (strncmp(*target, "re:", 3) == 0) {
        *target += 3;
        return SHOAL_RULE_PATTERN;
    }
    return strcmp(*target, "Linear") == 0 ? SHOAL_RULE_ALL : SHOAL_RULE_EXACT;
}

/* A rule for each string of a list that is of this kind; -1: of any. */
static shoal_status add_rules(shoal_quantization_config *out, const json_t *list, const char *name,
                              int kind, const shoal_quantization *says)
{
    if (!is_null(list) && !json_is_array(list))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is not a list", name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *target = json_string_value(json_array_get(list, i));
        if (!target)
            return shoal_fail(SHOAL_ERR_DATA,
                              SHOAL_QUANTIZATION_WHERE ": %s holds no string at %zu", name, i);
        const shoal_rule_kind found = kind_of(&target);
        if (kind < 0 || found == (shoal_rule_kind)kind)
            SHOAL_TRY(shoal_quantization_add_rule(out, found, target, says));
    }
    return SHOAL_OK;
}

/* ---- a group ---- */

/* strategy and group_size; without a strategy the size tells. */
static shoal_status parse_strategy(const json_t *weights, shoal_quantization *q)
{
    const char *strategy = NULL;
    SHOAL_TRY(shoal_quantization_string(weights, "strategy", NULL, &strategy));
    q->group = -1;
    if (!is_null(json_object_get(weights, "group_size")))
        SHOAL_TRY(shoal_quantization_group(weights, &q->group));
    if (!strategy)
        return SHOAL_OK;
    if (strcmp(strategy, "group") == 0 && q->group > 0)
        return SHOAL_OK;
    if (strcmp(strategy, "channel") == 0 || strcmp(strategy, "tensor") == 0) {
        q->group = -1;
        return SHOAL_OK;
    }
    return shoal_fail(SHOAL_ERR_DATA,
                      SHOAL_QUANTIZATION_WHERE
                      ": weights with strategy '%s'%s; group with a group_size, channel and tensor "
                      "are read",
                      strategy, q->group < 0 ? " and no group_size" : "");
}

/* How codes are stored: the group's own format, or that of the whole file. */
static shoal_status parse_format(const json_t *root, const json_t *group, shoal_quantization *q)
{
    const char *format = NULL;
    SHOAL_TRY(shoal_quantization_string(root, "format", NULL, &format));
    SHOAL_TRY(shoal_quantization_string(group, "format", NULL, &format));
    if (!format)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": format is missing");
    if (strcmp(format, "pack-quantized") == 0)
        q->layout = SHOAL_LAYOUT_PACKED;
    else if (strcmp(format, "int-quantized") == 0)
        q->layout = SHOAL_LAYOUT_BYTES;
    else
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": compressed-tensors format '%s'; "
                                                   "pack-quantized and int-quantized are read",
                          format);
    return SHOAL_OK;
}

static shoal_status parse_weights(const json_t *weights, shoal_quantization *q)
{
    const char *type = "int";
    SHOAL_TRY(want_object(weights, "weights"));
    SHOAL_TRY(shoal_quantization_string(weights, "type", NULL, &type));
    if (strcmp(type, "int") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": weights of type '%s'; int is read", type);
    SHOAL_TRY(shoal_quantization_int(weights, "num_bits", NULL, &q->bits));
    if (q->bits != 8 && (q->bits != 4 || q->layout != SHOAL_LAYOUT_PACKED))
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": %s weights of %d bits; %s read",
                          q->layout == SHOAL_LAYOUT_PACKED ? "pack-quantized" : "int-quantized",
                          q->bits, q->layout == SHOAL_LAYOUT_PACKED ? "4 and 8 are" : "8 is");
    q->symmetric = true;
    SHOAL_TRY(shoal_quantization_bool(weights, "symmetric", &q->symmetric));
    return parse_strategy(weights, q);
}

/* Do activations ask for one int8 scale per token, found while running? Scales that are stored are
 * not used. */
static shoal_status parse_activations(const json_t *activations, shoal_quantization *q)
{
    const char *type = "int", *strategy = "tensor";
    int bits;
    if (is_null(activations))
        return SHOAL_OK;
    SHOAL_TRY(want_object(activations, "input_activations"));
    SHOAL_TRY(shoal_quantization_string(activations, "type", NULL, &type));
    SHOAL_TRY(shoal_quantization_string(activations, "strategy", NULL, &strategy));
    SHOAL_TRY(shoal_quantization_int(activations, "num_bits", NULL, &bits));
    const bool dynamic = json_is_true(json_object_get(activations, "dynamic"));
    if (!dynamic)
        shoal_log(SHOAL_LOG_INFO, "model",
                  SHOAL_QUANTIZATION_WHERE ": stored scales of activations are not used");
    q->per_token = dynamic && bits == 8 && strcmp(type, "int") == 0 &&
                   strcmp(strategy, "token") == 0 && q->bits == 8 && q->group < 0;
    return SHOAL_OK;
}

static shoal_status parse_group(const json_t *root, const json_t *group, shoal_quantization *q)
{
    const json_t *weights = json_object_get(group, "weights");
    SHOAL_TRY(want_object(group, "a config group"));
    if (is_null(weights)) {
        *q = shoal_quantization_dense();
        return SHOAL_OK;
    }
    q->method = SHOAL_METHOD_COMPRESSED;
    SHOAL_TRY(parse_format(root, group, q));
    SHOAL_TRY(parse_weights(weights, q));
    return parse_activations(json_object_get(group, "input_activations"), q);
}

/* ---- the whole ---- */

/* Sparse weights and rotated ones need more than their codes. */
static shoal_status check_extras(const json_t *root)
{
    const char *sparse = "dense";
    SHOAL_TRY(shoal_quantization_string(json_object_get(root, "sparsity_config"), "format", NULL,
                                        &sparse));
    if (strcmp(sparse, "dense") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": weights are sparse ('%s'), which is not read",
                          sparse);
    const json_t *transform = json_object_get(root, "transform_config");
    if (json_object_size(json_object_get(transform, "config_groups")) > 0)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE
                          ": transform_config rotates activations, which is not read");
    return SHOAL_OK;
}

/* Rules for the targets of one kind, group by group. */
static shoal_status add_groups(const json_t *root, int kind, shoal_quantization_config *out)
{
    const char *name;
    json_t *group;
    json_object_foreach(json_object_get(root, "config_groups"), name, group)
    {
        shoal_quantization says = {.method = SHOAL_METHOD_NONE};
        SHOAL_TRY(parse_group(root, group, &says));
        SHOAL_TRY(add_rules(out, json_object_get(group, "targets"), "targets", kind, &says));
        if (out->general.bits == 0 && says.method != SHOAL_METHOD_NONE)
            out->general = says;
    }
    return SHOAL_OK;
}

shoal_status shoal_quantization_parse_compressed(const json_t *root, shoal_quantization_config *out)
{
    const shoal_quantization dense = shoal_quantization_dense();
    SHOAL_TRY(want_object(json_object_get(root, "config_groups"), "config_groups"));
    SHOAL_TRY(check_extras(root));
    SHOAL_TRY(add_rules(out, json_object_get(root, "ignore"), "ignore", -1, &dense));
    SHOAL_TRY(add_groups(root, SHOAL_RULE_EXACT, out));
    SHOAL_TRY(add_groups(root, SHOAL_RULE_PATTERN, out));
    SHOAL_TRY(add_groups(root, SHOAL_RULE_ALL, out));
    return shoal_quantization_add_rule(out, SHOAL_RULE_ALL, NULL, &dense);
}

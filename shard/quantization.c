/* shard/quantization.c - see quantization.h. */
#include "shard/quantization.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/log.h"

#define WHERE "quantization config"

const char *shoal_method_name(shoal_method method)
{
    static const char *const names[] = {"none", "gptq", "awq"};
    return names[method];
}

/* The value of the first of two names that is present and not null. */
static const json_t *value_of(const json_t *object, const char *name, const char *other,
                              const char **found)
{
    const char *const names[] = {name, other};
    for (int i = 0; i < 2; i++) {
        const json_t *value = names[i] ? json_object_get(object, names[i]) : NULL;
        if (value && !json_is_null(value)) {
            *found = names[i];
            return value;
        }
    }
    return NULL;
}

/* *out keeps its default when neither name is there. */
static shoal_status get_bool(const json_t *object, const char *name, bool *out)
{
    const char *found;
    const json_t *value = value_of(object, name, NULL, &found);
    if (!value)
        return SHOAL_OK;
    if (!json_is_boolean(value))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s is not true or false", found);
    *out = json_is_true(value);
    return SHOAL_OK;
}

static shoal_status get_int(const json_t *object, const char *name, const char *other, int *out)
{
    const char *found;
    const json_t *value = value_of(object, name, other, &found);
    if (!value)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s is missing", name);
    if (!json_is_integer(value))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s is not an integer", found);
    const json_int_t number = json_integer_value(value);
    if (number < INT_MIN || number > INT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s is %lld", found, (long long)number);
    *out = (int)number;
    return SHOAL_OK;
}

static shoal_status get_string(const json_t *object, const char *name, const char *other,
                               const char **out)
{
    const char *found;
    const json_t *value = value_of(object, name, other, &found);
    if (!value)
        return SHOAL_OK;
    if (!json_is_string(value))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s is not a string", found);
    *out = json_string_value(value);
    return SHOAL_OK;
}

/* Does one "gptqmodel:x.y.z" say 0.9.0 or later? */
static bool is_gptqmodel_09(const json_t *entry)
{
    static const char head[] = "gptqmodel:";
    const char *text = json_string_value(entry);
    int major, minor;
    if (!text || strncasecmp(text, head, sizeof head - 1) != 0)
        return false;
    if (sscanf(text + sizeof head - 1, "%5d.%5d", &major, &minor) != 2)
        return false;
    return major > 0 || minor >= 9;
}

static bool written_by_gptqmodel_09(const json_t *meta)
{
    const json_t *quantizer = json_object_get(meta, "quantizer");
    if (json_is_string(quantizer))
        return is_gptqmodel_09(quantizer);
    for (size_t i = 0; i < json_array_size(quantizer); i++)
        if (is_gptqmodel_09(json_array_get(quantizer, i)))
            return true;
    return false;
}

/* "dynamic" maps regular expressions to overrides. "-:" leaves modules dense, which their tensors
 * show anyway; an override that changes how codes are stored is refused. */
static shoal_status check_dynamic(const json_t *root)
{
    static const char *const storage[] = {"bits", "group_size", "sym", "desc_act"};
    const char *rule;
    json_t *change;
    json_object_foreach(json_object_get(root, "dynamic"), rule, change)
    {
        if (strncmp(rule, "-:", 2) == 0)
            continue;
        for (size_t i = 0; i < sizeof storage / sizeof storage[0]; i++) {
            const json_t *value = json_object_get(change, storage[i]);
            if (value && !json_equal(value, json_object_get(root, storage[i])))
                return shoal_fail(SHOAL_ERR_DATA,
                                  WHERE ": the dynamic rule '%s' changes %s for some modules, "
                                        "which is not read",
                                  rule, storage[i]);
        }
    }
    return SHOAL_OK;
}

static shoal_status get_group(const json_t *root, shoal_quantization *q)
{
    SHOAL_TRY(get_int(root, "group_size", "q_group_size", &q->group));
    if (q->group != -1 && q->group <= 0)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": group_size is %d; it is -1 or positive",
                          q->group);
    return SHOAL_OK;
}

static shoal_status parse_gptq(const json_t *root, shoal_quantization *q)
{
    const char *format = "gptq", *pack = "int32";
    bool marlin = false, static_groups = false;
    const json_t *meta = json_object_get(root, "meta");
    SHOAL_TRY(get_int(root, "bits", "w_bit", &q->bits));
    if (q->bits != 2 && q->bits != 3 && q->bits != 4 && q->bits != 8)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": gptq with %d bits; 2, 3, 4 and 8 are read",
                          q->bits);
    SHOAL_TRY(get_group(root, q));
    SHOAL_TRY(get_string(root, "checkpoint_format", "format", &format));
    SHOAL_TRY(get_string(root, "pack_dtype", NULL, &pack));
    SHOAL_TRY(get_bool(root, "is_marlin_format", &marlin));
    if (marlin)
        format = "marlin";
    if (strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          WHERE ": gptq stored as '%s'; 'gptq' and 'gptq_v2' are read", format);
    if (strcmp(pack, "int32") != 0)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": pack_dtype is '%s'; int32 is read", pack);
    if (!json_object_get(root, "sym"))
        shoal_log(SHOAL_LOG_WARN, "model", WHERE ": sym is missing, taken as true");
    q->symmetric = true;
    SHOAL_TRY(get_bool(root, "sym", &q->symmetric));
    SHOAL_TRY(get_bool(root, "desc_act", &q->desc_act));
    SHOAL_TRY(get_bool(meta, "static_groups", &static_groups));
    SHOAL_TRY(get_bool(root, "static_groups", &static_groups));
    q->act_order = q->desc_act && q->group > 0 && !static_groups;
    if (strcmp(format, "gptq_v2") == 0)
        q->zeros = SHOAL_ZEROS_PLAIN;
    else
        q->zeros = q->bits != 3 && written_by_gptqmodel_09(meta) ? SHOAL_ZEROS_MINUS_ONE_WORD
                                                                 : SHOAL_ZEROS_MINUS_ONE;
    return check_dynamic(root);
}

static shoal_status parse_awq(const json_t *root, shoal_quantization *q)
{
    const char *version = "gemm";
    SHOAL_TRY(get_int(root, "bits", "w_bit", &q->bits));
    if (q->bits != 4)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": awq with %d bits; 4 are read", q->bits);
    SHOAL_TRY(get_group(root, q));
    SHOAL_TRY(get_string(root, "checkpoint_format", "format", &version));
    SHOAL_TRY(get_string(root, "version", NULL, &version));
    if (strcasecmp(version, "gemm") != 0)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": awq version '%s'; 'gemm' is read", version);
    q->zeros = SHOAL_ZEROS_PLAIN;
    return check_dynamic(root);
}

/* Files older than the key quant_method: AWQ named its kernel version, GPTQ did not. */
static shoal_status find_method(const json_t *root, const char **method)
{
    *method = NULL;
    SHOAL_TRY(get_string(root, "quant_method", "method", method));
    if (*method)
        return SHOAL_OK;
    if (json_object_get(root, "version") || json_object_get(root, "q_group_size"))
        *method = "awq";
    else if (json_object_get(root, "bits"))
        *method = "gptq";
    else
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": quant_method is missing");
    return SHOAL_OK;
}

static shoal_status parse_root(const json_t *root, shoal_quantization *q)
{
    const char *method;
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": not a JSON object");
    SHOAL_TRY(find_method(root, &method));
    if (strcasecmp(method, "gptq") == 0) {
        q->method = SHOAL_METHOD_GPTQ;
        return parse_gptq(root, q);
    }
    if (strcasecmp(method, "awq") == 0) {
        q->method = SHOAL_METHOD_AWQ;
        return parse_awq(root, q);
    }
    return shoal_fail(SHOAL_ERR_DATA, WHERE ": method '%s'; gptq and awq are read", method);
}

shoal_status shoal_quantization_parse(const char *json, shoal_quantization *out)
{
    shoal_quantization q = {.method = SHOAL_METHOD_NONE};
    if (json) {
        json_error_t error;
        json_t *root = json_loads(json, 0, &error);
        if (!root)
            return shoal_fail(SHOAL_ERR_DATA, WHERE ": %s", error.text);
        const shoal_status st = parse_root(root, &q);
        json_decref(root);
        SHOAL_TRY(st);
    }
    *out = q;
    return SHOAL_OK;
}

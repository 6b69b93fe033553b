/* shard/quantization.c - see quantization.h. */
#include "shard/quantization.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "shard/quantization_method.h"

/* One row per name of quant_method; the first row of a method is its name. */
static const struct {
    const char *name; /* any case */
    shoal_method method;
    shoal_quantization_parse_fn *parse;
} methods[] = {
    {"gptq", SHOAL_METHOD_GPTQ, shoal_quantization_parse_gptq},
    {"awq", SHOAL_METHOD_AWQ, shoal_quantization_parse_awq},
    {"torchao", SHOAL_METHOD_TORCHAO, shoal_quantization_parse_torchao},
    {"smooth_quant", SHOAL_METHOD_SMOOTH_QUANT, shoal_quantization_parse_lmdeploy},
};

#define METHODS (sizeof methods / sizeof methods[0])

const char *shoal_method_name(shoal_method method)
{
    for (size_t i = 0; i < METHODS; i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "none";
}

/* Files older than the key quant_method: AWQ named its kernel version, GPTQ did not. */
static shoal_status find_method(const json_t *root, const char **method)
{
    *method = NULL;
    SHOAL_TRY(shoal_quantization_string(root, "quant_method", "method", method));
    if (*method)
        return SHOAL_OK;
    if (json_object_get(root, "version") || json_object_get(root, "q_group_size"))
        *method = "awq";
    else if (json_object_get(root, "bits"))
        *method = "gptq";
    else
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": quant_method is missing");
    return SHOAL_OK;
}

static shoal_status unknown_method(const char *method)
{
    char names[256] = "";
    size_t at = 0;
    for (size_t i = 0; i < METHODS && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s",
                               i == 0             ? ""
                               : i + 1 == METHODS ? " and "
                                                  : ", ",
                               methods[i].name);
    return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": method '%s'; %s are read", method,
                      names);
}

static shoal_status parse_root(const json_t *root, shoal_quantization *q)
{
    const char *method;
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": not a JSON object");
    SHOAL_TRY(find_method(root, &method));
    for (size_t i = 0; i < METHODS; i++) {
        if (strcasecmp(method, methods[i].name) != 0)
            continue;
        q->method = methods[i].method;
        return methods[i].parse(root, q);
    }
    return unknown_method(method);
}

shoal_status shoal_quantization_parse(const char *json, shoal_quantization *out)
{
    shoal_quantization q = {.method = SHOAL_METHOD_NONE};
    if (json) {
        json_error_t error;
        json_t *root = json_loads(json, 0, &error);
        if (!root)
            return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s", error.text);
        const shoal_status st = parse_root(root, &q);
        json_decref(root);
        SHOAL_TRY(st);
    }
    *out = q;
    return SHOAL_OK;
}

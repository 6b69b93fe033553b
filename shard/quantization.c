/* shard/quantization.c - see quantization.h. */
#include "shard/quantization.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/arena.h"
#include "shard/quantization_method.h"

/* One row per name of quant_method; the first row of a method is its name. */
static const struct {
    const char *name; /* any case */
    shoal_method method;
    shoal_quantization_parse_fn *parse;
} methods[] = {
    {"gptq", SHOAL_METHOD_GPTQ, shoal_quantization_parse_gptq},
    {"marlin", SHOAL_METHOD_GPTQ, shoal_quantization_parse_marlin},
    {"awq", SHOAL_METHOD_AWQ, shoal_quantization_parse_awq},
    {"compressed-tensors", SHOAL_METHOD_COMPRESSED, shoal_quantization_parse_compressed},
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

static shoal_status parse_root(const json_t *root, shoal_quantization_config *config)
{
    const char *method;
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": not a JSON object");
    SHOAL_TRY(find_method(root, &method));
    for (size_t i = 0; i < METHODS; i++) {
        if (strcasecmp(method, methods[i].name) != 0)
            continue;
        config->general.method = methods[i].method;
        return methods[i].parse(root, config);
    }
    return unknown_method(method);
}

static shoal_status parse_text(const char *json, shoal_quantization_config *config)
{
    json_error_t error;
    json_t *root = json_loads(json, 0, &error);
    if (!root)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s", error.text);
    const shoal_status st = parse_root(root, config);
    json_decref(root);
    return st;
}

shoal_status shoal_quantization_open(const char *json, shoal_quantization_config **out)
{
    shoal_quantization_config *config;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof *config, &block));
    config = block;
    *config = (shoal_quantization_config){.steps = SHOAL_NAME_PATTERN_STEPS};
    const shoal_status st = json ? parse_text(json, config) : SHOAL_OK;
    if (st == SHOAL_OK)
        *out = config;
    else
        shoal_quantization_close(config);
    return st;
}

void shoal_quantization_close(shoal_quantization_config *config)
{
    if (!config)
        return;
    for (int i = 0; i < config->count; i++) {
        shoal_free(config->rules[i].text);
        shoal_name_pattern_free(config->rules[i].pattern);
    }
    shoal_free(config->rules);
    shoal_free(config);
}

static shoal_status grow_rules(shoal_quantization_config *config)
{
    void *rules = config->rules;
    const int room = config->room ? 2 * config->room : 16;
    if (config->count < config->room)
        return SHOAL_OK;
    if (config->count == SHOAL_QUANTIZATION_RULES_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": more than %d rules for single modules",
                          SHOAL_QUANTIZATION_RULES_MAX);
    SHOAL_TRY(
        shoal_realloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)room, sizeof *config->rules, &rules));
    config->rules = rules;
    config->room = room;
    return SHOAL_OK;
}

shoal_status shoal_quantization_add_rule(shoal_quantization_config *config, shoal_rule_kind kind,
                                         const char *text, const shoal_quantization *says)
{
    shoal_quantization_rule rule = {.kind = kind, .says = *says};
    SHOAL_TRY(grow_rules(config));
    if (kind == SHOAL_RULE_PATTERN)
        SHOAL_TRY(shoal_name_pattern_compile(text, &rule.pattern));
    if (kind == SHOAL_RULE_EXACT)
        SHOAL_TRY(shoal_strdup(SHOAL_MEM_CHECKPOINT, text, &rule.text));
    config->rules[config->count++] = rule;
    return SHOAL_OK;
}

const shoal_quantization *shoal_quantization_general(const shoal_quantization_config *config)
{
    return &config->general;
}

static shoal_status is_for(shoal_quantization_config *config, const shoal_quantization_rule *rule,
                           const char *module, bool *out)
{
    *out = rule->kind == SHOAL_RULE_ALL || (rule->text && strcmp(rule->text, module) == 0);
    if (!rule->pattern)
        return SHOAL_OK;
    return shoal_name_pattern_matches(rule->pattern, module, &config->steps, out);
}

shoal_status shoal_quantization_of(shoal_quantization_config *config, const char *module,
                                   const shoal_quantization **out)
{
    for (int i = 0; i < config->count; i++) {
        bool found = false;
        SHOAL_TRY(is_for(config, &config->rules[i], module, &found));
        if (found) {
            *out = &config->rules[i].says;
            return SHOAL_OK;
        }
    }
    *out = &config->general;
    return SHOAL_OK;
}

shoal_status shoal_quantization_parse(const char *json, shoal_quantization *out)
{
    shoal_quantization_config *config;
    SHOAL_TRY(shoal_quantization_open(json, &config));
    *out = config->general;
    shoal_quantization_close(config);
    return SHOAL_OK;
}

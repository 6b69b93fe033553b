/* shard/quantization_method.h - one method of quantization: how its config is read. Not included
 * outside shard/quantization*.c.
 *
 * To add one: an entry of shoal_method, a file shard/quantization_NAME.c with its parse function,
 * declared here, and a row in the table of shard/quantization.c. */
#ifndef SHOAL_SHARD_QUANTIZATION_METHOD_H
#define SHOAL_SHARD_QUANTIZATION_METHOD_H

#include <jansson.h>

#include "shard/name_pattern.h"
#include "shard/quantization.h"

/* Rules in a config at most. */
#define SHOAL_QUANTIZATION_RULES_MAX 4096

/* Which modules a rule is for. */
typedef enum {
    SHOAL_RULE_EXACT,   /* the module of this name */
    SHOAL_RULE_PATTERN, /* modules whose name this pattern matches */
    SHOAL_RULE_ALL,
} shoal_rule_kind;

typedef struct {
    shoal_rule_kind kind;
    char *text;                  /* EXACT, else NULL */
    shoal_name_pattern *pattern; /* PATTERN, else NULL */
    shoal_quantization says;
} shoal_quantization_rule;

struct shoal_quantization_config {
    shoal_quantization general;
    shoal_quantization_rule *rules; /* the first that is for a module counts; none: general */
    int count, room;
    int64_t steps; /* that patterns may still take */
};

/* Fill out->general, whose method is set and whose other fields are 0, and add rules, from the
 * config object. SHOAL_ERR_DATA names the key. */
typedef shoal_status shoal_quantization_parse_fn(const json_t *root,
                                                 shoal_quantization_config *out);

shoal_quantization_parse_fn shoal_quantization_parse_gptq;
shoal_quantization_parse_fn shoal_quantization_parse_marlin;
shoal_quantization_parse_fn shoal_quantization_parse_awq;
shoal_quantization_parse_fn shoal_quantization_parse_compressed;
shoal_quantization_parse_fn shoal_quantization_parse_lmdeploy;
shoal_quantization_parse_fn shoal_quantization_parse_torchao;

/* Add a rule after those that are there; `text` (NULL for ALL) is copied or compiled. */
SHOAL_MUST_USE shoal_status shoal_quantization_add_rule(shoal_quantization_config *config,
                                                        shoal_rule_kind kind, const char *text,
                                                        const shoal_quantization *says);

/* What a rule says of a module that stays dense. */
static inline shoal_quantization shoal_quantization_dense(void)
{
    return (shoal_quantization){.method = SHOAL_METHOD_NONE, .left_out = true};
}

/* What parsers share. A key has up to two names (old and new; `other` may be NULL); null counts as
 * absent. Absent is an error for an integer; a boolean or string then keeps its default in *out.
 * A string belongs to the object. */
#define SHOAL_QUANTIZATION_WHERE "quantization config"

SHOAL_MUST_USE shoal_status shoal_quantization_bool(const json_t *object, const char *name,
                                                    bool *out);
SHOAL_MUST_USE shoal_status shoal_quantization_int(const json_t *object, const char *name,
                                                   const char *other, int *out);
SHOAL_MUST_USE shoal_status shoal_quantization_string(const json_t *object, const char *name,
                                                      const char *other, const char **out);

/* group_size: -1 or positive. */
SHOAL_MUST_USE shoal_status shoal_quantization_group(const json_t *root, int *out);

/* What "dynamic" (GPTQModel) changes for some modules: `says` is what holds in general, `change`
 * the object of one rule. */
typedef shoal_status shoal_quantization_override_fn(const json_t *root, const json_t *change,
                                                    shoal_quantization *says);

/* A rule for each of "dynamic", in its order: "-:PATTERN" leaves modules dense, "+:PATTERN" or
 * PATTERN overrides. */
SHOAL_MUST_USE shoal_status
shoal_quantization_add_dynamic(const json_t *root, shoal_quantization_config *config,
                               shoal_quantization_override_fn *override);

#endif

/* shard/quantization_fields.c - fields of a quantization config. See quantization_method.h. */
#include <limits.h>
#include <string.h>

#include "shard/quantization_method.h"
#include "shard/quoted.h"

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
shoal_status shoal_quantization_bool(const json_t *object, const char *name, bool *out)
{
    const char *found;
    const json_t *value = value_of(object, name, NULL, &found);
    if (!value)
        return SHOAL_OK;
    if (!json_is_boolean(value))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is not true or false",
                          found);
    *out = json_is_true(value);
    return SHOAL_OK;
}

shoal_status shoal_quantization_int(const json_t *object, const char *name, const char *other,
                                    int *out)
{
    const char *found;
    const json_t *value = value_of(object, name, other, &found);
    if (!value)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is missing", name);
    if (!json_is_integer(value))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is not an integer", found);
    const json_int_t number = json_integer_value(value);
    if (number < INT_MIN || number > INT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is %lld", found,
                          (long long)number);
    *out = (int)number;
    return SHOAL_OK;
}

shoal_status shoal_quantization_string(const json_t *object, const char *name, const char *other,
                                       const char **out)
{
    const char *found;
    const json_t *value = value_of(object, name, other, &found);
    if (!value)
        return SHOAL_OK;
    if (!json_is_string(value))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s is not a string", found);
    if (shoal_has_control(json_string_value(value)))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": %s holds a control character",
                          found);
    *out = json_string_value(value);
    return SHOAL_OK;
}

shoal_status shoal_quantization_group(const json_t *root, int *out)
{
    int group;
    SHOAL_TRY(shoal_quantization_int(root, "group_size", "q_group_size", &group));
    if (group != -1 && group <= 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": group_size is %d; it is -1 or positive",
                          group);
    *out = group;
    return SHOAL_OK;
}

shoal_status shoal_quantization_add_dynamic(const json_t *root, shoal_quantization_config *config,
                                            shoal_quantization_override_fn *override)
{
    const json_t *rules = json_object_get(root, "dynamic");
    const char *rule;
    json_t *change;
    if (rules && !json_is_null(rules) && !json_is_object(rules))
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": dynamic is not an object");
    json_object_foreach((json_t *)rules, rule, change)
    {
        const bool leaves_out = strncmp(rule, "-:", 2) == 0;
        const bool prefixed = leaves_out || strncmp(rule, "+:", 2) == 0;
        shoal_quantization says = leaves_out ? shoal_quantization_dense() : config->general;
        if (!leaves_out && !json_is_object(change))
            return shoal_fail(SHOAL_ERR_DATA,
                              SHOAL_QUANTIZATION_WHERE ": a rule of dynamic is not an object");
        if (!leaves_out)
            SHOAL_TRY(override(root, change, &says));
        SHOAL_TRY(
            shoal_quantization_add_rule(config, SHOAL_RULE_PATTERN, rule + 2 * prefixed, &says));
    }
    return SHOAL_OK;
}

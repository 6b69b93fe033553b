/* shard/quantization_fields.c - fields of a quantization config. See quantization_method.h. */
#include <limits.h>
#include <string.h>

#include "shard/quantization_method.h"

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

/* "dynamic" maps regular expressions to overrides. "-:" leaves modules dense, which their tensors
 * show anyway; an override that changes how codes are stored is refused. */
shoal_status shoal_quantization_check_dynamic(const json_t *root)
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
                                  SHOAL_QUANTIZATION_WHERE
                                  ": the dynamic rule '%s' changes %s for some modules, "
                                  "which is not read",
                                  rule, storage[i]);
        }
    }
    return SHOAL_OK;
}

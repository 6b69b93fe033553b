#include "shard/config_fields.h"

#include <jansson.h>

static const json_t *member(const shoal_config *config, const char *key)
{
    const json_t *value = config->object ? json_object_get(config->object, key) : NULL;
    return json_is_null(value) ? NULL : value;
}

static shoal_status wrong_type(const shoal_config *config, const char *key, const char *wanted)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s%s is not %s", config->where, config->inside, key,
                      wanted);
}

bool shoal_config_has(const shoal_config *config, const char *key)
{
    return member(config, key) != NULL;
}

bool shoal_config_is_null(const shoal_config *config, const char *key)
{
    return config->object && json_is_null(json_object_get(config->object, key));
}

shoal_status shoal_config_require(const shoal_config *config, const char *key)
{
    if (member(config, key))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s%s is missing", config->where, config->inside, key);
}

shoal_status shoal_config_int(const shoal_config *config, const char *key, int64_t low,
                              int64_t high, int64_t *out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_integer(value))
        return wrong_type(config, key, "a whole number");
    const int64_t number = json_integer_value(value);
    if (number < low || number > high)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s%s is %lld; it must be %lld to %lld",
                          config->where, config->inside, key, (long long)number, (long long)low,
                          (long long)high);
    *out = number;
    return SHOAL_OK;
}

shoal_status shoal_config_real(const shoal_config *config, const char *key, double low, double high,
                               double *out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_number(value))
        return wrong_type(config, key, "a number");
    const double number = json_number_value(value);
    if (!(number >= low && number <= high))
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s%s is %g; it must be %g to %g", config->where,
                          config->inside, key, number, low, high);
    *out = number;
    return SHOAL_OK;
}

shoal_status shoal_config_soft_cap(const shoal_config *config, const char *key, double absent,
                                   double *out)
{
    *out = shoal_config_is_null(config, key) ? 0 : absent;
    return shoal_config_real(config, key, 1e-3, 1e6, out);
}

shoal_status shoal_config_bool(const shoal_config *config, const char *key, bool *out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_boolean(value))
        return wrong_type(config, key, "true or false");
    *out = json_is_true(value);
    return SHOAL_OK;
}

shoal_status shoal_config_text(const shoal_config *config, const char *key, const char **out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_string(value))
        return wrong_type(config, key, "a string");
    *out = json_string_value(value);
    return SHOAL_OK;
}

shoal_status shoal_config_array(const shoal_config *config, const char *key, const json_t **out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_array(value))
        return wrong_type(config, key, "a list");
    *out = value;
    return SHOAL_OK;
}

shoal_status shoal_config_object(const shoal_config *config, const char *key, const json_t **out)
{
    const json_t *value = member(config, key);
    if (!value)
        return SHOAL_OK;
    if (!json_is_object(value))
        return wrong_type(config, key, "an object");
    *out = value;
    return SHOAL_OK;
}

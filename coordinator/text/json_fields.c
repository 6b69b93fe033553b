#include "coordinator/text/json_fields.h"

#include <string.h>

json_t *shoal_json_member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static shoal_status wrong(const char *where, const char *key, const char *what)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: \"%s\" must be %s", where, key, what);
}

shoal_status shoal_json_bool(const json_t *object, const char *where, const char *key,
                             bool fallback, bool *out)
{
    json_t *value = shoal_json_member(object, key);
    if (value && !json_is_boolean(value))
        return wrong(where, key, "true or false");
    *out = value ? json_is_true(value) : fallback;
    return SHOAL_OK;
}

shoal_status shoal_json_array(const json_t *object, const char *where, const char *key,
                              json_t **out)
{
    json_t *value = shoal_json_member(object, key);
    if (!json_is_array(value))
        return wrong(where, key, "an array");
    *out = value;
    return SHOAL_OK;
}

shoal_status shoal_json_object(const json_t *object, const char *where, const char *key,
                               json_t **out)
{
    json_t *value = shoal_json_member(object, key);
    if (!json_is_object(value))
        return wrong(where, key, "an object");
    *out = value;
    return SHOAL_OK;
}

shoal_status shoal_json_integer(const json_t *object, const char *where, const char *key,
                                json_int_t *out)
{
    json_t *value = shoal_json_member(object, key);
    if (!json_is_integer(value))
        return wrong(where, key, "an integer");
    *out = json_integer_value(value);
    return SHOAL_OK;
}

shoal_status shoal_json_text(const json_t *object, const char *where, const char *key,
                             const char **text, size_t *bytes)
{
    json_t *value = shoal_json_member(object, key);
    if (value && !json_is_string(value))
        return wrong(where, key, "a string");
    *text = value ? json_string_value(value) : NULL;
    *bytes = value ? json_string_length(value) : 0;
    return SHOAL_OK;
}

shoal_status shoal_json_name(const json_t *object, const char *where, const char *key,
                             const char **name)
{
    const char *text;
    size_t bytes;
    SHOAL_TRY(shoal_json_text(object, where, key, &text, &bytes));
    if (!text || strlen(text) != bytes)
        return wrong(where, key, "a name");
    *name = text;
    return SHOAL_OK;
}

#include "coordinator/serve/api_fields.h"

#include <inttypes.h>
#include <stdio.h>

#include "coordinator/text/json_fields.h"
#include "proto/log.h"

const char *shoal_field_name(const shoal_fields *fields, const char *key,
                             char out[SHOAL_FIELD_NAME_MAX])
{
    snprintf(out, SHOAL_FIELD_NAME_MAX, "%s%s", fields->inside, key);
    return out;
}

bool shoal_field_refuse(shoal_api_error *error, const char *code, const char *name,
                        const char *must)
{
    return shoal_api_refuse(error, 400, code, name, "'%s' %s.", name, must);
}

bool shoal_api_refuse_status(shoal_api_error *error, shoal_status st)
{
    if (st == SHOAL_ERR_TEMPORARY) {
        error->retry_after = error->status ? error->retry_after : 1;
        return shoal_api_refuse(error, 503, "out_of_memory", NULL, "Not enough memory just now.");
    }
    shoal_log(SHOAL_LOG_ERROR, "request", "%s", shoal_error_text());
    return shoal_api_refuse(error, 500, "internal_error", NULL, "Internal error.");
}

static bool wrong(const shoal_fields *fields, const char *key, const char *code, const char *must)
{
    char name[SHOAL_FIELD_NAME_MAX];
    return shoal_field_refuse(fields->error, code, shoal_field_name(fields, key, name), must);
}

static const char *must_be(json_type type)
{
    switch (type) {
    case JSON_ARRAY: return "must be a list";
    case JSON_OBJECT: return "must be an object";
    case JSON_STRING: return "must be a string";
    case JSON_INTEGER: return "must be an integer";
    case JSON_REAL: return "must be a number";
    default: return "must be true or false";
    }
}

bool shoal_field_value(const shoal_fields *fields, const char *key, json_type type, json_t **out)
{
    json_t *value = shoal_json_member(fields->object, key);
    if (value && json_typeof(value) != type)
        return wrong(fields, key, SHOAL_CODE_TYPE, must_be(type));
    *out = value;
    return true;
}

bool shoal_field_required(const shoal_fields *fields, const char *key, json_type type, json_t **out)
{
    if (!shoal_json_member(fields->object, key))
        return wrong(fields, key, SHOAL_CODE_MISSING, "is required");
    return shoal_field_value(fields, key, type, out);
}

bool shoal_field_bool(const shoal_fields *fields, const char *key, bool *out)
{
    const json_t *value = shoal_json_member(fields->object, key);
    if (value && !json_is_boolean(value))
        return wrong(fields, key, SHOAL_CODE_TYPE, must_be(JSON_TRUE));
    if (value)
        *out = json_is_true(value);
    return true;
}

bool shoal_field_integer(const shoal_fields *fields, const char *key, int64_t low, int64_t high,
                         int64_t *out)
{
    char must[80];
    json_t *value;
    if (!shoal_field_value(fields, key, JSON_INTEGER, &value))
        return false;
    if (!value)
        return true;
    const int64_t x = json_integer_value(value);
    if (x < low || x > high) {
        if (high == INT64_MAX)
            snprintf(must, sizeof must, "must be at least %" PRId64, low);
        else
            snprintf(must, sizeof must, "must be between %" PRId64 " and %" PRId64, low, high);
        return wrong(fields, key, SHOAL_CODE_VALUE, must);
    }
    *out = x;
    return true;
}

bool shoal_field_number(const shoal_fields *fields, const char *key, shoal_field_range range,
                        float *out)
{
    char must[80];
    const json_t *value = shoal_json_member(fields->object, key);
    if (!value)
        return true;
    if (!json_is_number(value))
        return wrong(fields, key, SHOAL_CODE_TYPE, must_be(JSON_REAL));
    const double x = json_number_value(value);
    if (!(x >= range.low && x <= range.high)) {
        snprintf(must, sizeof must, "must be between %g and %g", range.low, range.high);
        return wrong(fields, key, SHOAL_CODE_VALUE, must);
    }
    if (range.above && (double)(float)x <= range.low) {
        snprintf(must, sizeof must, "must be above %g", range.low);
        return wrong(fields, key, SHOAL_CODE_VALUE, must);
    }
    *out = (float)x;
    return true;
}

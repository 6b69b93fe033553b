#include "coordinator/serve/api_body.h"

#include <stdio.h>

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/known_fields.h"
#include "coordinator/text/utf8.h"
#include "proto/bytes.h"

/* Where nesting passes the limit; `bytes` when it never does. Without a stack, so that the parser,
 * which has one, is never asked to go deep. */
static size_t too_deep_at(const char *body, size_t bytes)
{
    bool quoted = false;
    int depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        const char c = body[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > SHOAL_API_DEPTH_MAX)
            return i;
        else if (!quoted && (c == ']' || c == '}'))
            depth--;
    }
    return bytes;
}

static const char *what_is_wrong(const json_error_t *why)
{
    switch (json_error_code(why)) {
    case json_error_premature_end_of_input: return "unexpected end of text";
    case json_error_duplicate_key: return "a key that was there before";
    case json_error_numeric_overflow: return "a number that is too large";
    case json_error_null_byte_in_key: return "U+0000 in a key";
    case json_error_end_of_input_expected: return "more text behind the end";
    default: return "unexpected text";
    }
}

static json_t *refuse(shoal_api_error *error, const char *what, size_t at)
{
    shoal_api_refuse(error, 400, NULL, NULL, "The request body is not valid JSON: %s at byte %zu.",
                     what, at);
    return NULL;
}

json_t *shoal_api_parse_json(const char *body, size_t bytes, shoal_api_error *error)
{
    json_error_t why;
    const size_t valid = shoal_utf8_valid(body, bytes);
    if (valid != bytes)
        return refuse(error, "no UTF-8", valid);
    const size_t deep = too_deep_at(body, bytes);
    if (deep != bytes) {
        char what[64];
        snprintf(what, sizeof what, "more than %d levels", SHOAL_API_DEPTH_MAX);
        return refuse(error, what, deep);
    }
    json_t *json = json_loadb(body, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (json)
        return json;
    if (json_error_code(&why) == json_error_out_of_memory) {
        shoal_api_refuse_status(error, SHOAL_ERR_TEMPORARY);
        return NULL;
    }
    const bool ended = json_error_code(&why) == json_error_premature_end_of_input;
    return refuse(error, what_is_wrong(&why), ended ? bytes : (size_t)why.position);
}

static bool check_model(const shoal_api_context *context, const shoal_fields *fields)
{
    json_t *model;
    if (!shoal_field_value(fields, "model", JSON_STRING, &model))
        return false;
    if (!model)
        return true;
    if (shoal_text_is(json_string_value(model), json_string_length(model), context->model_name))
        return true;
    return shoal_api_refuse(fields->error, 404, "model_not_found", "model",
                            "The model '%s' does not exist.", json_string_value(model));
}

json_t *shoal_api_open_body(const shoal_api_context *context, unsigned kind, const char *body,
                            size_t bytes, shoal_api_error *error)
{
    json_t *json = shoal_api_parse_json(body, bytes, error);
    const shoal_fields fields = {json, "", error};
    if (!json)
        return NULL;
    if (json_is_object(json)) {
        if (check_model(context, &fields) && shoal_known_fields_check(json, kind, error))
            return json;
    } else {
        shoal_api_refuse(error, 400, SHOAL_CODE_TYPE, NULL, "The request body must be an object.");
    }
    json_decref(json);
    return NULL;
}

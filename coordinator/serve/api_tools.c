#include "coordinator/serve/api_tools.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/serve/api_format.h"
#include "coordinator/serve/call_schema.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/speech_formats.h"

/* "tools[127].function." */
#define INSIDE_MAX 48

/* ---- what is offered ---- */

/* Arguments are an object; a schema that leaves that open is taken to say so. */
static bool check_parameters(const shoal_fields *function, const json_t *parameters)
{
    char field[SHOAL_FIELD_NAME_MAX];
    const char *type = json_string_value(json_object_get(parameters, "type"));
    if (!type || strcmp(type, "object") == 0)
        return true;
    return shoal_field_refuse(function->error, SHOAL_CODE_VALUE,
                              shoal_field_name(function, "parameters", field),
                              "must be the schema of an object");
}

static bool check_type(const shoal_fields *tool)
{
    char field[SHOAL_FIELD_NAME_MAX];
    json_t *type;
    if (!shoal_field_value(tool, "type", JSON_STRING, &type))
        return false;
    if (!type || strcmp(json_string_value(type), "function") == 0)
        return true;
    return shoal_field_refuse(tool->error, SHOAL_CODE_UNSUPPORTED,
                              shoal_field_name(tool, "type", field), "must be function");
}

/* What a call could not say. */
static bool check_name(const shoal_fields *function, const json_t *name)
{
    char field[SHOAL_FIELD_NAME_MAX];
    const size_t bytes = json_string_length(name);
    if (bytes >= 1 && bytes <= SHOAL_CALL_NAME_MAX)
        return true;
    shoal_field_name(function, "name", field);
    return shoal_api_refuse(function->error, 400, SHOAL_CODE_VALUE, field,
                            "'%s' must have between 1 and %d bytes.", field, SHOAL_CALL_NAME_MAX);
}

static bool read_function(const shoal_fields *tool, size_t index, json_t **function)
{
    char inside[INSIDE_MAX];
    json_t *name, *ignored, *parameters;
    if (!check_type(tool) || !shoal_field_required(tool, "function", JSON_OBJECT, function))
        return false;
    snprintf(inside, sizeof inside, "tools[%zu].function.", index);
    const shoal_fields inner = {*function, inside, tool->error};
    return shoal_field_required(&inner, "name", JSON_STRING, &name) && check_name(&inner, name) &&
           shoal_field_value(&inner, "description", JSON_STRING, &ignored) &&
           shoal_field_value(&inner, "parameters", JSON_OBJECT, &parameters) &&
           check_parameters(&inner, parameters);
}

static bool read_list(const shoal_fields *fields, json_t **list)
{
    char inside[INSIDE_MAX];
    json_t *function;
    if (!shoal_field_value(fields, "tools", JSON_ARRAY, list))
        return false;
    if (json_array_size(*list) > SHOAL_API_TOOLS_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "tools",
                                "'tools' must have at most %d entries.", SHOAL_API_TOOLS_MAX);
    for (size_t i = 0; i < json_array_size(*list); i++) {
        snprintf(inside, sizeof inside, "tools[%zu].", i);
        const shoal_fields tool = {json_array_get(*list, i), inside, fields->error};
        if (!read_function(&tool, i, &function))
            return false;
    }
    if (json_array_size(*list) == 0)
        *list = NULL;
    return true;
}

/* ---- what is wanted ---- */

static const json_t *find_function(const json_t *list, const json_t *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *function = json_object_get(json_array_get(list, i), "function");
        if (json_equal(json_object_get(function, "name"), name))
            return function;
    }
    return NULL;
}

static bool read_forced(const shoal_fields *fields, const json_t *choice, shoal_api_tools *out)
{
    json_t *function, *name;
    const shoal_fields outer = {choice, "tool_choice.", fields->error};
    if (!shoal_field_required(&outer, "function", JSON_OBJECT, &function))
        return false;
    const shoal_fields inner = {function, "tool_choice.function.", fields->error};
    if (!shoal_field_required(&inner, "name", JSON_STRING, &name))
        return false;
    out->mode = SHOAL_TOOLS_FORCED;
    out->function = find_function(out->list, name);
    return out->function || !out->list ||
           shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "tool_choice",
                              "must name one of 'tools'");
}

static bool read_word(const shoal_fields *fields, const char *word, shoal_api_tools *out)
{
    static const char *const words[] = {[SHOAL_TOOLS_NONE] = "none",
                                        [SHOAL_TOOLS_AUTO] = "auto",
                                        [SHOAL_TOOLS_REQUIRED] = "required"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0) {
            out->mode = (shoal_tools_mode)i;
            return true;
        }
    return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "tool_choice",
                              "must be one of none, auto, required, or name a function");
}

static bool read_choice(const shoal_fields *fields, shoal_api_tools *out)
{
    const json_t *choice = shoal_json_member(fields->object, "tool_choice");
    out->mode = out->list ? SHOAL_TOOLS_AUTO : SHOAL_TOOLS_NONE;
    if (!choice)
        return true;
    if (!json_is_string(choice) && !json_is_object(choice))
        return shoal_field_refuse(fields->error, SHOAL_CODE_TYPE, "tool_choice",
                                  "must be a string or an object");
    if (json_is_string(choice) ? !read_word(fields, json_string_value(choice), out)
                               : !read_forced(fields, choice, out))
        return false;
    if (!out->list && out->mode > SHOAL_TOOLS_AUTO)
        return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "tool_choice", "needs 'tools'");
    return true;
}

bool shoal_api_read_tools(const shoal_fields *fields, shoal_api_tools *out)
{
    *out = (shoal_api_tools){.parallel = true};
    return read_list(fields, &out->list) && read_choice(fields, out) &&
           shoal_field_bool(fields, "parallel_tool_calls", &out->parallel);
}

/* ---- the answer ---- */

/* The answer is nothing but calls. */
static bool require_calls(const shoal_api_context *context, const shoal_api_tools *tools,
                          shoal_api_request *out, shoal_api_error *error)
{
    shoal_grammar *grammar = NULL;
    json_t *schema = tools->mode == SHOAL_TOOLS_FORCED
                         ? shoal_arguments_schema(tools->function)
                         : shoal_calls_schema(tools->list, tools->parallel);
    if (!schema)
        return shoal_api_refuse_status(error, SHOAL_ERR_TEMPORARY);
    const bool compiled = shoal_api_compile_schema(schema, "tools", &grammar, error);
    json_decref(schema);
    if (!compiled)
        return false;
    const bool bound = shoal_api_bind(context, "tool_choice", grammar, out, error);
    shoal_grammar_release(grammar);
    return bound;
}

static bool keep_name(const json_t *function, shoal_api_request *out, shoal_api_error *error)
{
    const json_t *name = json_object_get(function, "name");
    const shoal_status st =
        shoal_strbuf_append(&out->forced, json_string_value(name), json_string_length(name) + 1);
    out->speech.forced = out->forced.data;
    return st == SHOAL_OK || shoal_api_refuse_status(error, st);
}

bool shoal_api_bind_tools(const shoal_api_context *context, const shoal_api_tools *tools,
                          shoal_api_request *out, shoal_api_error *error)
{
    const shoal_call_format *known = shoal_chat_template_style(context->chat)->calls;
    switch (tools->mode) {
    case SHOAL_TOOLS_REQUIRED:
        out->speech = (shoal_speech_rules){.calls = &shoal_calls_required};
        return require_calls(context, tools, out, error);
    case SHOAL_TOOLS_FORCED:
        out->speech = (shoal_speech_rules){.calls = &shoal_calls_forced};
        return require_calls(context, tools, out, error) && keep_name(tools->function, out, error);
    case SHOAL_TOOLS_AUTO:
        if (!tools->list || out->masks) /* a form leaves no room for calls */
            return true;
        out->speech.calls = known;
        out->speech.single = !tools->parallel;
        return known || shoal_field_refuse(
                            error, SHOAL_CODE_UNSUPPORTED, "tools",
                            "needs 'tool_choice' other than \"auto\": how this model writes calls "
                            "is not known");
    case SHOAL_TOOLS_NONE: break;
    }
    return true;
}

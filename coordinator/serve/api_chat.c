#include "coordinator/serve/api_chat.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/plain_tools.h"

/* "messages[4095]." and "messages[4095].tool_calls[12]." */
#define INSIDE_MAX 48

static bool no_memory(shoal_api_error *error)
{
    return shoal_api_refuse_status(error, SHOAL_ERR_TEMPORARY);
}

/* ---- one message ---- */

static bool is_one_of(const json_t *text, const char *const words[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(json_string_value(text), words[i]) == 0)
            return true;
    return false;
}

/* "function" is the old name of "tool": taken, but not advertised. */
static bool check_role(const shoal_fields *message, json_t **role)
{
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    char name[SHOAL_FIELD_NAME_MAX];
    if (!shoal_field_required(message, "role", JSON_STRING, role))
        return false;
    if (is_one_of(*role, roles, sizeof roles / sizeof roles[0]))
        return true;
    return shoal_field_refuse(message->error, SHOAL_CODE_VALUE,
                              shoal_field_name(message, "role", name),
                              "must be one of system, developer, user, assistant, tool");
}

/* Content in parts: text only, joined without a separator. */
static bool join_parts(const shoal_fields *message, const json_t *parts, shoal_strbuf *text)
{
    char name[SHOAL_FIELD_NAME_MAX];
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const json_t *type = json_object_get(part, "type"), *piece = json_object_get(part, "text");
        snprintf(name, sizeof name, "%scontent[%zu]", message->inside, i);
        if (!json_is_string(type))
            return shoal_field_refuse(message->error, SHOAL_CODE_TYPE, name,
                                      "must be an object with a 'type'");
        if (strcmp(json_string_value(type), "text") != 0)
            return shoal_field_refuse(message->error, SHOAL_CODE_UNSUPPORTED, name,
                                      "must be of type text: this model takes nothing else");
        if (!json_is_string(piece))
            return shoal_field_refuse(message->error, SHOAL_CODE_TYPE, name,
                                      "must have a string as 'text'");
        const shoal_status st =
            shoal_strbuf_append(text, json_string_value(piece), json_string_length(piece));
        if (st != SHOAL_OK)
            return shoal_api_refuse_status(message->error, st);
    }
    return true;
}

/* Into `copy`, the message as the template will see it. */
static bool read_content(const shoal_fields *message, bool may_be_absent, json_t *copy)
{
    char name[SHOAL_FIELD_NAME_MAX];
    shoal_strbuf text = {0};
    const json_t *content = shoal_json_member(message->object, "content");
    if (json_is_string(content) || (!content && may_be_absent))
        return true;
    shoal_field_name(message, "content", name);
    if (!content)
        return shoal_field_refuse(message->error, SHOAL_CODE_MISSING, name, "is required");
    if (!json_is_array(content))
        return shoal_field_refuse(message->error, SHOAL_CODE_TYPE, name,
                                  "must be a string or a list of text parts");
    bool read = join_parts(message, content, &text);
    if (read && json_object_set_new(copy, "content",
                                    json_stringn(text.bytes ? text.data : "", text.bytes)) != 0)
        read = no_memory(message->error);
    shoal_strbuf_free(&text);
    return read;
}

/* ---- calls of tools, in the past of the chat ---- */

/* Clients send arguments as JSON in a string; templates want the object. */
static bool open_arguments(const shoal_fields *fields, json_t *function)
{
    shoal_api_error inner = {0};
    char name[SHOAL_FIELD_NAME_MAX];
    const json_t *given = shoal_json_member(function, "arguments");
    if (!json_is_string(given))
        return true;
    json_t *arguments =
        json_string_length(given) == 0
            ? json_object()
            : shoal_api_parse_json(json_string_value(given), json_string_length(given), &inner);
    if (arguments && json_object_set_new(function, "arguments", arguments) == 0)
        return true;
    if (inner.status != 400)
        return no_memory(fields->error);
    return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE,
                              shoal_field_name(fields, "arguments", name),
                              "must be JSON in a string");
}

static bool read_calls(const shoal_fields *message, json_t *copy, bool *any)
{
    char inside[INSIDE_MAX], deeper[INSIDE_MAX + 16];
    json_t *given, *calls, *function, *name;
    if (!shoal_field_value(message, "tool_calls", JSON_ARRAY, &given))
        return false;
    *any = json_array_size(given) > 0;
    if (!*any)
        return true;
    calls = json_deep_copy(given);
    if (!calls || json_object_set_new(copy, "tool_calls", calls) != 0)
        return no_memory(message->error);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        snprintf(inside, sizeof inside, "%stool_calls[%zu].", message->inside, i);
        snprintf(deeper, sizeof deeper, "%sfunction.", inside);
        const shoal_fields call = {json_array_get(calls, i), inside, message->error};
        if (!shoal_field_required(&call, "function", JSON_OBJECT, &function))
            return false;
        const shoal_fields called = {function, deeper, message->error};
        if (!shoal_field_required(&called, "name", JSON_STRING, &name) ||
            !open_arguments(&called, function))
            return false;
    }
    return true;
}

/* ---- all messages ---- */

static bool read_message(const json_t *given, size_t index, json_t *list, shoal_api_error *error)
{
    char inside[INSIDE_MAX];
    json_t *role;
    bool calls = false;
    snprintf(inside, sizeof inside, "messages[%zu]", index);
    if (!json_is_object(given))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, inside, "must be an object");
    snprintf(inside, sizeof inside, "messages[%zu].", index);
    const shoal_fields message = {given, inside, error};
    if (!check_role(&message, &role))
        return false;
    const bool assistant = strcmp(json_string_value(role), "assistant") == 0;
    json_t *copy = json_copy((json_t *)given);
    if (!copy || json_array_append_new(list, copy) != 0)
        return no_memory(error);
    return (!assistant || read_calls(&message, copy, &calls)) &&
           read_content(&message, calls, copy);
}

static bool read_messages(const shoal_fields *fields, json_t *list)
{
    json_t *messages;
    if (!shoal_field_required(fields, "messages", JSON_ARRAY, &messages))
        return false;
    const size_t count = json_array_size(messages);
    if (count < 1 || count > SHOAL_API_MESSAGES_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "messages",
                                "'messages' must have between 1 and %d entries.",
                                SHOAL_API_MESSAGES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!read_message(json_array_get(messages, i), i, list, fields->error))
            return false;
    return true;
}

/* ---- the template ---- */

/* What the template sees, apart from the messages; NULL with the error filled. */
static json_t *make_variables(const shoal_fields *fields, json_t *tools)
{
    bool prompt = true;
    json_t *extra, *effort;
    if (!shoal_field_bool(fields, "add_generation_prompt", &prompt) ||
        !shoal_field_value(fields, "reasoning_effort", JSON_STRING, &effort) ||
        !shoal_field_value(fields, "chat_template_kwargs", JSON_OBJECT, &extra))
        return NULL;
    if (json_object_get(extra, "messages") || json_object_get(extra, "tools")) {
        shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "chat_template_kwargs",
                           "must not define messages or tools");
        return NULL;
    }
    json_t *variables = json_pack("{s:b, s:O?, s:n}", "add_generation_prompt", (int)prompt, "tools",
                                  tools, "documents");
    if (!variables || (effort && json_object_set(variables, "reasoning_effort", effort) != 0) ||
        (extra && json_object_update(variables, extra) != 0)) {
        json_decref(variables);
        no_memory(fields->error);
        return NULL;
    }
    return variables;
}

static bool render(const shoal_api_context *context, const json_t *variables, shoal_strbuf *text,
                   shoal_api_error *error)
{
    const shoal_status st = shoal_chat_template_render(context->chat, variables, text);
    if (st == SHOAL_ERR_DATA)
        return shoal_api_refuse(error, 400, "chat_template_error", "messages", "Chat template: %s",
                                shoal_error_text());
    return st == SHOAL_OK || shoal_api_refuse_status(error, st);
}

static bool make_plain(json_t *messages, const shoal_api_tools *tools, shoal_api_error *error)
{
    const json_t *described = tools->mode == SHOAL_TOOLS_NONE ? NULL : tools->list;
    const shoal_status st = shoal_plain_tools(messages, described);
    return st == SHOAL_OK || shoal_api_refuse_status(error, st);
}

bool shoal_api_render_chat(const shoal_api_context *context, const shoal_fields *fields,
                           const shoal_api_tools *tools, shoal_strbuf *text)
{
    if (!context->chat)
        return shoal_field_refuse(fields->error, SHOAL_CODE_UNSUPPORTED, "messages",
                                  "needs a chat template, and this model has none");
    json_t *variables = make_variables(fields, tools->list);
    if (!variables)
        return false;
    json_t *messages = json_array();
    bool done = messages && json_object_set_new(variables, "messages", messages) == 0;
    if (!done)
        no_memory(fields->error);
    done = done && read_messages(fields, messages) &&
           (shoal_chat_template_style(context->chat)->tools ||
            make_plain(messages, tools, fields->error)) &&
           render(context, variables, text, fields->error);
    json_decref(variables);
    return done;
}

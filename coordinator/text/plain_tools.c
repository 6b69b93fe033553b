#include "coordinator/text/plain_tools.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/growable.h"

static const char before_tools[] = "You can call these functions:\n<tools>\n";
static const char after_tools[] = "</tools>\nTo call one, answer\n<tool_call>\n"
                                  "{\"name\": NAME, \"arguments\": {...}}\n</tool_call>";

const shoal_call_format *shoal_plain_calls(void)
{
    return shoal_call_format_named("hermes");
}

static shoal_status no_memory(void)
{
    return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for messages");
}

static shoal_status add(shoal_strbuf *text, const char *more)
{
    return shoal_strbuf_append(text, more, strlen(more));
}

static shoal_status add_string(shoal_strbuf *text, const json_t *string)
{
    return shoal_strbuf_append(text, json_string_value(string), json_string_length(string));
}

static shoal_status add_json(shoal_strbuf *text, const json_t *json)
{
    char *dumped = json_dumps(json, JSON_ENCODE_ANY);
    const shoal_status st = dumped ? add(text, dumped) : no_memory();
    free(dumped);
    return st;
}

static shoal_status set(json_t *message, const char *role, const shoal_strbuf *text)
{
    const bool done =
        json_object_set_new(message, "role", json_string(role)) == 0 &&
        json_object_set_new(message, "content",
                            json_stringn(text->bytes ? text->data : "", text->bytes)) == 0;
    return done ? SHOAL_OK : no_memory();
}

/* ---- calls and results ---- */

static shoal_status write_call(const json_t *call, shoal_strbuf *text)
{
    const json_t *function = json_object_get(call, "function");
    SHOAL_TRY(add(text, text->bytes ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": "));
    SHOAL_TRY(add_json(text, json_object_get(function, "name")));
    SHOAL_TRY(add(text, ", \"arguments\": "));
    const json_t *arguments = json_object_get(function, "arguments");
    SHOAL_TRY(arguments ? add_json(text, arguments) : add(text, "{}"));
    return add(text, "}\n</tool_call>");
}

static shoal_status write_calls(json_t *message, shoal_strbuf *text)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    SHOAL_TRY(add_string(text, json_object_get(message, "content")));
    for (size_t i = 0; i < json_array_size(calls); i++)
        SHOAL_TRY(write_call(json_array_get(calls, i), text));
    SHOAL_TRY(set(message, "assistant", text));
    (void)json_object_del(message, "tool_calls");
    return SHOAL_OK;
}

static shoal_status write_result(json_t *message, shoal_strbuf *text)
{
    SHOAL_TRY(add(text, "<tool_response>\n"));
    SHOAL_TRY(add_string(text, json_object_get(message, "content")));
    SHOAL_TRY(add(text, "\n</tool_response>"));
    return set(message, "user", text);
}

/* Several results are one message: templates want turns to alternate. */
static shoal_status join(json_t *messages, size_t index, shoal_strbuf *text)
{
    json_t *previous = json_array_get(messages, index - 1);
    SHOAL_TRY(add_string(text, json_object_get(previous, "content")));
    SHOAL_TRY(add(text, "\n"));
    SHOAL_TRY(add_string(text, json_object_get(json_array_get(messages, index), "content")));
    SHOAL_TRY(set(previous, "user", text));
    (void)json_array_remove(messages, index);
    return SHOAL_OK;
}

static bool has_role(const json_t *message, const char *role)
{
    const char *given = json_string_value(json_object_get(message, "role"));
    return given && strcmp(given, role) == 0;
}

static bool is_result(const json_t *message)
{
    return has_role(message, "tool") || has_role(message, "function");
}

static shoal_status rewrite(json_t *messages)
{
    bool behind_result = false;
    for (size_t i = 0; i < json_array_size(messages);) {
        shoal_strbuf text = {0}, joined = {0};
        shoal_status st = SHOAL_OK;
        json_t *message = json_array_get(messages, i);
        const bool result = is_result(message), joins = result && behind_result;
        if (result)
            st = write_result(message, &text);
        else if (json_array_size(json_object_get(message, "tool_calls")) > 0)
            st = write_calls(message, &text);
        if (st == SHOAL_OK && joins)
            st = join(messages, i, &joined);
        shoal_strbuf_free(&joined);
        shoal_strbuf_free(&text);
        SHOAL_TRY(st);
        behind_result = result;
        i += !joins;
    }
    return SHOAL_OK;
}

/* ---- descriptions ---- */

static shoal_status write_tools(const json_t *tools, shoal_strbuf *text)
{
    SHOAL_TRY(add(text, before_tools));
    for (size_t i = 0; i < json_array_size(tools); i++) {
        SHOAL_TRY(add_json(text, json_array_get(tools, i)));
        SHOAL_TRY(add(text, "\n"));
    }
    return add(text, after_tools);
}

/* Behind a system message, else in front of the first one of the user: not every template takes a
 * system message. */
static shoal_status describe(json_t *messages, const json_t *tools, shoal_strbuf *text)
{
    json_t *first = json_array_get(messages, 0);
    const json_t *content = json_object_get(first, "content");
    const bool system = has_role(first, "system") || has_role(first, "developer");
    if (system) {
        SHOAL_TRY(add_string(text, content));
        SHOAL_TRY(add(text, "\n\n"));
    }
    SHOAL_TRY(write_tools(tools, text));
    if (!system) {
        SHOAL_TRY(add(text, "\n\n"));
        SHOAL_TRY(add_string(text, content));
    }
    return set(first, json_string_value(json_object_get(first, "role")), text);
}

shoal_status shoal_plain_tools(json_t *messages, const json_t *tools)
{
    shoal_strbuf text = {0};
    shoal_status st = rewrite(messages);
    if (st == SHOAL_OK && tools)
        st = describe(messages, tools, &text);
    shoal_strbuf_free(&text);
    return st;
}

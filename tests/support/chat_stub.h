/* tests/support/chat_stub.h - the templates of chat_texts.h written in C, in place of
 * coordinator/text/chat_template.h, for programs that test what is around templates.
 *
 * Defines its functions: include it in one file of a program. */
#ifndef SHOAL_TESTS_SUPPORT_CHAT_STUB_H
#define SHOAL_TESTS_SUPPORT_CHAT_STUB_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat_template.h"

struct shoal_chat_template {
    int show;
};

shoal_status shoal_chat_template_parse(const char *text, size_t bytes, const char *name,
                                       shoal_chat_template **out)
{
    (void)name;
    (void)bytes;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory");
    (*out)->show = text[0] == '[';
    return SHOAL_OK;
}

void shoal_chat_template_close(shoal_chat_template *chat)
{
    free(chat);
}

static shoal_status chat_stub_add(shoal_strbuf *out, const char *text)
{
    return shoal_strbuf_append(out, text, strlen(text));
}

static shoal_status chat_stub_message(const json_t *message, shoal_strbuf *out)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
        return shoal_fail(SHOAL_ERR_DATA, "unknown role %s", role);
    if (!json_is_string(content))
        return shoal_fail(SHOAL_ERR_DATA, "content is no text");
    SHOAL_TRY(chat_stub_add(out, "<|"));
    SHOAL_TRY(chat_stub_add(out, role));
    SHOAL_TRY(chat_stub_add(out, "|>\n"));
    SHOAL_TRY(shoal_strbuf_append(out, json_string_value(content), json_string_length(content)));
    return chat_stub_add(out, "<|end|>\n");
}

static shoal_status chat_stub_show(const json_t *variables, shoal_strbuf *out)
{
    static const char *const names[] = {"messages", "tools", "documents", "add_generation_prompt",
                                        "mood"};
    for (int i = 0; i < 5; i++) {
        char *text = json_dumps(json_object_get(variables, names[i]), JSON_ENCODE_ANY);
        SHOAL_TRY(chat_stub_add(out, i ? ", " : "["));
        const shoal_status st = chat_stub_add(out, text ? text : "undefined");
        free(text);
        SHOAL_TRY(st);
    }
    return chat_stub_add(out, "]");
}

shoal_status shoal_chat_template_render(const shoal_chat_template *chat, const json_t *variables,
                                        shoal_strbuf *out)
{
    const json_t *messages = json_object_get(variables, "messages");
    if (chat->show)
        return chat_stub_show(variables, out);
    SHOAL_TRY(chat_stub_add(out, "<|begin|>"));
    for (size_t i = 0; i < json_array_size(messages); i++)
        SHOAL_TRY(chat_stub_message(json_array_get(messages, i), out));
    return json_is_true(json_object_get(variables, "add_generation_prompt"))
               ? chat_stub_add(out, "<|assistant|>\n")
               : SHOAL_OK;
}

#endif

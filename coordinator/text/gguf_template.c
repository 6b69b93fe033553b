#include "coordinator/text/gguf_template.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/text/builtin_templates.h"
#include "proto/bytes.h"

static const struct {
    const char *variable, *key;
} names[] = {
    {"bos_token", "tokenizer.ggml.bos_token_id"},
    {"eos_token", "tokenizer.ggml.eos_token_id"},
    {"unk_token", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "tokenizer.ggml.seperator_token_id"}, /* spelled like this in the format */
    {"pad_token", "tokenizer.ggml.padding_token_id"},
};
enum { NAMES = sizeof names / sizeof names[0] };

/* The tokens' strings stand one behind the other: one walk finds those of all the ids. */
static shoal_status add_tokens(const shoal_gguf *gguf, json_t *tokens)
{
    const shoal_gguf_entry *list;
    int64_t ids[NAMES];
    uint64_t at = 0;
    for (size_t i = 0; i < NAMES; i++) {
        ids[i] = -1;
        SHOAL_TRY(shoal_gguf_integer(gguf, names[i].key, &ids[i]));
    }
    SHOAL_TRY(shoal_gguf_strings(gguf, "tokenizer.ggml.tokens", &list));
    for (uint64_t id = 0; list && id < list->count; id++) {
        const shoal_gguf_text token = shoal_gguf_next_string(list, &at);
        for (size_t i = 0; i < NAMES; i++) {
            if (ids[i] != (int64_t)id)
                continue;
            if (json_object_set_new(tokens, names[i].variable,
                                    json_stringn(token.data, token.bytes)) != 0)
                return shoal_fail(SHOAL_ERR_DATA, "%s: the token is not UTF-8", names[i].key);
        }
    }
    return SHOAL_OK;
}

/* The file carries none; its family may have one form. */
static shoal_status append_builtin(const shoal_gguf *gguf, const char *name, shoal_strbuf *text)
{
    shoal_gguf_text architecture = {"", 0};
    const shoal_gguf_entry *tokens = NULL;
    char family[64];
    SHOAL_TRY(shoal_gguf_string(gguf, "general.architecture", &architecture));
    SHOAL_TRY(shoal_gguf_strings(gguf, "tokenizer.ggml.tokens", &tokens));
    snprintf(family, sizeof family, "%.*s",
             (int)shoal_min_i64((int64_t)architecture.bytes, sizeof family - 1), architecture.data);
    const char *known = shoal_builtin_template(family, tokens ? (int64_t)tokens->count : 0);
    if (!known)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s: the model has no chat template", name);
    return shoal_strbuf_append(text, known, strlen(known));
}

static shoal_status read_template(const shoal_gguf *gguf, const char *name, shoal_strbuf *text,
                                  json_t *tokens)
{
    shoal_gguf_text found = {NULL, 0};
    SHOAL_TRY(shoal_gguf_string(gguf, "tokenizer.chat_template", &found));
    SHOAL_TRY(add_tokens(gguf, tokens));
    return found.data ? shoal_strbuf_append(text, found.data, found.bytes)
                      : append_builtin(gguf, name, text);
}

shoal_status shoal_gguf_chat_template(const shoal_gguf *gguf, const char *name, shoal_strbuf *text,
                                      json_t **tokens)
{
    *tokens = json_object();
    const shoal_status st = read_template(gguf, name, text, *tokens);
    if (st != SHOAL_OK) {
        json_decref(*tokens);
        *tokens = NULL;
    }
    return st;
}

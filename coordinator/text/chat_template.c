#include "coordinator/text/chat_template.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/gguf_template.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/plain_tools.h"
#include "coordinator/text/template.h"
#include "coordinator/text/text_file.h"
#include "coordinator/text/tokenizer.h"
#include "proto/arena.h"
#include "shard/gguf_file.h"
#include "shard/model_folder.h"
#include "shard/pack_file.h"

#define CONFIG_FILE_MAX   (16u << 20)
#define TEMPLATE_FILE_MAX (1u << 20)
#define PATH_BYTES        4096

struct shoal_chat_template {
    shoal_template *program;
    json_t *tokens; /* bos_token and its like; an object */
    shoal_chat_style style;
    struct tm now;
    bool now_is_fixed;
};

/* ---- opening --------------------------------------------------------------------------------- */

static shoal_chat_style style_of(const char *text, size_t bytes)
{
    const bool tools = memmem(text, bytes, "tool", 4) != NULL;
    return (shoal_chat_style){
        .tools = tools,
        .calls = tools ? shoal_call_format_of(text, bytes) : shoal_plain_calls(),
        .think = shoal_think_format_of(text, bytes),
    };
}

static shoal_status make(const char *text, size_t bytes, const char *name, json_t *tokens,
                         shoal_chat_template **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_chat_template), &block));
    shoal_chat_template *chat = block;
    SHOAL_TRY_GOTO(shoal_template_parse(name, text, bytes, &chat->program), free_block);
    chat->tokens = json_incref(tokens);
    chat->style = style_of(text, bytes);
    *out = chat;
    return SHOAL_OK;

free_block:
    shoal_free(chat);
    return st;
}

shoal_status shoal_chat_template_parse(const char *text, size_t bytes, const char *name,
                                       shoal_chat_template **out)
{
    return make(text, bytes, name, NULL, out);
}

/* Append a file of the folder; none of that name is no failure. */
static shoal_status read_file(const char *folder, const char *name, size_t most, shoal_strbuf *out,
                              bool *found)
{
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return shoal_fail(SHOAL_ERR_DATA, "a path of more than %zu bytes", sizeof path);
    const shoal_status st = shoal_text_file_read(path, most, out);
    *found = st == SHOAL_OK;
    return st == SHOAL_ERR_NOTFOUND ? SHOAL_OK : st;
}

/* A JSON file of the folder, or an empty object when there is none. */
static shoal_status read_object(const char *folder, const char *name, json_t **out)
{
    shoal_strbuf text = {0};
    json_error_t error = {0};
    bool found;
    const shoal_status st = read_file(folder, name, CONFIG_FILE_MAX, &text, &found);
    json_t *object =
        found ? json_loadb(text.data, text.bytes, JSON_ALLOW_NUL, &error) : json_object();
    shoal_strbuf_free(&text);
    if (st == SHOAL_OK && json_is_object(object)) {
        *out = object;
        return SHOAL_OK;
    }
    json_decref(object);
    if (st != SHOAL_OK)
        return st;
    return shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", name, object ? 1 : error.line,
                      object ? "not an object" : error.text);
}

/* Special tokens stand in the file as strings, or as objects with "content". */
static shoal_status tokens_of(const json_t *config, json_t **out)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    json_t *tokens = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(config, names[i]);
        if (json_is_object(value))
            value = json_object_get(value, "content");
        if (json_is_string(value) && json_object_set(tokens, names[i], value) != 0) {
            json_decref(tokens);
            return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for special tokens");
        }
    }
    *out = tokens;
    return SHOAL_OK;
}

/* The string "chat_template", or the one named "default" of a list of {name, template}; NULL: the
 * file has none. */
static const json_t *template_in(const json_t *config)
{
    const json_t *value = shoal_json_member(config, "chat_template");
    if (!json_is_array(value))
        return value;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_object_get(entry, "template");
    }
    return NULL;
}

/* The model carries none; its family may have one form. */
static shoal_status open_builtin(const char *folder, json_t *tokens, shoal_chat_template **out)
{
    json_t *config;
    SHOAL_TRY(read_object(folder, "config.json", &config));
    const char *family = json_string_value(json_object_get(config, "model_type"));
    const json_int_t vocab = json_integer_value(json_object_get(config, "vocab_size"));
    const char *text = family ? shoal_builtin_template(family, vocab) : NULL;
    const shoal_status st =
        text ? make(text, strlen(text), "the chat template of this family", tokens, out)
             : shoal_fail(SHOAL_ERR_NOTFOUND,
                          "%s: the model has no chat template; put one into the folder as "
                          "chat_template.jinja",
                          folder);
    json_decref(config);
    return st;
}

static shoal_status open_from_config(const char *folder, const json_t *config, json_t *tokens,
                                     shoal_chat_template **out)
{
    const json_t *text = template_in(config);
    if (!text)
        return open_builtin(folder, tokens, out);
    if (!json_is_string(text))
        return shoal_fail(SHOAL_ERR_DATA, "tokenizer_config.json: the chat template is no string");
    return make(json_string_value(text), json_string_length(text),
                "chat_template of tokenizer_config.json", tokens, out);
}

static shoal_status open_with(const char *folder, const json_t *config, json_t *tokens,
                              shoal_chat_template **out)
{
    static const char name[] = "chat_template.jinja";
    shoal_strbuf text = {0};
    bool found;
    SHOAL_TRY(read_file(folder, name, TEMPLATE_FILE_MAX, &text, &found));
    const shoal_status st = found ? make(text.data, text.bytes, name, tokens, out)
                                  : open_from_config(folder, config, tokens, out);
    shoal_strbuf_free(&text);
    return st;
}

static shoal_status open_from_folder(const char *folder, shoal_chat_template **out)
{
    shoal_status st = SHOAL_OK;
    json_t *config = NULL, *tokens = NULL;
    SHOAL_TRY(read_object(folder, "tokenizer_config.json", &config));
    SHOAL_TRY_GOTO(tokens_of(config, &tokens), free_config);
    st = open_with(folder, config, tokens, out);
    json_decref(tokens);
free_config:
    json_decref(config);
    return st;
}

static shoal_status open_from_file(const char *path, shoal_chat_template **out)
{
    shoal_status st = SHOAL_OK;
    shoal_gguf_header header = {0};
    shoal_strbuf text = {0};
    json_t *tokens = NULL;
    if (!shoal_gguf_is_file(path))
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s: the model has no chat template", path);
    SHOAL_TRY(shoal_gguf_header_open(path, &header));
    SHOAL_TRY_GOTO(shoal_gguf_chat_template(header.gguf, path, &text, &tokens), done);
    st = make(text.data, text.bytes, "tokenizer.chat_template", tokens, out);
    json_decref(tokens);
done:
    shoal_strbuf_free(&text);
    shoal_gguf_header_free(&header);
    return st;
}

shoal_status shoal_chat_template_open(const char *model, shoal_chat_template **out)
{
    struct stat info;
    char *gguf = NULL;
    if (shoal_pack_is_file(model))
        return open_from_folder(model, out);
    if (stat(model, &info) == 0 && S_ISREG(info.st_mode))
        return open_from_file(model, out);
    SHOAL_TRY(shoal_folder_gguf(model, &gguf));
    const shoal_status st = gguf ? open_from_file(gguf, out) : open_from_folder(model, out);
    shoal_free(gguf);
    return st;
}

void shoal_chat_template_close(shoal_chat_template *chat)
{
    if (!chat)
        return;
    json_decref(chat->tokens);
    shoal_template_close(chat->program);
    shoal_free(chat);
}

const shoal_chat_style *shoal_chat_template_style(const shoal_chat_template *chat)
{
    return &chat->style;
}

/* ---- time ------------------------------------------------------------------------------------ */

shoal_status shoal_chat_time_parse(const char *text, struct tm *out)
{
    static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm parsed = {0};
        const char *end = strptime(text, formats[i], &parsed);
        const int day = parsed.tm_mday;
        /* Another day: this one is not in the calendar. */
        if (end && *end == '\0' && timegm(&parsed) != (time_t)-1 && parsed.tm_mday == day) {
            *out = parsed;
            return SHOAL_OK;
        }
    }
    return shoal_fail(SHOAL_ERR_USAGE, "not a time like 2026-11-21 12:34:56: %s", text);
}

void shoal_chat_template_fix_time(shoal_chat_template *chat, const struct tm *now)
{
    chat->now = *now;
    chat->now_is_fixed = true;
}

/* ---- rendering ------------------------------------------------------------------------------- */

shoal_status shoal_chat_template_render(const shoal_chat_template *chat, const json_t *variables,
                                        shoal_strbuf *out)
{
    struct tm now = chat->now;
    const time_t clock = time(NULL);
    if (!chat->now_is_fixed)
        (void)localtime_r(&clock, &now);
    return shoal_template_render(chat->program, variables, chat->tokens, &now, out);
}

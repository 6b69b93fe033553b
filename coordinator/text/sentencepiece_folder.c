#include "coordinator/text/sentencepiece_folder.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/text_file.h"
#include "coordinator/text/tokenizer_parts.h"

#define CONFIG_FILE_MAX (16u << 20)
#define PATH_BYTES      4096

#define CONFIG "tokenizer_config.json"
#define ADDED  "added_tokens.json"

/* ---- files ---- */

/* The object in a file of the folder; an empty one when there is no such file. */
static shoal_status read_object(const char *folder, const char *name, json_t **out)
{
    char path[PATH_BYTES];
    shoal_strbuf text = {0};
    json_error_t error;
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return shoal_fail(SHOAL_ERR_DATA, "a path of more than %zu bytes", sizeof path);
    const shoal_status st = shoal_text_file_read(path, CONFIG_FILE_MAX, &text);
    if (st == SHOAL_ERR_NOTFOUND) {
        *out = json_object();
        return *out ? SHOAL_OK : shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for %s", name);
    }
    SHOAL_TRY(st);
    json_t *object = json_loadb(text.data, text.bytes, JSON_ALLOW_NUL, &error);
    shoal_strbuf_free(&text);
    if (!json_is_object(object)) {
        const bool parsed = object != NULL;
        json_decref(object);
        return shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", name, parsed ? 1 : error.line,
                          parsed ? "not an object" : error.text);
    }
    *out = object;
    return SHOAL_OK;
}

/* ---- added tokens ---- */

static shoal_status add_token(shoal_tokenizer *t, int64_t id, const char *content, size_t bytes,
                              const shoal_added_token *flags)
{
    shoal_added_token token = *flags;
    if (bytes == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_vocab_add(t->vocab, id, content, bytes,
                              SHOAL_TOKEN_ADDED | (token.special ? SHOAL_TOKEN_SPECIAL : 0u)));
    token.id = (int32_t)id;
    return shoal_added_set_add(t->added_raw, content, bytes, &token);
}

/* {"content": id, ...} */
static shoal_status read_added(json_t *object, shoal_tokenizer *t)
{
    const char *content;
    size_t bytes;
    json_t *id;
    json_object_keylen_foreach(object, content, bytes, id)
    {
        if (!json_is_integer(id))
            return shoal_fail(SHOAL_ERR_DATA, ADDED ": the id of a token is no integer");
        SHOAL_TRY(add_token(t, json_integer_value(id), content, bytes, &(shoal_added_token){0}));
    }
    return SHOAL_OK;
}

/* {"content": text, "special": true, "lstrip": false, ...} */
static shoal_status read_decoder_row(const json_t *row, const char *key, shoal_tokenizer *t)
{
    shoal_added_token token = {0};
    const char *content;
    size_t bytes;
    char *end;
    const long long id = strtoll(key, &end, 10);
    if (!json_is_object(row) || end == key || *end)
        return shoal_fail(SHOAL_ERR_DATA, CONFIG ": added_tokens_decoder: \"%.32s\" is wrong", key);
    SHOAL_TRY(shoal_json_text(row, CONFIG, "content", &content, &bytes));
    SHOAL_TRY(shoal_json_bool(row, CONFIG, "special", false, &token.special));
    SHOAL_TRY(shoal_json_bool(row, CONFIG, "single_word", false, &token.single_word));
    SHOAL_TRY(shoal_json_bool(row, CONFIG, "lstrip", false, &token.lstrip));
    SHOAL_TRY(shoal_json_bool(row, CONFIG, "rstrip", false, &token.rstrip));
    return add_token(t, id, content, bytes, &token);
}

static shoal_status read_decoder_rows(const json_t *config, shoal_tokenizer *t)
{
    const char *key;
    json_t *row, *rows = shoal_json_member(config, "added_tokens_decoder");
    json_object_foreach(rows, key, row) SHOAL_TRY(read_decoder_row(row, key, t));
    return SHOAL_OK;
}

/* ---- special tokens ---- */

/* What the config calls `name`, a string or an object with "content"; else the usual one. -1: the
 * vocabulary has no such token. */
static int32_t special_id(const json_t *config, const char *name, const char *usual,
                          const shoal_tokenizer *t)
{
    const json_t *value = shoal_json_member(config, name);
    if (json_is_object(value))
        value = json_object_get(value, "content");
    const char *text = json_is_string(value) ? json_string_value(value) : usual;
    return shoal_vocab_find(t->vocab, text, strlen(text), ~0u);
}

static shoal_status add_special(shoal_tokenizer *t, int32_t id)
{
    size_t bytes;
    if (id < 0)
        return SHOAL_OK;
    const char *content = shoal_vocab_piece(t->vocab, id, &bytes);
    return add_token(t, id, content, bytes, &(shoal_added_token){.special = true});
}

static shoal_status put_around(const json_t *config, const char *key, bool fallback, int32_t id,
                               shoal_ids *ids)
{
    bool wanted;
    SHOAL_TRY(shoal_json_bool(config, CONFIG, key, fallback, &wanted));
    ids->count = 0;
    return wanted && id >= 0 ? shoal_ids_push(ids, id) : SHOAL_OK;
}

/* Later sources replace what earlier ones say of the same content. */
static shoal_status apply(const json_t *config, json_t *added, shoal_tokenizer *t)
{
    SHOAL_TRY(read_added(added, t));
    const int32_t bos = special_id(config, "bos_token", "<s>", t);
    const int32_t eos = special_id(config, "eos_token", "</s>", t);
    SHOAL_TRY(add_special(t, special_id(config, "unk_token", "<unk>", t)));
    SHOAL_TRY(add_special(t, bos));
    SHOAL_TRY(add_special(t, eos));
    SHOAL_TRY(read_decoder_rows(config, t));
    SHOAL_TRY(put_around(config, "add_bos_token", true, bos, &t->before));
    return put_around(config, "add_eos_token", false, eos, &t->after);
}

shoal_status shoal_sentencepiece_folder_apply(const char *folder, shoal_tokenizer *tokenizer)
{
    shoal_status st = SHOAL_OK;
    json_t *config, *added = NULL;
    SHOAL_TRY(read_object(folder, CONFIG, &config));
    SHOAL_TRY_GOTO(read_object(folder, ADDED, &added), done);
    st = apply(config, added, tokenizer);
done:
    json_decref(added);
    json_decref(config);
    return st;
}

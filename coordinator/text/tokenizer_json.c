#include "coordinator/text/tokenizer_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"
#include "coordinator/text/utf8.h"

/* ---- model ---- */

static shoal_status read_vocab(json_t *model, shoal_tokenizer *t)
{
    json_t *words, *id;
    const char *word;
    size_t bytes;
    SHOAL_TRY(shoal_json_object(model, "model", "vocab", &words));
    const size_t count = json_object_size(words);
    if (count == 0 || count > SHOAL_VOCAB_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "model: a vocabulary of %zu tokens (limit 1 to %u)",
                          count, SHOAL_VOCAB_MAX);
    SHOAL_TRY(shoal_vocab_create(count, &t->vocab));
    json_object_keylen_foreach(words, word, bytes, id)
    {
        char shown[SHOAL_UTF8_SHOW];
        if (!json_is_integer(id))
            return shoal_fail(SHOAL_ERR_DATA, "model: the id of token \"%s\" is no integer",
                              shoal_utf8_show(word, bytes, shown));
        SHOAL_TRY(
            shoal_vocab_add(t->vocab, json_integer_value(id), word, bytes, SHOAL_TOKEN_MODEL));
    }
    return SHOAL_OK;
}

static shoal_status bad_merge(size_t number)
{
    return shoal_fail(SHOAL_ERR_DATA,
                      "model: merge %zu is neither \"left right\" nor [left, right]", number);
}

/* "left right", with exactly one space. */
static shoal_status read_merge_text(const json_t *json, size_t number, shoal_bpe *bpe)
{
    const char *text = json_string_value(json);
    const size_t bytes = json_string_length(json);
    const char *space = memchr(text, ' ', bytes);
    if (!space)
        return bad_merge(number);
    const size_t left = (size_t)(space - text);
    const size_t right = bytes - left - 1;
    if (memchr(space + 1, ' ', right))
        return bad_merge(number);
    return shoal_bpe_add_merge(bpe, text, left, space + 1, right);
}

static shoal_status read_merge(const json_t *json, size_t number, shoal_bpe *bpe)
{
    if (json_is_string(json)) {
        /* The first line of a merges.txt may have come along. */
        if (strncmp(json_string_value(json), "#version", 8) == 0)
            return SHOAL_OK;
        return read_merge_text(json, number, bpe);
    }
    const json_t *left = json_array_get(json, 0), *right = json_array_get(json, 1);
    if (json_array_size(json) != 2 || !json_is_string(left) || !json_is_string(right))
        return bad_merge(number);
    return shoal_bpe_add_merge(bpe, json_string_value(left), json_string_length(left),
                               json_string_value(right), json_string_length(right));
}

static shoal_status read_unknown(const json_t *model, const shoal_tokenizer *t, int32_t *id)
{
    const char *unk;
    size_t bytes;
    char shown[SHOAL_UTF8_SHOW];
    SHOAL_TRY(shoal_json_text(model, "model", "unk_token", &unk, &bytes));
    const int32_t found = unk ? shoal_vocab_find(t->vocab, unk, bytes, SHOAL_TOKEN_MODEL) : -1;
    if (unk && found < 0)
        return shoal_fail(SHOAL_ERR_DATA, "model: unk_token \"%s\" is not in the vocabulary",
                          shoal_utf8_show(unk, bytes, shown));
    *id = found;
    return SHOAL_OK;
}

static shoal_status read_bpe_options(const json_t *model, const shoal_tokenizer *t,
                                     shoal_bpe_options *o)
{
    const json_t *dropout = shoal_json_member(model, "dropout");
    if (dropout && (!json_is_number(dropout) || json_number_value(dropout) != 0.0))
        return shoal_fail(SHOAL_ERR_DATA, "model: dropout is unsupported");
    SHOAL_TRY(shoal_json_bool(model, "model", "ignore_merges", false, &o->ignore_merges));
    SHOAL_TRY(shoal_json_bool(model, "model", "byte_fallback", false, &o->byte_fallback));
    SHOAL_TRY(shoal_json_bool(model, "model", "fuse_unk", false, &o->fuse_unk));
    SHOAL_TRY(read_unknown(model, t, &o->unk));
    SHOAL_TRY(
        shoal_json_text(model, "model", "continuing_subword_prefix", &o->prefix, &o->prefix_bytes));
    return shoal_json_text(model, "model", "end_of_word_suffix", &o->suffix, &o->suffix_bytes);
}

static shoal_status read_bpe(json_t *model, shoal_tokenizer *t)
{
    shoal_bpe_options options = {0};
    json_t *merges;
    shoal_bpe *bpe;
    SHOAL_TRY(read_vocab(model, t));
    SHOAL_TRY(read_bpe_options(model, t, &options));
    SHOAL_TRY(shoal_json_array(model, "model", "merges", &merges));
    const size_t count = json_array_size(merges);
    if (count > SHOAL_BPE_MERGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "model: %zu merges (limit %u)", count,
                          SHOAL_BPE_MERGES_MAX);
    SHOAL_TRY(shoal_bpe_create(t->vocab, &options, count, &bpe));
    t->model = shoal_bpe_model(bpe);
    for (size_t i = 0; i < count; i++) {
        const shoal_status st = read_merge(json_array_get(merges, i), i, bpe);
        if (st != SHOAL_OK)
            return st;
    }
    return SHOAL_OK;
}

/* Kinds of models; a new kind is one row and its reader. */
static const struct {
    const char *type;
    shoal_status (*read)(json_t *model, shoal_tokenizer *t);
} model_rows[] = {
    {"BPE", read_bpe},
};

static shoal_status read_model(const json_t *root, shoal_tokenizer *t)
{
    json_t *model;
    const char *type = "BPE"; /* files older than the member are all BPE if they have merges */
    SHOAL_TRY(shoal_json_object(root, "the file", "model", &model));
    if (shoal_json_member(model, "type") || !shoal_json_member(model, "merges"))
        SHOAL_TRY(shoal_json_name(model, "model", "type", &type));
    for (size_t i = 0; i < sizeof model_rows / sizeof model_rows[0]; i++)
        if (strcmp(type, model_rows[i].type) == 0)
            return model_rows[i].read(model, t);
    return shoal_fail(SHOAL_ERR_DATA, "model: type \"%.64s\" is unsupported", type);
}

/* ---- added tokens ---- */

/* A normalized token is looked for in normalized text, so its content is normalized too. */
static shoal_status add_to_set(shoal_tokenizer *t, shoal_matcher *matcher, const char *content,
                               size_t bytes, bool normalized, const shoal_added_token *token)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf normal = {0};
    if (!normalized)
        return shoal_added_set_add(t->added_raw, content, bytes, token);
    SHOAL_TRY_GOTO(shoal_normalizer_run(&t->normalizer, matcher, content, bytes, &normal), done);
    if (normal.bytes)
        st = shoal_added_set_add(t->added_normalized, normal.data, normal.bytes, token);
done:
    shoal_strbuf_free(&normal);
    return st;
}

static shoal_status read_added_token(const json_t *json, const char *where, shoal_matcher *matcher,
                                     shoal_tokenizer *t)
{
    const char *content;
    size_t bytes;
    json_int_t id;
    bool normalized;
    shoal_added_token token = {0};
    if (!json_is_object(json))
        return shoal_fail(SHOAL_ERR_DATA, "%s: must be an object", where);
    SHOAL_TRY(shoal_json_text(json, where, "content", &content, &bytes));
    SHOAL_TRY(shoal_json_integer(json, where, "id", &id));
    SHOAL_TRY(shoal_json_bool(json, where, "special", false, &token.special));
    SHOAL_TRY(shoal_json_bool(json, where, "single_word", false, &token.single_word));
    SHOAL_TRY(shoal_json_bool(json, where, "lstrip", false, &token.lstrip));
    SHOAL_TRY(shoal_json_bool(json, where, "rstrip", false, &token.rstrip));
    SHOAL_TRY(shoal_json_bool(json, where, "normalized", !token.special, &normalized));
    if (!content)
        return shoal_fail(SHOAL_ERR_DATA, "%s: \"content\" must be a string", where);
    if (bytes == 0)
        return SHOAL_OK; /* would be found everywhere; the reference library drops it too */
    SHOAL_TRY(shoal_vocab_add(t->vocab, id, content, bytes,
                              SHOAL_TOKEN_ADDED | (token.special ? SHOAL_TOKEN_SPECIAL : 0u)));
    token.id = (int32_t)id;
    return add_to_set(t, matcher, content, bytes, normalized, &token);
}

static shoal_status read_added_list(const json_t *list, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_matcher *matcher;
    SHOAL_TRY(shoal_matcher_create(&matcher));
    for (size_t i = 0; i < json_array_size(list) && st == SHOAL_OK; i++) {
        char where[48];
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        st = read_added_token(json_array_get(list, i), where, matcher, t);
    }
    shoal_matcher_free(matcher);
    return st;
}

static shoal_status read_added(const json_t *root, shoal_tokenizer *t)
{
    SHOAL_TRY(shoal_added_set_create(&t->added_raw));
    SHOAL_TRY(shoal_added_set_create(&t->added_normalized));
    const json_t *list = shoal_json_member(root, "added_tokens");
    if (list && !json_is_array(list))
        return shoal_fail(SHOAL_ERR_DATA, "the file: \"added_tokens\" must be an array");
    SHOAL_TRY(read_added_list(list, t));
    shoal_added_set_seal(t->added_raw);
    shoal_added_set_seal(t->added_normalized);
    return SHOAL_OK;
}

/* ---- the file ---- */

static shoal_status read_root(const json_t *root, shoal_tokenizer *t)
{
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, "the file is not a JSON object");
    SHOAL_TRY(shoal_tokenizer_read_normalizer(shoal_json_member(root, "normalizer"), t));
    SHOAL_TRY(shoal_tokenizer_read_pretokenizer(shoal_json_member(root, "pre_tokenizer"), t));
    SHOAL_TRY(shoal_tokenizer_read_decoder(shoal_json_member(root, "decoder"), t));
    SHOAL_TRY(read_model(root, t));
    SHOAL_TRY(read_added(root, t));
    return shoal_tokenizer_read_post(shoal_json_member(root, "post_processor"), t);
}

shoal_status shoal_tokenizer_read_json(const char *json, size_t bytes, shoal_tokenizer *t)
{
    json_error_t error;
    json_t *root = json_loadb(json, bytes, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return shoal_fail(SHOAL_ERR_DATA, "line %d, column %d: %s", error.line, error.column,
                          error.text);
    const shoal_status st = read_root(root, t);
    json_decref(root);
    return st;
}

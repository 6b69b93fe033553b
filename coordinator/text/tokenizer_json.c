#include "coordinator/text/tokenizer_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/json_stream.h"
#include "coordinator/text/model_json.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"
#include "coordinator/text/utf8.h"
#include "proto/bytes.h"

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
    return read_added_list(list, t);
}

/* ---- the file ---- */

static shoal_status read_root(const json_t *root, const shoal_model_source *source,
                              shoal_tokenizer *t)
{
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, "the file is not a JSON object");
    SHOAL_TRY(shoal_tokenizer_read_normalizer(shoal_json_member(root, "normalizer"), t));
    SHOAL_TRY(shoal_tokenizer_read_pretokenizer(shoal_json_member(root, "pre_tokenizer"), t));
    SHOAL_TRY(shoal_tokenizer_read_decoder(shoal_json_member(root, "decoder"), t));
    SHOAL_TRY(shoal_tokenizer_read_model(root, source, t));
    SHOAL_TRY(read_added(root, t));
    return shoal_tokenizer_read_post(shoal_json_member(root, "post_processor"), t);
}

/* Pass over a value and note its place when it is a list or an object of that kind. */
static bool note_large(shoal_json_stream *s, const char *opening, shoal_large_member *member)
{
    const char c = shoal_json_stream_peek(s);
    const size_t begin = s->at;
    size_t count;
    if (!shoal_json_stream_skip(s, &count))
        return false;
    if (c && strchr(opening, c))
        *member = (shoal_large_member){{begin, s->at}, count};
    return true;
}

/* Pass over the members of an object; those of "model" may be large. */
static bool find_large(shoal_json_stream *s, bool in_model, shoal_strbuf *room,
                       shoal_model_source *source)
{
    shoal_json_list list = {.close = '}', .first = true};
    if (!shoal_json_stream_take(s, '{'))
        return false;
    while (shoal_json_stream_next(s, &list)) {
        const char *key;
        size_t bytes, count;
        bool passed;
        if (!shoal_json_stream_string(s, room, &key, &bytes) || !shoal_json_stream_take(s, ':'))
            return false;
        if (in_model && shoal_text_is(key, bytes, "vocab"))
            passed = note_large(s, "{[", &source->vocab);
        else if (in_model && shoal_text_is(key, bytes, "merges"))
            passed = note_large(s, "[", &source->merges);
        else if (!in_model && shoal_text_is(key, bytes, "model") &&
                 shoal_json_stream_peek(s) == '{')
            passed = find_large(s, true, room, source);
        else
            passed = shoal_json_stream_skip(s, &count);
        if (!passed)
            return false;
    }
    return !list.fault;
}

/* The file with null in place of the large members. */
static shoal_status without_large(const shoal_model_source *source, size_t bytes, shoal_strbuf *out)
{
    shoal_span first = source->vocab.span, second = source->merges.span;
    if (second.begin < first.begin) {
        first = source->merges.span;
        second = source->vocab.span;
    }
    const shoal_span gaps[] = {first, second};
    size_t done = 0;
    for (int i = 0; i < 2; i++) {
        if (!gaps[i].end)
            continue;
        SHOAL_TRY(shoal_strbuf_append(out, source->text + done, gaps[i].begin - done));
        SHOAL_TRY(shoal_strbuf_append(out, "null", 4));
        done = gaps[i].end;
    }
    return shoal_strbuf_append(out, source->text + done, bytes - done);
}

/* A tree takes some hundred bytes for each value, an empty list only two in the file. Values are
 * counted by what stands before them. */
static size_t count_values(const char *json, size_t bytes)
{
    size_t values = 0;
    bool inside = false; /* a string */
    for (size_t i = 0; i < bytes; i++) {
        if (json[i] == '\\' && inside)
            i++;
        else if (json[i] == '"')
            inside = !inside;
        else if (!inside && json[i] != '\0' && strchr("[{,", json[i]))
            values++;
    }
    return values;
}

static shoal_status check_values(const char *json, size_t bytes)
{
    const size_t values = count_values(json, bytes);
    if (values > SHOAL_TOKENIZER_VALUES_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "the file has %zu values beside vocabulary and merges (limit %u)", values,
                          SHOAL_TOKENIZER_VALUES_MAX);
    return SHOAL_OK;
}

static json_t *parse(const char *json, size_t bytes, json_error_t *error)
{
    return json_loadb(json, bytes, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, error);
}

/* What is wrong, and where in the file; `at` is where it was noticed, for a file too large for a
 * tree. */
static shoal_status no_json(const char *json, size_t bytes, size_t at)
{
    json_error_t error;
    if (count_values(json, bytes) > SHOAL_TOKENIZER_VALUES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "no JSON at byte %zu", at);
    json_t *root = parse(json, bytes, &error);
    if (!root)
        return shoal_fail(SHOAL_ERR_DATA, "line %d, column %d: %s", error.line, error.column,
                          error.text);
    const bool object = json_is_object(root);
    json_decref(root);
    return shoal_fail(SHOAL_ERR_DATA,
                      object ? "the file nests more than %d deep" : "the file is not a JSON object",
                      SHOAL_JSON_STREAM_DEPTH);
}

shoal_status shoal_tokenizer_read_json(const char *json, size_t bytes, shoal_tokenizer *t)
{
    shoal_model_source source = {.text = json};
    shoal_json_stream s = {.text = json, .bytes = bytes};
    shoal_strbuf small = {0};
    json_error_t error;
    bool found = shoal_utf8_valid(json, bytes) == bytes && find_large(&s, false, &small, &source);
    small.bytes = 0;
    if (!found) {
        shoal_strbuf_free(&small);
        return s.status == SHOAL_OK ? no_json(json, bytes, s.at) : s.status;
    }
    shoal_status st = without_large(&source, bytes, &small);
    if (st == SHOAL_OK)
        st = check_values(small.data, small.bytes);
    json_t *root = st == SHOAL_OK ? parse(small.data, small.bytes, &error) : NULL;
    shoal_strbuf_free(&small);
    if (st == SHOAL_OK)
        st = root ? read_root(root, &source, t) : no_json(json, bytes, s.at);
    json_decref(root);
    return st;
}

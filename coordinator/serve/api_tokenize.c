/* /tokenize and /detokenize: ids of a text, text of ids. */
#include <string.h>

#include "coordinator/serve/api_body.h"
#include "coordinator/serve/api_chat.h"
#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_ids.h"
#include "coordinator/serve/json_write.h"
#include "coordinator/serve/known_fields.h"
#include "coordinator/text/json_fields.h"

/* The text under its names; `add_special` is what the name implies. */
static bool find_text(const shoal_fields *fields, json_t **text, bool *add_special)
{
    static const char *const names[] = {"prompt", "text", "content"};
    *text = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *found;
        if (!shoal_field_value(fields, names[i], JSON_STRING, &found))
            return false;
        if (found && *text)
            return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, names[i],
                                      "must be the only text");
        if (!found)
            continue;
        *text = found;
        *add_special = strcmp(names[i], "content") != 0;
    }
    return shoal_field_bool(fields, "add_special_tokens", add_special) &&
           shoal_field_bool(fields, "add_special", add_special);
}

static bool tokenize(const shoal_api_context *context, const shoal_fields *fields, shoal_ids *ids)
{
    shoal_strbuf text = {0};
    shoal_api_tools tools;
    json_t *given;
    bool add_special = false, read;
    if (!find_text(fields, &given, &add_special))
        return false;
    if (given) {
        const shoal_status st =
            shoal_strbuf_append(&text, json_string_value(given), json_string_length(given));
        read = st == SHOAL_OK || shoal_api_refuse_status(fields->error, st);
    } else if (shoal_json_member(fields->object, "messages")) {
        read = shoal_api_read_tools(fields, &tools) &&
               shoal_api_render_chat(context, fields, &tools, &text);
    } else {
        return shoal_field_refuse(fields->error, SHOAL_CODE_MISSING, "prompt", "is required");
    }
    read = read && shoal_api_encode(context, &text, add_special ? SHOAL_ENCODE_ADD_SPECIAL : 0,
                                    given ? "prompt" : "messages", ids, fields->error);
    shoal_strbuf_free(&text);
    return read;
}

static shoal_status write_ids(const shoal_api_context *context, const shoal_ids *ids,
                              shoal_strbuf *answer)
{
    shoal_json_writer w = shoal_write_begin(answer);
    shoal_write_open(&w, '{');
    shoal_write_key_open(&w, "tokens", '[');
    for (size_t i = 0; i < ids->count; i++)
        shoal_write_int(&w, ids->data[i]);
    shoal_write_close(&w, ']');
    shoal_write_key_int(&w, "count", (int64_t)ids->count);
    shoal_write_key_int(&w, "max_model_len", context->context);
    shoal_write_close(&w, '}');
    return shoal_write_end(&w);
}

bool shoal_api_tokenize(const shoal_api_context *context, const char *body, size_t bytes,
                        shoal_strbuf *answer, shoal_api_error *error)
{
    shoal_ids ids = {0};
    json_t *json = shoal_api_open_body(context, SHOAL_FOR_TOKENIZE, body, bytes, error);
    if (!json)
        return false;
    const shoal_fields fields = {json, "", error};
    bool done = tokenize(context, &fields, &ids);
    if (done) {
        const shoal_status st = write_ids(context, &ids, answer);
        done = st == SHOAL_OK || shoal_api_refuse_status(error, st);
    }
    shoal_ids_free(&ids);
    json_decref(json);
    return done;
}

static shoal_status write_text(const shoal_api_context *context, const shoal_ids *ids,
                               shoal_strbuf *answer)
{
    shoal_strbuf text = {0};
    shoal_status st =
        shoal_tokenizer_decode(context->tokenizer, ids->data, ids->count, false, &text);
    if (st == SHOAL_OK) {
        shoal_json_writer w = shoal_write_begin(answer);
        shoal_write_open(&w, '{');
        shoal_write_key(&w, "prompt");
        shoal_write_text(&w, text.data, text.bytes);
        shoal_write_key(&w, "content");
        shoal_write_text(&w, text.data, text.bytes);
        shoal_write_close(&w, '}');
        st = shoal_write_end(&w);
    }
    shoal_strbuf_free(&text);
    return st;
}

static bool detokenize(const shoal_api_context *context, const shoal_fields *fields,
                       shoal_strbuf *answer)
{
    shoal_ids ids = {0};
    json_t *list;
    if (!context->tokenizer)
        return shoal_field_refuse(fields->error, SHOAL_CODE_UNSUPPORTED, "tokens",
                                  "needs a tokenizer, and this model has none");
    bool done = shoal_field_required(fields, "tokens", JSON_ARRAY, &list);
    if (done && json_array_size(list) > SHOAL_API_DETOKENIZE_MAX)
        done = shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "tokens",
                                "'tokens' has %zu ids; at most %d are taken.",
                                json_array_size(list), SHOAL_API_DETOKENIZE_MAX);
    done = done && shoal_api_read_ids(context, list, "tokens", &ids, fields->error);
    if (done) {
        const shoal_status st = write_text(context, &ids, answer);
        done = st == SHOAL_OK || shoal_api_refuse_status(fields->error, st);
    }
    shoal_ids_free(&ids);
    return done;
}

bool shoal_api_detokenize(const shoal_api_context *context, const char *body, size_t bytes,
                          shoal_strbuf *answer, shoal_api_error *error)
{
    json_t *json = shoal_api_open_body(context, SHOAL_FOR_DETOKENIZE, body, bytes, error);
    if (!json)
        return false;
    const shoal_fields fields = {json, "", error};
    const bool done = detokenize(context, &fields, answer);
    json_decref(json);
    return done;
}

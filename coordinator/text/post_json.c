/* "post_processor" of tokenizer.json: special tokens around a text. */
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"

#define POST "post_processor"

static shoal_status check_special(const shoal_tokenizer *t, const char *name, json_int_t id)
{
    if (!shoal_vocab_kind(t->vocab, id))
        return shoal_fail(SHOAL_ERR_DATA, POST ": \"%.64s\" has id %lld, which is no token", name,
                          (long long)id);
    return SHOAL_OK;
}

/* Append the ids that the template's own table gives for a special token. */
static shoal_status append_special(const json_t *json, const json_t *token, shoal_tokenizer *t,
                                   shoal_ids *out)
{
    const char *name;
    json_t *table, *entry, *ids;
    SHOAL_TRY(shoal_json_name(token, POST ": SpecialToken", "id", &name));
    SHOAL_TRY(shoal_json_object(json, POST, "special_tokens", &table));
    SHOAL_TRY(shoal_json_object(table, POST ": special_tokens", name, &entry));
    SHOAL_TRY(shoal_json_array(entry, POST ": special_tokens", "ids", &ids));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id))
            return shoal_fail(SHOAL_ERR_DATA, POST ": an id of \"%.64s\" is no integer", name);
        SHOAL_TRY(check_special(t, name, json_integer_value(id)));
        SHOAL_TRY(shoal_ids_push(out, (int32_t)json_integer_value(id)));
    }
    return SHOAL_OK;
}

/* Put ids around what is around the text already: a later processor goes outside. */
static shoal_status wrap(shoal_tokenizer *t, const shoal_ids *before, const shoal_ids *after)
{
    shoal_status st = SHOAL_OK;
    shoal_ids joined = {0};
    SHOAL_TRY_GOTO(shoal_ids_append(&joined, before), fail);
    SHOAL_TRY_GOTO(shoal_ids_append(&joined, &t->before), fail);
    SHOAL_TRY_GOTO(shoal_ids_append(&t->after, after), fail);
    shoal_ids_free(&t->before);
    t->before = joined;
    return SHOAL_OK;

fail:
    shoal_ids_free(&joined);
    return st;
}

/* One element of the template; *seen turns true at the text itself. */
static shoal_status read_template_item(const json_t *json, const json_t *item, shoal_tokenizer *t,
                                       bool *seen, shoal_ids *before, shoal_ids *after)
{
    const json_t *special = shoal_json_member(item, "SpecialToken");
    const json_t *sequence = shoal_json_member(item, "Sequence");
    if (special)
        return append_special(json, special, t, *seen ? after : before);
    const char *name = "";
    if (sequence)
        SHOAL_TRY(shoal_json_name(sequence, POST ": Sequence", "id", &name));
    if (strcmp(name, "A") != 0 || *seen)
        return shoal_fail(SHOAL_ERR_DATA, POST ": the template must hold the text once");
    *seen = true;
    return SHOAL_OK;
}

static shoal_status read_template(const json_t *json, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_ids before = {0}, after = {0};
    json_t *single;
    bool seen = false;
    SHOAL_TRY(shoal_json_array(json, POST, "single", &single));
    for (size_t i = 0; i < json_array_size(single); i++)
        SHOAL_TRY_GOTO(
            read_template_item(json, json_array_get(single, i), t, &seen, &before, &after), done);
    if (!seen) {
        st = shoal_fail(SHOAL_ERR_DATA, POST ": the template must hold the text once");
        goto done;
    }
    st = wrap(t, &before, &after);
done:
    shoal_ids_free(&after);
    shoal_ids_free(&before);
    return st;
}

/* ["[CLS]", 101] */
static shoal_status read_named_id(const json_t *json, const shoal_tokenizer *t, const char *key,
                                  shoal_ids *out)
{
    json_t *pair;
    SHOAL_TRY(shoal_json_array(json, POST, key, &pair));
    const json_t *name = json_array_get(pair, 0), *id = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_string(name) || !json_is_integer(id))
        return shoal_fail(SHOAL_ERR_DATA, POST ": \"%s\" must be [name, id]", key);
    SHOAL_TRY(check_special(t, json_string_value(name), json_integer_value(id)));
    return shoal_ids_push(out, (int32_t)json_integer_value(id));
}

/* One token before the text and one behind it. */
static shoal_status read_cls_sep(const json_t *json, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_ids before = {0}, after = {0};
    SHOAL_TRY_GOTO(read_named_id(json, t, "cls", &before), done);
    SHOAL_TRY_GOTO(read_named_id(json, t, "sep", &after), done);
    st = wrap(t, &before, &after);
done:
    shoal_ids_free(&after);
    shoal_ids_free(&before);
    return st;
}

static shoal_status nothing(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    (void)t;
    return SHOAL_OK;
}

static const shoal_step_row post_rows[] = {
    {"TemplateProcessing", read_template},
    {"ByteLevel", nothing}, /* moves offsets only */
    {"RobertaProcessing", read_cls_sep},
    {"BertProcessing", read_cls_sep},
};

static const shoal_step_part post_part = {POST, "processors", post_rows,
                                          sizeof post_rows / sizeof post_rows[0]};

shoal_status shoal_tokenizer_read_post(const json_t *json, shoal_tokenizer *t)
{
    return shoal_step_read(&post_part, json, t);
}

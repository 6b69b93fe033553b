#include "coordinator/text/tokenizer_steps.h"

#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"

/* ---- parts: each has a "type", and a Sequence holds a list of its like ---- */

typedef shoal_status (*step_reader)(const json_t *json, shoal_tokenizer *t);

typedef struct {
    const char *type;
    step_reader read;
} step_row;

typedef struct {
    const char *name; /* the part, for sentences     */
    const char *list; /* what a Sequence calls its list */
    const step_row *rows;
    size_t count;
    step_reader other; /* for a type without a row; NULL: unsupported */
} part;

static shoal_status read_part(const part *p, const json_t *json, shoal_tokenizer *t, int depth)
{
    const char *type;
    if (!json_is_object(json))
        return shoal_fail(SHOAL_ERR_DATA, "%s: must be an object", p->name);
    if (depth > SHOAL_TOKENIZER_NEST_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: Sequences nested more than %d deep", p->name,
                          SHOAL_TOKENIZER_NEST_MAX);
    SHOAL_TRY(shoal_json_name(json, p->name, "type", &type));
    if (strcmp(type, "Sequence") == 0) {
        json_t *list;
        SHOAL_TRY(shoal_json_array(json, p->name, p->list, &list));
        for (size_t i = 0; i < json_array_size(list); i++)
            SHOAL_TRY(read_part(p, json_array_get(list, i), t, depth + 1));
        return SHOAL_OK;
    }
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(type, p->rows[i].type) == 0)
            return p->rows[i].read(json, t);
    if (p->other)
        return p->other(json, t);
    return shoal_fail(SHOAL_ERR_DATA, "%s: type \"%.64s\" is unsupported", p->name, type);
}

static shoal_status nothing(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    (void)t;
    return SHOAL_OK;
}

/* ---- normalizer ---- */

static shoal_status read_normalizer(const json_t *json, shoal_tokenizer *t)
{
    const char *type;
    SHOAL_TRY(shoal_json_name(json, "normalizer", "type", &type));
    return shoal_normalizer_add(&t->normalizer, type);
}

static const part normalizer_part = {"normalizer", "normalizers", NULL, 0, read_normalizer};

shoal_status shoal_tokenizer_read_normalizer(const json_t *json, shoal_tokenizer *t)
{
    return json && !json_is_null(json) ? read_part(&normalizer_part, json, t, 0) : SHOAL_OK;
}

/* ---- pre_tokenizer ---- */

#define PRE "pre_tokenizer"

/* How GPT-2 cuts text; ByteLevel does it unless told otherwise. */
static const char gpt2_words[] = "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+|"
                                 " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const struct {
    const char *name;
    shoal_split_behavior behavior;
} behaviors[] = {
    {"Removed", SHOAL_SPLIT_REMOVED},
    {"Isolated", SHOAL_SPLIT_ISOLATED},
    {"MergedWithPrevious", SHOAL_SPLIT_WITH_PREVIOUS},
    {"MergedWithNext", SHOAL_SPLIT_WITH_NEXT},
    {"Contiguous", SHOAL_SPLIT_CONTIGUOUS},
};

static shoal_status read_behavior(const json_t *json, shoal_split_behavior *out)
{
    const char *name;
    SHOAL_TRY(shoal_json_name(json, PRE, "behavior", &name));
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        if (strcmp(name, behaviors[i].name) == 0) {
            *out = behaviors[i].behavior;
            return SHOAL_OK;
        }
    }
    return shoal_fail(SHOAL_ERR_DATA, PRE ": behavior \"%.64s\" is unknown", name);
}

/* Takes the pattern in any case. */
static shoal_status add_split(shoal_tokenizer *t, shoal_pattern *pattern,
                              shoal_split_behavior behavior, bool invert)
{
    const shoal_pretoken_step step = {SHOAL_PRETOKEN_SPLIT, pattern, behavior, invert};
    const shoal_status st = shoal_pretokenizer_add(&t->pretokenizer, &step);
    if (st != SHOAL_OK)
        shoal_pattern_free(pattern);
    return st;
}

static shoal_status add_regex(shoal_tokenizer *t, const char *regex, shoal_split_behavior behavior)
{
    shoal_pattern *pattern;
    SHOAL_TRY(shoal_pattern_compile(regex, strlen(regex), &pattern));
    return add_split(t, pattern, behavior, false);
}

static shoal_status read_pattern(const json_t *json, shoal_pattern **out)
{
    json_t *pattern;
    const char *text;
    size_t bytes;
    SHOAL_TRY(shoal_json_object(json, PRE, "pattern", &pattern));
    SHOAL_TRY(shoal_json_text(pattern, PRE ": pattern", "Regex", &text, &bytes));
    if (text)
        return shoal_pattern_compile(text, bytes, out);
    SHOAL_TRY(shoal_json_text(pattern, PRE ": pattern", "String", &text, &bytes));
    if (text)
        return shoal_pattern_compile_literal(text, bytes, out);
    return shoal_fail(SHOAL_ERR_DATA, PRE ": the pattern is neither Regex nor String");
}

static shoal_status read_split(const json_t *json, shoal_tokenizer *t)
{
    shoal_split_behavior behavior = SHOAL_SPLIT_ISOLATED;
    bool invert = false;
    shoal_pattern *pattern = NULL;
    SHOAL_TRY(read_behavior(json, &behavior));
    SHOAL_TRY(shoal_json_bool(json, PRE, "invert", false, &invert));
    SHOAL_TRY(read_pattern(json, &pattern));
    return add_split(t, pattern, behavior, invert);
}

static shoal_status read_byte_level(const json_t *json, shoal_tokenizer *t)
{
    bool prefix_space, use_regex;
    SHOAL_TRY(shoal_json_bool(json, PRE, "add_prefix_space", true, &prefix_space));
    SHOAL_TRY(shoal_json_bool(json, PRE, "use_regex", true, &use_regex));
    if (prefix_space)
        SHOAL_TRY(shoal_pretokenizer_add(
            &t->pretokenizer, &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_PREFIX_SPACE}));
    if (use_regex)
        SHOAL_TRY(add_regex(t, gpt2_words, SHOAL_SPLIT_ISOLATED));
    return shoal_pretokenizer_add(&t->pretokenizer,
                                  &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_BYTE_ALPHABET});
}

static shoal_status read_digits(const json_t *json, shoal_tokenizer *t)
{
    bool single;
    SHOAL_TRY(shoal_json_bool(json, PRE, "individual_digits", false, &single));
    return add_regex(t, "\\p{N}", single ? SHOAL_SPLIT_ISOLATED : SHOAL_SPLIT_CONTIGUOUS);
}

/* Punctuation of Unicode and what else ASCII counts as such. */
static shoal_status read_punctuation(const json_t *json, shoal_tokenizer *t)
{
    shoal_split_behavior behavior = SHOAL_SPLIT_ISOLATED;
    if (shoal_json_member(json, "behavior"))
        SHOAL_TRY(read_behavior(json, &behavior));
    return add_regex(t, "[\\p{P}$+<=>^`|~]", behavior);
}

static const step_row pretokenizer_rows[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Digits", read_digits},
    {"Punctuation", read_punctuation},
};

static const part pretokenizer_part = {PRE, "pretokenizers", pretokenizer_rows,
                                       sizeof pretokenizer_rows / sizeof pretokenizer_rows[0],
                                       NULL};

shoal_status shoal_tokenizer_read_pretokenizer(const json_t *json, shoal_tokenizer *t)
{
    return json && !json_is_null(json) ? read_part(&pretokenizer_part, json, t, 0) : SHOAL_OK;
}

/* ---- decoder ---- */

static shoal_status read_byte_level_decoder(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    if (t->decoder == SHOAL_DECODER_BYTE_LEVEL)
        return shoal_fail(SHOAL_ERR_DATA, "decoder: ByteLevel twice");
    t->decoder = SHOAL_DECODER_BYTE_LEVEL;
    return SHOAL_OK;
}

/* Fuse joins what ByteLevel has joined already; alone it would mean something else. */
static shoal_status read_fuse_decoder(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    if (t->decoder != SHOAL_DECODER_BYTE_LEVEL)
        return shoal_fail(SHOAL_ERR_DATA, "decoder: Fuse without ByteLevel is unsupported");
    return SHOAL_OK;
}

static const step_row decoder_rows[] = {
    {"ByteLevel", read_byte_level_decoder},
    {"Fuse", read_fuse_decoder},
};

static const part decoder_part = {"decoder", "decoders", decoder_rows,
                                  sizeof decoder_rows / sizeof decoder_rows[0], NULL};

shoal_status shoal_tokenizer_read_decoder(const json_t *json, shoal_tokenizer *t)
{
    return json && !json_is_null(json) ? read_part(&decoder_part, json, t, 0) : SHOAL_OK;
}

/* ---- post_processor ---- */

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

static const step_row post_rows[] = {
    {"TemplateProcessing", read_template},
    {"ByteLevel", nothing}, /* moves offsets only */
    {"RobertaProcessing", read_cls_sep},
    {"BertProcessing", read_cls_sep},
};

static const part post_part = {POST, "processors", post_rows,
                               sizeof post_rows / sizeof post_rows[0], NULL};

shoal_status shoal_tokenizer_read_post(const json_t *json, shoal_tokenizer *t)
{
    return json && !json_is_null(json) ? read_part(&post_part, json, t, 0) : SHOAL_OK;
}

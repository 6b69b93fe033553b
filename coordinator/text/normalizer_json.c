/* "normalizer" of tokenizer.json, as steps of normalizer.h. */
#include <string.h>

#include "coordinator/text/base64.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"

#define WHERE "normalizer"

static shoal_status add_form(shoal_tokenizer *t, shoal_unicode_form form)
{
    return shoal_normalizer_add(&t->normalizer,
                                &(shoal_normal_step){.kind = SHOAL_NORMAL_FORM, .form = form});
}

static shoal_status add_map(shoal_tokenizer *t, shoal_char_map map)
{
    return shoal_normalizer_add(&t->normalizer,
                                &(shoal_normal_step){.kind = SHOAL_NORMAL_CHARACTERS, .map = map});
}

static shoal_status read_form(const json_t *json, shoal_tokenizer *t)
{
    static const struct {
        const char *type;
        shoal_unicode_form form;
    } forms[] = {{"NFC", SHOAL_UNICODE_NFC},
                 {"NFD", SHOAL_UNICODE_NFD},
                 {"NFKC", SHOAL_UNICODE_NFKC},
                 {"NFKD", SHOAL_UNICODE_NFKD}};
    const char *type;
    size_t i = 0;
    SHOAL_TRY(shoal_json_name(json, WHERE, "type", &type));
    while (strcmp(type, forms[i].type) != 0)
        i++; /* the row that brought us here is one of them */
    return add_form(t, forms[i].form);
}

static shoal_status read_lowercase(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_map(t, shoal_char_lower);
}

static shoal_status read_strip_accents(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_map(t, shoal_char_drop_marks);
}

static shoal_status read_nmt(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_map(t, shoal_char_nmt);
}

static shoal_status read_strip(const json_t *json, shoal_tokenizer *t)
{
    shoal_normal_step step = {.kind = SHOAL_NORMAL_STRIP};
    SHOAL_TRY(shoal_json_bool(json, WHERE, "strip_left", false, &step.left));
    SHOAL_TRY(shoal_json_bool(json, WHERE, "strip_right", false, &step.right));
    return shoal_normalizer_add(&t->normalizer, &step);
}

static shoal_status read_prepend(const json_t *json, shoal_tokenizer *t)
{
    shoal_normal_step step = {.kind = SHOAL_NORMAL_PREPEND};
    SHOAL_TRY(shoal_step_text(json, WHERE, "prepend", &step.text));
    return shoal_normalizer_add(&t->normalizer, &step);
}

static shoal_status read_replace(const json_t *json, shoal_tokenizer *t)
{
    shoal_normal_step step = {.kind = SHOAL_NORMAL_REPLACE};
    SHOAL_TRY(shoal_step_pattern(json, WHERE, &step.pattern));
    const shoal_status st = shoal_step_text(json, WHERE, "content", &step.text);
    if (st != SHOAL_OK) {
        shoal_pattern_free(step.pattern);
        return st;
    }
    return shoal_normalizer_add(&t->normalizer, &step);
}

static shoal_status read_precompiled(const json_t *json, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_normal_step step = {.kind = SHOAL_NORMAL_CHARSMAP_GRAPHEMES};
    shoal_strbuf blob = {0};
    const char *text;
    size_t bytes;
    SHOAL_TRY(shoal_json_text(json, WHERE, "precompiled_charsmap", &text, &bytes));
    if (!text)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": \"precompiled_charsmap\" must be a string");
    SHOAL_TRY_GOTO(shoal_base64_decode(text, bytes, &blob), done);
    SHOAL_TRY_GOTO(shoal_charsmap_create(blob.data, blob.bytes, &step.charsmap), done);
    st = shoal_normalizer_add(&t->normalizer, &step);
done:
    shoal_strbuf_free(&blob);
    return st == SHOAL_OK ? st : shoal_fail_within(st, WHERE ": Precompiled");
}

static shoal_status read_byte_level(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return shoal_normalizer_add(&t->normalizer,
                                &(shoal_normal_step){.kind = SHOAL_NORMAL_BYTE_ALPHABET});
}

/* Accents are dropped with lower case unless the file says otherwise. */
static shoal_status read_bert(const json_t *json, shoal_tokenizer *t)
{
    bool clean, chinese, lower, accents;
    SHOAL_TRY(shoal_json_bool(json, WHERE, "clean_text", true, &clean));
    SHOAL_TRY(shoal_json_bool(json, WHERE, "handle_chinese_chars", true, &chinese));
    SHOAL_TRY(shoal_json_bool(json, WHERE, "lowercase", true, &lower));
    SHOAL_TRY(shoal_json_bool(json, WHERE, "strip_accents", lower, &accents));
    if (clean)
        SHOAL_TRY(add_map(t, shoal_char_bert_clean));
    if (chinese)
        SHOAL_TRY(add_map(t, shoal_char_bert_chinese));
    if (accents) {
        SHOAL_TRY(add_form(t, SHOAL_UNICODE_NFD));
        SHOAL_TRY(add_map(t, shoal_char_drop_accents));
    }
    return lower ? add_map(t, shoal_char_lower) : SHOAL_OK;
}

static const shoal_step_row rows[] = {
    {"NFC", read_form},
    {"NFD", read_form},
    {"NFKC", read_form},
    {"NFKD", read_form},
    {"Lowercase", read_lowercase},
    {"Strip", read_strip},
    {"StripAccents", read_strip_accents},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"Precompiled", read_precompiled},
    {"Nmt", read_nmt},
    {"BertNormalizer", read_bert},
    {"ByteLevel", read_byte_level},
};

static const shoal_step_part normalizer_part = {WHERE, "normalizers", rows,
                                                sizeof rows / sizeof rows[0]};

shoal_status shoal_tokenizer_read_normalizer(const json_t *json, shoal_tokenizer *t)
{
    return shoal_step_read(&normalizer_part, json, t);
}

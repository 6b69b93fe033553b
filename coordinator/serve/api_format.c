#include "coordinator/serve/api_format.h"

#include <string.h>

#include "coordinator/text/json_fields.h"
#include "proto/arena.h"

typedef enum { FREE, ANY_OBJECT, SCHEMA, REGEX, CHOICE } form_kind;

/* What is asked for, and by which field. */
typedef struct {
    form_kind kind;
    const char *name;
    json_t *value; /* borrowed from the body */
} form;

/* ---- which form ------------------------------------------------------------------------------ */

static bool choose(form *f, form_kind kind, const char *name, json_t *value, shoal_api_error *error)
{
    if (f->kind != FREE)
        return shoal_api_refuse(error, 400, SHOAL_CODE_VALUE, name,
                                "'%s' cannot be combined with '%s'.", name, f->name);
    *f = (form){kind, name, value};
    return true;
}

static bool read_json_schema(const shoal_fields *format, json_t **schema)
{
    json_t *wrapper, *ignored;
    bool strict;
    if (!shoal_field_required(format, "json_schema", JSON_OBJECT, &wrapper))
        return false;
    const shoal_fields inner = {wrapper, "response_format.json_schema.", format->error};
    return shoal_field_value(&inner, "name", JSON_STRING, &ignored) &&
           shoal_field_value(&inner, "description", JSON_STRING, &ignored) &&
           shoal_field_bool(&inner, "strict", &strict) &&
           shoal_field_required(&inner, "schema", JSON_OBJECT, schema);
}

static bool read_response_format(const shoal_fields *fields, form *out)
{
    static const char name[] = "response_format";
    json_t *format, *type, *schema;
    if (!shoal_field_value(fields, name, JSON_OBJECT, &format))
        return false;
    if (!format)
        return true;
    const shoal_fields inner = {format, "response_format.", fields->error};
    if (!shoal_field_required(&inner, "type", JSON_STRING, &type))
        return false;
    const char *word = json_string_value(type);
    if (strcmp(word, "text") == 0)
        return true;
    if (strcmp(word, "json_object") == 0)
        return shoal_field_value(&inner, "schema", JSON_OBJECT, &schema) &&
               choose(out, schema ? SCHEMA : ANY_OBJECT, name, schema, fields->error);
    if (strcmp(word, "json_schema") == 0)
        return read_json_schema(&inner, &schema) &&
               choose(out, SCHEMA, name, schema, fields->error);
    return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "response_format.type",
                              "must be one of text, json_object, json_schema");
}

typedef struct {
    const char *key, *name;
    form_kind kind;
} form_field;

static const form_field guided[] = {
    {"guided_json", "guided_json", SCHEMA},
    {"guided_regex", "guided_regex", REGEX},
    {"guided_choice", "guided_choice", CHOICE},
};

static const form_field structured[] = {
    {"json", "structured_outputs.json", SCHEMA},
    {"regex", "structured_outputs.regex", REGEX},
    {"choice", "structured_outputs.choice", CHOICE},
    {"json_object", "structured_outputs.json_object", ANY_OBJECT},
};

static bool read_guided(const shoal_fields *fields, form *out)
{
    for (size_t i = 0; i < sizeof guided / sizeof guided[0]; i++) {
        json_t *value = shoal_json_member(fields->object, guided[i].key);
        if (value && !choose(out, guided[i].kind, guided[i].name, value, fields->error))
            return false;
    }
    return true;
}

static const form_field *find_structured(const char *key)
{
    for (size_t i = 0; i < sizeof structured / sizeof structured[0]; i++)
        if (strcmp(structured[i].key, key) == 0)
            return &structured[i];
    return NULL;
}

/* Switches that are off are no wish. */
static bool read_structured(const shoal_fields *fields, form *out)
{
    json_t *object, *value;
    const char *key;
    if (!shoal_field_value(fields, "structured_outputs", JSON_OBJECT, &object))
        return false;
    json_object_foreach(object, key, value)
    {
        const form_field *field = find_structured(key);
        if (json_is_null(value) || json_is_false(value))
            continue;
        if (field && !choose(out, field->kind, field->name, value, fields->error))
            return false;
        if (field)
            continue;
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_UNSUPPORTED, "structured_outputs",
                                "'structured_outputs.%s' is not supported in this version.", key);
    }
    return true;
}

/* ---- its grammar ----------------------------------------------------------------------------- */

/* What a grammar cannot be made of is the client's to change. */
static bool refuse(const char *name, const char *code, shoal_status st, shoal_api_error *error)
{
    if (st != SHOAL_ERR_DATA)
        return shoal_api_refuse_status(error, st);
    return shoal_api_refuse(error, 400, code, name, "'%s': %s.", name, shoal_error_text());
}

static bool refuse_grammar(const form *f, shoal_status st, shoal_api_error *error)
{
    return refuse(f->name, SHOAL_CODE_VALUE, st, error);
}

bool shoal_api_compile_schema(const json_t *schema, const char *name, shoal_grammar **out,
                              shoal_api_error *error)
{
    if (json_dumpb(schema, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) > SHOAL_GRAMMAR_SCHEMA_MAX)
        return shoal_field_refuse(error, SHOAL_CODE_VALUE, name, "is too large a schema");
    const shoal_status st = shoal_grammar_from_schema(schema, out);
    return st == SHOAL_OK || refuse(name, "invalid_json_schema", st, error);
}

/* The schema itself, or its JSON text: a reference the caller gives back; NULL when refused. */
static json_t *open_schema(const form *f, shoal_api_error *error)
{
    shoal_api_error inner = {0};
    if (!json_is_string(f->value))
        return json_incref(f->value);
    json_t *schema =
        shoal_api_parse_json(json_string_value(f->value), json_string_length(f->value), &inner);
    if (inner.status == 400)
        (void)shoal_field_refuse(error, SHOAL_CODE_VALUE, f->name,
                                 "must be a schema or the valid JSON text of one");
    else if (!schema)
        *error = inner;
    return schema;
}

static bool compile_schema(const form *f, shoal_grammar **out, shoal_api_error *error)
{
    json_t *schema = open_schema(f, error);
    const bool compiled = schema && shoal_api_compile_schema(schema, f->name, out, error);
    json_decref(schema);
    return compiled;
}

static bool compile_regex(const form *f, shoal_grammar **out, shoal_api_error *error)
{
    if (!json_is_string(f->value))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, f->name, "must be a string");
    const shoal_status st =
        shoal_grammar_from_regex(json_string_value(f->value), json_string_length(f->value), out);
    return st == SHOAL_OK || refuse_grammar(f, st, error);
}

/* The texts of a list of strings, and their lengths behind them: one block. */
static bool list_texts(const form *f, const char ***texts, size_t **lengths, shoal_api_error *error)
{
    void *block;
    const size_t count = json_array_size(f->value);
    if (!json_is_array(f->value) || count == 0 || count > SHOAL_GRAMMAR_CHOICES_MAX)
        return shoal_api_refuse(error, 400, SHOAL_CODE_TYPE, f->name,
                                "'%s' must be a list of 1 to %d strings.", f->name,
                                SHOAL_GRAMMAR_CHOICES_MAX);
    const shoal_status st =
        shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof **texts + sizeof **lengths, &block);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(error, st);
    *texts = block;
    *lengths = (size_t *)(*texts + count);
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(f->value, i);
        (*texts)[i] = json_string_value(text);
        (*lengths)[i] = json_string_length(text);
        if (!(*texts)[i]) {
            shoal_free(block);
            return shoal_field_refuse(error, SHOAL_CODE_TYPE, f->name, "must be a list of strings");
        }
    }
    return true;
}

static bool compile_choice(const form *f, shoal_grammar **out, shoal_api_error *error)
{
    const char **texts = NULL;
    size_t *lengths = NULL;
    if (!list_texts(f, &texts, &lengths, error))
        return false;
    const shoal_status st =
        shoal_grammar_from_choices(texts, lengths, json_array_size(f->value), out);
    shoal_free(texts);
    return st == SHOAL_OK || refuse_grammar(f, st, error);
}

static bool compile_object(const form *f, shoal_grammar **out, shoal_api_error *error)
{
    if (f->value && !json_is_true(f->value))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, f->name, "must be true or false");
    const shoal_status st = shoal_grammar_json_object(out);
    return st == SHOAL_OK || refuse_grammar(f, st, error);
}

static bool (*const compile[])(const form *, shoal_grammar **, shoal_api_error *) = {
    [ANY_OBJECT] = compile_object,
    [SCHEMA] = compile_schema,
    [REGEX] = compile_regex,
    [CHOICE] = compile_choice,
};

/* ---- the door -------------------------------------------------------------------------------- */

bool shoal_api_bind(const shoal_api_context *context, const char *name, shoal_grammar *grammar,
                    shoal_api_request *out, shoal_api_error *error)
{
    if (!context->trie)
        return shoal_field_refuse(error, SHOAL_CODE_UNSUPPORTED, name,
                                  "is not supported with the tokenizer of this model");
    if (out->masks)
        return shoal_field_refuse(error, SHOAL_CODE_VALUE, name,
                                  "cannot be combined with another form of the answer");
    const shoal_status st = shoal_token_masks_create(grammar, context->trie, &out->masks);
    return st == SHOAL_OK || shoal_api_refuse_status(error, st);
}

bool shoal_api_read_format(const shoal_api_context *context, const shoal_fields *fields,
                           shoal_api_request *out)
{
    form f = {FREE, NULL, NULL};
    shoal_grammar *grammar = NULL;
    if (!read_response_format(fields, &f) || !read_guided(fields, &f) ||
        !read_structured(fields, &f))
        return false;
    if (f.kind == FREE)
        return true;
    if (!compile[f.kind](&f, &grammar, fields->error))
        return false;
    const bool bound = shoal_api_bind(context, f.name, grammar, out, fields->error);
    shoal_grammar_release(grammar);
    return bound;
}

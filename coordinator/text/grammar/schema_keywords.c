#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/grammar/format.h"
#include "coordinator/text/grammar/number_form.h"
#include "coordinator/text/grammar/schema_compiler.h"

/* Characters of the longest string that a length can ask for. */
#define LENGTH_MAX 65536

/* One keyword of a schema that is being looked at. */
typedef struct {
    const json_t *schema, *value;
    const char *name;
    int32_t demand;
} keyword;

typedef shoal_status reader(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k);

static shoal_status wrong(const shoal_schema_compiler *c, const keyword *k, const char *reason)
{
    return shoal_schema_fail(c, k->schema, k->name, reason);
}

/* A bound: a whole number from 0 (1.0 too); above `most` it is `most`. */
static shoal_status read_count(const shoal_schema_compiler *c, const keyword *k, int64_t *count)
{
    const double value = json_number_value(k->value);
    if (!json_is_number(k->value) || value < 0 || value != floor(value))
        return wrong(c, k, "must be a whole number from 0");
    *count = value >= INT32_MAX ? INT32_MAX : (int64_t)value;
    return SHOAL_OK;
}

static shoal_status demand(shoal_schema_compiler *c, shoal_schema_term *term, const json_t *json,
                           shoal_demand_kind kind)
{
    int32_t number;
    SHOAL_TRY(shoal_schema_demand(c, json, kind, &number));
    return shoal_ids_push(&term->pending, number);
}

/* ---- any value ------------------------------------------------------------------------------- */

static shoal_status narrow_regex(shoal_schema_compiler *c, const keyword *k, const char *regex,
                                 size_t bytes, shoal_regex_use use, int32_t *automaton)
{
    int32_t id;
    shoal_status st = shoal_dfa_pool_regex(&c->pool, regex, bytes, use, &id);
    if (st == SHOAL_OK)
        st = shoal_schema_narrow(c, id, automaton);
    return st == SHOAL_OK ? st : shoal_schema_fail_within(c, st, k->schema, k->name);
}

static shoal_status narrow_number(shoal_schema_compiler *c, shoal_schema_term *term,
                                  const keyword *k, const char *regex)
{
    return narrow_regex(c, k, regex, strlen(regex), SHOAL_REGEX_WHOLE, &term->number);
}

/* The types of one name; *integer = numbers must be whole. */
static unsigned types_of(const char *name, bool *integer)
{
    static const struct {
        const char *name;
        unsigned types;
    } table[] = {{"null", SHOAL_JSON_NULL},        {"boolean", SHOAL_JSON_FALSE | SHOAL_JSON_TRUE},
                 {"integer", SHOAL_SCHEMA_NUMBER}, {"number", SHOAL_SCHEMA_NUMBER},
                 {"string", SHOAL_SCHEMA_STRING},  {"object", SHOAL_SCHEMA_OBJECT},
                 {"array", SHOAL_SCHEMA_ARRAY}};
    *integer = name && strcmp(name, "integer") == 0;
    for (size_t i = 0; name && i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].types;
    return 0;
}

static shoal_status read_type(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    const bool list = json_is_array(k->value);
    const size_t count = list ? json_array_size(k->value) : 1;
    unsigned types = 0;
    bool integers = false, numbers = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = list ? json_array_get(k->value, i) : k->value;
        bool integer;
        const unsigned t = types_of(json_string_value(one), &integer);
        if (!t)
            return wrong(c, k, "names no type of JSON Schema");
        types |= t;
        integers |= integer;
        numbers |= t == SHOAL_SCHEMA_NUMBER && !integer;
    }
    term->types &= types;
    return integers && !numbers ? narrow_number(c, term, k, SHOAL_NUMBER_INTEGER) : SHOAL_OK;
}

static shoal_status read_enum(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    size_t i;
    json_t *value;
    if (!json_is_array(k->value))
        return wrong(c, k, "must be an array");
    SHOAL_TRY(shoal_schema_scalars(c, term, k->value));
    json_array_foreach(k->value, i,
                       value) if (json_is_object(value) ||
                                  json_is_array(value)) return shoal_ids_push(&term->splits,
                                                                              k->demand -
                                                                                  k->demand % 4 +
                                                                                  SHOAL_SPLIT_ENUM);
    return SHOAL_OK;
}

static shoal_status read_const(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    return demand(c, term, k->value, SHOAL_DEMAND_EQUAL);
}

/* At the root it names the document; further inside it would change what references mean. */
static shoal_status read_id(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    (void)term;
    return k->schema == c->root ? SHOAL_OK : wrong(c, k, "is only supported at the root");
}

static shoal_status read_ref(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    const json_t *target;
    SHOAL_TRY(shoal_schema_resolve(c, k->schema, k->value, &target));
    return demand(c, term, target, SHOAL_DEMAND_SCHEMA);
}

static shoal_status read_all_of(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    size_t i;
    json_t *one;
    if (!json_is_array(k->value))
        return wrong(c, k, "must be an array of schemas");
    json_array_foreach(k->value, i, one) SHOAL_TRY(demand(c, term, one, SHOAL_DEMAND_SCHEMA));
    return SHOAL_OK;
}

static shoal_status read_any_of(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    if (json_array_size(k->value) == 0)
        return wrong(c, k, "must be an array of schemas");
    const shoal_split_kind kind = *k->name == 'a' ? SHOAL_SPLIT_ANY_OF : SHOAL_SPLIT_ONE_OF;
    return shoal_ids_push(&term->splits, k->demand - k->demand % 4 + (int32_t)kind);
}

static shoal_status read_not(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    return demand(c, term, k->value, SHOAL_DEMAND_NOT);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static shoal_status read_bound(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    const bool exclusive = *k->name == 'e';
    const bool above = strstr(k->name, "inimum") != NULL;
    shoal_strbuf regex = {0};
    shoal_decimal value;
    if (!json_is_number(k->value))
        return wrong(c, k, "must be a number");
    shoal_decimal_from(k->value, &value);
    shoal_status st = shoal_number_side_regex(
        &value, above ? SHOAL_NUMBER_ABOVE : SHOAL_NUMBER_BELOW, !exclusive, &regex);
    if (st == SHOAL_OK)
        st = narrow_regex(c, k, regex.data, regex.bytes, SHOAL_REGEX_WHOLE, &term->number);
    shoal_strbuf_free(&regex);
    return st;
}

/* *id = the automaton of the multiples of a value, made once; NONE: that is not supported. */
static shoal_status find_multiples(shoal_dfa_pool *pool, const shoal_decimal *value, int32_t *id)
{
    char recipe[SHOAL_NUMBER_DIGITS_MAX + 32];
    shoal_dfa dfa;
    bool fits;
    const int bytes = snprintf(recipe, sizeof recipe, "multiples %d %.*s", value->point,
                               value->count, value->digits);
    SHOAL_TRY(shoal_dfa_pool_find(pool, recipe, (size_t)bytes, id));
    if (*id != SHOAL_DFA_NONE)
        return SHOAL_OK;
    SHOAL_TRY(shoal_number_multiples(value, &pool->budget, &dfa, &fits));
    return fits ? shoal_dfa_pool_add(pool, &dfa, id) : SHOAL_OK;
}

static shoal_status read_multiple_of(shoal_schema_compiler *c, shoal_schema_term *term,
                                     const keyword *k)
{
    shoal_decimal value;
    int32_t id = SHOAL_DFA_NONE;
    if (!json_is_number(k->value) || json_number_value(k->value) <= 0)
        return wrong(c, k, "must be a number above 0");
    shoal_decimal_from(k->value, &value);
    SHOAL_TRY(narrow_number(c, term, k, SHOAL_NUMBER_EXACT));
    shoal_status st = find_multiples(&c->pool, &value, &id);
    if (st == SHOAL_OK && id == SHOAL_DFA_NONE)
        return wrong(c, k, "is only supported for numbers of few digits");
    if (st == SHOAL_OK)
        st = shoal_schema_narrow(c, id, &term->number);
    return shoal_schema_fail_within(c, st, k->schema, k->name);
}

/* ---- strings --------------------------------------------------------------------------------- */

/* *id = the automaton of the strings of some lengths, made once. */
static shoal_status find_lengths(shoal_dfa_pool *pool, int32_t least, int32_t most, int32_t *id)
{
    const int32_t recipe[] = {least, most};
    shoal_nfa nfa = {0};
    SHOAL_TRY(shoal_dfa_pool_find(pool, recipe, sizeof recipe, id));
    if (*id != SHOAL_DFA_NONE)
        return SHOAL_OK;
    shoal_status st = shoal_nfa_any(&nfa, least, most, 0);
    if (st == SHOAL_OK)
        st = shoal_dfa_pool_graph(pool, &nfa, id);
    shoal_nfa_free(&nfa);
    return st;
}

static shoal_status read_length(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    const bool least = k->name[1] == 'i'; /* minLength */
    int64_t length = 0;
    int32_t id = SHOAL_DFA_NONE;
    SHOAL_TRY(read_count(c, k, &length));
    if (length > LENGTH_MAX)
        return wrong(c, k, "is only supported up to 65536");
    shoal_status st =
        find_lengths(&c->pool, least ? (int32_t)length : 0, least ? -1 : (int32_t)length, &id);
    if (st == SHOAL_OK)
        st = shoal_schema_narrow(c, id, &term->string);
    return shoal_schema_fail_within(c, st, k->schema, k->name);
}

static shoal_status read_pattern(shoal_schema_compiler *c, shoal_schema_term *term,
                                 const keyword *k)
{
    if (!json_is_string(k->value))
        return wrong(c, k, "must be a string");
    const shoal_status st = shoal_regex_check_size(json_string_length(k->value));
    if (st != SHOAL_OK)
        return shoal_schema_fail_within(c, st, k->schema, k->name);
    return narrow_regex(c, k, json_string_value(k->value), json_string_length(k->value),
                        SHOAL_REGEX_SEARCH, &term->string);
}

static shoal_status read_format(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    const char *name = json_string_value(k->value);
    const char *regex = name ? shoal_format_regex(name) : NULL;
    if (!regex)
        return wrong(c, k, "names a format that is not supported");
    return narrow_regex(c, k, regex, strlen(regex), SHOAL_REGEX_WHOLE, &term->string);
}

/* ---- objects and arrays: checked here, read where the shape is made -------------------------- */

static shoal_status list_once(shoal_ids *list, int32_t id)
{
    if (list->count && list->data[list->count - 1] == id)
        return SHOAL_OK;
    return shoal_ids_push(list, id);
}

static shoal_status read_object(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    (void)c;
    return list_once(&term->objects, k->demand);
}

static shoal_status read_schemas(shoal_schema_compiler *c, shoal_schema_term *term,
                                 const keyword *k)
{
    if (!json_is_object(k->value))
        return wrong(c, k, "must be an object of schemas");
    return read_object(c, term, k);
}

static shoal_status read_required(shoal_schema_compiler *c, shoal_schema_term *term,
                                  const keyword *k)
{
    size_t i;
    json_t *name;
    if (!json_is_array(k->value))
        return wrong(c, k, "must be an array of strings");
    json_array_foreach(k->value, i, name) if (!json_is_string(name)) return wrong(
        c, k, "must be an array of strings");
    return read_object(c, term, k);
}

static shoal_status read_properties_count(shoal_schema_compiler *c, shoal_schema_term *term,
                                          const keyword *k)
{
    int64_t count;
    SHOAL_TRY(read_count(c, k, &count));
    return read_object(c, term, k);
}

static shoal_status read_array(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    (void)c;
    return list_once(&term->arrays, k->demand);
}

static shoal_status read_items(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    if (json_is_array(k->value))
        return wrong(c, k, "with a list of schemas is not supported; use prefixItems");
    return read_array(c, term, k);
}

static shoal_status read_prefix_items(shoal_schema_compiler *c, shoal_schema_term *term,
                                      const keyword *k)
{
    if (!json_is_array(k->value))
        return wrong(c, k, "must be an array of schemas");
    return read_array(c, term, k);
}

static shoal_status read_items_count(shoal_schema_compiler *c, shoal_schema_term *term,
                                     const keyword *k)
{
    int64_t count;
    SHOAL_TRY(read_count(c, k, &count));
    return read_array(c, term, k);
}

static shoal_status read_unique(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    (void)term;
    return json_is_false(k->value) ? SHOAL_OK : wrong(c, k, "is not supported");
}

/* ---- the table ------------------------------------------------------------------------------- */

static shoal_status ignore(shoal_schema_compiler *c, shoal_schema_term *term, const keyword *k)
{
    (void)c;
    (void)term;
    (void)k;
    return SHOAL_OK;
}

static const struct {
    const char *name;
    reader *read;
} keywords[] = {
    {"$anchor", ignore},
    {"$comment", ignore},
    {"$defs", ignore},
    {"$id", read_id},
    {"$ref", read_ref},
    {"$schema", ignore},
    {"additionalProperties", read_object},
    {"allOf", read_all_of},
    {"anyOf", read_any_of},
    {"const", read_const},
    {"contentEncoding", ignore},
    {"contentMediaType", ignore},
    {"contentSchema", ignore},
    {"default", ignore},
    {"definitions", ignore},
    {"deprecated", ignore},
    {"description", ignore},
    {"discriminator", ignore}, /* of OpenAPI: says how to find the alternative that holds */
    {"enum", read_enum},
    {"example", ignore},
    {"examples", ignore},
    {"exclusiveMaximum", read_bound},
    {"exclusiveMinimum", read_bound},
    {"format", read_format},
    {"items", read_items},
    {"maxItems", read_items_count},
    {"maxLength", read_length},
    {"maxProperties", read_properties_count},
    {"maximum", read_bound},
    {"minItems", read_items_count},
    {"minLength", read_length},
    {"minProperties", read_properties_count},
    {"minimum", read_bound},
    {"multipleOf", read_multiple_of},
    {"not", read_not},
    {"oneOf", read_any_of},
    {"pattern", read_pattern},
    {"patternProperties", read_schemas},
    {"prefixItems", read_prefix_items},
    {"properties", read_schemas},
    {"propertyNames", read_object},
    {"readOnly", ignore},
    {"required", read_required},
    {"title", ignore},
    {"type", read_type},
    {"uniqueItems", read_unique},
    {"writeOnly", ignore},
};

static reader *reader_of(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return keywords[i].read;
    return NULL;
}

shoal_status shoal_schema_keywords(shoal_schema_compiler *c, shoal_schema_term *term,
                                   const json_t *schema, int32_t demand_of_schema)
{
    keyword k = {.schema = schema, .demand = demand_of_schema};
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, k.name, value)
    {
        reader *read = reader_of(k.name);
        k.value = value;
        if (!read)
            return wrong(c, &k, "is not supported");
        SHOAL_TRY(read(c, term, &k));
    }
    return SHOAL_OK;
}

#include <string.h>

#include "coordinator/text/grammar/grammar_states.h"
#include "coordinator/text/grammar/number_form.h"
#include "coordinator/text/grammar/schema_compiler.h"
#include "coordinator/text/utf8.h"

/* Of the objects that one value may be, and of the arrays: a text is in all of them at once until
 * it tells them apart. An array has two places behind its bracket. */
#define SHAPES_MAX (SHOAL_GRAMMAR_PLACES_MAX / 2)

shoal_status shoal_schema_narrow(shoal_schema_compiler *c, int32_t with, int32_t *automaton)
{
    if (*automaton == SHOAL_DFA_NONE) {
        *automaton = with;
        return SHOAL_OK;
    }
    return shoal_dfa_pool_combine(&c->pool, *automaton, with, SHOAL_DFA_AND, automaton);
}

/* The union of what the terms allow of one type; two by two, so that many cost little. */
static shoal_status unite(shoal_schema_compiler *c, shoal_ids *list, int32_t *out)
{
    while (list->count > 1) {
        size_t kept = 0;
        for (size_t i = 0; i < list->count; i += 2) {
            int32_t one = list->data[i];
            if (i + 1 < list->count && one != list->data[i + 1])
                SHOAL_TRY(
                    shoal_dfa_pool_combine(&c->pool, one, list->data[i + 1], SHOAL_DFA_OR, &one));
            list->data[kept++] = one;
        }
        list->count = kept;
    }
    const bool nothing = list->count == 0 || c->pool.dfas[list->data[0]].count == 0;
    *out = nothing ? SHOAL_DFA_NONE : list->data[0];
    return SHOAL_OK;
}

static shoal_status united(shoal_schema_compiler *c, const shoal_schema_terms *terms, unsigned type,
                           const char *all, int32_t *out)
{
    shoal_ids list = {0};
    shoal_status st = SHOAL_OK;
    int32_t any = SHOAL_DFA_NONE; /* the automaton of `all`, once somebody wants it */
    for (size_t i = 0; i < terms->count && st == SHOAL_OK; i++) {
        const shoal_schema_term *t = &terms->data[i];
        int32_t one = type == SHOAL_SCHEMA_STRING ? t->string : t->number;
        if (!(t->types & type))
            continue;
        if (one == SHOAL_DFA_NONE && any == SHOAL_DFA_NONE)
            st = shoal_dfa_pool_regex(&c->pool, all, strlen(all), SHOAL_REGEX_WHOLE, &any);
        if (st == SHOAL_OK)
            st = shoal_ids_push(&list, one == SHOAL_DFA_NONE ? any : one);
    }
    if (st == SHOAL_OK)
        st = unite(c, &list, out);
    shoal_ids_free(&list);
    return st;
}

shoal_status shoal_schema_strings(shoal_schema_compiler *c, const shoal_schema_terms *terms,
                                  int32_t *out)
{
    return united(c, terms, SHOAL_SCHEMA_STRING, "[\\s\\S]*", out);
}

shoal_status shoal_schema_numbers(shoal_schema_compiler *c, const shoal_schema_terms *terms,
                                  int32_t *out)
{
    return united(c, terms, SHOAL_SCHEMA_NUMBER, SHOAL_NUMBER_ANY, out);
}

/* ---- scalars by value ------------------------------------------------------------------------ */

static shoal_status add_string(shoal_nfa *nfa, const json_t *string)
{
    return shoal_nfa_literal(nfa, json_string_value(string), json_string_length(string), 0);
}

static shoal_status add_number(shoal_nfa *nfa, const json_t *number)
{
    shoal_strbuf regex = {0};
    shoal_decimal value;
    shoal_decimal_from(number, &value);
    shoal_status st = shoal_number_side_regex(&value, SHOAL_NUMBER_EQUAL, true, &regex);
    if (st == SHOAL_OK)
        st = shoal_regex_add(nfa, regex.data, regex.bytes, SHOAL_REGEX_WHOLE, 0);
    shoal_strbuf_free(&regex);
    return st;
}

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL: return SHOAL_JSON_NULL;
    case JSON_FALSE: return SHOAL_JSON_FALSE;
    case JSON_TRUE: return SHOAL_JSON_TRUE;
    case JSON_STRING: return SHOAL_SCHEMA_STRING;
    case JSON_INTEGER:
    case JSON_REAL: return SHOAL_SCHEMA_NUMBER;
    case JSON_OBJECT: return SHOAL_SCHEMA_OBJECT;
    case JSON_ARRAY: return SHOAL_SCHEMA_ARRAY;
    }
    return 0;
}

shoal_status shoal_schema_scalars(shoal_schema_compiler *c, shoal_schema_term *term,
                                  const json_t *values)
{
    shoal_status st = SHOAL_OK;
    shoal_nfa strings = {0}, numbers = {0};
    unsigned types = 0;
    int32_t automaton;
    size_t i;
    json_t *value;
    json_array_foreach(values, i, value)
    {
        types |= type_of(value);
        if (json_is_string(value))
            SHOAL_TRY_GOTO(add_string(&strings, value), done);
        if (json_is_number(value))
            SHOAL_TRY_GOTO(add_number(&numbers, value), done);
    }
    term->types &= types;
    if (term->types & SHOAL_SCHEMA_STRING) {
        SHOAL_TRY_GOTO(shoal_dfa_pool_graph(&c->pool, &strings, &automaton), done);
        SHOAL_TRY_GOTO(shoal_schema_narrow(c, automaton, &term->string), done);
    }
    if (term->types & SHOAL_SCHEMA_NUMBER) {
        SHOAL_TRY_GOTO(shoal_dfa_pool_graph(&c->pool, &numbers, &automaton), done);
        SHOAL_TRY_GOTO(shoal_schema_narrow(c, automaton, &term->number), done);
    }
done:
    shoal_nfa_free(&strings);
    shoal_nfa_free(&numbers);
    return st;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* Is the list that of an earlier term too? Terms often differ in other types only. */
static shoal_status is_new(shoal_intern *lists, const shoal_ids *demands, bool *fresh)
{
    int32_t number;
    return shoal_intern_put(lists, demands->data, demands->count * sizeof *demands->data, &number,
                            fresh);
}

/* Append the objects or the arrays of the terms. */
static shoal_status add_shapes(shoal_schema_compiler *c, const shoal_schema_terms *terms,
                               unsigned type)
{
    shoal_status st = SHOAL_OK;
    shoal_intern lists = {0};
    const bool objects = type == SHOAL_SCHEMA_OBJECT;
    for (size_t i = 0; i < terms->count && st == SHOAL_OK; i++) {
        const shoal_ids *demands = objects ? &terms->data[i].objects : &terms->data[i].arrays;
        bool fresh = false;
        if (terms->data[i].types & type)
            st = is_new(&lists, demands, &fresh);
        if (st == SHOAL_OK && fresh)
            st = objects ? shoal_schema_add_object(c, demands) : shoal_schema_add_array(c, demands);
    }
    shoal_intern_free(&lists);
    return st;
}

shoal_status shoal_schema_fill_rule(shoal_schema_compiler *c, int32_t number,
                                    const shoal_schema_terms *terms)
{
    shoal_grammar *g = c->grammar;
    shoal_grammar_rule rule = {.objects = (int32_t)g->objects_count,
                               .arrays = (int32_t)g->arrays_count};
    for (size_t i = 0; i < terms->count; i++)
        rule.literals |= terms->data[i].types & SHOAL_SCHEMA_LITERALS;
    SHOAL_TRY(shoal_schema_strings(c, terms, &rule.string));
    SHOAL_TRY(shoal_schema_numbers(c, terms, &rule.number));
    SHOAL_TRY(add_shapes(c, terms, SHOAL_SCHEMA_OBJECT));
    SHOAL_TRY(add_shapes(c, terms, SHOAL_SCHEMA_ARRAY));
    rule.object_count = (int32_t)g->objects_count - rule.objects;
    rule.array_count = (int32_t)g->arrays_count - rule.arrays;
    if (rule.object_count > SHAPES_MAX || rule.array_count > SHAPES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "more than %d objects or arrays to choose from",
                          SHAPES_MAX);
    g->rules[number] = rule;
    return SHOAL_OK;
}

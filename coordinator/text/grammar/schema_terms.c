#include <string.h>

#include "coordinator/text/grammar/number_form.h"
#include "coordinator/text/grammar/schema_compiler.h"
#include "proto/arena.h"

shoal_schema_term shoal_schema_term_make(void)
{
    return (shoal_schema_term){
        .types = SHOAL_SCHEMA_ALL, .string = SHOAL_DFA_NONE, .number = SHOAL_DFA_NONE};
}

void shoal_schema_term_free(shoal_schema_term *term)
{
    shoal_ids_free(&term->pending);
    shoal_ids_free(&term->done);
    shoal_ids_free(&term->splits);
    shoal_ids_free(&term->objects);
    shoal_ids_free(&term->arrays);
}

void shoal_schema_terms_free(shoal_schema_terms *terms)
{
    for (size_t i = 0; i < terms->count; i++)
        shoal_schema_term_free(&terms->data[i]);
    shoal_free(terms->data);
    *terms = (shoal_schema_terms){0};
}

static shoal_status copy_term(shoal_schema_compiler *c, const shoal_schema_term *from,
                              shoal_schema_term *to)
{
    const size_t ids = from->pending.count + from->done.count + from->splits.count +
                       from->objects.count + from->arrays.count;
    *to = (shoal_schema_term){0};
    SHOAL_TRY(shoal_dfa_pool_spend(&c->pool, 32 + ids / 4));
    *to = (shoal_schema_term){.types = from->types, .string = from->string, .number = from->number};
    shoal_status st = shoal_ids_append(&to->pending, &from->pending);
    if (st == SHOAL_OK)
        st = shoal_ids_append(&to->done, &from->done);
    if (st == SHOAL_OK)
        st = shoal_ids_append(&to->splits, &from->splits);
    if (st == SHOAL_OK)
        st = shoal_ids_append(&to->objects, &from->objects);
    if (st == SHOAL_OK)
        st = shoal_ids_append(&to->arrays, &from->arrays);
    return st;
}

/* Take the term over, or drop one that allows nothing. */
static shoal_status keep_term(shoal_schema_compiler *c, shoal_schema_term *term,
                              shoal_schema_terms *out)
{
    if (++c->term_count > SHOAL_SCHEMA_TERMS_MAX)
        return shoal_schema_fail(c, c->root, NULL, "the schema has too many alternatives");
    if (!term->types)
        return SHOAL_OK;
    void *block = out->data;
    SHOAL_TRY(shoal_grow(&block, sizeof *out->data, out->count, 1, &out->capacity));
    out->data = block;
    shoal_ids_free(&term->pending);
    shoal_ids_free(&term->done);
    out->data[out->count++] = *term;
    *term = shoal_schema_term_make();
    return SHOAL_OK;
}

static bool holds(const shoal_ids *ids, int32_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->data[i] == id)
            return true;
    return false;
}

/* ---- single demands -------------------------------------------------------------------------- */

/* Be one JSON value. */
static shoal_status apply_equal(shoal_schema_compiler *c, shoal_schema_term *term,
                                const json_t *value, int32_t demand)
{
    if (json_is_object(value)) {
        term->types &= SHOAL_SCHEMA_OBJECT;
        return shoal_ids_push(&term->objects, demand);
    }
    if (json_is_array(value)) {
        term->types &= SHOAL_SCHEMA_ARRAY;
        return shoal_ids_push(&term->arrays, demand);
    }
    json_t *values = json_pack("[O]", value);
    if (!values)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a value");
    const shoal_status st = shoal_schema_scalars(c, term, values);
    json_decref(values);
    return st;
}

/* The part of a negation that is about one type with an automaton. */
static shoal_status subtract(shoal_schema_compiler *c, shoal_schema_term *term, unsigned type,
                             const char *all, int32_t minus, int32_t *automaton)
{
    int32_t universe;
    if (!(term->types & type) || minus == SHOAL_DFA_NONE)
        return SHOAL_OK;
    SHOAL_TRY(shoal_dfa_pool_regex(&c->pool, all, strlen(all), SHOAL_REGEX_WHOLE, &universe));
    SHOAL_TRY(shoal_schema_narrow(c, universe, automaton));
    return shoal_dfa_pool_combine(&c->pool, *automaton, minus, SHOAL_DFA_MINUS, automaton);
}

/* Do not satisfy a schema. Whether objects or arrays do is only known where it is about all of them
 * or none. Numbers are then of the forms whose value is exact, since of others the automata do not
 * know all. */
static shoal_status apply_not(shoal_schema_compiler *c, shoal_schema_term *term,
                              const json_t *schema, bool scalars_only)
{
    shoal_status st = SHOAL_OK;
    shoal_schema_terms terms = {0};
    int32_t demand, strings, numbers;
    unsigned literals = 0, open = 0, shaped = 0;
    SHOAL_TRY(shoal_schema_demand(c, schema, SHOAL_DEMAND_SCHEMA, &demand));
    SHOAL_TRY_GOTO(shoal_schema_terms_of(c, demand, term->types, &terms), done);
    SHOAL_TRY_GOTO(shoal_schema_strings(c, &terms, &strings), done);
    SHOAL_TRY_GOTO(shoal_schema_numbers(c, &terms, &numbers), done);
    for (size_t i = 0; i < terms.count; i++) {
        const shoal_schema_term *t = &terms.data[i];
        literals |= t->types & SHOAL_SCHEMA_LITERALS;
        *(t->objects.count ? &shaped : &open) |= t->types & SHOAL_SCHEMA_OBJECT;
        *(t->arrays.count ? &shaped : &open) |= t->types & SHOAL_SCHEMA_ARRAY;
    }
    term->types &= ~literals;
    if (!scalars_only) {
        term->types &= ~open;
        if (term->types & shaped)
            st = shoal_schema_fail(c, schema, "not",
                                   "is only supported about scalars and about whole types");
        SHOAL_TRY_GOTO(st, done);
    }
    SHOAL_TRY_GOTO(subtract(c, term, SHOAL_SCHEMA_STRING, "[\\s\\S]*", strings, &term->string),
                   done);
    SHOAL_TRY_GOTO(
        subtract(c, term, SHOAL_SCHEMA_NUMBER, SHOAL_NUMBER_EXACT, numbers, &term->number), done);
done:
    shoal_schema_terms_free(&terms);
    return st;
}

static shoal_status apply(shoal_schema_compiler *c, shoal_schema_term *term, int32_t demand)
{
    const json_t *json = shoal_schema_json(c, demand);
    const shoal_demand_kind kind = (shoal_demand_kind)(demand % 4);
    if (kind == SHOAL_DEMAND_EQUAL)
        return apply_equal(c, term, json, demand);
    if (kind != SHOAL_DEMAND_SCHEMA)
        return apply_not(c, term, json, kind == SHOAL_DEMAND_NOT_SCALAR);
    if (json_is_false(json))
        term->types = 0;
    else if (json_is_object(json))
        return shoal_schema_keywords(c, term, json, demand);
    else if (!json_is_true(json))
        return shoal_schema_fail(c, json, NULL, "a schema is an object, true or false");
    return SHOAL_OK;
}

/* ---- splits ---------------------------------------------------------------------------------- */

static shoal_status push_demand(shoal_schema_compiler *c, shoal_schema_term *term,
                                const json_t *json, shoal_demand_kind kind)
{
    int32_t demand;
    SHOAL_TRY(shoal_schema_demand(c, json, kind, &demand));
    return shoal_ids_push(&term->pending, demand);
}

/* No object or array may satisfy two of the schemas where this term holds: a rule of what does,
 * which has to turn out empty. */
static shoal_status demand_disjoint(shoal_schema_compiler *c, const shoal_schema_term *term,
                                    const json_t *a, const json_t *b, int32_t schema)
{
    static const shoal_grammar_rule blank = {.string = SHOAL_DFA_NONE, .number = SHOAL_DFA_NONE};
    shoal_schema_term both = {0};
    shoal_schema_terms terms = {0};
    bool apart;
    SHOAL_TRY(shoal_schema_objects_apart(c, a, b, &apart));
    if (apart)
        return SHOAL_OK;
    shoal_status st = copy_term(c, term, &both);
    both.types &= SHOAL_SCHEMA_OBJECT | SHOAL_SCHEMA_ARRAY;
    if (st == SHOAL_OK)
        st = push_demand(c, &both, a, SHOAL_DEMAND_SCHEMA);
    if (st == SHOAL_OK)
        st = push_demand(c, &both, b, SHOAL_DEMAND_SCHEMA);
    if (st == SHOAL_OK)
        st = shoal_schema_expand(c, &both, &terms);
    const int32_t rule = (int32_t)c->grammar->rules_count;
    if (st == SHOAL_OK && terms.count) {
        st = shoal_grammar_add_rule(c->grammar, blank);
        if (st == SHOAL_OK)
            st = shoal_schema_fill_rule(c, rule, &terms);
        if (st == SHOAL_OK)
            st = shoal_ids_push(&c->empty, rule);
        if (st == SHOAL_OK)
            st = shoal_ids_push(&c->empty_of, schema);
    }
    shoal_schema_term_free(&both);
    shoal_schema_terms_free(&terms);
    return st;
}

/* One way for the split: schema number `at` of the list. `only_one`: no scalar of the others. */
static shoal_status take_way(shoal_schema_compiler *c, shoal_schema_term *term, const json_t *list,
                             size_t at, bool only_one)
{
    size_t i;
    json_t *other;
    SHOAL_TRY(push_demand(c, term, json_array_get(list, at), SHOAL_DEMAND_SCHEMA));
    if (only_one)
        json_array_foreach(list, i, other) if (i != at)
            SHOAL_TRY(push_demand(c, term, other, SHOAL_DEMAND_NOT_SCALAR));
    return SHOAL_OK;
}

/* `enum` with objects or arrays: one of these, or a scalar; which was looked at before. */
static shoal_status split_enum(shoal_schema_compiler *c, const shoal_schema_term *term,
                               const json_t *values, shoal_schema_terms *out)
{
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i <= json_array_size(values) && st == SHOAL_OK; i++) {
        const json_t *value = json_array_get(values, i);
        shoal_schema_term way = {0};
        if (value && !json_is_object(value) && !json_is_array(value))
            continue;
        st = copy_term(c, term, &way);
        if (!value)
            way.types &= ~(unsigned)(SHOAL_SCHEMA_OBJECT | SHOAL_SCHEMA_ARRAY);
        else if (st == SHOAL_OK)
            st = push_demand(c, &way, value, SHOAL_DEMAND_EQUAL);
        if (st == SHOAL_OK)
            st = shoal_schema_expand(c, &way, out);
        shoal_schema_term_free(&way);
    }
    return st;
}

/* `anyOf` and `oneOf`. */
static shoal_status split_list(shoal_schema_compiler *c, const shoal_schema_term *term,
                               int32_t schema, bool only_one, shoal_schema_terms *out)
{
    shoal_status st = SHOAL_OK;
    const json_t *list =
        json_object_get(shoal_schema_json(c, schema), only_one ? "oneOf" : "anyOf");
    const size_t count = json_array_size(list);
    bool apart = true;
    if (only_one)
        st = shoal_schema_scalars_apart(c, list, &apart);
    for (size_t i = 0; i < count && st == SHOAL_OK; i++) {
        shoal_schema_term way = {0};
        st = copy_term(c, term, &way);
        if (st == SHOAL_OK)
            st = take_way(c, &way, list, i, !apart);
        if (st == SHOAL_OK)
            st = shoal_schema_expand(c, &way, out);
        shoal_schema_term_free(&way);
        for (size_t k = 0; only_one && k < i && st == SHOAL_OK; k++)
            st = demand_disjoint(c, term, json_array_get(list, k), json_array_get(list, i), schema);
    }
    return st;
}

static shoal_status split(shoal_schema_compiler *c, shoal_schema_term *term,
                          shoal_schema_terms *out)
{
    const int32_t next = term->splits.data[--term->splits.count];
    const shoal_split_kind kind = (shoal_split_kind)(next % 4);
    const int32_t schema = next - next % 4;
    if (c->depth >= SHOAL_SCHEMA_DEPTH_MAX)
        return shoal_schema_fail(c, shoal_schema_json(c, schema), NULL,
                                 "too many alternatives within each other");
    c->depth++;
    const shoal_status st =
        kind == SHOAL_SPLIT_ENUM
            ? split_enum(c, term, json_object_get(shoal_schema_json(c, schema), "enum"), out)
            : split_list(c, term, schema, kind == SHOAL_SPLIT_ONE_OF, out);
    c->depth--;
    return st;
}

shoal_status shoal_schema_expand(shoal_schema_compiler *c, shoal_schema_term *term,
                                 shoal_schema_terms *out)
{
    while (term->pending.count && term->types) {
        const int32_t demand = term->pending.data[--term->pending.count];
        SHOAL_TRY(shoal_dfa_pool_spend(&c->pool, 4 + term->done.count / 16));
        if (holds(&term->done, demand))
            continue;
        SHOAL_TRY(shoal_ids_push(&term->done, demand));
        SHOAL_TRY(apply(c, term, demand));
    }
    return term->splits.count && term->types ? split(c, term, out) : keep_term(c, term, out);
}

shoal_status shoal_schema_terms_of(shoal_schema_compiler *c, int32_t demand, unsigned types,
                                   shoal_schema_terms *out)
{
    if (c->depth >= SHOAL_SCHEMA_DEPTH_MAX)
        return shoal_schema_fail(c, shoal_schema_json(c, demand), NULL,
                                 "too many negations within each other");
    shoal_schema_term start = shoal_schema_term_make();
    start.types = types;
    shoal_status st = shoal_ids_push(&start.pending, demand);
    c->depth++;
    if (st == SHOAL_OK)
        st = shoal_schema_expand(c, &start, out);
    c->depth--;
    shoal_schema_term_free(&start);
    return st;
}

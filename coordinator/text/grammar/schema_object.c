#include <math.h>
#include <string.h>

#include "coordinator/text/grammar/schema_compiler.h"
#include "coordinator/text/utf8.h"
#include "proto/bytes.h"

#define NAMES_MAX 4096 /* that one object mentions */

/* An object in the making. Items of the automaton of names are first the names, then the patterns,
 * then one for any name. */
typedef struct {
    shoal_schema_compiler *c;
    const shoal_ids *demands;
    shoal_intern names;
    shoal_ids required;                     /* by name: 1 or 0 */
    shoal_ids pattern_part, pattern_demand; /* by pattern      */
    shoal_ids rule_demands;
    shoal_grammar_object object;
    const json_t *counted; /* the schema with the largest minProperties */
} maker;

static bool is_value(int32_t demand)
{
    return demand % 4 == SHOAL_DEMAND_EQUAL;
}

/* ---- names ----------------------------------------------------------------------------------- */

static shoal_status add_name(maker *m, const char *name, size_t bytes, bool required)
{
    int32_t number;
    bool fresh;
    SHOAL_TRY(shoal_intern_put(&m->names, name, bytes, &number, &fresh));
    if (number >= NAMES_MAX)
        return shoal_schema_fail(m->c, shoal_schema_json(m->c, m->demands->data[0]), "properties",
                                 "is only supported for up to 4096 names");
    if (fresh)
        SHOAL_TRY(shoal_ids_push(&m->required, 0));
    m->required.data[number] |= required;
    return SHOAL_OK;
}

static shoal_status add_keys(maker *m, const json_t *object, bool required)
{
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)object, key, member)
        SHOAL_TRY(add_name(m, key, strlen(key), required));
    return SHOAL_OK;
}

static shoal_status collect_names(maker *m)
{
    size_t i;
    json_t *name;
    for (size_t d = 0; d < m->demands->count; d++) {
        const json_t *json = shoal_schema_json(m->c, m->demands->data[d]);
        if (is_value(m->demands->data[d])) {
            SHOAL_TRY(add_keys(m, json, true));
            continue;
        }
        SHOAL_TRY(add_keys(m, json_object_get(json, "properties"), false));
        json_array_foreach(json_object_get(json, "required"), i, name)
            SHOAL_TRY(add_name(m, json_string_value(name), json_string_length(name), true));
    }
    m->object.name_count = shoal_intern_count(&m->names);
    return SHOAL_OK;
}

/* How many properties there must and may be. */
static void collect_counts(maker *m)
{
    m->object.most_count = INT32_MAX;
    for (size_t d = 0; d < m->demands->count; d++) {
        const json_t *json = shoal_schema_json(m->c, m->demands->data[d]);
        const json_t *least = json_object_get(json, "minProperties");
        const json_t *most = json_object_get(json, "maxProperties");
        if (is_value(m->demands->data[d])) {
            m->object.most_count =
                shoal_min_i64(m->object.most_count, (int64_t)json_object_size(json));
            continue;
        }
        if (least && json_number_value(least) > (double)m->object.least_count) {
            m->object.least_count = (int64_t)fmin(json_number_value(least), INT32_MAX);
            m->counted = json;
        }
        if (most && json_number_value(most) < (double)m->object.most_count)
            m->object.most_count = (int64_t)json_number_value(most);
    }
    for (size_t i = 0; i < m->required.count; i++)
        m->object.required_count += m->required.data[i];
}

/* ---- the automaton of names ------------------------------------------------------------------ */

static shoal_status add_patterns(maker *m, int32_t part, shoal_nfa *nfa)
{
    const char *regex;
    json_t *schema;
    int32_t demand;
    const json_t *json = shoal_schema_json(m->c, m->demands->data[part]);
    json_object_foreach(json_object_get(json, "patternProperties"), regex, schema)
    {
        const int32_t item = m->object.name_count + (int32_t)m->pattern_part.count;
        SHOAL_TRY(shoal_schema_demand(m->c, schema, SHOAL_DEMAND_SCHEMA, &demand));
        SHOAL_TRY(shoal_ids_push(&m->pattern_part, part));
        SHOAL_TRY(shoal_ids_push(&m->pattern_demand, demand));
        shoal_status st = shoal_regex_check_size(strlen(regex));
        if (st == SHOAL_OK)
            st = shoal_regex_add(nfa, regex, strlen(regex), SHOAL_REGEX_SEARCH, item);
        SHOAL_TRY(shoal_schema_fail_within(m->c, st, json, "patternProperties"));
    }
    return SHOAL_OK;
}

static shoal_status fill_graph(maker *m, shoal_nfa *nfa)
{
    for (int32_t n = 0; n < m->object.name_count; n++) {
        size_t bytes;
        const char *name = shoal_intern_key(&m->names, n, &bytes);
        SHOAL_TRY(shoal_nfa_literal(nfa, name, bytes, n));
    }
    bool open = true;
    for (size_t part = 0; part < m->demands->count; part++) {
        const json_t *json = shoal_schema_json(m->c, m->demands->data[part]);
        if (is_value(m->demands->data[part])) {
            open = false;
            continue;
        }
        SHOAL_TRY(add_patterns(m, (int32_t)part, nfa));
        if (json_is_false(json_object_get(json, "additionalProperties")))
            open = false;
    }
    if (!open)
        return SHOAL_OK;
    return shoal_nfa_any(nfa, 0, -1, m->object.name_count + (int32_t)m->pattern_part.count);
}

/* Narrow to what `propertyNames` of a part allows. */
static shoal_status narrow_names(maker *m, const json_t *schema)
{
    static const char nothing[] = "[^\\s\\S]";
    shoal_schema_terms terms = {0};
    int32_t demand, strings;
    SHOAL_TRY(shoal_schema_demand(m->c, schema, SHOAL_DEMAND_SCHEMA, &demand));
    shoal_status st = shoal_schema_terms_of(m->c, demand, SHOAL_SCHEMA_STRING, &terms);
    if (st == SHOAL_OK)
        st = shoal_schema_strings(m->c, &terms, &strings);
    if (st == SHOAL_OK && strings == SHOAL_DFA_NONE)
        st = shoal_dfa_pool_regex(&m->c->pool, nothing, sizeof nothing - 1, SHOAL_REGEX_WHOLE,
                                  &strings);
    if (st == SHOAL_OK)
        st = shoal_schema_narrow(m->c, strings, &m->object.names_dfa);
    shoal_schema_terms_free(&terms);
    return st;
}

static shoal_status make_automaton(maker *m)
{
    shoal_nfa nfa = {0};
    shoal_status st = fill_graph(m, &nfa);
    if (st == SHOAL_OK)
        st = shoal_dfa_pool_graph(&m->c->pool, &nfa, &m->object.names_dfa);
    shoal_nfa_free(&nfa);
    for (size_t d = 0; d < m->demands->count && st == SHOAL_OK; d++) {
        const json_t *names =
            json_object_get(shoal_schema_json(m->c, m->demands->data[d]), "propertyNames");
        if (names && !is_value(m->demands->data[d]))
            st = narrow_names(m, names);
    }
    return st;
}

/* ---- what a name stands for ------------------------------------------------------------------ */

static shoal_status demand_value(maker *m, const json_t *json, shoal_demand_kind kind)
{
    int32_t demand;
    SHOAL_TRY(shoal_schema_demand(m->c, json, kind, &demand));
    return shoal_ids_push(&m->rule_demands, demand);
}

/* What one part demands of the value of a name that matched `items`. */
static shoal_status demand_by_part(maker *m, int32_t part, const int32_t *items, size_t count)
{
    const json_t *json = shoal_schema_json(m->c, m->demands->data[part]), *member = NULL;
    const bool value = is_value(m->demands->data[part]);
    bool matched = false;
    for (size_t i = 0; i < count; i++) {
        const int32_t pattern = items[i] - m->object.name_count;
        size_t bytes;
        if (pattern < 0) {
            const char *name = shoal_intern_key(&m->names, items[i], &bytes);
            member =
                json_object_getn(value ? json : json_object_get(json, "properties"), name, bytes);
        } else if (pattern < (int32_t)m->pattern_part.count &&
                   m->pattern_part.data[pattern] == part) {
            SHOAL_TRY(shoal_ids_push(&m->rule_demands, m->pattern_demand.data[pattern]));
            matched = true;
        }
    }
    if (value)
        return demand_value(m, member ? member : json_false(),
                            member ? SHOAL_DEMAND_EQUAL : SHOAL_DEMAND_SCHEMA);
    if (!member && !matched)
        member = json_object_get(json, "additionalProperties");
    return member ? demand_value(m, member, SHOAL_DEMAND_SCHEMA) : SHOAL_OK;
}

static shoal_status add_entry(maker *m, const int32_t *items, size_t count, int32_t bytes)
{
    shoal_grammar_entry entry = {.name =
                                     items[0] < m->object.name_count ? items[0] : SHOAL_DFA_NONE,
                                 .bytes = bytes < INT32_MAX ? bytes + 3 : bytes};
    m->rule_demands.count = 0;
    SHOAL_TRY(shoal_dfa_pool_spend(&m->c->pool, 4 * m->demands->count * (count + 1)));
    for (size_t part = 0; part < m->demands->count; part++)
        SHOAL_TRY(demand_by_part(m, (int32_t)part, items, count));
    SHOAL_TRY(shoal_schema_rule(m->c, &m->rule_demands, &entry.rule));
    return shoal_grammar_add_entry(m->c->grammar, entry);
}

static shoal_status add_entries(maker *m)
{
    shoal_status st = SHOAL_OK;
    shoal_ids shortest = {0};
    const int32_t dfa = m->object.names_dfa;
    const int32_t sets = shoal_intern_count(&m->c->pool.dfas[dfa].item_sets);
    SHOAL_TRY(shoal_ids_reserve(&shortest, (size_t)sets + 1));
    st = shoal_dfa_shortest(&m->c->pool.dfas[dfa], shortest.data);
    for (int32_t i = 0; i < sets && st == SHOAL_OK; i++) {
        size_t bytes;
        const int32_t *items = shoal_intern_key(&m->c->pool.dfas[dfa].item_sets, i, &bytes);
        st = add_entry(m, items, bytes / sizeof *items, shortest.data[i]);
    }
    shoal_ids_free(&shortest);
    return st;
}

/* A name that is mentioned: its entry says what its value must be. */
static shoal_status add_mentioned(maker *m, int32_t number)
{
    size_t bytes, at = 0;
    const char *text = shoal_intern_key(&m->names, number, &bytes);
    const shoal_dfa *dfa = &m->c->pool.dfas[m->object.names_dfa];
    int32_t state = dfa->count ? 0 : SHOAL_DFA_NONE;
    shoal_grammar_name name = {
        .rule = SHOAL_DFA_NONE, .bytes = 3, .required = m->required.data[number]};
    while (at < bytes && state != SHOAL_DFA_NONE) {
        const uint32_t c = shoal_utf8_next(text, &at);
        name.bytes += shoal_json_char_least(c, c);
        state = shoal_dfa_next(dfa, state, c);
    }
    const int32_t accept = state == SHOAL_DFA_NONE ? state : dfa->states[state].accept;
    if (accept != SHOAL_DFA_NONE)
        name.rule = m->c->grammar->entries[m->object.entries + accept].rule;
    return shoal_grammar_add_name(m->c->grammar, name);
}

/* Open names are not remembered, so one may come twice; that must not help to reach minProperties.
 * Names that are mentioned come once, so up to one property above the required ones is safe. */
static shoal_status check_open_names(const maker *m)
{
    const shoal_grammar *g = m->c->grammar;
    bool open = false;
    for (size_t i = (size_t)m->object.entries; i < g->entries_count; i++)
        open |= g->entries[i].name == SHOAL_DFA_NONE && g->entries[i].rule != SHOAL_DFA_NONE;
    if (open && m->object.least_count > m->object.required_count + 1)
        return shoal_schema_fail(m->c, m->counted, "minProperties",
                                 "above the required names and one is only supported with "
                                 "additionalProperties: false");
    return SHOAL_OK;
}

shoal_status shoal_schema_add_object(shoal_schema_compiler *c, const shoal_ids *demands)
{
    shoal_grammar *g = c->grammar;
    maker m = {.c = c,
               .demands = demands,
               .object = {.entries = (int32_t)g->entries_count, .names = (int32_t)g->names_count}};
    shoal_status st = collect_names(&m);
    if (st == SHOAL_OK) {
        collect_counts(&m);
        st = make_automaton(&m);
    }
    if (st == SHOAL_OK)
        st = add_entries(&m);
    for (int32_t n = 0; n < m.object.name_count && st == SHOAL_OK; n++)
        st = add_mentioned(&m, n);
    if (st == SHOAL_OK)
        st = check_open_names(&m);
    if (st == SHOAL_OK)
        st = shoal_grammar_add_object(g, m.object);
    shoal_intern_free(&m.names);
    shoal_ids_free(&m.required);
    shoal_ids_free(&m.pattern_part);
    shoal_ids_free(&m.pattern_demand);
    shoal_ids_free(&m.rule_demands);
    return st;
}

#include "coordinator/text/grammar/grammar_parts.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* Rounds of settling what recursive rules cost; an ordinary schema takes a handful. */
#define ROUNDS_MAX 1000

static int64_t cap(int64_t bytes)
{
    return shoal_min_i64(bytes, SHOAL_GRAMMAR_NEVER);
}

/* ---- objects and arrays ---------------------------------------------------------------------- */

static bool is_seen(const uint64_t *seen, int32_t name)
{
    return seen && seen[name / 64] >> name % 64 & 1;
}

static int64_t name_cost(const shoal_grammar *g, shoal_grammar_name name)
{
    return name.rule == SHOAL_DFA_NONE ? SHOAL_GRAMMAR_NEVER
                                       : cap(name.bytes + g->rules[name.rule].least);
}

/* The cheapest optional name that is not there and comes behind (*cost, *last) in the order of cost
 * and number; false when there is none below the cost of an open one. */
static bool next_cheapest(const shoal_grammar *g, const shoal_grammar_object *object,
                          const uint64_t *seen, int64_t *cost, int32_t *last)
{
    int64_t best = object->open_least;
    int32_t found = SHOAL_DFA_NONE;
    for (int32_t i = 0; i < object->name_count; i++) {
        const shoal_grammar_name name = g->names[object->names + i];
        const int64_t c = name_cost(g, name);
        const bool behind = c > *cost || (c == *cost && i > *last);
        if (!name.required && !is_seen(seen, i) && behind && c < best) {
            best = c;
            found = i;
        }
    }
    *cost = best;
    *last = found;
    return found != SHOAL_DFA_NONE;
}

/* Bytes of `count` further properties that are not required. */
static int64_t cheapest(const shoal_grammar *g, const shoal_grammar_object *object,
                        const uint64_t *seen, int64_t count)
{
    int64_t sum = 0, cost = -1;
    int32_t last = SHOAL_DFA_NONE;
    while (count > 0 && next_cheapest(g, object, seen, &cost, &last)) {
        sum = cap(sum + cost);
        count--;
    }
    if (count > 0 && object->open_least > SHOAL_GRAMMAR_NEVER / count)
        return SHOAL_GRAMMAR_NEVER;
    return cap(sum + count * object->open_least);
}

int64_t shoal_grammar_object_rest(const shoal_grammar *g, const shoal_grammar_object *object,
                                  const uint64_t *seen, int64_t count)
{
    int64_t missing = 0, sum = 0;
    for (int32_t i = 0; i < object->name_count; i++) {
        const shoal_grammar_name name = g->names[object->names + i];
        if (name.required && !is_seen(seen, i)) {
            missing++;
            sum = cap(sum + name_cost(g, name));
        }
    }
    const int64_t optional = shoal_max_i64(object->least_count - count - missing, 0);
    const int64_t more = missing + optional;
    if (count + more > object->most_count)
        return SHOAL_GRAMMAR_NEVER;
    sum = cap(sum + cheapest(g, object, seen, optional));
    const int64_t commas = count || !more ? more : more - 1;
    return cap(sum + commas + 1);
}

int32_t shoal_grammar_array_rule(const shoal_grammar *g, const shoal_grammar_array *array,
                                 int64_t at)
{
    return at < array->item_count ? g->items.data[array->items + at] : array->rest;
}

int64_t shoal_grammar_array_rest(const shoal_grammar *g, const shoal_grammar_array *array,
                                 int64_t count)
{
    int64_t sum = 0, at = count;
    for (; at < array->least_count && at < array->item_count; at++) {
        const int32_t rule = shoal_grammar_array_rule(g, array, at);
        sum = cap(sum + (rule == SHOAL_DFA_NONE ? SHOAL_GRAMMAR_NEVER : g->rules[rule].least));
    }
    const int64_t more = shoal_max_i64(array->least_count - at, 0);
    if (more > 0) {
        const int64_t each =
            array->rest == SHOAL_DFA_NONE ? SHOAL_GRAMMAR_NEVER : g->rules[array->rest].least;
        sum = each > SHOAL_GRAMMAR_NEVER / more ? SHOAL_GRAMMAR_NEVER : cap(sum + each * more);
    }
    const int64_t added = shoal_max_i64(array->least_count - count, 0);
    return cap(sum + (count || !added ? added : added - 1) + 1);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static int64_t least_of_object(const shoal_grammar *g, shoal_grammar_object *object)
{
    object->open_least = SHOAL_GRAMMAR_NEVER;
    const int32_t sets = shoal_intern_count(&g->dfas[object->names_dfa].item_sets);
    for (int32_t i = 0; i < sets; i++) {
        const shoal_grammar_entry e = g->entries[object->entries + i];
        if (e.name == SHOAL_DFA_NONE && e.rule != SHOAL_DFA_NONE && e.bytes < INT32_MAX)
            object->open_least =
                shoal_min_i64(object->open_least, cap(e.bytes + g->rules[e.rule].least));
    }
    return cap(1 + shoal_grammar_object_rest(g, object, NULL, 0));
}

static int64_t least_of_rule(shoal_grammar *g, const shoal_grammar_rule *rule)
{
    int64_t least = SHOAL_GRAMMAR_NEVER;
    if (rule->literals)
        least = rule->literals == SHOAL_JSON_FALSE ? 5 : 4;
    if (rule->string != SHOAL_DFA_NONE)
        least = shoal_min_i64(least, 2 + g->dfas[rule->string].states[0].least);
    if (rule->number != SHOAL_DFA_NONE)
        least = shoal_min_i64(least, g->dfas[rule->number].states[0].least);
    for (int32_t i = 0; i < rule->object_count; i++) {
        shoal_grammar_object *object = &g->objects[rule->objects + i];
        object->least = least_of_object(g, object);
        least = shoal_min_i64(least, object->least);
    }
    for (int32_t i = 0; i < rule->array_count; i++) {
        shoal_grammar_array *array = &g->arrays[rule->arrays + i];
        array->least = cap(1 + shoal_grammar_array_rest(g, array, 0));
        least = shoal_min_i64(least, array->least);
    }
    return least;
}

/* Rules mostly refer to later ones, so going backwards settles all that is not recursive at once.
 */
static bool settle(shoal_grammar *g)
{
    bool changed = false;
    for (size_t i = g->rules_count; i-- > 0;) {
        const int64_t least = least_of_rule(g, &g->rules[i]);
        changed |= least < g->rules[i].least;
        g->rules[i].least = least;
    }
    return changed;
}

shoal_status shoal_grammar_measure(shoal_grammar *g)
{
    for (size_t i = 0; i < g->dfas_count; i++)
        SHOAL_TRY(shoal_dfa_measure(&g->dfas[i], g->text == SHOAL_DFA_NONE));
    for (size_t i = 0; i < g->rules_count; i++)
        g->rules[i].least = SHOAL_GRAMMAR_NEVER;
    int rounds = 0;
    while (settle(g))
        if (++rounds > ROUNDS_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "the rules of the schema refer to each other too "
                                              "often");
    return SHOAL_OK;
}

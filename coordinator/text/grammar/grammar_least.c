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

int64_t shoal_grammar_name_bytes(const shoal_grammar *g, shoal_grammar_name name)
{
    return name.rule == SHOAL_DFA_NONE ? SHOAL_GRAMMAR_NEVER
                                       : cap(name.bytes + g->rules[name.rule].least);
}

shoal_grammar_missing shoal_grammar_object_missing(const shoal_grammar *g,
                                                   const shoal_grammar_object *object,
                                                   const uint64_t *seen)
{
    shoal_grammar_missing missing = {0};
    for (int32_t i = 0; i < object->name_count && missing.count < object->required_count; i++) {
        const shoal_grammar_name name = g->names[object->names + i];
        if (name.required && !is_seen(seen, i)) {
            missing.count++;
            missing.bytes = cap(missing.bytes + shoal_grammar_name_bytes(g, name));
        }
    }
    return missing;
}

/* Bytes of `count` further properties: optional names that are not there, cheapest first, and open
 * ones when those are cheaper. */
static int64_t further(const shoal_grammar *g, const shoal_grammar_object *object,
                       const uint64_t *seen, int64_t count)
{
    int64_t sum = 0;
    for (int32_t i = 0; count > 0 && i < object->name_count; i++) {
        const int32_t number = g->cheap.data[object->names + i];
        const shoal_grammar_name name = g->names[object->names + number];
        const int64_t bytes = shoal_grammar_name_bytes(g, name);
        if (bytes >= object->open_least)
            break;
        if (name.required || is_seen(seen, number))
            continue;
        sum = cap(sum + bytes);
        count--;
    }
    if (count > 0 && object->open_least > SHOAL_GRAMMAR_NEVER / count)
        return SHOAL_GRAMMAR_NEVER;
    return cap(sum + count * object->open_least);
}

int64_t shoal_grammar_object_rest(const shoal_grammar *g, const shoal_grammar_object *object,
                                  const uint64_t *seen, int64_t count,
                                  shoal_grammar_missing missing)
{
    const int64_t optional = shoal_max_i64(object->least_count - count - missing.count, 0);
    const int64_t more = missing.count + optional;
    if (count + more > object->most_count)
        return SHOAL_GRAMMAR_NEVER;
    const int64_t commas = count || !more ? more : more - 1;
    return cap(missing.bytes + further(g, object, seen, optional) + commas + 1);
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
    if (shoal_max_i64(array->least_count, count) > array->most_count)
        return SHOAL_GRAMMAR_NEVER;
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

/* Fill `cheap` for one object; insertion, since between rounds little changes. */
static void sort_names(shoal_grammar *g, const shoal_grammar_object *object)
{
    if (object->name_count == 0)
        return;
    const shoal_grammar_name *names = g->names + object->names;
    int32_t *cheap = g->cheap.data + object->names;
    for (int32_t i = 1; i < object->name_count; i++) {
        const int32_t moved = cheap[i];
        const int64_t bytes = shoal_grammar_name_bytes(g, names[moved]);
        int32_t at = i;
        for (; at > 0 && shoal_grammar_name_bytes(g, names[cheap[at - 1]]) > bytes; at--)
            cheap[at] = cheap[at - 1];
        cheap[at] = moved;
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

static int64_t least_of_object(shoal_grammar *g, shoal_grammar_object *object)
{
    object->open_least = SHOAL_GRAMMAR_NEVER;
    const int32_t sets = shoal_intern_count(&g->dfas[object->names_dfa].item_sets);
    for (int32_t i = 0; i < sets; i++) {
        const shoal_grammar_entry e = g->entries[object->entries + i];
        if (e.name == SHOAL_DFA_NONE && e.rule != SHOAL_DFA_NONE && e.bytes < INT32_MAX)
            object->open_least =
                shoal_min_i64(object->open_least, cap(e.bytes + g->rules[e.rule].least));
    }
    sort_names(g, object);
    return cap(1 + shoal_grammar_object_rest(g, object, NULL, 0,
                                             shoal_grammar_object_missing(g, object, NULL)));
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

/* Before it is sorted `cheap` holds the names of each object in their order. */
static shoal_status number_names(shoal_grammar *g)
{
    SHOAL_TRY(shoal_ids_reserve(&g->cheap, g->names_count));
    for (size_t o = 0; o < g->objects_count; o++)
        for (int32_t i = 0; i < g->objects[o].name_count; i++)
            SHOAL_TRY(shoal_ids_push(&g->cheap, i));
    return SHOAL_OK;
}

shoal_status shoal_grammar_measure(shoal_grammar *g)
{
    for (size_t i = 0; i < g->dfas_count; i++)
        SHOAL_TRY(shoal_dfa_measure(&g->dfas[i], g->text == SHOAL_DFA_NONE));
    for (size_t i = 0; i < g->rules_count; i++)
        g->rules[i].least = SHOAL_GRAMMAR_NEVER;
    SHOAL_TRY(number_names(g));
    int rounds = 0;
    while (settle(g))
        if (++rounds > ROUNDS_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "the rules of the schema refer to each other too "
                                              "often");
    return SHOAL_OK;
}

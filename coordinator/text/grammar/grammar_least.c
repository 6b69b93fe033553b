#include <stdlib.h>

#include "coordinator/text/grammar/grammar_frame.h"
#include "coordinator/text/grammar/grammar_parts.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* Parts looked at while settling what recursive rules cost; an ordinary schema takes a handful of
 * rounds. */
#define WORK_MAX (32u << 20)

/* Levels that are not known yet, or that nothing has. */
#define LEVELS_UNKNOWN (SHOAL_FRAME_DEPTH_MAX + 1)

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
                                                   const uint64_t *seen, uint64_t *looks)
{
    shoal_grammar_missing missing = {0};
    for (int32_t i = 0; i < object->name_count && missing.count < object->required_count; i++) {
        ++*looks;
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
                       const uint64_t *seen, int64_t count, uint64_t *looks)
{
    int64_t sum = 0;
    for (int32_t i = 0; count > 0 && i < object->name_count; i++) {
        ++*looks;
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
                                  shoal_grammar_missing missing, uint64_t *looks)
{
    const int64_t optional = shoal_max_i64(object->least_count - count - missing.count, 0);
    const int64_t more = missing.count + optional;
    if (count + more > object->most_count)
        return SHOAL_GRAMMAR_NEVER;
    const int64_t commas = count || !more ? more : more - 1;
    return cap(missing.bytes + further(g, object, seen, optional, looks) + commas + 1);
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

typedef struct {
    int64_t bytes;
    int32_t number;
} priced_name;

static int by_price(const void *a, const void *b)
{
    const priced_name *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Fill `cheap` for one object; `room` has space for its names. */
static void sort_names(shoal_grammar *g, const shoal_grammar_object *object, priced_name *room)
{
    bool sorted = true;
    int32_t *cheap = g->cheap.data + object->names;
    for (int32_t i = 0; i < object->name_count; i++) {
        const shoal_grammar_name name = g->names[object->names + cheap[i]];
        room[i] = (priced_name){shoal_grammar_name_bytes(g, name), cheap[i]};
        sorted &= i == 0 || room[i - 1].bytes <= room[i].bytes;
    }
    if (sorted) /* between rounds little changes */
        return;
    qsort(room, (size_t)object->name_count, sizeof *room, by_price);
    for (int32_t i = 0; i < object->name_count; i++)
        cheap[i] = room[i].number;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static int64_t least_of_object(shoal_grammar *g, shoal_grammar_object *object, priced_name *room)
{
    uint64_t looks = 0; /* no more than the names of the object, which a round counts */
    object->open_least = SHOAL_GRAMMAR_NEVER;
    const int32_t sets = shoal_intern_count(&g->dfas[object->names_dfa].item_sets);
    for (int32_t i = 0; i < sets; i++) {
        const shoal_grammar_entry e = g->entries[object->entries + i];
        if (e.name != SHOAL_DFA_NONE || e.rule == SHOAL_DFA_NONE || e.bytes == INT32_MAX ||
            e.bytes + g->rules[e.rule].least >= object->open_least)
            continue;
        object->open_least = e.bytes + g->rules[e.rule].least;
        object->open_rule = e.rule;
    }
    if (object->name_count)
        sort_names(g, object, room);
    const shoal_grammar_missing missing = shoal_grammar_object_missing(g, object, NULL, &looks);
    return cap(1 + shoal_grammar_object_rest(g, object, NULL, 0, missing, &looks));
}

static int64_t least_of_rule(shoal_grammar *g, const shoal_grammar_rule *rule, priced_name *room)
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
        object->least = least_of_object(g, object, room);
        least = shoal_min_i64(least, object->least);
    }
    for (int32_t i = 0; i < rule->array_count; i++) {
        shoal_grammar_array *array = &g->arrays[rule->arrays + i];
        array->least = cap(1 + shoal_grammar_array_rest(g, array, 0));
        least = shoal_min_i64(least, array->least);
    }
    return least;
}

/* Rules mostly refer to later ones, so going backwards settles all that is not recursive at once;
 * every other round goes forwards, for those that refer to earlier ones. */
static bool settle(shoal_grammar *g, bool forwards, priced_name *room)
{
    bool changed = false;
    for (size_t i = 0; i < g->rules_count; i++) {
        shoal_grammar_rule *rule = &g->rules[forwards ? i : g->rules_count - 1 - i];
        const int64_t least = least_of_rule(g, rule, room);
        changed |= least < rule->least;
        rule->least = least;
    }
    return changed;
}

static shoal_status settle_all(shoal_grammar *g)
{
    void *room;
    int32_t names = 0;
    bool forwards = false;
    const uint64_t round =
        1 + g->rules_count + g->objects_count + g->entries_count + g->names_count + g->items.count;
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < g->objects_count; i++)
        names = g->objects[i].name_count > names ? g->objects[i].name_count : names;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)names, sizeof(priced_name), &room));
    for (uint64_t work = round; settle(g, forwards, room) && st == SHOAL_OK; work += round) {
        forwards = !forwards;
        if (work > WORK_MAX)
            st = shoal_fail(SHOAL_ERR_DATA, "#: the rules of the schema refer to each other too "
                                            "often");
    }
    shoal_free(room);
    return st;
}

/* ---- levels ---------------------------------------------------------------------------------- */

/* Of values that must be there: the most levels, or unknown. */
static int32_t deeper_of(const shoal_grammar *g, int32_t rule, int32_t levels)
{
    const int32_t one = rule == SHOAL_DFA_NONE ? LEVELS_UNKNOWN : g->rules[rule].levels;
    return one > levels ? one : levels;
}

/* Of the shortest text of an object: its required names, and as many further ones as it needs. */
static int32_t levels_of_object(const shoal_grammar *g, const shoal_grammar_object *object)
{
    int32_t levels = 0;
    int64_t further = object->least_count - object->required_count;
    for (int32_t i = 0; i < object->name_count; i++) {
        const shoal_grammar_name name = g->names[object->names + g->cheap.data[object->names + i]];
        const bool picked =
            !name.required && further > 0 && shoal_grammar_name_bytes(g, name) < object->open_least;
        if (name.required || picked)
            levels = deeper_of(g, name.rule, levels);
        further -= picked;
    }
    if (further > 0)
        levels = deeper_of(g, object->open_rule, levels);
    return (int32_t)shoal_min_i64(levels + 1, LEVELS_UNKNOWN);
}

static int32_t levels_of_array(const shoal_grammar *g, const shoal_grammar_array *array)
{
    int32_t levels = 0;
    for (int64_t i = 0; i < array->least_count && i <= array->item_count; i++)
        levels = deeper_of(g, shoal_grammar_array_rule(g, array, i), levels);
    return (int32_t)shoal_min_i64(levels + 1, LEVELS_UNKNOWN);
}

static int32_t levels_of_rule(const shoal_grammar *g, const shoal_grammar_rule *rule)
{
    int32_t levels = LEVELS_UNKNOWN;
    if (rule->literals || rule->string != SHOAL_DFA_NONE || rule->number != SHOAL_DFA_NONE)
        return 0;
    for (int32_t i = 0; i < rule->object_count; i++) {
        const shoal_grammar_object *object = &g->objects[rule->objects + i];
        if (object->least < SHOAL_GRAMMAR_NEVER)
            levels = (int32_t)shoal_min_i64(levels, levels_of_object(g, object));
    }
    for (int32_t i = 0; i < rule->array_count; i++) {
        const shoal_grammar_array *array = &g->arrays[rule->arrays + i];
        if (array->least < SHOAL_GRAMMAR_NEVER)
            levels = (int32_t)shoal_min_i64(levels, levels_of_array(g, array));
    }
    return levels;
}

typedef struct {
    int64_t least;
    size_t rule;
} priced_rule;

static int by_least(const void *a, const void *b)
{
    const priced_rule *x = a, *y = b;
    if (x->least != y->least)
        return x->least < y->least ? -1 : 1;
    return (x->rule > y->rule) - (x->rule < y->rule);
}

/* The shortest text of a rule is made of shorter ones, so their levels are known before. */
static shoal_status find_levels(shoal_grammar *g)
{
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, g->rules_count, sizeof(priced_rule), &block));
    priced_rule *order = block;
    for (size_t i = 0; i < g->rules_count; i++) {
        order[i] = (priced_rule){g->rules[i].least, i};
        g->rules[i].levels = LEVELS_UNKNOWN;
    }
    if (g->rules_count)
        qsort(order, g->rules_count, sizeof *order, by_least);
    for (size_t i = 0; i < g->rules_count; i++)
        g->rules[order[i].rule].levels = levels_of_rule(g, &g->rules[order[i].rule]);
    shoal_free(block);
    for (size_t i = 0; i < g->objects_count; i++)
        g->objects[i].levels = levels_of_object(g, &g->objects[i]);
    for (size_t i = 0; i < g->arrays_count; i++)
        g->arrays[i].levels = levels_of_array(g, &g->arrays[i]);
    return SHOAL_OK;
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
    SHOAL_TRY(settle_all(g));
    return find_levels(g);
}

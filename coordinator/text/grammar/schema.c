#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/grammar/grammar_frame.h"
#include "coordinator/text/grammar/schema_compiler.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

/* ---- sentences ------------------------------------------------------------------------------- */

/* Append the place of `target` below `json` to `path`, as a JSON pointer; false when it is not
 * there. Deeper than the parser of requests allows is not looked at. */
static bool find_place(const json_t *json, const json_t *target, char *path, size_t size, int depth)
{
    const char *key;
    json_t *member;
    size_t i;
    const size_t at = strlen(path);
    if (json == target)
        return true;
    if (depth > 100 || at + 8 > size)
        return false;
    json_object_foreach((json_t *)(uintptr_t)json, key, member)
    {
        snprintf(path + at, size - at, "/%s", key);
        if (find_place(member, target, path, size, depth + 1))
            return true;
    }
    json_array_foreach(json, i, member)
    {
        snprintf(path + at, size - at, "/%zu", i);
        if (find_place(member, target, path, size, depth + 1))
            return true;
    }
    path[at] = '\0';
    return false;
}

static const char *place_of(const shoal_schema_compiler *c, const json_t *place, char *path,
                            size_t size)
{
    snprintf(path, size, "#");
    if (!find_place(c->root, place, path, size, 0))
        snprintf(path, size, "#");
    path[shoal_utf8_valid(path, strlen(path))] = '\0';
    return path;
}

shoal_status shoal_schema_fail(const shoal_schema_compiler *c, const json_t *place,
                               const char *keyword, const char *reason)
{
    char path[256], word[SHOAL_UTF8_SHOW];
    place_of(c, place, path, sizeof path);
    if (!keyword)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s", path, reason);
    return shoal_fail(SHOAL_ERR_DATA, "%s: '%s' %s", path,
                      shoal_utf8_show(keyword, strlen(keyword), word), reason);
}

shoal_status shoal_schema_fail_within(const shoal_schema_compiler *c, shoal_status st,
                                      const json_t *place, const char *keyword)
{
    char path[256];
    if (st != SHOAL_ERR_DATA)
        return st;
    place_of(c, place, path, sizeof path);
    return keyword ? shoal_fail_within(st, "%s: '%s'", path, keyword)
                   : shoal_fail_within(st, "%s", path);
}

/* ---- demands and rules ----------------------------------------------------------------------- */

shoal_status shoal_schema_demand(shoal_schema_compiler *c, const json_t *json,
                                 shoal_demand_kind kind, int32_t *demand)
{
    int32_t number;
    SHOAL_TRY(shoal_intern_put(&c->nodes, &json, sizeof json, &number, NULL));
    if (number > INT32_MAX / 4)
        return shoal_fail(SHOAL_ERR_DATA, "the schema is too large");
    *demand = number * 4 + (int32_t)kind;
    return SHOAL_OK;
}

const json_t *shoal_schema_json(const shoal_schema_compiler *c, int32_t demand)
{
    size_t bytes;
    return *(const json_t *const *)shoal_intern_key(&c->nodes, demand / 4, &bytes);
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Sort, drop doubles and schemas `true`; *never = one of them is `false`. */
static void settle_demands(const shoal_schema_compiler *c, shoal_ids *demands, bool *never)
{
    size_t kept = 0;
    *never = false;
    if (demands->count)
        qsort(demands->data, demands->count, sizeof *demands->data, by_number);
    for (size_t i = 0; i < demands->count; i++) {
        const int32_t demand = demands->data[i];
        const json_t *json = shoal_schema_json(c, demand);
        const bool schema = demand % 4 == SHOAL_DEMAND_SCHEMA;
        *never |= schema && json_is_false(json);
        if ((schema && json_is_true(json)) || (kept && demands->data[kept - 1] == demand))
            continue;
        demands->data[kept++] = demand;
    }
    demands->count = kept;
}

shoal_status shoal_schema_rule(shoal_schema_compiler *c, shoal_ids *demands, int32_t *rule)
{
    static const shoal_grammar_rule blank = {.string = SHOAL_DFA_NONE, .number = SHOAL_DFA_NONE};
    bool never, fresh;
    settle_demands(c, demands, &never);
    *rule = SHOAL_DFA_NONE;
    if (never)
        return SHOAL_OK;
    int32_t set;
    SHOAL_TRY(shoal_intern_put(&c->sets, demands->data, demands->count * sizeof *demands->data,
                               &set, &fresh));
    if (fresh) {
        SHOAL_TRY(shoal_ids_push(&c->rules, (int32_t)c->grammar->rules_count));
        SHOAL_TRY(shoal_grammar_add_rule(c->grammar, blank));
    }
    *rule = c->rules.data[set];
    return SHOAL_OK;
}

/* Where a set of demands stands in the document: at the first of them. */
static const json_t *place_of_set(const shoal_schema_compiler *c, int32_t set)
{
    size_t bytes;
    const int32_t *demands = shoal_intern_key(&c->sets, set, &bytes);
    return bytes ? shoal_schema_json(c, demands[0]) : c->root;
}

/* Make the parts of the rule of a set of demands. */
static shoal_status fill_set(shoal_schema_compiler *c, int32_t set)
{
    size_t bytes;
    shoal_schema_term start = shoal_schema_term_make();
    shoal_schema_terms terms = {0};
    const int32_t *demands = shoal_intern_key(&c->sets, set, &bytes);
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < bytes / sizeof *demands && st == SHOAL_OK; i++)
        st = shoal_ids_push(&start.pending, demands[i]);
    if (st == SHOAL_OK)
        st = shoal_schema_expand(c, &start, &terms);
    if (st == SHOAL_OK)
        st = shoal_schema_fill_rule(c, c->rules.data[set], &terms);
    if (st == SHOAL_ERR_DATA && *shoal_error_text() != '#')
        st = shoal_schema_fail_within(c, st, place_of_set(c, set), NULL);
    shoal_schema_term_free(&start);
    shoal_schema_terms_free(&terms);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static shoal_status compile(shoal_schema_compiler *c)
{
    shoal_status st = SHOAL_OK;
    shoal_ids demands = {0};
    int32_t demand = 0;
    if (json_is_false(c->root))
        return shoal_schema_fail(c, c->root, NULL, "the schema allows nothing");
    SHOAL_TRY_GOTO(shoal_schema_demand(c, c->root, SHOAL_DEMAND_SCHEMA, &demand), done);
    SHOAL_TRY_GOTO(shoal_ids_push(&demands, demand), done);
    SHOAL_TRY_GOTO(shoal_schema_rule(c, &demands, &c->grammar->root), done);
    for (int32_t set = 0; set < shoal_intern_count(&c->sets); set++)
        SHOAL_TRY_GOTO(fill_set(c, set), done);
done:
    shoal_ids_free(&demands);
    return st;
}

/* `oneOf`: no object and no array may satisfy two of its schemas. */
static shoal_status check_empty(const shoal_schema_compiler *c)
{
    for (size_t i = 0; i < c->empty.count; i++) {
        const shoal_grammar_rule *rule = &c->grammar->rules[c->empty.data[i]];
        if (rule->least < SHOAL_GRAMMAR_NEVER)
            return shoal_schema_fail(c, shoal_schema_json(c, c->empty_of.data[i]), "oneOf",
                                     "has schemas that an object or array may satisfy together; "
                                     "make them disjoint or use anyOf");
    }
    return SHOAL_OK;
}

static shoal_status finish(shoal_schema_compiler *c)
{
    shoal_grammar *g = c->grammar;
    g->dfas = c->pool.dfas;
    g->dfas_count = c->pool.count;
    c->pool.dfas = NULL;
    c->pool.count = 0;
    SHOAL_TRY(shoal_grammar_measure(g));
    SHOAL_TRY(check_empty(c));
    if (g->rules[g->root].least >= SHOAL_GRAMMAR_NEVER)
        return shoal_schema_fail(c, c->root, NULL, "nothing satisfies the schema");
    if (g->rules[g->root].levels > SHOAL_FRAME_DEPTH_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "#: what satisfies the schema nests more than %d levels",
                          SHOAL_FRAME_DEPTH_MAX);
    return SHOAL_OK;
}

shoal_status shoal_grammar_from_schema(const json_t *schema, shoal_grammar **out)
{
    shoal_schema_compiler c = {.root = schema, .pool = shoal_dfa_pool_make()};
    shoal_status st = shoal_grammar_create(&c.grammar);
    if (st == SHOAL_OK)
        st = shoal_schema_check_loops(&c);
    if (st == SHOAL_OK)
        st = compile(&c);
    if (st == SHOAL_OK)
        st = finish(&c);
    shoal_dfa_pool_free(&c.pool);
    shoal_intern_free(&c.nodes);
    shoal_intern_free(&c.sets);
    shoal_ids_free(&c.rules);
    shoal_ids_free(&c.empty);
    shoal_ids_free(&c.empty_of);
    if (st == SHOAL_OK)
        *out = c.grammar;
    else
        shoal_grammar_release(c.grammar);
    return st;
}

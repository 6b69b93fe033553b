#include <stdlib.h>
#include <string.h>

#include "coordinator/text/grammar/schema_compiler.h"

/* References and combinations in a row. */
#define CHAIN_MAX 1000

/* ---- resolving ------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One step of a JSON pointer in a URI fragment, without its escapes (%41, ~0, ~1). */
static shoal_status read_step(const char **at, shoal_strbuf *step)
{
    step->bytes = 0;
    for (; **at && **at != '/'; ++*at) {
        char c = **at;
        if (c == '%' && hex_digit((*at)[1]) >= 0 && hex_digit((*at)[2]) >= 0) {
            c = (char)(hex_digit((*at)[1]) << 4 | hex_digit((*at)[2]));
            *at += 2;
        }
        if (c == '~' && ((*at)[1] == '0' || (*at)[1] == '1'))
            c = *++*at == '0' ? '~' : '/';
        SHOAL_TRY(shoal_strbuf_append(step, &c, 1));
    }
    return shoal_strbuf_append(step, "", 1);
}

static const json_t *follow_step(const json_t *json, const char *step)
{
    if (json_is_object(json))
        return json_object_get(json, step);
    char *end;
    const unsigned long index = strtoul(step, &end, 10);
    return *step >= '0' && *step <= '9' && !*end ? json_array_get(json, index) : NULL;
}

shoal_status shoal_schema_resolve(const shoal_schema_compiler *c, const json_t *schema,
                                  const json_t *reference, const json_t **target)
{
    const char *at = json_string_value(reference);
    const json_t *json = c->root;
    shoal_strbuf step = {0};
    shoal_status st = SHOAL_OK;
    if (!at || *at != '#' || (at[1] && at[1] != '/'))
        return shoal_schema_fail(c, schema, "$ref",
                                 "must be a JSON pointer into this schema, as #/$defs/name");
    at++;
    while (*at == '/' && json && st == SHOAL_OK) {
        at++;
        st = read_step(&at, &step);
        if (st == SHOAL_OK)
            json = follow_step(json, step.data);
    }
    shoal_strbuf_free(&step);
    if (st == SHOAL_OK && !json)
        st = shoal_schema_fail(c, schema, "$ref", "points to nothing");
    if (st == SHOAL_OK)
        *target = json;
    return st;
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* State of a schema while looking for loops. */
enum { UNKNOWN, OPEN, CLEAN };

typedef struct {
    const shoal_schema_compiler *c;
    shoal_intern schemas; /* keys: pointers                */
    shoal_ids states;     /* by number: UNKNOWN, OPEN, CLEAN */
} searcher;

static shoal_status search(searcher *s, const json_t *schema, int depth);

static shoal_status search_list(searcher *s, const json_t *list, int depth)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) SHOAL_TRY(search(s, one, depth));
    return SHOAL_OK;
}

/* What a schema says about the same value through other schemas. */
static shoal_status search_inside(searcher *s, const json_t *schema, int depth)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    const json_t *reference = json_object_get(schema, "$ref"), *target;
    if (json_is_string(reference)) {
        SHOAL_TRY(shoal_schema_resolve(s->c, schema, reference, &target));
        SHOAL_TRY(search(s, target, depth));
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        SHOAL_TRY(search_list(s, json_object_get(schema, lists[i]), depth));
    return search(s, json_object_get(schema, "not"), depth);
}

static shoal_status search(searcher *s, const json_t *schema, int depth)
{
    int32_t number;
    bool fresh;
    if (!json_is_object(schema))
        return SHOAL_OK;
    SHOAL_TRY(shoal_intern_put(&s->schemas, &schema, sizeof schema, &number, &fresh));
    if (fresh)
        SHOAL_TRY(shoal_ids_push(&s->states, UNKNOWN));
    if (s->states.data[number] == CLEAN)
        return SHOAL_OK;
    if (s->states.data[number] == OPEN)
        return shoal_schema_fail(s->c, schema, NULL, "the schema refers to itself without end");
    if (depth > CHAIN_MAX)
        return shoal_schema_fail(s->c, schema, NULL, "too many references in a row");
    s->states.data[number] = OPEN;
    SHOAL_TRY(search_inside(s, schema, depth + 1));
    s->states.data[number] = CLEAN;
    return SHOAL_OK;
}

/* Look from every object of the document. */
static shoal_status search_all(searcher *s, const json_t *json, int depth)
{
    const char *key;
    json_t *member;
    size_t i;
    if (depth > CHAIN_MAX)
        return shoal_schema_fail(s->c, s->c->root, NULL, "the schema is nested too deep");
    json_object_foreach((json_t *)(uintptr_t)json, key, member)
        SHOAL_TRY(search_all(s, member, depth + 1));
    json_array_foreach(json, i, member) SHOAL_TRY(search_all(s, member, depth + 1));
    return search(s, json, 0);
}

shoal_status shoal_schema_check_loops(shoal_schema_compiler *c)
{
    searcher s = {.c = c};
    const shoal_status st = search_all(&s, c->root, 0);
    shoal_intern_free(&s.schemas);
    shoal_ids_free(&s.states);
    return st;
}

#include <string.h>

#include "coordinator/text/grammar/schema_compiler.h"

/* References in a row that are followed; whoever chains more is treated as if nothing was known. */
#define CHAIN_MAX 8

/* ---- scalars --------------------------------------------------------------------------------- */

/* What the schemas so far allow. */
typedef struct {
    unsigned literals;
    int32_t strings, numbers;
} scalars;

/* Add an automaton to those before; *apart = false when they have a text in common. */
static shoal_status add_automaton(shoal_schema_compiler *c, int32_t one, int32_t *all, bool *apart)
{
    int32_t common;
    if (one == SHOAL_DFA_NONE || *all == SHOAL_DFA_NONE) {
        *all = one == SHOAL_DFA_NONE ? *all : one;
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_dfa_pool_combine(&c->pool, *all, one, SHOAL_DFA_AND, &common));
    *apart &= c->pool.dfas[common].count == 0;
    return shoal_dfa_pool_combine(&c->pool, *all, one, SHOAL_DFA_OR, all);
}

static shoal_status add_schema(shoal_schema_compiler *c, const json_t *schema, scalars *all,
                               bool *apart)
{
    shoal_schema_terms terms = {0};
    shoal_status st = SHOAL_OK;
    unsigned literals = 0;
    int32_t demand, strings, numbers;
    SHOAL_TRY(shoal_schema_demand(c, schema, SHOAL_DEMAND_SCHEMA, &demand));
    SHOAL_TRY_GOTO(
        shoal_schema_terms_of(
            c, demand, SHOAL_SCHEMA_LITERALS | SHOAL_SCHEMA_STRING | SHOAL_SCHEMA_NUMBER, &terms),
        done);
    for (size_t i = 0; i < terms.count; i++)
        literals |= terms.data[i].types & SHOAL_SCHEMA_LITERALS;
    *apart &= (all->literals & literals) == 0;
    all->literals |= literals;
    SHOAL_TRY_GOTO(shoal_schema_strings(c, &terms, &strings), done);
    SHOAL_TRY_GOTO(add_automaton(c, strings, &all->strings, apart), done);
    SHOAL_TRY_GOTO(shoal_schema_numbers(c, &terms, &numbers), done);
    SHOAL_TRY_GOTO(add_automaton(c, numbers, &all->numbers, apart), done);
done:
    shoal_schema_terms_free(&terms);
    return st;
}

shoal_status shoal_schema_scalars_apart(shoal_schema_compiler *c, const json_t *list, bool *apart)
{
    scalars all = {0, SHOAL_DFA_NONE, SHOAL_DFA_NONE};
    *apart = true;
    for (size_t i = 0; i < json_array_size(list) && *apart; i++)
        SHOAL_TRY(add_schema(c, json_array_get(list, i), &all, apart));
    return SHOAL_OK;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* A schema and the ones it refers to: all of them hold. */
typedef struct {
    const json_t *schemas[CHAIN_MAX];
    size_t count;
} chain;

static shoal_status follow(const shoal_schema_compiler *c, const json_t *schema, chain *out)
{
    out->count = 0;
    while (json_is_object(schema) && out->count < CHAIN_MAX) {
        const json_t *reference = json_object_get(schema, "$ref");
        out->schemas[out->count++] = schema;
        if (!reference)
            break;
        SHOAL_TRY(shoal_schema_resolve(c, schema, reference, &schema));
    }
    return SHOAL_OK;
}

/* Whether it is plain that all values are objects, or none is, or neither. */
typedef enum { ANYTHING, OBJECTS, NO_OBJECTS } shape;

static shape shape_of(const chain *of)
{
    for (size_t i = 0; i < of->count; i++) {
        const char *type = json_string_value(json_object_get(of->schemas[i], "type"));
        if (type)
            return strcmp(type, "object") == 0 ? OBJECTS : NO_OBJECTS;
    }
    return ANYTHING;
}

/* The only value of a property, a string: `const` or `enum` of one; NULL: not so, or not known. */
static const json_t *string_of(const chain *in, const char *name)
{
    for (size_t i = 0; i < in->count; i++) {
        const json_t *property =
            json_object_get(json_object_get(in->schemas[i], "properties"), name);
        const json_t *one = json_object_get(property, "const");
        const json_t *some = json_object_get(property, "enum");
        if (json_is_string(one))
            return one;
        if (json_array_size(some) == 1 && json_is_string(json_array_get(some, 0)))
            return json_array_get(some, 0);
    }
    return NULL;
}

/* Does one of the names that `by` requires have different values in the two? */
static bool names_tell(const chain *by, const chain *a, const chain *b)
{
    size_t k;
    json_t *required;
    for (size_t i = 0; i < by->count; i++) {
        json_array_foreach(json_object_get(by->schemas[i], "required"), k, required)
        {
            const char *name = json_string_value(required);
            if (!name || strlen(name) != json_string_length(required))
                continue;
            const json_t *x = string_of(a, name), *y = x ? string_of(b, name) : NULL;
            if (y && !json_equal(x, y))
                return true;
        }
    }
    return false;
}

static uint64_t names_of(const chain *by)
{
    uint64_t count = 0;
    for (size_t i = 0; i < by->count; i++)
        count += json_array_size(json_object_get(by->schemas[i], "required"));
    return count;
}

/* A name is looked up in every schema of both. */
static uint64_t price_of(const chain *a, const chain *b)
{
    return 16 + (names_of(a) + names_of(b)) * (a->count + b->count) / 2;
}

shoal_status shoal_schema_objects_apart(shoal_schema_compiler *c, const json_t *a, const json_t *b,
                                        bool *apart)
{
    chain x, y;
    *apart = false;
    SHOAL_TRY(follow(c, a, &x));
    SHOAL_TRY(follow(c, b, &y));
    SHOAL_TRY(shoal_dfa_pool_spend(&c->pool, price_of(&x, &y)));
    const shape one = shape_of(&x), other = shape_of(&y);
    *apart =
        (one == OBJECTS || other == OBJECTS) && (one == NO_OBJECTS || other == NO_OBJECTS ||
                                                 names_tell(&x, &x, &y) || names_tell(&y, &x, &y));
    return SHOAL_OK;
}

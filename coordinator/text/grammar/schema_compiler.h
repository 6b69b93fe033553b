/* coordinator/text/grammar/schema_compiler.h - from a JSON Schema to rules. Private to schema*.c.
 *
 * What a value has to satisfy is a set of demands: a schema of the document (by number), a value to
 * be equal to, or a schema whose scalars it must not be. Equal sets of demands are one rule, so
 * recursion ends. A set is expanded into terms, one of which must hold: references and `allOf` add
 * demands, `anyOf` and `oneOf` split a term, keywords about scalars narrow its automata, and the
 * schemas that speak of objects and arrays are listed to be read together. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_SCHEMA_COMPILER_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_SCHEMA_COMPILER_H

#include <jansson.h>

#include "coordinator/text/grammar/dfa_pool.h"
#include "coordinator/text/grammar/grammar_parts.h"

#define SHOAL_SCHEMA_TERMS_MAX (1u << 16) /* of all rules together                 */
#define SHOAL_SCHEMA_DEPTH_MAX 64         /* of splits, negations and names within each other */

/* What a value may be. */
enum {
    SHOAL_SCHEMA_LITERALS = SHOAL_JSON_NULL | SHOAL_JSON_FALSE | SHOAL_JSON_TRUE,
    SHOAL_SCHEMA_NUMBER = 8,
    SHOAL_SCHEMA_STRING = 16,
    SHOAL_SCHEMA_OBJECT = 32,
    SHOAL_SCHEMA_ARRAY = 64,
    SHOAL_SCHEMA_ALL = 127
};

typedef enum {
    SHOAL_DEMAND_SCHEMA,    /* satisfy it                                              */
    SHOAL_DEMAND_EQUAL,     /* be this value                                           */
    SHOAL_DEMAND_NOT,       /* do not satisfy it                                       */
    SHOAL_DEMAND_NOT_SCALAR /* do not satisfy it with a scalar; other types are free  */
} shoal_demand_kind;

typedef enum { SHOAL_SPLIT_ANY_OF, SHOAL_SPLIT_ONE_OF, SHOAL_SPLIT_ENUM } shoal_split_kind;

/* A demand is 4 * (number of the JSON value) + kind. */
typedef struct {
    unsigned types;
    int32_t string, number;    /* SHOAL_DFA_NONE: any */
    shoal_ids pending;         /* demands to be looked at               */
    shoal_ids done;            /* demands that were                     */
    shoal_ids splits;          /* 4 * (number of a schema) + kind       */
    shoal_ids objects, arrays; /* demands that speak of them         */
} shoal_schema_term;

typedef struct {
    shoal_schema_term *data;
    size_t count, capacity;
} shoal_schema_terms;

typedef struct {
    const json_t *root;
    shoal_grammar *grammar;
    shoal_dfa_pool pool;
    shoal_intern nodes; /* keys: pointers to JSON values of the schema */
    shoal_intern sets;  /* keys: ascending arrays of demands          */
    shoal_ids rules;    /* by set                                     */
    shoal_ids empty;    /* rules that must have no object or array, ...       */
    shoal_ids empty_of; /* ... and the schemas that would be ambiguous if they had */
    size_t term_count;
    int depth;
} shoal_schema_compiler;

/* SHOAL_ERR_DATA: "#/place: 'keyword' REASON". `keyword` may be NULL. */
shoal_status shoal_schema_fail(const shoal_schema_compiler *c, const json_t *place,
                               const char *keyword, const char *reason);
/* Put that in front of what was recorded. `keyword` may be NULL. */
shoal_status shoal_schema_fail_within(const shoal_schema_compiler *c, shoal_status st,
                                      const json_t *place, const char *keyword);

SHOAL_MUST_USE shoal_status shoal_schema_demand(shoal_schema_compiler *c, const json_t *json,
                                                shoal_demand_kind kind, int32_t *demand);
const json_t *shoal_schema_json(const shoal_schema_compiler *c, int32_t demand);

/* *rule = the rule of a set of demands (which is sorted here), or SHOAL_DFA_NONE when one of them
 * is the schema `false`. Its parts are made later. */
SHOAL_MUST_USE shoal_status shoal_schema_rule(shoal_schema_compiler *c, shoal_ids *demands,
                                              int32_t *rule);

/* Append the terms of `start`, which is emptied. */
SHOAL_MUST_USE shoal_status shoal_schema_expand(shoal_schema_compiler *c, shoal_schema_term *start,
                                                shoal_schema_terms *out);
shoal_schema_term shoal_schema_term_make(void);
void shoal_schema_term_free(shoal_schema_term *term);
void shoal_schema_terms_free(shoal_schema_terms *terms);

/* The terms of one demand, as far as they are about values of some types. */
SHOAL_MUST_USE shoal_status shoal_schema_terms_of(shoal_schema_compiler *c, int32_t demand,
                                                  unsigned types, shoal_schema_terms *out);

/* *apart: no scalar satisfies two of the schemas of the list. */
SHOAL_MUST_USE shoal_status shoal_schema_scalars_apart(shoal_schema_compiler *c, const json_t *list,
                                                       bool *apart);

/* *apart: it is plain that no object or array satisfies both, as by a required name that has
 * another `const` in each; else nothing is known. */
SHOAL_MUST_USE shoal_status shoal_schema_objects_apart(shoal_schema_compiler *c, const json_t *a,
                                                       const json_t *b, bool *apart);

/* SHOAL_ERR_DATA when a schema refers to itself without a part of the value in between. */
SHOAL_MUST_USE shoal_status shoal_schema_check_loops(shoal_schema_compiler *c);

/* The target of a reference. */
SHOAL_MUST_USE shoal_status shoal_schema_resolve(const shoal_schema_compiler *c,
                                                 const json_t *schema, const json_t *reference,
                                                 const json_t **target);

/* Look at every keyword of a schema object. */
SHOAL_MUST_USE shoal_status shoal_schema_keywords(shoal_schema_compiler *c, shoal_schema_term *term,
                                                  const json_t *schema, int32_t demand);

/* Narrow a term to the values of an array of JSON values, as far as they are scalars. */
SHOAL_MUST_USE shoal_status shoal_schema_scalars(shoal_schema_compiler *c, shoal_schema_term *term,
                                                 const json_t *values);

/* Narrow strings or numbers: *automaton and what is in it already. */
SHOAL_MUST_USE shoal_status shoal_schema_narrow(shoal_schema_compiler *c, int32_t with,
                                                int32_t *automaton);
/* All strings and numbers that one of the terms allows; SHOAL_DFA_NONE: none. */
SHOAL_MUST_USE shoal_status shoal_schema_strings(shoal_schema_compiler *c,
                                                 const shoal_schema_terms *terms, int32_t *out);
SHOAL_MUST_USE shoal_status shoal_schema_numbers(shoal_schema_compiler *c,
                                                 const shoal_schema_terms *terms, int32_t *out);

/* Fill a rule that has been numbered with what the terms allow. */
SHOAL_MUST_USE shoal_status shoal_schema_fill_rule(shoal_schema_compiler *c, int32_t rule,
                                                   const shoal_schema_terms *terms);

/* Append the object or array that the demands describe together. */
SHOAL_MUST_USE shoal_status shoal_schema_add_object(shoal_schema_compiler *c,
                                                    const shoal_ids *demands);
SHOAL_MUST_USE shoal_status shoal_schema_add_array(shoal_schema_compiler *c,
                                                   const shoal_ids *demands);

#endif

/* coordinator/text/grammar/grammar_parts.h - what a compiled grammar is made of. Private to the
 * files that compile one and to those that read texts with it.
 *
 * A rule is what one JSON value may be: some of the literals, a string, a number, or one of several
 * shapes of objects and arrays. Rules refer to rules by number, so they may be recursive. Numbers
 * of things that are not there are SHOAL_DFA_NONE. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_PARTS_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_PARTS_H

#include <stdatomic.h>

#include "coordinator/text/grammar/dfa.h"
#include "coordinator/text/grammar/grammar.h"

/* Of a rule, object or array that no text satisfies. */
#define SHOAL_GRAMMAR_NEVER (INT64_MAX / 4)

/* Also the bits of `literals`. */
enum { SHOAL_JSON_NULL = 1, SHOAL_JSON_FALSE = 2, SHOAL_JSON_TRUE = 4 };

typedef struct {
    unsigned literals;
    int32_t string, number; /* automata of the value and of the text */
    int32_t objects, object_count, arrays, array_count;
    int32_t levels; /* objects and arrays within each other that some text of it needs */
    int64_t least;  /* bytes of the shortest text */
} shoal_grammar_rule;

/* A name that the schema mentions. */
typedef struct {
    int32_t rule;  /* of its value; SHOAL_DFA_NONE: it must not be there */
    int32_t bytes; /* of `"name":` */
    bool required;
} shoal_grammar_name;

/* What a set of items of the automaton of names stands for. */
typedef struct {
    int32_t name; /* which of the object's names; SHOAL_DFA_NONE: one that the schema leaves open */
    int32_t rule; /* of the value; SHOAL_DFA_NONE: such a name is not allowed */
    int32_t bytes; /* of the shortest such name, its quotes and the colon */
} shoal_grammar_entry;

typedef struct {
    int32_t names_dfa;
    int32_t entries;           /* the first; one per set of items of the automaton */
    int32_t names, name_count; /* the first, and how many */
    int32_t required_count;
    int64_t least_count, most_count; /* properties */
    int64_t open_least;              /* bytes of the shortest open name, colon and value */
    int32_t open_rule;               /* of that value                                    */
    int32_t levels;                  /* itself included                                  */
    int64_t least;
} shoal_grammar_object;

typedef struct {
    int32_t items, item_count; /* rules of the first elements */
    int32_t rest;              /* rule of all others */
    int32_t levels;            /* itself included        */
    int64_t least_count, most_count;
    int64_t least;
} shoal_grammar_array;

/* A vector of each kind of part. */
#define SHOAL_GRAMMAR_VECTOR(type, name)                                                           \
    type *name;                                                                                    \
    size_t name##_count, name##_capacity

struct shoal_grammar {
    atomic_int references;
    int32_t text; /* plain text: its automaton; else SHOAL_DFA_NONE */
    int32_t root; /* JSON text: its rule                            */
    SHOAL_GRAMMAR_VECTOR(shoal_dfa, dfas);
    SHOAL_GRAMMAR_VECTOR(shoal_grammar_rule, rules);
    SHOAL_GRAMMAR_VECTOR(shoal_grammar_object, objects);
    SHOAL_GRAMMAR_VECTOR(shoal_grammar_entry, entries);
    SHOAL_GRAMMAR_VECTOR(shoal_grammar_name, names);
    SHOAL_GRAMMAR_VECTOR(shoal_grammar_array, arrays);
    shoal_ids items;
    shoal_ids cheap; /* by name: the names of its object again, cheapest first */
};

SHOAL_MUST_USE shoal_status shoal_grammar_create(shoal_grammar **out);

/* Append a part. SHOAL_ERR_DATA beyond SHOAL_GRAMMAR_NODES_MAX. */
SHOAL_MUST_USE shoal_status shoal_grammar_add_rule(shoal_grammar *g, shoal_grammar_rule part);
SHOAL_MUST_USE shoal_status shoal_grammar_add_object(shoal_grammar *g, shoal_grammar_object part);
SHOAL_MUST_USE shoal_status shoal_grammar_add_entry(shoal_grammar *g, shoal_grammar_entry part);
SHOAL_MUST_USE shoal_status shoal_grammar_add_name(shoal_grammar *g, shoal_grammar_name part);
SHOAL_MUST_USE shoal_status shoal_grammar_add_array(shoal_grammar *g, shoal_grammar_array part);

/* Measure the automata, then fill all `least` and `levels` of rules, objects and arrays. */
SHOAL_MUST_USE shoal_status shoal_grammar_measure(shoal_grammar *g);

/* The required properties that an object still lacks: how many, and their bytes without commas. */
typedef struct {
    int64_t count, bytes;
} shoal_grammar_missing;

/* In an object with the names of the bits `seen` (NULL: none). Here and below *looks grows by the
 * names that were looked at. */
shoal_grammar_missing shoal_grammar_object_missing(const shoal_grammar *g,
                                                   const shoal_grammar_object *object,
                                                   const uint64_t *seen, uint64_t *looks);

/* Bytes of a named property without comma; SHOAL_GRAMMAR_NEVER when it must not be there. */
int64_t shoal_grammar_name_bytes(const shoal_grammar *g, shoal_grammar_name name);

/* Fewest bytes that end an object with the names `seen` and `count` properties in all: the missing
 * and further properties, a comma before each but the first of all, and the brace.
 * SHOAL_GRAMMAR_NEVER when it cannot be done. */
int64_t shoal_grammar_object_rest(const shoal_grammar *g, const shoal_grammar_object *object,
                                  const uint64_t *seen, int64_t count,
                                  shoal_grammar_missing missing, uint64_t *looks);

/* The same for an array with `count` elements. */
int64_t shoal_grammar_array_rest(const shoal_grammar *g, const shoal_grammar_array *array,
                                 int64_t count);

/* The rule of element number `at`, or SHOAL_DFA_NONE. */
int32_t shoal_grammar_array_rule(const shoal_grammar *g, const shoal_grammar_array *array,
                                 int64_t at);

#endif

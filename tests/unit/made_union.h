/* tests/unit/made_union.h - a grammar that is slow to follow: objects that begin alike, so that all
 * of them stay open until a name tells them apart. For one file of a program. */
#ifndef SHOAL_TESTS_UNIT_MADE_UNION_H
#define SHOAL_TESTS_UNIT_MADE_UNION_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/text/grammar/grammar.h"

/* Long enough that every character of a test leads to another state. */
#define MADE_STRING_MAX 2000

/* Each has a string "a", and number i an "r<i>". */
static inline shoal_grammar *made_union(int alternatives)
{
    shoal_grammar *grammar = NULL;
    json_t *list = json_array();
    for (int i = 0; i < alternatives; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "r%d", i);
        (void)json_array_append_new(list, json_pack("{s:s, s:{s:{s:s, s:i}, s:{}}, s:[s, s]}",
                                                    "type", "object", "properties", "a", "type",
                                                    "string", "maxLength", MADE_STRING_MAX, name,
                                                    "required", "a", name));
    }
    json_t *schema = json_pack("{s:o}", "anyOf", list);
    if (shoal_grammar_from_schema(schema, &grammar) != SHOAL_OK)
        abort();
    json_decref(schema);
    return grammar;
}

#endif

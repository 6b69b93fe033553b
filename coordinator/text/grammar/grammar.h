/* coordinator/text/grammar/grammar.h - what an answer may look like: an automaton over bytes.
 *
 * Compiled from a JSON Schema (draft 2020-12, and "definitions" of older ones), from "any JSON
 * object", from a regular expression (RE2-like: no look-around, no back-references; matched in
 * linear time) or from a list of choices. The automaton has rules that call each other (recursion
 * through $ref needs a stack) and automata over characters for strings, names and numbers. Text is
 * UTF-8: lengths count characters, strings are escaped as RFC 8259 allows.
 *
 * A keyword that this cannot enforce exactly is refused by name and place, never ignored. Compiling
 * is bounded in time and memory by the limits below. Immutable once compiled; counted references,
 * any thread. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_H

#include <jansson.h>
#include <stddef.h>

#include "proto/status.h"

#define SHOAL_GRAMMAR_NODES_MAX   (1u << 20)  /* parts of a kind: rules, names, ... */
#define SHOAL_GRAMMAR_SCHEMA_MAX  (1u << 20)  /* bytes of a schema's JSON text; for callers */
#define SHOAL_GRAMMAR_REGEX_MAX   (16u << 10) /* bytes of one from outside */
#define SHOAL_GRAMMAR_CHOICES_MAX 4096
#define SHOAL_GRAMMAR_REPEAT_MAX  4096 /* the greatest bound of a repetition in a regex */

typedef struct shoal_grammar shoal_grammar;

/* JSON text that the schema accepts. SHOAL_ERR_DATA: the sentence names the keyword and its place
 * ("#/properties/age: 'contains' is not supported"). Properties come in any order; names that the
 * schema mentions come once (open ones are not remembered). With bounds a number is written plainly
 * or with one digit before the point and an exponent; with multipleOf, not and oneOf plainly,
 * with at most 15 digits before a point, so that a reader's double has its value. Formats are
 * enforced; unknown formats and keywords are refused. */
SHOAL_MUST_USE shoal_status shoal_grammar_from_schema(const json_t *schema, shoal_grammar **out);

/* Any JSON object. */
SHOAL_MUST_USE shoal_status shoal_grammar_json_object(shoal_grammar **out);

/* Text that the expression matches as a whole. */
SHOAL_MUST_USE shoal_status shoal_grammar_from_regex(const char *regex, size_t bytes,
                                                     shoal_grammar **out);

/* One of the texts (valid UTF-8). */
SHOAL_MUST_USE shoal_status shoal_grammar_from_choices(const char *const *texts,
                                                       const size_t *bytes, size_t count,
                                                       shoal_grammar **out);

shoal_grammar *shoal_grammar_share(shoal_grammar *grammar);
void shoal_grammar_release(shoal_grammar *grammar); /* NULL is allowed */

#endif

/* coordinator/text/grammar/regex_parser.h - a regular expression as a tree (private to regex*.c).
 *
 * Lists of children are in reverse order: the graph is built from the end of the text. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_REGEX_PARSER_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_REGEX_PARSER_H

#include "coordinator/text/grammar/charset.h"

#define SHOAL_REGEX_DEPTH_MAX 100 /* groups within groups */
#define SHOAL_REGEX_NO_LIMIT  (-1)

typedef enum {
    SHOAL_REGEX_SET,    /* one character of `set`                      */
    SHOAL_REGEX_CHAIN,  /* the children one after another; maybe none  */
    SHOAL_REGEX_CHOICE, /* one of the children                         */
    SHOAL_REGEX_REPEAT, /* the child `least` to `most` times           */
    SHOAL_REGEX_BEGIN,
    SHOAL_REGEX_END
} shoal_regex_kind;

typedef struct {
    shoal_regex_kind kind;
    int32_t child, sibling; /* -1 = none */
    int32_t least, most;
    shoal_charset set;
    int32_t set_number; /* in the graph, once it is there; else -1 */
} shoal_regex_node;

typedef struct {
    const char *text;
    size_t bytes, at;
    int depth;
    shoal_regex_node *nodes;
    size_t count, capacity;
} shoal_regex_parser;

/* *root = the tree of text[0, bytes). Free the parser in any case. */
SHOAL_MUST_USE shoal_status shoal_regex_parse(shoal_regex_parser *parser, int32_t *root);
void shoal_regex_parser_free(shoal_regex_parser *parser);

/* The set behind a backslash or of one in brackets; `at` stands behind '\\' or '['. */
SHOAL_MUST_USE shoal_status shoal_regex_escape(shoal_regex_parser *parser, bool in_class,
                                               shoal_charset *set);
SHOAL_MUST_USE shoal_status shoal_regex_class(shoal_regex_parser *parser, shoal_charset *set);

/* SHOAL_ERR_DATA: "regular expression, byte N: ..." */
shoal_status shoal_regex_fail(const shoal_regex_parser *parser, const char *reason);

#endif

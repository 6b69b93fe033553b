/* coordinator/text/template_parser.h - lexemes to nodes.
 *
 * template_parser.c reads statements by a table of tags, template_expression.c expressions by a
 * table of operators with their precedence. What other Jinja programs know and this one does not
 * is refused by name and line. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_PARSER_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_PARSER_H

#include "coordinator/text/template_lexer.h"
#include "coordinator/text/template_node.h"

/* The statements of a template; nodes and texts live in `heap`. SHOAL_ERR_DATA with name and
 * line. */
SHOAL_MUST_USE shoal_status shoal_parse(shoal_heap *heap, const char *name, shoal_text source,
                                        shoal_node **out);

/* ---- between the two files ---- */

typedef struct {
    shoal_heap *heap;
    const char *name;
    const shoal_lexeme *at; /* the next lexeme */
    int loops;              /* open ones: break and continue need one */
} shoal_parser;

/* The end of a list of nodes. */
typedef struct {
    shoal_node *first, *last;
} shoal_nodes;

SHOAL_MUST_USE shoal_status shoal_node_make(shoal_parser *p, shoal_node_kind kind,
                                            shoal_node **out);
void shoal_nodes_push(shoal_nodes *list, shoal_node *node);

/* Is the next lexeme this operator or name? `skip` also takes it. */
bool shoal_parser_sees(const shoal_parser *p, const char *word);
bool shoal_parser_skips(shoal_parser *p, const char *word);
/* Take it, or fail with what was found instead. */
SHOAL_MUST_USE shoal_status shoal_parser_expects(shoal_parser *p, const char *word);
SHOAL_MUST_USE shoal_status shoal_parser_takes_name(shoal_parser *p, shoal_text *out);
shoal_status shoal_parser_fails(const shoal_parser *p, const char *what);

/* An expression; without a trailing `if ... else` unless `conditional`. */
SHOAL_MUST_USE shoal_status shoal_parse_expression(shoal_parser *p, bool conditional,
                                                   shoal_node **out);

/* One expression, or several with commas: a tuple. */
SHOAL_MUST_USE shoal_status shoal_parse_tuple(shoal_parser *p, bool conditional, shoal_node **out);

/* Filters behind `subject`: `| a | b(c)`. */
SHOAL_MUST_USE shoal_status shoal_parse_filters(shoal_parser *p, shoal_node *subject,
                                                shoal_node **out);
/* One filter or test with its arguments; its name is next. */
SHOAL_MUST_USE shoal_status shoal_parse_filter(shoal_parser *p, shoal_node *subject,
                                               shoal_node **out);

/* What can be assigned to: a name, an attribute, or several of them with commas. */
SHOAL_MUST_USE shoal_status shoal_parse_target(shoal_parser *p, shoal_node **out);

#endif

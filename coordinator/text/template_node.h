/* coordinator/text/template_node.h - a parsed template: a tree of nodes, read-only once built.
 *
 * Lists of nodes are chained by `next`. Nodes live in the heap of the template. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_NODE_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_NODE_H

#include "coordinator/text/template_value.h"

typedef enum {
    /* expressions */
    SHOAL_NODE_CONSTANT,
    SHOAL_NODE_NAME,
    SHOAL_NODE_LIST,
    SHOAL_NODE_TUPLE,
    SHOAL_NODE_DICT, /* its items are PAIRs */
    SHOAL_NODE_PAIR,
    SHOAL_NODE_UNARY,
    SHOAL_NODE_BINARY,
    SHOAL_NODE_COMPARE, /* left, then a chain of COMPARISONs */
    SHOAL_NODE_COMPARISON,
    SHOAL_NODE_CONDITIONAL,
    SHOAL_NODE_ATTRIBUTE,
    SHOAL_NODE_SUBSCRIPT,
    SHOAL_NODE_SLICE,
    SHOAL_NODE_CALL,
    SHOAL_NODE_FILTER,
    SHOAL_NODE_TEST,
    SHOAL_NODE_ARGUMENT, /* of CALL, FILTER, TEST */
    SHOAL_NODE_CAPTURED, /* the text of the block that a filter is applied to */
    /* statements */
    SHOAL_NODE_DATA,
    SHOAL_NODE_OUTPUT,
    SHOAL_NODE_IF, /* BRANCHes; the one without a test is the else */
    SHOAL_NODE_BRANCH,
    SHOAL_NODE_FOR,
    SHOAL_NODE_SET,
    SHOAL_NODE_SET_BLOCK,
    SHOAL_NODE_FILTER_BLOCK,
    SHOAL_NODE_MACRO,
    SHOAL_NODE_PARAMETER,
    SHOAL_NODE_CALL_BLOCK,
    SHOAL_NODE_SCOPE, /* a body with variables of its own: with, generation */
    SHOAL_NODE_BREAK,
    SHOAL_NODE_CONTINUE
} shoal_node_kind;

typedef enum {
    SHOAL_OPERATOR_OR,
    SHOAL_OPERATOR_AND,
    SHOAL_OPERATOR_NOT,
    SHOAL_OPERATOR_EQUAL,
    SHOAL_OPERATOR_UNEQUAL,
    SHOAL_OPERATOR_LESS,
    SHOAL_OPERATOR_LESS_EQUAL,
    SHOAL_OPERATOR_GREATER,
    SHOAL_OPERATOR_GREATER_EQUAL,
    SHOAL_OPERATOR_IN,
    SHOAL_OPERATOR_NOT_IN,
    SHOAL_OPERATOR_ADD,
    SHOAL_OPERATOR_SUBTRACT,
    SHOAL_OPERATOR_JOIN, /* ~ */
    SHOAL_OPERATOR_MULTIPLY,
    SHOAL_OPERATOR_DIVIDE,
    SHOAL_OPERATOR_FLOOR_DIVIDE,
    SHOAL_OPERATOR_REMAINDER,
    SHOAL_OPERATOR_POWER,
    SHOAL_OPERATOR_COUNT
} shoal_operator;

typedef struct shoal_node shoal_node;

/* What a macro, or the body of a call block, is made of. */
typedef struct shoal_macro_body {
    shoal_text name;
    shoal_node *parameters, *body;
} shoal_macro_body;

struct shoal_node {
    shoal_node_kind kind;
    int line;
    shoal_operator op; /* UNARY, BINARY, COMPARISON */
    shoal_node *next;
    union {
        shoal_value constant; /* CONSTANT, DATA */
        shoal_text name;      /* NAME */
        shoal_node *items;    /* LIST, TUPLE, DICT, IF */
        shoal_node *operand;  /* UNARY, OUTPUT */
        struct {
            shoal_node *left, *right; /* BINARY, COMPARE, COMPARISON (right), PAIR */
        };
        struct {
            shoal_node *test, *yes, *no; /* CONDITIONAL; BRANCH: test and yes */
        };
        struct {
            shoal_node *object, *key; /* ATTRIBUTE (the key is a CONSTANT), SUBSCRIPT, SLICE */
            shoal_node *stop, *step;  /* SLICE; key is the start; each may be NULL */
        };
        struct {
            shoal_node *subject;   /* CALL: what is called; else what stands before | or `is` */
            shoal_node *arguments; /* positional ones first */
            const struct shoal_builtin *row; /* FILTER, TEST; NULL: there is none of that name */
            shoal_text called;               /* FILTER, TEST: the name as written */
        };
        struct {
            shoal_text keyword; /* ARGUMENT, PARAMETER; no bytes: a positional argument */
            shoal_node *value;  /* ARGUMENT; PARAMETER: the default, or NULL */
        };
        struct {
            shoal_node *target;           /* FOR, SET, SET_BLOCK: NAME, TUPLE, ATTRIBUTE */
            shoal_node *source;           /* FOR, SET; SET_BLOCK, FILTER_BLOCK: filters over
                                             CAPTURED */
            shoal_node *condition;        /* FOR ... if, or NULL */
            shoal_node *body, *otherwise; /* the blocks; otherwise: FOR ... else */
        };
        struct {
            shoal_macro_body macro; /* MACRO, CALL_BLOCK */
            shoal_node *call;       /* CALL_BLOCK */
        };
        struct {
            shoal_node *settings, *inner; /* SCOPE: SETs seen inside only, then the body */
        };
    };
};

#endif

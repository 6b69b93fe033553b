/* coordinator/text/template_run.h - one rendering: variables, output, statements, expressions.
 *
 * template_run.c executes statements, template_eval.c computes expressions, template_scope.c keeps
 * variables, template_call.c calls macros and rows of the tables. Every function may fail with
 * SHOAL_ERR_DATA; the first one that notices says why, the expression or statement around it adds
 * name and line once. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_RUN_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_RUN_H

#include <time.h>

#include "coordinator/text/template_builtin.h"
#include "coordinator/text/template_node.h"

#define SHOAL_TEMPLATE_OUTPUT_MAX (16u << 20)

/* Variables of the template, a loop's body, a macro. Inner ones hide outer ones; nothing that an
 * inner scope sets is seen outside. */
typedef struct shoal_scope {
    struct shoal_scope *parent;
    struct shoal_variable *variables;
    size_t count, capacity;
} shoal_scope;

typedef struct shoal_variable {
    shoal_text name;
    shoal_value value;
} shoal_variable;

/* The variable `loop`. */
typedef struct shoal_loop {
    shoal_list items;
    size_t index;        /* from 0 */
    shoal_value changed; /* what changed() was asked last */
} shoal_loop;

typedef struct shoal_macro {
    const shoal_macro_body *is;
    shoal_scope *scope; /* where it was defined */
} shoal_macro;

typedef enum { SHOAL_JUMP_NONE, SHOAL_JUMP_BREAK, SHOAL_JUMP_CONTINUE } shoal_jump;

typedef struct shoal_run {
    shoal_heap heap;
    const char *name;                   /* of the template */
    const json_t *variables, *defaults; /* objects; the second may be NULL */
    struct tm now;
    shoal_scope root, *scope;
    shoal_builder *out;
    shoal_text captured; /* what a filter of a block works on */
    shoal_jump jump;     /* on its way to the loop around it */
    bool located;        /* the sentence of the failure has its line */
} shoal_run;

/* Run the statements; their text goes to run->out. */
SHOAL_MUST_USE shoal_status shoal_run_body(shoal_run *run, const shoal_node *first);

/* The same, into a text. */
SHOAL_MUST_USE shoal_status shoal_run_captured(shoal_run *run, const shoal_node *first,
                                               shoal_text *out);

SHOAL_MUST_USE shoal_status shoal_eval(shoal_run *run, const shoal_node *node, shoal_value *out);

/* Put name and line before the sentence of a failure, unless it has them. */
shoal_status shoal_run_locate(shoal_run *run, const shoal_node *node, shoal_status st);

/* ---- variables: template_scope.c ---- */

/* UNDEFINED when there is none. */
SHOAL_MUST_USE shoal_status shoal_scope_get(shoal_run *run, shoal_text name, shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_scope_set(shoal_run *run, shoal_scope *scope, shoal_text name,
                                            const shoal_value *value);

/* ---- calls: template_call.c ---- */

SHOAL_MUST_USE shoal_status shoal_eval_call(shoal_run *run, const shoal_node *node,
                                            const shoal_value *caller, shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_eval_filter(shoal_run *run, const shoal_node *node,
                                              shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_eval_test(shoal_run *run, const shoal_node *node,
                                            shoal_value *out);

/* A value that calls this row. */
SHOAL_MUST_USE shoal_status shoal_bound_make(shoal_heap *heap, const shoal_builtin *row,
                                             const shoal_value *self, shoal_value *out);

/* ---- parts of values: template_access.c ---- */

/* object.name and object[key]; UNDEFINED when it has none. */
SHOAL_MUST_USE shoal_status shoal_get_attribute(shoal_run *run, const shoal_value *object,
                                                const shoal_value *name, shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_get_item(shoal_run *run, const shoal_value *object,
                                           const shoal_value *key, shoal_value *out);

/* object[start:stop:step]; each of the three may be ABSENT or None. */
SHOAL_MUST_USE shoal_status shoal_get_slice(shoal_run *run, const shoal_value *object,
                                            const shoal_value parts[3], shoal_value *out);

#endif

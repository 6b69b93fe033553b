/* coordinator/text/template_builtin.h - filters, tests, methods and functions, as rows of tables.
 *
 * A row names its parameters; the caller's arguments are sorted into slots before the function
 * runs, so a function never counts arguments. Tables: template_filters.c, template_list_filters.c,
 * template_tests.c, template_methods.c, template_functions.c. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_BUILTIN_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_BUILTIN_H

#include "coordinator/text/template_value.h"

#define SHOAL_SLOTS_MAX 5

struct shoal_run;

/* What stands between the parentheses. */
typedef struct {
    const shoal_value *values; /* positional ones first */
    size_t count;
    const shoal_text *keywords; /* [count]; no bytes: positional */
} shoal_arguments;

typedef struct {
    struct shoal_run *run;
    shoal_heap *heap;
    shoal_value self; /* what is filtered or tested, or whose method it is */
    shoal_value
        slots[SHOAL_SLOTS_MAX]; /* in the order of the row's parameters; ABSENT: not given */
    shoal_arguments all;
} shoal_call;

typedef struct shoal_builtin {
    const char *name;
    /* Names of parameters, '?' behind those that may be left out; NULL: any arguments, which the
     * function reads from `all`. */
    const char *parameters;
    shoal_status (*function)(const shoal_call *call, shoal_value *out);
} shoal_builtin;

/* A method of a value, or a function (self ABSENT). */
typedef struct shoal_bound {
    const shoal_builtin *row;
    shoal_value self;
} shoal_bound;

/* NULL when there is none. The filters over lists are a table of their own. */
const shoal_builtin *shoal_list_filter_find(shoal_text name);
const shoal_builtin *shoal_filter_find(shoal_text name);
const shoal_builtin *shoal_test_find(shoal_text name);
const shoal_builtin *shoal_method_find(shoal_value_kind kind, shoal_text name);
const shoal_builtin *shoal_function_find(shoal_text name);

/* The row of a table with that name, or NULL. */
const shoal_builtin *shoal_builtin_find(const shoal_builtin *rows, size_t count, shoal_text name);

/* Sort the arguments into slots and run the function. */
SHOAL_MUST_USE shoal_status shoal_builtin_call(struct shoal_run *run, const shoal_builtin *row,
                                               const shoal_value *self,
                                               const shoal_arguments *arguments, shoal_value *out);

/* ---- for the functions: slots as what they should be ---- */

/* A value of the kind, or the fallback when the slot is ABSENT; else a sentence with `what`. */
SHOAL_MUST_USE shoal_status shoal_slot_int(const shoal_value *slot, const char *what,
                                           int64_t fallback, int64_t *out);
SHOAL_MUST_USE shoal_status shoal_slot_text(const shoal_value *slot, const char *what,
                                            shoal_text fallback, shoal_text *out);
bool shoal_slot_truth(const shoal_value *slot, bool fallback);
/* Given and not None. */
bool shoal_slot_given(const shoal_value *slot);

#endif

/* coordinator/text/template_value.h - what a template computes with: the values of Python.
 *
 * A value is small and copied freely; what it points to lives in the heap of the rendering, in the
 * template, or in the caller's JSON. Nothing but a namespace changes once it is made. The rules
 * are Python's where a template can see them: truth, equality, order, length, iteration. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_VALUE_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/template_heap.h"

typedef enum {
    SHOAL_VALUE_ABSENT, /* an argument that was not given; templates never see it */
    SHOAL_VALUE_UNDEFINED,
    SHOAL_VALUE_NONE,
    SHOAL_VALUE_BOOL,
    SHOAL_VALUE_INT,
    SHOAL_VALUE_FLOAT,
    SHOAL_VALUE_STRING,
    SHOAL_VALUE_LIST,
    SHOAL_VALUE_TUPLE,
    SHOAL_VALUE_VIEW,     /* keys(), values(), items() of a dict: a list without subscripts */
    SHOAL_VALUE_ITERATOR, /* a generator: can be walked once, has no length                 */
    SHOAL_VALUE_DICT,
    SHOAL_VALUE_NAMESPACE, /* a dict whose entries are attributes and may be set            */
    SHOAL_VALUE_LOOP,
    SHOAL_VALUE_MACRO,
    SHOAL_VALUE_BUILTIN,
    SHOAL_VALUE_KINDS
} shoal_value_kind;

typedef struct shoal_value shoal_value;

/* The items of LIST, TUPLE, VIEW and ITERATOR. */
typedef struct {
    shoal_value *items;
    size_t count, capacity;
} shoal_list;

/* Entries in the order of their first insertion. */
typedef struct {
    struct shoal_entry *entries;
    size_t count, capacity;
} shoal_dict;

struct shoal_value {
    shoal_value_kind kind;
    bool safe;              /* STRING: marked safe; `+` escapes what is joined to it        */
    shoal_value_kind owner; /* UNDEFINED: of what kind the thing without the attribute is   */
    union {
        bool truth;
        int64_t integer;
        double number;
        shoal_text text; /* STRING; UNDEFINED: the missing name, NULL when it was no name   */
        shoal_list *list;
        shoal_dict *dict; /* DICT, NAMESPACE */
        struct shoal_loop *loop;
        const struct shoal_macro *macro;
        const struct shoal_bound *bound; /* BUILTIN */
    };
};

typedef struct shoal_entry {
    shoal_value key, value;
} shoal_entry;

static inline shoal_value shoal_none(void)
{
    return (shoal_value){.kind = SHOAL_VALUE_NONE};
}

static inline shoal_value shoal_bool(bool truth)
{
    return (shoal_value){.kind = SHOAL_VALUE_BOOL, .truth = truth};
}

static inline shoal_value shoal_int(int64_t integer)
{
    return (shoal_value){.kind = SHOAL_VALUE_INT, .integer = integer};
}

static inline shoal_value shoal_float(double number)
{
    return (shoal_value){.kind = SHOAL_VALUE_FLOAT, .number = number};
}

static inline shoal_value shoal_string(shoal_text text)
{
    return (shoal_value){.kind = SHOAL_VALUE_STRING, .text = text};
}

/* A variable that does not exist. */
static inline shoal_value shoal_undefined(shoal_text name)
{
    return (shoal_value){.kind = SHOAL_VALUE_UNDEFINED, .text = name};
}

/* An attribute or element that `of` does not have. */
shoal_value shoal_missing(const shoal_value *of, const shoal_value *key);

/* Fail with what is missing: for operations that undefined does not allow. */
shoal_status shoal_fail_undefined(const shoal_value *undefined);

bool shoal_text_equal(shoal_text a, shoal_text b);
bool shoal_text_is(shoal_text text, const char *word);
/* Characters, not bytes. */
size_t shoal_text_length(shoal_text text);

/* Python's name of the type. */
const char *shoal_value_type(const shoal_value *v);

bool shoal_value_truth(const shoal_value *v);
bool shoal_value_is_number(const shoal_value *v);            /* BOOL, INT, FLOAT */
double shoal_value_number(const shoal_value *v);             /* of such a one */
bool shoal_value_as_int(const shoal_value *v, int64_t *out); /* BOOL, INT */

SHOAL_MUST_USE shoal_status shoal_value_equal(shoal_heap *heap, const shoal_value *a,
                                              const shoal_value *b, bool *out);

/* *out < 0, 0, > 0; SHOAL_ERR_DATA for values without an order. `sign` is for the sentence. */
SHOAL_MUST_USE shoal_status shoal_value_order(shoal_heap *heap, const shoal_value *a,
                                              const shoal_value *b, const char *sign, int *out);

/* len(v) */
SHOAL_MUST_USE shoal_status shoal_value_length(shoal_heap *heap, const shoal_value *v, size_t *out);

/* What `for x in v` walks over; an iterator is empty afterwards. */
bool shoal_value_iterable(const shoal_value *v);
SHOAL_MUST_USE shoal_status shoal_value_items(shoal_heap *heap, const shoal_value *v,
                                              shoal_list *out);

/* ---- making lists and dicts ---- */

/* A value of a list kind with no items yet. */
SHOAL_MUST_USE shoal_status shoal_list_make(shoal_heap *heap, shoal_value_kind kind,
                                            shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_list_push(shoal_heap *heap, shoal_list *list,
                                            const shoal_value *item);

/* A value of kind DICT or NAMESPACE with no entries yet. */
SHOAL_MUST_USE shoal_status shoal_dict_make(shoal_heap *heap, shoal_value_kind kind,
                                            shoal_value *out);
SHOAL_MUST_USE shoal_status shoal_dict_put(shoal_heap *heap, shoal_dict *dict,
                                           const shoal_value *key, const shoal_value *value);

/* The value of a key, or NULL in *out. */
SHOAL_MUST_USE shoal_status shoal_dict_find(shoal_heap *heap, const shoal_dict *dict,
                                            const shoal_value *key, const shoal_value **out);

/* Keys, values or pairs as VIEW. */
typedef enum { SHOAL_DICT_KEYS, SHOAL_DICT_VALUES, SHOAL_DICT_ITEMS } shoal_dict_part;
SHOAL_MUST_USE shoal_status shoal_dict_view(shoal_heap *heap, const shoal_dict *dict,
                                            shoal_dict_part part, shoal_value *out);

/* The value of a JSON document; strings are borrowed from it. */
SHOAL_MUST_USE shoal_status shoal_value_from_json(shoal_heap *heap, const json_t *json,
                                                  shoal_value *out);

#endif

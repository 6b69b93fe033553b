/* coordinator/text/template_print.h - values as text: Python's str() and repr(), and its JSON. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_PRINT_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_PRINT_H

#include "coordinator/text/template_value.h"

/* str(v); a string is itself, undefined is empty. */
SHOAL_MUST_USE shoal_status shoal_print(shoal_heap *heap, const shoal_value *v, shoal_text *out);

/* Append repr(v). */
SHOAL_MUST_USE shoal_status shoal_print_repr(shoal_builder *out, const shoal_value *v);

/* The shortest decimal that reads back as the same number, in Python's layout. */
#define SHOAL_FLOAT_BYTES 40
void shoal_format_float(double number, char out[SHOAL_FLOAT_BYTES]);

typedef struct {
    bool ascii; /* \u escapes for all that is not ASCII */
    bool sort_keys;
    bool lines;                /* an item per line, `indent` for every level */
    shoal_text indent;         /* may be empty */
    shoal_text between, colon; /* ", " and ": " */
} shoal_json_style;

/* json.dumps(v). SHOAL_ERR_DATA for what JSON does not have. (template_json.c) */
SHOAL_MUST_USE shoal_status shoal_print_json(shoal_heap *heap, const shoal_value *v,
                                             const shoal_json_style *style, shoal_text *out);

#endif

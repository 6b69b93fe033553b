/* coordinator/text/template_operators.h - arithmetic and comparison of values, as Python has them.
 * Integers have 64 bits; a result beyond them is an error, never a wrong number. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_OPERATORS_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_OPERATORS_H

#include "coordinator/text/template_node.h"

/* ADD to POWER; `and`, `or` are not here: they do not always compute their second operand. */
SHOAL_MUST_USE shoal_status shoal_operate(shoal_heap *heap, shoal_operator op, const shoal_value *a,
                                          const shoal_value *b, shoal_value *out);

/* EQUAL to NOT_IN. */
SHOAL_MUST_USE shoal_status shoal_compare(shoal_heap *heap, shoal_operator op, const shoal_value *a,
                                          const shoal_value *b, bool *out);

/* -v (SUBTRACT) or +v (ADD). */
SHOAL_MUST_USE shoal_status shoal_operate_sign(shoal_operator op, const shoal_value *v,
                                               shoal_value *out);

/* A text as it stands in HTML: what joining does to text that is not marked safe. */
SHOAL_MUST_USE shoal_status shoal_escape_html(shoal_heap *heap, shoal_text text, shoal_text *out);

#endif

/* coordinator/text/grammar/number_form.h - sets of JSON numbers as regular expressions.
 *
 * Bounds compare values exactly, as decimals of any length. A bounded number may be written plainly
 * ("-12.50") or with one digit before the point and an exponent ("1.25e-07"); other forms with an
 * exponent ("125e-9") name no value of their own and are left out. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_NUMBER_FORM_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_NUMBER_FORM_H

#include <jansson.h>
#include <stdbool.h>

#include "coordinator/text/grammar/dfa.h"

/* All numbers, all with an integer value (as JSON Schema has it: 1.0 too), and those of exact
 * value: without an exponent and, where there is a point, with at most 15 digits before it. A
 * reader makes a double of what has a point, which for more digits is another number. */
#define SHOAL_NUMBER_ANY     "-?(?:0|[1-9]\\d*)(?:\\.\\d+)?(?:[eE][+-]?\\d+)?"
#define SHOAL_NUMBER_INTEGER "-?(?:0|[1-9]\\d*)(?:\\.0+)?(?:[eE]\\+?\\d{1,2})?"
#define SHOAL_NUMBER_EXACT   "-?(?:(?:0|[1-9]\\d{0,14})(?:\\.\\d+)?|[1-9]\\d{15,})"

#define SHOAL_NUMBER_DIGITS_MAX 400 /* of a double written plainly */

/* The value of a JSON number: digits without leading or trailing zeros, the point behind the first
 * `point` of them (which may lie outside); no digits for zero. */
typedef struct {
    bool negative;
    int count, point;
    char digits[SHOAL_NUMBER_DIGITS_MAX];
} shoal_decimal;

void shoal_decimal_from(const json_t *number, shoal_decimal *out);

typedef enum { SHOAL_NUMBER_EQUAL, SHOAL_NUMBER_ABOVE, SHOAL_NUMBER_BELOW } shoal_number_side;

/* Append the expression of the numbers that are equal to the value, above it or below it; the last
 * two with the value itself when `inclusive`. */
SHOAL_MUST_USE shoal_status shoal_number_side_regex(const shoal_decimal *value,
                                                    shoal_number_side side, bool inclusive,
                                                    shoal_strbuf *out);

/* Plain numbers that are a multiple of the value (> 0). *fits = false, and nothing is made, when
 * the value has too many digits. *budget counts elementary steps down; SHOAL_ERR_DATA when it is
 * spent. */
SHOAL_MUST_USE shoal_status shoal_number_multiples(const shoal_decimal *value, uint64_t *budget,
                                                   shoal_dfa *out, bool *fits);

#endif

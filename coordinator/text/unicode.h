/* coordinator/text/unicode.h - what needs the tables of Unicode: normal forms, classes, case.
 * The only file of the room that sees utf8proc. Texts are valid UTF-8. */
#ifndef SHOAL_COORDINATOR_TEXT_UNICODE_H
#define SHOAL_COORDINATOR_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

typedef enum {
    SHOAL_UNICODE_NFC,
    SHOAL_UNICODE_NFD,
    SHOAL_UNICODE_NFKC,
    SHOAL_UNICODE_NFKD
} shoal_unicode_form;

/* Append the normal form of the text. Linear in its length but for the sorting of long runs of
 * combining marks (n log n). */
SHOAL_MUST_USE shoal_status shoal_unicode_normalize(shoal_unicode_form form, const char *text,
                                                    size_t bytes, shoal_strbuf *out);

/* The property White_Space. */
bool shoal_unicode_is_space(uint32_t c);

/* A character of a word: letter, mark, decimal digit, connector or joiner. */
bool shoal_unicode_is_word(uint32_t c);

/* What Python's repr() shows as it is: neither control, format, unassigned nor a space but ' '. */
bool shoal_unicode_is_printable(uint32_t c);

/* Letters, and decimal digits. */
bool shoal_unicode_is_letter(uint32_t c);
bool shoal_unicode_is_digit(uint32_t c);

/* The general category: two letters ("Lu"), a constant string. */
const char *shoal_unicode_category(uint32_t c);

/* The one character it is in the other case. */
uint32_t shoal_unicode_lower(uint32_t c);
uint32_t shoal_unicode_upper(uint32_t c);

#endif

/* coordinator/text/grammar/charset.h - sets of characters, as ranges of Unicode scalar values.
 *
 * `add` collects ranges in any order; `settle` sorts and joins them and drops surrogates, which are
 * no characters. The other functions want settled sets. All zero is the valid empty set. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_CHARSET_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_CHAR_MAX        0x10FFFFu
#define SHOAL_SURROGATE_FIRST 0xD800u
#define SHOAL_SURROGATE_LAST  0xDFFFu

typedef struct {
    uint32_t first, last;
} shoal_char_range;

typedef struct {
    shoal_char_range *data;
    size_t count, capacity;
} shoal_charset;

SHOAL_MUST_USE shoal_status shoal_charset_add(shoal_charset *set, uint32_t first, uint32_t last);
SHOAL_MUST_USE shoal_status shoal_charset_join(shoal_charset *set, const shoal_charset *other);
void shoal_charset_settle(shoal_charset *set);

/* All characters that are not in it. */
SHOAL_MUST_USE shoal_status shoal_charset_negate(shoal_charset *set);
void shoal_charset_free(shoal_charset *set);

#endif

/* coordinator/text/grammar/char_category.h - the characters of a general category of Unicode. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_CHAR_CATEGORY_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_CHAR_CATEGORY_H

#include <stdbool.h>

#include "coordinator/text/grammar/charset.h"

/* Add the category ("Lu") or the group of categories ("L") to an empty set, settled. *known = is
 * there one of that name? The set stays empty if not. */
SHOAL_MUST_USE shoal_status shoal_charset_category(const char *name, size_t bytes,
                                                   shoal_charset *set, bool *known);

#endif

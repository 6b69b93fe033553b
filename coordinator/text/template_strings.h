/* coordinator/text/template_strings.h - what Python's strings can do, on valid UTF-8.
 *
 * Results share the bytes of their input where they can; else they live in the heap. Case is
 * Unicode's, character by character; of the letters that are two when large only the German sharp s
 * is known. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_STRINGS_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_STRINGS_H

#include "coordinator/text/template_value.h"

#define SHOAL_NOT_FOUND SIZE_MAX

/* White space as Python's strings see it. */
bool shoal_is_space(uint32_t c);

/* The first place of `part` at or behind byte `from`. Linear. */
size_t shoal_text_find(shoal_text text, shoal_text part, size_t from);
bool shoal_text_starts(shoal_text text, shoal_text prefix);
bool shoal_text_ends(shoal_text text, shoal_text suffix);

/* Without the characters `chars` at the chosen ends; chars.data NULL: without white space. */
typedef enum { SHOAL_STRIP_LEFT = 1, SHOAL_STRIP_RIGHT = 2, SHOAL_STRIP_BOTH = 3 } shoal_strip;
SHOAL_MUST_USE shoal_status shoal_text_strip(shoal_heap *heap, shoal_text text, shoal_text chars,
                                             shoal_strip ends, shoal_text *out);

/* The first `most` places (< 0: all) of `old` become `new`. */
SHOAL_MUST_USE shoal_status shoal_text_replace(shoal_heap *heap, shoal_text text, shoal_text old,
                                               shoal_text new, int64_t most, shoal_text *out);

/* Parts between separators (data NULL: white space), cut at most `most` times (< 0: any number),
 * counted from the left or the right. Strings are pushed to *out. */
SHOAL_MUST_USE shoal_status shoal_text_split(shoal_heap *heap, shoal_text text,
                                             shoal_text separator, int64_t most, bool from_right,
                                             shoal_list *out);
SHOAL_MUST_USE shoal_status shoal_text_split_lines(shoal_heap *heap, shoal_text text,
                                                   bool keep_ends, shoal_list *out);

typedef enum {
    SHOAL_CASE_LOWER,
    SHOAL_CASE_UPPER,
    SHOAL_CASE_CAPITAL, /* the first character large, the others small           */
    SHOAL_CASE_TITLE,   /* the same for every word; words are what letters make  */
    SHOAL_CASE_HEADING  /* the same, as the filter `title` sees words: separated by white space
                           and brackets */
} shoal_case;
SHOAL_MUST_USE shoal_status shoal_text_recase(shoal_heap *heap, shoal_text text, shoal_case to,
                                              shoal_text *out);

/* Are there letters, and are all of them small (or large)? */
bool shoal_text_is_case(shoal_text text, shoal_case which);

/* At least one character, and the property for all. */
bool shoal_text_all(shoal_text text, bool (*property)(uint32_t c));

/* str.format: {} {0} {name}; what takes the place is print()ed. */
SHOAL_MUST_USE shoal_status shoal_text_format(shoal_heap *heap, shoal_text format,
                                              const shoal_value *values, const shoal_text *keywords,
                                              size_t count, shoal_text *out);

#endif

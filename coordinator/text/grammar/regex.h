/* coordinator/text/grammar/regex.h - regular expressions, parsed and added to a graph.
 *
 * The common part of ECMA 262 (with "u"), Python and RE2, over characters: literals, `.` (no line
 * end), classes, \d \w \s (as ECMA: \d and \w are ASCII), \p{general category}, groups, `|`,
 * `* + ? {m,n}` and their lazy forms, `^` and `$` as the very begin and end. What cannot be had in
 * one pass (look-around, back-references, \b) and what the dialects disagree about is refused with
 * its place. Bounds of repetitions are at most SHOAL_GRAMMAR_REPEAT_MAX. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_REGEX_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_REGEX_H

#include "coordinator/text/grammar/nfa.h"

typedef enum {
    SHOAL_REGEX_WHOLE, /* the text is a match              */
    SHOAL_REGEX_SEARCH /* a match is somewhere in the text */
} shoal_regex_use;

/* SHOAL_ERR_DATA for one from outside of more than SHOAL_GRAMMAR_REGEX_MAX bytes; those that are
 * made here may be longer. */
SHOAL_MUST_USE shoal_status shoal_regex_check_size(size_t bytes);

/* Add the expression (valid UTF-8) as one that matches as `item`. SHOAL_ERR_DATA with the byte. */
SHOAL_MUST_USE shoal_status shoal_regex_add(shoal_nfa *nfa, const char *regex, size_t bytes,
                                            shoal_regex_use use, int32_t item);

#endif

/* shard/name_pattern.h - regular expressions over module names, as quantization configs hold them.
 *
 * Configs come from Python, so a pattern must match at the beginning of a name, not necessarily to
 * its end. Read are: literals, `.`, classes, \d \w \s \D \W \S \b \B, groups of any kind that only
 * group, look-ahead, alternatives, ^ and $, and the repeats * + ? {n} {n,} {n,m}, also lazy ones
 * (which match the same names). Back references, look-behind, flags and possessive repeats are
 * SHOAL_ERR_DATA, as is what takes too much room or time: nothing here backtracks, and a match
 * takes at most a few million steps. Bytes are matched, not characters. */
#ifndef SHOAL_SHARD_NAME_PATTERN_H
#define SHOAL_SHARD_NAME_PATTERN_H

#include <stdbool.h>

#include "proto/status.h"

typedef struct shoal_name_pattern shoal_name_pattern;

/* Compile `text`. Free the result with shoal_name_pattern_free(). */
SHOAL_MUST_USE shoal_status shoal_name_pattern_compile(const char *text, shoal_name_pattern **out);
void shoal_name_pattern_free(shoal_name_pattern *pattern);

/* Does it match at the beginning of `name`? */
SHOAL_MUST_USE shoal_status shoal_name_pattern_matches(const shoal_name_pattern *pattern,
                                                       const char *name, bool *out);

#endif

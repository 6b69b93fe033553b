/* shard/name_pattern.h - regular expressions over module names, as quantization configs hold them.
 *
 * Configs come from Python, so a pattern must match at the beginning of a name, not necessarily to
 * its end. Read are: literals, `.`, classes, \d \w \s \D \W \S \b \B, groups of any kind that only
 * group, look-ahead, alternatives, ^ and $, and the repeats * + ? {n} {n,} {n,m}, also lazy ones
 * (which match the same names). Back references, look-behind, flags and possessive repeats are
 * SHOAL_ERR_DATA, as is what takes too much room or time: nothing here backtracks, and steps are
 * counted. Bytes are matched, not characters. */
#ifndef SHOAL_SHARD_NAME_PATTERN_H
#define SHOAL_SHARD_NAME_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct shoal_name_pattern shoal_name_pattern;

/* Compile `text`. Free the result with shoal_name_pattern_free(). */
SHOAL_MUST_USE shoal_status shoal_name_pattern_compile(const char *text, shoal_name_pattern **out);
void shoal_name_pattern_free(shoal_name_pattern *pattern);

/* Steps that all matches for one checkpoint may take together: a second or two. Ten usual patterns
 * on the modules of a model with 100 000 of them take half. */
#define SHOAL_NAME_PATTERN_STEPS (1ll << 29)

/* Does it match at the beginning of `name`? What it takes is taken from *steps; SHOAL_ERR_DATA when
 * they run out. */
SHOAL_MUST_USE shoal_status shoal_name_pattern_matches(const shoal_name_pattern *pattern,
                                                       const char *name, int64_t *steps, bool *out);

#endif

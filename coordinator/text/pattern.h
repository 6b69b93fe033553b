/* coordinator/text/pattern.h - a compiled regular expression over UTF-8 text.
 *
 * tokenizer.json writes its patterns in Oniguruma's dialect; they are translated to PCRE2's
 * (pattern_dialect.c) and what cannot be said there is refused, never approximated. Only
 * pattern.c sees pcre2.h. A pattern is read-only and may be shared by threads; a matcher is the
 * scratch of one thread. Every search has a limit on backtracking and memory. */
#ifndef SHOAL_COORDINATOR_TEXT_PATTERN_H
#define SHOAL_COORDINATOR_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"

#define SHOAL_PATTERN_MAX (64u << 10) /* bytes of a pattern */

typedef struct shoal_pattern shoal_pattern;
typedef struct shoal_matcher shoal_matcher;

/* SHOAL_ERR_DATA with the place and the reason when the pattern is wrong or unsupported. */
SHOAL_MUST_USE shoal_status shoal_pattern_compile(const char *regex, size_t bytes,
                                                  shoal_pattern **out);

/* A pattern that matches exactly this text (at least one byte). */
SHOAL_MUST_USE shoal_status shoal_pattern_compile_literal(const char *text, size_t bytes,
                                                          shoal_pattern **out);
/* The text of such a pattern, borrowed; NULL for a regular expression. */
const shoal_strbuf *shoal_pattern_literal(const shoal_pattern *pattern);
void shoal_pattern_free(shoal_pattern *pattern);

SHOAL_MUST_USE shoal_status shoal_matcher_create(shoal_matcher **out);
void shoal_matcher_free(shoal_matcher *matcher);

/* The first match in text[0, bytes) (valid UTF-8) that starts at `from` or later; what stands
 * before `from` is seen by look-behinds. SHOAL_ERR_DATA when the search exceeds its limits. */
SHOAL_MUST_USE shoal_status shoal_pattern_find(const shoal_pattern *pattern, shoal_matcher *matcher,
                                               const char *text, size_t bytes, size_t from,
                                               bool *found, shoal_span *match);

/* The matches in a text, one behind another. A match may be empty, but not directly behind another
 * match. */
typedef struct {
    const shoal_pattern *pattern;
    shoal_matcher *matcher;
    const char *text;
    size_t bytes;
    size_t from, done; /* all zero but for the members above: before the first match */
    bool any;
} shoal_matches;

SHOAL_MUST_USE shoal_status shoal_matches_next(shoal_matches *matches, bool *found,
                                               shoal_span *match);

/* Append the text with `replacement` in place of each match; SHOAL_ERR_DATA when that is more than
 * `most` bytes. */
SHOAL_MUST_USE shoal_status shoal_pattern_replace(const shoal_pattern *pattern,
                                                  shoal_matcher *matcher, const char *text,
                                                  size_t bytes, const shoal_strbuf *replacement,
                                                  size_t most, shoal_strbuf *out);

/* Append the PCRE2 form of an Oniguruma pattern (valid UTF-8). */
SHOAL_MUST_USE shoal_status shoal_pattern_translate(const char *regex, size_t bytes,
                                                    shoal_strbuf *out);

#endif

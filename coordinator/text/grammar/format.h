/* coordinator/text/grammar/format.h - the formats of JSON Schema that are enforced, as regular
 * expressions of the whole text: real dates (leap years too), RFC 3339 times,
 * RFC 4122, RFC 5321 mailboxes without quoting, RFC 1123 host names, RFC 3986 addresses with a
 * scheme, RFC 4291 and dotted addresses, ISO 8601 durations. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_FORMAT_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_FORMAT_H

/* The expression of a format, a constant; NULL when it is not known. */
const char *shoal_format_regex(const char *name);

#endif

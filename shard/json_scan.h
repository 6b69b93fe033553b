/* shard/json_scan.h - a strict cursor over JSON text, for headers too large to build a tree of.
 *
 * It allocates nothing: strings are unescaped where they stand and end in NUL, so the text is
 * changed by reading it and must outlive the strings. Everything is one pass; nesting is capped.
 * A function returns false at the first fault and leaves the fault's name and place in the cursor.
 * It is not a parser of documents: the caller knows what must come next. */
#ifndef SHOAL_SHARD_JSON_SCAN_H
#define SHOAL_SHARD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHOAL_JSON_SCAN_DEPTH 8

typedef struct {
    char *text;
    size_t bytes, at;
    const char *fault; /* a constant phrase, or NULL */
} shoal_json_scan;

/* False where the text is no valid UTF-8 or holds a NUL. */
bool shoal_json_scan_start(shoal_json_scan *scan, char *text, size_t bytes);

/* Record the fault `what` at the cursor and return false. */
bool shoal_json_scan_fault(shoal_json_scan *scan, const char *what);

/* The next character that is no white space, without taking it; 0 at the end. */
char shoal_json_scan_peek(shoal_json_scan *scan);

/* Take exactly this character after white space. */
bool shoal_json_scan_take(shoal_json_scan *scan, char expected);

/* After a member or element: take ',' (*more = true) or `close` (*more = false). */
bool shoal_json_scan_more(shoal_json_scan *scan, char close, bool *more);

/* *out is NUL-terminated UTF-8 inside the text; U+0000 is a fault. */
bool shoal_json_scan_string(shoal_json_scan *scan, char **out);

/* A whole number 0 .. 2^64-1 written in digits alone. */
bool shoal_json_scan_u64(shoal_json_scan *scan, uint64_t *out);

/* Pass over any value that stands `depth` levels deep. */
bool shoal_json_scan_skip(shoal_json_scan *scan, int depth);

#endif

/* coordinator/text/json_scan.h - is this still JSON? One value, checked byte by byte.
 *
 * For texts that come in pieces and must be understood before they are whole. Strict (RFC 8259),
 * without a copy of the text, constant work per byte. It checks structure and not UTF-8: texts of
 * this room are valid already. Whoever cares where keys and values begin looks at `state` and
 * `depth` before and after a byte. Plain values: all zero is the beginning. */
#ifndef SHOAL_COORDINATOR_TEXT_JSON_SCAN_H
#define SHOAL_COORDINATOR_TEXT_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#define SHOAL_JSON_SCAN_DEPTH_MAX 64 /* deeper text is broken */

typedef enum {
    SHOAL_JSON_VALUE,       /* a value comes: at the beginning, behind ':' and ',' */
    SHOAL_JSON_FIRST_VALUE, /* behind '[': a value or ']' */
    SHOAL_JSON_FIRST_KEY,   /* behind '{': a key or '}' */
    SHOAL_JSON_KEY,         /* behind ',' in an object */
    SHOAL_JSON_IN_KEY,      /* inside the quotes of a key */
    SHOAL_JSON_COLON,       /* behind a key */
    SHOAL_JSON_IN_STRING,   /* inside the quotes of a string */
    SHOAL_JSON_IN_LITERAL,  /* in true, false, null */
    SHOAL_JSON_MINUS,       /* numbers: what was read last */
    SHOAL_JSON_ZERO,
    SHOAL_JSON_DIGITS,
    SHOAL_JSON_POINT,
    SHOAL_JSON_FRACTION,
    SHOAL_JSON_E,
    SHOAL_JSON_E_SIGN,
    SHOAL_JSON_EXPONENT,
    SHOAL_JSON_AFTER, /* behind a value: ',' or the closing bracket */
} shoal_json_state;

typedef struct {
    shoal_json_state state;
    int escape;       /* 0: none; -1: behind a backslash; else hex digits that are due */
    int depth;        /* open brackets */
    uint64_t objects; /* bit d: the bracket at depth d + 1 is '{' */
    const char *rest; /* of a literal */
} shoal_json_scan;

typedef enum {
    SHOAL_JSON_MORE,   /* so far so good */
    SHOAL_JSON_DONE,   /* this byte completes the value */
    SHOAL_JSON_BROKEN, /* no JSON goes on like this; the scan is over */
} shoal_json_verdict;

/* Take the next byte. A number by itself is never DONE, because it could go on. */
shoal_json_verdict shoal_json_scan_byte(shoal_json_scan *scan, char byte);

/* White space between tokens. */
static inline bool shoal_json_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

#endif

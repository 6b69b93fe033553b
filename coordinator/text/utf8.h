/* coordinator/text/utf8.h - UTF-8: check, step, repair. Pure; knows no Unicode tables.
 *
 * "Valid" is the strict definition: no surrogates, nothing above U+10FFFF, no overlong forms.
 * Lengths are bytes and explicit; U+0000 is an ordinary character. */
#ifndef SHOAL_COORDINATOR_TEXT_UTF8_H
#define SHOAL_COORDINATOR_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

#define SHOAL_UTF8_MAX 4 /* bytes of the longest character */

typedef enum {
    SHOAL_UTF8_WHOLE,   /* a whole character                                       */
    SHOAL_UTF8_BROKEN,  /* bytes that no continuation can turn into a character    */
    SHOAL_UTF8_PARTIAL, /* the text ends inside a character that is possible so far */
} shoal_utf8_kind;

/* What stands at the start of text[0, bytes), bytes > 0. *length is the character's size, the size
 * of the maximal broken part (the unit that one U+FFFD replaces), or all that is left. */
shoal_utf8_kind shoal_utf8_look(const char *text, size_t bytes, size_t *length);

/* Size of the longest valid beginning; == bytes when all of it is valid. */
size_t shoal_utf8_valid(const char *text, size_t bytes);

/* The character at text[*at] of valid text; *at moves behind it. */
uint32_t shoal_utf8_next(const char *text, size_t *at);

/* The character that ends at text[*at], *at > 0, of valid text; *at moves to its first byte. */
uint32_t shoal_utf8_previous(const char *text, size_t *at);

/* Write a scalar value; returns its size. */
size_t shoal_utf8_put(uint32_t c, char out[SHOAL_UTF8_MAX]);

/* Append text with one U+FFFD per maximal broken part. A partial character at the end is also
 * replaced when `final`; otherwise it (or the first two bytes of an encoded surrogate) is left, and
 * *used says how many bytes were taken. */
SHOAL_MUST_USE shoal_status shoal_utf8_repair(const char *text, size_t bytes, bool final,
                                              shoal_strbuf *out, size_t *used);

/* For sentences: the text as one printable line, cut after some 60 bytes. Returns `out`. */
#define SHOAL_UTF8_SHOW 80
const char *shoal_utf8_show(const char *text, size_t bytes, char out[SHOAL_UTF8_SHOW]);

#endif

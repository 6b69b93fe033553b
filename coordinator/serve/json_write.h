/* coordinator/serve/json_write.h - JSON written piece by piece to the end of a text.
 *
 * Members keep the order in which they are written; commas come by themselves. A writer remembers
 * the first failure and does nothing after it, so that only the end has to be looked at. It does
 * not check that brackets match or that an object alternates keys and values. */
#ifndef SHOAL_COORDINATOR_SERVE_JSON_WRITE_H
#define SHOAL_COORDINATOR_SERVE_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

typedef struct {
    shoal_strbuf *out;
    size_t start;        /* where in *out the writing began */
    bool comma;          /* the next key or element needs one */
    shoal_status status; /* the first failure */
} shoal_json_writer;

shoal_json_writer shoal_write_begin(shoal_strbuf *out);

/* The first failure, if any (only SHOAL_ERR_TEMPORARY); *out is then as it was at the beginning. */
SHOAL_MUST_USE shoal_status shoal_write_end(shoal_json_writer *w);

/* '{' or '[', and '}' or ']'. */
void shoal_write_open(shoal_json_writer *w, char bracket);
void shoal_write_close(shoal_json_writer *w, char bracket);

/* The name of the next value. */
void shoal_write_key(shoal_json_writer *w, const char *key);
void shoal_write_key_text(shoal_json_writer *w, const char *key, size_t bytes);

/* Values. `text` is valid UTF-8 and may hold U+0000. `literal` is written as it is ("null"). A
 * number that JSON does not have (infinite, or none) becomes -9999, as other servers write an
 * impossible log-probability. */
void shoal_write_text(shoal_json_writer *w, const char *text, size_t bytes);
void shoal_write_word(shoal_json_writer *w, const char *text);
void shoal_write_int(shoal_json_writer *w, int64_t value);
void shoal_write_float(shoal_json_writer *w, float value);
void shoal_write_literal(shoal_json_writer *w, const char *literal);

/* A name and its value. */
void shoal_write_key_open(shoal_json_writer *w, const char *key, char bracket);
void shoal_write_key_word(shoal_json_writer *w, const char *key, const char *text);
void shoal_write_key_int(shoal_json_writer *w, const char *key, int64_t value);
void shoal_write_key_null(shoal_json_writer *w, const char *key);

/* Bytes outside the document: what surrounds it on the wire. */
void shoal_write_raw(shoal_json_writer *w, const char *text);

#endif

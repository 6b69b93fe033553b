/* coordinator/text/json_stream.h - a cursor over the large members of a tokenizer.json, which would
 * take most of the time of opening one if a tree were built of them.
 *
 * Strict where it looks: a function returns false at the first thing that is no JSON or not what
 * was asked for, and the cursor stands there. The text is valid UTF-8 and stays as it is. */
#ifndef SHOAL_COORDINATOR_TEXT_JSON_STREAM_H
#define SHOAL_COORDINATOR_TEXT_JSON_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

#define SHOAL_JSON_STREAM_DEPTH 64

typedef struct {
    const char *text;
    size_t bytes, at;
    shoal_status status; /* SHOAL_OK, or why there was no memory: then the text may be fine */
} shoal_json_stream;

/* The next character that is no white space, not taken; 0 at the end. */
char shoal_json_stream_peek(shoal_json_stream *s);

/* Take this character, if it is the next. */
bool shoal_json_stream_take(shoal_json_stream *s, char c);

/* Before an element or member of a list that was opened: true when there is one. *first is true
 * at the beginning and then false; commas and the closing character are taken. */
typedef struct {
    char close;
    bool first, fault;
} shoal_json_list;
bool shoal_json_stream_next(shoal_json_stream *s, shoal_json_list *list);

/* A string. *text is borrowed from the JSON, or from `room` when escapes were resolved; U+0000 is a
 * character. */
bool shoal_json_stream_string(shoal_json_stream *s, shoal_strbuf *room, const char **text,
                              size_t *bytes);

/* A whole number of at most 18 digits. */
bool shoal_json_stream_integer(shoal_json_stream *s, int64_t *out);

/* Pass over any value; *count is the number of elements of a list or object, otherwise 0. Says
 * nothing about what is inside but that brackets and strings end. */
bool shoal_json_stream_skip(shoal_json_stream *s, size_t *count);

#endif

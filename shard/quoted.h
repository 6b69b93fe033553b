/* shard/quoted.h - strings from files, made fit for a sentence: no control characters, no endless
 * lists. A log line stays one line whatever a hostile file calls its tensors. */
#ifndef SHOAL_SHARD_QUOTED_H
#define SHOAL_SHARD_QUOTED_H

#include <stddef.h>

#define SHOAL_QUOTED_ROOM 96
#define SHOAL_NAMES_SHOWN 10

/* Copy `text` into `out`, control characters as '?', cut to `room` (with "..." when cut). Returns
 * `out`. */
const char *shoal_quoted(const char *text, char *out, size_t room);

/* Does the text hold a control character (below U+0020, or U+007F)? */
int shoal_has_control(const char *text);

/* "a, b, c and 12 more": the first SHOAL_NAMES_SHOWN of the names that were added. Zero-initialise;
 * shoal_names_end completes the text. */
typedef struct {
    char text[640];
    size_t used, count;
} shoal_names;

void shoal_names_add(shoal_names *names, const char *name);
const char *shoal_names_end(shoal_names *names);

#endif

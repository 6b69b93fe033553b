/* coordinator/text/added_tokens.h - tokens that are found in the text before anything else is done.
 *
 * At each place the longest token wins. A set is filled, sealed, and read-only afterwards. */
#ifndef SHOAL_COORDINATOR_TEXT_ADDED_TOKENS_H
#define SHOAL_COORDINATOR_TEXT_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

#define SHOAL_ADDED_BYTES_MAX (4u << 20) /* bytes of all tokens of a set together */

typedef struct {
    int32_t id;
    bool special;
    bool single_word;    /* only where no word character touches it  */
    bool lstrip, rstrip; /* swallows the white space on this side    */
} shoal_added_token;

typedef struct shoal_added_set shoal_added_set;

/* A stretch of text: a token, or with id -1 what lies between tokens. */
typedef struct {
    shoal_span span;
    int32_t id;
} shoal_segment;

typedef struct {
    shoal_segment *data;
    size_t count, capacity;
    int32_t *starts; /* scratch of a split */
    size_t starts_capacity;
    uint64_t steps; /* of the search, at most four a byte */
} shoal_segments;

SHOAL_MUST_USE shoal_status shoal_added_set_create(shoal_added_set **out);
void shoal_added_set_destroy(shoal_added_set *set);

/* Add a token with a non-empty content; adding a content again replaces what was said of it.
 * SHOAL_ERR_DATA when all become too long. */
SHOAL_MUST_USE shoal_status shoal_added_set_add(shoal_added_set *set, const char *content,
                                                size_t bytes, const shoal_added_token *token);

/* Call once, after the last add and before the first split. */
SHOAL_MUST_USE shoal_status shoal_added_set_seal(shoal_added_set *set);

/* Replace the contents of *out by the segments of the text (valid UTF-8), none of them empty.
 * With `plain`, special tokens are passed over as ordinary text. */
SHOAL_MUST_USE shoal_status shoal_added_set_split(const shoal_added_set *set, const char *text,
                                                  size_t bytes, bool plain, shoal_segments *out);
void shoal_segments_free(shoal_segments *segments);

#endif

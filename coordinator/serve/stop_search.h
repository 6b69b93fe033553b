/* coordinator/serve/stop_search.h - the first of several strings in a text that comes in pieces.
 *
 * The match that is complete first wins; of those complete at the same byte, the longest. How the
 * text is cut into pieces changes nothing. Linear time. Plain values: nothing to free. */
#ifndef SHOAL_COORDINATOR_SERVE_STOP_SEARCH_H
#define SHOAL_COORDINATOR_SERVE_STOP_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/serve/api_request.h"

typedef struct {
    const shoal_strbuf *stops; /* borrowed */
    int count;
    /* Of every beginning of a stop string: the length of its longest proper suffix that is a
       beginning, too. */
    uint16_t border[SHOAL_API_STOPS_MAX][SHOAL_API_STOP_BYTES_MAX + 1];
    uint16_t matched[SHOAL_API_STOPS_MAX]; /* bytes of each that the text ends with */
} shoal_stop_search;

void shoal_stop_search_init(shoal_stop_search *search, const shoal_strbuf *stops, int count);

/* Take further text. True when a match is complete: *end bytes of this piece belong to it or stand
 * before it, and the match is *length bytes long (it may begin in an earlier piece); the search is
 * over then. While `counts` is false, matches are passed over. */
bool shoal_stop_search_feed(shoal_stop_search *search, const char *text, size_t bytes, bool counts,
                            size_t *end, size_t *length);

/* How many bytes at the end of the text so far could be the beginning of a match. */
size_t shoal_stop_search_held(const shoal_stop_search *search);

#endif

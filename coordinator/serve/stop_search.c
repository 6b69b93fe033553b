#include "coordinator/serve/stop_search.h"

/* How much of stop string `i` a text ends with, given that it ended with `matched` bytes of it
 * before `c` came (Knuth, Morris, Pratt). */
static uint16_t advance(const shoal_stop_search *s, int i, uint16_t matched, char c)
{
    const shoal_strbuf *stop = &s->stops[i];
    while (matched == stop->bytes || stop->data[matched] != c) {
        if (matched == 0)
            return 0;
        matched = s->border[i][matched];
    }
    return (uint16_t)(matched + 1);
}

void shoal_stop_search_init(shoal_stop_search *search, const shoal_strbuf *stops, int count)
{
    *search = (shoal_stop_search){.stops = stops, .count = count};
    for (int i = 0; i < count; i++)
        for (size_t k = 1; k < stops[i].bytes; k++)
            search->border[i][k + 1] = advance(search, i, search->border[i][k], stops[i].data[k]);
}

bool shoal_stop_search_feed(shoal_stop_search *search, const char *text, size_t bytes, bool counts,
                            size_t *end, size_t *length)
{
    for (size_t at = 0; at < bytes; at++) {
        size_t longest = 0;
        for (int i = 0; i < search->count; i++) {
            const uint16_t matched = advance(search, i, search->matched[i], text[at]);
            search->matched[i] = matched;
            if (matched == search->stops[i].bytes && matched > longest)
                longest = matched;
        }
        if (longest && counts) {
            *end = at + 1;
            *length = longest;
            return true;
        }
    }
    return false;
}

size_t shoal_stop_search_held(const shoal_stop_search *search)
{
    size_t held = 0;
    for (int i = 0; i < search->count; i++) {
        /* A whole match that did not count is no beginning any more, but may end with one. */
        size_t matched = search->matched[i];
        if (matched == search->stops[i].bytes)
            matched = search->border[i][matched];
        held = matched > held ? matched : held;
    }
    return held;
}

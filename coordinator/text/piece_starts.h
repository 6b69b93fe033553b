/* coordinator/text/piece_starts.h - at each place of a text the longest of some pieces that begins
 * there.
 *
 * The text is walked from its end by the automaton of Aho and Corasick for the pieces written
 * backwards, so a byte costs the same however long the pieces are, and however alike. */
#ifndef SHOAL_COORDINATOR_TEXT_PIECE_STARTS_H
#define SHOAL_COORDINATOR_TEXT_PIECE_STARTS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct shoal_piece_starts shoal_piece_starts;

/* One of the pieces: not empty, and unlike the others. */
typedef struct {
    const char *text;
    size_t bytes;
} shoal_piece;

/* Nothing is borrowed. A byte of a piece takes some fifty of memory. */
SHOAL_MUST_USE shoal_status shoal_piece_starts_create(const shoal_piece *pieces, size_t count,
                                                      shoal_piece_starts **out);
void shoal_piece_starts_destroy(shoal_piece_starts *starts); /* NULL is allowed */

/* Bytes of the longest piece. */
size_t shoal_piece_starts_longest(const shoal_piece_starts *starts);

/* numbers[i - begin] = the number of the longest piece that the text has at i, or -1; for all i of
 * [begin, end), which is not empty. Looks at no more bytes than those and the longest piece.
 * Returns how many steps from node to node were tried: at most two a byte. */
uint64_t shoal_piece_starts_find(const shoal_piece_starts *starts, const char *text, size_t bytes,
                                 size_t begin, size_t end, int32_t *numbers);

#endif

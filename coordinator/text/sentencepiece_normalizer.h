/* coordinator/text/sentencepiece_normalizer.h - what SentencePiece does to a text before it cuts
 * it.
 *
 * From left to right a user-defined piece stays as it is, the longest key of the charsmap becomes
 * its replacement, another character stays. On the way spaces at the ends and behind other spaces
 * are dropped, a space is put in front (or behind), and spaces are written as U+2581: each as far
 * as the model says. Read-only once made. */
#ifndef SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_NORMALIZER_H
#define SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_NORMALIZER_H

#include <stdbool.h>

#include "coordinator/text/charsmap.h"
#include "coordinator/text/growable.h"
#include "coordinator/text/piece_trie.h"

#define SHOAL_SENTENCEPIECE_SPACE "\xE2\x96\x81" /* U+2581 */

typedef struct {
    shoal_charsmap *charsmap; /* NULL: none */
    shoal_piece_trie *user;   /* user-defined pieces */
    bool dummy_prefix;        /* a space is added    */
    bool as_suffix;           /* ... at the end      */
    bool remove_extra;        /* spaces              */
    bool escape;              /* spaces as U+2581    */
} shoal_sentencepiece_normalizer;

/* Free the parts and the block. NULL is allowed. */
void shoal_sentencepiece_normalizer_destroy(shoal_sentencepiece_normalizer *normalizer);

/* Append the normalized text (valid UTF-8 in, valid UTF-8 out). SHOAL_ERR_DATA when it has more
 * than `most` bytes. */
SHOAL_MUST_USE shoal_status
shoal_sentencepiece_normalize(const shoal_sentencepiece_normalizer *normalizer, const char *text,
                              size_t bytes, size_t most, shoal_strbuf *out);

#endif

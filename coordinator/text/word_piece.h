/* coordinator/text/word_piece.h - a word as the longest pieces from the left, those behind the
 * first marked by a prefix. A word that cannot be cut so, or is too long, is unknown as a whole. */
#ifndef SHOAL_COORDINATOR_TEXT_WORD_PIECE_H
#define SHOAL_COORDINATOR_TEXT_WORD_PIECE_H

#include "coordinator/text/token_model.h"

typedef struct {
    int32_t unk;
    size_t word_chars;  /* a longer word is unknown */
    const char *prefix; /* not kept */
    size_t prefix_bytes;
} shoal_word_piece_options;

/* The vocabulary is borrowed. A word of n bytes costs n times the longest token. */
SHOAL_MUST_USE shoal_status shoal_word_piece_create(const shoal_vocab *vocab,
                                                    const shoal_word_piece_options *options,
                                                    shoal_token_model **out);

#endif

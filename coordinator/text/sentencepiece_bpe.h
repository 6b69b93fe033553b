/* coordinator/text/sentencepiece_bpe.h - the byte-pair model of SentencePiece: joins by the score
 * of what they make.
 *
 * A text's characters are symbols; of all neighbours that together spell a piece, those of the
 * highest score are joined first, the leftmost of equals, until none is left. User-defined pieces
 * are symbols from the start and never joined. An unused piece serves as a step on the way and is
 * taken apart at the end. What is then no piece becomes its bytes with byte fallback, else one
 * unknown token for neighbours. A text of n characters costs n log n times the longest piece. */
#ifndef SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_BPE_H
#define SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_BPE_H

#include <stdbool.h>

#include "coordinator/text/token_model.h"

typedef struct {
    bool byte_fallback;
    int32_t unk;
} shoal_sentencepiece_bpe_options;

/* scores[shoal_vocab_size(vocab)] by id, finite; not kept. Pieces are the tokens of the kinds
 * SHOAL_TOKEN_MODEL, SHOAL_TOKEN_USER and SHOAL_TOKEN_UNUSED. The vocabulary is borrowed. */
SHOAL_MUST_USE shoal_status shoal_sentencepiece_bpe_create(
    const shoal_vocab *vocab, const double *scores, const shoal_sentencepiece_bpe_options *options,
    shoal_token_model **out);

#endif

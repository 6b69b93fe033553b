/* coordinator/text/unigram.h - the unigram language model of SentencePiece: of all ways to cut a
 * word into pieces, the one with the greatest sum of scores (Kudo 2018; Viterbi).
 *
 * Sums run in the precision and order of the reference library, so that ties fall alike. A stretch
 * that no piece covers is unknown: one <unk> per run of such characters, or their bytes (<0xNN>)
 * with byte fallback. User-defined pieces always win where they match. A word of n bytes costs n
 * times the longest piece. */
#ifndef SHOAL_COORDINATOR_TEXT_UNIGRAM_H
#define SHOAL_COORDINATOR_TEXT_UNIGRAM_H

#include <stdbool.h>

#include "coordinator/text/token_model.h"

typedef struct {
    bool byte_fallback;
    bool fuse_unk; /* neighbouring unknown characters give one unknown token */
    int32_t unk;   /* -1: none; then unknown text is refused at opening or encoding */
} shoal_unigram_options;

/* scores[shoal_vocab_size(vocab)] by id, copied; only pieces of the model (SHOAL_TOKEN_MODEL) take
 * part. The vocabulary is borrowed. */
SHOAL_MUST_USE shoal_status shoal_unigram_create(const shoal_vocab *vocab, const double *scores,
                                                 const shoal_unigram_options *options,
                                                 shoal_token_model **out);

#endif

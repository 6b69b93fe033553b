/* coordinator/text/unigram.h - the unigram language model of SentencePiece: of all ways to cut a
 * word into pieces, the one with the greatest sum of scores (Kudo 2018; Viterbi).
 *
 * Sums run in the precision and order of the reference library, so that ties fall alike. A
 * character that is no piece may stand alone as unknown, scored below every piece; a run of such
 * characters becomes its bytes (<0xNN>) with byte fallback, else one unknown token. A word of n
 * bytes costs n times the longest piece. */
#ifndef SHOAL_COORDINATOR_TEXT_UNIGRAM_H
#define SHOAL_COORDINATOR_TEXT_UNIGRAM_H

#include <stdbool.h>

#include "coordinator/text/token_model.h"

typedef struct {
    bool byte_fallback;
    bool fuse_unk;   /* neighbouring unknown characters give one unknown token, one that
                        the text spells among them                                     */
    bool float_sums; /* sums are rounded to float, as sentencepiece keeps them; else
                        they are double, as tokenizers does                            */
    int32_t unk;     /* -1: none; a text that needs it is then SHOAL_ERR_DATA          */
} shoal_unigram_options;

/* scores[shoal_vocab_size(vocab)] by id, copied; only tokens of the kinds SHOAL_TOKEN_MODEL
 * and SHOAL_TOKEN_USER are found in words. The vocabulary is borrowed. */
SHOAL_MUST_USE shoal_status shoal_unigram_create(const shoal_vocab *vocab, const double *scores,
                                                 const shoal_unigram_options *options,
                                                 shoal_token_model **out);

#endif

/* coordinator/text/word_level.h - a word is one token, or the unknown one. */
#ifndef SHOAL_COORDINATOR_TEXT_WORD_LEVEL_H
#define SHOAL_COORDINATOR_TEXT_WORD_LEVEL_H

#include "coordinator/text/token_model.h"

/* The vocabulary is borrowed. `unk` -1: none, and then encoding an unknown word fails with
 * SHOAL_ERR_DATA. */
SHOAL_MUST_USE shoal_status shoal_word_level_create(const shoal_vocab *vocab, int32_t unk,
                                                    shoal_token_model **out);

#endif

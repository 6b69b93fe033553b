/* coordinator/text/sentencepiece.h - a SentencePiece model file to the parts of a tokenizer.
 *
 * Ids, pieces and texts are those of the sentencepiece library: control symbols are not recognised
 * in a text, user-defined ones are; <s> and </s> are put around it where the model has them.
 * Unigram and BPE models; WORD and CHAR models and denormalizers are refused by name. The only file
 * of the room that sees protobuf-c. */
#ifndef SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_H
#define SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_H

#include <stddef.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

#define SHOAL_SENTENCEPIECE_FILE_MAX (64u << 20) /* bytes of a model */

/* Fill *tokenizer, which is all zero, from the bytes of a model; the sets of added tokens are empty
 * and not sealed. On failure it holds some parts and must be closed all the same. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_sentencepiece(const void *model, size_t bytes,
                                                               shoal_tokenizer *tokenizer);

#endif

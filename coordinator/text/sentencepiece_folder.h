/* coordinator/text/sentencepiece_folder.h - what a model folder adds to its tokenizer.model.
 *
 * A tokenizer.model by itself is read as the sentencepiece library reads it. In a folder without
 * tokenizer.json it is read as the slow tokenizers of transformers do: the special tokens that
 * tokenizer_config.json names (else <s>, </s>, <unk>), its added_tokens_decoder and what
 * added_tokens.json lists are found in the text first, and each stretch between them is a text of
 * its own (the "legacy" behaviour); add_bos_token (else true) and add_eos_token (else false) say
 * what is put around the text. Both files may be absent. */
#ifndef SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_FOLDER_H
#define SHOAL_COORDINATOR_TEXT_SENTENCEPIECE_FOLDER_H

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

/* Change a tokenizer that shoal_tokenizer_read_sentencepiece has filled. */
SHOAL_MUST_USE shoal_status shoal_sentencepiece_folder_apply(const char *folder,
                                                             shoal_tokenizer *tokenizer);

#endif

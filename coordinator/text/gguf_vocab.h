/* coordinator/text/gguf_vocab.h - the vocabulary of a GGUF file to the parts of a tokenizer.
 *
 * The file says which kind of model it is ("tokenizer.ggml.model"), its tokens, their types, scores
 * or merges, and which special tokens are put around a text. How text is normalized and cut the
 * file only names ("tokenizer.ggml.pre"); a table here says what published tokenizers of that name
 * do, Unicode normal forms included. Names that are not in it are refused. */
#ifndef SHOAL_COORDINATOR_TEXT_GGUF_VOCAB_H
#define SHOAL_COORDINATOR_TEXT_GGUF_VOCAB_H

#include <stddef.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"
#include "shard/gguf.h"
#include "shard/gguf_pre.h"

/* Fill *tokenizer, which is all zero, from the bytes of a GGUF file; the sets of added tokens are
 * not sealed. On failure it holds some parts and must be closed all the same. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_gguf(const void *data, size_t bytes,
                                                      shoal_tokenizer *tokenizer);

/* The same from a header that is read already. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_from_gguf(const shoal_gguf *gguf,
                                                      shoal_tokenizer *tokenizer);

/* Add the steps that a name stands for to a tokenizer of byte-level BPE that has none, the
 * decoder's too. */
SHOAL_MUST_USE shoal_status shoal_gguf_pre_apply(const shoal_gguf_pre *pre,
                                                 shoal_tokenizer *tokenizer);

#endif

/* shard/gguf_tokenizer.h - the vocabulary of a GGUF file as tokenizer.json and
 * tokenizer_config.json of the Hugging Face hub.
 *
 * Byte-level BPE ("gpt2") with a name of its pre-tokenizer that is known (shard/gguf_pre.h), and
 * SentencePiece BPE ("llama", "gemma4"). Ids, special tokens and what is put around a text are
 * those of the file; the same texts give the same ids. */
#ifndef SHOAL_SHARD_GGUF_TOKENIZER_H
#define SHOAL_SHARD_GGUF_TOKENIZER_H

#include <stdint.h>

#include "proto/status.h"
#include "shard/gguf.h"

struct json_t;

/* SHOAL_ERR_DATA where a tokenizer.json cannot say what the file says, or where it says nothing. */
SHOAL_MUST_USE shoal_status shoal_gguf_tokenizer(const shoal_gguf *gguf, struct json_t **out);

/* Special tokens by name, the chat template, and `context`, the longest text. */
SHOAL_MUST_USE shoal_status shoal_gguf_tokenizer_config(const shoal_gguf *gguf, int64_t context,
                                                        struct json_t **out);

#endif

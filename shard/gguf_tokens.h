/* shard/gguf_tokens.h - what the tokens of a GGUF file's vocabulary are. */
#ifndef SHOAL_SHARD_GGUF_TOKENS_H
#define SHOAL_SHARD_GGUF_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "shard/gguf.h"

/* Types of tokens, numbered as in the file ("tokenizer.ggml.token_type"). */
enum {
    SHOAL_GGUF_TOKEN_NORMAL = 1,
    SHOAL_GGUF_TOKEN_UNKNOWN,
    SHOAL_GGUF_TOKEN_CONTROL,
    SHOAL_GGUF_TOKEN_USER_DEFINED,
    SHOAL_GGUF_TOKEN_UNUSED,
    SHOAL_GGUF_TOKEN_BYTE
};

/* Rows of an embedding that no token uses are written as "[PAD" id "]", of any type. */
bool shoal_gguf_is_filler(const shoal_gguf_text *text, size_t id);

/* Files do not carry what published tokenizers say about white space behind special tokens: the
 * Phi-3 models swallow it, but for some. */
bool shoal_gguf_swallows_space(const shoal_gguf *gguf, const shoal_gguf_text *token);

#endif

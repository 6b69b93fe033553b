/* coordinator/text/byte_tokens.h - the tokens <0x00> to <0xFF>: what a character without a token of
 * its own is written in. */
#ifndef SHOAL_COORDINATOR_TEXT_BYTE_TOKENS_H
#define SHOAL_COORDINATOR_TEXT_BYTE_TOKENS_H

#include <stdbool.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/vocab.h"

typedef struct {
    int32_t id[256]; /* -1: none */
} shoal_byte_tokens;

void shoal_byte_tokens_find(const shoal_vocab *vocab, shoal_byte_tokens *out);

/* Does every byte of the text have a token? */
bool shoal_byte_tokens_cover(const shoal_byte_tokens *tokens, const char *text, size_t bytes);

#endif

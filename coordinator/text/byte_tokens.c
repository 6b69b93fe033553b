#include "coordinator/text/byte_tokens.h"

#include <stdio.h>

#define NAME_BYTES 6 /* of "<0xNN>" */

void shoal_byte_tokens_find(const shoal_vocab *vocab, shoal_byte_tokens *out)
{
    for (unsigned b = 0; b < 256; b++) {
        char name[NAME_BYTES + 1];
        (void)snprintf(name, sizeof name, "<0x%02X>", b & 0xFF);
        out->id[b] =
            shoal_vocab_find(vocab, name, NAME_BYTES, SHOAL_TOKEN_MODEL | SHOAL_TOKEN_BYTE);
    }
}

bool shoal_byte_tokens_cover(const shoal_byte_tokens *tokens, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (tokens->id[(unsigned char)text[i]] < 0)
            return false;
    return true;
}

/* shard/gguf_tokens.c - see gguf_tokens.h. */
#include "shard/gguf_tokens.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool shoal_gguf_is_filler(const shoal_gguf_text *text, size_t id)
{
    char name[32];
    const int bytes = snprintf(name, sizeof name, "[PAD%zu]", id);
    return text->bytes == (uint64_t)bytes && memcmp(text->data, name, text->bytes) == 0;
}

bool shoal_gguf_swallows_space(const shoal_gguf *gguf, const shoal_gguf_text *token)
{
    static const char *const exempt[] = {"<unk>", "<s>", "<|endoftext|>"};
    shoal_gguf_text name = {"", 0};
    bool phi3 = false;
    if (shoal_gguf_string(gguf, "general.name", &name) != SHOAL_OK)
        return false;
    for (uint64_t i = 0; i + 4 <= name.bytes; i++)
        phi3 = phi3 || strncasecmp(name.data + i, "phi3", 4) == 0 ||
               (i + 5 <= name.bytes && strncasecmp(name.data + i, "phi-3", 5) == 0);
    for (size_t i = 0; i < sizeof exempt / sizeof exempt[0]; i++)
        if (token->bytes == strlen(exempt[i]) && memcmp(token->data, exempt[i], token->bytes) == 0)
            return false;
    return phi3;
}

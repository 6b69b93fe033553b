/* shard/gguf_tokens.c - see gguf_tokens.h. */
#include "shard/gguf_tokens.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/bytes.h"

bool shoal_gguf_is_filler(const shoal_gguf_text *text, size_t id)
{
    char name[32];
    (void)snprintf(name, sizeof name, "[PAD%zu]", id);
    return shoal_text_is(text->data, text->bytes, name);
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
        if (shoal_text_is(token->data, token->bytes, exempt[i]))
            return false;
    return phi3;
}

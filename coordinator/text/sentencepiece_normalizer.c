#include "coordinator/text/sentencepiece_normalizer.h"

#include <string.h>

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

void shoal_sentencepiece_normalizer_destroy(shoal_sentencepiece_normalizer *normalizer)
{
    if (!normalizer)
        return;
    shoal_piece_trie_destroy(normalizer->user);
    shoal_charsmap_destroy(normalizer->charsmap);
    shoal_free(normalizer);
}

/* What the beginning of the text becomes; returns how much of it that is. */
static size_t next_part(const shoal_sentencepiece_normalizer *n, const char *text, size_t bytes,
                        const char **part, size_t *part_bytes)
{
    int32_t id;
    const size_t user = shoal_piece_trie_longest(n->user, text, bytes, &id);
    if (user == 0 && n->charsmap)
        return shoal_charsmap_next(n->charsmap, text, bytes, part, part_bytes);
    size_t length = user;
    if (user == 0)
        (void)shoal_utf8_next(text, &length);
    *part = text;
    *part_bytes = length;
    return length;
}

static shoal_status append_part(const shoal_sentencepiece_normalizer *n, const char *part,
                                size_t bytes, shoal_strbuf *out)
{
    for (size_t i = 0; i < bytes; i++) {
        const bool escape = n->escape && part[i] == ' ';
        SHOAL_TRY(shoal_strbuf_append(out, escape ? SHOAL_SENTENCEPIECE_SPACE : part + i,
                                      escape ? strlen(SHOAL_SENTENCEPIECE_SPACE) : 1));
    }
    return SHOAL_OK;
}

static size_t leading_spaces(const shoal_sentencepiece_normalizer *n, const char *text,
                             size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        const char *part;
        size_t part_bytes;
        const size_t step = next_part(n, text + at, bytes - at, &part, &part_bytes);
        if (part_bytes != 1 || part[0] != ' ')
            break;
        at += step;
    }
    return at;
}

static shoal_status append_text(const shoal_sentencepiece_normalizer *n, const char *text,
                                size_t bytes, size_t most, shoal_strbuf *out)
{
    const size_t before = out->bytes;
    bool behind_space = n->remove_extra;
    for (size_t at = 0; at < bytes;) {
        const char *part;
        size_t part_bytes;
        at += next_part(n, text + at, bytes - at, &part, &part_bytes);
        for (; behind_space && part_bytes > 0 && part[0] == ' '; part++)
            part_bytes--;
        if (part_bytes == 0)
            continue; /* the part before it still decides */
        SHOAL_TRY(append_part(n, part, part_bytes, out));
        SHOAL_TRY(shoal_check_grown(out->bytes - before, most));
        behind_space = n->remove_extra && part[part_bytes - 1] == ' ';
    }
    return SHOAL_OK;
}

static void drop_trailing_spaces(const shoal_sentencepiece_normalizer *n, size_t begin,
                                 shoal_strbuf *out)
{
    const char *space = n->escape ? SHOAL_SENTENCEPIECE_SPACE : " ";
    const size_t length = strlen(space);
    while (out->bytes - begin >= length &&
           memcmp(out->data + out->bytes - length, space, length) == 0)
        out->bytes -= length;
}

shoal_status shoal_sentencepiece_normalize(const shoal_sentencepiece_normalizer *n,
                                           const char *text, size_t bytes, size_t most,
                                           shoal_strbuf *out)
{
    const size_t begin = out->bytes;
    const size_t skip = n->remove_extra ? leading_spaces(n, text, bytes) : 0;
    if (skip == bytes)
        return SHOAL_OK;
    if (n->dummy_prefix && !n->as_suffix)
        SHOAL_TRY(append_part(n, " ", 1, out));
    SHOAL_TRY(append_text(n, text + skip, bytes - skip, most, out));
    if (n->remove_extra)
        drop_trailing_spaces(n, begin, out);
    if (n->dummy_prefix && n->as_suffix)
        SHOAL_TRY(append_part(n, " ", 1, out));
    return SHOAL_OK;
}

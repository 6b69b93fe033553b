#include "coordinator/text/word_piece.h"

#include <stdbool.h>
#include <string.h>

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

typedef struct {
    shoal_token_model base; /* first: the two are converted into one another */
    int32_t unk;
    size_t word_chars, longest; /* longest: bytes of the longest token */
    size_t prefix_bytes;
    char prefix[SHOAL_WORD_PIECE_PREFIX_MAX];
} word_piece;

static size_t count_chars(const char *word, size_t bytes)
{
    size_t chars = 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((unsigned char)word[i] & 0xC0) != 0x80;
    return chars;
}

/* The longest token that the rest of a word begins with, *end behind it; -1 if there is none.
 * `text` holds the prefix, if the rest has one, and the rest. */
static int32_t longest_piece(const word_piece *m, const char *text, size_t bytes, size_t prefix,
                             size_t *end)
{
    size_t at = bytes;
    if (at > m->longest) {
        at = m->longest;
        while (at > prefix && ((unsigned char)text[at] & 0xC0) == 0x80)
            at--; /* back to the beginning of a character */
    }
    while (at > prefix) {
        const int32_t id = shoal_vocab_find(m->base.vocab, text, at, SHOAL_TOKEN_MODEL);
        *end = at;
        if (id >= 0)
            return id;
        (void)shoal_utf8_previous(text, &at);
    }
    return -1;
}

/* The prefix in front of the word makes room: a piece's own prefix is written over what is done. */
static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    const word_piece *m = (const word_piece *)(const void *)model;
    const size_t before = out->count;
    shoal_strbuf *text = &scratch->text;
    if (count_chars(word, bytes) > m->word_chars)
        return shoal_ids_push(out, m->unk);
    text->bytes = 0;
    SHOAL_TRY(shoal_strbuf_append(text, m->prefix, m->prefix_bytes));
    SHOAL_TRY(shoal_strbuf_append(text, word, bytes));
    for (size_t at = m->prefix_bytes; at < text->bytes;) {
        const size_t prefix = at > m->prefix_bytes ? m->prefix_bytes : 0;
        char *rest = text->data + at - prefix;
        size_t end;
        memcpy(rest, m->prefix, prefix);
        const int32_t id = longest_piece(m, rest, text->bytes - at + prefix, prefix, &end);
        if (id < 0) {
            out->count = before;
            return shoal_ids_push(out, m->unk);
        }
        SHOAL_TRY(shoal_ids_push(out, id));
        at += end - prefix;
    }
    return SHOAL_OK;
}

static void destroy(shoal_token_model *model)
{
    shoal_free(model);
}

static const shoal_token_model_kind word_piece_kind = {"WordPiece", encode, destroy};

shoal_status shoal_word_piece_create(const shoal_vocab *vocab,
                                     const shoal_word_piece_options *options,
                                     shoal_token_model **out)
{
    void *block;
    if (options->prefix_bytes > SHOAL_WORD_PIECE_PREFIX_MAX ||
        options->word_chars > SHOAL_WORD_PIECE_CHARS_MAX)
        return shoal_fail(
            SHOAL_ERR_DATA,
            "WordPiece with a prefix of %zu bytes and words of %zu characters (limits "
            "%u and %u)",
            options->prefix_bytes, options->word_chars, SHOAL_WORD_PIECE_PREFIX_MAX,
            SHOAL_WORD_PIECE_CHARS_MAX);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(word_piece), &block));
    word_piece *m = block;
    *m = (word_piece){.base = {&word_piece_kind, vocab},
                      .unk = options->unk,
                      .word_chars = options->word_chars,
                      .prefix_bytes = options->prefix_bytes};
    if (options->prefix_bytes)
        memcpy(m->prefix, options->prefix, options->prefix_bytes);
    for (size_t id = 0; id < shoal_vocab_size(vocab); id++) {
        size_t bytes;
        if (shoal_vocab_piece(vocab, (int64_t)id, &bytes) && bytes > m->longest)
            m->longest = bytes;
    }
    *out = &m->base;
    return SHOAL_OK;
}

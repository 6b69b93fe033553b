#include "coordinator/text/word_piece.h"

#include "coordinator/text/piece_trie.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

typedef struct {
    shoal_token_model base; /* first: the two are converted into one another */
    int32_t unk;
    size_t word_chars;
    shoal_piece_trie *trie;
    uint32_t behind; /* the trie's node of the prefix, if `continues` */
    bool continues;  /* some piece begins with the prefix             */
} word_piece;

static size_t count_chars(const char *word, size_t bytes)
{
    size_t chars = 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((unsigned char)word[i] & 0xC0) != 0x80;
    return chars;
}

/* The longest piece of at least one character that goes on from the trie's `node` along the text;
 * *length is its part of the text. -1 if there is none. */
static int32_t longest_piece(const word_piece *m, uint32_t node, const char *text, size_t bytes,
                             size_t *length)
{
    int32_t best = -1;
    for (size_t i = 0; i < bytes; i++) {
        if (!shoal_piece_trie_step(m->trie, (unsigned char)text[i], &node))
            break;
        const int32_t id = shoal_piece_trie_id(m->trie, node);
        if (id >= 0) {
            best = id;
            *length = i + 1;
        }
    }
    return best;
}

static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    (void)scratch;
    const word_piece *m = (const word_piece *)(const void *)model;
    const size_t before = out->count;
    bool known = count_chars(word, bytes) <= m->word_chars;
    for (size_t at = 0, length = 0; known && at < bytes; at += length) {
        const bool looks = at == 0 || m->continues;
        const int32_t id =
            looks ? longest_piece(m, at ? m->behind : 0, word + at, bytes - at, &length) : -1;
        known = id >= 0;
        if (known)
            SHOAL_TRY(shoal_ids_push(out, id));
    }
    if (known)
        return SHOAL_OK;
    out->count = before;
    return shoal_ids_push(out, m->unk);
}

static void destroy(shoal_token_model *model)
{
    word_piece *m = (word_piece *)(void *)model;
    shoal_piece_trie_destroy(m->trie);
    shoal_free(m);
}

static const shoal_token_model_kind word_piece_kind = {"WordPiece", encode, destroy};

/* Find the node that the prefix leads to. */
static void follow_prefix(word_piece *m, const char *prefix, size_t bytes)
{
    m->continues = true;
    for (size_t i = 0; m->continues && i < bytes; i++)
        m->continues = shoal_piece_trie_step(m->trie, (unsigned char)prefix[i], &m->behind);
}

shoal_status shoal_word_piece_create(const shoal_vocab *vocab,
                                     const shoal_word_piece_options *options,
                                     shoal_token_model **out)
{
    shoal_piece_trie *trie;
    void *block;
    SHOAL_TRY(shoal_piece_trie_of(vocab, SHOAL_TOKEN_MODEL, &trie));
    const shoal_status st = shoal_alloc(SHOAL_MEM_TEXT, sizeof(word_piece), &block);
    if (st != SHOAL_OK) {
        shoal_piece_trie_destroy(trie);
        return st;
    }
    word_piece *m = block;
    *m = (word_piece){.base = {&word_piece_kind, vocab},
                      .unk = options->unk,
                      .word_chars = options->word_chars,
                      .trie = trie};
    follow_prefix(m, options->prefix, options->prefix_bytes);
    *out = &m->base;
    return SHOAL_OK;
}

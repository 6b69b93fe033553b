#include "coordinator/text/unigram.h"

#include <string.h>

#include "coordinator/text/byte_tokens.h"
#include "coordinator/text/piece_trie.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

/* An unknown character scores this much below the lowest piece. */
#define UNKNOWN_PENALTY 10.0

#define PIECES ((unsigned)SHOAL_TOKEN_MODEL | SHOAL_TOKEN_USER)

#define UNKNOWN   (-1)
#define UNREACHED (-2)

typedef struct {
    shoal_token_model base; /* first: the two are converted into one another */
    shoal_unigram_options options;
    shoal_piece_trie *trie;
    double *scores; /* by id */
    double unknown_score;
    shoal_byte_tokens bytes;
} unigram;

/* The best way to cut the word's first bytes: its last piece, where that begins, the sum. */
typedef struct {
    double sum;
    int32_t id;
    uint32_t begin;
} cut;

static void destroy(shoal_token_model *model)
{
    unigram *u = (unigram *)(void *)model;
    shoal_free(u->scores);
    shoal_piece_trie_destroy(u->trie);
    shoal_free(u);
}

/* ---- forward: the best cut in front of every place ---- */

/* The piece word[begin, end) behind the best cut in front of it. Of equal sums the one whose last
 * piece begins first stays. */
static void offer(const unigram *u, cut *cuts, size_t begin, size_t end, int32_t id)
{
    double sum = cuts[begin].sum + (id == UNKNOWN ? u->unknown_score : u->scores[id]);
    if (u->options.float_sums)
        sum = (float)sum;
    if (cuts[end].id == UNREACHED || sum > cuts[end].sum)
        cuts[end] = (cut){sum, id, (uint32_t)begin};
}

/* Offer every piece that begins at `begin`; returns whether [begin, next) is one of them. */
static bool offer_pieces(const unigram *u, cut *cuts, const char *word, size_t bytes, size_t begin,
                         size_t next)
{
    bool single = false;
    uint32_t node = 0;
    size_t end = begin;
    while (end < bytes && shoal_piece_trie_step(u->trie, (unsigned char)word[end], &node)) {
        const int32_t id = shoal_piece_trie_id(u->trie, node);
        end++;
        if (id < 0)
            continue;
        offer(u, cuts, begin, end, id);
        single = single || end == next;
    }
    return single;
}

static void cut_word(const unigram *u, cut *cuts, const char *word, size_t bytes)
{
    cuts[0] = (cut){0};
    for (size_t i = 1; i <= bytes; i++)
        cuts[i].id = UNREACHED;
    for (size_t begin = 0, next = 0; begin < bytes; begin = next) {
        (void)shoal_utf8_next(word, &next);
        if (!offer_pieces(u, cuts, word, bytes, begin, next))
            offer(u, cuts, begin, next, UNKNOWN);
    }
}

/* ---- backward: the pieces of the best cut, last first ---- */

static shoal_status push_unknown(const unigram *u, const char *text, size_t bytes, shoal_ids *out)
{
    const int32_t spelt = shoal_vocab_find(u->base.vocab, text, bytes, PIECES);
    if (spelt >= 0) /* the unknown token itself, by its name */
        return shoal_ids_push(out, spelt);
    if (u->options.byte_fallback && shoal_byte_tokens_cover(&u->bytes, text, bytes)) {
        SHOAL_TRY(shoal_ids_reserve(out, bytes));
        for (size_t i = bytes; i-- > 0;)
            out->data[out->count++] = u->bytes.id[(unsigned char)text[i]];
        return SHOAL_OK;
    }
    char shown[SHOAL_UTF8_SHOW];
    if (u->options.unk < 0)
        return shoal_fail(SHOAL_ERR_DATA, "there is neither a token for \"%s\" nor an unknown one",
                          shoal_utf8_show(text, bytes, shown));
    return shoal_ids_push(out, u->options.unk);
}

/* Is it a piece of its own? The unknown token counts as unknown where the text spells it, too. */
static bool is_known(const unigram *u, int32_t id)
{
    return id != UNKNOWN && !(u->options.fuse_unk && id == u->options.unk);
}

static shoal_status push_backward(const unigram *u, const cut *cuts, const char *word, size_t bytes,
                                  shoal_ids *out)
{
    for (size_t end = bytes, begin; end > 0; end = begin) {
        const int32_t id = cuts[end].id;
        begin = cuts[end].begin;
        if (is_known(u, id)) {
            SHOAL_TRY(shoal_ids_push(out, id));
            continue;
        }
        while (u->options.fuse_unk && begin > 0 && !is_known(u, cuts[begin].id))
            begin = cuts[begin].begin;
        SHOAL_TRY(push_unknown(u, word + begin, end - begin, out));
    }
    return SHOAL_OK;
}

static void reverse(int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const int32_t swap = ids[i];
        ids[i] = ids[count - 1 - i];
        ids[count - 1 - i] = swap;
    }
}

static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    const unigram *u = (const unigram *)(const void *)model;
    const size_t before = out->count;
    if (bytes >= INT32_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a word of %zu bytes is too long", bytes);
    SHOAL_TRY(shoal_token_scratch_reserve(scratch, 0, bytes + 1, sizeof(cut)));
    cut_word(u, scratch->block[0], word, bytes);
    SHOAL_TRY(push_backward(u, scratch->block[0], word, bytes, out));
    reverse(out->data + before, out->count - before);
    return SHOAL_OK;
}

/* ---- construction ---- */

static const shoal_token_model_kind unigram_kind = {"Unigram", encode, destroy};

static shoal_status copy_scores(unigram *u, const double *scores)
{
    const size_t size = shoal_vocab_size(u->base.vocab);
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, size ? size : 1, sizeof *u->scores, &block));
    u->scores = block;
    if (size)
        memcpy(u->scores, scores, size * sizeof *scores);
    return SHOAL_OK;
}

static double score_unknown(const unigram *u)
{
    double lowest = 0;
    bool any = false;
    for (size_t id = 0; id < shoal_vocab_size(u->base.vocab); id++) {
        if (!(shoal_vocab_kind(u->base.vocab, (int64_t)id) & PIECES))
            continue;
        if (!any || u->scores[id] < lowest)
            lowest = u->scores[id];
        any = true;
    }
    const double score = lowest - UNKNOWN_PENALTY;
    return u->options.float_sums ? (double)(float)score : score;
}

shoal_status shoal_unigram_create(const shoal_vocab *vocab, const double *scores,
                                  const shoal_unigram_options *options, shoal_token_model **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(unigram), &block));
    unigram *u = block;
    u->base = (shoal_token_model){&unigram_kind, vocab};
    u->options = *options;
    shoal_byte_tokens_find(vocab, &u->bytes);
    SHOAL_TRY_GOTO(copy_scores(u, scores), fail);
    SHOAL_TRY_GOTO(shoal_piece_trie_of(vocab, PIECES, &u->trie), fail);
    u->unknown_score = score_unknown(u);
    *out = &u->base;
    return SHOAL_OK;

fail:
    destroy(&u->base);
    return st;
}

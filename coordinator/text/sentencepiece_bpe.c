#include "coordinator/text/sentencepiece_bpe.h"

#include <stdlib.h>

#include "coordinator/text/byte_tokens.h"
#include "coordinator/text/merge_heap.h"
#include "coordinator/text/piece_trie.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

#define PIECES ((unsigned)SHOAL_TOKEN_MODEL | SHOAL_TOKEN_USER | SHOAL_TOKEN_UNUSED)

typedef struct {
    uint32_t rank;   /* 0: the highest score; pieces of equal scores share it */
    uint32_t unused; /* number among the unused pieces                        */
} piece;

typedef struct {
    shoal_token_model base; /* first: the two are converted into one another */
    shoal_sentencepiece_bpe_options options;
    shoal_piece_trie *user; /* user-defined pieces */
    piece *pieces;          /* by id */
    size_t unused_count;
    size_t longest; /* bytes of the longest piece */
    shoal_byte_tokens bytes;
} bpe;

/* Bytes [begin, end) of the text; links are indices, -1 at the ends. */
typedef struct {
    size_t begin, end; /* equal: joined to its left */
    int32_t previous, next;
    int32_t joined; /* the piece that it spells with its right neighbour; -1: none */
    bool frozen;
} symbol;

typedef struct {
    const bpe *model;
    const char *text;
    symbol *symbols;
    size_t count;
    shoal_merge_heap heap;
    uint64_t *splits; /* by number of an unused piece: bytes of its left half, as offered last */
    bool unknown;     /* what was pushed last is the unknown token */
} work;

static void destroy(shoal_token_model *model)
{
    bpe *b = (bpe *)(void *)model;
    shoal_free(b->pieces);
    shoal_piece_trie_destroy(b->user);
    shoal_free(b);
}

static int32_t find(const work *w, size_t begin, size_t end)
{
    if (end - begin > w->model->longest)
        return -1;
    return shoal_vocab_find(w->model->base.vocab, w->text + begin, end - begin, PIECES);
}

static bool is_unused(const work *w, int32_t id)
{
    return id >= 0 && shoal_vocab_kind(w->model->base.vocab, id) & SHOAL_TOKEN_UNUSED;
}

/* ---- joining ---- */

static void first_symbols(work *w, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const int32_t number = (int32_t)w->count++;
        const size_t begin = at;
        int32_t id;
        const size_t length =
            shoal_piece_trie_longest(w->model->user, w->text + at, bytes - at, &id);
        if (length)
            at += length;
        else
            (void)shoal_utf8_next(w->text, &at);
        w->symbols[number] = (symbol){begin, at, number - 1, number + 1, -1, length > 0};
    }
    w->symbols[w->count - 1].next = -1;
}

/* Enter the join of symbol `left` with its right neighbour, if they spell a piece. */
static void offer(work *w, int32_t left)
{
    symbol *l = left < 0 ? NULL : &w->symbols[left];
    if (!l)
        return;
    l->joined = -1;
    if (l->next < 0 || l->frozen || w->symbols[l->next].frozen)
        return;
    l->joined = find(w, l->begin, w->symbols[l->next].end);
    if (l->joined < 0)
        return;
    const piece *p = &w->model->pieces[l->joined];
    if (is_unused(w, l->joined))
        w->splits[p->unused] = l->end - l->begin;
    shoal_merge_heap_push(&w->heap, (uint64_t)p->rank << 32 | (uint32_t)left);
}

/* Carry out a candidate unless its symbols have changed meanwhile. */
static void join(work *w, uint64_t candidate)
{
    const int32_t left = (int32_t)(candidate & UINT32_MAX);
    symbol *l = &w->symbols[left];
    if (l->joined < 0 || w->model->pieces[l->joined].rank != candidate >> 32)
        return;
    symbol *r = &w->symbols[l->next];
    l->end = r->end;
    l->next = r->next;
    r->joined = -1;
    if (l->next >= 0)
        w->symbols[l->next].previous = left;
    offer(w, l->previous);
    offer(w, left);
}

/* ---- what is left, as tokens ---- */

static shoal_status push_unknown(work *w, size_t begin, size_t end, shoal_ids *out)
{
    const bpe *b = w->model;
    if (b->options.byte_fallback &&
        shoal_byte_tokens_cover(&b->bytes, w->text + begin, end - begin)) {
        for (size_t i = begin; i < end; i++)
            SHOAL_TRY(shoal_ids_push(out, b->bytes.id[(unsigned char)w->text[i]]));
        return SHOAL_OK;
    }
    if (w->unknown)
        return SHOAL_OK;
    w->unknown = true;
    return shoal_ids_push(out, b->options.unk);
}

static shoal_status push_piece(work *w, size_t begin, size_t end, int32_t id, shoal_ids *out)
{
    if (id < 0)
        return push_unknown(w, begin, end, out);
    w->unknown = false;
    return shoal_ids_push(out, id);
}

/* Push a symbol; unused pieces in two halves, and so on, down to characters, which are then
 * unknown. The emptied heap holds the ends of the halves that wait, fewer than the symbol has
 * characters. */
static shoal_status push_symbol(work *w, const symbol *s, shoal_ids *out)
{
    uint64_t *ends = w->heap.data;
    size_t waiting = 0, begin = s->begin, end = s->end;
    for (;;) {
        const int32_t id = find(w, begin, end);
        size_t character = begin;
        (void)shoal_utf8_next(w->text, &character);
        const bool unused = is_unused(w, id);
        if (unused && end > character) {
            ends[waiting++] = end;
            end = begin + w->splits[w->model->pieces[id].unused];
            continue;
        }
        SHOAL_TRY(push_piece(w, begin, end, unused ? -1 : id, out));
        if (waiting == 0)
            return SHOAL_OK;
        begin = end;
        end = ends[--waiting];
    }
}

static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    const bpe *b = (const bpe *)(const void *)model;
    if (bytes >= INT32_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a text of %zu bytes is too long", bytes);
    /* Every join takes one candidate off and enters at most two. */
    SHOAL_TRY(shoal_token_scratch_reserve(scratch, 0, bytes, sizeof(symbol)));
    SHOAL_TRY(
        shoal_token_scratch_reserve(scratch, 1, 2 * bytes + b->unused_count, sizeof(uint64_t)));
    uint64_t *block = scratch->block[1];
    work w = {.model = b,
              .text = word,
              .symbols = scratch->block[0],
              .heap = {.data = block},
              .splits = block + 2 * bytes};
    first_symbols(&w, bytes);
    for (size_t i = 0; i + 1 < w.count; i++)
        offer(&w, (int32_t)i);
    while (w.heap.count)
        join(&w, shoal_merge_heap_pop(&w.heap));
    for (int32_t i = 0; i >= 0; i = w.symbols[i].next)
        SHOAL_TRY(push_symbol(&w, &w.symbols[i], out));
    return SHOAL_OK;
}

/* ---- construction ---- */

static const shoal_token_model_kind bpe_kind = {"SentencePiece BPE", encode, destroy};

typedef struct {
    double score;
    int32_t id;
} scored;

static int highest_first(const void *left, const void *right)
{
    const scored *a = left, *b = right;
    return (a->score < b->score) - (a->score > b->score);
}

static void rank_pieces(bpe *b, scored *order, size_t count)
{
    uint32_t rank = 0;
    qsort(order, count, sizeof *order, highest_first);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && order[i].score < order[i - 1].score)
            rank++;
        b->pieces[order[i].id].rank = rank;
    }
}

static shoal_status fill_pieces(bpe *b, const double *scores)
{
    const shoal_vocab *vocab = b->base.vocab;
    const size_t size = shoal_vocab_size(vocab);
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, size, sizeof *b->pieces, &block));
    b->pieces = block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, size, sizeof(scored), &block));
    scored *order = block;
    for (size_t id = 0; id < size; id++) {
        size_t bytes = 0;
        (void)shoal_vocab_piece(vocab, (int64_t)id, &bytes);
        b->longest = bytes > b->longest ? bytes : b->longest;
        order[id] = (scored){scores[id], (int32_t)id};
        if (shoal_vocab_kind(vocab, (int64_t)id) & SHOAL_TOKEN_UNUSED)
            b->pieces[id].unused = (uint32_t)b->unused_count++;
    }
    rank_pieces(b, order, size);
    shoal_free(order);
    return SHOAL_OK;
}

shoal_status shoal_sentencepiece_bpe_create(const shoal_vocab *vocab, const double *scores,
                                            const shoal_sentencepiece_bpe_options *options,
                                            shoal_token_model **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(bpe), &block));
    bpe *b = block;
    b->base = (shoal_token_model){&bpe_kind, vocab};
    b->options = *options;
    shoal_byte_tokens_find(vocab, &b->bytes);
    SHOAL_TRY_GOTO(fill_pieces(b, scores), fail);
    SHOAL_TRY_GOTO(shoal_piece_trie_of(vocab, SHOAL_TOKEN_USER, &b->user), fail);
    *out = &b->base;
    return SHOAL_OK;

fail:
    destroy(&b->base);
    return st;
}

#include "coordinator/text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

/* Characters below this are looked up in a table: all of the byte alphabet is. */
#define DIRECT 0x800

typedef struct {
    uint64_t pair; /* left id << 32 | right id; PAIR_FREE: a free slot */
    uint32_t rank;
    int32_t joined;
} merge_slot;

#define PAIR_FREE UINT64_MAX

struct shoal_bpe {
    shoal_token_model base; /* first: the two are converted into one another */
    shoal_bpe_options options;
    shoal_strbuf affixes; /* prefix, then suffix */
    int32_t direct[DIRECT];
    int32_t byte_token[256]; /* -1: none */
    merge_slot *slots;
    size_t mask, pairs;
    uint32_t next_rank;
    shoal_strbuf joined; /* for add_merge */
};

/* A token of the word so far; links are indices, -1 at the ends. id -1: joined to its left. */
typedef struct {
    int32_t id, previous, next;
} symbol;

/* The heap holds merges that were possible when they were entered, as rank << 32 | index of the
 * left symbol: the lowest rank comes first, the leftmost of equals first. */
typedef struct {
    const shoal_bpe *bpe;
    shoal_token_scratch *scratch;
    symbol *symbols;
    size_t count;
    uint64_t *heap;
    size_t waiting;
} work;

static void destroy(shoal_token_model *model)
{
    shoal_bpe *bpe = (shoal_bpe *)(void *)model;
    shoal_strbuf_free(&bpe->joined);
    shoal_strbuf_free(&bpe->affixes);
    shoal_free(bpe->slots);
    shoal_free(bpe);
}

/* ---- merges ---- */

static merge_slot *slot_of(const shoal_bpe *bpe, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
    size_t at = h & bpe->mask;
    while (bpe->slots[at].pair != pair && bpe->slots[at].pair != PAIR_FREE)
        at = (at + 1) & bpe->mask;
    return &bpe->slots[at];
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The merge of two tokens, or NULL. */
static const merge_slot *find_merge(const shoal_bpe *bpe, int32_t left, int32_t right)
{
    const merge_slot *slot = slot_of(bpe, pair_of(left, right));
    return slot->pair == PAIR_FREE ? NULL : slot;
}

static shoal_status rehash(shoal_bpe *bpe, size_t merges)
{
    size_t slots = 16;
    void *block;
    while (slots < 2 * merges)
        slots *= 2;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, slots, sizeof *bpe->slots, &block));
    merge_slot *old = bpe->slots;
    const size_t old_slots = old ? bpe->mask + 1 : 0;
    bpe->slots = block;
    bpe->mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        bpe->slots[i].pair = PAIR_FREE;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].pair != PAIR_FREE)
            *slot_of(bpe, old[i].pair) = old[i];
    shoal_free(old);
    return SHOAL_OK;
}

static shoal_status unknown_in_merge(const shoal_bpe *bpe, const char *token, size_t bytes)
{
    char shown[SHOAL_UTF8_SHOW];
    return shoal_fail(SHOAL_ERR_DATA, "merge %u names \"%s\", which is not in the vocabulary",
                      bpe->next_rank, shoal_utf8_show(token, bytes, shown));
}

shoal_status shoal_bpe_add_merge(shoal_bpe *bpe, const char *left, size_t left_bytes,
                                 const char *right, size_t right_bytes)
{
    const shoal_vocab *vocab = bpe->base.vocab;
    const size_t skip = bpe->options.prefix_bytes; /* the right part's prefix is not joined */
    if (bpe->next_rank >= SHOAL_BPE_MERGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "there are more than %u merges", SHOAL_BPE_MERGES_MAX);
    const int32_t l = shoal_vocab_find(vocab, left, left_bytes, SHOAL_TOKEN_MODEL);
    if (l < 0)
        return unknown_in_merge(bpe, left, left_bytes);
    const int32_t r = shoal_vocab_find(vocab, right, right_bytes, SHOAL_TOKEN_MODEL);
    if (r < 0 || right_bytes < skip)
        return unknown_in_merge(bpe, right, right_bytes);

    bpe->joined.bytes = 0;
    SHOAL_TRY(shoal_strbuf_append(&bpe->joined, left, left_bytes));
    SHOAL_TRY(shoal_strbuf_append(&bpe->joined, right + skip, right_bytes - skip));
    const int32_t joined =
        shoal_vocab_find(vocab, bpe->joined.data, bpe->joined.bytes, SHOAL_TOKEN_MODEL);
    if (joined < 0)
        return unknown_in_merge(bpe, bpe->joined.data, bpe->joined.bytes);

    if (2 * (bpe->pairs + 1) > bpe->mask + 1)
        SHOAL_TRY(rehash(bpe, 2 * (bpe->pairs + 1)));
    merge_slot *slot = slot_of(bpe, pair_of(l, r));
    bpe->pairs += slot->pair == PAIR_FREE;
    *slot = (merge_slot){pair_of(l, r), bpe->next_rank++, joined};
    return SHOAL_OK;
}

/* ---- the first tokens of a word ---- */

static int32_t find_character(const shoal_bpe *bpe, const char *text, size_t bytes)
{
    if (bytes <= 2) {
        size_t at = 0;
        return bpe->direct[shoal_utf8_next(text, &at)];
    }
    return shoal_vocab_find(bpe->base.vocab, text, bytes, SHOAL_TOKEN_MODEL);
}

/* The character with what a sub-word prefix and a word suffix add to it. */
static shoal_status with_affixes(work *w, const char *text, size_t bytes, bool first, bool last,
                                 const char **out, size_t *out_bytes)
{
    const shoal_bpe_options *o = &w->bpe->options;
    shoal_strbuf *buf = &w->scratch->text;
    buf->bytes = 0;
    if (!first)
        SHOAL_TRY(shoal_strbuf_append(buf, o->prefix, o->prefix_bytes));
    SHOAL_TRY(shoal_strbuf_append(buf, text, bytes));
    if (last)
        SHOAL_TRY(shoal_strbuf_append(buf, o->suffix, o->suffix_bytes));
    *out = buf->data;
    *out_bytes = buf->bytes;
    return SHOAL_OK;
}

static void add_symbol(work *w, int32_t id)
{
    const int32_t at = (int32_t)w->count++;
    w->symbols[at] = (symbol){id, at - 1, at + 1};
}

/* Add a token for every byte, if each has one. */
static bool add_bytes(work *w, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (w->bpe->byte_token[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < bytes; i++)
        add_symbol(w, w->bpe->byte_token[(unsigned char)text[i]]);
    return true;
}

static shoal_status refuse_unknown(const char *text, size_t bytes)
{
    char shown[SHOAL_UTF8_SHOW];
    return shoal_fail(SHOAL_ERR_DATA,
                      "there is no token for \"%s\", and the unknown one is not in the vocabulary",
                      shoal_utf8_show(text, bytes, shown));
}

/* An unknown token is held back until a known one follows, so that neighbours can fuse. */
static shoal_status first_symbols(work *w, const char *word, size_t bytes)
{
    const shoal_bpe_options *o = &w->bpe->options;
    const bool affixes = o->prefix_bytes || o->suffix_bytes;
    bool held = false;
    for (size_t at = 0; at < bytes;) {
        const size_t begin = at;
        (void)shoal_utf8_next(word, &at);
        const char *text = word + begin;
        size_t length = at - begin;
        if (affixes)
            SHOAL_TRY(with_affixes(w, text, length, begin == 0, at == bytes, &text, &length));
        const int32_t id = find_character(w->bpe, text, length);
        if (id >= 0) {
            if (held)
                add_symbol(w, o->unk);
            held = false;
            add_symbol(w, id);
        } else if (o->byte_fallback && add_bytes(w, text, length)) {
            continue;
        } else if (o->unk >= 0) {
            if (held && !o->fuse_unk)
                add_symbol(w, o->unk);
            held = true;
        } else if (o->unk == SHOAL_BPE_UNK_MISSING) {
            return refuse_unknown(text, length);
        }
    }
    if (held)
        add_symbol(w, o->unk);
    if (w->count)
        w->symbols[w->count - 1].next = -1;
    return SHOAL_OK;
}

/* ---- merging ---- */

static void sift_up(work *w, size_t at)
{
    const uint64_t c = w->heap[at];
    while (at > 0 && w->heap[(at - 1) / 2] > c) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = c;
}

static uint64_t pop(work *w)
{
    const uint64_t top = w->heap[0];
    const uint64_t last = w->heap[--w->waiting];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < w->waiting) {
        if (child + 1 < w->waiting && w->heap[child + 1] < w->heap[child])
            child++;
        if (w->heap[child] >= last)
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

/* Enter the merge of symbol `left` with its right neighbour, if there is one. */
static void offer(work *w, int32_t left)
{
    const int32_t right = left < 0 ? -1 : w->symbols[left].next;
    if (right < 0)
        return;
    const merge_slot *m = find_merge(w->bpe, w->symbols[left].id, w->symbols[right].id);
    if (!m)
        return;
    w->heap[w->waiting] = (uint64_t)m->rank << 32 | (uint32_t)left;
    sift_up(w, w->waiting++);
}

/* Carry out a candidate unless its symbols have changed meanwhile. */
static void join(work *w, uint64_t candidate)
{
    const int32_t left = (int32_t)(candidate & UINT32_MAX);
    symbol *l = &w->symbols[left];
    if (l->id < 0 || l->next < 0)
        return;
    symbol *r = &w->symbols[l->next];
    const merge_slot *m = find_merge(w->bpe, l->id, r->id);
    if (!m || m->rank != candidate >> 32)
        return;
    l->id = m->joined;
    l->next = r->next;
    r->id = -1;
    if (l->next >= 0)
        w->symbols[l->next].previous = left;
    offer(w, l->previous);
    offer(w, left);
}

static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    const shoal_bpe *bpe = (const shoal_bpe *)(const void *)model;
    if (bpe->options.ignore_merges) {
        const int32_t whole = shoal_vocab_find(model->vocab, word, bytes, SHOAL_TOKEN_MODEL);
        if (whole >= 0)
            return shoal_ids_push(out, whole);
    }
    /* A character gives at most as many symbols as it has bytes, affixes included; every join
     * takes one candidate off and enters at most two, so the heap never holds twice the symbols. */
    const size_t most = bytes + (bytes + 1) * bpe->options.prefix_bytes + bpe->options.suffix_bytes;
    if (most >= INT32_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a word of %zu bytes is too long", bytes);
    SHOAL_TRY(shoal_token_scratch_reserve(scratch, 0, most, sizeof(symbol)));
    SHOAL_TRY(shoal_token_scratch_reserve(scratch, 1, 2 * most, sizeof(uint64_t)));
    work w = {bpe, scratch, scratch->block[0], 0, scratch->block[1], 0};

    SHOAL_TRY(first_symbols(&w, word, bytes));
    for (size_t i = 0; i + 1 < w.count; i++)
        offer(&w, (int32_t)i);
    while (w.waiting)
        join(&w, pop(&w));
    SHOAL_TRY(shoal_ids_reserve(out, w.count));
    for (size_t i = 0; i < w.count; i++)
        if (w.symbols[i].id >= 0)
            out->data[out->count++] = w.symbols[i].id;
    return SHOAL_OK;
}

/* ---- construction ---- */

static const shoal_token_model_kind bpe_kind = {"BPE", encode, destroy};

static void fill_tables(shoal_bpe *bpe)
{
    const shoal_vocab *vocab = bpe->base.vocab;
    for (uint32_t c = 0; c < DIRECT; c++) {
        char text[SHOAL_UTF8_MAX];
        bpe->direct[c] = shoal_vocab_find(vocab, text, shoal_utf8_put(c, text), SHOAL_TOKEN_MODEL);
    }
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        bpe->byte_token[b] = shoal_vocab_find(vocab, text, 6, SHOAL_TOKEN_MODEL | SHOAL_TOKEN_BYTE);
    }
}

static shoal_status copy_affixes(shoal_bpe *bpe)
{
    shoal_bpe_options *o = &bpe->options;
    if (o->prefix_bytes > SHOAL_BPE_AFFIX_MAX || o->suffix_bytes > SHOAL_BPE_AFFIX_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a sub-word prefix or word suffix has more than %u bytes",
                          SHOAL_BPE_AFFIX_MAX);
    SHOAL_TRY(shoal_strbuf_reserve(&bpe->affixes, 1)); /* so that it has an address */
    SHOAL_TRY(shoal_strbuf_append(&bpe->affixes, o->prefix, o->prefix_bytes));
    SHOAL_TRY(shoal_strbuf_append(&bpe->affixes, o->suffix, o->suffix_bytes));
    o->prefix = bpe->affixes.data;
    o->suffix = bpe->affixes.data + o->prefix_bytes;
    return SHOAL_OK;
}

shoal_status shoal_bpe_create(const shoal_vocab *vocab, const shoal_bpe_options *options,
                              size_t merges, shoal_bpe **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_bpe), &block));
    shoal_bpe *bpe = block;
    bpe->base = (shoal_token_model){&bpe_kind, vocab};
    bpe->options = *options;
    SHOAL_TRY_GOTO(copy_affixes(bpe), fail);
    SHOAL_TRY_GOTO(rehash(bpe, merges < SHOAL_BPE_MERGES_MAX ? merges : SHOAL_BPE_MERGES_MAX),
                   fail);
    fill_tables(bpe);
    *out = bpe;
    return SHOAL_OK;

fail:
    destroy(&bpe->base);
    return st;
}

shoal_token_model *shoal_bpe_model(shoal_bpe *bpe)
{
    return &bpe->base;
}

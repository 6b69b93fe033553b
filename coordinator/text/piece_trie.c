#include "coordinator/text/piece_trie.h"

#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"

typedef struct {
    const char *text;
    size_t bytes;
    int32_t id;
} entry;

/* Children lie side by side, sorted by byte: nodes[first, first + children). */
typedef struct {
    uint32_t first;
    uint16_t children;
    unsigned char byte;
    int32_t id;
} node;

struct shoal_piece_trie {
    entry *entries;
    size_t count, capacity;
    node *nodes;
    size_t node_count, node_capacity;
};

/* Entries [low, high) share the path to a node, `depth` bytes long. */
typedef struct {
    size_t low, high, depth;
} range;

shoal_status shoal_piece_trie_create(shoal_piece_trie **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_piece_trie), &block));
    *out = block;
    return SHOAL_OK;
}

void shoal_piece_trie_destroy(shoal_piece_trie *trie)
{
    if (!trie)
        return;
    shoal_free(trie->nodes);
    shoal_free(trie->entries);
    shoal_free(trie);
}

shoal_status shoal_piece_trie_add(shoal_piece_trie *trie, const char *text, size_t bytes,
                                  int32_t id)
{
    if (trie->count == trie->capacity) {
        void *block = trie->entries;
        const size_t wanted = trie->capacity ? 2 * trie->capacity : 64;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *trie->entries, &block));
        trie->entries = block;
        trie->capacity = wanted;
    }
    trie->entries[trie->count++] = (entry){text, bytes, id};
    return SHOAL_OK;
}

/* ---- sealing: node by node in the order of their numbers, so that children lie together ---- */

static int compare_entries(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    const size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->text, b->text, common);
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static shoal_status add_node(shoal_piece_trie *trie, range **ranges, unsigned char byte, range r)
{
    if (trie->node_count == trie->node_capacity) {
        const size_t wanted = trie->node_capacity ? 2 * trie->node_capacity : 1024;
        void *block = trie->nodes;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *trie->nodes, &block));
        trie->nodes = block;
        block = *ranges;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof **ranges, &block));
        *ranges = block;
        trie->node_capacity = wanted;
    }
    if (trie->node_count == UINT32_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "the pieces have too many bytes together");
    trie->nodes[trie->node_count] = (node){.byte = byte, .id = -1};
    (*ranges)[trie->node_count++] = r;
    return SHOAL_OK;
}

static shoal_status add_children(shoal_piece_trie *trie, range **ranges, uint32_t at)
{
    const range r = (*ranges)[at];
    size_t low = r.low;
    trie->nodes[at].first = (uint32_t)trie->node_count;
    for (; low < r.high && trie->entries[low].bytes == r.depth; low++)
        trie->nodes[at].id = trie->entries[low].id; /* these sort before the longer ones */
    while (low < r.high) {
        const char byte = trie->entries[low].text[r.depth];
        size_t high = low + 1;
        while (high < r.high && trie->entries[high].text[r.depth] == byte)
            high++;
        SHOAL_TRY(add_node(trie, ranges, (unsigned char)byte, (range){low, high, r.depth + 1}));
        trie->nodes[at].children++;
        low = high;
    }
    return SHOAL_OK;
}

shoal_status shoal_piece_trie_seal(shoal_piece_trie *trie)
{
    shoal_status st = SHOAL_OK;
    range *ranges = NULL;
    if (trie->count)
        qsort(trie->entries, trie->count, sizeof *trie->entries, compare_entries);
    SHOAL_TRY_GOTO(add_node(trie, &ranges, 0, (range){0, trie->count, 0}), done);
    for (uint32_t at = 0; at < trie->node_count; at++)
        SHOAL_TRY_GOTO(add_children(trie, &ranges, at), done);
    shoal_free(trie->entries);
    trie->entries = NULL;
    trie->count = trie->capacity = 0;
done:
    shoal_free(ranges);
    return st;
}

static shoal_status add_tokens(shoal_piece_trie *trie, const shoal_vocab *vocab, unsigned kind)
{
    for (size_t id = 0; id < shoal_vocab_size(vocab); id++) {
        size_t bytes;
        if (!(shoal_vocab_kind(vocab, (int64_t)id) & kind))
            continue;
        const char *piece = shoal_vocab_piece(vocab, (int64_t)id, &bytes);
        if (bytes > 0)
            SHOAL_TRY(shoal_piece_trie_add(trie, piece, bytes, (int32_t)id));
    }
    return shoal_piece_trie_seal(trie);
}

shoal_status shoal_piece_trie_of(const shoal_vocab *vocab, unsigned kind, shoal_piece_trie **out)
{
    shoal_piece_trie *trie;
    SHOAL_TRY(shoal_piece_trie_create(&trie));
    const shoal_status st = add_tokens(trie, vocab, kind);
    if (st == SHOAL_OK)
        *out = trie;
    else
        shoal_piece_trie_destroy(trie);
    return st;
}

/* ---- walking ---- */

bool shoal_piece_trie_step(const shoal_piece_trie *trie, unsigned char byte, uint32_t *at)
{
    const node *n = &trie->nodes[*at];
    uint32_t low = n->first, high = n->first + n->children;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n->first + n->children || trie->nodes[low].byte != byte)
        return false;
    *at = low;
    return true;
}

uint32_t shoal_piece_trie_nodes(const shoal_piece_trie *trie)
{
    return (uint32_t)trie->node_count;
}

uint32_t shoal_piece_trie_children(const shoal_piece_trie *trie, uint32_t at, uint32_t *first)
{
    *first = trie->nodes[at].first;
    return trie->nodes[at].children;
}

unsigned char shoal_piece_trie_byte(const shoal_piece_trie *trie, uint32_t at)
{
    return trie->nodes[at].byte;
}

int32_t shoal_piece_trie_id(const shoal_piece_trie *trie, uint32_t at)
{
    return trie->nodes[at].id;
}

size_t shoal_piece_trie_longest(const shoal_piece_trie *trie, const char *text, size_t bytes,
                                int32_t *id)
{
    size_t length = 0;
    uint32_t at = 0;
    for (size_t i = 0; i < bytes && shoal_piece_trie_step(trie, (unsigned char)text[i], &at); i++) {
        if (trie->nodes[at].id >= 0) {
            *id = trie->nodes[at].id;
            length = i + 1;
        }
    }
    return length;
}

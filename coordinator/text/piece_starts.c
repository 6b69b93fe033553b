#include "coordinator/text/piece_starts.h"

#include <stdbool.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/piece_trie.h"
#include "proto/arena.h"

struct shoal_piece_starts {
    shoal_piece_trie *trie; /* of the pieces written backwards                           */
    uint32_t *shorter;      /* by node: that of the longest rest of its path that is one */
    int32_t *best;          /* by node: the longest piece that its path ends with, or -1 */
    size_t longest;
    bool last[256]; /* bytes that a piece ends with */
};

/* ---- construction ---- */

static shoal_status fill_trie(shoal_piece_starts *s, const shoal_piece *pieces, size_t count,
                              shoal_strbuf *backwards)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].bytes;
    SHOAL_TRY(shoal_strbuf_reserve(backwards, total)); /* it must not move */
    for (size_t i = 0; i < count; i++) {
        const shoal_piece p = pieces[i];
        char *text = backwards->data + backwards->bytes;
        for (size_t k = 0; k < p.bytes; k++)
            text[k] = p.text[p.bytes - 1 - k];
        backwards->bytes += p.bytes;
        s->last[(unsigned char)text[0]] = true;
        s->longest = p.bytes > s->longest ? p.bytes : s->longest;
        SHOAL_TRY(shoal_piece_trie_add(s->trie, text, p.bytes, (int32_t)i));
    }
    return shoal_piece_trie_seal(s->trie);
}

/* The node behind one more byte; returns the steps tried. */
static unsigned follow(const shoal_piece_starts *s, unsigned char byte, uint32_t *node)
{
    unsigned steps = 1;
    while (!shoal_piece_trie_step(s->trie, byte, node)) {
        if (*node == 0)
            break;
        *node = s->shorter[*node];
        steps++;
    }
    return steps;
}

/* Shorter paths have lower numbers, so what a node needs is there. */
static shoal_status link_nodes(shoal_piece_starts *s)
{
    void *block;
    const uint32_t count = shoal_piece_trie_nodes(s->trie);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof *s->shorter, &block));
    s->shorter = block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof *s->best, &block));
    s->best = block;
    s->best[0] = -1;
    for (uint32_t at = 0; at < count; at++) {
        uint32_t first;
        const uint32_t children = shoal_piece_trie_children(s->trie, at, &first);
        for (uint32_t child = first; child < first + children; child++) {
            uint32_t shorter = s->shorter[at];
            if (at != 0)
                (void)follow(s, shoal_piece_trie_byte(s->trie, child), &shorter);
            const int32_t own = shoal_piece_trie_id(s->trie, child);
            s->shorter[child] = shorter;
            s->best[child] = own >= 0 ? own : s->best[shorter];
        }
    }
    return SHOAL_OK;
}

shoal_status shoal_piece_starts_create(const shoal_piece *pieces, size_t count,
                                       shoal_piece_starts **out)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf backwards = {0};
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_piece_starts), &block));
    shoal_piece_starts *s = block;
    SHOAL_TRY_GOTO(shoal_piece_trie_create(&s->trie), fail);
    SHOAL_TRY_GOTO(fill_trie(s, pieces, count, &backwards), fail);
    SHOAL_TRY_GOTO(link_nodes(s), fail);
    shoal_strbuf_free(&backwards);
    *out = s;
    return SHOAL_OK;
fail:
    shoal_strbuf_free(&backwards);
    shoal_piece_starts_destroy(s);
    return st;
}

void shoal_piece_starts_destroy(shoal_piece_starts *s)
{
    if (!s)
        return;
    shoal_piece_trie_destroy(s->trie);
    shoal_free(s->shorter);
    shoal_free(s->best);
    shoal_free(s);
}

/* ---- walking ---- */

size_t shoal_piece_starts_longest(const shoal_piece_starts *s)
{
    return s->longest;
}

uint64_t shoal_piece_starts_find(const shoal_piece_starts *s, const char *text, size_t bytes,
                                 size_t begin, size_t end, int32_t *numbers)
{
    uint64_t steps = 0;
    uint32_t node = 0;
    size_t at = s->longest && bytes - end >= s->longest ? end + s->longest - 1 : bytes;
    while (at-- > begin) {
        const unsigned char byte = (unsigned char)text[at];
        if (node || s->last[byte])
            steps += follow(s, byte, &node);
        if (at < end)
            numbers[at - begin] = s->best[node];
    }
    return steps;
}

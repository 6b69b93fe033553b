#include "coordinator/text/grammar/token_masks.h"

#include <stdatomic.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

/* States whose masks are kept: those of one text are few, or all different. */
#define KEPT_MAX 48

/* What is known of a state. */
typedef struct {
    int32_t state;
    int64_t nearest, farthest; /* bytes to the end behind its tokens: the fewest and the most */
    uint64_t used;             /* when, by the count of fillings */
    uint32_t *words;
} kept_mask;

struct shoal_token_masks {
    _Atomic int holders;
    shoal_grammar *grammar;
    const shoal_vocab_trie *trie;
    shoal_grammar_states *states;
    uint32_t edition;
    uint64_t fillings;
    kept_mask kept[KEPT_MAX];
    int kept_count;
};

/* ---- life ------------------------------------------------------------------------------------ */

shoal_status shoal_token_masks_create(shoal_grammar *grammar, const shoal_vocab_trie *trie,
                                      shoal_token_masks **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_token_masks), &block));
    *out = block;
    atomic_init(&(*out)->holders, 1);
    (*out)->grammar = shoal_grammar_share(grammar);
    (*out)->trie = trie;
    return SHOAL_OK;
}

shoal_token_masks *shoal_token_masks_share(shoal_token_masks *masks)
{
    atomic_fetch_add(&masks->holders, 1);
    return masks;
}

void shoal_token_masks_release(shoal_token_masks *masks)
{
    if (!masks || atomic_fetch_sub(&masks->holders, 1) > 1)
        return;
    for (int i = 0; i < masks->kept_count; i++)
        shoal_free(masks->kept[i].words);
    shoal_grammar_states_destroy(masks->states);
    shoal_grammar_release(masks->grammar);
    shoal_free(masks);
}

/* ---- questions ------------------------------------------------------------------------------- */

const shoal_vocab_trie *shoal_token_masks_trie(const shoal_token_masks *masks)
{
    return masks->trie;
}

int32_t shoal_token_masks_words(const shoal_token_masks *masks)
{
    return (int32_t)shoal_ceil_div(masks->trie->vocab, 32);
}

shoal_grammar_states *shoal_token_masks_states(shoal_token_masks *masks)
{
    return masks->states;
}

uint32_t shoal_token_masks_edition(const shoal_token_masks *masks)
{
    return masks->edition;
}

bool shoal_token_masks_full(const shoal_token_masks *masks)
{
    return shoal_grammar_states_full(masks->states);
}

shoal_status shoal_token_masks_renew(shoal_token_masks *masks)
{
    shoal_grammar_states *fresh;
    SHOAL_TRY(shoal_grammar_states_create(masks->grammar, &fresh));
    shoal_grammar_states_destroy(masks->states);
    masks->states = fresh;
    masks->edition++;
    for (int i = 0; i < masks->kept_count; i++)
        masks->kept[i].state = SHOAL_GRAMMAR_DEAD;
    return SHOAL_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

typedef struct {
    int64_t limit; /* tokens from behind which the end is farther are left out */
    int64_t nearest, farthest;
    uint32_t *words;
} walk;

/* Tokens ids[first, end), behind which the end is `distance` bytes away. */
static void take(const shoal_vocab_trie *trie, uint32_t first, uint32_t end, int64_t distance,
                 walk *w)
{
    if (first == end)
        return;
    w->nearest = shoal_min_i64(w->nearest, distance);
    w->farthest = shoal_max_i64(w->farthest, distance);
    if (distance > w->limit)
        return;
    for (uint32_t i = first; i < end; i++)
        w->words[trie->ids[i] / 32] |= 1u << (trie->ids[i] % 32);
}

/* A byte that a limit forbids is one that cannot be stepped over, unless the table is full. */
static shoal_status step(const shoal_token_masks *m, int32_t state, uint8_t byte, int32_t *next)
{
    const shoal_status st = shoal_grammar_step(m->states, state, byte, next);
    if (st != SHOAL_ERR_DATA || shoal_token_masks_full(m))
        return st;
    *next = SHOAL_GRAMMAR_DEAD;
    return SHOAL_OK;
}

/* Classes whose bytes all lead back to the state: letters inside a string, say. */
static shoal_status find_loops(const shoal_token_masks *m, int32_t state, uint8_t *loops)
{
    int32_t next;
    unsigned others = 0;
    for (int byte = 0; byte < 256; byte++) {
        SHOAL_TRY(step(m, state, (uint8_t)byte, &next));
        if (next != state)
            others |= 1u << shoal_trie_class((uint8_t)byte);
    }
    *loops = (uint8_t)~others;
    return SHOAL_OK;
}

static shoal_status walk_trie(const shoal_token_masks *m, int32_t start, walk *w)
{
    int32_t states[SHOAL_TRIE_DEPTH_MAX + 1] = {start};
    const shoal_vocab_trie *trie = m->trie;
    uint8_t loops;
    w->nearest = INT64_MAX;
    w->farthest = 0;
    memset(w->words, 0, (size_t)shoal_token_masks_words(m) * sizeof *w->words);
    SHOAL_TRY(find_loops(m, start, &loops));
    for (uint32_t i = 0; i < trie->count;) {
        const shoal_trie_node *node = &trie->nodes[i];
        int32_t *state = &states[node->depth];
        SHOAL_TRY(step(m, state[-1], node->byte, state));
        if (*state == SHOAL_GRAMMAR_DEAD) {
            i = node->end;
            continue;
        }
        const bool whole = *state == start && (node->below & ~loops) == 0;
        const uint32_t next = whole ? node->end : i + 1, last = trie->nodes[next].first;
        if (node->first != last)
            take(trie, node->first, last, shoal_grammar_distance(m->states, *state), w);
        i = next;
    }
    return SHOAL_OK;
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* The place of a state, or the one that may be taken for it. */
static kept_mask *find(shoal_token_masks *m, int32_t state)
{
    kept_mask *oldest = &m->kept[0];
    for (int i = 0; i < m->kept_count; i++) {
        if (m->kept[i].state == state)
            return &m->kept[i];
        if (m->kept[i].used < oldest->used)
            oldest = &m->kept[i];
    }
    return m->kept_count < KEPT_MAX ? NULL : oldest;
}

static shoal_status add_place(shoal_token_masks *m, kept_mask **out)
{
    void *array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)shoal_token_masks_words(m),
                                sizeof(uint32_t), &array));
    *out = &m->kept[m->kept_count++];
    **out = (kept_mask){.state = SHOAL_GRAMMAR_DEAD, .words = array};
    return SHOAL_OK;
}

/* All tokens that may follow the state, however much is left. */
static shoal_status look_up(shoal_token_masks *m, int32_t state, const kept_mask **out)
{
    kept_mask *k = find(m, state);
    if (!k)
        SHOAL_TRY(add_place(m, &k));
    k->used = ++m->fillings;
    if (k->state != state) {
        walk w = {.limit = INT64_MAX, .words = k->words};
        k->state = SHOAL_GRAMMAR_DEAD;
        SHOAL_TRY(walk_trie(m, state, &w));
        k->state = state;
        k->nearest = w.nearest;
        k->farthest = w.farthest;
    }
    *out = k;
    return SHOAL_OK;
}

shoal_status shoal_token_masks_fill(shoal_token_masks *m, int32_t state, int64_t left,
                                    uint32_t *words)
{
    const kept_mask *all;
    walk w = {.limit = left, .words = words};
    SHOAL_TRY(look_up(m, state, &all));
    if (all->nearest > left)
        w.limit = shoal_max_i64(left * SHOAL_BYTES_PER_TOKEN, all->nearest);
    if (all->farthest > w.limit)
        return walk_trie(m, state, &w);
    memcpy(words, all->words, (size_t)shoal_token_masks_words(m) * sizeof *words);
    return SHOAL_OK;
}

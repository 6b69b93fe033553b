#include "coordinator/text/grammar/token_masks.h"

#include <stdatomic.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

/* Characters of a run; longer tokens are rare. */
#define RUN_MAX 32

/* A class of ASCII has fewer. */
#define ASCII_RANGES_MAX 8

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
    uint64_t work; /* that may still be done */
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
    (*out)->work = SHOAL_MASKS_WORK_MAX;
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

void shoal_token_masks_grant(shoal_token_masks *masks)
{
    masks->work += SHOAL_MASKS_WORK_EACH;
    if (masks->work > SHOAL_MASKS_WORK_MAX)
        masks->work = SHOAL_MASKS_WORK_MAX;
}

bool shoal_token_masks_spent(const shoal_token_masks *masks)
{
    return masks->work == 0;
}

shoal_status shoal_token_masks_renew(shoal_token_masks *masks)
{
    shoal_grammar_states *fresh;
    SHOAL_TRY(shoal_grammar_states_create(masks->grammar, &fresh));
    shoal_grammar_states_pay_from(fresh, &masks->work);
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

/* What a limit forbids is what cannot be stepped over, unless the table is full or the work spent.
 */
static shoal_status forgive(const shoal_token_masks *m, shoal_status st, int32_t *next)
{
    if (st != SHOAL_ERR_DATA || shoal_token_masks_full(m) || shoal_token_masks_spent(m))
        return st;
    *next = SHOAL_GRAMMAR_DEAD;
    return SHOAL_OK;
}

static shoal_status step(const shoal_token_masks *m, int32_t state, uint8_t byte, int32_t *next)
{
    return forgive(m, shoal_grammar_step(m->states, state, byte, next), next);
}

/* A run of states: from each, every character of some classes leads to the next, and the end is
 * equally far from all but perhaps the first. Inside a string that is so for letters and most
 * others, whether its length is limited or not. */
typedef struct {
    int32_t states[RUN_MAX + 1];
    int length; /* characters */
    unsigned classes;
} run;

/* The bytes of a class of ASCII as ranges; returns how many. */
static size_t ranges_of(int kind, shoal_char_range out[ASCII_RANGES_MAX])
{
    size_t count = 0;
    for (uint8_t byte = 0; byte < 0x80; byte++) {
        if (shoal_trie_class(byte) != kind)
            continue;
        if (count && out[count - 1].last + 1u == byte)
            out[count - 1].last = byte;
        else
            out[count++] = (shoal_char_range){byte, byte};
    }
    return count;
}

/* The state behind all characters of a class; DEAD when there is no such one. */
static shoal_status step_class(const shoal_token_masks *m, int32_t state, int kind, int32_t *out)
{
    shoal_char_range ranges[ASCII_RANGES_MAX];
    int32_t next;
    bool first = true;
    *out = SHOAL_GRAMMAR_DEAD;
    if (kind == SHOAL_TRIE_BEYOND_ASCII)
        return forgive(m, shoal_grammar_step_beyond_ascii(m->states, state, out), out);
    if (shoal_grammar_alike(m->states, state, ranges, ranges_of(kind, ranges)))
        return step(m, state, (uint8_t)ranges[0].first, out);
    for (uint8_t byte = 0; byte < 0x80; byte++) {
        if (shoal_trie_class(byte) != kind)
            continue;
        SHOAL_TRY(step(m, state, byte, &next));
        if (!first && next != *out) {
            *out = SHOAL_GRAMMAR_DEAD;
            break;
        }
        first = false;
        *out = next;
    }
    return SHOAL_OK;
}

/* Classes that lead to the same state, and that state. */
static shoal_status step_alike(const shoal_token_masks *m, int32_t state, unsigned *classes,
                               int32_t *out)
{
    *classes = 0;
    *out = SHOAL_GRAMMAR_DEAD;
    for (int kind = 0; kind < SHOAL_TRIE_BROKEN; kind++) {
        int32_t next;
        SHOAL_TRY(step_class(m, state, kind, &next));
        if (next == SHOAL_GRAMMAR_DEAD || (*classes && next != *out))
            continue;
        *classes |= 1u << kind;
        *out = next;
    }
    return SHOAL_OK;
}

static shoal_status find_run(const shoal_token_masks *m, int32_t start, run *r)
{
    r->states[0] = start;
    for (r->length = 0; r->length < RUN_MAX; r->length++) {
        unsigned classes;
        int32_t next;
        SHOAL_TRY(step_alike(m, r->states[r->length], &classes, &next));
        if (r->length == 0)
            r->classes = classes;
        if (classes == 0 || (r->classes & ~classes) != 0 ||
            (r->length > 0 && shoal_grammar_distance(m->states, next) !=
                                  shoal_grammar_distance(m->states, r->states[1])))
            return SHOAL_OK;
        r->states[r->length + 1] = next;
    }
    return SHOAL_OK;
}

/* Where the walk stands behind each byte on the way to its node. */
typedef struct {
    int32_t state;
    int along;   /* characters of the run that the way has followed */
    bool on_run; /* all of it has */
    bool inside; /* but for the last character, which is not read to its end */
} stand;

static stand stand_behind(const run *r, stand before, uint8_t byte, int32_t state)
{
    if (before.along < r->length && state == r->states[before.along + 1])
        return (stand){state, before.along + 1, .on_run = true};
    const bool inside = byte >= 0x80 && r->classes >> SHOAL_TRIE_BEYOND_ASCII & 1 &&
                        (before.on_run || before.inside);
    return (stand){state, before.along, .on_run = false, .inside = inside};
}

/* The state behind one more byte; along the run it is known. */
static shoal_status step_along(const shoal_token_masks *m, const run *r, stand before, uint8_t byte,
                               int32_t *state)
{
    const bool known = before.on_run && before.along < r->length && byte < 0x80 &&
                       r->classes >> shoal_trie_class(byte) & 1;
    if (!known)
        return step(m, before.state, byte, state);
    *state = r->states[before.along + 1];
    return SHOAL_OK;
}

/* Do all tokens below the node follow the run to their ends? */
static bool runs_on(const run *r, const shoal_trie_node *node, stand at)
{
    return (at.on_run || at.inside) && (node->below & ~r->classes) == 0 &&
           at.along + at.inside + node->height <= r->length;
}

static shoal_status walk_trie(const shoal_token_masks *m, int32_t start, walk *w)
{
    stand stands[SHOAL_TRIE_DEPTH_MAX + 1] = {{start, 0, .on_run = true}};
    const shoal_vocab_trie *trie = m->trie;
    run r = {.length = 0};
    w->nearest = INT64_MAX;
    w->farthest = 0;
    memset(w->words, 0, (size_t)shoal_token_masks_words(m) * sizeof *w->words);
    SHOAL_TRY(find_run(m, start, &r));
    for (uint32_t i = 0; i < trie->count;) {
        const shoal_trie_node *node = &trie->nodes[i];
        stand *at = &stands[node->depth];
        int32_t state;
        SHOAL_TRY(step_along(m, &r, at[-1], node->byte, &state));
        if (state == SHOAL_GRAMMAR_DEAD) {
            i = node->end;
            continue;
        }
        *at = stand_behind(&r, at[-1], node->byte, state);
        take(trie, node->first, node[1].first, shoal_grammar_distance(m->states, state), w);
        i++;
        if (i < node->end && runs_on(&r, node, *at)) {
            take(trie, node[1].first, trie->nodes[node->end].first,
                 shoal_grammar_distance(m->states, r.states[1]), w);
            i = node->end;
        }
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

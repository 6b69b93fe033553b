#include "coordinator/text/grammar/guide.h"

#include <string.h>

#include "proto/arena.h"

struct shoal_guide {
    shoal_token_masks *masks;
    shoal_strbuf text; /* so far, to be walked again in another edition of the states */
    uint32_t edition;
    int32_t state;
    bool may_end, must_end; /* kept: another guide may renew the states */
    int32_t *ends;
    int end_count;
    int32_t word_count;
    uint32_t *words;
};

shoal_status shoal_guide_create(shoal_token_masks *masks, const int32_t *ends, int end_count,
                                shoal_guide **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_guide), &block));
    shoal_guide *g = block;
    g->masks = shoal_token_masks_share(masks);
    g->end_count = end_count;
    g->word_count = shoal_token_masks_words(masks);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)end_count, sizeof *ends, &block),
                   fail);
    g->ends = block;
    if (end_count > 0)
        memcpy(g->ends, ends, (size_t)end_count * sizeof *ends);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)g->word_count, sizeof *g->words, &block), fail);
    g->words = block;
    *out = g;
    return SHOAL_OK;

fail:
    shoal_guide_destroy(g);
    return st;
}

void shoal_guide_destroy(shoal_guide *guide)
{
    if (!guide)
        return;
    shoal_strbuf_free(&guide->text);
    shoal_free(guide->ends);
    shoal_free(guide->words);
    shoal_token_masks_release(guide->masks);
    shoal_free(guide);
}

/* ---- where the text stands ------------------------------------------------------------------- */

/* The state behind text[from, bytes), coming from `state`. */
static shoal_status walk_text(shoal_guide *g, int32_t state, size_t from)
{
    shoal_grammar_states *states = shoal_token_masks_states(g->masks);
    for (size_t i = from; i < g->text.bytes; i++) {
        SHOAL_TRY(shoal_grammar_step(states, state, (uint8_t)g->text.data[i], &state));
        if (state == SHOAL_GRAMMAR_DEAD)
            return shoal_fail(SHOAL_ERR_DATA, "the grammar does not allow byte %zu of a text", i);
    }
    g->edition = shoal_token_masks_edition(g->masks);
    g->state = state;
    g->may_end = shoal_grammar_may_end(states, state);
    g->must_end = shoal_grammar_must_end(states, state);
    return SHOAL_OK;
}

static shoal_status walk_whole_text(shoal_guide *g)
{
    return walk_text(g, shoal_grammar_start(shoal_token_masks_states(g->masks)), 0);
}

static shoal_status start_anew(shoal_guide *g)
{
    SHOAL_TRY(shoal_token_masks_renew(g->masks));
    return walk_whole_text(g);
}

/* Did this fail because the table of states is full? Then a new one is worth a try. */
static bool ran_full(const shoal_guide *g, shoal_status st)
{
    return st == SHOAL_ERR_DATA && shoal_token_masks_full(g->masks) && !shoal_guide_spent(g);
}

/* A use begins, in the edition of the states that counts now. */
static shoal_status settle(shoal_guide *g)
{
    shoal_token_masks_grant(g->masks);
    if (shoal_token_masks_edition(g->masks) == 0)
        return start_anew(g);
    if (g->edition == shoal_token_masks_edition(g->masks))
        return SHOAL_OK;
    const shoal_status st = walk_whole_text(g);
    return ran_full(g, st) ? start_anew(g) : st;
}

shoal_status shoal_guide_take(shoal_guide *g, int32_t token)
{
    SHOAL_TRY(settle(g));
    const size_t before = g->text.bytes;
    SHOAL_TRY(shoal_tokenizer_bytes(shoal_token_masks_trie(g->masks)->tokenizer, token, &g->text));
    const shoal_status st = walk_text(g, g->state, before);
    return ran_full(g, st) ? start_anew(g) : st;
}

bool shoal_guide_spent(const shoal_guide *guide)
{
    return shoal_token_masks_spent(guide->masks);
}

bool shoal_guide_may_end(const shoal_guide *guide)
{
    return guide->may_end;
}

bool shoal_guide_must_end(const shoal_guide *guide)
{
    return guide->must_end;
}

/* ---- what may come --------------------------------------------------------------------------- */

static shoal_status fill(shoal_guide *g, int64_t left)
{
    shoal_status st = shoal_token_masks_fill(g->masks, g->state, left, g->words);
    if (ran_full(g, st)) {
        SHOAL_TRY(start_anew(g));
        st = shoal_token_masks_fill(g->masks, g->state, left, g->words);
    }
    return st;
}

static void set_ends(shoal_guide *g)
{
    for (int i = 0; i < g->end_count; i++) {
        uint32_t *word = &g->words[g->ends[i] / 32];
        const uint32_t bit = 1u << (g->ends[i] % 32);
        *word = g->may_end ? *word | bit : *word & ~bit;
    }
}

static bool is_empty(const shoal_guide *g)
{
    for (int32_t i = 0; i < g->word_count; i++)
        if (g->words[i])
            return false;
    return true;
}

shoal_status shoal_guide_look(shoal_guide *g, int64_t left)
{
    SHOAL_TRY(settle(g));
    if (g->must_end)
        memset(g->words, 0, (size_t)g->word_count * sizeof *g->words);
    else
        SHOAL_TRY(fill(g, left));
    set_ends(g);
    if (is_empty(g))
        return shoal_fail(SHOAL_ERR_DATA, "no token goes on behind %zu bytes of text",
                          g->text.bytes);
    return SHOAL_OK;
}

const uint32_t *shoal_guide_mask(const shoal_guide *guide, int32_t *words)
{
    *words = guide->word_count;
    return guide->words;
}

#include <stdlib.h>

#include "coordinator/text/grammar/dfa.h"
#include "proto/arena.h"

/* Two states, or two classes: one of `a` and one of `b`; SHOAL_DFA_NONE: none. */
typedef struct {
    int32_t a, b;
} pair;

typedef struct {
    const shoal_dfa *a, *b;
    shoal_dfa_combination how;
    shoal_dfa *out;
    shoal_intern classes; /* keys: pairs */
    shoal_intern states;  /* keys: pairs */
    /* The pairs with class c of a are of_a[begin_a[c] .. begin_a[c + 1]); the same for b. */
    int32_t *begin_a, *of_a, *begin_b, *of_b;
    shoal_ids turns; /* classes that lead somewhere from the state at hand */
    uint64_t *budget;
} combiner;

static shoal_status spend(combiner *c, uint64_t steps)
{
    if (steps > *c->budget)
        return shoal_fail(SHOAL_ERR_DATA, "expressions are too large to be combined");
    *c->budget -= steps;
    return SHOAL_OK;
}

/* Cut the characters where either automaton cuts them. */
static shoal_status combine_classes(combiner *c)
{
    const shoal_dfa *a = c->a, *b = c->b;
    size_t i = 0, k = 0;
    SHOAL_TRY(spend(c, a->range_count + b->range_count));
    while (i < a->range_count || k < b->range_count) {
        const uint32_t next_a = i < a->range_count ? a->ranges[i].first : UINT32_MAX;
        const uint32_t next_b = k < b->range_count ? b->ranges[k].first : UINT32_MAX;
        const uint32_t at = next_a < next_b ? next_a : next_b;
        i += next_a == at;
        k += next_b == at;
        const pair p = {i ? a->ranges[i - 1].class : SHOAL_DFA_NONE,
                        k ? b->ranges[k - 1].class : SHOAL_DFA_NONE};
        int32_t class = SHOAL_DFA_NONE;
        if (p.a != SHOAL_DFA_NONE || p.b != SHOAL_DFA_NONE)
            SHOAL_TRY(shoal_intern_put(&c->classes, &p, sizeof p, &class, NULL));
        SHOAL_TRY(shoal_dfa_add_range(c->out, at, class));
    }
    return SHOAL_OK;
}

static pair key_of(const shoal_intern *table, int32_t number)
{
    size_t bytes;
    return *(const pair *)shoal_intern_key(table, number, &bytes);
}

/* List the combined classes by one of their sides. */
static shoal_status list_classes(const combiner *c, bool side_a, int32_t classes, int32_t **begin,
                                 int32_t **list)
{
    const int32_t count = shoal_intern_count(&c->classes);
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)classes + 2, sizeof **begin, &block));
    *begin = block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)count, sizeof **list, &block));
    *list = block;
    for (int32_t i = 0; i < count; i++) {
        const pair p = key_of(&c->classes, i);
        const int32_t class = side_a ? p.a : p.b;
        if (class != SHOAL_DFA_NONE)
            (*begin)[class + 2]++;
    }
    for (int32_t i = 2; i < classes + 2; i++)
        (*begin)[i] += (*begin)[i - 1];
    for (int32_t i = 0; i < count; i++) {
        const pair p = key_of(&c->classes, i);
        const int32_t class = side_a ? p.a : p.b;
        if (class != SHOAL_DFA_NONE)
            (*list)[(*begin)[class + 1]++] = i;
    }
    return SHOAL_OK;
}

/* Append the combined classes that the edges of a state are about. */
static shoal_status add_turns(combiner *c, const shoal_dfa *dfa, int32_t state,
                              const int32_t *begin, const int32_t *list)
{
    if (state == SHOAL_DFA_NONE)
        return SHOAL_OK;
    for (int32_t e = dfa->states[state].edges; e < dfa->states[state + 1].edges; e++) {
        const int32_t class = dfa->edges[e].class;
        for (int32_t i = begin[class]; i < begin[class + 1]; i++)
            SHOAL_TRY(shoal_ids_push(&c->turns, list[i]));
    }
    return SHOAL_OK;
}

static int by_number(const void *x, const void *y)
{
    const int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    return (a > b) - (a < b);
}

static int32_t accept_of(const combiner *c, pair p)
{
    const int32_t a = p.a == SHOAL_DFA_NONE ? SHOAL_DFA_NONE : c->a->states[p.a].accept;
    const int32_t b = p.b == SHOAL_DFA_NONE ? SHOAL_DFA_NONE : c->b->states[p.b].accept;
    switch (c->how) {
    case SHOAL_DFA_AND: return b == SHOAL_DFA_NONE ? SHOAL_DFA_NONE : a;
    case SHOAL_DFA_OR: return a == SHOAL_DFA_NONE ? b : a;
    case SHOAL_DFA_MINUS: return b == SHOAL_DFA_NONE ? a : SHOAL_DFA_NONE;
    }
    return SHOAL_DFA_NONE;
}

static int32_t next_of(const shoal_dfa *dfa, int32_t state, int32_t class)
{
    if (state == SHOAL_DFA_NONE || class == SHOAL_DFA_NONE)
        return SHOAL_DFA_NONE;
    return shoal_dfa_follow(dfa, state, class);
}

/* Does what a pair reads matter: can it still be accepted? */
static bool is_alive(const combiner *c, pair p)
{
    if (c->how == SHOAL_DFA_OR)
        return p.a != SHOAL_DFA_NONE || p.b != SHOAL_DFA_NONE;
    return p.a != SHOAL_DFA_NONE && (c->how == SHOAL_DFA_MINUS || p.b != SHOAL_DFA_NONE);
}

static shoal_status combine_state(combiner *c, int32_t state)
{
    const pair from = key_of(&c->states, state);
    SHOAL_TRY(shoal_dfa_add_state(c->out, accept_of(c, from)));
    c->turns.count = 0;
    SHOAL_TRY(add_turns(c, c->a, from.a, c->begin_a, c->of_a));
    if (c->how == SHOAL_DFA_OR)
        SHOAL_TRY(add_turns(c, c->b, from.b, c->begin_b, c->of_b));
    if (c->turns.count)
        qsort(c->turns.data, c->turns.count, sizeof *c->turns.data, by_number);
    SHOAL_TRY(spend(c, 2 * c->turns.count + 2));
    for (size_t i = 0; i < c->turns.count; i++) {
        const int32_t class = c->turns.data[i];
        const pair p = key_of(&c->classes, class);
        const pair to = {next_of(c->a, from.a, p.a), next_of(c->b, from.b, p.b)};
        int32_t number;
        if ((i && c->turns.data[i - 1] == class) || !is_alive(c, to))
            continue;
        SHOAL_TRY(shoal_intern_put(&c->states, &to, sizeof to, &number, NULL));
        SHOAL_TRY(shoal_dfa_add_edge(c->out, class, number));
    }
    return SHOAL_OK;
}

static shoal_status combine_states(combiner *c)
{
    const pair start = {c->a->count ? 0 : SHOAL_DFA_NONE, c->b->count ? 0 : SHOAL_DFA_NONE};
    int32_t number;
    if (!is_alive(c, start))
        return SHOAL_OK;
    SHOAL_TRY(shoal_intern_put(&c->states, &start, sizeof start, &number, NULL));
    for (int32_t s = 0; s < shoal_intern_count(&c->states); s++)
        SHOAL_TRY(combine_state(c, s));
    return shoal_dfa_finish(c->out);
}

static shoal_status copy_item_sets(const shoal_dfa *from, shoal_dfa *to)
{
    for (int32_t i = 0; i < shoal_intern_count(&from->item_sets); i++) {
        size_t bytes;
        int32_t number;
        const void *key = shoal_intern_key(&from->item_sets, i, &bytes);
        SHOAL_TRY(shoal_intern_put(&to->item_sets, key, bytes, &number, NULL));
    }
    return SHOAL_OK;
}

shoal_status shoal_dfa_combine(const shoal_dfa *a, const shoal_dfa *b, shoal_dfa_combination how,
                               uint64_t *budget, shoal_dfa *out)
{
    shoal_dfa dfa = {0};
    combiner c = {.a = a, .b = b, .how = how, .out = &dfa, .budget = budget};
    shoal_status st = copy_item_sets(a, &dfa);
    if (st == SHOAL_OK)
        st = copy_item_sets(b, &dfa);
    if (st == SHOAL_OK)
        st = combine_classes(&c);
    if (st == SHOAL_OK)
        st = list_classes(&c, true, a->classes, &c.begin_a, &c.of_a);
    if (st == SHOAL_OK)
        st = list_classes(&c, false, b->classes, &c.begin_b, &c.of_b);
    if (st == SHOAL_OK)
        st = combine_states(&c);
    shoal_intern_free(&c.classes);
    shoal_intern_free(&c.states);
    shoal_free(c.begin_a);
    shoal_free(c.of_a);
    shoal_free(c.begin_b);
    shoal_free(c.of_b);
    shoal_ids_free(&c.turns);
    if (st == SHOAL_OK)
        *out = dfa;
    else
        shoal_dfa_free(&dfa);
    return st;
}

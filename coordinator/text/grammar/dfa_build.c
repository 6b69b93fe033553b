#include <stdlib.h>
#include <string.h>

#include "coordinator/text/grammar/dfa.h"
#include "proto/arena.h"

/* The end of a list of moves. */
#define NO_MOVE (-1)

/* A set begins to hold, or stops to hold, at a character. */
typedef struct {
    uint32_t at;
    int32_t set;
    bool begins;
} edge_of_set;

/* Of one state: where a class leads, and the next move of the same class. */
typedef struct {
    int32_t node, next;
} move;

typedef struct {
    shoal_nfa *nfa;
    shoal_dfa *dfa;
    int32_t all;          /* the set of all characters                         */
    shoal_intern classes; /* keys: ascending sets that hold for the class       */
    int32_t *of_set;      /* classes of set s: class_list[of_set[s] .. of_set[s + 1]) */
    shoal_ids class_list;
    shoal_intern subsets; /* keys: ascending nodes */
    int32_t *stamps;      /* by node: the closure that visited it last */
    int32_t stamp;
    shoal_ids stack, members, items;
    move *moves;
    size_t move_count, move_capacity;
    int32_t *heads; /* by class: its first move, or NO_MOVE */
    shoal_ids led;  /* classes that have one */
    uint64_t *budget;
} builder;

static shoal_status spend(builder *b, uint64_t steps)
{
    if (steps > *b->budget)
        return shoal_fail(SHOAL_ERR_DATA, "expressions are too large to be made deterministic");
    *b->budget -= steps;
    return SHOAL_OK;
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int by_place(const void *a, const void *b)
{
    const edge_of_set *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->set > y->set) - (x->set < y->set);
}

/* ---- classes of characters ------------------------------------------------------------------- */

static shoal_status collect_edges(const shoal_nfa *nfa, edge_of_set **out, size_t *count)
{
    size_t total = 0, bytes, put = 0;
    for (int32_t s = 0; s < shoal_intern_count(&nfa->sets); s++) {
        (void)shoal_intern_key(&nfa->sets, s, &bytes);
        total += 2 * bytes / sizeof(shoal_char_range);
    }
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, total, sizeof **out, &block));
    edge_of_set *edges = block;
    for (int32_t s = 0; s < shoal_intern_count(&nfa->sets); s++) {
        const shoal_char_range *ranges = shoal_intern_key(&nfa->sets, s, &bytes);
        for (size_t i = 0; i < bytes / sizeof *ranges; i++) {
            edges[put++] = (edge_of_set){ranges[i].first, s, true};
            edges[put++] = (edge_of_set){ranges[i].last + 1, s, false};
        }
    }
    qsort(edges, total, sizeof *edges, by_place); /* the set of all is always there */
    *out = edges;
    *count = total;
    return SHOAL_OK;
}

/* Put into or take out of the ascending list. */
static shoal_status toggle(shoal_ids *list, int32_t id, bool put)
{
    size_t at = 0;
    while (at < list->count && list->data[at] < id)
        at++;
    const size_t rest = (list->count - at) * sizeof *list->data;
    if (put) {
        SHOAL_TRY(shoal_ids_reserve(list, 1));
        memmove(list->data + at + 1, list->data + at, rest);
        list->data[at] = id;
        list->count++;
    } else {
        memmove(list->data + at, list->data + at + 1, rest - sizeof *list->data);
        list->count--;
    }
    return SHOAL_OK;
}

/* Cut the characters where a set begins or ends; equal lists of sets are one class. */
static shoal_status find_classes(builder *b)
{
    shoal_status st = SHOAL_OK;
    shoal_ids holding = {0};
    edge_of_set *edges;
    size_t count;
    SHOAL_TRY(collect_edges(b->nfa, &edges, &count));
    SHOAL_TRY_GOTO(shoal_dfa_add_range(b->dfa, 0, SHOAL_DFA_NONE), done);
    for (size_t i = 0; i < count;) {
        const uint32_t at = edges[i].at;
        int32_t class = SHOAL_DFA_NONE;
        for (; i < count && edges[i].at == at; i++)
            SHOAL_TRY_GOTO(toggle(&holding, edges[i].set, edges[i].begins), done);
        SHOAL_TRY_GOTO(spend(b, holding.count), done);
        if (holding.count)
            SHOAL_TRY_GOTO(shoal_intern_put(&b->classes, holding.data,
                                            holding.count * sizeof *holding.data, &class, NULL),
                           done);
        if (at == 0)
            b->dfa->range_count = 0;
        if (at <= SHOAL_CHAR_MAX)
            SHOAL_TRY_GOTO(shoal_dfa_add_range(b->dfa, at, class), done);
    }
done:
    shoal_ids_free(&holding);
    shoal_free(edges);
    return st;
}

/* The other way round: the classes of each set. */
static shoal_status find_classes_of_sets(builder *b)
{
    const size_t sets = (size_t)shoal_intern_count(&b->nfa->sets);
    void *block;
    size_t bytes, total = 0;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, sets + 2, sizeof *b->of_set, &block));
    b->of_set = block;
    for (int32_t c = 0; c < shoal_intern_count(&b->classes); c++) {
        const int32_t *members = shoal_intern_key(&b->classes, c, &bytes);
        for (size_t i = 0; i < bytes / sizeof *members; i++, total++)
            b->of_set[members[i] + 2]++;
    }
    for (size_t s = 2; s < sets + 2; s++)
        b->of_set[s] += b->of_set[s - 1];
    SHOAL_TRY(shoal_ids_reserve(&b->class_list, total));
    for (int32_t c = 0; c < shoal_intern_count(&b->classes); c++) {
        const int32_t *members = shoal_intern_key(&b->classes, c, &bytes);
        for (size_t i = 0; i < bytes / sizeof *members; i++)
            b->class_list.data[b->of_set[members[i] + 1]++] = c;
    }
    return SHOAL_OK;
}

/* ---- sets of nodes --------------------------------------------------------------------------- */

static shoal_status visit(builder *b, int32_t node)
{
    if (b->stamps[node] == b->stamp)
        return SHOAL_OK;
    b->stamps[node] = b->stamp;
    return shoal_ids_push(&b->stack, node);
}

/* Visit what the nodes on the stack reach without reading: `members` gets the nodes that stay. */
static shoal_status close_stack(builder *b, bool at_begin, bool at_end)
{
    while (b->stack.count) {
        const int32_t id = b->stack.data[--b->stack.count];
        const shoal_nfa_node node = b->nfa->nodes[id];
        SHOAL_TRY(spend(b, 1));
        if (node.kind == SHOAL_NFA_SPLIT) {
            SHOAL_TRY(visit(b, node.next));
            SHOAL_TRY(visit(b, node.with));
        } else if (node.kind == SHOAL_NFA_BEGIN) {
            if (at_begin)
                SHOAL_TRY(visit(b, node.next));
        } else if (node.kind == SHOAL_NFA_END && at_end) {
            SHOAL_TRY(visit(b, node.next));
        } else {
            SHOAL_TRY(shoal_ids_push(&b->members, id));
        }
    }
    return SHOAL_OK;
}

/* With one item only, whoever may end with anything behind it needs no company. */
static void absorb(builder *b)
{
    if (b->nfa->items != 1)
        return;
    for (size_t i = 0; i < b->members.count; i++)
        if (b->nfa->nodes[b->members.data[i]].kind == SHOAL_NFA_TAIL) {
            b->members.data[0] = b->members.data[i];
            b->members.count = 1;
            return;
        }
}

/* The items that match if the text ends with the nodes of `members`. */
static shoal_status accept_of(builder *b, bool at_begin, int32_t *accept)
{
    b->stamp++;
    for (size_t i = 0; i < b->members.count; i++)
        SHOAL_TRY(visit(b, b->members.data[i]));
    b->members.count = b->items.count = 0;
    SHOAL_TRY(close_stack(b, at_begin, true));
    for (size_t i = 0; i < b->members.count; i++) {
        const shoal_nfa_node node = b->nfa->nodes[b->members.data[i]];
        if (node.kind == SHOAL_NFA_ACCEPT || node.kind == SHOAL_NFA_TAIL)
            SHOAL_TRY(shoal_ids_push(&b->items, node.with));
    }
    *accept = SHOAL_DFA_NONE;
    if (b->items.count == 0)
        return SHOAL_OK;
    qsort(b->items.data, b->items.count, sizeof *b->items.data, by_number);
    size_t kept = 1;
    for (size_t i = 1; i < b->items.count; i++)
        if (b->items.data[i] != b->items.data[kept - 1])
            b->items.data[kept++] = b->items.data[i];
    return shoal_intern_put(&b->dfa->item_sets, b->items.data, kept * sizeof *b->items.data, accept,
                            NULL);
}

/* The number of the state with what the stack reaches. The nodes of the start are told from equal
 * ones later by a mark, since `^` may let it accept more. */
static shoal_status state_of_stack(builder *b, bool at_begin, int32_t *state)
{
    bool fresh;
    b->members.count = 0;
    SHOAL_TRY(close_stack(b, at_begin, false));
    absorb(b);
    if (at_begin)
        SHOAL_TRY(shoal_ids_push(&b->members, -1));
    if (b->members.count)
        qsort(b->members.data, b->members.count, sizeof *b->members.data, by_number);
    SHOAL_TRY(shoal_intern_put(&b->subsets, b->members.data,
                               b->members.count * sizeof *b->members.data, state, &fresh));
    if (fresh && *state >= SHOAL_DFA_STATES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "an expression needs more than %d states",
                          SHOAL_DFA_STATES_MAX);
    return SHOAL_OK;
}

/* ---- states ---------------------------------------------------------------------------------- */

static shoal_status add_moves(builder *b, int32_t set, int32_t next)
{
    const int32_t begin = b->of_set[set], end = b->of_set[set + 1];
    void *block = b->moves;
    SHOAL_TRY(spend(b, (size_t)(end - begin)));
    SHOAL_TRY(shoal_grow(&block, sizeof *b->moves, b->move_count, (size_t)(end - begin),
                         &b->move_capacity));
    b->moves = block;
    for (int32_t i = begin; i < end; i++) {
        int32_t *head = &b->heads[b->class_list.data[i]];
        if (*head == NO_MOVE)
            SHOAL_TRY(shoal_ids_push(&b->led, b->class_list.data[i]));
        b->moves[b->move_count] = (move){next, *head};
        *head = (int32_t)b->move_count++;
    }
    return SHOAL_OK;
}

static shoal_status add_edges(builder *b)
{
    if (b->led.count)
        qsort(b->led.data, b->led.count, sizeof *b->led.data, by_number);
    for (size_t i = 0; i < b->led.count; i++) {
        int32_t *head = &b->heads[b->led.data[i]], to;
        b->stamp++;
        for (; *head != NO_MOVE; *head = b->moves[*head].next)
            SHOAL_TRY(visit(b, b->moves[*head].node));
        SHOAL_TRY(state_of_stack(b, false, &to));
        SHOAL_TRY(shoal_dfa_add_edge(b->dfa, b->led.data[i], to));
    }
    return SHOAL_OK;
}

static shoal_status build_state(builder *b, int32_t state)
{
    size_t bytes;
    const int32_t *nodes = shoal_intern_key(&b->subsets, state, &bytes);
    const bool at_begin = state == 0;
    int32_t accept;
    SHOAL_TRY(spend(b, 2));
    b->members.count = b->move_count = b->led.count = 0;
    for (size_t i = at_begin; i < bytes / sizeof *nodes; i++) {
        const shoal_nfa_node node = b->nfa->nodes[nodes[i]];
        SHOAL_TRY(shoal_ids_push(&b->members, nodes[i]));
        if (node.kind == SHOAL_NFA_READ)
            SHOAL_TRY(add_moves(b, node.with, node.next));
        else if (node.kind == SHOAL_NFA_TAIL)
            SHOAL_TRY(add_moves(b, b->all, nodes[i]));
    }
    SHOAL_TRY(accept_of(b, at_begin, &accept));
    SHOAL_TRY(shoal_dfa_add_state(b->dfa, accept));
    return add_edges(b);
}

static shoal_status build_states(builder *b)
{
    void *block;
    int32_t start;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, b->nfa->count, sizeof *b->stamps, &block));
    b->stamps = block;
    b->stamp = 1;
    const size_t classes = (size_t)shoal_intern_count(&b->classes);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, classes, sizeof *b->heads, &block));
    b->heads = block;
    for (size_t c = 0; c < classes; c++)
        b->heads[c] = NO_MOVE;
    for (size_t i = 0; i < b->nfa->roots.count; i++)
        SHOAL_TRY(visit(b, b->nfa->roots.data[i]));
    SHOAL_TRY(state_of_stack(b, true, &start));
    for (int32_t s = 0; s < shoal_intern_count(&b->subsets); s++)
        SHOAL_TRY(build_state(b, s));
    return shoal_dfa_finish(b->dfa);
}

/* Accepting whatever follows reads all characters. */
static shoal_status add_all(builder *b)
{
    shoal_charset all = {0};
    shoal_status st = shoal_charset_negate(&all);
    if (st == SHOAL_OK)
        st = shoal_intern_put(&b->nfa->sets, all.data, all.count * sizeof *all.data, &b->all, NULL);
    shoal_charset_free(&all);
    return st;
}

shoal_status shoal_dfa_build(shoal_nfa *nfa, uint64_t *budget, shoal_dfa *out)
{
    shoal_dfa dfa = {0};
    builder b = {.nfa = nfa, .dfa = &dfa, .budget = budget};
    shoal_status st = spend(&b, nfa->count + nfa->work);
    if (st == SHOAL_OK)
        st = add_all(&b);
    if (st == SHOAL_OK)
        st = find_classes(&b);
    if (st == SHOAL_OK)
        st = find_classes_of_sets(&b);
    if (st == SHOAL_OK)
        st = build_states(&b);
    shoal_intern_free(&b.classes);
    shoal_free(b.of_set);
    shoal_ids_free(&b.class_list);
    shoal_intern_free(&b.subsets);
    shoal_free(b.stamps);
    shoal_free(b.heads);
    shoal_ids_free(&b.led);
    shoal_ids_free(&b.stack);
    shoal_ids_free(&b.members);
    shoal_ids_free(&b.items);
    shoal_free(b.moves);
    if (st == SHOAL_OK)
        *out = dfa;
    else
        shoal_dfa_free(&dfa);
    return st;
}

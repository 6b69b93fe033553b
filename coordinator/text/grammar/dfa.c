#include "coordinator/text/grammar/dfa.h"

#include <string.h>

#include "proto/arena.h"

void shoal_dfa_free(shoal_dfa *dfa)
{
    shoal_free(dfa->ranges);
    shoal_free(dfa->states);
    shoal_free(dfa->edges);
    shoal_free(dfa->costs);
    shoal_intern_free(&dfa->item_sets);
    *dfa = (shoal_dfa){0};
}

shoal_status shoal_dfa_add_range(shoal_dfa *dfa, uint32_t first, int32_t class)
{
    const size_t n = dfa->range_count;
    if (n && dfa->ranges[n - 1].class == class)
        return SHOAL_OK;
    void *block = dfa->ranges;
    SHOAL_TRY(shoal_grow(&block, sizeof *dfa->ranges, n, 1, &dfa->range_capacity));
    dfa->ranges = block;
    dfa->ranges[dfa->range_count++] = (shoal_dfa_range){first, class};
    if (class >= dfa->classes)
        dfa->classes = class + 1;
    return SHOAL_OK;
}

shoal_status shoal_dfa_add_state(shoal_dfa *dfa, int32_t accept)
{
    if (dfa->count >= SHOAL_DFA_STATES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "an automaton of more than %d states",
                          SHOAL_DFA_STATES_MAX);
    void *block = dfa->states;
    SHOAL_TRY(shoal_grow(&block, sizeof *dfa->states, dfa->count, 2, &dfa->capacity));
    dfa->states = block;
    dfa->states[dfa->count++] =
        (shoal_dfa_state){.edges = (int32_t)dfa->edge_count, .accept = accept};
    return SHOAL_OK;
}

shoal_status shoal_dfa_add_edge(shoal_dfa *dfa, int32_t class, int32_t to)
{
    if (dfa->edge_count >= SHOAL_DFA_EDGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "an automaton of more than %u edges",
                          SHOAL_DFA_EDGES_MAX);
    void *block = dfa->edges;
    SHOAL_TRY(shoal_grow(&block, sizeof *dfa->edges, dfa->edge_count, 1, &dfa->edge_capacity));
    dfa->edges = block;
    dfa->edges[dfa->edge_count++] = (shoal_dfa_edge){class, to};
    return SHOAL_OK;
}

/* ---- states that lead nowhere ---------------------------------------------------------------- */

/* Edges turned round: those into state s are edges[begin[s] .. begin[s + 1]), `to` being where they
 * come from. */
typedef struct {
    int32_t *begin;
    shoal_dfa_edge *edges;
} reverse;

static void reverse_free(reverse *r)
{
    shoal_free(r->begin);
    shoal_free(r->edges);
    *r = (reverse){0};
}

static shoal_status reverse_make(const shoal_dfa *dfa, reverse *r)
{
    void *block;
    *r = (reverse){0};
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, dfa->count + 2, sizeof *r->begin, &block));
    r->begin = block;
    if (shoal_alloc_array(SHOAL_MEM_TEXT, dfa->edge_count, sizeof *r->edges, &block) != SHOAL_OK) {
        reverse_free(r);
        return SHOAL_ERR_TEMPORARY;
    }
    r->edges = block;
    for (size_t e = 0; e < dfa->edge_count; e++)
        r->begin[dfa->edges[e].to + 2]++;
    for (size_t s = 2; s < dfa->count + 2; s++)
        r->begin[s] += r->begin[s - 1];
    for (size_t s = 0; s < dfa->count; s++)
        for (int32_t e = dfa->states[s].edges; e < dfa->states[s + 1].edges; e++)
            r->edges[r->begin[dfa->edges[e].to + 1]++] =
                (shoal_dfa_edge){dfa->edges[e].class, (int32_t)s};
    return SHOAL_OK;
}

/* Mark (new number 1) what reaches an accepting state; `queue` has room for all states. */
static void mark_useful(const shoal_dfa *dfa, const reverse *r, int32_t *number, int32_t *queue)
{
    size_t head = 0, tail = 0;
    for (size_t s = 0; s < dfa->count; s++)
        if (dfa->states[s].accept != SHOAL_DFA_NONE) {
            number[s] = 1;
            queue[tail++] = (int32_t)s;
        }
    while (head < tail) {
        const int32_t to = queue[head++];
        for (int32_t i = r->begin[to]; i < r->begin[to + 1]; i++) {
            const int32_t from = r->edges[i].to;
            if (!number[from]) {
                number[from] = 1;
                queue[tail++] = from;
            }
        }
    }
}

/* Keep the marked states in their order. */
static void squeeze(shoal_dfa *dfa, int32_t *number)
{
    int32_t kept = 0;
    size_t edges = 0;
    for (size_t s = 0; s < dfa->count; s++)
        number[s] = number[s] ? kept++ : SHOAL_DFA_NONE;
    for (size_t s = 0; s < dfa->count; s++) {
        const shoal_dfa_state old = dfa->states[s];
        const int32_t end = dfa->states[s + 1].edges;
        if (number[s] == SHOAL_DFA_NONE)
            continue;
        dfa->states[number[s]] = old;
        dfa->states[number[s]].edges = (int32_t)edges;
        for (int32_t e = old.edges; e < end; e++) {
            const shoal_dfa_edge edge = dfa->edges[e];
            if (number[edge.to] != SHOAL_DFA_NONE)
                dfa->edges[edges++] = (shoal_dfa_edge){edge.class, number[edge.to]};
        }
    }
    dfa->count = (size_t)kept;
    dfa->edge_count = edges;
    dfa->states[kept].edges = (int32_t)edges;
}

shoal_status shoal_dfa_finish(shoal_dfa *dfa)
{
    reverse r = {0};
    void *number = NULL, *queue = NULL;
    shoal_status st = SHOAL_OK;
    if (dfa->count == 0)
        return SHOAL_OK;
    dfa->states[dfa->count].edges = (int32_t)dfa->edge_count;
    SHOAL_TRY(reverse_make(dfa, &r));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_TEXT, dfa->count, sizeof(int32_t), &number), done);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_TEXT, dfa->count, sizeof(int32_t), &queue), done);
    mark_useful(dfa, &r, number, queue);
    if (((int32_t *)number)[0])
        squeeze(dfa, number);
    else
        dfa->count = dfa->edge_count = 0;
done:
    shoal_free(queue);
    shoal_free(number);
    reverse_free(&r);
    return st;
}

/* ---- how far to the end ---------------------------------------------------------------------- */

static bool is_short_escape(uint32_t c)
{
    return c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v');
}

int32_t shoal_json_char_least(uint32_t first, uint32_t last)
{
    for (uint32_t c = first; c <= last && c < 0x80; c++) /* quick: most are found at once */
        if (c >= ' ' && c != '"' && c != '\\')
            return 1;
    for (uint32_t c = first; c <= last && c < 0x80; c++)
        if (is_short_escape(c))
            return 2;
    if (last >= 0x80 && first < 0x800)
        return 2;
    if (last >= 0x800 && first < 0x10000)
        return 3;
    return last >= 0x10000 ? 4 : 6;
}

static int32_t plain_char_least(uint32_t first)
{
    return first < 0x80 ? 1 : first < 0x800 ? 2 : first < 0x10000 ? 3 : 4;
}

static void class_costs(const shoal_dfa *dfa, bool json_string, int32_t *costs)
{
    for (size_t i = 0; i < dfa->range_count; i++) {
        const shoal_dfa_range range = dfa->ranges[i];
        const uint32_t last =
            i + 1 < dfa->range_count ? dfa->ranges[i + 1].first - 1 : SHOAL_CHAR_MAX;
        const int32_t cost =
            json_string ? shoal_json_char_least(range.first, last) : plain_char_least(range.first);
        if (range.class != SHOAL_DFA_NONE && (costs[range.class] == 0 || cost < costs[range.class]))
            costs[range.class] = cost;
    }
}

/* States that wait, by their distance: a character costs at most COST_MAX bytes, so those that wait
 * are never further apart. */
#define COST_MAX 6

typedef struct {
    const shoal_dfa *dfa;
    int32_t *distances;
    shoal_ids waiting[COST_MAX + 1];
    size_t count;
} spread;

static shoal_status reach(spread *p, int32_t state, int32_t distance)
{
    if (distance >= p->distances[state])
        return SHOAL_OK;
    p->distances[state] = distance;
    p->count++;
    return shoal_ids_push(&p->waiting[distance % (COST_MAX + 1)], state);
}

/* From the states that were reached along all edges, or against them; nearest first, each state
 * once. */
static shoal_status spread_out(spread *p, const int32_t *costs, const reverse *against)
{
    for (int32_t d = 0; p->count; d++) {
        shoal_ids *now = &p->waiting[d % (COST_MAX + 1)];
        p->count -= now->count;
        while (now->count) {
            const int32_t s = now->data[--now->count];
            const shoal_dfa_edge *edges = against ? against->edges : p->dfa->edges;
            const int32_t begin = against ? against->begin[s] : p->dfa->states[s].edges;
            const int32_t end = against ? against->begin[s + 1] : p->dfa->states[s + 1].edges;
            for (int32_t e = begin; p->distances[s] == d && e < end; e++)
                SHOAL_TRY(reach(p, edges[e].to, d + costs[edges[e].class]));
        }
    }
    return SHOAL_OK;
}

static shoal_status spread_begin(const shoal_dfa *dfa, spread *p)
{
    void *block;
    *p = (spread){.dfa = dfa};
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, dfa->count, sizeof *p->distances, &block));
    p->distances = block;
    for (size_t s = 0; s < dfa->count; s++)
        p->distances[s] = INT32_MAX;
    return SHOAL_OK;
}

static void spread_end(spread *p)
{
    for (size_t i = 0; i <= COST_MAX; i++)
        shoal_ids_free(&p->waiting[i]);
    shoal_free(p->distances);
}

/* Against the edges, from the states that accept. */
static shoal_status find_least(shoal_dfa *dfa)
{
    spread p;
    reverse r = {0};
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(spread_begin(dfa, &p));
    SHOAL_TRY_GOTO(reverse_make(dfa, &r), done);
    for (size_t s = 0; s < dfa->count; s++)
        if (dfa->states[s].accept != SHOAL_DFA_NONE)
            SHOAL_TRY_GOTO(reach(&p, (int32_t)s, 0), done);
    SHOAL_TRY_GOTO(spread_out(&p, dfa->costs, &r), done);
    for (size_t s = 0; s < dfa->count; s++)
        dfa->states[s].least = p.distances[s];
done:
    reverse_free(&r);
    spread_end(&p);
    return st;
}

shoal_status shoal_dfa_measure(shoal_dfa *dfa, bool json_string)
{
    void *block;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)dfa->classes + 1, sizeof *dfa->costs, &block));
    dfa->costs = block;
    class_costs(dfa, json_string, dfa->costs);
    return find_least(dfa);
}

shoal_status shoal_dfa_shortest(const shoal_dfa *dfa, int32_t *bytes)
{
    void *costs = NULL;
    spread p;
    shoal_status st = SHOAL_OK;
    for (int32_t i = 0; i < shoal_intern_count(&dfa->item_sets); i++)
        bytes[i] = INT32_MAX;
    SHOAL_TRY(spread_begin(dfa, &p));
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)dfa->classes + 1, sizeof(int32_t), &costs),
        done);
    class_costs(dfa, true, costs);
    if (dfa->count)
        SHOAL_TRY_GOTO(reach(&p, 0, 0), done);
    SHOAL_TRY_GOTO(spread_out(&p, costs, NULL), done);
    for (size_t s = 0; s < dfa->count; s++) {
        const int32_t accept = dfa->states[s].accept;
        if (accept != SHOAL_DFA_NONE && p.distances[s] < bytes[accept])
            bytes[accept] = p.distances[s];
    }
done:
    shoal_free(costs);
    spread_end(&p);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t range_of(const shoal_dfa *dfa, uint32_t c)
{
    size_t low = 0, high = dfa->range_count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (dfa->ranges[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t shoal_dfa_ranges(const shoal_dfa *dfa, uint32_t first, uint32_t last)
{
    return range_of(dfa, last) - range_of(dfa, first) + 1;
}

int32_t shoal_dfa_follow(const shoal_dfa *dfa, int32_t state, int32_t class)
{
    int32_t low = dfa->states[state].edges, high = dfa->states[state + 1].edges;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (dfa->edges[middle].class == class)
            return dfa->edges[middle].to;
        if (dfa->edges[middle].class < class)
            low = middle + 1;
        else
            high = middle;
    }
    return SHOAL_DFA_NONE;
}

int32_t shoal_dfa_next(const shoal_dfa *dfa, int32_t state, uint32_t c)
{
    return shoal_dfa_follow(dfa, state, dfa->ranges[range_of(dfa, c)].class);
}

int32_t shoal_dfa_visit(const shoal_dfa *dfa, int32_t state, uint32_t first, uint32_t last,
                        size_t *cursor)
{
    size_t i = *cursor ? *cursor : range_of(dfa, first);
    for (; i < dfa->range_count && dfa->ranges[i].first <= last; i++) {
        const int32_t to = shoal_dfa_follow(dfa, state, dfa->ranges[i].class);
        if (to != SHOAL_DFA_NONE) {
            *cursor = i + 1;
            return to;
        }
    }
    *cursor = i;
    return SHOAL_DFA_NONE;
}

bool shoal_dfa_one_way(const shoal_dfa *dfa, int32_t state, uint32_t first, uint32_t last,
                       int32_t *to)
{
    bool known = false;
    for (size_t i = range_of(dfa, first); i < dfa->range_count && dfa->ranges[i].first <= last;
         i++) {
        const uint32_t begin = dfa->ranges[i].first;
        const uint32_t end =
            i + 1 < dfa->range_count ? dfa->ranges[i + 1].first - 1 : SHOAL_CHAR_MAX;
        if (begin >= SHOAL_SURROGATE_FIRST && end <= SHOAL_SURROGATE_LAST)
            continue; /* no characters */
        const int32_t class = dfa->ranges[i].class;
        const int32_t next =
            class == SHOAL_DFA_NONE ? SHOAL_DFA_NONE : shoal_dfa_follow(dfa, state, class);
        if (known && next != *to)
            return false;
        known = true;
        *to = next;
    }
    return known;
}

bool shoal_dfa_one_class(const shoal_dfa *dfa, uint32_t first, uint32_t last, int32_t *class)
{
    const size_t range = range_of(dfa, first);
    *class = dfa->ranges[range].class;
    return range + 1 == dfa->range_count || dfa->ranges[range + 1].first > last;
}

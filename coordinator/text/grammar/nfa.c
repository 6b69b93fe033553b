#include "coordinator/text/grammar/nfa.h"

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

void shoal_nfa_free(shoal_nfa *nfa)
{
    shoal_free(nfa->nodes);
    shoal_intern_free(&nfa->sets);
    shoal_ids_free(&nfa->roots);
    *nfa = (shoal_nfa){0};
}

shoal_status shoal_nfa_add(shoal_nfa *nfa, shoal_nfa_kind kind, int32_t next, int32_t with,
                           int32_t *id)
{
    if (nfa->count >= SHOAL_NFA_NODES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "expressions of more than %d nodes", SHOAL_NFA_NODES_MAX);
    void *block = nfa->nodes;
    SHOAL_TRY(shoal_grow(&block, sizeof *nfa->nodes, nfa->count, 1, &nfa->capacity));
    nfa->nodes = block;
    *id = (int32_t)nfa->count;
    nfa->nodes[nfa->count++] = (shoal_nfa_node){.kind = kind, .next = next, .with = with};
    if ((kind == SHOAL_NFA_ACCEPT || kind == SHOAL_NFA_TAIL) && with >= nfa->items)
        nfa->items = with + 1;
    return SHOAL_OK;
}

static shoal_status number_ranges(shoal_nfa *nfa, const shoal_char_range *ranges, size_t count,
                                  int32_t *number)
{
    nfa->work += count;
    return shoal_intern_put(&nfa->sets, ranges, count * sizeof *ranges, number, NULL);
}

shoal_status shoal_nfa_set(shoal_nfa *nfa, const shoal_charset *set, int32_t *number)
{
    return number_ranges(nfa, set->data, set->count, number);
}

shoal_status shoal_nfa_literal(shoal_nfa *nfa, const char *text, size_t bytes, int32_t item)
{
    int32_t next;
    SHOAL_TRY(shoal_nfa_add(nfa, SHOAL_NFA_ACCEPT, 0, item, &next));
    for (size_t at = bytes; at > 0;) {
        const uint32_t c = shoal_utf8_previous(text, &at);
        const shoal_char_range range = {c, c};
        int32_t set;
        SHOAL_TRY(number_ranges(nfa, &range, 1, &set));
        SHOAL_TRY(shoal_nfa_add(nfa, SHOAL_NFA_READ, next, set, &next));
    }
    return shoal_ids_push(&nfa->roots, next);
}

shoal_status shoal_nfa_any(shoal_nfa *nfa, int32_t least, int32_t most, int32_t item)
{
    static const shoal_char_range all[] = {{0, SHOAL_SURROGATE_FIRST - 1},
                                           {SHOAL_SURROGATE_LAST + 1, SHOAL_CHAR_MAX}};
    int32_t end, next, set;
    SHOAL_TRY(number_ranges(nfa, all, 2, &set));
    SHOAL_TRY(shoal_nfa_add(nfa, most < 0 ? SHOAL_NFA_TAIL : SHOAL_NFA_ACCEPT, 0, item, &end));
    next = end;
    for (int32_t i = most < 0 ? least : most; i > 0; i--) {
        SHOAL_TRY(shoal_nfa_add(nfa, SHOAL_NFA_READ, next, set, &next));
        if (i > least)
            SHOAL_TRY(shoal_nfa_add(nfa, SHOAL_NFA_SPLIT, next, end, &next));
    }
    return shoal_ids_push(&nfa->roots, next);
}

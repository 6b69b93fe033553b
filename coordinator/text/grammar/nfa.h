/* coordinator/text/grammar/nfa.h - one or more expressions over characters as a graph: the step
 * between a parsed expression and its deterministic automaton.
 *
 * A node is left without reading (split, assertions) or by a character of a set. Accepting nodes
 * name the item that matched, so that many property names and patterns are read at once. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_NFA_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_NFA_H

#include "coordinator/text/grammar/charset.h"
#include "coordinator/text/grammar/intern.h"

#define SHOAL_NFA_NODES_MAX (1 << 20)

typedef enum {
    SHOAL_NFA_READ,   /* a character of set `with`, then `next`        */
    SHOAL_NFA_SPLIT,  /* `next` or `with`                              */
    SHOAL_NFA_BEGIN,  /* only before the first character, then `next`  */
    SHOAL_NFA_END,    /* only behind the last character, then `next`   */
    SHOAL_NFA_ACCEPT, /* item `with` matched if the text ends          */
    SHOAL_NFA_TAIL    /* item `with` matched whatever follows          */
} shoal_nfa_kind;

typedef struct {
    shoal_nfa_kind kind;
    int32_t next, with;
} shoal_nfa_node;

typedef struct {
    shoal_nfa_node *nodes;
    size_t count, capacity;
    shoal_intern sets; /* keys: arrays of shoal_char_range, settled */
    shoal_ids roots;   /* where texts start                         */
    int32_t items;     /* items are 0 .. items - 1                  */
    uint64_t work;     /* steps that making it took, to be paid     */
} shoal_nfa;

/* All zero is a valid empty graph, which matches nothing. */
void shoal_nfa_free(shoal_nfa *nfa);

/* *id = the new node. SHOAL_ERR_DATA beyond SHOAL_NFA_NODES_MAX. */
SHOAL_MUST_USE shoal_status shoal_nfa_add(shoal_nfa *nfa, shoal_nfa_kind kind, int32_t next,
                                          int32_t with, int32_t *id);

/* *number = the settled set's, for nodes that read. */
SHOAL_MUST_USE shoal_status shoal_nfa_set(shoal_nfa *nfa, const shoal_charset *set,
                                          int32_t *number);

/* The text (valid UTF-8) itself as one more expression, matching as `item`. */
SHOAL_MUST_USE shoal_status shoal_nfa_literal(shoal_nfa *nfa, const char *text, size_t bytes,
                                              int32_t item);

/* Any text whose number of characters is within [least, most]; most < 0: no limit. */
SHOAL_MUST_USE shoal_status shoal_nfa_any(shoal_nfa *nfa, int32_t least, int32_t most,
                                          int32_t item);

#endif

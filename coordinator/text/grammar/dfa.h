/* coordinator/text/grammar/dfa.h - a deterministic automaton over characters.
 *
 * States are 0 .. states - 1, 0 is the start; without states it accepts nothing. Characters that it
 * does not tell apart form a class; an edge leads from a state by a class to a state, no edge means
 * no. An accepting state names the set of items (see nfa.h) that match there. From every state an
 * accepting one can be reached. Immutable once built and measured. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_DFA_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_DFA_H

#include "coordinator/text/grammar/nfa.h"

#define SHOAL_DFA_STATES_MAX (1 << 20)
#define SHOAL_DFA_EDGES_MAX  (4u << 20)
#define SHOAL_DFA_NONE       (-1)

typedef struct {
    uint32_t first; /* the range reaches to the next one's first */
    int32_t class;  /* SHOAL_DFA_NONE: no state wants these      */
} shoal_dfa_range;

typedef struct {
    int32_t class, to;
} shoal_dfa_edge;

typedef struct {
    int32_t edges;  /* index of its first edge; they end where those of the next state begin */
    int32_t accept; /* number of a set of items, or SHOAL_DFA_NONE */
    int32_t least;  /* fewest bytes of JSON string (or of plain text) to an accepting state */
} shoal_dfa_state;

typedef struct {
    shoal_dfa_range *ranges; /* ascending, the first at 0; the last reaches to the last character */
    size_t range_count, range_capacity;
    int32_t classes;
    shoal_dfa_state *states; /* one more than `count`: the end of the edges */
    size_t count, capacity;
    shoal_dfa_edge *edges; /* ascending by class within a state */
    size_t edge_count, edge_capacity;
    shoal_intern item_sets; /* keys: ascending arrays of int32_t */
    int32_t *costs;         /* by class: fewest bytes of a character; filled by measuring */
} shoal_dfa;

typedef enum { SHOAL_DFA_AND, SHOAL_DFA_OR, SHOAL_DFA_MINUS } shoal_dfa_combination;

/* What the graph accepts. *budget counts elementary steps down; SHOAL_ERR_DATA when it is spent or
 * a limit is passed. */
SHOAL_MUST_USE shoal_status shoal_dfa_build(shoal_nfa *nfa, uint64_t *budget, shoal_dfa *out);

/* Texts that both, one of, or the first but not the second accept. Item sets are those of `a`; with
 * SHOAL_DFA_OR both must have one item only. */
SHOAL_MUST_USE shoal_status shoal_dfa_combine(const shoal_dfa *a, const shoal_dfa *b,
                                              shoal_dfa_combination how, uint64_t *budget,
                                              shoal_dfa *out);

/* Fill `costs` and `least`: for characters inside a JSON string (escaped where they must be), or as
 * they are. */
SHOAL_MUST_USE shoal_status shoal_dfa_measure(shoal_dfa *dfa, bool json_string);
void shoal_dfa_free(shoal_dfa *dfa);

/* bytes[i] = bytes of the shortest JSON string at which item set i is accepted; INT32_MAX: none. */
SHOAL_MUST_USE shoal_status shoal_dfa_shortest(const shoal_dfa *dfa, int32_t *bytes);

/* The state behind a class, or behind a character; SHOAL_DFA_NONE: none. */
int32_t shoal_dfa_follow(const shoal_dfa *dfa, int32_t state, int32_t class);
int32_t shoal_dfa_next(const shoal_dfa *dfa, int32_t state, uint32_t c);

/* The states behind the characters [first, last], one per call and some of them twice; *cursor is 0
 * before the first call. SHOAL_DFA_NONE: no more. */
int32_t shoal_dfa_visit(const shoal_dfa *dfa, int32_t state, uint32_t first, uint32_t last,
                        size_t *cursor);

/* How many ranges the characters [first, last] are in: what the functions above and below look at,
 * at most. */
size_t shoal_dfa_ranges(const shoal_dfa *dfa, uint32_t first, uint32_t last);

/* Do all characters of [first, last] lead from a state to the same, NONE being one? Which. */
bool shoal_dfa_one_way(const shoal_dfa *dfa, int32_t state, uint32_t first, uint32_t last,
                       int32_t *to);

/* Are all characters of [first, last] of one class? Which. */
bool shoal_dfa_one_class(const shoal_dfa *dfa, uint32_t first, uint32_t last, int32_t *class);

/* Fewest bytes of a character of [first, last] inside a JSON string. */
int32_t shoal_json_char_least(uint32_t first, uint32_t last);

/* While building: a range that starts at `first`, a state (its edges follow), an edge of it. */
SHOAL_MUST_USE shoal_status shoal_dfa_add_range(shoal_dfa *dfa, uint32_t first, int32_t class);
SHOAL_MUST_USE shoal_status shoal_dfa_add_state(shoal_dfa *dfa, int32_t accept);
SHOAL_MUST_USE shoal_status shoal_dfa_add_edge(shoal_dfa *dfa, int32_t class, int32_t to);

/* The last step of building: ends the edges and drops states that lead nowhere. */
SHOAL_MUST_USE shoal_status shoal_dfa_finish(shoal_dfa *dfa);

#endif

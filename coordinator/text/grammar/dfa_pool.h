/* coordinator/text/grammar/dfa_pool.h - the automata of one grammar: each made once, by number.
 *
 * The same expression, or the same two combined in the same way, is the same automaton. All of them
 * share one budget of work, so a schema with many costs no more than a large one, and all else that
 * compiling does is paid from it, too. Private to the compiling of grammars. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_DFA_POOL_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_DFA_POOL_H

#include "coordinator/text/grammar/dfa.h"
#include "coordinator/text/grammar/regex.h"

/* Elementary steps, of some 50 ns and 10 bytes each. */
#define SHOAL_DFA_POOL_BUDGET (16u << 20)

typedef struct {
    shoal_dfa *dfas;
    size_t count, capacity;
    shoal_intern recipes; /* how automata came about        */
    shoal_ids made;       /* by recipe: the automaton       */
    uint64_t budget;
} shoal_dfa_pool;

/* An empty pool. */
shoal_dfa_pool shoal_dfa_pool_make(void);
void shoal_dfa_pool_free(shoal_dfa_pool *pool);

/* Count other work of compiling. SHOAL_ERR_DATA when the budget is spent. */
SHOAL_MUST_USE shoal_status shoal_dfa_pool_spend(shoal_dfa_pool *pool, uint64_t steps);

/* *id = what a recipe made; SHOAL_DFA_NONE for a new one: the next automaton is its. */
SHOAL_MUST_USE shoal_status shoal_dfa_pool_find(shoal_dfa_pool *pool, const void *recipe,
                                                size_t bytes, int32_t *id);

/* *id = the automaton of an expression. */
SHOAL_MUST_USE shoal_status shoal_dfa_pool_regex(shoal_dfa_pool *pool, const char *regex,
                                                 size_t bytes, shoal_regex_use use, int32_t *id);
SHOAL_MUST_USE shoal_status shoal_dfa_pool_combine(shoal_dfa_pool *pool, int32_t a, int32_t b,
                                                   shoal_dfa_combination how, int32_t *id);

/* *id = the automaton of a graph; a new one each time. */
SHOAL_MUST_USE shoal_status shoal_dfa_pool_graph(shoal_dfa_pool *pool, shoal_nfa *nfa, int32_t *id);

/* Take over a finished automaton, also when this fails. */
SHOAL_MUST_USE shoal_status shoal_dfa_pool_add(shoal_dfa_pool *pool, shoal_dfa *dfa, int32_t *id);

#endif

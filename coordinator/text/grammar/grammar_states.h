/* coordinator/text/grammar/grammar_states.h - where a text stands in a grammar: the automaton made
 * deterministic, state by state, as texts reach it.
 *
 * A state is a set of (place in a rule, stack of calls), interned, so that equal situations have
 * equal numbers and what was found out about one is kept: its next state by byte, whether the text
 * may end, how far the end is. Stacks are shared lists. The table only grows, up to a limit
 * (SHOAL_GRAMMAR_STATES_MAX), at which stepping into new states fails; whoever owns it then makes a
 * new one and walks the text again. Belongs to one thread. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_STATES_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/grammar/charset.h"
#include "coordinator/text/grammar/grammar.h"

#define SHOAL_GRAMMAR_DEAD       (-1)
#define SHOAL_GRAMMAR_STATES_MAX (1 << 16)
#define SHOAL_GRAMMAR_PLACES_MAX 1024

/* Work is counted in elementary steps: a place that is looked at, an edge, some names of an object;
 * each takes some 50 ns. What was found out before costs nothing. */

typedef struct shoal_grammar_states shoal_grammar_states;

/* The grammar is shared. */
SHOAL_MUST_USE shoal_status shoal_grammar_states_create(shoal_grammar *grammar,
                                                        shoal_grammar_states **out);
void shoal_grammar_states_destroy(shoal_grammar_states *states); /* NULL is allowed */

/* Pay for work from *budget (borrowed) from now on; NULL, as in the beginning: it has no limit. Who
 * finds it at 0 behind a step that failed knows why; what was found out is kept. */
void shoal_grammar_states_pay_from(shoal_grammar_states *states, uint64_t *budget);

/* The state of the empty text. */
int32_t shoal_grammar_start(shoal_grammar_states *states);

/* The state behind one more byte; SHOAL_GRAMMAR_DEAD when no accepted text goes on like that.
 * SHOAL_ERR_TEMPORARY for want of memory, SHOAL_ERR_DATA when a limit
 * is reached (states, places of one state, work). Nesting stops where SHOAL_FRAME_DEPTH_MAX leaves
 * no room for what must be inside. */
SHOAL_MUST_USE shoal_status shoal_grammar_step(shoal_grammar_states *states, int32_t state,
                                               uint8_t byte, int32_t *next);

/* The state behind one character beyond ASCII, where it is the same for all of them; DEAD where it
 * is not, or inside a character. Fails as shoal_grammar_step does. */
SHOAL_MUST_USE shoal_status shoal_grammar_step_beyond_ascii(shoal_grammar_states *states,
                                                            int32_t state, int32_t *next);

/* Is it plain that all bytes of these ranges of ASCII lead to the same state, or to none? False:
 * not known. Cheaper than stepping over two of them. */
bool shoal_grammar_alike(shoal_grammar_states *states, int32_t state,
                         const shoal_char_range *ranges, size_t count);

/* May the text end here? And must it (nothing but white space can follow)? */
bool shoal_grammar_may_end(const shoal_grammar_states *states, int32_t state);
bool shoal_grammar_must_end(const shoal_grammar_states *states, int32_t state);

/* The fewest bytes that complete the text; 0 where it may end. Exact, so from every state with a
 * distance above 0 some byte leads to one that is smaller by 1. Not of SHOAL_GRAMMAR_DEAD. */
int64_t shoal_grammar_distance(const shoal_grammar_states *states, int32_t state);

/* Has the table reached a limit, so that a failed step may succeed in a new one? */
bool shoal_grammar_states_full(const shoal_grammar_states *states);

/* Number of states so far: they are 0 .. count - 1. */
int32_t shoal_grammar_state_count(const shoal_grammar_states *states);

#endif

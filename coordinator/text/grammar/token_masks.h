/* coordinator/text/grammar/token_masks.h - which tokens may come next, for the states of a grammar.
 *
 * A token may come when each of its bytes can be stepped over. What was found out about a state is
 * kept, so that it costs a copy the next time; a few states are kept, the last used ones.
 *
 * Near its end a text must be closed in time. A byte costs at most one token where every byte has
 * a token of its own, so a token is safe if the state behind it is no more bytes from the end than
 * tokens are left afterwards; once a text is safe it stays so. As long as no token is safe, those
 * that leave more than SHOAL_BYTES_PER_TOKEN bytes for every token left are not allowed, or, if
 * that leaves none, all but those that come closest to the end.
 *
 * Work is bounded by counting it: each use brings some, and what is not needed is saved up to a
 * limit, so one mask may cost much, but not one after another. Whoever shares the masks shares it.
 *
 * Counted references from any thread; all else belongs to one thread at a time. The trie is
 * borrowed and outlives it. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_TOKEN_MASKS_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_TOKEN_MASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/grammar/grammar.h"
#include "coordinator/text/grammar/grammar_states.h"
#include "coordinator/text/grammar/vocab_trie.h"

/* What a token may be hoped to cover. */
#define SHOAL_BYTES_PER_TOKEN 3

/* Steps of work (see grammar_states.h): the most that is saved, and what each use brings. */
#define SHOAL_MASKS_WORK_MAX  (1u << 18)
#define SHOAL_MASKS_WORK_EACH (1u << 14)

typedef struct shoal_token_masks shoal_token_masks;

/* The grammar is shared. */
SHOAL_MUST_USE shoal_status shoal_token_masks_create(shoal_grammar *grammar,
                                                     const shoal_vocab_trie *trie,
                                                     shoal_token_masks **out);
shoal_token_masks *shoal_token_masks_share(shoal_token_masks *masks);
void shoal_token_masks_release(shoal_token_masks *masks); /* NULL is allowed */

const shoal_vocab_trie *shoal_token_masks_trie(const shoal_token_masks *masks);

/* 32-bit words of a mask. */
int32_t shoal_token_masks_words(const shoal_token_masks *masks);

/* The states. Their table only grows: when it is full, shoal_token_masks_renew makes a new one with
 * the next edition number, and states of the old one mean nothing. Edition 0: none was made yet. */
shoal_grammar_states *shoal_token_masks_states(shoal_token_masks *masks);
uint32_t shoal_token_masks_edition(const shoal_token_masks *masks);
bool shoal_token_masks_full(const shoal_token_masks *masks);
SHOAL_MUST_USE shoal_status shoal_token_masks_renew(shoal_token_masks *masks);

/* A use begins: a mask is going to be filled, or a token to be walked. */
void shoal_token_masks_grant(shoal_token_masks *masks);

/* Is the work that was granted spent? Then steps fail until there is more. */
bool shoal_token_masks_spent(const shoal_token_masks *masks);

/* Into words[]: the tokens that may follow a state when `left` tokens (>= 0) can come behind them.
 * Tokens that end a text are not among them. SHOAL_ERR_DATA: the table is full, or the work spent.
 */
SHOAL_MUST_USE shoal_status shoal_token_masks_fill(shoal_token_masks *masks, int32_t state,
                                                   int64_t left, uint32_t *words);

#endif

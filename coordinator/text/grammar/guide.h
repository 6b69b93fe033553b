/* coordinator/text/grammar/guide.h - one text on its way through a grammar, token by token.
 *
 * Knows the text so far and which tokens may come next. Several guides may share the masks of one
 * grammar (the choices of a request); all of them belong to one thread at a time. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_GUIDE_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_GUIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/grammar/token_masks.h"

typedef struct shoal_guide shoal_guide;

/* The masks are shared. `ends`: tokens that end the text and have none of their own (copied). */
SHOAL_MUST_USE shoal_status shoal_guide_create(shoal_token_masks *masks, const int32_t *ends,
                                               int end_count, shoal_guide **out);
void shoal_guide_destroy(shoal_guide *guide); /* NULL is allowed */

/* Find out which tokens may come next when `left` tokens can come behind them. Ends are among them
 * where the text may end, and alone where it must. SHOAL_ERR_TEMPORARY for want of memory;
 * SHOAL_ERR_DATA when no token of the vocabulary goes on, a limit of the grammar's states is
 * reached, or the work is spent. */
SHOAL_MUST_USE shoal_status shoal_guide_look(shoal_guide *guide, int64_t left);

/* What shoal_guide_look found: a bit per id, in that many words. */
const uint32_t *shoal_guide_mask(const shoal_guide *guide, int32_t *words);

/* Go on by an allowed token that is no end. SHOAL_ERR_DATA: the grammar does not allow it, or as
 * above. */
SHOAL_MUST_USE shoal_status shoal_guide_take(shoal_guide *guide, int32_t token);

/* Behind a failure: was it for work (see token_masks.h)? */
bool shoal_guide_spent(const shoal_guide *guide);

/* Of the text up to the last token taken (before the first look: neither). */
bool shoal_guide_may_end(const shoal_guide *guide);
bool shoal_guide_must_end(const shoal_guide *guide);

#endif

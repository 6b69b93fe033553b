/* coordinator/serve/journal.h - every live sequence: what it was asked, what it has said so far.
 *
 * The journal outlives workers. When a generation is lost, prompt and emitted tokens of each entry
 * are computed anew as one prefill, and because the arithmetic is exact and the seed stands here,
 * the continuation is what an undisturbed run would have said. It also remembers who was in the
 * step when workers died: an entry that was there in two losses running, without a token of its
 * own in between, is quarantined. Bookkeeping only; belongs to one thread. */
#ifndef SHOAL_COORDINATOR_SERVE_JOURNAL_H
#define SHOAL_COORDINATOR_SERVE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/serve/id_map.h"
#include "coordinator/text/grammar/guide.h"
#include "coordinator/text/growable.h"
#include "worker/step.h"

/* Losses in a row that an entry may be part of. */
#define SHOAL_JOURNAL_LOSSES_MAX 2

/* A bias no logit can make up for, and still a number. */
#define SHOAL_BANNED_BIAS (-1e30f)

typedef struct {
    uint64_t id;      /* rises with every entry */
    uint64_t follows; /* 0, or an entry with the same prompt that is computed first */
    int32_t priority;
    shoal_ids tokens; /* prompt, then output */
    int64_t prompt_count, max_tokens, min_tokens;
    shoal_sampling sampling;
    shoal_step_bias *biases; /* the client's; then one that bans each stop id */
    int bias_count, stop_count;
    int32_t *stop_ids;  /* [stop_count] */
    shoal_guide *guide; /* where its output stands in the form it must have; NULL: any text */
    int losses;         /* in a row */
    bool apart;         /* replayed alone, because it was there when workers died */
    double submitted, scheduled, first_token, last_token; /* clock; 0: not yet */
} shoal_journal_entry;

/* Entries by id. */
typedef shoal_id_map shoal_journal;

/* What an entry is made of; arrays are copied. */
typedef struct {
    const shoal_ids *prompt;
    int64_t max_tokens, min_tokens;
    int32_t priority;
    uint64_t follows;
    shoal_sampling sampling;
    const shoal_step_bias *biases;
    int bias_count;
    const int32_t *stop_ids;
    int stop_count;
    shoal_token_masks *masks; /* of the form of its output, shared; NULL: any text */
} shoal_journal_order;

SHOAL_MUST_USE shoal_status shoal_journal_entry_create(uint64_t id,
                                                       const shoal_journal_order *order,
                                                       shoal_journal_entry **out);
void shoal_journal_entry_destroy(shoal_journal_entry *entry);

/* Take an entry over; its id is higher than those before. */
SHOAL_MUST_USE shoal_status shoal_journal_add(shoal_journal *journal, shoal_journal_entry *entry);

/* NULL when there is no such entry. */
shoal_journal_entry *shoal_journal_find(const shoal_journal *journal, uint64_t id);
shoal_journal_entry *shoal_journal_at(const shoal_journal *journal, int index);

/* Remove and destroy one, or all. */
void shoal_journal_remove(shoal_journal *journal, uint64_t id);
void shoal_journal_free(shoal_journal *journal);

/* Tokens emitted so far. */
int64_t shoal_journal_output(const shoal_journal_entry *entry);

/* Is this one of its stop ids? */
bool shoal_journal_stops(const shoal_journal_entry *entry, int32_t token);

/* Before the next step: which tokens may come, where the output must have a form. Fails as
 * shoal_guide_look does. */
SHOAL_MUST_USE shoal_status shoal_journal_look(shoal_journal_entry *entry);

/* Append a sampled token. SHOAL_ERR_TEMPORARY for want of memory; else as shoal_guide_take. */
SHOAL_MUST_USE shoal_status shoal_journal_take(shoal_journal_entry *entry, int32_t token);

/* Biases of the next step: until min_tokens are out, stop ids are banned, except from a form, which
 * says itself where the text may end. */
int shoal_journal_biases(const shoal_journal_entry *entry);

/* It was in the step when its generation was lost. False: once too often. */
bool shoal_journal_lost(shoal_journal_entry *entry);

#endif

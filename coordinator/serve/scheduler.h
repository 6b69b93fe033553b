/* coordinator/serve/scheduler.h - which rows the next step computes: a pure function of its state.
 *
 * No clock, no threads, no sockets: sequences come in, plans come out, results go back in, so that
 * thousands of random workloads can be simulated (tests/unit/test_scheduler.c).
 *
 * A sequence is a growing list of tokens (prompt, then what was sampled) of which the first
 * `computed` have their keys and values in pages of the cache. Every round plans one step:
 *
 *     decodes   each running sequence that lacks one row gets it, oldest first
 *     prefills  running sequences that lack more get chunks, oldest first
 *     admission waiting sequences, by (priority, arrival), while rows, places and pages last
 *
 * "Older" always means: earlier by (priority, arrival). Decodes never starve prefills: while
 * somebody waits for prefill, a quarter of the rows is theirs (at least one), and decodes that find
 * no room go first next time. A sequence is admitted when the pages left by those running, each
 * with room to grow by one more, hold all its tokens; one that does not fit is overtaken by nobody
 * younger.
 *
 * Pages are taken as needed; when none is free, cached pages nobody uses go first (least recently
 * used), then the youngest running sequence is preempted: it gives its pages back and waits again
 * at its old place, to be computed anew (the same bits, docs/arithmetic.md). If the youngest is the
 * one that lacks the page, it is left out of the step. So the oldest is never preempted, and
 * somebody always gets on.
 *
 * Prefix cache (coordinator/serve/prefix_cache.h): full pages are found again by their tokens and
 * the page before them, which are compared, so that a collision of hashes is no hit. Shared pages
 * are counted and only read. The last token of a prompt is always computed, because its logits are
 * wanted. */
#ifndef SHOAL_COORDINATOR_SERVE_SCHEDULER_H
#define SHOAL_COORDINATOR_SERVE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/growable.h"
#include "proto/status.h"

#define SHOAL_SCHEDULER_WAITING_MAX 65536

/* Each at least 1, and at most what worker/step.h says where it names a cap. */
typedef struct {
    int64_t rows_max;      /* rows of one step, all sequences together       */
    int64_t sequences_max; /* sequences of one step, and running at once     */
    int64_t chunk;         /* most rows of one sequence in a step            */
    int64_t pages;         /* of SHOAL_PAGE tokens                           */
    int64_t waiting_max;   /* sequences waiting for their first admission, at most
                              SHOAL_SCHEDULER_WAITING_MAX                    */
    bool prefix_cache;
} shoal_scheduler_limits;

typedef struct {
    uint64_t id;             /* unique among those present, chosen by the caller, not 0          */
    const shoal_ids *tokens; /* borrowed; may only grow at its end while the sequence is here    */
    int64_t tokens_max;      /* how long it can become: it must fit into all pages by itself     */
    int32_t priority;        /* lower goes first                                                 */
    uint64_t follows;        /* 0, or a sequence with the same prompt that should be computed
                                first, so that this one finds its pages in the cache; means
                                nothing without a cache                                          */
} shoal_scheduler_entry;

/* One sequence's share of a step. */
typedef struct {
    uint64_t id;
    int64_t position, rows; /* rows of tokens[position, position + rows)                        */
    bool last;              /* the last known token is among them: a token will be sampled      */
    const int32_t *pages;   /* covering 0 .. position + rows - 1; valid until the next call     */
    int32_t page_count;
} shoal_scheduler_part;

typedef struct {
    const shoal_scheduler_part *parts; /* owned by the scheduler, valid until the next call */
    int count;
    int64_t rows;
} shoal_schedule;

typedef struct {
    int64_t running, waiting;
    int64_t pages_free;   /* free or only cached */
    int64_t pages_cached; /* kept for the prefix cache, used by nobody */
    int64_t pages_total;
    uint64_t preemptions;
    uint64_t cache_queries, cache_hits; /* tokens looked up at admission, tokens found */
} shoal_scheduler_stats;

typedef struct shoal_scheduler shoal_scheduler;

/* SHOAL_ERR_USAGE names the limit that is out of range. */
SHOAL_MUST_USE shoal_status shoal_scheduler_create(const shoal_scheduler_limits *limits,
                                                   shoal_scheduler **out);
void shoal_scheduler_destroy(shoal_scheduler *scheduler);

/* Queue a sequence. SHOAL_ERR_TEMPORARY when the queue is full, SHOAL_ERR_USAGE when it could
 * never fit, SHOAL_ERR_INTERNAL for an id that is here already. */
SHOAL_MUST_USE shoal_status shoal_scheduler_add(shoal_scheduler *scheduler,
                                                const shoal_scheduler_entry *entry);

/* It ended or was cancelled: its pages are free again (full ones stay in the prefix cache). While a
 * plan is out, its part of the step counts for nothing: what a row error spoilt must go before
 * shoal_scheduler_done, lest others find it in the cache. Unknown ids are ignored. */
void shoal_scheduler_remove(shoal_scheduler *scheduler, uint64_t id);

/* Plan a step; count 0 when there is nothing to do. A plan that was never done is forgotten.
 * SHOAL_ERR_INTERNAL when a sequence has grown beyond its tokens_max. */
SHOAL_MUST_USE shoal_status shoal_scheduler_plan(shoal_scheduler *scheduler, shoal_schedule *out);

/* The planned step was computed. Call it before sampled tokens are appended to the lists. */
void shoal_scheduler_done(shoal_scheduler *scheduler);

/* The generation is lost: nothing is computed any more, the cache is empty, every sequence waits
 * again at its old place. */
void shoal_scheduler_reset(shoal_scheduler *scheduler);

/* While any sequence is held apart, a step holds one of those alone (the oldest), and nobody else.
 * For finding out which request takes the workers down. */
void shoal_scheduler_hold_apart(shoal_scheduler *scheduler, uint64_t id, bool apart);

void shoal_scheduler_stats_get(const shoal_scheduler *scheduler, shoal_scheduler_stats *out);

#endif

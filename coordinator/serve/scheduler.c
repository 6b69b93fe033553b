#include "coordinator/serve/scheduler.h"

#include <string.h>

#include "coordinator/serve/prefix_cache.h"
#include "kernels/backend.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "worker/step.h"

#define ID_BUCKETS    1024
#define WAITING_FIRST 64 /* room in the queue to begin with */

/* Who is older: those held apart, then by priority, then by arrival (from 1). */
typedef struct {
    int32_t level; /* 0: held apart, 1: everybody else */
    int32_t priority;
    uint64_t arrival;
} rank;

typedef struct sequence {
    shoal_scheduler_entry entry;
    rank rank;
    struct sequence *id_next; /* in its bucket */
    int64_t prompt;           /* tokens it came with */
    int64_t computed;         /* tokens whose keys and values are in its pages */
    bool running;             /* else waiting, without pages */
    bool admitted;            /* at least once */
    int part;                 /* of the plan, -1: none */
    int32_t page_count;
    int32_t pages[]; /* room for tokens_max; full ones are kept by the cache */
} sequence;

/* Sequences, oldest first. */
typedef struct {
    sequence **list;
    int64_t count;
} line;

struct shoal_scheduler {
    shoal_scheduler_limits limits;
    shoal_prefix_cache *cache;
    sequence *by_id[ID_BUCKETS];
    line running, waiting;
    int64_t waiting_room; /* for everybody here, so that preemption cannot fail */
    uint64_t arrivals;
    int64_t newcomers; /* waiting, and never admitted */
    rank turn;         /* the first decode that found no room; arrival 0: all had room */
    bool pages_short; /* the first in the queue did not fit, and nothing has changed for it since */

    shoal_scheduler_part *parts; /* [sequences_max] */
    sequence **members;          /* [sequences_max], whose part it is; NULL: removed meanwhile */
    int part_count;
    int64_t rows;

    uint64_t preemptions, cache_queries, cache_hits;
};

/* ---- lines ----------------------------------------------------------------------------------- */

static bool before(const rank *a, const rank *b)
{
    if (a->level != b->level)
        return a->level < b->level;
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->arrival < b->arrival;
}

/* Index of the first that is not before `at`. */
static int64_t place_of(const line *l, const rank *at)
{
    int64_t low = 0, high = l->count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (before(&l->list[middle]->rank, at))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void enter(line *l, sequence *seq)
{
    const int64_t at = place_of(l, &seq->rank);
    memmove(l->list + at + 1, l->list + at, (size_t)(l->count - at) * sizeof *l->list);
    l->list[at] = seq;
    l->count++;
}

static void leave(line *l, const sequence *seq)
{
    const int64_t at = place_of(l, &seq->rank);
    l->count--;
    memmove(l->list + at, l->list + at + 1, (size_t)(l->count - at) * sizeof *l->list);
}

static sequence *oldest(const line *l)
{
    return l->count > 0 ? l->list[0] : NULL;
}

static sequence *youngest(const line *l)
{
    return l->list[l->count - 1];
}

static line *line_of(shoal_scheduler *s, const sequence *seq)
{
    return seq->running ? &s->running : &s->waiting;
}

/* ---- one sequence ---------------------------------------------------------------------------- */

static int64_t known(const sequence *seq)
{
    return (int64_t)seq->entry.tokens->count;
}

static int64_t lacking(const sequence *seq)
{
    return known(seq) - seq->computed;
}

static int64_t pages_for(int64_t tokens)
{
    return shoal_ceil_div(tokens, SHOAL_PAGE);
}

/* Pages it lacks for all its tokens and some growth. */
static int64_t pages_lacking(const sequence *seq)
{
    const int64_t tokens = shoal_min_i64(known(seq) + SHOAL_PAGE, seq->entry.tokens_max);
    return pages_for(tokens) - seq->page_count;
}

static int32_t page_before(const sequence *seq, int64_t page)
{
    return page > 0 ? seq->pages[page - 1] : SHOAL_NO_PAGE;
}

static const int32_t *words_of_page(const sequence *seq, int64_t page)
{
    return seq->entry.tokens->data + page * SHOAL_PAGE;
}

/* From the last to the first, as the cache wants it. */
static void give_pages_back(shoal_scheduler *s, sequence *seq)
{
    while (seq->page_count > 0)
        shoal_prefix_cache_release(s->cache, seq->pages[--seq->page_count]);
    seq->computed = 0;
}

/* Start from what the cache holds of its tokens. */
static void find_prefix(shoal_scheduler *s, sequence *seq)
{
    const int64_t tokens = shoal_min_i64(known(seq), seq->entry.tokens_max);
    const int64_t pages = s->limits.prefix_cache ? (tokens - 1) / SHOAL_PAGE : 0;
    while (seq->page_count < pages) {
        const int32_t next = seq->page_count;
        const int32_t page =
            shoal_prefix_cache_find(s->cache, page_before(seq, next), words_of_page(seq, next));
        if (page == SHOAL_NO_PAGE)
            break;
        seq->pages[seq->page_count++] = page;
    }
    seq->computed = (int64_t)seq->page_count * SHOAL_PAGE;
}

static void start(shoal_scheduler *s, sequence *seq)
{
    leave(&s->waiting, seq);
    enter(&s->running, seq);
    s->newcomers -= !seq->admitted;
    seq->running = seq->admitted = true;
    if (s->limits.prefix_cache) {
        s->cache_queries += (uint64_t)known(seq);
        s->cache_hits += (uint64_t)seq->computed;
    }
}

static void stop(shoal_scheduler *s, sequence *seq)
{
    give_pages_back(s, seq);
    leave(&s->running, seq);
    enter(&s->waiting, seq);
    seq->running = false;
    s->pages_short = false;
}

static void drop_part(shoal_scheduler *s, sequence *seq)
{
    const int hole = seq->part, last = --s->part_count;
    s->rows -= s->parts[hole].rows;
    s->parts[hole] = s->parts[last];
    s->members[hole] = s->members[last];
    s->members[hole]->part = hole;
    seq->part = -1;
}

static void preempt(shoal_scheduler *s, sequence *seq)
{
    if (seq->part >= 0)
        drop_part(s, seq);
    stop(s, seq);
    s->preemptions++;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Only younger ones suffer: whoever is the youngest goes without. */
static void take_pages(shoal_scheduler *s, sequence *seq, int64_t count)
{
    while (seq->page_count < count) {
        const int32_t page = shoal_prefix_cache_take(s->cache);
        if (page != SHOAL_NO_PAGE)
            seq->pages[seq->page_count++] = page;
        else if (youngest(&s->running) != seq)
            preempt(s, youngest(&s->running));
        else
            return;
    }
}

/* As many rows of a running sequence as chunk, step and pages allow, perhaps none. */
static shoal_status plan_rows(shoal_scheduler *s, sequence *seq)
{
    if (known(seq) > seq->entry.tokens_max)
        return shoal_fail(SHOAL_ERR_INTERNAL,
                          "sequence %llu has grown to %lld tokens; it was announced with %lld",
                          (unsigned long long)seq->entry.id, (long long)known(seq),
                          (long long)seq->entry.tokens_max);
    int64_t rows = shoal_min_i64(lacking(seq), s->limits.chunk);
    rows = shoal_min_i64(rows, s->limits.rows_max - s->rows);
    take_pages(s, seq, pages_for(seq->computed + rows));
    rows = shoal_min_i64(rows, (int64_t)seq->page_count * SHOAL_PAGE - seq->computed);
    if (rows <= 0)
        return SHOAL_OK;
    seq->part = s->part_count++;
    s->members[seq->part] = seq;
    s->parts[seq->part] = (shoal_scheduler_part){
        .id = seq->entry.id,
        .position = seq->computed,
        .rows = rows,
        .last = rows == lacking(seq),
        .pages = seq->pages,
        .page_count = (int32_t)pages_for(seq->computed + rows),
    };
    s->rows += rows;
    return SHOAL_OK;
}

static shoal_status offer_decode(shoal_scheduler *s, sequence *seq, int64_t rows_max)
{
    if (seq->part >= 0 || lacking(seq) != 1)
        return SHOAL_OK;
    if (s->rows < rows_max)
        return plan_rows(s, seq);
    if (s->turn.arrival == 0)
        s->turn = seq->rank;
    return SHOAL_OK;
}

/* Decodes while the step has fewer than `rows_max` rows, beginning with whose turn it is.
 * Preemption only shortens the line at its end. */
static shoal_status plan_decodes(shoal_scheduler *s, int64_t rows_max)
{
    const line *l = &s->running;
    const int64_t first = place_of(l, &s->turn);
    s->turn = (rank){0};
    for (int64_t i = first; i < l->count; i++)
        SHOAL_TRY(offer_decode(s, l->list[i], rows_max));
    for (int64_t i = 0; i < first && i < l->count; i++)
        SHOAL_TRY(offer_decode(s, l->list[i], rows_max));
    return SHOAL_OK;
}

static shoal_status plan_prefills(shoal_scheduler *s)
{
    for (int64_t i = 0; i < s->running.count && s->rows < s->limits.rows_max; i++)
        if (lacking(s->running.list[i]) > 1)
            SHOAL_TRY(plan_rows(s, s->running.list[i]));
    return SHOAL_OK;
}

static sequence *find(const shoal_scheduler *s, uint64_t id)
{
    sequence *seq = s->by_id[id % ID_BUCKETS];
    while (seq && seq->entry.id != id)
        seq = seq->id_next;
    return seq;
}

/* Only somebody who arrived earlier can hold back, so that nobody waits in a circle. */
static bool held_back(const shoal_scheduler *s, const sequence *seq)
{
    if (seq->entry.follows == 0 || !s->limits.prefix_cache)
        return false;
    const sequence *leader = find(s, seq->entry.follows);
    return leader && leader->rank.arrival < seq->rank.arrival && leader->computed < leader->prompt;
}

/* The next to be admitted, from index *at of the queue on; NULL when there is no place or nobody.
 */
static sequence *next_waiting(const shoal_scheduler *s, int64_t *at)
{
    if (s->pages_short || s->running.count >= s->limits.sequences_max)
        return NULL;
    while (*at < s->waiting.count && held_back(s, s->waiting.list[*at]))
        ++*at;
    return *at < s->waiting.count ? s->waiting.list[*at] : NULL;
}

static shoal_status plan_admission(shoal_scheduler *s)
{
    int64_t at = 0, claimed = 0;
    sequence *seq;
    for (int64_t i = 0; i < s->running.count; i++)
        claimed += pages_lacking(s->running.list[i]);
    while (s->rows < s->limits.rows_max && (seq = next_waiting(s, &at))) {
        find_prefix(s, seq);
        if (pages_lacking(seq) > shoal_prefix_cache_unused(s->cache) - claimed) {
            give_pages_back(s, seq);
            s->pages_short = true;
            return SHOAL_OK;
        }
        start(s, seq);
        SHOAL_TRY(plan_rows(s, seq));
        claimed += pages_lacking(seq);
        if (seq->computed >= seq->prompt)
            at = 0; /* its followers may go, and some are older than the next */
    }
    return SHOAL_OK;
}

static bool prefill_waits(const shoal_scheduler *s)
{
    int64_t at = 0;
    for (int64_t i = 0; i < s->running.count; i++)
        if (lacking(s->running.list[i]) > 1)
            return true;
    return next_waiting(s, &at) != NULL;
}

static shoal_status plan_together(shoal_scheduler *s)
{
    const int64_t rows_max = s->limits.rows_max;
    const int64_t prefill_rows = prefill_waits(s) ? shoal_max_i64(1, rows_max / 4) : 0;
    SHOAL_TRY(plan_decodes(s, rows_max - prefill_rows));
    SHOAL_TRY(plan_prefills(s));
    SHOAL_TRY(plan_admission(s));
    return plan_decodes(s, rows_max); /* what prefill did not need */
}

/* The oldest of those held apart, NULL: nobody is. */
static sequence *held_apart(const shoal_scheduler *s)
{
    sequence *first = oldest(&s->running), *other = oldest(&s->waiting);
    if (!first || (other && before(&other->rank, &first->rank)))
        first = other;
    return first && first->rank.level == 0 ? first : NULL;
}

/* It is the oldest of all, so place and pages can always be had. */
static shoal_status plan_alone(shoal_scheduler *s, sequence *seq)
{
    if (!seq->running) {
        if (s->running.count == s->limits.sequences_max)
            preempt(s, youngest(&s->running));
        find_prefix(s, seq);
        start(s, seq);
    }
    return plan_rows(s, seq);
}

static void forget_plan(shoal_scheduler *s)
{
    for (int i = 0; i < s->part_count; i++)
        if (s->members[i])
            s->members[i]->part = -1;
    s->part_count = 0;
    s->rows = 0;
}

shoal_status shoal_scheduler_plan(shoal_scheduler *s, shoal_schedule *out)
{
    forget_plan(s);
    sequence *alone = held_apart(s);
    SHOAL_TRY(alone ? plan_alone(s, alone) : plan_together(s));
    *out = (shoal_schedule){.parts = s->parts, .count = s->part_count, .rows = s->rows};
    return SHOAL_OK;
}

/* ---- what was computed ----------------------------------------------------------------------- */

static void advance(shoal_scheduler *s, sequence *seq, int64_t rows)
{
    const int64_t from = seq->computed, to = from + rows;
    seq->computed = to;
    if (from < seq->prompt && to >= seq->prompt)
        s->pages_short = false; /* those who share the prompt need fewer pages now */
    if (!s->limits.prefix_cache)
        return;
    for (int64_t page = from / SHOAL_PAGE; page < to / SHOAL_PAGE; page++)
        seq->pages[page] = shoal_prefix_cache_keep(
            s->cache, seq->pages[page], page_before(seq, page), words_of_page(seq, page));
}

void shoal_scheduler_done(shoal_scheduler *s)
{
    for (int i = 0; i < s->part_count; i++)
        if (s->members[i])
            advance(s, s->members[i], s->parts[i].rows);
    forget_plan(s);
}

void shoal_scheduler_reset(shoal_scheduler *s)
{
    forget_plan(s);
    while (s->running.count > 0)
        stop(s, youngest(&s->running));
    shoal_prefix_cache_clear(s->cache);
}

/* ---- who is here ----------------------------------------------------------------------------- */

static shoal_status check_entry(const shoal_scheduler *s, const shoal_scheduler_entry *entry)
{
    const int64_t tokens = (int64_t)entry->tokens->count;
    const int64_t room = s->limits.pages * SHOAL_PAGE;
    if (entry->id == 0 || find(s, entry->id))
        return shoal_fail(SHOAL_ERR_INTERNAL, "the sequence id %llu is not free",
                          (unsigned long long)entry->id);
    if (tokens < 1 || tokens > entry->tokens_max)
        return shoal_fail(SHOAL_ERR_USAGE, "a sequence of %lld tokens that may grow to %lld",
                          (long long)tokens, (long long)entry->tokens_max);
    if (entry->tokens_max > room)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "a sequence may grow to %lld tokens; the KV cache holds %lld",
                          (long long)entry->tokens_max, (long long)room);
    if (s->newcomers >= s->limits.waiting_max)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%lld sequences are waiting already",
                          (long long)s->newcomers);
    return SHOAL_OK;
}

static shoal_status make_room(shoal_scheduler *s)
{
    void *list = s->waiting.list;
    if (s->running.count + s->waiting.count < s->waiting_room)
        return SHOAL_OK;
    const int64_t room = 2 * s->waiting_room + WAITING_FIRST;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, (uint64_t)room, sizeof(sequence *), &list));
    s->waiting.list = list;
    s->waiting_room = room;
    return SHOAL_OK;
}

shoal_status shoal_scheduler_add(shoal_scheduler *s, const shoal_scheduler_entry *entry)
{
    SHOAL_TRY(check_entry(s, entry));
    SHOAL_TRY(make_room(s));
    void *record;
    const uint64_t page_bytes = (uint64_t)pages_for(entry->tokens_max) * sizeof(int32_t);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(sequence) + page_bytes, &record));

    sequence *seq = record, **bucket = &s->by_id[entry->id % ID_BUCKETS];
    seq->entry = *entry;
    seq->rank = (rank){.level = 1, .priority = entry->priority, .arrival = ++s->arrivals};
    seq->prompt = (int64_t)entry->tokens->count;
    seq->part = -1;
    seq->id_next = *bucket;
    *bucket = seq;
    enter(&s->waiting, seq);
    s->newcomers++;
    s->pages_short = false;
    return SHOAL_OK;
}

void shoal_scheduler_remove(shoal_scheduler *s, uint64_t id)
{
    sequence *seq = find(s, id), **at = &s->by_id[id % ID_BUCKETS];
    if (!seq)
        return;
    while (*at != seq)
        at = &(*at)->id_next;
    *at = seq->id_next;
    if (seq->part >= 0)
        s->members[seq->part] = NULL;
    give_pages_back(s, seq);
    leave(line_of(s, seq), seq);
    s->newcomers -= !seq->admitted;
    s->pages_short = false;
    shoal_free(seq);
}

void shoal_scheduler_hold_apart(shoal_scheduler *s, uint64_t id, bool apart)
{
    sequence *seq = find(s, id);
    if (!seq)
        return;
    leave(line_of(s, seq), seq);
    seq->rank.level = apart ? 0 : 1;
    enter(line_of(s, seq), seq);
    s->pages_short = false;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static shoal_status check_limit(const char *name, int64_t value, int64_t max)
{
    if (value < 1 || value > max)
        return shoal_fail(SHOAL_ERR_USAGE, "%s is %lld, not 1 to %lld", name, (long long)value,
                          (long long)max);
    return SHOAL_OK;
}

static shoal_status check_limits(const shoal_scheduler_limits *limits)
{
    SHOAL_TRY(check_limit("rows of a step", limits->rows_max, SHOAL_STEP_ROWS_MAX));
    SHOAL_TRY(check_limit("sequences of a step", limits->sequences_max, SHOAL_SEQUENCES_MAX));
    SHOAL_TRY(check_limit("rows of a chunk", limits->chunk, INT64_MAX));
    SHOAL_TRY(check_limit("pages", limits->pages, INT32_MAX));
    return check_limit("waiting sequences", limits->waiting_max, SHOAL_SCHEDULER_WAITING_MAX);
}

shoal_status shoal_scheduler_create(const shoal_scheduler_limits *limits, shoal_scheduler **out)
{
    shoal_status st = SHOAL_OK;
    void *record, *running, *parts, *members;
    SHOAL_TRY(check_limits(limits));
    const uint64_t sequences = (uint64_t)limits->sequences_max;
    const int32_t pages = (int32_t)limits->pages;

    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_scheduler), &record));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof(sequence *), &running),
                   free_record);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof(shoal_scheduler_part), &parts),
        free_running);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, sequences, sizeof(sequence *), &members),
                   free_parts);
    shoal_scheduler *s = record;
    SHOAL_TRY_GOTO(shoal_prefix_cache_create(pages, pages, &s->cache), free_members);
    s->limits = *limits;
    s->running.list = running;
    s->parts = parts;
    s->members = members;
    *out = s;
    return SHOAL_OK;

free_members:
    shoal_free(members);
free_parts:
    shoal_free(parts);
free_running:
    shoal_free(running);
free_record:
    shoal_free(record);
    return st;
}

void shoal_scheduler_destroy(shoal_scheduler *s)
{
    if (!s)
        return;
    for (int64_t i = 0; i < s->running.count; i++)
        shoal_free(s->running.list[i]);
    for (int64_t i = 0; i < s->waiting.count; i++)
        shoal_free(s->waiting.list[i]);
    shoal_prefix_cache_destroy(s->cache);
    shoal_free(s->members);
    shoal_free(s->parts);
    shoal_free(s->running.list);
    shoal_free(s->waiting.list);
    shoal_free(s);
}

void shoal_scheduler_stats_get(const shoal_scheduler *s, shoal_scheduler_stats *out)
{
    *out = (shoal_scheduler_stats){
        .running = s->running.count,
        .waiting = s->waiting.count,
        .pages_free = shoal_prefix_cache_unused(s->cache),
        .pages_cached = shoal_prefix_cache_kept(s->cache),
        .pages_total = s->limits.pages,
        .preemptions = s->preemptions,
        .cache_queries = s->cache_queries,
        .cache_hits = s->cache_hits,
    };
}

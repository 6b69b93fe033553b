/* The scheduler in thousands of random workloads on a model of the cache: what each page holds is
 * written down when a step is done, so that every listed page can be compared with the tokens of
 * the sequence that lists it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/scheduler.h"
#include "kernels/backend.h"
#include "proto/bytes.h"
#include "tests/support/sanitized.h"
#include "worker/step.h"

/* A debug or sanitizer build does less in the same time. */
#if defined(__OPTIMIZE__) && !SANITIZED
#define RUNS 4000
#else
#define RUNS 1000
#endif

#define GUESTS      16
#define PAGES_MAX   40
#define EVENT_PLANS 80 /* after so many plans nobody comes, and nothing happens any more */
#define UNKNOWN     (-1)

typedef struct {
    bool present, apart;
    shoal_scheduler_entry entry;
    shoal_ids tokens;
    int64_t prompt, computed;
    uint64_t arrival;
    bool admitted;
    bool certain; /* it is running, for sure, and `computed` is what the scheduler thinks */
} guest;

typedef struct {
    uint64_t seed, random;
    shoal_scheduler_limits limits;
    shoal_scheduler *scheduler;
    guest guests[GUESTS];
    int32_t held[PAGES_MAX][SHOAL_PAGE]; /* what each page holds, UNKNOWN: nothing of use */
    uint64_t arrivals, next_id, preemptions;
    int64_t plans;
    shoal_schedule plan;
} world;

static uint32_t below(world *w, uint32_t limit)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->random >> 33) % limit;
}

static bool chance(world *w, uint32_t percent)
{
    return below(w, 100) < percent;
}

static void require_at(const world *w, bool holds, const char *what, int line)
{
    if (!holds) {
        print_error("seed %llu, plan %lld, line %d: %s\n", (unsigned long long)w->seed,
                    (long long)w->plans, line, what);
        fail();
    }
}
#define require(w, condition) require_at(w, condition, #condition, __LINE__)

static bool is_older(const guest *a, const guest *b)
{
    if (a->apart != b->apart)
        return a->apart;
    if (a->entry.priority != b->entry.priority)
        return a->entry.priority < b->entry.priority;
    return a->arrival < b->arrival;
}

static guest *guest_of(world *w, uint64_t id)
{
    for (int i = 0; i < GUESTS; i++)
        if (w->guests[i].present && w->guests[i].entry.id == id)
            return &w->guests[i];
    return NULL;
}

static int present(const world *w)
{
    int n = 0;
    for (int i = 0; i < GUESTS; i++)
        n += w->guests[i].present;
    return n;
}

/* Few different beginnings and few different tokens, so that there is much to share. */
static void write_prompt(world *w, guest *g, int64_t tokens)
{
    const uint32_t text = below(w, 3);
    const int64_t common = chance(w, 50) ? tokens : (int64_t)below(w, (uint32_t)tokens + 1);
    for (int64_t i = 0; i < tokens; i++) {
        const int64_t token = i < common ? (int64_t)text * 7 + i / 5 : (int64_t)below(w, 3);
        assert_int_equal(shoal_ids_push(&g->tokens, (int32_t)token), SHOAL_OK);
    }
}

static void arrive(world *w)
{
    guest *g = NULL;
    for (int i = 0; i < GUESTS && !g; i++)
        if (!w->guests[i].present)
            g = &w->guests[i];
    if (!g)
        return;
    const int64_t room = w->limits.pages * SHOAL_PAGE;
    shoal_ids_free(&g->tokens);
    *g = (guest){.arrival = w->arrivals + 1};
    g->prompt = 1 + (int64_t)below(w, (uint32_t)(chance(w, 20) ? room : (room + 2) / 3));
    const int64_t more = shoal_min_i64(room - g->prompt, (int64_t)below(w, 100));
    g->entry = (shoal_scheduler_entry){
        .id = ++w->next_id,
        .tokens = &g->tokens,
        .tokens_max = g->prompt + more,
        .priority = chance(w, 70) ? 0 : (int32_t)below(w, 3) - 1,
    };
    guest *other = &w->guests[below(w, GUESTS)];
    if (other->present && chance(w, 40)) {
        g->entry.follows = other->entry.id;
        g->prompt = shoal_min_i64(other->prompt, g->entry.tokens_max);
        for (int64_t i = 0; i < g->prompt; i++)
            assert_int_equal(shoal_ids_push(&g->tokens, other->tokens.data[i]), SHOAL_OK);
    } else {
        write_prompt(w, g, g->prompt);
    }

    int64_t newcomers = 0;
    for (int i = 0; i < GUESTS; i++)
        newcomers += w->guests[i].present && !w->guests[i].admitted;
    const shoal_status st = shoal_scheduler_add(w->scheduler, &g->entry);
    require(w, (st == SHOAL_OK) == (newcomers < w->limits.waiting_max));
    g->present = st == SHOAL_OK;
    w->arrivals += g->present;
}

static void go(world *w, guest *g)
{
    shoal_scheduler_remove(w->scheduler, g->entry.id);
    g->present = false;
}

static void lose_everything(world *w)
{
    shoal_scheduler_reset(w->scheduler);
    for (int i = 0; i < GUESTS; i++) {
        w->guests[i].certain = false;
        w->guests[i].computed = 0;
    }
    memset(w->held, 0xff, sizeof w->held);
}

static void something_happens(world *w)
{
    guest *g = &w->guests[below(w, GUESTS)];
    if (chance(w, 40))
        arrive(w);
    if (g->present && chance(w, 5))
        go(w, g);
    if (chance(w, 1))
        lose_everything(w);
    if (g->present && chance(w, g->apart ? 30 : 2)) {
        g->apart = !g->apart;
        shoal_scheduler_hold_apart(w->scheduler, g->entry.id, g->apart);
    }
}

/* ---- what must hold of every plan ------------------------------------------------------------ */

/* The pages before `position` hold this sequence's tokens: written by it, or rightly shared. */
static void check_contents(const world *w, const guest *g, const shoal_scheduler_part *part)
{
    require(w, part->page_count == shoal_ceil_div(part->position + part->rows, SHOAL_PAGE));
    for (int32_t i = 0; i < part->page_count; i++)
        require(w, part->pages[i] >= 0 && part->pages[i] < w->limits.pages);
    for (int64_t k = 0; k < part->position; k++)
        require(w, w->held[part->pages[k / SHOAL_PAGE]][k % SHOAL_PAGE] == g->tokens.data[k]);
}

static void check_part(const world *w, const guest *g, const shoal_scheduler_part *part)
{
    const int64_t count = (int64_t)g->tokens.count;
    require(w, part->rows >= 1 && part->rows <= w->limits.chunk);
    require(w, part->position + part->rows <= count);
    require(w, part->last == (part->position + part->rows == count));
    if (g->certain)
        require(w, part->position == g->computed);
    else
        require(w, part->position % SHOAL_PAGE == 0 || part->position == g->computed);
    if (!w->limits.prefix_cache && !g->admitted)
        require(w, part->position == 0);
    check_contents(w, g, part);
}

/* A page that receives rows is listed once in the whole step. */
static void check_writers(const world *w)
{
    int listed[PAGES_MAX] = {0}, distinct = 0;
    shoal_scheduler_stats stats;
    for (int i = 0; i < w->plan.count; i++)
        for (int32_t k = 0; k < w->plan.parts[i].page_count; k++)
            distinct += listed[w->plan.parts[i].pages[k]]++ == 0;
    for (int i = 0; i < w->plan.count; i++) {
        const shoal_scheduler_part *part = &w->plan.parts[i];
        for (int64_t k = part->position / SHOAL_PAGE; k < part->page_count; k++)
            require(w, listed[part->pages[k]] == 1);
    }
    shoal_scheduler_stats_get(w->scheduler, &stats);
    require(w, stats.pages_free + distinct <= stats.pages_total);
    require(w, stats.pages_cached <= stats.pages_free);
    require(w, w->limits.prefix_cache || (stats.pages_cached == 0 && stats.cache_queries == 0));
    require(w, stats.running <= w->limits.sequences_max);
    require(w, stats.running + stats.waiting == present(w));
}

static bool follows_somebody(world *w, const guest *g)
{
    const guest *leader = guest_of(w, g->entry.follows);
    return w->limits.prefix_cache && leader && leader->arrival < g->arrival &&
           (!leader->certain || leader->computed < leader->prompt);
}

/* Nobody who came later was admitted before one who could have been. */
static void check_order(world *w, const guest *admitted)
{
    for (int i = 0; i < GUESTS; i++) {
        const guest *g = &w->guests[i];
        if (g->present && !g->admitted && is_older(g, admitted))
            require(w, follows_somebody(w, g));
    }
}

static guest *oldest_running(world *w)
{
    guest *best = NULL;
    for (int i = 0; i < GUESTS; i++) {
        guest *g = &w->guests[i];
        if (g->present && (g->admitted || g->apart) && (!best || is_older(g, best)))
            best = g;
    }
    return best && best->certain ? best : NULL;
}

/* Who was preempted is not said; but the oldest was not. */
static void note_preemptions(world *w, const guest *oldest)
{
    shoal_scheduler_stats stats;
    shoal_scheduler_stats_get(w->scheduler, &stats);
    for (int i = 0; i < GUESTS && stats.preemptions != w->preemptions; i++)
        if (&w->guests[i] != oldest)
            w->guests[i].certain = false;
    w->preemptions = stats.preemptions;
}

static void check_alone(world *w)
{
    guest *first = NULL;
    for (int i = 0; i < GUESTS; i++) {
        guest *g = &w->guests[i];
        if (g->present && g->apart && (!first || is_older(g, first)))
            first = g;
    }
    if (first)
        require(w, w->plan.count == 1 && w->plan.parts[0].id == first->entry.id);
}

static void check_plan(world *w)
{
    int64_t rows = 0;
    guest *oldest = oldest_running(w);
    bool fresh[GUESTS] = {false};
    w->plans++;
    require(w, shoal_scheduler_plan(w->scheduler, &w->plan) == SHOAL_OK);
    require(w, (w->plan.count > 0) == (present(w) > 0));
    require(w, w->plan.count <= w->limits.sequences_max);
    check_alone(w);
    for (int i = 0; i < w->plan.count; i++) {
        guest *g = guest_of(w, w->plan.parts[i].id);
        require(w, g != NULL && !fresh[g - w->guests]);
        check_part(w, g, &w->plan.parts[i]);
        fresh[g - w->guests] = true;
        rows += w->plan.parts[i].rows;
    }
    require(w, rows == w->plan.rows && rows <= w->limits.rows_max);
    check_writers(w);
    note_preemptions(w, oldest);
    for (int i = 0; i < w->plan.count; i++) {
        guest *g = guest_of(w, w->plan.parts[i].id);
        if (!g->admitted)
            check_order(w, g);
        g->certain = g->admitted = true;
        g->computed = w->plan.parts[i].position;
    }
}

/* ---- what a step does ------------------------------------------------------------------------ */

/* The same words go on in the same way, so that twins stay twins. */
static int32_t sample(const guest *g)
{
    int64_t sum = 0;
    for (size_t i = 0; i < g->tokens.count; i++)
        sum = (sum * 31 + g->tokens.data[i] + 1) % 1009;
    return (int32_t)(sum % 3);
}

static void write_rows(world *w, const guest *g, const shoal_scheduler_part *part, bool failed)
{
    for (int64_t k = part->position; k < part->position + part->rows; k++)
        w->held[part->pages[k / SHOAL_PAGE]][k % SHOAL_PAGE] = failed ? UNKNOWN : g->tokens.data[k];
}

static void take_result(world *w, guest *g, const shoal_scheduler_part *part)
{
    g->computed = part->position + part->rows;
    if (!part->last)
        return;
    if ((int64_t)g->tokens.count == g->entry.tokens_max)
        go(w, g);
    else
        assert_int_equal(shoal_ids_push(&g->tokens, sample(g)), SHOAL_OK);
}

static void compute_plan(world *w, bool eventful)
{
    shoal_scheduler_part parts[GUESTS];
    const int count = w->plan.count;
    const int failed = eventful && count > 0 && chance(w, 2) ? (int)below(w, (uint32_t)count) : -1;
    memcpy(parts, w->plan.parts, (size_t)count * sizeof *parts);
    for (int i = 0; i < count; i++)
        write_rows(w, guest_of(w, parts[i].id), &parts[i], i == failed);
    if (failed >= 0)
        go(w, guest_of(w, parts[failed].id));
    if (eventful && chance(w, 1)) {
        lose_everything(w);
        return;
    }
    shoal_scheduler_done(w->scheduler);
    for (int i = 0; i < count; i++)
        if (i != failed)
            take_result(w, guest_of(w, parts[i].id), &parts[i]);
}

/* ---- whole runs ------------------------------------------------------------------------------ */

/* Where to begin the countdown: every row that is still to come, for everybody. */
static int64_t rows_to_come(const world *w)
{
    int64_t rows = 0;
    for (int i = 0; i < GUESTS; i++)
        rows += w->guests[i].present ? w->guests[i].entry.tokens_max : 0;
    return rows;
}

static void release_apart(world *w)
{
    for (int i = 0; i < GUESTS; i++)
        if (w->guests[i].present && w->guests[i].apart) {
            w->guests[i].apart = false;
            shoal_scheduler_hold_apart(w->scheduler, w->guests[i].entry.id, false);
        }
}

static void run(uint64_t seed, shoal_scheduler_stats *sum)
{
    static world w;
    w = (world){.seed = seed, .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1};
    memset(w.held, 0xff, sizeof w.held);
    w.limits = (shoal_scheduler_limits){
        .rows_max = 1 + below(&w, chance(&w, 50) ? 8 : 64),
        .sequences_max = 1 + below(&w, 10),
        .chunk = 1 + below(&w, chance(&w, 50) ? 8 : 64),
        .pages = 1 + below(&w, chance(&w, 50) ? 8 : PAGES_MAX),
        .waiting_max = 1 + below(&w, GUESTS),
        .prefix_cache = chance(&w, 80),
    };
    assert_int_equal(shoal_scheduler_create(&w.limits, &w.scheduler), SHOAL_OK);
    while (w.plans < EVENT_PLANS) {
        something_happens(&w);
        check_plan(&w);
        if (!chance(&w, 2))
            compute_plan(&w, true);
    }
    release_apart(&w);
    const int64_t plans_max = w.plans + rows_to_come(&w) * (w.limits.sequences_max + 1);
    while (present(&w) > 0) {
        check_plan(&w);
        compute_plan(&w, false);
        require(&w, w.plans <= plans_max); /* everybody ends */
    }
    shoal_scheduler_stats stats;
    shoal_scheduler_stats_get(w.scheduler, &stats);
    require(&w, stats.running == 0 && stats.waiting == 0 && stats.pages_free == stats.pages_total);
    sum->preemptions += stats.preemptions;
    sum->cache_queries += stats.cache_queries;
    sum->cache_hits += stats.cache_hits;
    shoal_scheduler_destroy(w.scheduler);
    for (int i = 0; i < GUESTS; i++)
        shoal_ids_free(&w.guests[i].tokens);
}

static void random_workloads(void **state)
{
    (void)state;
    shoal_scheduler_stats sum = {0};
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed, &sum);
    printf("%d runs: %llu preemptions, %llu of %llu tokens found\n", RUNS,
           (unsigned long long)sum.preemptions, (unsigned long long)sum.cache_hits,
           (unsigned long long)sum.cache_queries);
    /* A workload in which nothing happens would prove nothing. */
    assert_true(sum.preemptions > RUNS && sum.cache_hits > sum.cache_queries / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_workloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

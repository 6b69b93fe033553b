/* The scheduler, one promise at a time, and in thousands of random workloads on a model of the
 * cache: what each page holds is written down when a step is done, so that every listed page can be
 * compared with the tokens of the sequence that lists it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/clock.h"
#include "coordinator/serve/scheduler.h"
#include "kernels/backend.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "tests/support/sanitized.h"
#include "worker/step.h"

/* A debug or sanitizer build promises nothing about time, and does less in the same time. */
#if defined(__OPTIMIZE__) && !SANITIZED
#define PLAN_SECONDS_MAX 50e-6
#define RUNS             4000
#else
#define PLAN_SECONDS_MAX 1e-3
#define RUNS             1000
#endif

/* ---- tools of the single promises ------------------------------------------------------------ */

#define CLIENTS 300

/* A scheduler and the token lists of sequences 1, 2, ... */
typedef struct {
    shoal_scheduler *scheduler;
    shoal_ids tokens[CLIENTS];
    shoal_schedule plan;
} bench;

static const shoal_scheduler_limits roomy = {.rows_max = 64,
                                             .sequences_max = 8,
                                             .chunk = 32,
                                             .pages = 64,
                                             .waiting_max = 100,
                                             .prefix_cache = true};

static bench *set_up(const shoal_scheduler_limits *limits)
{
    static bench b;
    b = (bench){0};
    assert_int_equal(shoal_scheduler_create(limits, &b.scheduler), SHOAL_OK);
    return &b;
}

static void tear_down(bench *b)
{
    shoal_scheduler_destroy(b->scheduler);
    for (int i = 0; i < CLIENTS; i++)
        shoal_ids_free(&b->tokens[i]);
}

/* Tokens are text, text + 1, ...: equal texts are equal prompts. */
static shoal_status add_entry(bench *b, shoal_scheduler_entry entry, int32_t prompt, int32_t text)
{
    shoal_ids *ids = &b->tokens[entry.id];
    ids->count = 0;
    for (int32_t i = 0; i < prompt; i++)
        assert_int_equal(shoal_ids_push(ids, text + i), SHOAL_OK);
    entry.tokens = ids;
    return shoal_scheduler_add(b->scheduler, &entry);
}

static void add(bench *b, uint64_t id, int32_t prompt, int64_t tokens_max, int32_t text)
{
    const shoal_scheduler_entry entry = {.id = id, .tokens_max = tokens_max};
    assert_int_equal(add_entry(b, entry, prompt, text), SHOAL_OK);
}

static int plan(bench *b)
{
    assert_int_equal(shoal_scheduler_plan(b->scheduler, &b->plan), SHOAL_OK);
    return b->plan.count;
}

static const shoal_scheduler_part *part_of(const bench *b, uint64_t id)
{
    for (int i = 0; i < b->plan.count; i++)
        if (b->plan.parts[i].id == id)
            return &b->plan.parts[i];
    return NULL;
}

static int64_t rows_of(const bench *b, uint64_t id)
{
    const shoal_scheduler_part *part = part_of(b, id);
    return part ? part->rows : 0;
}

/* The step is computed; token 9 is sampled for everybody who wanted one. */
static void compute(bench *b)
{
    shoal_scheduler_done(b->scheduler);
    for (int i = 0; i < b->plan.count; i++)
        if (b->plan.parts[i].last)
            assert_int_equal(shoal_ids_push(&b->tokens[b->plan.parts[i].id], 9), SHOAL_OK);
}

static void step(bench *b)
{
    assert_true(plan(b) > 0);
    compute(b);
}

static shoal_scheduler_stats stats_of(const bench *b)
{
    shoal_scheduler_stats stats;
    shoal_scheduler_stats_get(b->scheduler, &stats);
    return stats;
}

/* ---- single promises ------------------------------------------------------------------------- */

static void refusals(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.waiting_max = 2;
    limits.sequences_max = 1;
    bench *b = set_up(&limits);
    const int64_t room = limits.pages * SHOAL_PAGE;
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 1, .tokens_max = room + 1}, 5, 0),
                     SHOAL_ERR_USAGE);
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 1, .tokens_max = 4}, 5, 0),
                     SHOAL_ERR_USAGE);
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 1, .tokens_max = 4}, 0, 0),
                     SHOAL_ERR_USAGE);
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 0, .tokens_max = 9}, 5, 0),
                     SHOAL_ERR_INTERNAL);
    add(b, 1, 5, room, 0);
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 1, .tokens_max = 9}, 5, 0),
                     SHOAL_ERR_INTERNAL);
    add(b, 2, 5, 9, 0);
    assert_int_equal(add_entry(b, (shoal_scheduler_entry){.id = 3, .tokens_max = 9}, 5, 0),
                     SHOAL_ERR_TEMPORARY);
    step(b); /* 1 runs, so one more may wait */
    add(b, 3, 5, 9, 0);
    shoal_scheduler_reset(b->scheduler); /* 1 waits again, but not for the first time */
    assert_int_equal(stats_of(b).waiting, 3);
    shoal_scheduler_remove(b->scheduler, 3);
    add(b, 4, 5, 9, 0);
    shoal_scheduler_remove(b->scheduler, 77);
    shoal_scheduler_hold_apart(b->scheduler, 77, true);
    tear_down(b);
}

static void limits_are_checked(void **state)
{
    (void)state;
    shoal_scheduler *scheduler;
    for (int i = 0; i < 8; i++) {
        shoal_scheduler_limits limits = roomy;
        int64_t *const fields[] = {&limits.rows_max,      &limits.sequences_max, &limits.chunk,
                                   &limits.pages,         &limits.waiting_max,   &limits.rows_max,
                                   &limits.sequences_max, &limits.waiting_max};
        const int64_t values[] = {0,
                                  0,
                                  0,
                                  0,
                                  0,
                                  SHOAL_STEP_ROWS_MAX + 1,
                                  SHOAL_SEQUENCES_MAX + 1,
                                  SHOAL_SCHEDULER_WAITING_MAX + 1};
        *fields[i] = values[i];
        assert_int_equal(shoal_scheduler_create(&limits, &scheduler), SHOAL_ERR_USAGE);
    }
    shoal_scheduler_destroy(NULL);
}

static void growth_beyond_the_announced_is_refused(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 16, 16, 0);
    assert_int_equal(shoal_ids_push(&b->tokens[1], 1), SHOAL_OK);
    assert_int_equal(shoal_scheduler_plan(b->scheduler, &b->plan), SHOAL_ERR_INTERNAL);
    tear_down(b);
}

static void chunks_then_decodes(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 70, 80, 0);
    const int64_t rows[] = {32, 32, 6, 1, 1};
    int64_t position = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(plan(b), 1);
        const shoal_scheduler_part *part = part_of(b, 1);
        assert_int_equal(part->position, position);
        assert_int_equal(part->rows, rows[i]);
        assert_int_equal(part->last, i >= 2);
        assert_int_equal(part->page_count, (position + rows[i] + SHOAL_PAGE - 1) / SHOAL_PAGE);
        position += rows[i];
        compute(b);
    }
    shoal_scheduler_remove(b->scheduler, 1);
    assert_int_equal(plan(b), 0);
    assert_int_equal(stats_of(b).pages_free, roomy.pages);
    assert_int_equal(stats_of(b).pages_cached, 72 / SHOAL_PAGE);
    tear_down(b);
}

/* 33 tokens: two full pages are found, the last token is computed. Of 32 only one page is: the
 * last token would not be computed otherwise. */
static void the_last_token_is_always_computed(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 33, 40, 0);
    step(b);
    step(b);
    add(b, 2, 33, 40, 0);
    add(b, 3, 32, 40, 0);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 32);
    assert_int_equal(part_of(b, 2)->pages[1], part_of(b, 1)->pages[1]);
    assert_int_not_equal(part_of(b, 2)->pages[2], part_of(b, 1)->pages[2]);
    assert_int_equal(part_of(b, 3)->position, 16);
    assert_int_equal(stats_of(b).cache_queries, 33 + 33 + 32);
    assert_int_equal(stats_of(b).cache_hits, 32 + 16);
    tear_down(b);
}

static void sampled_tokens_are_found_again(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 10, 40, 0);
    while (b->tokens[1].count < 34)
        step(b);
    shoal_ids *next = &b->tokens[2]; /* the conversation goes on */
    assert_int_equal(shoal_ids_append(next, &b->tokens[1]), SHOAL_OK);
    shoal_scheduler_remove(b->scheduler, 1);
    const shoal_scheduler_entry entry = {.id = 2, .tokens = next, .tokens_max = 60};
    assert_int_equal(shoal_scheduler_add(b->scheduler, &entry), SHOAL_OK);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 32);
    tear_down(b);
}

/* Two compute the same page at the same time: afterwards there is one of it. */
static void twins_share_after_all(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 20, 40, 0);
    add(b, 2, 20, 40, 0);
    plan(b);
    assert_int_not_equal(part_of(b, 1)->pages[0], part_of(b, 2)->pages[0]);
    compute(b);
    plan(b);
    assert_int_equal(part_of(b, 1)->pages[0], part_of(b, 2)->pages[0]);
    assert_int_not_equal(part_of(b, 1)->pages[1], part_of(b, 2)->pages[1]);
    assert_int_equal(stats_of(b).pages_free, roomy.pages - 3);
    tear_down(b);
}

static void without_a_cache_nothing_is_kept(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.prefix_cache = false;
    bench *b = set_up(&limits);
    add(b, 1, 32, 40, 0);
    step(b);
    add(b, 2, 32, 40, 0);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 0);
    compute(b);
    shoal_scheduler_remove(b->scheduler, 1);
    shoal_scheduler_remove(b->scheduler, 2);
    assert_int_equal(stats_of(b).pages_cached, 0);
    assert_int_equal(stats_of(b).pages_free, limits.pages);
    assert_int_equal(stats_of(b).cache_queries, 0);
    tear_down(b);
}

static void followers_wait_for_the_prompt(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 70, 90, 0);
    const shoal_scheduler_entry second = {.id = 2, .tokens_max = 90, .follows = 1};
    assert_int_equal(add_entry(b, second, 70, 0), SHOAL_OK);
    add(b, 3, 5, 10, 500); /* is not held up by somebody who only follows */
    plan(b);
    assert_null(part_of(b, 2));
    assert_int_equal(rows_of(b, 3), 5);
    compute(b);
    step(b);
    plan(b);
    assert_null(part_of(b, 2)); /* the prompt's last chunk is in this step */
    compute(b);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 64);
    tear_down(b);
}

static void followers_go_when_the_other_is_gone(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 70, 90, 0);
    const shoal_scheduler_entry second = {.id = 2, .tokens_max = 90, .follows = 1};
    assert_int_equal(add_entry(b, second, 70, 0), SHOAL_OK);
    step(b);
    shoal_scheduler_remove(b->scheduler, 1);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 32); /* what the other had done */
    tear_down(b);
}

/* Whom one names must have come before: two that name each other do not wait for ever. */
static void nobody_follows_in_a_circle(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    const shoal_scheduler_entry first = {.id = 1, .tokens_max = 90, .follows = 2};
    const shoal_scheduler_entry second = {.id = 2, .tokens_max = 90, .follows = 1};
    assert_int_equal(add_entry(b, first, 20, 0), SHOAL_OK);
    assert_int_equal(add_entry(b, second, 20, 0), SHOAL_OK);
    plan(b);
    assert_int_equal(rows_of(b, 1), 20);
    assert_null(part_of(b, 2));
    tear_down(b);
}

static void a_quarter_is_for_prefill(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.rows_max = limits.sequences_max = 8;
    bench *b = set_up(&limits);
    for (uint64_t id = 1; id <= 7; id++)
        add(b, id, 1, 200, (int32_t)id * 1000);
    step(b);
    assert_int_equal(plan(b), 7);
    add(b, 8, 20, 40, 0);
    int64_t turns[8] = {0};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(shoal_scheduler_plan(b->scheduler, &b->plan), SHOAL_OK);
        assert_int_equal(rows_of(b, 8), 2);
        assert_int_equal(b->plan.rows, 8);
        for (uint64_t id = 1; id <= 7; id++)
            turns[id] += rows_of(b, id);
        compute(b);
    }
    for (uint64_t id = 1; id <= 7; id++)
        assert_int_equal(turns[id], 6); /* 6 rows a step, 7 decodes, 7 steps: to each its share */
    tear_down(b);
}

static void prefill_leaves_what_it_does_not_need(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.rows_max = 8;
    bench *b = set_up(&limits);
    for (uint64_t id = 1; id <= 7; id++)
        add(b, id, 1, 200, (int32_t)id * 1000);
    step(b);
    add(b, 8, 1, 40, 0); /* one row, though two are set aside */
    assert_int_equal(plan(b), 8);
    tear_down(b);
}

static void first_come_first_served(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 8;
    limits.rows_max = limits.chunk = 128;
    bench *b = set_up(&limits);
    add(b, 1, 60, 70, 0);
    step(b);
    add(b, 2, 100, 110, 1000); /* does not fit beside 1 */
    add(b, 3, 5, 10, 2000);    /* would */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(plan(b), 1);
        assert_non_null(part_of(b, 1));
        compute(b);
    }
    const shoal_scheduler_entry urgent = {.id = 4, .tokens_max = 10, .priority = -1};
    assert_int_equal(add_entry(b, urgent, 5, 3000), SHOAL_OK);
    assert_int_equal(plan(b), 2);
    assert_non_null(part_of(b, 4));
    compute(b);
    shoal_scheduler_remove(b->scheduler, 1);
    plan(b);
    assert_int_equal(rows_of(b, 2), 100);
    tear_down(b);
}

/* Eight pages. 2 lacks six of them while 1 keeps six for itself, but only two once it can share. */
static void a_finished_prompt_may_make_others_fit(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 8;
    bench *b = set_up(&limits);
    add(b, 1, 80, 90, 0);
    add(b, 2, 80, 90, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(plan(b), 1);
        compute(b);
    }
    assert_int_equal(plan(b), 2);
    assert_int_equal(part_of(b, 2)->position, 64);
    tear_down(b);
}

/* Four pages. 1 and 2 use two each; when 1 needs a third, 2 gives way, and comes back at its own
 * place, before 3, starting from what is left of its pages. */
static void the_youngest_gives_way(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 4;
    bench *b = set_up(&limits);
    add(b, 1, 15, 64, 0);
    add(b, 2, 15, 64, 1000);
    while (b->tokens[1].count < 33)
        step(b);
    add(b, 3, 5, 10, 2000);
    assert_int_equal(stats_of(b).preemptions, 0);
    assert_int_equal(plan(b), 1);
    assert_int_equal(part_of(b, 1)->position, 32);
    assert_int_equal(part_of(b, 1)->page_count, 3);
    assert_int_equal(stats_of(b).preemptions, 1);
    assert_int_equal(stats_of(b).waiting, 2);
    compute(b);
    for (int i = 0; i < 5; i++)
        step(b);
    assert_int_equal(stats_of(b).waiting, 2);
    shoal_scheduler_remove(b->scheduler, 1);
    plan(b);
    assert_int_equal(part_of(b, 2)->position, 16); /* the first of its pages was still there */
    assert_null(part_of(b, 3));                    /* 2 has room to grow by the fourth */
    tear_down(b);
}

/* The one that lacks a page is the youngest: it is left out, and nobody is preempted. */
static void the_youngest_does_without(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 4;
    bench *b = set_up(&limits);
    add(b, 1, 10, 64, 0);
    add(b, 2, 16, 64, 1000);
    while (b->tokens[2].count < 33)
        step(b);
    assert_int_equal(plan(b), 1);
    assert_non_null(part_of(b, 1));
    assert_int_equal(stats_of(b).preemptions, 0);
    tear_down(b);
}

static void priority_decides_who_gives_way(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 4;
    bench *b = set_up(&limits);
    const shoal_scheduler_entry patient = {.id = 1, .tokens_max = 64, .priority = 5};
    assert_int_equal(add_entry(b, patient, 15, 0), SHOAL_OK);
    add(b, 2, 15, 64, 1000);
    while (b->tokens[2].count < 33)
        step(b);
    plan(b);
    assert_null(part_of(b, 1)); /* older, but of lower priority */
    assert_int_equal(part_of(b, 2)->page_count, 3);
    tear_down(b);
}

static void reset_starts_over(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 40, 60, 0);
    add(b, 2, 40, 60, 1000);
    step(b);
    plan(b); /* is out when the generation is lost */
    shoal_scheduler_reset(b->scheduler);
    shoal_scheduler_done(b->scheduler); /* counts for nothing now */
    assert_int_equal(stats_of(b).running, 0);
    assert_int_equal(stats_of(b).waiting, 2);
    assert_int_equal(stats_of(b).pages_free, roomy.pages);
    assert_int_equal(stats_of(b).pages_cached, 0);
    assert_int_equal(stats_of(b).preemptions, 0);
    plan(b);
    assert_int_equal(part_of(b, 1)->position, 0);
    assert_int_equal(part_of(b, 2)->position, 0);
    tear_down(b);
}

static void held_apart_means_alone(void **state)
{
    (void)state;
    shoal_scheduler_limits limits = roomy;
    limits.pages = 6;
    limits.sequences_max = 2;
    bench *b = set_up(&limits);
    add(b, 1, 32, 50, 0);
    add(b, 2, 32, 50, 1000);
    step(b);
    add(b, 3, 40, 96, 2000);
    add(b, 4, 5, 9, 3000);
    shoal_scheduler_hold_apart(b->scheduler, 4, true);
    shoal_scheduler_hold_apart(b->scheduler, 3, true);
    assert_int_equal(plan(b), 1); /* though places and pages are taken by others */
    assert_int_equal(rows_of(b, 3), 32);
    compute(b);
    shoal_scheduler_hold_apart(b->scheduler, 3, false);
    assert_int_equal(plan(b), 1);
    assert_int_equal(rows_of(b, 4), 5);
    compute(b);
    shoal_scheduler_hold_apart(b->scheduler, 4, false);
    assert_int_equal(plan(b), 2);
    tear_down(b);
}

/* A row error: what it spoilt must not be found by the next with the same prompt. */
static void what_was_removed_in_time_is_not_kept(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 40, 60, 0);
    add(b, 2, 40, 60, 1000);
    plan(b);
    shoal_scheduler_remove(b->scheduler, 1);
    compute(b);
    add(b, 3, 40, 60, 0);
    plan(b);
    assert_int_equal(part_of(b, 3)->position, 0);
    assert_int_equal(part_of(b, 2)->position, 32);
    tear_down(b);
}

static void a_plan_may_be_dropped(void **state)
{
    (void)state;
    bench *b = set_up(&roomy);
    add(b, 1, 40, 60, 0);
    plan(b);
    plan(b);
    assert_int_equal(part_of(b, 1)->position, 0);
    assert_int_equal(rows_of(b, 1), 32);
    tear_down(b);
}

/* Whatever allocation fails, the sequence is not there, and the next try succeeds. */
static void want_of_memory(void **state)
{
    (void)state;
    shoal_scheduler *scheduler;
    const uint64_t before = shoal_mem_live(SHOAL_MEM_OTHER);
    uint64_t nth = 0;
    for (;;) {
        shoal_mem_fail_nth(++nth);
        if (shoal_scheduler_create(&roomy, &scheduler) == SHOAL_OK)
            break;
        assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), before);
    }
    assert_true(nth > 4);
    shoal_mem_fail_nth(0);

    int32_t data[] = {1, 2, 3};
    const shoal_ids tokens = {.data = data, .count = 3, .capacity = 3};
    const shoal_scheduler_entry entry = {.id = 1, .tokens = &tokens, .tokens_max = 5};
    for (nth = 1; nth <= 2; nth++) {
        shoal_mem_fail_nth(1);
        assert_int_equal(shoal_scheduler_add(scheduler, &entry), SHOAL_ERR_TEMPORARY);
        shoal_mem_fail_nth(0);
    }
    assert_int_equal(shoal_scheduler_add(scheduler, &entry), SHOAL_OK);
    shoal_scheduler_destroy(scheduler);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), before);
}

/* The best of many plans, because the machine may be busy with other things. */
static void a_plan_of_256_decodes_is_cheap(void **state)
{
    (void)state;
    const shoal_scheduler_limits limits = {.rows_max = 512,
                                           .sequences_max = 256,
                                           .chunk = 512,
                                           .pages = 256 * 64,
                                           .waiting_max = 256,
                                           .prefix_cache = true};
    bench *b = set_up(&limits);
    double plan_best = 1, done_best = 1;
    for (uint64_t id = 1; id <= 256; id++)
        add(b, id, 1, 600, (int32_t)id * 1000);
    step(b);
    for (int i = 0; i < 500; i++) {
        const double begin = shoal_clock_seconds();
        assert_int_equal(plan(b), 256);
        const double planned = shoal_clock_seconds();
        compute(b);
        const double computed = shoal_clock_seconds();
        plan_best = planned - begin < plan_best ? planned - begin : plan_best;
        done_best = computed - planned < done_best ? computed - planned : done_best;
    }
    printf("256 decodes: planned in %.1f us, taken back in %.1f us\n", plan_best * 1e6,
           done_best * 1e6);
    assert_true(plan_best < PLAN_SECONDS_MAX);
    tear_down(b);
}

/* ---- random workloads ------------------------------------------------------------------------ */

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
        cmocka_unit_test(refusals),
        cmocka_unit_test(limits_are_checked),
        cmocka_unit_test(growth_beyond_the_announced_is_refused),
        cmocka_unit_test(chunks_then_decodes),
        cmocka_unit_test(the_last_token_is_always_computed),
        cmocka_unit_test(sampled_tokens_are_found_again),
        cmocka_unit_test(twins_share_after_all),
        cmocka_unit_test(without_a_cache_nothing_is_kept),
        cmocka_unit_test(followers_wait_for_the_prompt),
        cmocka_unit_test(followers_go_when_the_other_is_gone),
        cmocka_unit_test(nobody_follows_in_a_circle),
        cmocka_unit_test(a_quarter_is_for_prefill),
        cmocka_unit_test(prefill_leaves_what_it_does_not_need),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(a_finished_prompt_may_make_others_fit),
        cmocka_unit_test(the_youngest_gives_way),
        cmocka_unit_test(the_youngest_does_without),
        cmocka_unit_test(priority_decides_who_gives_way),
        cmocka_unit_test(reset_starts_over),
        cmocka_unit_test(held_apart_means_alone),
        cmocka_unit_test(what_was_removed_in_time_is_not_kept),
        cmocka_unit_test(a_plan_may_be_dropped),
        cmocka_unit_test(want_of_memory),
        cmocka_unit_test(a_plan_of_256_decodes_is_cheap),
        cmocka_unit_test(random_workloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

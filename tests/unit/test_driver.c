/* The driver on an engine that dies: nothing lost, nothing doubled, the guilty alone punished. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include "coordinator/serve/driver.h"
#include "coordinator/serve/restart_policy.h"
#include "tests/unit/fake_engine.h"

#define SEQUENCES_MAX 24

/* One sequence, what it should say and what it said. */
typedef struct {
    shoal_ids prompt;
    uint64_t id;
    int64_t max_tokens, output;
    int32_t expected[FAKE_CONTEXT];
    shoal_finish finish;
    shoal_cause cause;
    bool cancelled;
} talk;

typedef struct {
    shoal_engine_request request;
    shoal_plan plan;
    shoal_metrics *metrics;
    shoal_driver *driver;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int changes;
    talk talks[SEQUENCES_MAX];
    int count;
} stage;

static uint32_t random_state;

static int chance(int below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)below);
}

/* ---- the stage ------------------------------------------------------------------------------- */

static void notify(void *context)
{
    stage *s = context;
    (void)pthread_mutex_lock(&s->lock);
    s->changes++;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

/* Wait for a change after the `seen`-th. */
static int wait_for_change(stage *s, int seen)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->changes == seen)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    seen = s->changes;
    (void)pthread_mutex_unlock(&s->lock);
    return seen;
}

static void wait_for_state(stage *s, shoal_driver_state state)
{
    int seen = 0;
    while (shoal_driver_state_get(s->driver) != state)
        seen = wait_for_change(s, seen);
}

static void raise_curtain(stage *s, int64_t waiting_max)
{
    const shoal_driver_settings settings = {
        .engine = &s->request,
        .open = fake_open,
        .plan = &s->plan,
        .waiting_max = waiting_max,
        .prefix_cache = true,
        .notify = notify,
        .context = s,
    };
    memset(s, 0, sizeof *s);
    s->plan.ranks = 1;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    assert_int_equal(shoal_metrics_create("fake", &s->metrics), SHOAL_OK);
    shoal_driver_settings own = settings;
    own.metrics = s->metrics;
    assert_int_equal(shoal_driver_start(&own, &s->driver), SHOAL_OK);
}

static void drop_curtain(stage *s, shoal_status expected)
{
    assert_int_equal(shoal_driver_stop(s->driver), expected);
    shoal_driver_destroy(s->driver);
    shoal_metrics_destroy(s->metrics);
    for (int i = 0; i < s->count; i++)
        shoal_ids_free(&s->talks[i].prompt);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
}

static void reset_fake(void)
{
    fake = (fake_script){.pages = 64,
                         .rows_max = 32,
                         .sequences_max = 8,
                         .poison = FAKE_NONE,
                         .overflow = FAKE_NONE};
}

/* ---- talking --------------------------------------------------------------------------------- */

static talk *prepare_talk(stage *s, int first, int length, int64_t max_tokens)
{
    talk *t = &s->talks[s->count++];
    int32_t known[2 * FAKE_CONTEXT];
    t->max_tokens = max_tokens;
    for (int i = 0; i < length; i++) {
        known[i] = (first + i * i) % (FAKE_VOCAB - 2);
        assert_int_equal(shoal_ids_push(&t->prompt, known[i]), SHOAL_OK);
    }
    for (int64_t i = 0; i < max_tokens; i++) {
        t->expected[i] = fake_next(known, length + i);
        known[length + i] = t->expected[i];
    }
    return t;
}

static shoal_submit submit(stage *s, talk *t)
{
    const shoal_journal_order order = {
        .prompt = &t->prompt,
        .max_tokens = t->max_tokens,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1},
    };
    shoal_submit taken;
    assert_int_equal(shoal_driver_submit(s->driver, &order, 1, false, &t->id, &taken), SHOAL_OK);
    return taken;
}

static void take_event(stage *s, const shoal_driver_event *event)
{
    for (int i = 0; i < s->count; i++) {
        talk *t = &s->talks[i];
        if (t->id != event->sequence)
            continue;
        assert_int_equal(t->finish, SHOAL_FINISH_NONE);
        if (event->has_token) {
            assert_true(t->output < t->max_tokens);
            assert_int_equal(event->token.token, t->expected[t->output]);
            t->output++;
        }
        t->finish = event->finish;
        t->cause = event->cause;
    }
}

static bool all_ended(const stage *s)
{
    for (int i = 0; i < s->count; i++)
        if (s->talks[i].finish == SHOAL_FINISH_NONE && !s->talks[i].cancelled)
            return false;
    return true;
}

static void take_events(stage *s, shoal_driver_events *events)
{
    shoal_driver_collect(s->driver, events);
    for (int i = 0; i < events->count; i++)
        take_event(s, &events->items[i]);
    events->count = 0;
}

static void listen_to_all(stage *s)
{
    shoal_driver_events events = {0};
    int seen = 0;
    take_events(s, &events);
    while (!all_ended(s)) {
        seen = wait_for_change(s, seen);
        take_events(s, &events);
    }
    shoal_driver_events_free(&events);
}

static void expect_whole(const talk *t)
{
    assert_int_equal(t->finish, SHOAL_FINISH_LENGTH);
    assert_int_equal(t->output, t->max_tokens);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_plain(void **state)
{
    stage s;
    (void)state;
    reset_fake();
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    for (int i = 0; i < 12; i++)
        assert_int_equal(submit(&s, prepare_talk(&s, 7 * i, 3 + 9 * i, 5 + i)), SHOAL_SUBMIT_OK);
    listen_to_all(&s);
    for (int i = 0; i < s.count; i++)
        expect_whole(&s.talks[i]);
    assert_int_equal(fake.opened, 1);
    drop_curtain(&s, SHOAL_OK);
}

/* Whatever the moments of death: every sequence says exactly what it should. The deaths
 * are so far apart that everybody brings a token in between: nobody is suspected twice. */
static void test_deaths(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++) {
        stage s;
        int step = 0;
        random_state = seed;
        reset_fake();
        fake.pages = 20 + chance(60);
        fake.rows_max = 48 + chance(60);
        fake.death_count = chance(6);
        for (int i = 0; i < fake.death_count; i++)
            fake.deaths[i] = step += 60 + chance(60);
        raise_curtain(&s, 100);
        wait_for_state(&s, SHOAL_DRIVER_SERVING);
        const int count = 1 + chance(16);
        for (int i = 0; i < count; i++)
            (void)prepare_talk(&s, chance(3), 1 + chance(100), 1 + chance(40));
        for (int i = 0; i < count; i++)
            while (submit(&s, &s.talks[i]) != SHOAL_SUBMIT_OK)
                wait_for_state(&s, SHOAL_DRIVER_SERVING);
        listen_to_all(&s);
        for (int i = 0; i < count; i++)
            expect_whole(&s.talks[i]);
        drop_curtain(&s, SHOAL_OK);
    }
}

static void test_poison(void **state)
{
    stage s;
    (void)state;
    reset_fake();
    fake.poison = FAKE_VOCAB - 1;
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    for (int i = 0; i < 6; i++)
        (void)prepare_talk(&s, 11 * i, 20, 12);
    for (int i = 0; i < 6; i++) { /* the innocent must not meet the token by themselves */
        for (int64_t k = 0; k < 12; k++)
            assert_int_not_equal(s.talks[i].expected[k], fake.poison);
        if (i == 3)
            s.talks[3].prompt.data[10] = fake.poison;
        assert_int_equal(submit(&s, &s.talks[i]), SHOAL_SUBMIT_OK);
    }
    listen_to_all(&s);
    for (int i = 0; i < 6; i++)
        if (i != 3)
            expect_whole(&s.talks[i]);
    assert_int_equal(s.talks[3].finish, SHOAL_FINISH_ERROR);
    assert_int_equal(s.talks[3].cause, SHOAL_CAUSE_QUARANTINED);
    drop_curtain(&s, SHOAL_OK);
}

/* The error comes again each time: what it spoilt is not found in the prefix cache. */
static void test_row_error(void **state)
{
    stage s;
    (void)state;
    reset_fake();
    fake.overflow = FAKE_VOCAB - 1;
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    for (int round = 0; round < 3; round++) {
        talk *good = prepare_talk(&s, 5, 30, 10), *bad = prepare_talk(&s, 6, 30, 10);
        bad->prompt.data[3] = fake.overflow;
        assert_int_equal(submit(&s, bad), SHOAL_SUBMIT_OK);
        assert_int_equal(submit(&s, good), SHOAL_SUBMIT_OK);
        listen_to_all(&s);
        expect_whole(good);
        assert_int_equal(bad->cause, SHOAL_CAUSE_OVERFLOW);
    }
    assert_int_equal(fake.opened, 1);
    drop_curtain(&s, SHOAL_OK);
}

static void test_gives_up(void **state)
{
    stage s;
    (void)state;
    reset_fake();
    fake.failing_opens = 100;
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_FAILED);
    talk *late = prepare_talk(&s, 1, 4, 4);
    assert_int_equal(submit(&s, late), SHOAL_SUBMIT_NOT_SERVING);
    assert_int_equal(fake.opened, SHOAL_RESTARTS_MAX);
    drop_curtain(&s, SHOAL_ERR_INTERNAL);
}

static void test_queue_is_bounded(void **state)
{
    stage s;
    int taken = 0;
    (void)state;
    reset_fake();
    fake.sequences_max = 1;
    raise_curtain(&s, 3);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    for (int i = 0; i < SEQUENCES_MAX; i++) {
        talk *t = prepare_talk(&s, i, 90, 100);
        const shoal_submit answer = submit(&s, t);
        taken += answer == SHOAL_SUBMIT_OK;
        if (answer == SHOAL_SUBMIT_OK)
            continue;
        assert_int_equal(answer, SHOAL_SUBMIT_FULL);
        shoal_ids_free(&t->prompt);
        s.count--;
    }
    assert_in_range(taken, 3, SEQUENCES_MAX);
    listen_to_all(&s);
    drop_curtain(&s, SHOAL_OK);
}

static void expect_counted(const stage *s, const char *reason)
{
    const shoal_metrics_gauges gauges = {.state = "ended"};
    char none[128];
    shoal_strbuf text = {0};
    assert_int_equal(shoal_metrics_write(s->metrics, &gauges, &text), SHOAL_OK);
    (void)snprintf(none, sizeof none, "finished_reason=\"%s\"} 0\n", reason);
    assert_null(strstr(text.data, none));
    assert_non_null(strstr(text.data, reason));
    shoal_strbuf_free(&text);
}

/* Ten thousand that are not wanted any more leave every page free, and are counted as what they
 * were: given up, or complete. */
static void test_cancels(void **state)
{
    stage s;
    shoal_metrics_gauges gauges = {0};
    shoal_rank_view rank;
    (void)state;
    reset_fake();
    raise_curtain(&s, 20000);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    for (int i = 0; i < 10000; i++) {
        s.count = 0;
        memset(s.talks, 0, sizeof s.talks[0]);
        talk *t = prepare_talk(&s, i % 100, 1 + i % 60, 50);
        assert_int_equal(submit(&s, t), SHOAL_SUBMIT_OK);
        shoal_driver_cancel(s.driver, t->id, i % 2 ? SHOAL_FINISH_STOP : SHOAL_FINISH_NONE);
        shoal_ids_free(&t->prompt);
    }
    s.count = 0;
    memset(s.talks, 0, sizeof s.talks[0]);
    assert_int_equal(submit(&s, prepare_talk(&s, 3, 40, 20)), SHOAL_SUBMIT_OK);
    listen_to_all(&s);
    expect_whole(&s.talks[0]);
    shoal_driver_drain(s.driver);
    wait_for_state(&s, SHOAL_DRIVER_ENDED);
    shoal_driver_view(s.driver, &gauges, &rank, 1);
    assert_int_equal(gauges.scheduler.pages_free, fake.pages);
    assert_int_equal(gauges.requests, 0);
    expect_counted(&s, "abort");
    expect_counted(&s, "stop");
    drop_curtain(&s, SHOAL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_poison),   cmocka_unit_test(test_row_error),
        cmocka_unit_test(test_gives_up), cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

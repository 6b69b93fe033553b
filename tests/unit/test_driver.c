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
#include "tests/unit/made_union.h"
#include "tests/unit/made_vocab.h"

#define SEQUENCES_MAX 24

/* One sequence, what it should say and what it said. */
typedef struct {
    shoal_ids prompt;
    uint64_t id;
    int64_t max_tokens, output;
    int32_t expected[FAKE_CONTEXT];
    shoal_token_masks *masks; /* of the form it must have, or NULL */
    shoal_finish finish, expected_finish;
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
    for (int i = 0; i < s->count; i++) {
        shoal_ids_free(&s->talks[i].prompt);
        shoal_token_masks_release(s->talks[i].masks);
    }
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
    t->expected_finish = SHOAL_FINISH_LENGTH;
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

/* What ends a text of the made vocabulary. */
static const int32_t form_end = MADE_END;

static shoal_submit submit(stage *s, talk *t)
{
    const shoal_journal_order order = {
        .prompt = &t->prompt,
        .max_tokens = t->max_tokens,
        .min_tokens = t->masks ? t->max_tokens : 0, /* a form knows better */
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1},
        .stop_ids = &form_end,
        .stop_count = t->masks != NULL,
        .masks = t->masks,
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
    assert_int_equal(t->finish, t->expected_finish);
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

/* ---- forms ----------------------------------------------------------------------------------- */

static const char form_schema[] =
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"integer\"}"
    "},\"t\":{\"type\":\"string\"}},\"required\":[\"a\",\"t\"],\"additionalProperties\":false}";

static shoal_grammar *form_grammar(void)
{
    shoal_grammar *grammar = NULL;
    json_t *schema = json_loads(form_schema, 0, NULL);
    assert_int_equal(shoal_grammar_from_schema(schema, &grammar), SHOAL_OK);
    json_decref(schema);
    return grammar;
}

/* Say by hand what the engine must make of it: masks that no driver has seen. */
static void expect_form(talk *t, shoal_token_masks *masks)
{
    int32_t known[2 * FAKE_CONTEXT], words;
    shoal_guide *guide = NULL;
    const int64_t most = t->max_tokens, length = (int64_t)t->prompt.count;
    assert_int_equal(shoal_guide_create(masks, &form_end, 1, &guide), SHOAL_OK);
    memcpy(known, t->prompt.data, t->prompt.count * sizeof *known);
    t->max_tokens = 0;
    while (t->max_tokens < most && !shoal_guide_must_end(guide)) {
        int32_t id = fake_next(known, length + t->max_tokens);
        assert_int_equal(shoal_guide_look(guide, most - t->max_tokens - 1), SHOAL_OK);
        const uint32_t *mask = shoal_guide_mask(guide, &words);
        while (!(mask[id / 32] >> (id % 32) & 1))
            id = (id + 1) % FAKE_VOCAB;
        known[length + t->max_tokens] = t->expected[t->max_tokens] = id;
        t->max_tokens++;
        if (id == form_end)
            break;
        assert_int_equal(shoal_guide_take(guide, id), SHOAL_OK);
    }
    assert_true(shoal_guide_may_end(guide)); /* there was enough room */
    t->expected_finish = SHOAL_FINISH_STOP;
    t->output = 0;
    shoal_guide_destroy(guide);
}

/* The text of a talk is what was asked for. */
static void expect_json(const shoal_tokenizer *tokenizer, const talk *t)
{
    shoal_strbuf text = {0};
    assert_int_equal(shoal_tokenizer_decode(tokenizer, t->expected, (size_t)t->output, true, &text),
                     SHOAL_OK);
    json_t *json = json_loadb(text.data, text.bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), 2);
    assert_true(json_is_array(json_object_get(json, "a")));
    assert_true(json_is_string(json_object_get(json, "t")));
    json_decref(json);
    shoal_strbuf_free(&text);
}

/* Beside sequences that are free, over deaths and preemptions: each says what it should, whole. */
static void run_forms(const shoal_vocab_trie *trie, shoal_grammar *grammar, uint32_t seed)
{
    stage s;
    int64_t most[SEQUENCES_MAX];
    shoal_token_masks *own = NULL;
    random_state = seed;
    reset_fake();
    fake.pages = 16 + chance(60);
    fake.death_count = chance(4);
    for (int i = 0; i < fake.death_count; i++)
        fake.deaths[i] = 80 * (i + 1) + chance(60);
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    assert_int_equal(shoal_token_masks_create(grammar, trie, &own), SHOAL_OK);
    for (int i = 0; i < 8; i++) {
        talk *t = prepare_talk(&s, chance(400), 1 + chance(60), most[i] = 40 + chance(80));
        if (i % 2)
            expect_form(t, own);
    }
    for (int i = 0; i < 8; i++) {
        talk *t = &s.talks[i];
        const int64_t tokens = t->max_tokens;
        if (i == 1)
            assert_int_equal(shoal_token_masks_create(grammar, trie, &t->masks), SHOAL_OK);
        else if (i % 2) /* the choices of one request share theirs */
            t->masks = shoal_token_masks_share(s.talks[1].masks);
        t->max_tokens = most[i];
        while (submit(&s, t) != SHOAL_SUBMIT_OK)
            wait_for_state(&s, SHOAL_DRIVER_SERVING);
        t->max_tokens = tokens;
    }
    listen_to_all(&s);
    for (int i = 0; i < 8; i++) {
        expect_whole(&s.talks[i]);
        if (i % 2)
            expect_json(trie->tokenizer, &s.talks[i]);
    }
    shoal_token_masks_release(own);
    drop_curtain(&s, SHOAL_OK);
}

static void test_forms(void **state)
{
    shoal_tokenizer *tokenizer = made_tokenizer();
    shoal_grammar *grammar = form_grammar();
    shoal_vocab_trie trie;
    (void)state;
    assert_int_equal(shoal_vocab_trie_build(tokenizer, FAKE_VOCAB, &trie), SHOAL_OK);
    for (uint32_t seed = 1; seed <= 20; seed++)
        run_forms(&trie, grammar, seed);
    shoal_grammar_release(grammar);
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(tokenizer);
}

/* A vocabulary of "a", "b" and one long token. */
static shoal_tokenizer *poor_tokenizer(const char *longest)
{
    char json[2048];
    shoal_tokenizer *tokenizer = NULL;
    const int bytes = snprintf(json, sizeof json,
                               "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
                               "\"vocab\":{\"a\":0,\"b\":1,\"%s\":2},\"merges\":[]}}",
                               longest);
    assert_int_equal(shoal_tokenizer_open_memory(json, (size_t)bytes, "made", &tokenizer),
                     SHOAL_OK);
    return tokenizer;
}

/* A form that cannot be followed ends with an error, at once or on the way: that it says. */
static void expect_failed_form(const shoal_vocab_trie *trie, shoal_grammar *grammar,
                               shoal_cause cause)
{
    stage s;
    reset_fake();
    raise_curtain(&s, 100);
    wait_for_state(&s, SHOAL_DRIVER_SERVING);
    talk *t = prepare_talk(&s, 5, 6, 20);
    t->expected[0] = t->expected[2] = 0;
    t->expected[1] = 1;
    assert_int_equal(shoal_token_masks_create(grammar, trie, &t->masks), SHOAL_OK);
    assert_int_equal(submit(&s, t), SHOAL_SUBMIT_OK);
    listen_to_all(&s);
    assert_int_equal(t->finish, SHOAL_FINISH_ERROR);
    assert_int_equal(t->cause, cause);
    drop_curtain(&s, SHOAL_OK);
    shoal_grammar_release(grammar);
}

/* The vocabulary cannot spell it, or it takes too much work to know what may come. */
static void test_failed_forms(void **state)
{
    static const char *const regexes[] = {"c", "abac"};
    char longest[1024] = "{\\\"a\\\":\\\"";
    shoal_vocab_trie trie;
    (void)state;
    memset(longest + strlen(longest), 'x', sizeof longest - 1 - strlen(longest));
    longest[sizeof longest - 1] = '\0';
    shoal_tokenizer *tokenizer = poor_tokenizer(longest);
    assert_int_equal(shoal_vocab_trie_build(tokenizer, FAKE_VOCAB, &trie), SHOAL_OK);
    for (int i = 0; i < 2; i++) {
        shoal_grammar *grammar = NULL;
        assert_int_equal(shoal_grammar_from_regex(regexes[i], strlen(regexes[i]), &grammar),
                         SHOAL_OK);
        expect_failed_form(&trie, grammar, SHOAL_CAUSE_FORM);
    }
    expect_failed_form(&trie, made_union(500), SHOAL_CAUSE_FORM_WORK);
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_poison),       cmocka_unit_test(test_row_error),
        cmocka_unit_test(test_gives_up),     cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_cancels),      cmocka_unit_test(test_forms),
        cmocka_unit_test(test_failed_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

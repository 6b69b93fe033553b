/* The small parts of serving: ids, routes, the journal's rules, the restart policy, clerks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "coordinator/serve/clerk.h"
#include "coordinator/serve/id_map.h"
#include "coordinator/serve/journal.h"
#include "coordinator/serve/restart_policy.h"
#include "coordinator/serve/route.h"
#include "proto/arena.h"

static void test_id_map(void **state)
{
    static int values[200];
    shoal_id_map map = {0};
    (void)state;
    for (int i = 0; i < 200; i++)
        assert_int_equal(shoal_id_map_add(&map, (uint64_t)(3 * i + 1), &values[i]), SHOAL_OK);
    assert_int_equal(shoal_id_map_add(&map, 598, &values[0]), SHOAL_ERR_INTERNAL);
    for (int i = 0; i < 200; i += 2)
        assert_ptr_equal(shoal_id_map_remove(&map, (uint64_t)(3 * i + 1)), &values[i]);
    assert_int_equal(map.count, 100);
    for (int i = 0; i < 200; i++) {
        void *expected = i % 2 ? &values[i] : NULL;
        assert_ptr_equal(shoal_id_map_find(&map, (uint64_t)(3 * i + 1)), expected);
        assert_null(shoal_id_map_find(&map, (uint64_t)(3 * i + 2)));
    }
    assert_null(shoal_id_map_remove(&map, 1));
    shoal_id_map_free(&map);
}

static void test_routes(void **state)
{
    static const struct {
        const char *path;
        shoal_route_id id;
    } cases[] = {
        {"/", SHOAL_ROUTE_PAGE},
        {"/health", SHOAL_ROUTE_LIVE},
        {"/health/live", SHOAL_ROUTE_LIVE},
        {"/health/ready", SHOAL_ROUTE_READY},
        {"/metrics", SHOAL_ROUTE_METRICS},
        {"/v1/models", SHOAL_ROUTE_MODELS},
        {"/v1/models/tiny", SHOAL_ROUTE_MODEL},
        {"/v1/models/", SHOAL_ROUTE_NONE},
        {"/v1/chat/completions", SHOAL_ROUTE_CHAT},
        {"/v1/completions", SHOAL_ROUTE_COMPLETION},
        {"/v1/completions/", SHOAL_ROUTE_NONE},
        {"/tokenize", SHOAL_ROUTE_TOKENIZE},
        {"/detokenize", SHOAL_ROUTE_DETOKENIZE},
        {"/healthy", SHOAL_ROUTE_NONE},
        {"//", SHOAL_ROUTE_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const shoal_route *route = shoal_route_find(cases[i].path);
        assert_int_equal(route ? route->id : SHOAL_ROUTE_NONE, cases[i].id);
        /* only the health routes are open to everybody */
        if (route)
            assert_int_equal(route->public, strncmp(cases[i].path, "/health", 7) == 0);
    }
    const shoal_route *model = shoal_route_find("/v1/models/a/b");
    char name[16];
    assert_true(shoal_route_parameter(model, "/v1/models/a/b", name, sizeof name));
    assert_string_equal(name, "a/b");
    assert_true(shoal_route_parameter(model, "/v1/models/a%2Fb%20%c3%bd", name, sizeof name));
    assert_string_equal(name, "a/b \xc3\xbd");
    assert_false(shoal_route_parameter(model, "/v1/models/a%2", name, sizeof name));
    assert_false(shoal_route_parameter(model, "/v1/models/a%", name, sizeof name));
    assert_false(shoal_route_parameter(model, "/v1/models/a%00b", name, sizeof name));
    assert_false(shoal_route_parameter(model, "/v1/models/0123456789abcdef", name, sizeof name));
    assert_true(shoal_route_allows(model, "HEAD"));
    assert_false(shoal_route_allows(model, "POST"));
    assert_false(shoal_route_allows(shoal_route_find("/tokenize"), "GET"));
}

static void test_journal_rules(void **state)
{
    static const int32_t stops[] = {7, 9};
    static const shoal_step_bias bias = {5, 1.5f};
    shoal_ids prompt = {0};
    shoal_journal_entry *e;
    shoal_journal journal = {0};
    (void)state;
    assert_int_equal(shoal_ids_push(&prompt, 3), SHOAL_OK);
    const shoal_journal_order order = {.prompt = &prompt,
                                       .max_tokens = 4,
                                       .min_tokens = 1,
                                       .biases = &bias,
                                       .bias_count = 1,
                                       .stop_ids = stops,
                                       .stop_count = 2};
    assert_int_equal(shoal_journal_entry_create(17, &order, &e), SHOAL_OK);
    assert_int_equal(shoal_journal_add(&journal, e), SHOAL_OK);
    assert_ptr_equal(shoal_journal_find(&journal, 17), e);
    assert_int_equal(shoal_journal_biases(e), 3); /* stop ids are banned at first */
    assert_int_equal(e->biases[1].id, 7);
    assert_true(e->biases[2].bias == SHOAL_BANNED_BIAS);
    assert_int_equal(shoal_ids_push(&e->tokens, 4), SHOAL_OK);
    assert_int_equal(shoal_journal_output(e), 1);
    assert_int_equal(shoal_journal_biases(e), 1);
    assert_true(shoal_journal_stops(e, 9));
    assert_false(shoal_journal_stops(e, 3));
    assert_true(shoal_journal_lost(e));
    assert_false(shoal_journal_lost(e));
    shoal_journal_remove(&journal, 17);
    assert_null(shoal_journal_find(&journal, 17));
    shoal_journal_free(&journal);
    shoal_ids_free(&prompt);
}

static void test_restart_policy(void **state)
{
    static const double pauses[] = {0, 0.5, 1, 2};
    shoal_restart_policy policy = {0};
    double pause;
    (void)state;
    /* accidents of good generations never add up */
    for (int i = 0; i < 100; i++) {
        assert_true(shoal_restart_again(&policy, true, 0.1, &pause));
        assert_true(pause == 0);
        assert_true(shoal_restart_again(&policy, false, SHOAL_RESTART_LIVED_WELL, &pause));
        assert_true(pause == 0);
    }
    for (int i = 0; i < SHOAL_RESTARTS_MAX - 1; i++) {
        assert_true(shoal_restart_again(&policy, false, -1, &pause));
        assert_true(pause == pauses[i]);
    }
    assert_false(shoal_restart_again(&policy, false, 1, &pause));
}

/* A clerk that wants to tell of a task waits for the door to open. */
static void wait_at_door(void *door)
{
    (void)pthread_mutex_lock(door);
    (void)pthread_mutex_unlock(door);
}

static shoal_task *task_of(const char *body)
{
    char *copy = NULL;
    shoal_task *task;
    if (body[0])
        assert_int_equal(shoal_strdup(SHOAL_MEM_OTHER, body, &copy), SHOAL_OK);
    assert_int_equal(shoal_task_create(SHOAL_TASK_TOKENIZE, copy, strlen(body), NULL, &task),
                     SHOAL_OK);
    return task;
}

/* Tasks that are done, all refused; destroyed. */
static int collect_refused(shoal_clerk *clerk)
{
    int count = 0;
    for (shoal_task *task = shoal_clerk_collect(clerk); task; count++) {
        shoal_task *next = task->next;
        assert_false(task->fine);
        shoal_task_destroy(task);
        task = next;
    }
    return count;
}

static void test_clerk_is_bounded(void **state)
{
    const shoal_api_context context = {.model_name = "none", .vocab = 10, .context = 10};
    pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
    shoal_clerk *clerk;
    int done = 0;
    (void)state;
    (void)pthread_mutex_lock(&door);
    assert_int_equal(shoal_clerk_start(&context, 10, wait_at_door, &door, &clerk), SHOAL_OK);
    /* every clerk is busy with one, of any size */
    for (int i = 0; i < SHOAL_CLERKS; i++) {
        assert_true(shoal_clerk_give(clerk, task_of(i ? "" : "{\"prompt\": \"x\"}")));
        while (done == i)
            done += collect_refused(clerk);
    }
    shoal_task *more = task_of("{    }");
    assert_true(shoal_clerk_give(clerk, task_of("{    }")));
    assert_true(shoal_clerk_give(clerk, task_of("{  }")));
    assert_false(shoal_clerk_give(clerk, more));
    (void)pthread_mutex_unlock(&door);
    while (done < SHOAL_CLERKS + 2)
        done += collect_refused(clerk);
    assert_true(shoal_clerk_give(clerk, more));
    shoal_clerk_stop(clerk);
    assert_int_equal(collect_refused(clerk), 1);
    shoal_clerk_destroy(clerk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_map),           cmocka_unit_test(test_routes),
        cmocka_unit_test(test_journal_rules),    cmocka_unit_test(test_restart_policy),
        cmocka_unit_test(test_clerk_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

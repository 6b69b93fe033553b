/* A load against a server of this test: a thread that answers in a known rhythm, so that counts are
 * exact and times have bounds that no machine can break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/bench/load.h"
#include "coordinator/clock.h"

#define TOKENS      5
#define STEP_MICROS 10000

/* What the server does with each connection, by its number. */
typedef enum { ANSWER, REFUSE, BREAK_OFF, SILENCE } manner;

typedef struct {
    int listener;
    int answered, limit; /* connections to take in all; the thread then ends */
    manner manners[64];
    shoal_bench_target target;
} test_server;

static void send_text(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void stream_tokens(int fd, int tokens)
{
    for (int i = 0; i < tokens; i++) {
        (void)usleep(STEP_MICROS);
        send_text(fd, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
    }
}

static void answer(int fd, manner how)
{
    char request[8192];
    if (recv(fd, request, sizeof request, 0) <= 0)
        return;
    if (how == REFUSE) {
        send_text(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
        return;
    }
    if (how == SILENCE) { /* until the client gives up */
        (void)recv(fd, request, sizeof request, 0);
        return;
    }
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ping\n\n");
    stream_tokens(fd, how == BREAK_OFF ? 2 : TOKENS);
    if (how == ANSWER)
        send_text(fd, "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n"
                      "data: {\"choices\":[],\"usage\":{\"completion_tokens\":7}}\n\n"
                      "data: [DONE]\n\n");
}

/* One connection after the other: whoever waits in between waits in the backlog. */
static void *serve(void *context)
{
    test_server *server = context;
    for (; server->answered < server->limit; server->answered++) {
        const int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            break;
        answer(fd, server->manners[server->answered]);
        (void)close(fd);
    }
    return NULL;
}

static void open_server(test_server *server)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof here;
    char url[64];
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(server->listener >= 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&here, &bytes), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(here.sin_port));
    assert_int_equal(shoal_bench_target_parse(url, &server->target), SHOAL_OK);
    assert_int_equal(shoal_bench_target_resolve(&server->target), SHOAL_OK);
}

/* Run a load while the server takes `server->limit` connections. */
static shoal_bench_tally run(test_server *server, shoal_bench_load load)
{
    const shoal_bench_prompts prompts = {.vocab = 10, .prompt_tokens = 3, .max_tokens = TOKENS};
    shoal_bench_tally tally = {0};
    pthread_t thread;
    open_server(server);
    assert_int_equal(pthread_create(&thread, NULL, serve, server), 0);
    load.target = &server->target;
    load.prompts = &prompts;
    load.label = "test";
    assert_int_equal(shoal_bench_load_run(&load, &tally), SHOAL_OK);
    (void)pthread_join(thread, NULL);
    (void)close(server->listener);
    assert_int_equal(tally.begun, tally.finished + tally.failed + tally.cut);
    return tally;
}

static const shoal_bench_load two_streams = {
    .streams = 2, .requests = 6, .begin_seconds = 20, .end_seconds = 20};

static void test_a_closed_loop(void **state)
{
    (void)state;
    test_server server = {.limit = 6};
    shoal_bench_tally t = run(&server, two_streams);
    assert_int_equal(t.finished, 6);
    assert_int_equal(t.tokens, 6 * 7); /* usage counts, not events */
    assert_int_equal(t.ttft.count, 6);
    assert_int_equal(t.total.count, 6);
    assert_int_equal(t.itl.count, 6 * (TOKENS - 1));
    /* The server sleeps before every token, and works on one request at a time. */
    assert_true(t.ttft.data[0] >= 1e-6 * STEP_MICROS);
    assert_true(t.total.data[0] >= 1e-6 * STEP_MICROS * TOKENS);
    assert_true(t.seconds >= 6 * 1e-6 * STEP_MICROS * TOKENS);
    shoal_bench_tally_free(&t);
}

static void test_failures_are_counted(void **state)
{
    (void)state;
    test_server server = {.limit = 6, .manners = {ANSWER, REFUSE, BREAK_OFF, ANSWER, REFUSE}};
    shoal_bench_tally t = run(&server, two_streams);
    assert_int_equal(t.finished, 3);
    assert_int_equal(t.failed, 3);
    assert_int_equal(t.tokens, 3 * 7);
    assert_string_equal(t.first_failure, "status 503: busy");
    shoal_bench_tally_free(&t);
}

static void test_time_is_up(void **state)
{
    (void)state;
    test_server server = {.limit = 2, .manners = {ANSWER, SILENCE}};
    const double begin = shoal_clock_seconds();
    shoal_bench_tally t =
        run(&server, (shoal_bench_load){.streams = 1, .begin_seconds = 0.3, .end_seconds = 0.5});
    assert_int_equal(t.finished, 1);
    assert_int_equal(t.cut, 1);
    assert_true(shoal_clock_seconds() - begin >= 0.5);
    shoal_bench_tally_free(&t);
}

static void test_an_open_loop(void **state)
{
    (void)state;
    test_server server = {.limit = 8};
    shoal_bench_tally t =
        run(&server,
            (shoal_bench_load){.rate = 200, .requests = 8, .begin_seconds = 20, .end_seconds = 20});
    assert_int_equal(t.finished, 8);
    /* Arrivals do not wait for answers: the last stood behind most of the others. */
    assert_true(t.ttft.data[7] >= 3 * 1e-6 * STEP_MICROS * TOKENS);
    shoal_bench_tally_free(&t);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    test_server server = {.limit = 0};
    open_server(&server);
    (void)close(server.listener);
    const shoal_bench_prompts prompts = {.vocab = 10, .prompt_tokens = 3, .max_tokens = 1};
    const shoal_bench_load load = {.target = &server.target,
                                   .prompts = &prompts,
                                   .label = "test",
                                   .streams = 3,
                                   .begin_seconds = 20,
                                   .end_seconds = 20};
    shoal_bench_tally t = {0};
    assert_int_equal(shoal_bench_load_run(&load, &t), SHOAL_OK);
    assert_true(t.failed >= SHOAL_BENCH_FAILURES_MAX && t.failed < SHOAL_BENCH_FAILURES_MAX + 3);
    assert_int_equal(t.begun, t.failed);
    assert_non_null(strstr(t.first_failure, "refused"));
    shoal_bench_tally_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_closed_loop),  cmocka_unit_test(test_failures_are_counted),
        cmocka_unit_test(test_time_is_up),     cmocka_unit_test(test_an_open_loop),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The desk between real sockets and a driver whose engine computes no model: every client gets its
 * answer or its error, and whoever leaves leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/serve/desk.h"
#include "tests/unit/fake_engine.h"

#define WAITING_MAX 8

typedef struct {
    shoal_engine_request request;
    shoal_plan plan;
    shoal_metrics *metrics;
    shoal_http_server *http;
    shoal_driver *driver;
    shoal_desk *desk;
    pthread_t thread;
    _Atomic bool cut_off;
} office;

/* ---- the office ------------------------------------------------------------------------------ */

static void wake(void *context)
{
    shoal_http_server_wake(((office *)context)->http);
}

static bool on_head(void *context, shoal_http_exchange *x, const shoal_http_request *request)
{
    (void)context, (void)x, (void)request;
    return true;
}

static void on_request(void *context, shoal_http_exchange *x, const shoal_http_request *request)
{
    (void)request;
    shoal_desk_take(((office *)context)->desk, x, SHOAL_TASK_COMPLETION);
}

static void on_gone(void *context, shoal_http_exchange *x)
{
    shoal_desk_lose(((office *)context)->desk, x);
}

static void on_wake(void *context)
{
    office *o = context;
    shoal_desk_work(o->desk);
    if (!atomic_exchange(&o->cut_off, false))
        return;
    (void)shoal_desk_cut_off(o->desk);
    shoal_http_server_stop(o->http, 2);
}

static void on_tick(void *context)
{
    shoal_desk_tick(((office *)context)->desk);
}

static void on_done(void *context, const shoal_http_request *request, const char *request_id,
                    int status, double seconds, uint64_t bytes_sent)
{
    (void)context, (void)request, (void)request_id, (void)status, (void)seconds, (void)bytes_sent;
}

static void *serve(void *context)
{
    assert_int_equal(shoal_http_server_run(((office *)context)->http), SHOAL_OK);
    return NULL;
}

static void wait_until_serving(const office *o)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    while (shoal_driver_state_get(o->driver) != SHOAL_DRIVER_SERVING)
        (void)nanosleep(&pause, NULL);
}

static void open_office(office *o)
{
    const shoal_http_settings http = {.host = "127.0.0.1", .body_max = 1 << 20};
    const shoal_http_handlers handlers = {on_head, on_request, on_gone, on_wake,
                                          on_tick, on_done,    o};
    memset(o, 0, sizeof *o);
    o->plan.ranks = 1;
    fake.pages = 64, fake.rows_max = 32, fake.sequences_max = 8;
    fake.poison = fake.overflow = FAKE_NONE;
    assert_int_equal(shoal_metrics_create("fake", &o->metrics), SHOAL_OK);
    assert_int_equal(shoal_http_server_open(&http, &handlers, &o->http), SHOAL_OK);
    const shoal_driver_settings driver = {
        .engine = &o->request,
        .open = fake_open,
        .plan = &o->plan,
        .metrics = o->metrics,
        .waiting_max = WAITING_MAX,
        .prefix_cache = true,
        .notify = wake,
        .context = o,
    };
    assert_int_equal(shoal_driver_start(&driver, &o->driver), SHOAL_OK);
    const shoal_desk_settings desk = {
        .driver = o->driver,
        .metrics = o->metrics,
        .api = {.model_name = "fake", .vocab = FAKE_VOCAB, .context = FAKE_CONTEXT},
        .replies = {.model = "fake", .fingerprint = "fp"},
        .bodies_max = 1 << 20,
        .waiting_max = WAITING_MAX,
        .notify = wake,
        .context = o,
    };
    assert_int_equal(shoal_desk_open(&desk, &o->desk), SHOAL_OK);
    wait_until_serving(o);
    assert_int_equal(pthread_create(&o->thread, NULL, serve, o), 0);
}

static void close_office(office *o, bool stop)
{
    if (stop)
        shoal_http_server_stop(o->http, 1);
    (void)pthread_join(o->thread, NULL);
    shoal_desk_close(o->desk);
    shoal_driver_destroy(o->driver);
    shoal_http_server_close(o->http);
    shoal_metrics_destroy(o->metrics);
}

/* ---- clients --------------------------------------------------------------------------------- */

static int ask(const office *o, const char *body)
{
    char text[1024];
    const char *port = strrchr(shoal_http_server_address(o->http), ':') + 1;
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(port)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    const int count = snprintf(text, sizeof text,
                               "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                               "Content-Length: %zu\r\n\r\n%s",
                               strlen(body), body);
    assert_int_equal(send(fd, text, (size_t)count, MSG_NOSIGNAL), count);
    return fd;
}

/* Everything until the server closes; free with shoal_free. */
static char *hear_out(int fd)
{
    shoal_strbuf text = {0};
    char piece[4096];
    ssize_t n;
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
        assert_int_equal(shoal_strbuf_append(&text, piece, (size_t)n), SHOAL_OK);
    (void)close(fd);
    assert_non_null(text.data);
    return text.data;
}

static void expect(char *answer, const char *a, const char *b)
{
    if (!strstr(answer, a) || !strstr(answer, b))
        fail_msg("'%s' and '%s' are not in: %s", a, b, answer);
    shoal_free(answer);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_answers(void **state)
{
    office o;
    const shoal_metrics_gauges gauges = {.state = "serving"};
    shoal_strbuf text = {0};
    (void)state;
    fake = (fake_script){0};
    open_office(&o);
    expect(hear_out(ask(&o, "{\"prompt\": [1, 2, 3], \"max_tokens\": 8}")), " 200 ",
           "\"completion_tokens\":8");
    expect(hear_out(ask(&o, "{\"prompt\": [[1], [2]], \"max_tokens\": 8, \"n\": 2}")), " 200 ",
           "\"completion_tokens\":32");
    expect(hear_out(ask(&o, "{\"prompt\": [1, 2, 3], \"max_tokens\": 8, \"stream\": true}")),
           "\"length\"", "[DONE]");
    expect(hear_out(ask(&o, "")), " 400 ", "JSON");
    expect(hear_out(ask(&o, "{\"prompt\": [1, 2], \"n\": 9}")), " 400 ", "too_many_sequences");
    assert_int_equal(shoal_metrics_write(o.metrics, &gauges, &text), SHOAL_OK);
    assert_int_equal(shoal_strbuf_append(&text, "", 1), SHOAL_OK);
    assert_non_null(strstr(text.data, "shoal_requests_refused_total 0\n"));
    shoal_strbuf_free(&text);
    close_office(&o, true);
}

/* Five hundred who leave at all kinds of moments. */
static void test_leavers(void **state)
{
    office o;
    shoal_metrics_gauges gauges = {0};
    shoal_rank_view rank;
    (void)state;
    fake = (fake_script){0};
    open_office(&o);
    for (int i = 0; i < 500; i++) {
        char first[64];
        const int fd = ask(&o, i % 2 ? "{\"prompt\": [5, 6], \"max_tokens\": 200, \"n\": 3}"
                                     : "{\"prompt\": [7], \"max_tokens\": 200, \"stream\": true}");
        if (i % 3 == 0)
            (void)recv(fd, first, sizeof first, 0);
        (void)close(fd);
    }
    while (shoal_http_server_connections(o.http) > 0)
        (void)usleep(1000);
    do
        shoal_driver_view(o.driver, &gauges, &rank, 1);
    while (gauges.requests > 0);
    expect(hear_out(ask(&o, "{\"prompt\": [1, 2, 3], \"max_tokens\": 8}")), " 200 ",
           "\"completion_tokens\":8");
    close_office(&o, true);
}

static void test_cut_off(void **state)
{
    office o;
    char first[64];
    (void)state;
    fake = (fake_script){.step_ms = 50};
    open_office(&o);
    const int stream = ask(&o, "{\"prompt\": [7], \"max_tokens\": 250, \"stream\": true}");
    const int whole = ask(&o, "{\"prompt\": [8], \"max_tokens\": 250, \"n\": 2}");
    assert_true(recv(stream, first, sizeof first, 0) > 0);
    (void)usleep(300000); /* both are being computed */
    atomic_store(&o.cut_off, true);
    wake(&o);
    expect(hear_out(stream), "data:", "worker_lost");
    expect(hear_out(whole), " 503 ", "Retry-After: ");
    close_office(&o, false);
}

/* The server ends while clerks and driver are busy. */
static void test_sudden_end(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        office o;
        int clients[6];
        fake = (fake_script){.step_ms = 1};
        open_office(&o);
        for (int k = 0; k < 6; k++)
            clients[k] = ask(&o, "{\"prompt\": [7], \"max_tokens\": 250, \"stream\": true}");
        shoal_http_server_stop(o.http, i % 2 ? 0 : 0.01);
        close_office(&o, false);
        for (int k = 0; k < 6; k++)
            (void)close(clients[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_leavers),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_sudden_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

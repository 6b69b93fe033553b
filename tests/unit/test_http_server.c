/* The server over loopback sockets, with handlers made here: answers and their order, early
 * refusals that can be read, deadlines, departures, slow readers, too many clients, and the end. */
#include "tests/unit/http_case.h"

/* ---- answers ---- */

static void whole_answers(void **state)
{
    (void)state;
    start();
    TALK("POST /echo?x HTTP/1.1\r\n" HOST "X-Mood: fine\r\nConnection: close\r\n"
         "Content-Length: 5\r\n\r\nhello",
         "HTTP/1.1 200 OK\r\n", "Content-Type: text/plain\r\n", "X-Request-Id: req-",
         "X-Mood: fine\r\n", "Content-Length: 5\r\n", "Connection: close\r\n\r\nhello");
    TALK("POST /taken HTTP/1.1\r\n" HOST "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
         "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
         "Content-Length: 5\r\n", "\r\n\r\nhello");
    TALK(GET("/taken") "Connection: close\r\n\r\n", "Content-Length: 0\r\n");
    TALK(GET("/") "Connection: close\r\nX-Request-Id: My_id-1.0\r\n\r\n",
         "X-Request-Id: My_id-1.0\r\n");
    TALK(GET("/") "Connection: close\r\nX-Request-Id: a b\r\n\r\n", "X-Request-Id: req-");
    TALK(GET("/silent-no") "Connection: close\r\n\r\n", "HTTP/1.1 500 ", "\"server_error\"");
    TALK("GET / HTTP/2.0\r\n", "HTTP/1.1 505 ", "Connection: close\r\n", "{\"error\":{\"message\"");
    await(&fixture.done, 7);
    assert_int_equal(atomic_load(&fixture.last_status), 505);
    finish(0);
}

static void kept_connections(void **state)
{
    (void)state;
    start();
    int fd = ask(GET("/") "\r\n");
    expect(fd, "\r\n\r\n", "Content-Length: 0", END);
    say(fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    expect(fd, "abc", "Content-Length: 3", END);
    say(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(fd, "\r\n\r\n", "Connection: keep-alive", END);
    say(fd, "GET / HTTP/1.0\r\n\r\n");
    expect(fd, "", "Connection: close", END);
    (void)close(fd);
    fd = ask(GET("/forbidden") "\r\n"); /* refused, but nothing is left unread */
    expect(fd, "no", "HTTP/1.1 401 ", "WWW-Authenticate: Bearer\r\n", END);
    say(fd, GET("/") "Connection: close\r\n\r\n");
    expect(fd, "", "HTTP/1.1 200 ", END);
    (void)close(fd);
    finish(0);
}

static void answers_to_head(void **state)
{
    (void)state;
    char text[1000];
    start();
    int fd = ask("HEAD /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    size_t bytes = hear(fd, "", text, sizeof text);
    assert_non_null(strstr(text, "Content-Length: 8388608\r\n"));
    assert_string_equal(text + bytes - 4, "\r\n\r\n");
    (void)close(fd);
    fd = ask("HEAD /flood HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    bytes = hear(fd, "", text, sizeof text);
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_string_equal(text + bytes - 4, "\r\n\r\n");
    (void)close(fd);
    finish(0);
}

static void pipelined_requests(void **state)
{
    (void)state;
    start();
    const int fd = ask(GET("/wait") "X-Late: 1\r\n\r\nPOST /a HTTP/1.1\r\n" HOST
                                    "Content-Length: 1\r\n\r\nA" GET("/b") "X-Mood: b\r\n\r\n");
    await(&fixture.waiting, 1);
    say(fd, GET("/c") "X-Mood: c\r\n\r\nBAD\r\n\r\n" GET("/d") "\r\n"); /* no departure */
    (void)usleep(100000);
    assert_int_equal(atomic_load(&fixture.waiting), 1);
    assert_int_equal(atomic_load(&fixture.heads), 1);
    release();
    expect(fd, "", "200 OK", "late", "200 OK", "\r\n\r\nA", "200 OK", "X-Mood: b", "200 OK",
           "X-Mood: c", "400 Bad Request", "Connection: close", "invalid_request_error", END);
    (void)close(fd);
    await(&fixture.done, 5);
    assert_int_equal(atomic_load(&fixture.gone), 0);
    finish(0);
}

/* Many small requests at once, and answers larger than any buffer. */
static void many_pipelined(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static char text[1 << 20];
    size_t at = 0;
    start();
    for (int i = 0; i < COUNT; i++)
        at += (size_t)sprintf(text + at, GET("/") "X-Mood: %d\r\n%s\r\n", i,
                              i + 1 < COUNT ? "" : "Connection: close\r\n");
    const int fd = dial();
    assert_int_equal(send(fd, text, at, MSG_NOSIGNAL), (ssize_t)at);
    (void)hear(fd, "", text, sizeof text);
    const char *place = text;
    for (int i = 0; i < COUNT; i++) {
        char mood[32];
        (void)sprintf(mood, "X-Mood: %d\r\n", i);
        place = strstr(place, mood);
        assert_non_null(place);
    }
    (void)close(fd);
    finish(0);
}

static void streams(void **state)
{
    (void)state;
    start();
    int fd = ask(GET("/events") "\r\n");
    expect(fd, "9\r\ndata: 1\n\n\r\n", "HTTP/1.1 200 OK\r\n", "Content-Type: text/event-stream\r\n",
           "Cache-Control: no-store\r\n", "Transfer-Encoding: chunked\r\n\r\n", END);
    release();
    expect(fd, "0\r\n\r\n", "9\r\ndata: 2\n\n\r\n", END);
    say(fd, GET("/") "Connection: close\r\n\r\n");
    expect(fd, "", "200 OK", END);
    (void)close(fd);

    fd = ask("GET /events HTTP/1.0\r\n\r\n");
    expect(fd, "\r\n\r\ndata: 1\n\n", "Connection: close\r\n", END);
    release();
    expect(fd, "", "data: 2\n\n", END);
    (void)close(fd);
    assert_int_equal(atomic_load(&fixture.gone), 0);
    finish(0);
}

/* ---- bodies that are refused while they are still being sent ---- */

static void send_zeros(int fd, size_t bytes)
{
    static const char zeros[65536];
    while (bytes > 0) {
        const ssize_t n =
            send(fd, zeros, bytes < sizeof zeros ? bytes : sizeof zeros, MSG_NOSIGNAL);
        if (n < 0)
            fail_msg("%s with %zu bytes to go", strerror(errno), bytes);
        bytes -= (size_t)n;
    }
}

/* Bodies that wait for their ends fill the room for all; it is free again when they are gone. A
 * request whose head is known has had the bytes that were sent with it counted. */
static void bodies_share_their_room(void **state)
{
    char most[4096];
    const int length = snprintf(most, sizeof most,
                                "POST /taken HTTP/1.1\r\n%sConnection: close\r\n"
                                "Content-Length: 3001\r\n\r\n%03000d",
                                HOST, 0);
    (void)state;
    assert_in_range(length, 3000, sizeof most - 1);
    start_with((shoal_http_settings){.bodies_max = 5000});
    const int first = ask(most);
    await(&fixture.heads, 1);
    const int second = ask(most);
    expect(second, "", "HTTP/1.1 503 ", "Retry-After: 1", END);
    (void)close(second);
    say(first, "x");
    expect(first, "", "HTTP/1.1 200 ", END);
    (void)close(first);
    const int third = ask(most);
    say(third, "x");
    expect(third, "", "HTTP/1.1 200 ", END);
    (void)close(third);
    finish(0);
}

static void early_refusals(void **state)
{
    (void)state;
    start();
    int fd = ask("POST / HTTP/1.1\r\n" HOST "Content-Length: 20971520\r\n\r\n");
    send_zeros(fd, 20971520);
    expect(fd, "", "HTTP/1.1 413 ", "Connection: close", "longer than 1048576 bytes", END);
    (void)close(fd);
    assert_int_equal(atomic_load(&fixture.heads), 0);

    fd = ask("POST /forbidden HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
    send_zeros(fd, 1048576);
    expect(fd, "", "HTTP/1.1 401 ", "Connection: close", END);
    (void)close(fd);

    fd = ask("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n100000\r\n");
    send_zeros(fd, 1048576);
    say(fd, "\r\n400000\r\n");
    send_zeros(fd, 1 << 22);
    expect(fd, "", "HTTP/1.1 413 ", END); /* its exchange had begun */
    (void)close(fd);
    await(&fixture.gone, 1);
    finish(0);
}

static void expectations(void **state)
{
    (void)state;
    start();
    int fd = ask("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nConnection: close\r\n"
                 "Content-Length: 2\r\n\r\n");
    expect(fd, "\r\n\r\n", "HTTP/1.1 100 Continue", END);
    say(fd, "ok");
    expect(fd, "", "HTTP/1.1 200 OK", "\r\n\r\nok", END);
    (void)close(fd);
    TALK("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n",
         "HTTP/1.1 413 ");
    fd = ask("POST /forbidden HTTP/1.1\r\n" HOST
             "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect(fd, "\r\n\r\n", "HTTP/1.1 401 ", END);
    (void)close(fd);
    finish(0);
}

/* ---- time ---- */

static void deadlines(void **state)
{
    (void)state;
    start_with(
        (shoal_http_settings){.head_seconds = 0.4, .body_seconds = 0.4, .keep_seconds = 0.8});
    const double began = shoal_clock_seconds();
    TALK("", "HTTP/1.1 408 ", "Connection: close", "the head");
    TALK("GET / HTT", "HTTP/1.1 408 ", "the head");
    TALK("POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc", "HTTP/1.1 408 ", "the body");
    await(&fixture.gone, 1);

    int fd = ask(GET("/") "\r\n"); /* idle: closed without a word */
    expect(fd, "\r\n\r\n", "200 OK", END);
    expect_closed(fd);
    fd = ask(GET("/") "\r\n"); /* the next head takes too long */
    expect(fd, "\r\n\r\n", "200 OK", END);
    (void)usleep(500000);
    say(fd, "GET /");
    expect(fd, "", "HTTP/1.1 408 ", END);
    (void)close(fd);

    fd = dial(); /* a byte now and then does not help */
    for (int i = 0; i < 4; i++) {
        const ssize_t n = send(fd, "G", 1, MSG_NOSIGNAL);
        assert_true(n == 1 || i > 1);
        (void)usleep(150000);
    }
    expect(fd, "", "HTTP/1.1 408 ", END);
    (void)close(fd);
    assert_true(shoal_clock_seconds() - began < 8);

    fd = ask(GET("/wait") "X-Late: 1\r\n\r\n"); /* handlers may take their time */
    (void)usleep(1200000);
    release();
    expect(fd, "late", "200 OK", END);
    (void)close(fd);
    finish(0);
}

/* ---- clients that leave ---- */

static void reset(int fd)
{
    const struct linger now = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    (void)close(fd);
}

static void departures(void **state)
{
    (void)state;
    static const char *const requests[] = {GET("/wait") "\r\n", GET("/events") "\r\n"};
    int gone = 0;
    start();
    for (size_t i = 0; i < 2; i++) {
        int fd = ask(requests[i]);
        await(&fixture.waiting, 1);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        await(&fixture.gone, ++gone);
        (void)close(fd);
        fd = ask(requests[i]);
        await(&fixture.waiting, 1);
        (void)close(fd);
        await(&fixture.gone, ++gone);
        fd = ask(requests[i]);
        await(&fixture.waiting, 1);
        reset(fd);
        await(&fixture.gone, ++gone);
        fd = ask(requests[i]);
        await(&fixture.waiting, 1);
        say(fd, "GET /more HTTP/1.1\r\n"); /* and leaves with unread bytes behind */
        (void)close(fd);
        await(&fixture.gone, ++gone);
    }
    int fd = ask("POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc");
    await(&fixture.heads, gone + 1);
    (void)close(fd);
    await(&fixture.gone, ++gone);
    await(&fixture.done, gone);
    assert_int_equal(atomic_load(&fixture.last_status), 0);

    fd = ask(GET("/") "\r\n"); /* an answer that is there is not lost by a half-close */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect(fd, "", "200 OK", END);
    (void)close(fd);
    assert_int_equal(atomic_load(&fixture.gone), gone);
    finish(0);
}

/* A closed connection is forgotten even if somebody else holds its socket. */
static void shared_sockets(void **state)
{
    (void)state;
    start();
    struct sockaddr_in mine;
    socklen_t bytes = sizeof mine;
    char request[100];
    const int fd = dial();
    assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &bytes), 0);
    (void)sprintf(request, "GET /shared?%d HTTP/1.1\r\n" HOST "\r\n", ntohs(mine.sin_port));
    say(fd, request);
    expect(fd, "\r\n\r\n", "200 OK", END);
    const int held = atomic_load(&fixture.held);
    assert_true(held >= 0);
    (void)close(fd);
    await_connections(0);
    for (int i = 0; i < 20; i++)
        TALK(GET("/") "Connection: close\r\n\r\n", "200 OK");
    (void)close(held);
    finish(0);
}

static void slow_readers(void **state)
{
    (void)state;
    char *text = malloc(2 * FLOOD);
    assert_non_null(text);
    start();
    int fd = ask(GET("/flood") "\r\n"); /* reads nothing */
    await(&fixture.gone, 1);
    (void)close(fd);
    fd = ask(GET("/big") "Connection: close\r\n\r\n"); /* a whole answer waits for its reader */
    await(&fixture.done, 2);
    (void)usleep(200000);
    const size_t bytes = hear(fd, "", text, 2 * FLOOD);
    assert_true(bytes > BIG && bytes < BIG + 1000);
    (void)close(fd);
    assert_int_equal(atomic_load(&fixture.gone), 1);
    free(text);
    finish(0);
}

/* The reader of a piece above what may wait has had no chance to take it. */
static void large_piece(void **state)
{
    (void)state;
    char *text = malloc(2 * BIG);
    assert_non_null(text);
    start();
    const int fd = ask(GET("/piece") "Connection: close\r\n\r\n");
    await(&fixture.done, 1);
    const size_t bytes = hear(fd, "", text, 2 * BIG);
    assert_true(bytes > BIG && bytes < BIG + 1000);
    assert_non_null(strstr(text + BIG, "after"));
    assert_int_equal(atomic_load(&fixture.gone), 0);
    (void)close(fd);
    free(text);
    finish(0);
}

/* Nobody takes the answer at all: the server does not keep it for ever. */
static void stuck_readers(void **state)
{
    (void)state;
    start_with((shoal_http_settings){.body_seconds = 0.3});
    const int fd = ask(GET("/big") "\r\n");
    await(&fixture.done, 1);
    await_connections(0);
    (void)close(fd);
    finish(0);
}

/* ---- many clients ---- */

static void too_many_clients(void **state)
{
    (void)state;
    int fds[40];
    start_with((shoal_http_settings){.connections_max = 2});
    const int a = ask(GET("/wait") "X-Late: 1\r\n\r\n"), b = ask(GET("/events") "\r\n");
    await(&fixture.waiting, 2);
    TALK(GET("/") "\r\n", "HTTP/1.1 503 ", "Retry-After: 1\r\n", "Connection: close",
         "too many connections");
    for (int i = 0; i < 40; i++) /* they do not even read */
        fds[i] = dial();
    for (int i = 0; i < 40; i++) {
        expect(fds[i], "", "HTTP/1.1 503 ", END);
        (void)close(fds[i]);
    }
    release();
    expect(a, "late", "200 OK", END);
    expect(b, "0\r\n\r\n", "data: 2", END);
    (void)close(a);
    (void)close(b);
    await_connections(0);
    TALK(GET("/") "Connection: close\r\n\r\n", "200 OK");
    finish(0);
}

static struct rlimit limit_descriptors(rlim_t soft)
{
    struct rlimit before, after;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    after = before;
    after.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &after), 0);
    return before;
}

/* With 64 descriptors 24 clients are served and 40 are kept for the rest. */
static void few_descriptors(void **state)
{
    (void)state;
    int fds[24];
    const struct rlimit before = limit_descriptors(64);
    start();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 24; i++)
        fds[i] = ask(GET("/wait") "X-Late: 1\r\n\r\n");
    await(&fixture.waiting, 24);
    TALK(GET("/") "\r\n", "HTTP/1.1 503 ");
    release();
    for (int i = 0; i < 24; i++) {
        expect(fds[i], "late", "200 OK", END);
        (void)close(fds[i]);
    }
    finish(0);
}

/* No descriptor for a newcomer: it waits, the others go on, and later it is served. */
static void no_descriptors(void **state)
{
    (void)state;
    start();
    const int first = ask(GET("/wait") "X-Late: 1\r\n\r\n");
    await(&fixture.waiting, 1);
    const int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct rlimit before = limit_descriptors((rlim_t)second + 1);
    join(second);
    say(second, GET("/") "Connection: close\r\n\r\n");
    (void)usleep(300000);
    assert_int_equal(atomic_load(&fixture.heads), 1);
    release();
    expect(first, "late", "200 OK", END);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect(second, "", "200 OK", END);
    (void)close(first);
    (void)close(second);
    finish(0);
}

/* What an idle stream costs, all the server's memory counted. */
static void idle_streams(void **state)
{
    (void)state;
    enum { STREAMS = 400 };
    int fds[STREAMS];
    start();
    const uint64_t before = shoal_mem_live(SHOAL_MEM_OTHER) + shoal_mem_live(SHOAL_MEM_TEXT);
    for (int i = 0; i < STREAMS; i++) {
        fds[i] = ask(GET("/events") "\r\n");
        expect(fds[i], "data: 1\n\n\r\n", END);
    }
    const uint64_t after = shoal_mem_live(SHOAL_MEM_OTHER) + shoal_mem_live(SHOAL_MEM_TEXT);
    assert_true((after - before) / STREAMS < 4096);
    release();
    for (int i = 0; i < STREAMS; i++) {
        expect(fds[i], "0\r\n\r\n", "data: 2", END);
        (void)close(fds[i]);
    }
    finish(0);
}

/* Every allocation of a request fails once: that client gets an error or is cut off, the next one
 * notices nothing. */
static void no_memory(void **state)
{
    (void)state;
    start();
    for (uint64_t n = 1; n <= 12; n++) {
        char text[1000] = "";
        shoal_mem_fail_nth(n);
        const int fd = ask("POST /taken HTTP/1.1\r\n" HOST "Connection: close\r\n"
                           "Content-Length: 5\r\n\r\nhello");
        const ssize_t bytes = recv(fd, text, sizeof text - 1, 0);
        assert_true(bytes <= 0 || strncmp(text, "HTTP/1.1 ", 9) == 0);
        (void)close(fd);
        shoal_mem_fail_nth(0);
        TALK(GET("/") "Connection: close\r\n\r\n", "200 OK");
    }
    finish(0);
}

/* ---- beginning and end ---- */

static void addresses(void **state)
{
    (void)state;
    static const shoal_http_handlers none = {0};
    shoal_http_server *server;
    shoal_http_settings s = {.host = "", .port = 0};
    assert_int_equal(shoal_http_server_open(&s, &none, &server), SHOAL_ERR_USAGE);
    s.host = "no such host";
    assert_int_equal(shoal_http_server_open(&s, &none, &server), SHOAL_ERR_USAGE);
    s.host = "127.0.0.1";
    s.port = 65536;
    assert_int_equal(shoal_http_server_open(&s, &none, &server), SHOAL_ERR_USAGE);
    s.host = "192.0.2.1";
    s.port = 0;
    assert_int_equal(shoal_http_server_open(&s, &none, &server), SHOAL_ERR_UNAVAILABLE);

    start();
    const char *address = shoal_http_server_address(fixture.server);
    assert_memory_equal(address, "127.0.0.1:", 10);
    s.host = "127.0.0.1";
    s.port = atoi(address + 10);
    assert_true(s.port > 0);
    assert_int_equal(shoal_http_server_open(&s, &none, &server), SHOAL_ERR_UNAVAILABLE);
    assert_non_null(strstr(shoal_error_text(), "127.0.0.1"));
    finish(0);

    s = (shoal_http_settings){.host = "::1"};
    if (shoal_http_server_open(&s, &none, &server) == SHOAL_OK) {
        assert_memory_equal(shoal_http_server_address(server), "[::1]:", 6);
        shoal_http_server_close(server);
    } else {
        print_message("skipped: no IPv6 on this machine\n");
    }
}

/* Answers under way are flushed; then run returns, long before its time is over. */
static void stop_flushes(void **state)
{
    (void)state;
    char *text = malloc(2 * BIG);
    assert_non_null(text);
    start();
    const int idle = ask(GET("/") "\r\n"), half = ask("GET / HT"), big = ask(GET("/big") "\r\n");
    const int late = ask(GET("/wait") "X-Late: 1\r\n\r\n");
    expect(idle, "\r\n\r\n", "200 OK", END);
    await(&fixture.done, 2);
    await(&fixture.waiting, 1);
    const double began = shoal_clock_seconds();
    shoal_http_server_stop(fixture.server, 30);
    expect_closed(idle);
    expect_closed(half);
    release();
    expect(late, "", "Connection: close", "late", END);
    const size_t bytes = hear(big, "", text, 2 * BIG);
    assert_true(bytes > BIG);
    (void)close(late);
    (void)close(big);
    finish(30);
    assert_true(shoal_clock_seconds() - began < 10);
    free(text);
}

/* An answer that never comes does not hold up the end for longer than asked. */
static void stop_has_an_end(void **state)
{
    (void)state;
    start();
    const int fd = ask(GET("/wait") "\r\n");
    await(&fixture.waiting, 1);
    const double began = shoal_clock_seconds();
    finish(0.3);
    assert_true(shoal_clock_seconds() - began < 3);
    assert_int_equal(atomic_load(&fixture.gone), 1);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers),   cmocka_unit_test(kept_connections),
        cmocka_unit_test(answers_to_head), cmocka_unit_test(pipelined_requests),
        cmocka_unit_test(many_pipelined),  cmocka_unit_test(streams),
        cmocka_unit_test(early_refusals),  cmocka_unit_test(bodies_share_their_room),
        cmocka_unit_test(expectations),    cmocka_unit_test(deadlines),
        cmocka_unit_test(departures),      cmocka_unit_test(shared_sockets),
        cmocka_unit_test(slow_readers),    cmocka_unit_test(stuck_readers),
        cmocka_unit_test(large_piece),     cmocka_unit_test(too_many_clients),
        cmocka_unit_test(few_descriptors), cmocka_unit_test(no_descriptors),
        cmocka_unit_test(idle_streams),    cmocka_unit_test(no_memory),
        cmocka_unit_test(addresses),       cmocka_unit_test(stop_flushes),
        cmocka_unit_test(stop_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

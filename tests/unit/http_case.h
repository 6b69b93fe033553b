/* A server on a loopback socket whose paths are behaviours, and clients that say and hear bytes. */
#ifndef SHOAL_TESTS_UNIT_HTTP_CASE_H
#define SHOAL_TESTS_UNIT_HTTP_CASE_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/clock.h"
#include "coordinator/serve/http_server.h"
#include "proto/arena.h"

#define BODY_MAX  (1u << 20)
#define PATIENCE  5000 /* ms until a test gives up waiting */
#define PENDING   512
#define FLOOD     (64u << 20)
#define BIG       (8u << 20)
#define HOST      "Host: h\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST

/* ---- a server whose paths are behaviours ---- */

static struct {
    shoal_http_server *server;
    pthread_t thread;
    shoal_http_exchange *pending[PENDING]; /* of /wait and /events, answered on release */
    int pending_count;                     /* the server's thread only, as `pending` */
    atomic_int waiting, gone, done, last_status, heads;
    atomic_int held; /* by /shared */
    atomic_bool release;
    char *block; /* BIG bytes */
} fixture;

static inline void keep(shoal_http_exchange *exchange)
{
    assert_true(fixture.pending_count < PENDING);
    fixture.pending[fixture.pending_count++] = exchange;
    atomic_fetch_add(&fixture.waiting, 1);
}

static inline bool on_head(void *context, shoal_http_exchange *exchange,
                           const shoal_http_request *request)
{
    (void)context;
    atomic_fetch_add(&fixture.heads, 1);
    if (strcmp(request->path, "/forbidden") == 0) {
        shoal_http_reply(exchange, 401, "text/plain", "WWW-Authenticate: Bearer\r\n", "no", 2);
        return false;
    }
    return strcmp(request->path, "/silent-no") != 0;
}

/* A second descriptor of the server's end of the connection from a port: what a child process has
 * between fork and exec. */
static inline int share_connection(int port)
{
    struct sockaddr_in peer;
    for (int fd = 3; fd < 1000; fd++) {
        socklen_t bytes = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &bytes) == 0 && ntohs(peer.sin_port) == port)
            return dup(fd);
    }
    return -1;
}

static inline void flood(shoal_http_exchange *exchange)
{
    shoal_http_stream_begin(exchange, "text/plain", NULL);
    for (size_t sent = 0; sent < FLOOD; sent += 65536)
        if (!shoal_http_stream_write(exchange, fixture.block, 65536))
            return;
    shoal_http_stream_end(exchange);
}

static inline void on_request(void *context, shoal_http_exchange *exchange,
                              const shoal_http_request *request)
{
    (void)context;
    if (strcmp(request->path, "/wait") == 0) {
        keep(exchange);
    } else if (strcmp(request->path, "/events") == 0) {
        shoal_http_stream_begin(exchange, "text/event-stream", "Cache-Control: no-store\r\n");
        assert_true(shoal_http_stream_write(exchange, "data: 1\n\n", 9));
        assert_true(shoal_http_stream_write(exchange, "", 0));
        keep(exchange);
    } else if (strcmp(request->path, "/flood") == 0) {
        flood(exchange);
    } else if (strcmp(request->path, "/piece") == 0) {
        shoal_http_stream_begin(exchange, "text/plain", NULL);
        assert_true(shoal_http_stream_write(exchange, fixture.block, BIG));
        assert_true(shoal_http_stream_write(exchange, "after", 5));
        shoal_http_stream_end(exchange);
    } else if (strcmp(request->path, "/big") == 0) {
        shoal_http_reply(exchange, 200, "text/plain", NULL, fixture.block, BIG);
    } else if (strcmp(request->path, "/shared") == 0) {
        atomic_store(&fixture.held, share_connection(atoi(request->query)));
        shoal_http_reply(exchange, 200, "text/plain", NULL, "", 0);
    } else if (strcmp(request->path, "/taken") == 0) {
        size_t bytes;
        char *body = shoal_http_take_body(exchange, &bytes);
        shoal_http_reply(exchange, 200, "text/plain", NULL, body, bytes);
        shoal_free(body);
    } else {
        const char *mood = shoal_http_header(exchange, "x-mood");
        char headers[64] = "";
        if (mood)
            (void)snprintf(headers, sizeof headers, "X-Mood: %s\r\n", mood);
        shoal_http_reply(exchange, 200, "text/plain", headers, request->body, request->body_bytes);
    }
}

static inline void on_gone(void *context, shoal_http_exchange *exchange)
{
    (void)context;
    atomic_fetch_add(&fixture.gone, 1);
    for (int i = 0; i < fixture.pending_count; i++)
        if (fixture.pending[i] == exchange) {
            fixture.pending[i] = fixture.pending[--fixture.pending_count];
            atomic_fetch_sub(&fixture.waiting, 1);
            return;
        }
}

static inline void on_wake(void *context)
{
    (void)context;
    if (!atomic_exchange(&fixture.release, false))
        return;
    while (fixture.pending_count > 0) {
        shoal_http_exchange *exchange = fixture.pending[--fixture.pending_count];
        atomic_fetch_sub(&fixture.waiting, 1);
        if (shoal_http_user(exchange) == NULL && shoal_http_header(exchange, "x-late")) {
            shoal_http_reply(exchange, 200, "text/plain", NULL, "late", 4);
        } else {
            if (shoal_http_stream_write(exchange, "data: 2\n\n", 9))
                shoal_http_stream_end(exchange);
        }
    }
}

static inline void on_tick(void *context)
{
    (void)context;
}

static inline void on_done(void *context, const shoal_http_request *request, const char *request_id,
                           int status, double seconds, uint64_t bytes_sent)
{
    (void)context;
    assert_non_null(request->method);
    assert_non_null(request->path);
    assert_non_null(request->query);
    assert_true(strlen(request_id) > 0);
    assert_true(seconds >= 0 && seconds < 60);
    assert_true(status == 0 || bytes_sent > 0);
    atomic_store(&fixture.last_status, status);
    atomic_fetch_add(&fixture.done, 1);
}

static inline void *serve(void *context)
{
    (void)context;
    assert_int_equal(shoal_http_server_run(fixture.server), SHOAL_OK);
    return NULL;
}

static inline void start_with(shoal_http_settings settings)
{
    static const shoal_http_handlers handlers = {.on_head = on_head,
                                                 .on_request = on_request,
                                                 .on_gone = on_gone,
                                                 .on_wake = on_wake,
                                                 .on_tick = on_tick,
                                                 .on_done = on_done};
    memset(&fixture, 0, sizeof fixture);
    fixture.block = malloc(BIG);
    assert_non_null(fixture.block);
    memset(fixture.block, 'x', BIG);
    if (!settings.host)
        settings.host = "127.0.0.1";
    settings.body_max = BODY_MAX;
    assert_int_equal(shoal_http_server_open(&settings, &handlers, &fixture.server), SHOAL_OK);
    assert_int_equal(pthread_create(&fixture.thread, NULL, serve, NULL), 0);
}

static inline void start(void)
{
    start_with((shoal_http_settings){0});
}

static inline void finish(double seconds)
{
    shoal_http_server_stop(fixture.server, seconds);
    assert_int_equal(pthread_join(fixture.thread, NULL), 0);
    assert_int_equal(shoal_http_server_connections(fixture.server), 0);
    shoal_http_server_close(fixture.server);
    free(fixture.block);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), 0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), 0);
}

static inline void release(void)
{
    atomic_store(&fixture.release, true);
    shoal_http_server_wake(fixture.server);
}

/* Wait until the number is reached. */
static inline void await(atomic_int *number, int wanted)
{
    for (int ms = 0; atomic_load(number) != wanted; ms++) {
        if (ms == PATIENCE)
            fail_msg("waited for %d, stayed at %d", wanted, atomic_load(number));
        (void)usleep(1000);
    }
}

static inline void await_connections(int wanted)
{
    for (int ms = 0; shoal_http_server_connections(fixture.server) != wanted; ms++) {
        if (ms == PATIENCE)
            fail_msg("%d connections", shoal_http_server_connections(fixture.server));
        (void)usleep(1000);
    }
}

/* ---- clients ---- */

/* A client that is on its way, its descriptor already there. */
static inline void join(int fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *colon = strrchr(shoal_http_server_address(fixture.server), ':');
    at.sin_port = htons((uint16_t)atoi(colon + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
}

static inline int dial(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    join(fd);
    return fd;
}

static inline void say(int fd, const char *text)
{
    const size_t bytes = strlen(text);
    assert_int_equal(send(fd, text, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

static inline int ask(const char *text)
{
    const int fd = dial();
    say(fd, text);
    return fd;
}

/* Read into `out` (NUL added) until it ends with `mark`, or with "" until the server closes. */
static inline size_t hear(int fd, const char *mark, char *out, size_t room)
{
    size_t at = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        out[at] = '\0';
        if (*mark && at >= strlen(mark) && strcmp(out + at - strlen(mark), mark) == 0)
            return at;
        if (poll(&p, 1, PATIENCE) != 1)
            fail_msg("nothing more came after: %.300s", out);
        assert_true(at + 1 < room);
        const ssize_t n = recv(fd, out + at, *mark ? 1 : room - at - 1, 0);
        if (n < 0)
            fail_msg("%s after: %.300s", strerror(errno), out);
        if (n == 0 && *mark)
            fail_msg("closed after: %.300s", out);
        if (n == 0)
            return at;
        at += (size_t)n;
    }
}

/* What comes until `mark` has all these parts (NULL ends them) in this order. */
static inline void expect(int fd, const char *mark, ...)
{
    char text[4096];
    va_list parts;
    (void)hear(fd, mark, text, sizeof text);
    va_start(parts, mark);
    const char *at = text;
    for (const char *part; (part = va_arg(parts, const char *));) {
        const char *found = strstr(at, part);
        if (!found)
            fail_msg("no '%s' in its place in: %s", part, text);
        at = found + strlen(part);
    }
    va_end(parts);
}

#define END ((const char *)NULL)

static inline void expect_closed(int fd)
{
    expect(fd, "", END);
    (void)close(fd);
}

/* Ask, and expect an answer that ends with the connection. */
#define TALK(text, ...)                                                                            \
    do {                                                                                           \
        const int talk_fd = ask(text);                                                             \
        expect(talk_fd, "", __VA_ARGS__, END);                                                     \
        (void)close(talk_fd);                                                                      \
    } while (0)

#endif

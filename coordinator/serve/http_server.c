#include "coordinator/serve/http_server.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/serve/http_connection.h"
#include "coordinator/serve/http_listener.h"
#include "proto/arena.h"

#define TICK_SECONDS 0.1
/* Largest bodies that may be received at once. */
#define BODIES_MAX 32

#define EVENTS  64 /* taken from the kernel at once */
#define ACCEPTS 64 /* newcomers before the others have their turn */

/* Descriptors that clients leave to the rest of the process, and how many clients there may be
 * however few descriptors there are. */
#define RESERVED_DESCRIPTORS 40
#define CONNECTIONS_MIN      8

/* Clients above the limit whose 503 may still be under way; more are closed without waiting. */
#define SURPLUS_MAX 8

#define STOP_SECONDS_MAX 1e6

struct shoal_http_server {
    shoal_http_shared shared;
    char address[SHOAL_HTTP_ADDRESS_MAX];
    int listener;        /* -1 after stop */
    int bell;            /* eventfd: wake and stop */
    bool accepting;      /* epoll watches the listener */
    _Atomic int stop_ms; /* what shoal_http_server_stop asked for; -1: nothing yet */
    double stop_deadline;
    double next_tick;
};

/* ---- opening and closing ---- */

static int connections_by_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1u << 20)
        limit.rlim_cur = 1u << 20;
    const int left = (int)limit.rlim_cur - RESERVED_DESCRIPTORS;
    return left > CONNECTIONS_MIN ? left : CONNECTIONS_MIN;
}

static void fill_in(shoal_http_settings *settings)
{
    if (settings->connections_max <= 0)
        settings->connections_max = connections_by_descriptors();
    if (settings->bodies_max == 0)
        settings->bodies_max = BODIES_MAX * settings->body_max;
    if (settings->head_seconds <= 0)
        settings->head_seconds = SHOAL_HTTP_HEAD_SECONDS;
    if (settings->body_seconds <= 0)
        settings->body_seconds = SHOAL_HTTP_BODY_SECONDS;
    if (settings->keep_seconds <= 0)
        settings->keep_seconds = SHOAL_HTTP_KEEP_SECONDS;
}

/* Events of the listener and the bell are told from those of connections by their addresses. */
static bool watch(const shoal_http_server *server, int *fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};
    return epoll_ctl(server->shared.poll, EPOLL_CTL_ADD, *fd, &event) == 0;
}

shoal_status shoal_http_server_open(const shoal_http_settings *settings,
                                    const shoal_http_handlers *handlers, shoal_http_server **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_http_server), &block));
    shoal_http_server *server = block;
    shoal_http_shared *shared = &server->shared;
    shared->settings = *settings;
    shared->settings.host = NULL; /* the caller's, and not needed any more */
    shared->handlers = *handlers;
    fill_in(&shared->settings);
    server->stop_ms = -1;
    server->accepting = true;
    server->listener = server->bell = shared->poll = -1;

    shoal_status st =
        shoal_http_listen(settings->host, settings->port, &server->listener, server->address);
    if (st != SHOAL_OK)
        goto close_server;
    server->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    shared->poll = epoll_create1(EPOLL_CLOEXEC);
    if (server->bell < 0 || shared->poll < 0 || !watch(server, &server->bell) ||
        !watch(server, &server->listener) ||
        getrandom(&shared->id_prefix, sizeof shared->id_prefix, 0) < 0) {
        st = shoal_fail(SHOAL_ERR_IO, "the HTTP server cannot start: %s", strerror(errno));
        goto close_server;
    }
    *out = server;
    return SHOAL_OK;

close_server:
    shoal_http_server_close(server);
    return st;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void shoal_http_server_close(shoal_http_server *server)
{
    if (!server)
        return;
    close_fd(&server->shared.poll);
    close_fd(&server->bell);
    close_fd(&server->listener);
    shoal_free(server);
}

const char *shoal_http_server_address(const shoal_http_server *server)
{
    return server->address;
}

int shoal_http_server_connections(const shoal_http_server *server)
{
    return server->shared.count;
}

/* ---- from other threads and signal handlers ---- */

void shoal_http_server_wake(shoal_http_server *server)
{
    const int error = errno;
    const uint64_t one = 1;
    const ssize_t n = write(server->bell, &one, sizeof one);
    (void)n; /* a full counter rings as well */
    errno = error;
}

void shoal_http_server_stop(shoal_http_server *server, double seconds)
{
    if (!(seconds > 0))
        seconds = 0;
    if (seconds > STOP_SECONDS_MAX)
        seconds = STOP_SECONDS_MAX;
    atomic_store(&server->stop_ms, (int)(seconds * 1000));
    shoal_http_server_wake(server);
}

/* ---- newcomers ---- */

static void set_accepting(shoal_http_server *server, bool accepting)
{
    struct epoll_event event = {.events = accepting ? EPOLLIN : 0, .data.ptr = &server->listener};
    if (server->accepting == accepting || server->listener < 0)
        return;
    if (epoll_ctl(server->shared.poll, EPOLL_CTL_MOD, server->listener, &event) == 0)
        server->accepting = accepting;
}

/* One too many: it is told so, and waited for only while few others are. */
static void turn_away(shoal_http_server *server, shoal_http_connection *connection)
{
    shoal_api_error error = {.retry_after = 1};
    (void)shoal_api_refuse(&error, 503, NULL, NULL, "too many connections");
    shoal_http_connection_refuse(connection, &error);
    shoal_http_connection_serve(connection, 0);
    if (server->shared.count > server->shared.settings.connections_max + SURPLUS_MAX)
        shoal_http_connection_cut(connection);
}

static void accept_clients(shoal_http_server *server)
{
    shoal_http_shared *shared = &server->shared;
    for (int i = 0; i < ACCEPTS; i++) {
        shoal_http_connection *connection;
        const int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                set_accepting(server, false);
            return;
        }
        if (shoal_http_connection_open(shared, fd, &connection) &&
            shared->count > shared->settings.connections_max)
            turn_away(server, connection);
    }
}

/* ---- the loop ---- */

static bool is_busy(const shoal_http_connection *connection)
{
    return connection->phase != SHOAL_HTTP_PHASE_HEAD &&
           connection->phase != SHOAL_HTTP_PHASE_LINGER;
}

/* Let nobody in any more, and let go of those that wait for nothing. */
static void begin_stop(shoal_http_server *server, double seconds)
{
    shoal_http_shared *shared = &server->shared;
    shoal_http_connection *next;
    shared->stopping = true;
    server->stop_deadline = shoal_clock_seconds() + seconds;
    if (server->listener >= 0)
        (void)epoll_ctl(shared->poll, EPOLL_CTL_DEL, server->listener, NULL);
    close_fd(&server->listener);
    for (shoal_http_connection *c = shared->first; c; c = next) {
        next = c->next;
        if (!is_busy(c))
            shoal_http_connection_cut(c);
    }
}

static void answer_bell(shoal_http_server *server)
{
    const shoal_http_handlers *handlers = &server->shared.handlers;
    uint64_t rings;
    const ssize_t n = read(server->bell, &rings, sizeof rings);
    (void)n; /* somebody may have rung without need */
    const int stop_ms = atomic_load(&server->stop_ms);
    if (stop_ms >= 0 && !server->shared.stopping)
        begin_stop(server, stop_ms / 1000.0);
    handlers->on_wake(handlers->context);
}

static void tick(shoal_http_server *server, double now)
{
    shoal_http_shared *shared = &server->shared;
    shoal_http_connection *next;
    server->next_tick = now + TICK_SECONDS;
    for (shoal_http_connection *c = shared->first; c; c = next) {
        next = c->next;
        shoal_http_connection_check(c, now);
    }
    shared->handlers.on_tick(shared->handlers.context);
    set_accepting(server, true);
}

/* Finish what the handlers have begun, and free what was closed. */
static void settle(shoal_http_server *server)
{
    shoal_http_shared *shared = &server->shared;
    shoal_http_connection *c;
    while ((c = shared->ready)) {
        shared->ready = c->next_ready;
        c->is_queued = false;
        shoal_http_connection_serve(c, 0);
    }
    if (shared->closed)
        set_accepting(server, true);
    while ((c = shared->closed)) {
        shared->closed = c->next;
        shoal_http_connection_free(c);
    }
}

static bool is_finished(const shoal_http_server *server)
{
    if (!server->shared.stopping)
        return false;
    for (const shoal_http_connection *c = server->shared.first; c; c = c->next)
        if (is_busy(c))
            return shoal_clock_seconds() >= server->stop_deadline;
    return true;
}

static void dispatch(shoal_http_server *server, const struct epoll_event *event)
{
    if (event->data.ptr == &server->bell)
        answer_bell(server);
    else if (event->data.ptr == &server->listener)
        accept_clients(server);
    else
        shoal_http_connection_serve(event->data.ptr, event->events);
}

shoal_status shoal_http_server_run(shoal_http_server *server)
{
    shoal_status st = SHOAL_OK;
    server->next_tick = shoal_clock_seconds();
    while (!is_finished(server)) {
        struct epoll_event events[EVENTS];
        const int ms = (int)((server->next_tick - shoal_clock_seconds()) * 1000) + 1;
        const int n = epoll_wait(server->shared.poll, events, EVENTS, ms > 0 ? ms : 0);
        if (n < 0 && errno != EINTR) {
            st = shoal_fail(SHOAL_ERR_IO, "waiting for clients: %s", strerror(errno));
            break;
        }
        for (int i = 0; i < n; i++)
            dispatch(server, &events[i]);
        const double now = shoal_clock_seconds();
        if (now >= server->next_tick)
            tick(server, now);
        settle(server);
    }
    while (server->shared.first)
        shoal_http_connection_cut(server->shared.first);
    settle(server);
    return st;
}

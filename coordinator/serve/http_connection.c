#include "coordinator/serve/http_connection.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "proto/arena.h"

/* Full reads of one connection before the others have their turn. */
#define READS_PER_TURN 4

/* What the kernel may hold for a client that does not read; by itself it would grow to megabytes,
 * and a slow reader would be noticed late. */
#define SEND_BYTES (128 << 10)

/* How long, and for how many bytes, a client that is still sending is listened to after the
 * answer. */
#define LINGER_SECONDS 3.0
#define LINGER_BYTES   (64u << 20)

static void enter(shoal_http_connection *connection, shoal_http_phase phase, double seconds)
{
    connection->phase = phase;
    connection->deadline = shoal_clock_seconds() + seconds;
}

/* ---- opening and closing ---- */

bool shoal_http_connection_open(shoal_http_shared *shared, int fd, shoal_http_connection **out)
{
    const int on = 1, send_bytes = SEND_BYTES;
    void *block;
    struct epoll_event event = {.events = EPOLLIN};
    if (shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_http_connection), &block) != SHOAL_OK)
        goto close_socket;
    shoal_http_connection *connection = event.data.ptr = block;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    if (epoll_ctl(shared->poll, EPOLL_CTL_ADD, fd, &event) != 0)
        goto free_connection;

    connection->shared = shared;
    connection->fd = fd;
    connection->interest = EPOLLIN;
    connection->fresh = true;
    connection->parser.body_max = shared->settings.body_max;
    enter(connection, SHOAL_HTTP_PHASE_HEAD, shared->settings.head_seconds);
    connection->began = shoal_clock_seconds();
    connection->next = shared->first;
    if (shared->first)
        shared->first->previous = connection;
    shared->first = connection;
    shared->count++;
    *out = connection;
    return true;

free_connection:
    shoal_free(block);
close_socket:
    (void)close(fd);
    return false;
}

void shoal_http_connection_drop_body(shoal_http_connection *connection)
{
    connection->shared->bodies -= connection->body.bytes;
    shoal_strbuf_free(&connection->body);
}

static void free_buffers(shoal_http_connection *connection)
{
    shoal_http_parser_reset(&connection->parser);
    shoal_strbuf_free(&connection->ahead);
    connection->ahead_at = 0;
    shoal_http_connection_drop_body(connection);
}

void shoal_http_connection_cut(shoal_http_connection *connection)
{
    shoal_http_shared *shared = connection->shared;
    if (connection->phase == SHOAL_HTTP_PHASE_CLOSED)
        return;
    if (connection->exchange)
        shoal_http_exchange_lose(connection->exchange);
    /* A child process between fork and exec still holds the socket: closing alone would leave it
     * among the watched ones, to be reported after its memory is gone. */
    (void)epoll_ctl(shared->poll, EPOLL_CTL_DEL, connection->fd, NULL);
    (void)close(connection->fd);
    connection->phase = SHOAL_HTTP_PHASE_CLOSED;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        shared->first = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    connection->next = shared->closed;
    shared->closed = connection;
    shared->count--;
}

void shoal_http_connection_free(shoal_http_connection *connection)
{
    free_buffers(connection);
    shoal_http_output_free(&connection->output);
    shoal_free(connection);
}

/* ---- from one phase to the next ---- */

void shoal_http_connection_wants_service(shoal_http_connection *connection)
{
    if (connection->is_queued || connection->is_served)
        return;
    connection->is_queued = true;
    connection->next_ready = connection->shared->ready;
    connection->shared->ready = connection;
}

void shoal_http_connection_answered(shoal_http_connection *connection)
{
    enter(connection, SHOAL_HTTP_PHASE_FLUSH, connection->shared->settings.body_seconds);
    shoal_http_connection_wants_service(connection);
}

void shoal_http_connection_refuse(shoal_http_connection *connection, const shoal_api_error *error)
{
    if (connection->exchange)
        shoal_http_exchange_withdraw(connection->exchange);
    else if (!shoal_http_exchange_open(connection)) {
        shoal_http_connection_cut(connection);
        return;
    }
    connection->close_after = true;
    shoal_http_reply_error(connection->exchange, error);
}

/* The head is whole: do the handlers want the rest? */
static void begin_exchange(shoal_http_connection *connection)
{
    const shoal_http_handlers *handlers = &connection->shared->handlers;
    enter(connection, SHOAL_HTTP_PHASE_BODY, connection->shared->settings.body_seconds);
    connection->fresh = false;
    if (!shoal_http_exchange_open(connection)) {
        shoal_http_connection_cut(connection);
        return;
    }
    shoal_http_exchange *exchange = connection->exchange;
    const shoal_http_request request = exchange->request; /* outlives an answer given at once */
    exchange->announced = true;
    const bool go_on = handlers->on_head(handlers->context, exchange, &request);
    if (!connection->exchange)
        return; /* answered already */
    if (!go_on) {
        shoal_api_error error = {0};
        (void)shoal_api_refuse(&error, 500, NULL, NULL,
                               "the request was turned down without words");
        shoal_http_connection_refuse(connection, &error);
    } else if (connection->parser.expects_continue &&
               !shoal_http_parser_ended(&connection->parser)) {
        shoal_http_output_print(&connection->output, "HTTP/1.1 100 Continue\r\n\r\n");
    }
}

static void hand_over(shoal_http_connection *connection)
{
    const shoal_http_handlers *handlers = &connection->shared->handlers;
    shoal_http_exchange *exchange = connection->exchange;
    shoal_http_request request = exchange->request;
    request.body = connection->body.bytes ? connection->body.data : "";
    request.body_bytes = connection->body.bytes;
    enter(connection, SHOAL_HTTP_PHASE_ANSWER, INFINITY);
    handlers->on_request(handlers->context, exchange, &request);
    shoal_http_connection_drop_body(connection);
}

/* The answer is flushed. */
static void begin_next(shoal_http_connection *connection)
{
    shoal_http_shared *shared = connection->shared;
    if (connection->close_after || shared->stopping) {
        (void)shutdown(connection->fd, SHUT_WR);
        free_buffers(connection);
        enter(connection, SHOAL_HTTP_PHASE_LINGER, LINGER_SECONDS);
        return;
    }
    shoal_http_parser_reset(&connection->parser);
    enter(connection, SHOAL_HTTP_PHASE_HEAD, shared->settings.keep_seconds);
}

/* ---- input ---- */

static bool is_receiving(const shoal_http_connection *connection)
{
    return connection->phase == SHOAL_HTTP_PHASE_HEAD || connection->phase == SHOAL_HTTP_PHASE_BODY;
}

/* The time for a head runs from its first byte, that of the first head from the beginning. */
static void note_first_byte(shoal_http_connection *connection)
{
    connection->began = shoal_clock_seconds();
    if (!connection->fresh)
        connection->deadline = connection->began + connection->shared->settings.head_seconds;
}

/* All bodies together have a limit, too: many large ones at once are turned away. */
static void keep_body(shoal_http_connection *connection, const shoal_http_bytes *piece)
{
    shoal_http_shared *shared = connection->shared;
    shoal_api_error error = {.retry_after = 1};
    if (shared->bodies + piece->count <= shared->settings.bodies_max &&
        shoal_strbuf_append(&connection->body, piece->bytes, piece->count) == SHOAL_OK) {
        shared->bodies += piece->count;
        return;
    }
    (void)shoal_api_refuse(&error, 503, NULL, NULL, "there is no room for the body now");
    shoal_http_connection_refuse(connection, &error);
}

/* Parse until the input is used up or an answer is due. */
static void parse(shoal_http_connection *connection, shoal_http_bytes *input)
{
    while (is_receiving(connection)) {
        shoal_http_bytes piece;
        shoal_api_error error = {0};
        if (input->count > 0 && !shoal_http_parser_started(&connection->parser))
            note_first_byte(connection);
        switch (shoal_http_parser_feed(&connection->parser, input, &piece, &error)) {
        case SHOAL_HTTP_NEED_MORE: return;
        case SHOAL_HTTP_HEAD: begin_exchange(connection); break;
        case SHOAL_HTTP_BODY: keep_body(connection, &piece); break;
        case SHOAL_HTTP_DONE: hand_over(connection); break;
        case SHOAL_HTTP_BAD: shoal_http_connection_refuse(connection, &error); break;
        }
    }
}

/* What came behind an earlier request. */
static void parse_ahead(shoal_http_connection *connection)
{
    shoal_strbuf *ahead = &connection->ahead;
    shoal_http_bytes input = {ahead->data + connection->ahead_at,
                              ahead->bytes - connection->ahead_at};
    parse(connection, &input);
    connection->ahead_at = ahead->bytes - input.count;
    if (input.count == 0) {
        shoal_strbuf_free(ahead);
        connection->ahead_at = 0;
    }
}

/* One read. False when the socket has no more for now. */
static bool receive(shoal_http_connection *connection)
{
    char *buffer = connection->shared->input;
    const ssize_t n = recv(connection->fd, buffer, SHOAL_HTTP_INPUT_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        shoal_http_connection_cut(connection);
        return false;
    }
    if (connection->phase == SHOAL_HTTP_PHASE_LINGER) {
        connection->discarded += (uint64_t)n;
        if (connection->discarded > LINGER_BYTES)
            shoal_http_connection_cut(connection);
        return n == SHOAL_HTTP_INPUT_BYTES;
    }
    shoal_http_bytes input = {buffer, (size_t)n};
    parse(connection, &input);
    if (shoal_strbuf_append(&connection->ahead, input.bytes, input.count) != SHOAL_OK)
        shoal_http_connection_cut(connection);
    return n == SHOAL_HTTP_INPUT_BYTES;
}

/* ---- driving ---- */

/* One step; false when nothing more can be done before something happens outside. */
static bool advance(shoal_http_connection *connection, int *reads)
{
    if (shoal_http_output_flush(&connection->output, connection->fd) &&
        connection->phase == SHOAL_HTTP_PHASE_FLUSH)
        enter(connection, SHOAL_HTTP_PHASE_FLUSH, connection->shared->settings.body_seconds);
    if (connection->output.broken) {
        shoal_http_connection_cut(connection);
        return false;
    }
    if (connection->phase == SHOAL_HTTP_PHASE_FLUSH) {
        if (shoal_http_output_unsent(&connection->output) > 0)
            return false;
        begin_next(connection);
        return true;
    }
    if (is_receiving(connection) && connection->ahead.bytes > 0) {
        parse_ahead(connection);
        return true;
    }
    if (*reads == 0 || !(is_receiving(connection) || connection->phase == SHOAL_HTTP_PHASE_LINGER))
        return false;
    *reads = receive(connection) ? *reads - 1 : 0;
    return connection->phase != SHOAL_HTTP_PHASE_CLOSED;
}

/* Ask epoll for what the phase waits for. In ANSWER the client's half-close is a departure; what
 * it sends stays in the kernel. */
static void watch(shoal_http_connection *connection)
{
    struct epoll_event event = {.data.ptr = connection};
    if (connection->phase == SHOAL_HTTP_PHASE_ANSWER)
        event.events = EPOLLRDHUP;
    else if (connection->phase != SHOAL_HTTP_PHASE_FLUSH)
        event.events = EPOLLIN;
    if (shoal_http_output_unsent(&connection->output) > 0)
        event.events |= EPOLLOUT;
    if (event.events == connection->interest)
        return;
    connection->interest = event.events;
    if (epoll_ctl(connection->shared->poll, EPOLL_CTL_MOD, connection->fd, &event) != 0)
        shoal_http_connection_cut(connection);
}

void shoal_http_connection_serve(shoal_http_connection *connection, uint32_t events)
{
    int reads = events & EPOLLIN ? READS_PER_TURN : 0;
    if (connection->phase == SHOAL_HTTP_PHASE_CLOSED)
        return;
    if (events & (EPOLLERR | EPOLLHUP) ||
        (events & EPOLLRDHUP && connection->phase == SHOAL_HTTP_PHASE_ANSWER)) {
        shoal_http_connection_cut(connection);
        return;
    }
    connection->is_served = true;
    while (advance(connection, &reads))
        ;
    connection->is_served = false;
    if (connection->phase != SHOAL_HTTP_PHASE_CLOSED)
        watch(connection);
}

void shoal_http_connection_check(shoal_http_connection *connection, double now)
{
    const bool waits_for_head = connection->phase == SHOAL_HTTP_PHASE_HEAD;
    if (now < connection->deadline)
        return;
    if (!is_receiving(connection) ||
        (waits_for_head && !connection->fresh && !shoal_http_parser_started(&connection->parser))) {
        shoal_http_connection_cut(connection);
        return;
    }
    shoal_api_error error = {0};
    (void)shoal_api_refuse(&error, 408, NULL, NULL, "the %s of the request did not come in time",
                           waits_for_head ? "head" : "body");
    shoal_http_connection_refuse(connection, &error);
}

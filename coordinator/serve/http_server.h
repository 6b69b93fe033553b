/* coordinator/serve/http_server.h - HTTP/1.1 on one thread: connections, deadlines, back-pressure.
 *
 * The server owns sockets and time; what a request means is its handlers' business. Everything
 * here, handlers included, runs on the one thread inside shoal_http_server_run; only
 * shoal_http_server_wake, _stop and _connections may be called from others.
 *
 * An *exchange* is one request and its answer. It lives from on_head until its answer has been
 * handed over completely (shoal_http_reply or shoal_http_stream_end) or on_gone; after either the
 * pointer is dead. Requests of one connection are answered one after the other.
 *
 * Framing and the limits of a message are coordinator/serve/http_message.h: what is ambiguous gets
 * an error and a closed connection. Limits of time hold for all routes alike: 10 s for a head, from
 * its first byte (the first head of a connection: from accept); 30 s for a body, from the end of
 * its head; 60 s of silence between requests; 30 s without progress in taking a complete answer. A
 * reader that leaves more than SHOAL_HTTP_UNSENT_MAX bytes of a stream waiting, beside the largest
 * piece that was written to it at once, is cut off. Above `connections_max` a newcomer gets 503
 * and is closed; when descriptors run out accepting pauses.
 * Error answers made here have OpenAI's shape (coordinator/serve/api_error.h). */
#ifndef SHOAL_COORDINATOR_SERVE_HTTP_SERVER_H
#define SHOAL_COORDINATOR_SERVE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/serve/api_error.h"
#include "proto/status.h"

#define SHOAL_HTTP_UNSENT_MAX (256u << 10)

#define SHOAL_HTTP_HEAD_SECONDS 10.0
#define SHOAL_HTTP_BODY_SECONDS 30.0
#define SHOAL_HTTP_KEEP_SECONDS 60.0

/* Room for a request id, "req-..." or what the client sent as X-Request-Id. */
#define SHOAL_HTTP_ID_MAX 80

typedef struct shoal_http_server shoal_http_server;
typedef struct shoal_http_exchange shoal_http_exchange;

/* A request; strings are borrowed and live as long as the exchange, the body only during
 * on_request (take it with shoal_http_take_body to keep it). */
typedef struct {
    const char *method; /* "GET" */
    const char *path;   /* the target up to '?', as sent; starts with '/' */
    const char *query;  /* after '?'; "" if none */
    const char *body;   /* NULL but in on_request */
    size_t body_bytes;
} shoal_http_request;

/* All of them are set. */
typedef struct {
    /* The head is here and sound. Return true to go on (a body, if any, is then received, then
     * on_request comes), or answer with shoal_http_reply and return false: a body is not read,
     * and the connection closes if there is one. */
    bool (*on_head)(void *context, shoal_http_exchange *exchange,
                    const shoal_http_request *request);
    void (*on_request)(void *context, shoal_http_exchange *exchange,
                       const shoal_http_request *request);
    /* The client left (closed, half-closed or reset the connection), was cut off, or sent a body
     * that the server had to refuse, before its answer was complete. Not called for answers that
     * are only being flushed. */
    void (*on_gone)(void *context, shoal_http_exchange *exchange);
    /* After shoal_http_server_wake: once or more per call. */
    void (*on_wake)(void *context);
    /* About ten times a second. */
    void (*on_tick)(void *context);
    /* An answer has been handed over: for the access log and counters. `status` 0: client gone.
     * Also for errors answered by the server itself; method, path and query are "" when the head
     * could not be read. `seconds` since the first byte of the head; `bytes_sent` with heads and
     * framing. */
    void (*on_done)(void *context, const shoal_http_request *request, const char *request_id,
                    int status, double seconds, uint64_t bytes_sent);
    void *context;
} shoal_http_handlers;

typedef struct {
    const char *host; /* an address to bind; "127.0.0.1", "::1", "0.0.0.0" or a name */
    int port;         /* 0: any free one */
    uint64_t body_max;
    uint64_t bodies_max; /* of all that are being received; 0: 32 times body_max */
    int connections_max; /* 0: as many as descriptors allow, with a reserve kept for the cluster */
    double head_seconds, body_seconds, keep_seconds; /* 0: the defaults above */
} shoal_http_settings;

/* Bind and listen; no request is taken before run. SHOAL_ERR_UNAVAILABLE naming address and cause
 * when it cannot be bound, SHOAL_ERR_USAGE when `host` is no address. */
SHOAL_MUST_USE shoal_status shoal_http_server_open(const shoal_http_settings *settings,
                                                   const shoal_http_handlers *handlers,
                                                   shoal_http_server **out);

/* "127.0.0.1:8000", "[::1]:8000", with the real port. */
const char *shoal_http_server_address(const shoal_http_server *server);

/* Serve until stop; then close everything. */
SHOAL_MUST_USE shoal_status shoal_http_server_run(shoal_http_server *server);
void shoal_http_server_close(shoal_http_server *server);

/* From any thread, also from a signal handler. Stop: no new connections; returns from run when
 * all answers under way are flushed, after `seconds` at the latest. */
void shoal_http_server_wake(shoal_http_server *server);
void shoal_http_server_stop(shoal_http_server *server, double seconds);

/* Open connections, for metrics. From any thread. */
int shoal_http_server_connections(const shoal_http_server *server);

/* ---- exchanges ---- */

/* A header's value (name in any case), NULL if absent. */
const char *shoal_http_header(const shoal_http_exchange *exchange, const char *name);

/* The request's id: the client's X-Request-Id if it is up to 64 of [A-Za-z0-9._-], else our own.
 * Sent back as X-Request-Id. */
const char *shoal_http_request_id(const shoal_http_exchange *exchange);

/* Something of the handlers', NULL at first. */
void shoal_http_set_user(shoal_http_exchange *exchange, void *user);
void *shoal_http_user(const shoal_http_exchange *exchange);

/* Take the body over (free with shoal_free; NULL if it is empty); only in on_request. */
char *shoal_http_take_body(shoal_http_exchange *exchange, size_t *bytes);

/* The whole answer; copied. `headers`: further lines, each "Name: value\r\n", or NULL. Consumes
 * the exchange. An answer to HEAD is sent without its body. */
void shoal_http_reply(shoal_http_exchange *exchange, int status, const char *content_type,
                      const char *headers, const char *body, size_t bytes);

/* The same for an error, with its Retry-After. */
void shoal_http_reply_error(shoal_http_exchange *exchange, const shoal_api_error *error);

/* A streamed answer (chunked; for HTTP/1.0 until close): status 200 now, then any number of
 * writes, then the end. Not before on_request. A write to a reader that is too slow ends the
 * exchange: on_gone is called before it returns false. */
void shoal_http_stream_begin(shoal_http_exchange *exchange, const char *content_type,
                             const char *headers);
bool shoal_http_stream_write(shoal_http_exchange *exchange, const char *bytes, size_t count);
void shoal_http_stream_end(shoal_http_exchange *exchange);

#endif

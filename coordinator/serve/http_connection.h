/* coordinator/serve/http_connection.h - one client's connection and the exchange going on on it.
 *
 * Inside of the server: only http_*.c include this. A connection walks through phases:
 *
 *     HEAD -> BODY -> ANSWER -> FLUSH -> HEAD ...         an exchange lives from the end of HEAD
 *               \________________^  \-> LINGER -> CLOSED  to the beginning of FLUSH
 *
 * HEAD and BODY read, ANSWER waits for the handlers, FLUSH for the client to take the answer. The
 * next request is not looked at before. LINGER has closed our side and discards what still comes:
 * closing at once would reset the connection and take the answer from a client that is still
 * sending. Handlers never drive a connection: what they call leaves bytes and a phase behind and
 * puts it on the ready list, so that nothing here is entered twice. A closed connection keeps its
 * memory until the loop is through with its events. */
#ifndef SHOAL_COORDINATOR_SERVE_HTTP_CONNECTION_H
#define SHOAL_COORDINATOR_SERVE_HTTP_CONNECTION_H

#include <stdatomic.h>

#include "coordinator/serve/http_message.h"
#include "coordinator/serve/http_output.h"
#include "coordinator/serve/http_server.h"

#define SHOAL_HTTP_INPUT_BYTES (32u << 10)

typedef struct shoal_http_connection shoal_http_connection;

/* What the connections of a server share. */
typedef struct {
    shoal_http_handlers handlers;
    shoal_http_settings settings; /* with the defaults filled in */
    int poll;                     /* of epoll */
    bool stopping;
    uint32_t id_prefix; /* random, of the request ids made here */
    uint64_t ids;
    uint64_t bodies;               /* bytes of all bodies held here */
    atomic_int count;              /* open connections; read from any thread */
    shoal_http_connection *first;  /* of the open ones */
    shoal_http_connection *ready;  /* to be served before the loop waits again */
    shoal_http_connection *closed; /* to be freed */
    char input[SHOAL_HTTP_INPUT_BYTES];
} shoal_http_shared;

typedef enum {
    SHOAL_HTTP_PHASE_HEAD,
    SHOAL_HTTP_PHASE_BODY,
    SHOAL_HTTP_PHASE_ANSWER,
    SHOAL_HTTP_PHASE_FLUSH,
    SHOAL_HTTP_PHASE_LINGER,
    SHOAL_HTTP_PHASE_CLOSED
} shoal_http_phase;

struct shoal_http_exchange {
    shoal_http_connection *connection;
    shoal_http_request request;
    char id[SHOAL_HTTP_ID_MAX];
    void *user;
    bool announced; /* the handlers know it and must be told of its end */
    bool head_only, chunked;
    uint64_t output_before; /* of the connection's output, in all */
    size_t largest;         /* of the pieces of a stream */
};

struct shoal_http_connection {
    shoal_http_shared *shared;
    shoal_http_connection *next, *previous; /* among the open ones; `next` also among the closed */
    shoal_http_connection *next_ready;
    bool is_queued, is_served; /* on the ready list; inside of shoal_http_connection_serve */
    int fd;
    uint32_t interest; /* what epoll watches */
    shoal_http_phase phase;
    bool fresh;       /* no request has come yet */
    bool close_after; /* the present answer is the last one */
    double deadline;  /* of the phase */
    double began;     /* first byte of the present request */
    shoal_http_parser parser;
    shoal_strbuf ahead; /* received, to be parsed after the present answer: from ahead_at on */
    size_t ahead_at;
    shoal_strbuf body;
    shoal_http_output output;
    shoal_http_exchange *exchange; /* NULL: none */
    uint64_t discarded;
};

/* Take over an accepted socket. False when there is no memory: it is closed. */
bool shoal_http_connection_open(shoal_http_shared *shared, int fd, shoal_http_connection **out);

/* Do what can be done after these events of epoll (0: none). */
void shoal_http_connection_serve(shoal_http_connection *connection, uint32_t events);

/* Answer in the server's own name and close; the handlers are told that their exchange is gone. */
void shoal_http_connection_refuse(shoal_http_connection *connection, const shoal_api_error *error);

/* Close now, if it is open; the handlers are told that their exchange is gone. */
void shoal_http_connection_cut(shoal_http_connection *connection);

/* Free a closed one, already taken from its list. */
void shoal_http_connection_free(shoal_http_connection *connection);

/* Act on a deadline that is over. */
void shoal_http_connection_check(shoal_http_connection *connection, double now);

/* Let go of what has been received of a body. */
void shoal_http_connection_drop_body(shoal_http_connection *connection);

/* The loop shall serve it soon. */
void shoal_http_connection_wants_service(shoal_http_connection *connection);

/* The answer is complete: what is left is to flush it. */
void shoal_http_connection_answered(shoal_http_connection *connection);

/* ---- http_exchange.c ---- */

/* Begin an exchange on a connection that has none. False when there is no memory. */
bool shoal_http_exchange_open(shoal_http_connection *connection);

/* It ends without an answer. */
void shoal_http_exchange_lose(shoal_http_exchange *exchange);

/* Tell the handlers, if they know it, that they have lost it; it can still be answered. */
void shoal_http_exchange_withdraw(shoal_http_exchange *exchange);

#endif

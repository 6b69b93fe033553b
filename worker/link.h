/* worker/link.h - a framed connection between a worker and the coordinator.
 *
 * Carries the messages of proto/wire.h over a Unix or TCP socket. One thread receives; any thread
 * may send. Times are milliseconds from now on the monotonic clock: 0 does not wait, negative
 * waits for ever. Failures: SHOAL_ERR_TEMPORARY when the time is over (a receive may simply be
 * called again, what had arrived is kept), SHOAL_ERR_UNAVAILABLE when the peer is gone,
 * SHOAL_ERR_DATA when it sends what no peer of ours would; after the last two, and after a send
 * that ran out of time half-way, the link is only good for closing.
 *
 * Addresses are "unix:/path/of/socket" and "host:port" ("[::1]:9000" for IPv6). A link starts out
 * unauthenticated: until a handshake succeeds the peer may send no more than SHOAL_WIRE_HELLO_MAX
 * bytes a message. */
#ifndef SHOAL_WORKER_LINK_H
#define SHOAL_WORKER_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

/* A peer that has not proved itself by then is dropped. */
#define SHOAL_LINK_HANDSHAKE_MS 1000

/* Longest token that is taken. */
#define SHOAL_LINK_TOKEN_MAX 256

typedef struct shoal_link shoal_link;
typedef struct shoal_listener shoal_listener;

/* Listen. "unix:" alone makes a private directory (mode 0700) under $TMPDIR or /tmp; a directory
 * named in a path is made if it is missing and must be private to this user (SHOAL_ERR_CONFIG).
 * A TCP address names its interface; port 0 takes any. Closing removes what was made. */
SHOAL_MUST_USE shoal_status shoal_link_listen(const char *address, shoal_listener **out);
void shoal_listener_close(shoal_listener *listener);

/* Where to connect to, with the real port or path; lives as long as the listener. */
const char *shoal_listener_address(const shoal_listener *listener);

/* For poll. */
int shoal_listener_fd(const shoal_listener *listener);

/* The next connection. Over a Unix socket another user's process is turned away. */
SHOAL_MUST_USE shoal_status shoal_link_accept(shoal_listener *listener, int ms, shoal_link **out);

SHOAL_MUST_USE shoal_status shoal_link_connect(const char *address, int ms, shoal_link **out);

/* Make a link of a connected stream socket; the link owns it then. `peer` is for sentences. */
SHOAL_MUST_USE shoal_status shoal_link_adopt(int fd, const char *peer, shoal_link **out);

/* NULL is allowed. */
void shoal_link_close(shoal_link *link);

/* For poll: readable means that a receive has something to do. */
int shoal_link_fd(const shoal_link *link);

SHOAL_MUST_USE shoal_status shoal_link_send(shoal_link *link, const shoal_wire_message *message,
                                            int ms);

/* The caller frees the message (shoal_wire_free). */
SHOAL_MUST_USE shoal_status shoal_link_receive(shoal_link *link, int ms, shoal_wire_message *out);

/* Handshake of the coordinator: send a fresh nonce, receive Hello, check its proof by the token
 * and the protocol version (SHOAL_ERR_CONFIG). From now on the link is of `generation` (> 0) and
 * trusted. The caller frees *hello; after a failure it closes the link. */
SHOAL_MUST_USE shoal_status shoal_link_challenge(shoal_link *link, const void *token,
                                                 size_t token_bytes, uint32_t generation,
                                                 shoal_wire_message *hello);

/* Handshake of the worker: receive the nonce, send *hello with the proof filled in. */
SHOAL_MUST_USE shoal_status shoal_link_introduce(shoal_link *link, const void *token,
                                                 size_t token_bytes, const shoal_wire_hello *hello,
                                                 int ms);

uint32_t shoal_link_generation(const shoal_link *link);

#endif

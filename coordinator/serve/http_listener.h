/* coordinator/serve/http_listener.h - a listening TCP socket and its address in words. */
#ifndef SHOAL_COORDINATOR_SERVE_HTTP_LISTENER_H
#define SHOAL_COORDINATOR_SERVE_HTTP_LISTENER_H

#include "proto/status.h"

/* "[address]:port" with a zone, and its NUL. */
#define SHOAL_HTTP_ADDRESS_MAX 96

/* Bind `host` (an address or a name; the first address that can be bound) and listen; port 0: any
 * free one. *fd is non-blocking and closed on exec; `address` says where it really listens.
 * SHOAL_ERR_USAGE when `host` or `port` is none, SHOAL_ERR_UNAVAILABLE when it cannot be bound. */
SHOAL_MUST_USE shoal_status shoal_http_listen(const char *host, int port, int *fd,
                                              char address[SHOAL_HTTP_ADDRESS_MAX]);

#endif

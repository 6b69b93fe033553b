/* worker/link_socket.h - addresses and sockets of links.
 *
 * Private to worker/link*.c, the files that see sys/socket.h. Sockets are close-on-exec and do not
 * block. */
#ifndef SHOAL_WORKER_LINK_SOCKET_H
#define SHOAL_WORKER_LINK_SOCKET_H

#include <stdbool.h>
#include <sys/un.h>

#include "proto/status.h"

typedef struct {
    bool is_unix;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    char host[256], port[8];
} shoal_address;

/* SHOAL_ERR_USAGE names what is wrong. "unix:" alone gives an empty path. */
SHOAL_MUST_USE shoal_status shoal_address_parse(const char *text, shoal_address *out);

/* Connect within `ms`. */
SHOAL_MUST_USE shoal_status shoal_socket_connect(const shoal_address *address, const char *text,
                                                 int ms, int *fd);

/* Bind and listen; a TCP port 0 becomes the real one in *address. */
SHOAL_MUST_USE shoal_status shoal_socket_listen(shoal_address *address, const char *text, int *fd);

/* Wait until `fd` is ready for `events` of poll(2), or `until` (monotonic seconds; negative: for
 * ever) has passed: SHOAL_ERR_TEMPORARY. */
SHOAL_MUST_USE shoal_status shoal_socket_wait(int fd, short events, double until);

/* `ms` from now as shoal_socket_wait wants it. */
double shoal_socket_until(int ms);

#endif

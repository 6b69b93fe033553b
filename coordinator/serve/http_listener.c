#include "coordinator/serve/http_listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

/* A listening socket, or -1 with errno set. */
static int bind_one(const struct addrinfo *at)
{
    const int on = 1;
    const int fd =
        socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static shoal_status name_address(int fd, char address[SHOAL_HTTP_ADDRESS_MAX])
{
    struct sockaddr_storage where;
    socklen_t bytes = sizeof where;
    char host[SHOAL_HTTP_ADDRESS_MAX - 16], port[8];
    if (getsockname(fd, (struct sockaddr *)&where, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&where, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "the listening socket has no address");
    (void)snprintf(address, SHOAL_HTTP_ADDRESS_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
                   port);
    return SHOAL_OK;
}

shoal_status shoal_http_listen(const char *host, int port, int *fd,
                               char address[SHOAL_HTTP_ADDRESS_MAX])
{
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[16];
    if (port < 0 || port > 65535)
        return shoal_fail(SHOAL_ERR_USAGE, "port %d is not within 0..65535", port);
    (void)snprintf(service, sizeof service, "%d", port);
    if (!host || !*host || getaddrinfo(host, service, &wanted, &found) != 0)
        return shoal_fail(SHOAL_ERR_USAGE, "'%s' is no address to listen on", host ? host : "");

    int bound = -1;
    for (const struct addrinfo *at = found; at && bound < 0; at = at->ai_next)
        bound = bind_one(at);
    const int error = errno;
    freeaddrinfo(found);
    if (bound < 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "cannot listen on %s port %d: %s", host, port,
                          strerror(error));
    const shoal_status st = name_address(bound, address);
    if (st != SHOAL_OK) {
        (void)close(bound);
        return st;
    }
    *fd = bound;
    return SHOAL_OK;
}

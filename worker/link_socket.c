#include "worker/link_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/comm_exchange.h"

#define BACKLOG 128

double shoal_socket_until(int ms)
{
    return ms < 0 ? -1.0 : shoal_seconds_now() + 1e-3 * ms;
}

shoal_status shoal_socket_wait(int fd, short events, double until)
{
    for (;;) {
        struct pollfd p = {fd, events, 0};
        int ms = -1;
        if (until >= 0) {
            const double left = until - shoal_seconds_now();
            ms = left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1e3) + 1;
        }
        const int ready = poll(&p, 1, ms);
        if (ready > 0)
            return SHOAL_OK; /* an error or a hang-up shows in the call that follows */
        if (ready == 0 && shoal_seconds_now() >= until)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "the time for waiting is over");
        if (ready < 0 && errno != EINTR)
            return shoal_fail(SHOAL_ERR_IO, "poll: %s", strerror(errno));
    }
}

static shoal_status bad_address(const char *text, const char *why)
{
    return shoal_fail(SHOAL_ERR_USAGE, "address \"%.300s\": %s", text, why);
}

static shoal_status copy_part(const char *text, const char *from, size_t bytes, char *to,
                              size_t room)
{
    if (bytes == 0 || bytes >= room)
        return bad_address(text, "host or port is missing or too long");
    memcpy(to, from, bytes);
    to[bytes] = '\0';
    return SHOAL_OK;
}

shoal_status shoal_address_parse(const char *text, shoal_address *out)
{
    shoal_address a = {0};
    if (strncmp(text, "unix:", 5) == 0) {
        a.is_unix = true;
        if (strlen(text + 5) >= sizeof a.path)
            return bad_address(text, "the path is too long for a socket");
        if (text[5] != '\0' && text[5] != '/')
            return bad_address(text, "the path is not absolute");
        memcpy(a.path, text + 5, strlen(text + 5) + 1);
        *out = a;
        return SHOAL_OK;
    }
    const char *colon = strrchr(text, ':'), *host = text, *host_end = colon;
    if (!colon)
        return bad_address(text, "neither unix:/path nor host:port");
    if (*host == '[') {
        if (colon[-1] != ']')
            return bad_address(text, "the bracket is not closed");
        host++;
        host_end--;
    } else if (memchr(host, ':', (size_t)(colon - host))) {
        return bad_address(text, "IPv6 needs brackets");
    }
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || strtol(colon + 1, NULL, 10) > 65535)
        return bad_address(text, "the port is not a number up to 65535");
    SHOAL_TRY(copy_part(text, host, (size_t)(host_end - host), a.host, sizeof a.host));
    SHOAL_TRY(copy_part(text, colon + 1, strlen(colon + 1), a.port, sizeof a.port));
    *out = a;
    return SHOAL_OK;
}

static struct sockaddr_un unix_name(const shoal_address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, address->path, sizeof name.sun_path);
    return name;
}

static shoal_status resolve(const shoal_address *address, const char *text, struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const int rc = getaddrinfo(address->host, address->port, &hints, out);
    if (rc != 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s: %s", text, gai_strerror(rc));
    return SHOAL_OK;
}

static void tune_tcp(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Finish a connect that does not block; errno tells why it failed. */
static bool connect_within(int fd, const struct sockaddr *to, socklen_t bytes, double until)
{
    /* EAGAIN is a Unix listener with a full queue. */
    while (connect(fd, to, bytes) != 0) {
        int error = errno;
        socklen_t size = sizeof error;
        if (error == EINPROGRESS) {
            if (shoal_socket_wait(fd, POLLOUT, until) != SHOAL_OK) {
                errno = ETIMEDOUT;
                return false;
            }
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            errno = error;
            return error == 0;
        }
        if (error == EISCONN)
            return true;
        if (error != EINTR && error != EAGAIN)
            return false;
        if (until >= 0 && shoal_seconds_now() > until) {
            errno = ETIMEDOUT;
            return false;
        }
        (void)usleep(2000);
    }
    return true;
}

static int try_connect(int family, const struct sockaddr *to, socklen_t bytes, double until)
{
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect_within(fd, to, bytes, until)) {
        if (family != AF_UNIX)
            tune_tcp(fd);
        return fd;
    }
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

shoal_status shoal_socket_connect(const shoal_address *address, const char *text, int ms, int *fd)
{
    const double until = shoal_socket_until(ms);
    int made = -1;
    if (address->is_unix) {
        const struct sockaddr_un name = unix_name(address);
        made = try_connect(AF_UNIX, (const struct sockaddr *)&name, sizeof name, until);
    } else {
        struct addrinfo *list;
        SHOAL_TRY(resolve(address, text, &list));
        for (struct addrinfo *a = list; a && made < 0; a = a->ai_next)
            made = try_connect(a->ai_family, a->ai_addr, a->ai_addrlen, until);
        const int error = errno;
        freeaddrinfo(list);
        errno = error;
    }
    if (made < 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "connect to %s: %s", text, strerror(errno));
    *fd = made;
    return SHOAL_OK;
}

static int try_listen(int family, const struct sockaddr *name, socklen_t bytes)
{
    const int on = 1;
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, name, bytes) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static void note_port(int fd, shoal_address *address)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    char port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&name, &bytes) == 0 &&
        getnameinfo((struct sockaddr *)&name, bytes, NULL, 0, port, sizeof port, NI_NUMERICSERV) ==
            0)
        (void)snprintf(address->port, sizeof address->port, "%.7s", port);
}

shoal_status shoal_socket_listen(shoal_address *address, const char *text, int *fd)
{
    int made = -1;
    if (address->is_unix) {
        const struct sockaddr_un name = unix_name(address);
        made = try_listen(AF_UNIX, (const struct sockaddr *)&name, sizeof name);
    } else {
        struct addrinfo *list;
        SHOAL_TRY(resolve(address, text, &list));
        for (struct addrinfo *a = list; a && made < 0; a = a->ai_next)
            made = try_listen(a->ai_family, a->ai_addr, a->ai_addrlen);
        const int error = errno;
        freeaddrinfo(list);
        errno = error;
    }
    if (made < 0)
        return shoal_fail(SHOAL_ERR_CREATE, "listen on %s: %s", text, strerror(errno));
    if (!address->is_unix)
        note_port(made, address);
    *fd = made;
    return SHOAL_OK;
}

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "worker/link.h"
#include "worker/link_socket.h"

struct shoal_listener {
    int fd;
    shoal_address address;
    char text[300];
    char folder[sizeof((shoal_address *)0)->path]; /* to remove at the end; "": none */
};

/* A folder of our own under $TMPDIR, and the socket's path in it. */
static shoal_status make_private_folder(shoal_listener *l)
{
    const char *base = getenv("TMPDIR");
    char folder[sizeof l->folder - sizeof "/link"];
    const int n = snprintf(folder, sizeof folder, "%s/shoal-XXXXXX", base && *base ? base : "/tmp");
    if (n < 0 || (size_t)n >= sizeof folder)
        return shoal_fail(SHOAL_ERR_CREATE, "the path of $TMPDIR is too long for a socket");
    if (!mkdtemp(folder)) /* mode 0700 */
        return shoal_fail(SHOAL_ERR_CREATE, "make %s: %s", folder, strerror(errno));
    (void)snprintf(l->folder, sizeof l->folder, "%s", folder);
    (void)snprintf(l->address.path, sizeof l->address.path, "%s/link", folder);
    return SHOAL_OK;
}

/* The folder of a path given by the user: made if missing, refused unless private. */
static shoal_status use_given_folder(shoal_listener *l)
{
    char folder[sizeof l->folder];
    struct stat info;
    memcpy(folder, l->address.path, sizeof folder);
    *strrchr(folder, '/') = '\0';
    if (folder[0] == '\0')
        return shoal_fail(SHOAL_ERR_CONFIG, "%s: the root directory is not private", l->text);
    if (mkdir(folder, 0700) == 0)
        memcpy(l->folder, folder, sizeof folder);
    else if (errno != EEXIST)
        return shoal_fail(SHOAL_ERR_CREATE, "make %s: %s", folder, strerror(errno));
    if (lstat(folder, &info) != 0)
        return shoal_fail(SHOAL_ERR_CREATE, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return shoal_fail(SHOAL_ERR_CONFIG,
                          "%s: a control socket needs a directory of this user with mode 0700",
                          folder);
    return SHOAL_OK;
}

static void remove_traces(const shoal_listener *l)
{
    if (l->address.is_unix && l->fd >= 0)
        (void)unlink(l->address.path);
    if (l->folder[0])
        (void)rmdir(l->folder);
}

static void write_address(shoal_listener *l)
{
    const bool v6 = strchr(l->address.host, ':') != NULL;
    if (l->address.is_unix)
        (void)snprintf(l->text, sizeof l->text, "unix:%s", l->address.path);
    else
        (void)snprintf(l->text, sizeof l->text, v6 ? "[%s]:%s" : "%s:%s", l->address.host,
                       l->address.port);
}

shoal_status shoal_link_listen(const char *address, shoal_listener **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_WIRE, sizeof(shoal_listener), &block));
    shoal_listener *l = block;
    l->fd = -1;
    SHOAL_TRY_GOTO(shoal_address_parse(address, &l->address), unwind);
    write_address(l);
    if (l->address.is_unix)
        SHOAL_TRY_GOTO(l->address.path[0] ? use_given_folder(l) : make_private_folder(l), unwind);
    SHOAL_TRY_GOTO(shoal_socket_listen(&l->address, address, &l->fd), unwind);
    write_address(l);
    *out = l;
    return SHOAL_OK;

unwind:
    remove_traces(l);
    shoal_free(l);
    return st;
}

void shoal_listener_close(shoal_listener *listener)
{
    if (!listener)
        return;
    remove_traces(listener);
    (void)close(listener->fd);
    shoal_free(listener);
}

const char *shoal_listener_address(const shoal_listener *listener)
{
    return listener->text;
}

int shoal_listener_fd(const shoal_listener *listener)
{
    return listener->fd;
}

/* The folder keeps others out already; root may connect anywhere. */
static bool same_user(const shoal_listener *l, int fd)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    return !l->address.is_unix || (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
                                   (who.uid == geteuid() || who.uid == 0));
}

shoal_status shoal_link_accept(shoal_listener *listener, int ms, shoal_link **out)
{
    const double until = shoal_socket_until(ms);
    for (;;) {
        const int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && same_user(listener, fd))
            return shoal_link_adopt(fd, listener->text, out);
        if (fd >= 0)
            (void)close(fd);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            SHOAL_TRY(shoal_socket_wait(listener->fd, POLLIN, until));
        else if (errno != EINTR && errno != ECONNABORTED)
            return shoal_fail(SHOAL_ERR_IO, "accept on %s: %s", listener->text, strerror(errno));
    }
}

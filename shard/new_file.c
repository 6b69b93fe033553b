/* shard/new_file.c - see new_file.h. */
#include "shard/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY ".tmp-"

static shoal_status io_failed(const shoal_new_file *f, const char *what)
{
    return shoal_fail(SHOAL_ERR_IO, "%s %s: %s", what, f->temporary, strerror(errno));
}

shoal_status shoal_new_file_create(const char *path, shoal_new_file *out)
{
    struct stat info;
    out->fd = -1;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return shoal_fail(SHOAL_ERR_CREATE, "%s exists and is not a regular file", path);
    const int a = snprintf(out->path, sizeof out->path, "%s", path);
    const int b =
        snprintf(out->temporary, sizeof out->temporary, "%s" TEMPORARY "%ld", path, (long)getpid());
    if (a < 0 || b < 0 || (size_t)b >= sizeof out->temporary)
        return shoal_fail(SHOAL_ERR_CREATE, "%.200s...: the path is too long", path);
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (out->fd < 0)
        return shoal_fail(SHOAL_ERR_CREATE, "cannot create %s: %s", out->temporary,
                          strerror(errno));
    return SHOAL_OK;
}

shoal_status shoal_new_file_append(const shoal_new_file *f, const void *data, uint64_t bytes)
{
    const char *from = data;
    for (uint64_t at = 0; at < bytes;) {
        const ssize_t n = write(f->fd, from + at, bytes - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_failed(f, "writing");
        at += (uint64_t)n;
    }
    return SHOAL_OK;
}

shoal_status shoal_new_file_put(const shoal_new_file *f, uint64_t offset, const void *data,
                                uint64_t bytes)
{
    const char *from = data;
    for (uint64_t at = 0; at < bytes;) {
        const ssize_t n = pwrite(f->fd, from + at, bytes - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_failed(f, "writing");
        at += (uint64_t)n;
    }
    return SHOAL_OK;
}

shoal_status shoal_new_file_extend(const shoal_new_file *f, uint64_t bytes)
{
    return ftruncate(f->fd, (off_t)bytes) == 0 ? SHOAL_OK : io_failed(f, "extending");
}

static shoal_status sync_and_rename(const shoal_new_file *f)
{
    char folder[PATH_MAX];
    if (fsync(f->fd) != 0)
        return io_failed(f, "syncing");
    if (rename(f->temporary, f->path) != 0)
        return shoal_fail(SHOAL_ERR_CREATE, "renaming %s to %s: %s", f->temporary, f->path,
                          strerror(errno));
    (void)snprintf(folder, sizeof folder, "%s", f->path);
    shoal_sync_folder(dirname(folder));
    return SHOAL_OK;
}

shoal_status shoal_new_file_publish(shoal_new_file *f)
{
    SHOAL_TRY(sync_and_rename(f));
    (void)close(f->fd);
    f->fd = -1;
    return SHOAL_OK;
}

void shoal_new_file_discard(shoal_new_file *f)
{
    if (f->fd < 0)
        return;
    (void)unlink(f->temporary);
    (void)close(f->fd);
    f->fd = -1;
}

bool shoal_new_file_is_temporary(const char *name)
{
    return strstr(name, TEMPORARY) != NULL;
}

void shoal_sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

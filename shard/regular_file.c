#include "shard/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* One read(2) moves at most 2 GiB less a page. */
#define READ_MAX (1u << 30)

static shoal_status open_failed(const char *path)
{
    const int code = errno;
    return shoal_fail(code == ENOENT || code == ENOTDIR ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO,
                      "%s: %s", path, strerror(code));
}

static const char *kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR: return "a directory";
    case S_IFIFO: return "a pipe";
    case S_IFSOCK: return "a socket";
    default: return "a device";
    }
}

static shoal_status require_regular(const char *path, const struct stat *info)
{
    if (!S_ISREG(info->st_mode))
        return shoal_fail(SHOAL_ERR_DATA, "%s is %s, not a regular file", path,
                          kind_name(info->st_mode));
    return SHOAL_OK;
}

static int64_t modified_ns(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

/* A model of hundreds of shards may need more descriptors than a shell gives by default. */
static bool raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* O_NONBLOCK: should the path have become a pipe since stat, open returns all the same. */
static int open_for_reading(const char *path)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    const int fd = open(path, flags);
    if (fd < 0 && errno == EMFILE && raise_descriptor_limit())
        return open(path, flags);
    return fd;
}

shoal_status shoal_regular_open(const char *path, shoal_regular_file *out)
{
    struct stat info;
    shoal_status st;
    if (stat(path, &info) != 0)
        return open_failed(path);
    SHOAL_TRY(require_regular(path, &info));
    const int fd = open_for_reading(path);
    if (fd < 0)
        return open_failed(path);
    if (fstat(fd, &info) != 0) {
        st = open_failed(path);
        goto close_file;
    }
    SHOAL_TRY_GOTO(require_regular(path, &info), close_file);
    *out = (shoal_regular_file){.fd = fd,
                                .bytes = (uint64_t)info.st_size,
                                .device = info.st_dev,
                                .inode = info.st_ino,
                                .modified_ns = modified_ns(&info)};
    return SHOAL_OK;

close_file:
    close(fd);
    return st;
}

void shoal_regular_close(shoal_regular_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* Nothing is left at `offset`: say where the end is, which may be long before. */
static shoal_status too_short(const shoal_regular_file *file, const char *path, uint64_t offset)
{
    struct stat info;
    if (fstat(file->fd, &info) == 0 && (uint64_t)info.st_size < offset)
        offset = (uint64_t)info.st_size;
    return shoal_fail(SHOAL_ERR_IO, "%s ends at byte %llu; it had %llu bytes when it was opened",
                      path, (unsigned long long)offset, (unsigned long long)file->bytes);
}

shoal_status shoal_regular_read(const shoal_regular_file *file, const char *path, uint64_t offset,
                                uint64_t bytes, void *out)
{
    char *to = out;
    while (bytes > 0) {
        const ssize_t n =
            pread(file->fd, to, bytes < READ_MAX ? (size_t)bytes : READ_MAX, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return shoal_fail(SHOAL_ERR_IO, "reading %s at byte %llu: %s", path,
                              (unsigned long long)offset, strerror(errno));
        if (n == 0)
            return too_short(file, path, offset);
        to += n;
        offset += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return SHOAL_OK;
}

void shoal_regular_expect(const shoal_regular_file *file, uint64_t offset, uint64_t bytes)
{
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_WILLNEED);
}

shoal_status shoal_regular_unchanged(const shoal_regular_file *file, const char *path)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
    if ((uint64_t)info.st_size != file->bytes)
        return shoal_fail(SHOAL_ERR_IO, "%s changed while it was read: %llu bytes became %llu",
                          path, (unsigned long long)file->bytes, (unsigned long long)info.st_size);
    if (modified_ns(&info) != file->modified_ns)
        return shoal_fail(SHOAL_ERR_IO, "%s was written to while it was read", path);
    if (stat(path, &info) != 0 || info.st_dev != file->device || info.st_ino != file->inode)
        return shoal_fail(SHOAL_ERR_IO, "%s was replaced by another file while it was read", path);
    return SHOAL_OK;
}

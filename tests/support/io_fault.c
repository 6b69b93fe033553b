/* tests/support/io_fault.c - a library to preload: the file system fails where a test says.
 *
 *     IO_FAULT_UNDER   calls on files below this path count, no others
 *     IO_FAULT_KIND    eio     reads, writes and what makes names fail with EIO
 *                      enospc  what needs room on the disk fails with ENOSPC
 *                      eintr   every second read or write is interrupted
 *                      short   reads and writes move half of the bytes
 *                      touch   before a read the file gets a new time, as if it were written to
 *                      die     before what changes the disk the process is killed
 *     IO_FAULT_CALL    the how manieth call it is (from 1); not asked by eintr and short
 *     IO_FAULT_COUNT   a file for the number of calls that counted, once the program ends
 *
 * The real calls are made by number, so nothing has to be looked up. What libc calls within itself
 * (fopen, opendir) is not seen. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* What a call does; a kind of fault hits some. */
enum { READS = 1, WRITES = 2, OPENS = 4, MAKES = 8, SYNCS = 16 };

static const struct kind {
    const char *name;
    int hits, code;
} kinds[] = {
    {"eio", READS | WRITES | OPENS | MAKES | SYNCS, EIO},
    {"enospc", WRITES | MAKES | SYNCS, ENOSPC},
    {"eintr", READS | WRITES, EINTR},
    {"short", READS | WRITES, 0},
    {"touch", READS, 0},
    {"die", WRITES | MAKES | SYNCS, 0},
};

static const struct kind *chosen;
static const char *under;
static long wanted;
static atomic_long calls;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("IO_FAULT_KIND"), *call = getenv("IO_FAULT_CALL");
    under = getenv("IO_FAULT_UNDER");
    wanted = call ? strtol(call, NULL, 10) : 0;
    for (size_t i = 0; name && under && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            chosen = &kinds[i];
}

__attribute__((destructor)) static void end(void)
{
    char text[32];
    const char *path = getenv("IO_FAULT_COUNT");
    const long fd =
        path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    const int bytes = snprintf(text, sizeof text, "%ld", atomic_load(&calls));
    if (fd >= 0) {
        (void)syscall(SYS_write, fd, text, bytes);
        (void)syscall(SYS_close, fd);
    }
}

static bool is(const char *kind)
{
    return strcmp(chosen->name, kind) == 0;
}

/* Does the fault hit this call on `path`? Counts it. */
static bool hits(const char *path, int what)
{
    if (!chosen || !(chosen->hits & what) || strncmp(path, under, strlen(under)) != 0)
        return false;
    const long call = atomic_fetch_add(&calls, 1) + 1;
    if (is("short"))
        return true;
    return is("eintr") ? call % 2 == 1 : call == wanted;
}

/* The same of an open file. */
static bool hits_file(int fd, int what)
{
    char link[64], path[4096];
    if (!chosen || !(chosen->hits & what))
        return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const long bytes = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (bytes < 0)
        return false;
    path[bytes] = '\0';
    return hits(path, what);
}

/* The call fails; or the process dies of it. */
static int fails(void)
{
    if (is("die"))
        (void)raise(SIGKILL);
    errno = chosen->code;
    return -1;
}

/* Bytes that a call that was hit moves; -1: it fails. */
static ssize_t moves(int fd, size_t bytes)
{
    if (is("short"))
        return bytes > 1 ? (ssize_t)(bytes / 2) : (ssize_t)bytes;
    if (is("touch")) {
        static const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
        (void)syscall(SYS_utimensat, fd, NULL, times, 0);
        return (ssize_t)bytes;
    }
    return fails();
}

/* ---- the calls ---- */

ssize_t read(int fd, void *data, size_t bytes)
{
    const ssize_t n = hits_file(fd, READS) ? moves(fd, bytes) : (ssize_t)bytes;
    return n < 0 ? n : syscall(SYS_read, fd, data, n);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    const ssize_t n = hits_file(fd, WRITES) ? moves(fd, bytes) : (ssize_t)bytes;
    return n < 0 ? n : syscall(SYS_write, fd, data, n);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    const ssize_t n = hits_file(fd, READS) ? moves(fd, bytes) : (ssize_t)bytes;
    return n < 0 ? n : syscall(SYS_pread64, fd, data, n, offset);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    const ssize_t n = hits_file(fd, WRITES) ? moves(fd, bytes) : (ssize_t)bytes;
    return n < 0 ? n : syscall(SYS_pwrite64, fd, data, n, offset);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    if (hits(path, flags & O_CREAT ? MAKES : OPENS))
        return fails();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fsync(int fd)
{
    return hits_file(fd, SYNCS) ? fails() : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t bytes)
{
    return hits_file(fd, MAKES) ? fails() : (int)syscall(SYS_ftruncate, fd, bytes);
}

int mkdir(const char *path, mode_t mode)
{
    return hits(path, MAKES) ? fails() : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int rename(const char *from, const char *to)
{
    return hits(from, MAKES) ? fails()
                             : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

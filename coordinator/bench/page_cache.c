#include "coordinator/bench/page_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "proto/arena.h"
#include "proto/bytes.h"

#define BYTES_MAX   (INT64_C(1) << 30)
#define PIECE_BYTES (INT64_C(1) << 20)

/* Where bytes go: to a piece of its own for every thread, over and over, or one behind the other.
 */
typedef struct {
    uint8_t *room;
    bool keep;
    int64_t left; /* bytes that may still be read, of all files */
} sink;

/* A file being read. */
typedef struct {
    int fd;
    int64_t bytes;
    const sink *to;
    _Atomic int error;
} reading;

static uint8_t *place_of(const sink *to, int thread, int64_t begin)
{
    return to->room + (to->keep ? BYTES_MAX - to->left + begin : thread * PIECE_BYTES);
}

static void read_share(void *context, int thread, int threads)
{
    reading *r = context;
    int64_t begin, end;
    shoal_share(r->bytes, thread, threads, &begin, &end);
    while (begin < end) {
        const int64_t piece = shoal_min_i64(PIECE_BYTES, end - begin);
        const ssize_t n = pread(r->fd, place_of(r->to, thread, begin), (size_t)piece, begin);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            atomic_store(&r->error, n < 0 ? errno : EIO);
            return;
        }
        begin += n;
    }
}

static bool holds_weights(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".bin") == 0 ||
                   strcmp(dot, ".gguf") == 0);
}

static shoal_status read_file(const char *path, shoal_pool *pool, sink *to)
{
    struct stat info;
    reading r = {.fd = open(path, O_RDONLY | O_CLOEXEC), .to = to};
    if (r.fd < 0 || fstat(r.fd, &info) != 0)
        atomic_store(&r.error, errno);
    else if (S_ISREG(info.st_mode))
        r.bytes = shoal_min_i64(info.st_size, to->left);
    if (r.bytes > 0)
        shoal_pool_run(pool, read_share, &r);
    if (r.fd >= 0)
        (void)close(r.fd);
    to->left -= r.bytes;
    const int error = atomic_load(&r.error);
    return error ? shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(error)) : SHOAL_OK;
}

static shoal_status read_folder(const char *folder, shoal_pool *pool, sink *to)
{
    shoal_status st = SHOAL_OK;
    char path[PATH_MAX];
    DIR *entries = opendir(folder);
    if (!entries)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(entries); e && st == SHOAL_OK && to->left > 0;
         e = readdir(entries))
        if (holds_weights(e->d_name) &&
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
            st = read_file(path, pool, to);
    (void)closedir(entries);
    return st;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

shoal_status shoal_bench_page_cache_read(const char *model, shoal_pool *pool, bool keep,
                                         double *rate)
{
    void *room;
    const uint64_t threads = (uint64_t)shoal_pool_threads(pool);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, keep ? BYTES_MAX : threads * PIECE_BYTES, &room));
    sink to = {room, keep, BYTES_MAX};
    const double begin = shoal_clock_seconds();
    const shoal_status st =
        is_folder(model) ? read_folder(model, pool, &to) : read_file(model, pool, &to);
    const double seconds = shoal_clock_seconds() - begin;
    *rate = to.left < BYTES_MAX ? 1e-9 * (double)(BYTES_MAX - to.left) / seconds : NAN;
    shoal_free(room);
    return st;
}

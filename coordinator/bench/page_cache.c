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

/* A file being read; `room` has a piece for every thread. */
typedef struct {
    int fd;
    int64_t bytes;
    uint8_t *room;
    _Atomic int error;
} reading;

static void read_share(void *context, int thread, int threads)
{
    reading *r = context;
    int64_t begin, end;
    shoal_share(r->bytes, thread, threads, &begin, &end);
    while (begin < end) {
        const int64_t piece = shoal_min_i64(PIECE_BYTES, end - begin);
        const ssize_t n = pread(r->fd, r->room + thread * PIECE_BYTES, (size_t)piece, begin);
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
    return dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".bin") == 0);
}

static shoal_status read_file(const char *path, shoal_pool *pool, uint8_t *room, int64_t *left)
{
    struct stat info;
    reading r = {.fd = open(path, O_RDONLY | O_CLOEXEC), .room = room};
    if (r.fd < 0 || fstat(r.fd, &info) != 0)
        atomic_store(&r.error, errno);
    else if (S_ISREG(info.st_mode))
        r.bytes = shoal_min_i64(info.st_size, *left);
    if (r.bytes > 0)
        shoal_pool_run(pool, read_share, &r);
    if (r.fd >= 0)
        (void)close(r.fd);
    *left -= r.bytes;
    const int error = atomic_load(&r.error);
    return error ? shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(error)) : SHOAL_OK;
}

static shoal_status read_folder(const char *folder, shoal_pool *pool, uint8_t *room, int64_t *left)
{
    shoal_status st = SHOAL_OK;
    char path[PATH_MAX];
    DIR *entries = opendir(folder);
    if (!entries)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(entries); e && st == SHOAL_OK && *left > 0;
         e = readdir(entries))
        if (holds_weights(e->d_name) &&
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
            st = read_file(path, pool, room, left);
    (void)closedir(entries);
    return st;
}

shoal_status shoal_bench_page_cache_read(const char *folder, shoal_pool *pool, double *rate)
{
    void *room;
    int64_t left = BYTES_MAX;
    const uint64_t threads = (uint64_t)shoal_pool_threads(pool);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, threads, PIECE_BYTES, &room));
    const double begin = shoal_clock_seconds();
    const shoal_status st = read_folder(folder, pool, room, &left);
    const double seconds = shoal_clock_seconds() - begin;
    *rate = left < BYTES_MAX ? 1e-9 * (double)(BYTES_MAX - left) / seconds : NAN;
    shoal_free(room);
    return st;
}

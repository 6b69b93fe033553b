#include "coordinator/text/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/pack_file.h"

static shoal_status read_all(int fd, const char *path, size_t bytes, char *data)
{
    for (size_t at = 0; at < bytes;) {
        const ssize_t n = read(fd, data + at, bytes - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
        if (n == 0)
            return shoal_fail(SHOAL_ERR_IO, "%s: ends after %zu of %zu bytes", path, at, bytes);
        at += (size_t)n;
    }
    return SHOAL_OK;
}

static shoal_status read_open_file(int fd, const char *path, size_t most, shoal_strbuf *out)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return shoal_fail(SHOAL_ERR_DATA, "%s: not a regular file", path);
    if (info.st_size > (off_t)most)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %lld bytes (limit %zu)", path,
                          (long long)info.st_size, most);
    const size_t bytes = (size_t)info.st_size;
    SHOAL_TRY(shoal_strbuf_reserve(out, bytes));
    SHOAL_TRY(read_all(fd, path, bytes, out->data + out->bytes));
    out->bytes += bytes;
    return SHOAL_OK;
}

/* The pack file that `path` names a text of ("model.shoal/tokenizer.json"), into `pack`. */
static bool is_in_pack(const char *path, char *pack, size_t room)
{
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= room)
        return false;
    memcpy(pack, path, (size_t)(slash - path));
    pack[slash - path] = '\0';
    return shoal_pack_is_file(pack);
}

static shoal_status read_packed(const char *pack, const char *name, size_t most, shoal_strbuf *out)
{
    char *text;
    uint64_t bytes;
    SHOAL_TRY(shoal_pack_read_text(pack, name, most, &text, &bytes));
    const shoal_status st = shoal_strbuf_append(out, text, (size_t)bytes);
    shoal_free(text);
    return st;
}

bool shoal_text_file_exists(const char *path)
{
    struct stat info;
    char pack[PATH_MAX];
    char *text;
    uint64_t bytes;
    if (!is_in_pack(path, pack, sizeof pack))
        return stat(path, &info) == 0;
    if (shoal_pack_read_text(pack, strrchr(path, '/') + 1, UINT64_MAX, &text, &bytes) != SHOAL_OK)
        return false;
    shoal_free(text);
    return true;
}

shoal_status shoal_text_file_read(const char *path, size_t most, shoal_strbuf *out)
{
    char pack[PATH_MAX];
    if (is_in_pack(path, pack, sizeof pack))
        return read_packed(pack, strrchr(path, '/') + 1, most, out);
    /* A pipe in a model folder must not hold us up. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return shoal_fail(errno == ENOENT || errno == ENOTDIR ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO,
                          "%s: %s", path, strerror(errno));
    const shoal_status st = read_open_file(fd, path, most, out);
    close(fd);
    return st;
}

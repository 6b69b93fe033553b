#include "shard/safetensors_write.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/bytes.h"

#define BUFFER_BYTES (1u << 20)

/* The header is padded with spaces so that the data begin on this boundary. */
#define HEADER_ALIGN 8

struct shoal_st_writer {
    char path[PATH_MAX], temporary[PATH_MAX];
    int fd;
    uint64_t expected, written; /* data bytes that are appended */
    uint64_t data;              /* where they begin in the file */
    uint64_t count;
    shoal_st_extent *extents; /* [count] of each tensor among the data      */
    _Atomic uint64_t *filled; /* [count] bytes that were put into each      */
    _Atomic bool puts;
    char *buffer;
    uint64_t buffered;
};

static shoal_status io_failed(const shoal_st_writer *w, const char *what)
{
    return shoal_fail(SHOAL_ERR_IO, "%s %s: %s", what, w->temporary, strerror(errno));
}

static shoal_status write_all(const shoal_st_writer *w, const char *data, uint64_t bytes)
{
    while (bytes > 0) {
        const ssize_t n = write(w->fd, data, bytes < SSIZE_MAX ? bytes : SSIZE_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_failed(w, "writing");
        data += n;
        bytes -= (uint64_t)n;
    }
    return SHOAL_OK;
}

static shoal_status flush(shoal_st_writer *w)
{
    SHOAL_TRY(write_all(w, w->buffer, w->buffered));
    w->buffered = 0;
    return SHOAL_OK;
}

/* ---- the header ------------------------------------------------------------------------------ */

static shoal_status tensor_bytes(const shoal_tensor_decl *decl, uint64_t *out)
{
    uint64_t bytes = shoal_dtype_bytes(decl->dtype);
    bool fits = decl->rank >= 0 && decl->rank <= SHOAL_TENSOR_RANK_MAX && bytes > 0;
    for (int i = 0; fits && i < decl->rank; i++)
        fits = decl->shape[i] >= 0 && shoal_mul_u64(bytes, (uint64_t)decl->shape[i], &bytes);
    if (!fits || bytes > INT64_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: a shape that no file can hold", decl->name);
    *out = bytes;
    return SHOAL_OK;
}

static json_t *describe(const shoal_tensor_decl *decl, uint64_t begin, uint64_t end)
{
    json_t *shape = json_array();
    for (int i = 0; i < decl->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)decl->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", shoal_dtype_name(decl->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* *text is freed with free(): jansson allocates it with malloc. */
static shoal_status build_header(const shoal_tensor_decl *decls, uint64_t count,
                                 const json_t *metadata, shoal_st_extent *extents, char **text)
{
    shoal_status st = SHOAL_OK;
    uint64_t at = 0;
    json_t *all = json_object();
    if (all && metadata)
        json_object_set_new(all, "__metadata__", json_deep_copy(metadata));
    for (uint64_t i = 0; all && i < count; i++) {
        uint64_t bytes = 0, end = 0;
        SHOAL_TRY_GOTO(tensor_bytes(&decls[i], &bytes), done);
        if (!shoal_add_u64(at, bytes, &end) || end > INT64_MAX ||
            json_object_get(all, decls[i].name)) {
            st = shoal_fail(SHOAL_ERR_INTERNAL, "%s: declared twice, or too large", decls[i].name);
            goto done;
        }
        json_object_set_new(all, decls[i].name, describe(&decls[i], at, end));
        extents[i] = (shoal_st_extent){at, bytes};
        at = end;
    }
    *text = all && json_object_size(all) == count + (metadata ? 1 : 0)
                ? json_dumps(all, JSON_COMPACT)
                : NULL;
    if (!*text)
        st = shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a header of %llu tensors",
                        (unsigned long long)count);

done:
    json_decref(all);
    return st;
}

static uint64_t data_bytes(const shoal_st_writer *w)
{
    const shoal_st_extent *last = w->count > 0 ? &w->extents[w->count - 1] : NULL;
    return last ? last->offset + last->bytes : 0;
}

static shoal_status write_header(shoal_st_writer *w, const shoal_tensor_decl *decls,
                                 const json_t *metadata)
{
    shoal_status st = SHOAL_OK;
    static const char spaces[HEADER_ALIGN] = "        ";
    char *text, length[8];
    SHOAL_TRY(build_header(decls, w->count, metadata, w->extents, &text));
    w->expected = data_bytes(w);
    const uint64_t bytes = strlen(text);
    const uint64_t padded = (bytes + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    w->data = sizeof length + padded;
    shoal_store_le64(length, padded);
    SHOAL_TRY_GOTO(write_all(w, length, sizeof length), done);
    SHOAL_TRY_GOTO(write_all(w, text, bytes), done);
    st = write_all(w, spaces, padded - bytes);

done:
    free(text);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------- */

static shoal_status open_temporary(shoal_st_writer *w, const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return shoal_fail(SHOAL_ERR_CREATE, "%s exists and is not a regular file", path);
    const int a = snprintf(w->path, sizeof w->path, "%s", path);
    const int b = snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%ld", path, (long)getpid());
    if (a < 0 || b < 0 || (size_t)b >= sizeof w->temporary)
        return shoal_fail(SHOAL_ERR_CREATE, "%.200s...: the path is too long", path);
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return shoal_fail(SHOAL_ERR_CREATE, "cannot create %s: %s", w->temporary, strerror(errno));
    return SHOAL_OK;
}

static void release(shoal_st_writer *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    shoal_free(w->buffer);
    shoal_free(w->extents);
    shoal_free((void *)w->filled);
    shoal_free(w);
}

void shoal_st_writer_abandon(shoal_st_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        (void)unlink(w->temporary);
    release(w);
}

static shoal_status allocate(shoal_st_writer *w, uint64_t count)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, BUFFER_BYTES, &block));
    w->buffer = block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *w->extents, &block));
    w->extents = block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *w->filled, &block));
    w->filled = block;
    w->count = count;
    return SHOAL_OK;
}

shoal_status shoal_st_writer_create_with(const char *path, const shoal_tensor_decl *decls,
                                         uint64_t count, const json_t *metadata,
                                         shoal_st_writer **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_st_writer), &block));
    shoal_st_writer *w = block;
    w->fd = -1;
    SHOAL_TRY_GOTO(allocate(w, count), fail);
    SHOAL_TRY_GOTO(open_temporary(w, path), fail);
    SHOAL_TRY_GOTO(write_header(w, decls, metadata), fail);
    *out = w;
    return SHOAL_OK;

fail:
    shoal_st_writer_abandon(w);
    return st;
}

static shoal_status write_raw(shoal_st_writer *w, const void *head, uint64_t head_bytes,
                              const shoal_st_extent *extents)
{
    memcpy(w->extents, extents, w->count * sizeof *extents);
    w->data = head_bytes;
    w->expected = data_bytes(w);
    w->puts = true;
    SHOAL_TRY(write_all(w, head, head_bytes));
    if (ftruncate(w->fd, (off_t)(w->data + w->expected)) != 0)
        return io_failed(w, "extending");
    return SHOAL_OK;
}

shoal_status shoal_st_writer_create_raw(const char *path, const void *head, uint64_t head_bytes,
                                        const shoal_st_extent *extents, uint64_t count,
                                        shoal_st_writer **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_st_writer), &block));
    shoal_st_writer *w = block;
    w->fd = -1;
    SHOAL_TRY_GOTO(allocate(w, count), fail);
    SHOAL_TRY_GOTO(open_temporary(w, path), fail);
    SHOAL_TRY_GOTO(write_raw(w, head, head_bytes, extents), fail);
    *out = w;
    return SHOAL_OK;

fail:
    shoal_st_writer_abandon(w);
    return st;
}

shoal_status shoal_st_writer_create(const char *path, const shoal_tensor_decl *decls,
                                    uint64_t count, shoal_st_writer **out)
{
    return shoal_st_writer_create_with(path, decls, count, NULL, out);
}

shoal_status shoal_st_writer_put(shoal_st_writer *w, uint64_t index, uint64_t offset,
                                 const void *data, uint64_t bytes)
{
    const char *from = data;
    if (index >= w->count || !shoal_range_inside(offset, bytes, w->extents[index].bytes))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: more data than declared", w->path);
    const uint64_t begin = w->extents[index].offset;
    w->puts = true;
    for (uint64_t at = 0; at < bytes;) {
        const ssize_t n =
            pwrite(w->fd, from + at, bytes - at, (off_t)(w->data + begin + offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_failed(w, "writing");
        at += (uint64_t)n;
    }
    w->filled[index] += bytes;
    return SHOAL_OK;
}

shoal_status shoal_st_writer_append(shoal_st_writer *w, const void *data, uint64_t bytes)
{
    if (!shoal_range_inside(w->written, bytes, w->expected))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: more data than declared", w->path);
    w->written += bytes;
    if (bytes > BUFFER_BYTES - w->buffered)
        SHOAL_TRY(flush(w));
    if (bytes > BUFFER_BYTES)
        return write_all(w, data, bytes);
    memcpy(w->buffer + w->buffered, data, bytes);
    w->buffered += bytes;
    return SHOAL_OK;
}

/* The name is only safe once the folder that holds it is on disk. */
static void sync_folder(const char *path)
{
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

/* Did every tensor that was put get all its bytes? */
static shoal_status check_filled(const shoal_st_writer *w)
{
    for (uint64_t i = 0; i < w->count; i++) {
        const uint64_t expected = w->extents[i].bytes;
        if (w->filled[i] != expected)
            return shoal_fail(SHOAL_ERR_INTERNAL, "%s: %llu of %llu bytes of tensor %llu came",
                              w->path, (unsigned long long)w->filled[i],
                              (unsigned long long)expected, (unsigned long long)i);
    }
    return SHOAL_OK;
}

static shoal_status complete(shoal_st_writer *w)
{
    if (w->puts)
        SHOAL_TRY(check_filled(w));
    else if (w->written != w->expected)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: %llu of %llu data bytes came", w->path,
                          (unsigned long long)w->written, (unsigned long long)w->expected);
    SHOAL_TRY(flush(w));
    if (fsync(w->fd) != 0)
        return io_failed(w, "syncing");
    if (rename(w->temporary, w->path) != 0)
        return shoal_fail(SHOAL_ERR_CREATE, "renaming %s to %s: %s", w->temporary, w->path,
                          strerror(errno));
    sync_folder(w->path);
    return SHOAL_OK;
}

shoal_status shoal_st_writer_finish(shoal_st_writer *w)
{
    const shoal_status st = complete(w);
    if (st != SHOAL_OK)
        shoal_st_writer_abandon(w);
    else
        release(w);
    return st;
}

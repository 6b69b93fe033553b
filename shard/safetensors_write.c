/* shard/safetensors_write.c - see safetensors_write.h. */
#include "shard/safetensors_write.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/new_file.h"

#define BUFFER_BYTES (1u << 20)

/* The header is padded with spaces so that the data begin on this boundary. */
#define HEADER_ALIGN 8

struct shoal_st_writer {
    shoal_new_file file;
    uint64_t expected, written; /* data bytes that are appended */
    uint64_t data;              /* where they begin in the file */
    uint64_t count;
    shoal_st_extent *extents; /* [count] of each tensor among the data      */
    _Atomic uint64_t *filled; /* [count] bytes that were put into each      */
    _Atomic bool puts;
    char *buffer;
    uint64_t buffered;
};

static shoal_status flush(shoal_st_writer *w)
{
    SHOAL_TRY(shoal_new_file_append(&w->file, w->buffer, w->buffered));
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
    uint64_t end = 0;
    for (uint64_t i = 0; i < w->count; i++)
        if (w->extents[i].offset + w->extents[i].bytes > end)
            end = w->extents[i].offset + w->extents[i].bytes;
    return end;
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
    SHOAL_TRY_GOTO(shoal_new_file_append(&w->file, length, sizeof length), done);
    SHOAL_TRY_GOTO(shoal_new_file_append(&w->file, text, bytes), done);
    st = shoal_new_file_append(&w->file, spaces, padded - bytes);

done:
    free(text);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void release(shoal_st_writer *w)
{
    shoal_free(w->buffer);
    shoal_free(w->extents);
    shoal_free((void *)w->filled);
    shoal_free(w);
}

void shoal_st_writer_abandon(shoal_st_writer *w)
{
    if (!w)
        return;
    shoal_new_file_discard(&w->file);
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

/* A writer of `count` tensors into a temporary file beside `path`, without a header yet. */
static shoal_status open_writer(const char *path, uint64_t count, shoal_st_writer **out)
{
    shoal_status st;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_st_writer), &block));
    shoal_st_writer *w = block;
    w->file.fd = -1;
    SHOAL_TRY_GOTO(allocate(w, count), fail);
    SHOAL_TRY_GOTO(shoal_new_file_create(path, &w->file), fail);
    *out = w;
    return SHOAL_OK;

fail:
    shoal_st_writer_abandon(w);
    return st;
}

/* What a create function says: the writer whose header came out as `st`, or nothing. */
static shoal_status opened(shoal_status st, shoal_st_writer *w, shoal_st_writer **out)
{
    if (st == SHOAL_OK)
        *out = w;
    else
        shoal_st_writer_abandon(w);
    return st;
}

shoal_status shoal_st_writer_create_with(const char *path, const shoal_tensor_decl *decls,
                                         uint64_t count, const json_t *metadata,
                                         shoal_st_writer **out)
{
    shoal_st_writer *w;
    SHOAL_TRY(open_writer(path, count, &w));
    return opened(write_header(w, decls, metadata), w, out);
}

static shoal_status write_raw(shoal_st_writer *w, const void *head, uint64_t head_bytes,
                              const shoal_st_extent *extents)
{
    memcpy(w->extents, extents, w->count * sizeof *extents);
    w->data = head_bytes;
    w->expected = data_bytes(w);
    w->puts = true;
    SHOAL_TRY(shoal_new_file_append(&w->file, head, head_bytes));
    return shoal_new_file_extend(&w->file, w->data + w->expected);
}

shoal_status shoal_st_writer_create_raw(const char *path, const void *head, uint64_t head_bytes,
                                        const shoal_st_extent *extents, uint64_t count,
                                        shoal_st_writer **out)
{
    shoal_st_writer *w;
    SHOAL_TRY(open_writer(path, count, &w));
    return opened(write_raw(w, head, head_bytes, extents), w, out);
}

shoal_status shoal_st_writer_create(const char *path, const shoal_tensor_decl *decls,
                                    uint64_t count, shoal_st_writer **out)
{
    return shoal_st_writer_create_with(path, decls, count, NULL, out);
}

shoal_status shoal_st_writer_put(shoal_st_writer *w, uint64_t index, uint64_t offset,
                                 const void *data, uint64_t bytes)
{
    if (index >= w->count || !shoal_range_inside(offset, bytes, w->extents[index].bytes))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: more data than declared", w->file.path);
    const uint64_t begin = w->extents[index].offset;
    w->puts = true;
    SHOAL_TRY(shoal_new_file_put(&w->file, w->data + begin + offset, data, bytes));
    w->filled[index] += bytes;
    return SHOAL_OK;
}

shoal_status shoal_st_writer_append(shoal_st_writer *w, const void *data, uint64_t bytes)
{
    if (!shoal_range_inside(w->written, bytes, w->expected))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: more data than declared", w->file.path);
    w->written += bytes;
    if (bytes > BUFFER_BYTES - w->buffered)
        SHOAL_TRY(flush(w));
    if (bytes > BUFFER_BYTES)
        return shoal_new_file_append(&w->file, data, bytes);
    memcpy(w->buffer + w->buffered, data, bytes);
    w->buffered += bytes;
    return SHOAL_OK;
}

const char *shoal_st_writer_temporary(const shoal_st_writer *w)
{
    return w->file.temporary;
}

/* Did every tensor that was put get all its bytes? */
static shoal_status check_filled(const shoal_st_writer *w)
{
    for (uint64_t i = 0; i < w->count; i++) {
        const uint64_t expected = w->extents[i].bytes;
        if (w->filled[i] != expected)
            return shoal_fail(SHOAL_ERR_INTERNAL, "%s: %llu of %llu bytes of tensor %llu came",
                              w->file.path, (unsigned long long)w->filled[i],
                              (unsigned long long)expected, (unsigned long long)i);
    }
    return SHOAL_OK;
}

static shoal_status complete(shoal_st_writer *w)
{
    if (w->puts)
        SHOAL_TRY(check_filled(w));
    else if (w->written != w->expected)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s: %llu of %llu data bytes came", w->file.path,
                          (unsigned long long)w->written, (unsigned long long)w->expected);
    SHOAL_TRY(flush(w));
    return shoal_new_file_publish(&w->file);
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

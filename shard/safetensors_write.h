/* shard/safetensors_write.h - write a safetensors file, never half of it.
 *
 * The tensors are declared first; their bytes follow either in the declared order, in pieces of any
 * size (append), or by tensor in any order (put), from as many threads as like; not both ways into
 * one file. Finish checks that every byte came before the file gets its name (shard/new_file.h).
 * Elements are little-endian, row-major. All but put belongs to one thread. */
#ifndef SHOAL_SHARD_SAFETENSORS_WRITE_H
#define SHOAL_SHARD_SAFETENSORS_WRITE_H

#include <stdint.h>

#include "proto/dtype.h"
#include "proto/status.h"
#include "shard/checkpoint.h"

typedef struct {
    const char *name; /* UTF-8, unique; only read by create */
    shoal_dtype dtype;
    int rank;
    int64_t shape[SHOAL_TENSOR_RANK_MAX];
} shoal_tensor_decl;

struct json_t;

typedef struct shoal_st_writer shoal_st_writer;

/* SHOAL_ERR_CREATE when the temporary file cannot be made, or when `path` exists and is not a
 * regular file. */
SHOAL_MUST_USE shoal_status shoal_st_writer_create(const char *path, const shoal_tensor_decl *decls,
                                                   uint64_t count, shoal_st_writer **out);

/* The same with `__metadata__`: a JSON object of strings; borrowed until it returns. */
SHOAL_MUST_USE shoal_status shoal_st_writer_create_with(const char *path,
                                                        const shoal_tensor_decl *decls,
                                                        uint64_t count,
                                                        const struct json_t *metadata,
                                                        shoal_st_writer **out);

/* Where the bytes of a tensor lie, from where all data begin. */
typedef struct {
    uint64_t offset, bytes;
} shoal_st_extent;

/* A file of another format: `head` as it is, then tensors by put; what lies between them is zero.
 */
SHOAL_MUST_USE shoal_status shoal_st_writer_create_raw(const char *path, const void *head,
                                                       uint64_t head_bytes,
                                                       const shoal_st_extent *extents,
                                                       uint64_t count, shoal_st_writer **out);

/* Bytes [offset, offset + bytes) of tensor `index`. Every byte is put exactly once. */
SHOAL_MUST_USE shoal_status shoal_st_writer_put(shoal_st_writer *writer, uint64_t index,
                                                uint64_t offset, const void *data, uint64_t bytes);

/* The next bytes. SHOAL_ERR_IO when the disk says no, SHOAL_ERR_INTERNAL beyond the end. */
SHOAL_MUST_USE shoal_status shoal_st_writer_append(shoal_st_writer *writer, const void *data,
                                                   uint64_t bytes);

/* Where the bytes that came lie until then, for those who write by put. */
const char *shoal_st_writer_temporary(const shoal_st_writer *writer);

/* Complete and publish; the writer is gone afterwards whatever comes back. */
SHOAL_MUST_USE shoal_status shoal_st_writer_finish(shoal_st_writer *writer);

/* Give up: remove the temporary file. NULL is allowed. */
void shoal_st_writer_abandon(shoal_st_writer *writer);

#endif

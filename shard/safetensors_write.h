/* shard/safetensors_write.h - write a safetensors file from start to end, never half of it.
 *
 * The tensors are declared first; their bytes follow in the declared order, in pieces of any size.
 * Everything goes to a temporary name beside the target; finish checks that every byte came, syncs
 * and renames, so the target either has the whole new contents or is untouched. Elements are
 * little-endian, row-major. One writer belongs to one thread. */
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

typedef struct shoal_st_writer shoal_st_writer;

/* SHOAL_ERR_CREATE when the temporary file cannot be made, or when `path` exists and is not a
 * regular file. */
SHOAL_MUST_USE shoal_status shoal_st_writer_create(const char *path, const shoal_tensor_decl *decls,
                                                   uint64_t count, shoal_st_writer **out);

/* The next bytes. SHOAL_ERR_IO when the disk says no, SHOAL_ERR_INTERNAL beyond the end. */
SHOAL_MUST_USE shoal_status shoal_st_writer_append(shoal_st_writer *writer, const void *data,
                                                   uint64_t bytes);

/* Complete and publish; the writer is gone afterwards whatever comes back. */
SHOAL_MUST_USE shoal_status shoal_st_writer_finish(shoal_st_writer *writer);

/* Give up: remove the temporary file. NULL is allowed. */
void shoal_st_writer_abandon(shoal_st_writer *writer);

#endif

/* shard/regular_file.h - a file of a model: opened only if it is a regular one, read by ranges,
 * and asked later whether it is still the same.
 *
 * A folder may hold links (Hugging Face caches do); what they lead to must be a regular file, so
 * that a pipe cannot hang us and a device is never touched. Reads never move a file position:
 * any number of threads may read one file. Errors: SHOAL_ERR_NOTFOUND where there is nothing,
 * SHOAL_ERR_DATA where there is something else than a regular file, SHOAL_ERR_IO otherwise. */
#ifndef SHOAL_SHARD_REGULAR_FILE_H
#define SHOAL_SHARD_REGULAR_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/status.h"

typedef struct {
    int fd;
    uint64_t bytes; /* when it was opened, like all below */
    dev_t device;
    ino_t inode;
    int64_t modified_ns;
} shoal_regular_file;

SHOAL_MUST_USE shoal_status shoal_regular_open(const char *path, shoal_regular_file *out);
void shoal_regular_close(shoal_regular_file *file);

/* Exactly `bytes` bytes from `offset`; the end of the file before that is SHOAL_ERR_IO. `path`
 * goes into messages. */
SHOAL_MUST_USE shoal_status shoal_regular_read(const shoal_regular_file *file, const char *path,
                                               uint64_t offset, uint64_t bytes, void *out);

/* These bytes will be read soon, though not in one piece: a hint that may be ignored. */
void shoal_regular_expect(const shoal_regular_file *file, uint64_t offset, uint64_t bytes);

/* SHOAL_ERR_IO when the open file has another size or time than at first, or `path` now leads to
 * another file. */
SHOAL_MUST_USE shoal_status shoal_regular_unchanged(const shoal_regular_file *file,
                                                    const char *path);

#endif

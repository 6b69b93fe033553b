/* shard/new_file.h - a file that appears under its name when all of it is there.
 *
 * Everything goes to a temporary name beside it; publishing syncs and renames, so the target either
 * has the whole new contents or is untouched. */
#ifndef SHOAL_SHARD_NEW_FILE_H
#define SHOAL_SHARD_NEW_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct {
    char path[PATH_MAX], temporary[PATH_MAX];
    int fd; /* -1: published, discarded, or never created */
} shoal_new_file;

/* SHOAL_ERR_CREATE when the temporary file cannot be made, or when `path` exists and is not a
 * regular file; then there is nothing to discard. */
SHOAL_MUST_USE shoal_status shoal_new_file_create(const char *path, shoal_new_file *out);

/* The next bytes; or bytes at a place, from as many threads as like. SHOAL_ERR_IO when the disk
 * says no. */
SHOAL_MUST_USE shoal_status shoal_new_file_append(const shoal_new_file *file, const void *data,
                                                  uint64_t bytes);
SHOAL_MUST_USE shoal_status shoal_new_file_put(const shoal_new_file *file, uint64_t offset,
                                               const void *data, uint64_t bytes);

/* Exactly so long, zeros where nothing was put. */
SHOAL_MUST_USE shoal_status shoal_new_file_extend(const shoal_new_file *file, uint64_t bytes);

/* Give it its name. Where that fails it can still be discarded. */
SHOAL_MUST_USE shoal_status shoal_new_file_publish(shoal_new_file *file);

/* Give up: remove the temporary file, if there is one. */
void shoal_new_file_discard(shoal_new_file *file);

/* Is this the temporary name of some file? */
bool shoal_new_file_is_temporary(const char *name);

/* Names are safe only once the folder that holds them is on disk. */
void shoal_sync_folder(const char *folder);

#endif

/* shard/pack_write.h - write a model as a pack file (shard/pack_format.h).
 *
 * Runs are read, packed and digested on all threads and written where they belong; the header
 * comes last, then sync and rename: the file is there whole or not at all. Sources are any that a
 * manifest can be made of; their files are named in the header with their SHA-256. */
#ifndef SHOAL_SHARD_PACK_WRITE_H
#define SHOAL_SHARD_PACK_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct {
    const char *source, *destination;
    const char *quantize, *keep; /* as shoal_manifest_options */
    int threads;
} shoal_pack_request;

typedef struct {
    uint64_t bytes;    /* of the file */
    uint64_t tensors;  /* in it */
    uint64_t consumed; /* of the source */
} shoal_pack_result;

typedef void (*shoal_pack_progress)(void *context, uint64_t done, uint64_t total);

/* SHOAL_ERR_CREATE where `destination` is a folder or cannot be made. */
SHOAL_MUST_USE shoal_status shoal_pack_write(const shoal_pack_request *request,
                                             shoal_pack_progress progress, void *context,
                                             shoal_pack_result *out);

#endif

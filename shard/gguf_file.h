/* shard/gguf_file.h - the header of a GGUF file on disk, however large the file is.
 *
 * Only the header is read (a vocabulary makes it a few MiB), a larger piece each time it turns out
 * to go on; a header above SHOAL_GGUF_HEADER_MAX is refused. */
#ifndef SHOAL_SHARD_GGUF_FILE_H
#define SHOAL_SHARD_GGUF_FILE_H

#include <stddef.h>

#include "proto/status.h"
#include "shard/gguf.h"
#include "shard/regular_file.h"

#define SHOAL_GGUF_HEADER_MAX (256u << 20)

/* A parsed header and the bytes it lies in. Zero-initialise; free with shoal_gguf_header_free. */
typedef struct {
    shoal_gguf *gguf;
    void *bytes;
} shoal_gguf_header;

/* `path` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_gguf_header_read(const shoal_regular_file *file, const char *path,
                                                   shoal_gguf_header *out);

/* The same for a file that is opened for it. */
SHOAL_MUST_USE shoal_status shoal_gguf_header_open(const char *path, shoal_gguf_header *out);
void shoal_gguf_header_free(shoal_gguf_header *header);

/* Does the file at `path` begin as a GGUF file does? False, too, where it cannot be read. */
bool shoal_gguf_is_file(const char *path);

/* "NAME-00002-of-00003.gguf": which part a name says it is, counted from 1, and of how many. False
 * for a name without such an end. `stem` becomes the length of NAME. */
bool shoal_gguf_part_name(const char *name, int *part, int *parts, size_t *stem);

#endif

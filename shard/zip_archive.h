/* shard/zip_archive.h - the directory of a zip archive whose entries are stored as they are.
 *
 *     [local header | name | extra | payload]... | directory | (zip64 end) | end
 *
 * What torch.save writes and nothing more: nothing is inflated, nothing is extracted, names are
 * only names. Sizes come from the directory, places of payloads from the local headers (whose
 * extra field pads them). Everything a hostile archive can say is refused here (SHOAL_ERR_DATA):
 * entries that are accepted lie inside the file, overlap nothing and have names of their own.
 * Records as in PKWARE's APPNOTE 4.3; zip64 is read. */
#ifndef SHOAL_SHARD_ZIP_ARCHIVE_H
#define SHOAL_SHARD_ZIP_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "shard/regular_file.h"

#define SHOAL_ZIP_ENTRIES_MAX 2000000u
#define SHOAL_ZIP_NAME_MAX    1024u

typedef struct {
    const char *name;
    uint64_t header; /* place of the local header */
    uint64_t offset; /* of the payload            */
    uint64_t bytes;
} shoal_zip_entry;

typedef struct {
    shoal_zip_entry *entries; /* ascending by name */
    size_t count;
} shoal_zip_archive;

/* Read the directory of `file`; `path` goes into messages. Entries and names live in `arena`. */
SHOAL_MUST_USE shoal_status shoal_zip_open(const shoal_regular_file *file, const char *path,
                                           shoal_arena *arena, shoal_zip_archive *out);

/* NULL when there is no entry of that name. */
const shoal_zip_entry *shoal_zip_find(const shoal_zip_archive *archive, const char *name);

#endif

#include "shard/zip_archive.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/quoted.h"

#define END_BYTES       22u
#define END64_BYTES     56u
#define LOCATOR_BYTES   20u
#define CENTRAL_BYTES   46u
#define LOCAL_BYTES     30u
#define COMMENT_MAX     65535u
#define DIRECTORY_MAX   (128u << 20)
#define SIGNATURE_END   0x06054b50u
#define SIGNATURE_END64 0x06064b50u
#define SIGNATURE_AT64  0x07064b50u
#define SIGNATURE_ENTRY 0x02014b50u
#define SIGNATURE_LOCAL 0x04034b50u
#define FLAG_ENCRYPTED  1u
#define EXTRA_ZIP64     1u
#define UNSAID          0xffffffffu

typedef struct {
    const shoal_regular_file *file;
    const char *path;
    shoal_arena *arena;
    uint64_t count, begin, bytes; /* entries, place and size of the directory */
} reader;

static shoal_status broken(const reader *r, const char *what)
{
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: zip archive: %s", r->path, what);
    return SHOAL_ERR_DATA;
}

/* ---- the end of the archive ---- */

/* The last place in `tail` where an end record begins whose comment reaches the end of the file. */
static bool find_end(const uint8_t *tail, size_t bytes, size_t *out)
{
    for (size_t at = bytes - END_BYTES + 1; at-- > 0;)
        if (shoal_load_le32(tail + at) == SIGNATURE_END &&
            at + END_BYTES + shoal_load_le16(tail + at + 20) == bytes) {
            *out = at;
            return true;
        }
    return false;
}

/* The numbers that did not fit into the end record stand in the zip64 one. `end` is the place of
 * the end record. */
static shoal_status read_end64(reader *r, uint64_t end)
{
    uint8_t locator[LOCATOR_BYTES], record[END64_BYTES];
    if (end < LOCATOR_BYTES)
        return broken(r, "its end says zip64, but there is no zip64 record");
    SHOAL_TRY(shoal_regular_read(r->file, r->path, end - LOCATOR_BYTES, sizeof locator, locator));
    const uint64_t at = shoal_load_le64(locator + 8);
    if (shoal_load_le32(locator) != SIGNATURE_AT64 ||
        !shoal_range_inside(at, sizeof record, end - LOCATOR_BYTES))
        return broken(r, "its end says zip64, but there is no zip64 record");
    SHOAL_TRY(shoal_regular_read(r->file, r->path, at, sizeof record, record));
    if (shoal_load_le32(record) != SIGNATURE_END64)
        return broken(r, "its zip64 record has a wrong signature");
    r->count = shoal_load_le64(record + 32);
    r->bytes = shoal_load_le64(record + 40);
    r->begin = shoal_load_le64(record + 48);
    if (!shoal_range_inside(r->begin, r->bytes, at))
        return broken(r, "its directory does not lie before its end");
    return SHOAL_OK;
}

static shoal_status read_end(reader *r)
{
    const uint64_t room = COMMENT_MAX + END_BYTES;
    const uint64_t bytes = r->file->bytes < room ? r->file->bytes : room;
    void *block;
    size_t at = 0;
    if (bytes < END_BYTES)
        return broken(r, "the file is cut off");
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &block));
    const uint8_t *tail = block;
    shoal_status st = shoal_regular_read(r->file, r->path, r->file->bytes - bytes, bytes, block);
    if (st == SHOAL_OK && !find_end(tail, (size_t)bytes, &at))
        st = broken(r, "it has no end record; the file is cut off");
    if (st == SHOAL_OK) {
        const uint64_t end = r->file->bytes - bytes + at;
        r->count = shoal_load_le16(tail + at + 10);
        r->bytes = shoal_load_le32(tail + at + 12);
        r->begin = shoal_load_le32(tail + at + 16);
        if (r->count == 0xffff || r->bytes == UNSAID || r->begin == UNSAID)
            st = read_end64(r, end);
        else if (!shoal_range_inside(r->begin, r->bytes, end))
            st = broken(r, "its directory does not lie before its end");
    }
    shoal_free(block);
    return st;
}

/* ---- one entry of the directory ---- */

/* Size, stored size and place of an entry, from the zip64 extra field where 32 bits are too few:
 * it holds only those, in this order. */
static bool read_sizes(const uint8_t *entry, const uint8_t *extra, size_t bytes, uint64_t out[3])
{
    static const size_t places[3] = {24, 20, 42};
    const uint8_t *wide = NULL;
    size_t left = 0;
    for (size_t at = 0; at + 4 <= bytes;) {
        const size_t field = shoal_load_le16(extra + at + 2);
        if (field > bytes - at - 4)
            return false;
        if (shoal_load_le16(extra + at) == EXTRA_ZIP64) {
            wide = extra + at + 4;
            left = field;
        }
        at += 4 + field;
    }
    for (int i = 0; i < 3; i++) {
        out[i] = shoal_load_le32(entry + places[i]);
        if (out[i] != UNSAID)
            continue;
        if (left < 8)
            return false;
        out[i] = shoal_load_le64(wide);
        wide += 8;
        left -= 8;
    }
    return true;
}

/* Names are keys to us, but they are printed, and other programs make files of them. */
static bool is_safe_name(const char *name, size_t bytes)
{
    if (bytes == 0 || strlen(name) != bytes || shoal_has_control(name) || name[0] == '/' ||
        strchr(name, '\\'))
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static shoal_status entry_fault(const reader *r, const char *name, const char *what)
{
    char quoted[SHOAL_QUOTED_ROOM];
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: zip archive: the entry '%s' %s", r->path,
                     shoal_quoted(name, quoted, sizeof quoted), what);
    return SHOAL_ERR_DATA;
}

static shoal_status copy_name(const reader *r, const uint8_t *from, size_t bytes, const char **out)
{
    void *block;
    SHOAL_TRY(shoal_arena_alloc(r->arena, bytes + 1, &block));
    memcpy(block, from, bytes);
    if (!is_safe_name(block, bytes))
        return entry_fault(r, block, "has a name that is no plain path");
    *out = block;
    return SHOAL_OK;
}

/* The entry at `at` of a directory of `left` bytes; *used is its length there. */
static shoal_status read_entry(const reader *r, const uint8_t *at, uint64_t left,
                               shoal_zip_entry *out, size_t *used)
{
    uint64_t sizes[3];
    if (left < CENTRAL_BYTES || shoal_load_le32(at) != SIGNATURE_ENTRY)
        return broken(r, "its directory ends before its last entry");
    const size_t name = shoal_load_le16(at + 28), extra = shoal_load_le16(at + 30);
    const size_t bytes = CENTRAL_BYTES + name + extra + shoal_load_le16(at + 32);
    if (bytes > left)
        return broken(r, "its directory ends before its last entry");
    if (name > SHOAL_ZIP_NAME_MAX)
        return broken(r, "a name of more than 1024 bytes");
    SHOAL_TRY(copy_name(r, at + CENTRAL_BYTES, name, &out->name));
    if (shoal_load_le16(at + 8) & FLAG_ENCRYPTED)
        return entry_fault(r, out->name, "is encrypted");
    if (shoal_load_le16(at + 10) != 0)
        return entry_fault(r, out->name, "is compressed; torch.save stores entries as they are");
    if (!read_sizes(at, at + CENTRAL_BYTES + name, extra, sizes))
        return entry_fault(r, out->name, "has a broken extra field");
    if (sizes[0] != sizes[1])
        return entry_fault(r, out->name, "has a stored size that differs from its size");
    out->bytes = sizes[0];
    out->header = sizes[2];
    *used = bytes;
    return SHOAL_OK;
}

/* Where the payload begins: behind the local header, whose name and padding only it knows. */
static shoal_status find_payload(const reader *r, shoal_zip_entry *entry)
{
    uint8_t local[LOCAL_BYTES];
    uint64_t end;
    if (!shoal_range_inside(entry->header, sizeof local, r->begin))
        return entry_fault(r, entry->name, "does not lie before the directory");
    SHOAL_TRY(shoal_regular_read(r->file, r->path, entry->header, sizeof local, local));
    if (shoal_load_le32(local) != SIGNATURE_LOCAL)
        return entry_fault(r, entry->name, "has no header where the directory says");
    entry->offset =
        entry->header + LOCAL_BYTES + shoal_load_le16(local + 26) + shoal_load_le16(local + 28);
    if (!shoal_add_u64(entry->offset, entry->bytes, &end) || end > r->begin)
        return entry_fault(r, entry->name, "reaches beyond the beginning of the directory");
    return SHOAL_OK;
}

/* ---- all entries together ---- */

static int by_place(const void *a, const void *b)
{
    const shoal_zip_entry *x = a, *y = b;
    return x->header < y->header ? -1 : x->header > y->header;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const shoal_zip_entry *)a)->name, ((const shoal_zip_entry *)b)->name);
}

/* In the order of their places no entry begins before the one before has ended; then by name. */
static shoal_status check_together(const reader *r, shoal_zip_archive *archive)
{
    shoal_zip_entry *entries = archive->entries;
    qsort(entries, archive->count, sizeof *entries, by_place);
    for (size_t i = 1; i < archive->count; i++)
        if (entries[i].header < entries[i - 1].offset + entries[i - 1].bytes)
            return entry_fault(r, entries[i].name, "overlaps another one");
    qsort(entries, archive->count, sizeof *entries, by_name);
    for (size_t i = 1; i < archive->count; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return entry_fault(r, entries[i].name, "is there twice");
    return SHOAL_OK;
}

static shoal_status read_entries(const reader *r, const uint8_t *directory,
                                 shoal_zip_archive *archive)
{
    uint64_t at = 0;
    void *block;
    SHOAL_TRY(shoal_arena_array(r->arena, r->count, sizeof *archive->entries, &block));
    archive->entries = block;
    for (; archive->count < r->count; archive->count++) {
        shoal_zip_entry *entry = &archive->entries[archive->count];
        size_t used;
        SHOAL_TRY(read_entry(r, directory + at, r->bytes - at, entry, &used));
        SHOAL_TRY(find_payload(r, entry));
        at += used;
    }
    if (at != r->bytes)
        return broken(r, "its directory has more bytes than its entries");
    return check_together(r, archive);
}

shoal_status shoal_zip_open(const shoal_regular_file *file, const char *path, shoal_arena *arena,
                            shoal_zip_archive *out)
{
    reader r = {.file = file, .path = path, .arena = arena};
    shoal_zip_archive archive = {0};
    void *directory;
    SHOAL_TRY(read_end(&r));
    if (r.bytes > DIRECTORY_MAX || r.count > SHOAL_ZIP_ENTRIES_MAX ||
        r.count > r.bytes / CENTRAL_BYTES)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: zip archive: a directory of %llu entries in %llu bytes", path,
                          (unsigned long long)r.count, (unsigned long long)r.bytes);
    if (r.count == 0)
        return broken(&r, "it is empty");
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, r.bytes, &directory));
    shoal_status st = shoal_regular_read(file, path, r.begin, r.bytes, directory);
    if (st == SHOAL_OK)
        st = read_entries(&r, directory, &archive);
    shoal_free(directory);
    if (st == SHOAL_OK)
        *out = archive;
    return st;
}

const shoal_zip_entry *shoal_zip_find(const shoal_zip_archive *archive, const char *name)
{
    const shoal_zip_entry key = {.name = name};
    return bsearch(&key, archive->entries, archive->count, sizeof key, by_name);
}

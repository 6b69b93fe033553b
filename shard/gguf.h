/* shard/gguf.h - the header of one GGUF file (versions 2 and 3, little-endian): bytes in, metadata
 * and a checked list of tensors out.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 entries | entries | tensor table | padding | data
 *     entry:  string key | u32 type | value          string: u64 bytes | bytes, no NUL at the end
 *     tensor: string name | u32 rank | u64 dims[rank], the innermost first | u32 type | u64 offset
 *
 * It opens no file. Keys, names and values stay in the bytes it was given, which must outlive it.
 * Everything a hostile header can say is refused here with a sentence (SHOAL_ERR_DATA): what is
 * accepted lies inside the file and overlaps nothing, counts are capped, keys and names are unique.
 * A weight reader finds a tensor by name, its place is `offset` and `bytes`, and its rows are
 * dims[0] elements in blocks as shoal_gguf_type_layout says. Of a model in several files each has a
 * header of its own, with "split.count" and "split.no" among its entries. */
#ifndef SHOAL_SHARD_GGUF_H
#define SHOAL_SHARD_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_GGUF_ENTRIES_MAX   65536u
#define SHOAL_GGUF_TENSORS_MAX   1000000u
#define SHOAL_GGUF_KEY_MAX       65535u /* bytes, as the format has it */
#define SHOAL_GGUF_NAME_MAX      1024u  /* bytes of a tensor's name    */
#define SHOAL_GGUF_RANK_MAX      8u
#define SHOAL_GGUF_ALIGNMENT_MAX (1u << 20)

/* Types of values, numbered as in the file. */
typedef enum {
    SHOAL_GGUF_U8,
    SHOAL_GGUF_I8,
    SHOAL_GGUF_U16,
    SHOAL_GGUF_I16,
    SHOAL_GGUF_U32,
    SHOAL_GGUF_I32,
    SHOAL_GGUF_F32,
    SHOAL_GGUF_BOOL,
    SHOAL_GGUF_STRING,
    SHOAL_GGUF_ARRAY,
    SHOAL_GGUF_U64,
    SHOAL_GGUF_I64,
    SHOAL_GGUF_F64,
    SHOAL_GGUF_TYPES
} shoal_gguf_type;

/* Bytes of the file, not ended by a NUL. */
typedef struct {
    const char *data;
    uint64_t bytes;
} shoal_gguf_text;

/* `count` elements of `type` at data[0, bytes): 1 unless the entry is an array. Arrays of arrays
 * are walked over by the reader but cannot be looked up. */
typedef struct {
    shoal_gguf_text key;
    bool array;
    shoal_gguf_type type; /* of an element */
    uint64_t count;
    const unsigned char *data;
    uint64_t bytes;
} shoal_gguf_entry;

typedef struct {
    shoal_gguf_text name;
    uint32_t rank;
    uint64_t dims[SHOAL_GGUF_RANK_MAX]; /* dims[0] is the innermost */
    uint32_t type;                      /* see shoal_gguf_type_layout */
    uint64_t offset;                    /* from the beginning of the file */
    uint64_t bytes;
} shoal_gguf_tensor;

typedef struct shoal_gguf shoal_gguf;

/* `data` holds the beginning of the file; `file_bytes` is the size of all of it. Where the header
 * goes on behind `bytes` that is SHOAL_ERR_TEMPORARY: come back with more (shard/gguf_file.h). */
SHOAL_MUST_USE shoal_status shoal_gguf_parse(const void *data, uint64_t bytes, uint64_t file_bytes,
                                             shoal_gguf **out);
void shoal_gguf_free(shoal_gguf *gguf); /* NULL is allowed */

/* ---- metadata ---- */

/* All entries, by key. */
size_t shoal_gguf_entries(const shoal_gguf *gguf);
const shoal_gguf_entry *shoal_gguf_entry_at(const shoal_gguf *gguf, size_t index);

/* NULL when there is no such key. */
const shoal_gguf_entry *shoal_gguf_find(const shoal_gguf *gguf, const char *key);

/* One value by key. When the key is absent *out stays as it is; SHOAL_ERR_DATA names the key when
 * the value is of another kind: an integer is of any integer type, a number also of a float type,
 * and a repeated integer may be an array (of one value per layer) that has one value everywhere. */
SHOAL_MUST_USE shoal_status shoal_gguf_integer(const shoal_gguf *gguf, const char *key,
                                               int64_t *out);
SHOAL_MUST_USE shoal_status shoal_gguf_repeated(const shoal_gguf *gguf, const char *key,
                                                int64_t *out);
SHOAL_MUST_USE shoal_status shoal_gguf_number(const shoal_gguf *gguf, const char *key, double *out);
SHOAL_MUST_USE shoal_status shoal_gguf_bool(const shoal_gguf *gguf, const char *key, bool *out);
SHOAL_MUST_USE shoal_status shoal_gguf_string(const shoal_gguf *gguf, const char *key,
                                              shoal_gguf_text *out);

/* An array by key, of strings or of numbers; *out is NULL when it is absent. */
SHOAL_MUST_USE shoal_status shoal_gguf_strings(const shoal_gguf *gguf, const char *key,
                                               const shoal_gguf_entry **out);
SHOAL_MUST_USE shoal_status shoal_gguf_numbers(const shoal_gguf *gguf, const char *key,
                                               const shoal_gguf_entry **out);

/* Element `index` of an array of numbers: exact but for integers beyond 2^53. */
double shoal_gguf_number_at(const shoal_gguf_entry *entry, uint64_t index);

/* The string at *at (0 at first) of an array of strings; *at moves behind it. */
shoal_gguf_text shoal_gguf_next_string(const shoal_gguf_entry *entry, uint64_t *at);

/* ---- tensors ---- */

size_t shoal_gguf_tensors(const shoal_gguf *gguf);
const shoal_gguf_tensor *shoal_gguf_tensor_at(const shoal_gguf *gguf, size_t index);
const shoal_gguf_tensor *shoal_gguf_tensor_find(const shoal_gguf *gguf, const char *name);

/* Elements and bytes of one block of a tensor type, and its name ("Q4_K"); false when the type is
 * unknown. */
bool shoal_gguf_type_layout(uint32_t type, uint32_t *elements, uint32_t *bytes, const char **name);

#endif

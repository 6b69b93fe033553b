/* shard/index.h - model.safetensors.index.json, pytorch_model.bin.index.json: which file of a
 * folder holds which tensor.
 *
 * It only reads the map and checks what can be checked without the files: names of files are
 * single path components with an ending that is read, no two differ only in case. Whether the files
 * agree with the map is checked by checkpoint.c. */
#ifndef SHOAL_SHARD_INDEX_H
#define SHOAL_SHARD_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_SHARDS_MAX 10000

struct json_t;

typedef struct {
    const char *tensor;
    int file; /* into files */
} shoal_index_entry;

typedef struct {
    const char **files; /* ascending */
    int file_count;
    shoal_index_entry *entries; /* ascending by tensor */
    size_t entry_count;
    bool has_total;       /* metadata.total_size is there */
    uint64_t total_bytes; /* of all tensors in the map    */
    struct json_t *root;  /* owns the strings             */
} shoal_index;

SHOAL_MUST_USE shoal_status shoal_index_open(const char *path, shoal_index **out);

/* The same from text, for tests and fuzzing; `where` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_index_parse(const char *text, size_t bytes, const char *where,
                                              shoal_index **out);
void shoal_index_close(shoal_index *index);

/* NULL when the map does not name the tensor. */
const shoal_index_entry *shoal_index_find(const shoal_index *index, const char *tensor);

#endif

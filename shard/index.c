#include "shard/index.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "shard/json_file.h"
#include "shard/model_folder.h"
#include "shard/quoted.h"

#define FILE_NAME_MAX 255

/* Two million values: a map of SHOAL_TENSORS_MAX and whatever metadata says. */
static const shoal_json_limits limits = {128u << 20, 8, 2000000};

typedef struct {
    const char *tensor, *file;
} map_pair;

/* ---- names ---- */

static bool ends_in(const char *text, const char *tail)
{
    const size_t length = strlen(text), tail_length = strlen(tail);
    return length > tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* One path component, so that a map cannot lead out of the folder. */
static shoal_status check_file_name(const char *where, const char *name)
{
    char quoted[SHOAL_QUOTED_ROOM];
    const char *fault = NULL;
    if (strlen(name) > FILE_NAME_MAX)
        fault = "is longer than 255 bytes";
    else if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        fault = "is no plain file name";
    else if (shoal_has_control(name))
        fault = "has a control character";
    else if (!shoal_folder_is_torch(name) && !ends_in(name, ".safetensors"))
        fault = "does not end in .safetensors, .bin, .pt or .pth";
    if (!fault)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: the file name '%s' %s", where,
                      shoal_quoted(name, quoted, sizeof quoted), fault);
}

static shoal_status check_tensor_name(const char *where, const char *name)
{
    char quoted[SHOAL_QUOTED_ROOM];
    if (strlen(name) > SHOAL_TENSOR_NAME_MAX || shoal_has_control(name) || !*name)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: '%s' is no tensor name (empty, over %d bytes, or with a control "
                          "character)",
                          where, shoal_quoted(name, quoted, sizeof quoted), SHOAL_TENSOR_NAME_MAX);
    return SHOAL_OK;
}

/* ---- the map ---- */

static int by_file(const void *a, const void *b)
{
    return strcmp(((const map_pair *)a)->file, ((const map_pair *)b)->file);
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const shoal_index_entry *)a)->tensor, ((const shoal_index_entry *)b)->tensor);
}

static int by_folded_name(const void *a, const void *b)
{
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

static shoal_status read_pairs(const json_t *map, const char *where, map_pair *pairs)
{
    const char *tensor;
    json_t *file;
    size_t i = 0;
    json_object_foreach((json_t *)map, tensor, file)
    {
        char quoted[SHOAL_QUOTED_ROOM];
        SHOAL_TRY(check_tensor_name(where, tensor));
        if (!json_is_string(file))
            return shoal_fail(SHOAL_ERR_DATA, "%s: weight_map gives no file name for %s", where,
                              shoal_quoted(tensor, quoted, sizeof quoted));
        pairs[i++] = (map_pair){tensor, json_string_value(file)};
    }
    return SHOAL_OK;
}

/* From pairs sorted by file: number the files, then sort the entries by tensor. */
static shoal_status number_files(const map_pair *pairs, const char *where, shoal_index *index)
{
    for (size_t i = 0; i < index->entry_count; i++) {
        if (i == 0 || strcmp(pairs[i - 1].file, pairs[i].file) != 0) {
            SHOAL_TRY(check_file_name(where, pairs[i].file));
            if (index->file_count == SHOAL_SHARDS_MAX)
                return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d files", where,
                                  SHOAL_SHARDS_MAX);
            index->files[index->file_count++] = pairs[i].file;
        }
        index->entries[i] = (shoal_index_entry){pairs[i].tensor, index->file_count - 1};
    }
    qsort(index->entries, index->entry_count, sizeof *index->entries, by_tensor);
    return SHOAL_OK;
}

/* On a file system that folds case the two would be one file. */
static shoal_status check_case(const char *where, const shoal_index *index)
{
    const size_t count = (size_t)index->file_count;
    void *block;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof(char *), &block));
    const char **sorted = block;
    memcpy(sorted, index->files, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_folded_name);
    for (size_t i = 1; i < count && st == SHOAL_OK; i++)
        if (strcasecmp(sorted[i - 1], sorted[i]) == 0)
            st = shoal_fail(SHOAL_ERR_DATA,
                            "%s: the file names %.255s and %.255s differ only in "
                            "case",
                            where, sorted[i - 1], sorted[i]);
    shoal_free(block);
    return st;
}

static shoal_status read_map(const char *where, shoal_index *index)
{
    const json_t *map = json_object_get(index->root, "weight_map");
    const size_t count = json_object_size(map);
    void *pairs, *files = NULL, *entries = NULL;
    if (!json_is_object(map) || count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s: weight_map is %s", where,
                          json_is_object(map) ? "empty" : "missing");
    if (count > SHOAL_TENSORS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %zu tensors; the limit is %d", where, count,
                          SHOAL_TENSORS_MAX);
    shoal_status st = shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof(map_pair), &pairs);
    if (st != SHOAL_OK)
        return st;
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_CHECKPOINT, SHOAL_SHARDS_MAX, sizeof(char *), &files), done);
    index->files = files;
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof(shoal_index_entry), &entries), done);
    index->entries = entries;
    index->entry_count = count;
    SHOAL_TRY_GOTO(read_pairs(map, where, pairs), done);
    qsort(pairs, count, sizeof(map_pair), by_file);
    SHOAL_TRY_GOTO(number_files(pairs, where, index), done);
    st = check_case(where, index);
done:
    shoal_free(pairs);
    return st;
}

/* A whole number, or a float that is one (some writers sum in floats). */
static shoal_status read_total(const char *where, shoal_index *index)
{
    const json_t *total = json_object_get(json_object_get(index->root, "metadata"), "total_size");
    if (!total || json_is_null(total))
        return SHOAL_OK;
    const double value = json_number_value(total);
    if (!json_is_number(total) || value < 0 || value > 9e15 ||
        (json_is_real(total) && value != (double)(uint64_t)value))
        return shoal_fail(SHOAL_ERR_DATA, "%s: metadata.total_size is no number of bytes", where);
    index->has_total = true;
    index->total_bytes =
        json_is_real(total) ? (uint64_t)value : (uint64_t)json_integer_value(total);
    return SHOAL_OK;
}

/* Takes the root, whatever comes back. */
static shoal_status from_root(json_t *root, const char *where, shoal_index **out)
{
    void *block;
    shoal_status st = shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(shoal_index), &block);
    if (st != SHOAL_OK) {
        json_decref(root);
        return st;
    }
    shoal_index *index = block;
    index->root = root;
    if (!json_is_object(root))
        st = shoal_fail(SHOAL_ERR_DATA, "%s: not a JSON object", where);
    if (st == SHOAL_OK)
        st = read_map(where, index);
    if (st == SHOAL_OK)
        st = read_total(where, index);
    if (st != SHOAL_OK) {
        shoal_index_close(index);
        return st;
    }
    *out = index;
    return SHOAL_OK;
}

shoal_status shoal_index_open(const char *path, shoal_index **out)
{
    json_t *root;
    SHOAL_TRY(shoal_json_read(path, &limits, &root));
    return from_root(root, path, out);
}

shoal_status shoal_index_parse(const char *text, size_t bytes, const char *where, shoal_index **out)
{
    json_t *root;
    SHOAL_TRY(shoal_json_parse(text, bytes, where, &limits, &root));
    return from_root(root, where, out);
}

void shoal_index_close(shoal_index *index)
{
    if (!index)
        return;
    shoal_free(index->files);
    shoal_free(index->entries);
    json_decref(index->root);
    shoal_free(index);
}

const shoal_index_entry *shoal_index_find(const shoal_index *index, const char *tensor)
{
    const shoal_index_entry key = {.tensor = tensor};
    return bsearch(&key, index->entries, index->entry_count, sizeof key, by_tensor);
}

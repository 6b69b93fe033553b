#include "shard/checkpoint.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "proto/log.h"
#include "shard/index.h"
#include "shard/model_folder.h"
#include "shard/quoted.h"
#include "shard/regular_file.h"
#include "shard/safetensors.h"

/* Rows are read through a buffer of at most this size where runs lie close. */
#define STAGING_MAX (1u << 20)

/* A gap below a page costs the disk nothing and the copy less than another system call. A longer
 * one is left out, but as long as it is no longer than the runs the disk does better to read it. */
#define GAP_FREE 4096u

typedef struct {
    char *path;
    char *header; /* holds the names of its tensors */
    shoal_regular_file file;
} shard_file;

struct shoal_checkpoint {
    shard_file *files;
    int file_count, opened; /* files[0 .. opened) are open */
    shoal_tensor_list tensors;
    uint64_t bytes;
    shoal_read_source source;
    void *source_context;
    atomic_uint_fast64_t *bytes_read; /* a block of its own: readers hold a const checkpoint */
};

/* ---- opening ---- */

static shoal_status read_header(shard_file *shard, int index, shoal_tensor_list *list)
{
    uint8_t prefix[SHOAL_SAFETENSORS_PREFIX] = {0};
    uint64_t bytes;
    void *header;
    const uint64_t there = shard->file.bytes < sizeof prefix ? shard->file.bytes : sizeof prefix;
    SHOAL_TRY(shoal_regular_read(&shard->file, shard->path, 0, there, prefix));
    SHOAL_TRY(shoal_safetensors_header_bytes(shard->path, prefix, shard->file.bytes, &bytes));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &header));
    shard->header = header;
    SHOAL_TRY(shoal_regular_read(&shard->file, shard->path, sizeof prefix, bytes, header));
    return shoal_safetensors_parse(shard->path, header, bytes, shard->file.bytes, index, list);
}

static shoal_status create(int files, shoal_checkpoint **out)
{
    void *block, *counter = NULL, *table = NULL;
    shoal_status st;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(shoal_checkpoint), &block));
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(atomic_uint_fast64_t), &counter),
                   free_block);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)files, sizeof(shard_file), &table),
        free_counter);
    shoal_checkpoint *checkpoint = block;
    checkpoint->files = table;
    checkpoint->file_count = files;
    checkpoint->bytes_read = counter;
    atomic_init(checkpoint->bytes_read, 0);
    *out = checkpoint;
    return SHOAL_OK;

free_counter:
    shoal_free(counter);
free_block:
    shoal_free(block);
    return st;
}

void shoal_checkpoint_close(shoal_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (int i = 0; i < checkpoint->file_count; i++) {
        if (i < checkpoint->opened)
            shoal_regular_close(&checkpoint->files[i].file);
        shoal_free(checkpoint->files[i].path);
        shoal_free(checkpoint->files[i].header);
    }
    shoal_tensor_list_free(&checkpoint->tensors);
    shoal_free(checkpoint->files);
    shoal_free(checkpoint->bytes_read);
    shoal_free(checkpoint);
}

static shoal_status open_next(shoal_checkpoint *checkpoint)
{
    shard_file *shard = &checkpoint->files[checkpoint->opened];
    SHOAL_TRY(shoal_regular_open(shard->path, &shard->file));
    checkpoint->opened++;
    checkpoint->bytes += shard->file.bytes;
    return SHOAL_OK;
}

static int by_name(const void *a, const void *b)
{
    const shoal_tensor *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : x->file - y->file;
}

static void sort_tensors(shoal_checkpoint *checkpoint)
{
    if (checkpoint->tensors.count > 1)
        qsort(checkpoint->tensors.items, checkpoint->tensors.count, sizeof(shoal_tensor), by_name);
}

static shoal_status open_single(const char *path, shoal_checkpoint **out)
{
    shoal_checkpoint *checkpoint;
    SHOAL_TRY(create(1, &checkpoint));
    shoal_status st = shoal_strdup(SHOAL_MEM_CHECKPOINT, path, &checkpoint->files[0].path);
    if (st == SHOAL_OK)
        st = open_next(checkpoint);
    if (st == SHOAL_OK)
        st = read_header(&checkpoint->files[0], 0, &checkpoint->tensors);
    if (st == SHOAL_OK && checkpoint->tensors.count == 0)
        st = shoal_fail(SHOAL_ERR_DATA, "%s has no tensors", path);
    if (st != SHOAL_OK) {
        shoal_checkpoint_close(checkpoint);
        return st;
    }
    sort_tensors(checkpoint);
    *out = checkpoint;
    return SHOAL_OK;
}

/* ---- opening by an index ---- */

/* All missing shards are named at once; any other fault is its own sentence. */
static shoal_status open_shards(shoal_checkpoint *checkpoint, const char *folder,
                                const shoal_index *index)
{
    shoal_names missing = {0};
    for (int i = 0; i < index->file_count; i++) {
        SHOAL_TRY(shoal_folder_join(folder, index->files[i], &checkpoint->files[i].path));
        if (!shoal_folder_has(folder, index->files[i]))
            shoal_names_add(&missing, index->files[i]);
    }
    if (missing.count)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s: %zu of %d files of the index %s missing: %s",
                          folder, missing.count, index->file_count,
                          missing.count == 1 ? "is" : "are", shoal_names_end(&missing));
    for (int i = 0; i < index->file_count; i++) {
        SHOAL_TRY(open_next(checkpoint));
        SHOAL_TRY(read_header(&checkpoint->files[i], i, &checkpoint->tensors));
        if (checkpoint->tensors.count > SHOAL_TENSORS_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d tensors", folder,
                              SHOAL_TENSORS_MAX);
    }
    return SHOAL_OK;
}

static shoal_status check_twice(const shoal_checkpoint *checkpoint, const char *folder,
                                const shoal_index *index)
{
    shoal_names twice = {0};
    const shoal_tensor *items = checkpoint->tensors.items, *first = NULL;
    for (size_t i = 1; i < checkpoint->tensors.count; i++) {
        if (strcmp(items[i - 1].name, items[i].name) != 0)
            continue;
        if (!first)
            first = &items[i - 1];
        shoal_names_add(&twice, items[i].name);
    }
    if (!first)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: %zu tensor%s in two files (%.100s, %.100s): %s", folder,
                      twice.count, twice.count == 1 ? "" : "s", index->files[first[0].file],
                      index->files[first[1].file], shoal_names_end(&twice));
}

static shoal_status check_map(const shoal_checkpoint *checkpoint, const char *folder,
                              const shoal_index *index)
{
    shoal_names absent = {0};
    const char *file = NULL;
    for (size_t i = 0; i < index->entry_count; i++) {
        const shoal_index_entry *entry = &index->entries[i];
        const shoal_tensor *tensor = shoal_checkpoint_find(checkpoint, entry->tensor);
        if (tensor && tensor->file == entry->file)
            continue;
        if (!file)
            file = index->files[entry->file];
        shoal_names_add(&absent, entry->tensor);
    }
    if (!file)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: the index names %zu tensor%s that the file named (%.100s) does not "
                      "have: %s",
                      folder, absent.count, absent.count == 1 ? "" : "s", file,
                      shoal_names_end(&absent));
}

/* Tensors that the map does not name are left out, as other readers do. */
static uint64_t keep_mapped(shoal_checkpoint *checkpoint, const char *folder,
                            const shoal_index *index)
{
    shoal_tensor_list *list = &checkpoint->tensors;
    shoal_names left_out = {0};
    uint64_t bytes = 0;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (!shoal_index_find(index, list->items[i].name)) {
            shoal_names_add(&left_out, list->items[i].name);
            continue;
        }
        bytes += list->items[i].bytes;
        list->items[kept++] = list->items[i];
    }
    list->count = kept;
    if (left_out.count)
        shoal_log(SHOAL_LOG_WARN, "checkpoint", "%s: %zu tensor%s not in the index ignored: %s",
                  folder, left_out.count, left_out.count == 1 ? "" : "s",
                  shoal_names_end(&left_out));
    return bytes;
}

static shoal_status match_index(shoal_checkpoint *checkpoint, const char *folder,
                                const shoal_index *index)
{
    sort_tensors(checkpoint);
    SHOAL_TRY(check_twice(checkpoint, folder, index));
    SHOAL_TRY(check_map(checkpoint, folder, index));
    const uint64_t bytes = keep_mapped(checkpoint, folder, index);
    if (index->has_total && index->total_bytes != bytes)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: the index says total_size %llu, its tensors have %llu bytes", folder,
                          (unsigned long long)index->total_bytes, (unsigned long long)bytes);
    return SHOAL_OK;
}

static shoal_status open_index(const char *folder, const char *path, shoal_checkpoint **out)
{
    shoal_index *index;
    shoal_checkpoint *checkpoint;
    shoal_status st;
    SHOAL_TRY(shoal_index_open(path, &index));
    SHOAL_TRY_GOTO(create(index->file_count, &checkpoint), close_index);
    st = open_shards(checkpoint, folder, index);
    if (st == SHOAL_OK)
        st = match_index(checkpoint, folder, index);
    if (st == SHOAL_OK)
        *out = checkpoint;
    else
        shoal_checkpoint_close(checkpoint);
close_index:
    shoal_index_close(index);
    return st;
}

shoal_status shoal_checkpoint_open(const char *path, shoal_checkpoint **out)
{
    shoal_weights_kind kind;
    char *file;
    SHOAL_TRY(shoal_folder_weights(path, &kind, &file));
    const shoal_status st =
        kind == SHOAL_WEIGHTS_INDEX ? open_index(path, file, out) : open_single(file, out);
    shoal_free(file);
    return st;
}

/* ---- the table ---- */

size_t shoal_checkpoint_count(const shoal_checkpoint *checkpoint)
{
    return checkpoint->tensors.count;
}

const shoal_tensor *shoal_checkpoint_at(const shoal_checkpoint *checkpoint, size_t index)
{
    return &checkpoint->tensors.items[index];
}

const shoal_tensor *shoal_checkpoint_find(const shoal_checkpoint *checkpoint, const char *name)
{
    size_t low = 0, high = checkpoint->tensors.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const shoal_tensor *t = &checkpoint->tensors.items[middle];
        const int order = strcmp(name, t->name);
        if (order == 0)
            return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t shoal_checkpoint_index(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor)
{
    return (size_t)(tensor - checkpoint->tensors.items);
}

const char *shoal_checkpoint_file(const shoal_checkpoint *checkpoint, int index)
{
    return checkpoint->files[index].path;
}

int shoal_checkpoint_files(const shoal_checkpoint *checkpoint)
{
    return checkpoint->file_count;
}

uint64_t shoal_checkpoint_bytes(const shoal_checkpoint *checkpoint)
{
    return checkpoint->bytes;
}

uint64_t shoal_checkpoint_bytes_read(const shoal_checkpoint *checkpoint)
{
    return atomic_load(checkpoint->bytes_read);
}

void shoal_checkpoint_set_source(shoal_checkpoint *checkpoint, shoal_read_source source,
                                 void *context)
{
    checkpoint->source = source;
    checkpoint->source_context = context;
}

shoal_status shoal_checkpoint_verify_unchanged(const shoal_checkpoint *checkpoint)
{
    for (int i = 0; i < checkpoint->file_count; i++)
        SHOAL_TRY(shoal_regular_unchanged(&checkpoint->files[i].file, checkpoint->files[i].path));
    return SHOAL_OK;
}

/* ---- reading ---- */

typedef struct {
    uint64_t offset, bytes, stride, rows;
} row_runs;

/* Do all runs lie in [0, total), apart from each other? Then rows * bytes is at most total. */
static bool runs_inside(const row_runs *runs, uint64_t total)
{
    uint64_t reach;
    if (runs->rows == 0 || runs->bytes == 0)
        return true;
    if (runs->rows > 1 && runs->stride < runs->bytes)
        return false;
    return shoal_mul_u64(runs->rows - 1, runs->stride, &reach) &&
           shoal_add_u64(reach, runs->bytes, &reach) &&
           shoal_range_inside(runs->offset, reach, total);
}

static shoal_status read_each(const shard_file *shard, const row_runs *runs, char *out)
{
    for (uint64_t row = 0; row < runs->rows; row++)
        SHOAL_TRY(shoal_regular_read(&shard->file, shard->path, runs->offset + row * runs->stride,
                                     runs->bytes, out + row * runs->bytes));
    return SHOAL_OK;
}

/* Read `together` rows with the gaps between them, then pick. */
static shoal_status read_staged(const shard_file *shard, const row_runs *runs, uint64_t together,
                                char *out)
{
    void *block;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(
        shoal_alloc(SHOAL_MEM_CHECKPOINT, (together - 1) * runs->stride + runs->bytes, &block));
    const char *staging = block;
    for (uint64_t row = 0; row < runs->rows && st == SHOAL_OK; row += together) {
        const uint64_t count = runs->rows - row < together ? runs->rows - row : together;
        st = shoal_regular_read(&shard->file, shard->path, runs->offset + row * runs->stride,
                                (count - 1) * runs->stride + runs->bytes, block);
        for (uint64_t i = 0; i < count && st == SHOAL_OK; i++)
            memcpy(out + (row + i) * runs->bytes, staging + i * runs->stride, runs->bytes);
    }
    shoal_free(block);
    return st;
}

static shoal_status read_runs(const shard_file *shard, const row_runs *runs, char *out)
{
    if (runs->rows == 0 || runs->bytes == 0)
        return SHOAL_OK;
    if (runs->rows == 1 || runs->stride == runs->bytes)
        return shoal_regular_read(&shard->file, shard->path, runs->offset, runs->rows * runs->bytes,
                                  out);
    const uint64_t gap = runs->stride - runs->bytes;
    if (gap >= GAP_FREE || runs->stride > STAGING_MAX / 2) {
        if (gap <= runs->bytes)
            shoal_regular_expect(&shard->file, runs->offset, runs->rows * runs->stride - gap);
        return read_each(shard, runs, out);
    }
    uint64_t together = (STAGING_MAX - runs->bytes) / runs->stride + 1;
    if (together > runs->rows)
        together = runs->rows;
    return read_staged(shard, runs, together, out);
}

static shoal_status read_tensor(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                row_runs runs, void *out)
{
    shoal_status st;
    if (!runs_inside(&runs, tensor->bytes))
        return shoal_fail(SHOAL_ERR_INTERNAL,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          tensor->name, (unsigned long long)runs.rows,
                          (unsigned long long)runs.bytes, (unsigned long long)runs.stride,
                          (unsigned long long)runs.offset, (unsigned long long)tensor->bytes);
    if (runs.rows == 0 || runs.bytes == 0)
        return SHOAL_OK;
    runs.offset += tensor->offset;
    if (checkpoint->source)
        st = checkpoint->source(checkpoint->source_context, tensor->file, runs.offset, runs.bytes,
                                runs.stride, runs.rows, out);
    else
        st = read_runs(&checkpoint->files[tensor->file], &runs, out);
    if (st == SHOAL_OK)
        atomic_fetch_add(checkpoint->bytes_read, runs.rows * runs.bytes);
    return st;
}

shoal_status shoal_checkpoint_read(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                   uint64_t offset, uint64_t bytes, void *out)
{
    return read_tensor(checkpoint, tensor, (row_runs){offset, bytes, bytes, 1}, out);
}

shoal_status shoal_checkpoint_read_rows(const shoal_checkpoint *checkpoint,
                                        const shoal_tensor *tensor, uint64_t offset, uint64_t bytes,
                                        uint64_t stride, uint64_t rows, void *out)
{
    return read_tensor(checkpoint, tensor, (row_runs){offset, bytes, stride, rows}, out);
}

shoal_status shoal_checkpoint_read_file(const shoal_checkpoint *checkpoint, int file,
                                        uint64_t offset, uint64_t bytes, uint64_t stride,
                                        uint64_t rows, void *out)
{
    const row_runs runs = {offset, bytes, stride, rows};
    if (file < 0 || file >= checkpoint->file_count)
        return shoal_fail(SHOAL_ERR_DATA, "file %d of a checkpoint of %d", file,
                          checkpoint->file_count);
    const shard_file *shard = &checkpoint->files[file];
    if (!runs_inside(&runs, shard->file.bytes))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          shard->path, (unsigned long long)rows, (unsigned long long)bytes,
                          (unsigned long long)stride, (unsigned long long)offset,
                          (unsigned long long)shard->file.bytes);
    return read_runs(shard, &runs, out);
}

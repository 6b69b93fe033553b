#include "shard/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "shard/checkpoint_gguf.h"
#include "shard/checkpoint_state.h"
#include "shard/cpu_packing.h"
#include "shard/index.h"
#include "shard/model_folder.h"
#include "shard/quoted.h"
#include "shard/torch_file.h"
#include "shard/torchao_metadata.h"

/* ---- opening ---- */

static shoal_status read_safetensors(shoal_shard_file *shard, int index, shoal_tensor_list *list)
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

/* By the name, as the folder's names were chosen; a safetensors file that is none says so. */
static shoal_status read_header(shoal_checkpoint *checkpoint, int index)
{
    shoal_shard_file *shard = &checkpoint->files[index];
    if (shoal_folder_is_torch(shard->path))
        return shoal_torch_read(&shard->file, shard->path, index, checkpoint->arena,
                                &checkpoint->tensors);
    return read_safetensors(shard, index, &checkpoint->tensors);
}

static shoal_status create(int files, shoal_checkpoint **out)
{
    void *block, *at;
    shoal_status st;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(shoal_checkpoint), &block));
    shoal_checkpoint *checkpoint = block;
    SHOAL_TRY_GOTO(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &checkpoint->arena), fail);
    SHOAL_TRY_GOTO(shoal_arena_alloc(checkpoint->arena, sizeof(atomic_uint_fast64_t), &at), fail);
    checkpoint->bytes_read = at;
    atomic_init(checkpoint->bytes_read, 0);
    SHOAL_TRY_GOTO(
        shoal_arena_array(checkpoint->arena, (uint64_t)files, sizeof(shoal_shard_file), &at), fail);
    checkpoint->files = at;
    checkpoint->file_count = files;
    *out = checkpoint;
    return SHOAL_OK;
fail:
    shoal_arena_destroy(checkpoint->arena);
    shoal_free(checkpoint);
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
    shoal_gguf_header_free(&checkpoint->gguf);
    shoal_pack_close(checkpoint->pack);
    shoal_arena_destroy(checkpoint->arena);
    shoal_free(checkpoint);
}

static shoal_status open_next(shoal_checkpoint *checkpoint)
{
    shoal_shard_file *shard = &checkpoint->files[checkpoint->opened];
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

/* Index of the first tensor whose name is not before `name`. */
static size_t lower_bound(const shoal_checkpoint *checkpoint, const char *name)
{
    size_t low = 0, high = checkpoint->tensors.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(checkpoint->tensors.items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const char *file_name(const shoal_checkpoint *checkpoint, int file)
{
    const char *path = checkpoint->files[file].path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* After sorting: is a name there twice? */
static shoal_status check_twice(const shoal_checkpoint *checkpoint, const char *where)
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
    if (first[0].file == first[1].file)
        return shoal_fail(SHOAL_ERR_DATA, "%s: two tensors are called %.200s",
                          checkpoint->files[first->file].path, first->name);
    return shoal_fail(SHOAL_ERR_DATA, "%s: %zu tensor%s in two files (%.100s, %.100s): %s", where,
                      twice.count, twice.count == 1 ? "" : "s",
                      file_name(checkpoint, first[0].file), file_name(checkpoint, first[1].file),
                      shoal_names_end(&twice));
}

/* Subclasses in safetensors, and what their codes tell. Sorted tensors are asked for by name. */
static shoal_status look_closer(shoal_checkpoint *checkpoint, const char *where)
{
    sort_tensors(checkpoint);
    SHOAL_TRY(shoal_torchao_link(where, &checkpoint->tensors, checkpoint->arena));
    return shoal_cpu_packing_guess(checkpoint, &checkpoint->cpu_order);
}

typedef shoal_status list_fn(shoal_checkpoint *checkpoint, const char *path);

/* A checkpoint of so many files, which `list` opens and lists. */
static shoal_status open_files(const char *path, int files, list_fn *list, shoal_checkpoint **out)
{
    shoal_checkpoint *checkpoint;
    SHOAL_TRY(create(files, &checkpoint));
    const shoal_status st = list(checkpoint, path);
    if (st == SHOAL_OK)
        *out = checkpoint;
    else
        shoal_checkpoint_close(checkpoint);
    return st;
}

static shoal_status open_only(shoal_checkpoint *checkpoint, const char *path)
{
    SHOAL_TRY(shoal_strdup(SHOAL_MEM_CHECKPOINT, path, &checkpoint->files[0].path));
    return open_next(checkpoint);
}

static shoal_status list_single(shoal_checkpoint *checkpoint, const char *path)
{
    SHOAL_TRY(open_only(checkpoint, path));
    SHOAL_TRY(read_header(checkpoint, 0));
    if (checkpoint->tensors.count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s has no tensors", path);
    SHOAL_TRY(look_closer(checkpoint, path));
    return check_twice(checkpoint, path);
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
        SHOAL_TRY(read_header(checkpoint, i));
        if (checkpoint->tensors.count > SHOAL_TENSORS_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d tensors", folder,
                              SHOAL_TENSORS_MAX);
    }
    return SHOAL_OK;
}

/* A tensor of this name, or a part of a subclass of this name: its parts lie together, as
 * "mod._weight_qdata" does under "mod.weight". */
static const shoal_tensor *find_mapped(const shoal_checkpoint *checkpoint, const char *name)
{
    const shoal_tensor *found = shoal_checkpoint_find(checkpoint, name);
    char prefix[SHOAL_TENSOR_NAME_MAX + 1];
    if (found || !shoal_subclass_part_name(name, "", 0, prefix, sizeof prefix))
        return found;
    const size_t at = lower_bound(checkpoint, prefix);
    if (at == checkpoint->tensors.count)
        return NULL;
    found = &checkpoint->tensors.items[at];
    return found->subclass && strcmp(found->subclass->name, name) == 0 ? found : NULL;
}

static shoal_status check_map(const shoal_checkpoint *checkpoint, const char *folder,
                              const shoal_index *index)
{
    shoal_names absent = {0};
    const char *file = NULL;
    for (size_t i = 0; i < index->entry_count; i++) {
        const shoal_index_entry *entry = &index->entries[i];
        const shoal_tensor *tensor = find_mapped(checkpoint, entry->tensor);
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
        const shoal_tensor *t = &list->items[i];
        if (!shoal_index_find(index, t->name) &&
            !(t->subclass && shoal_index_find(index, t->subclass->name))) {
            shoal_names_add(&left_out, t->name);
            continue;
        }
        bytes += t->bytes;
        list->items[kept++] = *t;
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
    SHOAL_TRY(look_closer(checkpoint, folder));
    SHOAL_TRY(check_twice(checkpoint, folder));
    SHOAL_TRY(check_map(checkpoint, folder, index));
    const uint64_t bytes = keep_mapped(checkpoint, folder, index);
    if (!index->has_total || index->total_bytes == bytes)
        return SHOAL_OK;
    if (shoal_folder_is_torch(checkpoint->files[0].path)) {
        shoal_log(SHOAL_LOG_INFO, "checkpoint",
                  "%s: the index says total_size %llu, its tensors have %llu bytes; what writers "
                  "of PyTorch files count differs",
                  folder, (unsigned long long)index->total_bytes, (unsigned long long)bytes);
        return SHOAL_OK;
    }
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: the index says total_size %llu, its tensors have %llu bytes", folder,
                      (unsigned long long)index->total_bytes, (unsigned long long)bytes);
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

/* ---- opening GGUF ---- */

/* Open part `index` and list its tensors, adding their number to *tensors; the first part's header
 * is kept. */
static shoal_status open_part(shoal_checkpoint *checkpoint, const char *first, int index,
                              uint64_t *tensors)
{
    shoal_shard_file *shard = &checkpoint->files[index];
    shoal_gguf_header header = {0};
    SHOAL_TRY(shoal_gguf_part_path(first, index, checkpoint->file_count, &shard->path));
    SHOAL_TRY(open_next(checkpoint));
    SHOAL_TRY(shoal_gguf_header_read(&shard->file, shard->path, &header));
    if (index == 0)
        checkpoint->gguf = header;
    shoal_status st =
        shoal_gguf_check_part(shard->path, header.gguf, index, checkpoint->file_count);
    if (st == SHOAL_OK)
        st = shoal_gguf_list(shard->path, checkpoint->gguf.gguf, header.gguf, index,
                             checkpoint->arena, &checkpoint->tensors);
    *tensors += shoal_gguf_tensors(header.gguf);
    if (index != 0)
        shoal_gguf_header_free(&header);
    return st;
}

static shoal_status list_parts(shoal_checkpoint *checkpoint, const char *first)
{
    uint64_t tensors = 0;
    SHOAL_TRY(shoal_gguf_parts_present(first, checkpoint->file_count));
    for (int i = 0; i < checkpoint->file_count; i++)
        SHOAL_TRY(open_part(checkpoint, first, i, &tensors));
    sort_tensors(checkpoint);
    return shoal_gguf_check_list(first, checkpoint->gguf.gguf, &checkpoint->tensors, tensors);
}

static shoal_status open_gguf(const char *first, shoal_checkpoint **out)
{
    int parts;
    SHOAL_TRY(shoal_gguf_parts(first, &parts));
    return open_files(first, parts, list_parts, out);
}

const shoal_gguf *shoal_checkpoint_gguf(const shoal_checkpoint *checkpoint)
{
    return checkpoint->gguf.gguf;
}

/* ---- opening a pack file ---- */

static shoal_status list_pack(shoal_checkpoint *checkpoint, const char *path)
{
    const shoal_shard_file *shard = &checkpoint->files[0];
    SHOAL_TRY(open_only(checkpoint, path));
    SHOAL_TRY(shoal_pack_open(&shard->file, shard->path, &checkpoint->pack));
    SHOAL_TRY(shoal_pack_list(checkpoint->pack, 0, &checkpoint->tensors));
    sort_tensors(checkpoint);
    return check_twice(checkpoint, path);
}

const shoal_pack_file *shoal_checkpoint_pack(const shoal_checkpoint *checkpoint)
{
    return checkpoint->pack;
}

/* ---- opening whatever there is ---- */

shoal_status shoal_checkpoint_open(const char *path, shoal_checkpoint **out)
{
    shoal_weights_kind kind;
    shoal_status st = SHOAL_OK;
    char *file;
    SHOAL_TRY(shoal_folder_weights(path, &kind, &file));
    switch (kind) {
    case SHOAL_WEIGHTS_INDEX: st = open_index(path, file, out); break;
    case SHOAL_WEIGHTS_FILE: st = open_files(file, 1, list_single, out); break;
    case SHOAL_WEIGHTS_GGUF: st = open_gguf(file, out); break;
    case SHOAL_WEIGHTS_PACK: st = open_files(file, 1, list_pack, out); break;
    }
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
    const size_t at = lower_bound(checkpoint, name);
    if (at == checkpoint->tensors.count || strcmp(checkpoint->tensors.items[at].name, name) != 0)
        return NULL;
    return &checkpoint->tensors.items[at];
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

int shoal_checkpoint_cpu_order(const shoal_checkpoint *checkpoint)
{
    return (int)checkpoint->cpu_order;
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

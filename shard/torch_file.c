#include "shard/torch_file.h"

#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/log.h"
#include "shard/pickle.h"
#include "shard/quoted.h"
#include "shard/torch_subclass.h"
#include "shard/torch_tensor.h"

bool shoal_torch_is_zip(const uint8_t prefix[SHOAL_TORCH_PREFIX])
{
    return memcmp(prefix, "PK\3\4", 4) == 0;
}

static shoal_status fault(const shoal_torch_file *f, const char *what)
{
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: %s", f->path, what);
    return SHOAL_ERR_DATA;
}

/* ---- the archive ---- */

/* Before PyTorch 1.6 a file was several pickles in a row, and before that a tar archive. */
static shoal_status check_kind(const shoal_regular_file *file, const char *path)
{
    uint8_t prefix[SHOAL_TORCH_PREFIX] = {0}, tar[5] = {0};
    const uint64_t there = file->bytes < sizeof prefix ? file->bytes : sizeof prefix;
    SHOAL_TRY(shoal_regular_read(file, path, 0, there, prefix));
    if (shoal_torch_is_zip(prefix))
        return SHOAL_OK;
    if (file->bytes >= 512)
        SHOAL_TRY(shoal_regular_read(file, path, 257, sizeof tar, tar));
    if (prefix[0] == 0x80 || memcmp(tar, "ustar", sizeof tar) == 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s is a PyTorch file of the form before version 1.6, which can run code "
                          "and is not read; save it again with a newer torch.save, or as "
                          "safetensors",
                          path);
    return shoal_fail(SHOAL_ERR_DATA, "%s is no file of torch.save (no zip archive)", path);
}

/* All entries lie in one folder: the part of a name before its first '/'. */
static shoal_status find_folder(shoal_torch_file *f)
{
    const char *first = f->archive.entries[0].name, *slash = strchr(first, '/');
    const size_t length = slash ? (size_t)(slash - first) : 0;
    void *block;
    for (size_t i = 0; i < f->archive.count; i++)
        if (length == 0 || strncmp(f->archive.entries[i].name, first, length + 1) != 0)
            return fault(f, "the entries of the archive do not lie in one folder, as torch.save "
                            "has them");
    SHOAL_TRY(shoal_arena_alloc(f->arena, length + 1, &block));
    memcpy(block, first, length);
    f->folder = block;
    return SHOAL_OK;
}

static const shoal_zip_entry *find_entry(const shoal_torch_file *f, const char *name)
{
    char path[SHOAL_ZIP_NAME_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    return shoal_zip_find(&f->archive, path);
}

static shoal_status check_byte_order(const shoal_torch_file *f, const shoal_regular_file *file)
{
    const shoal_zip_entry *entry = find_entry(f, "byteorder");
    char order[8] = {0};
    if (!entry)
        return SHOAL_OK;
    if (entry->bytes >= sizeof order)
        return fault(f, "its byte order is unknown");
    SHOAL_TRY(shoal_regular_read(file, f->path, entry->offset, entry->bytes, order));
    if (strcmp(order, "little") == 0)
        return SHOAL_OK;
    return fault(f, strcmp(order, "big") == 0 ? "its byte order is big-endian, which is not read"
                                              : "its byte order is unknown");
}

static shoal_status find_pickle(const shoal_torch_file *f, const shoal_zip_entry **out)
{
    const shoal_zip_entry *entry = find_entry(f, "data.pkl");
    if (find_entry(f, "constants.pkl"))
        return fault(f, "it is a TorchScript archive, which holds a program; save its state dict "
                        "with torch.save");
    if (!entry)
        return fault(f, "the archive has no data.pkl");
    *out = entry;
    return SHOAL_OK;
}

/* ---- the state dict ---- */

/* Names are printed and looked up: printable ASCII, as those of all known models. */
static shoal_status copy_name(const shoal_torch_file *f, const shoal_pickle *key, const char **out)
{
    void *block;
    bool proper =
        key->kind == SHOAL_PICKLE_TEXT && key->count > 0 && key->count <= SHOAL_TENSOR_NAME_MAX;
    for (uint32_t i = 0; proper && i < key->count; i++)
        proper = key->as.text[i] >= 0x20 && key->as.text[i] < 0x7f;
    if (!proper)
        return fault(f, "a key of the state dict is no tensor name (empty, over 1024 bytes, or "
                        "not printable ASCII)");
    SHOAL_TRY(shoal_arena_alloc(f->arena, (uint64_t)key->count + 1, &block));
    memcpy(block, key->as.text, key->count);
    *out = block;
    return SHOAL_OK;
}

static shoal_status read_dict(shoal_torch_file *f, const shoal_pickle *dict)
{
    shoal_names passed = {0};
    const size_t first = f->list->count;
    for (uint32_t i = 0; i < dict->count; i += 2) {
        const shoal_pickle *value = dict->as.items[i + 1], *call;
        const char *name;
        SHOAL_TRY(copy_name(f, dict->as.items[i], &name));
        if (shoal_torch_tensor_find(value, &call))
            SHOAL_TRY(shoal_torch_tensor_add(f, name, call, NULL));
        else if (shoal_pickle_calls(value, SHOAL_GLOBAL_REBUILD_SUBCLASS))
            SHOAL_TRY(shoal_torch_subclass_add(f, name, value));
        else
            shoal_names_add(&passed, name);
        if (f->list->count - first > SHOAL_TENSORS_MAX)
            return fault(f, "more than a million tensors");
    }
    if (passed.count && f->list->count == first)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: no tensors at the top of its state dict, but %s; a training "
                          "checkpoint? save its model's state dict alone",
                          f->path, shoal_names_end(&passed));
    if (passed.count)
        shoal_log(SHOAL_LOG_WARN, "checkpoint", "%s: %zu values that are no tensors: %s", f->path,
                  passed.count, shoal_names_end(&passed));
    return SHOAL_OK;
}

/* The tree and the bytes it points into live no longer than this. */
static shoal_status read_tree(shoal_torch_file *f, const uint8_t *data, uint64_t bytes,
                              shoal_arena *nodes)
{
    const shoal_pickle *top;
    SHOAL_TRY(shoal_pickle_read(data, bytes, f->path, nodes, &top));
    if (top->kind != SHOAL_PICKLE_DICT)
        return fault(f, "it holds no state dict (a dict of names and tensors)");
    return read_dict(f, top);
}

static shoal_status read_state(shoal_torch_file *f, const shoal_regular_file *file)
{
    const shoal_zip_entry *entry;
    shoal_arena *nodes = NULL;
    shoal_status st;
    void *data = NULL;
    SHOAL_TRY(find_pickle(f, &entry));
    if (entry->bytes > SHOAL_PICKLE_BYTES_MAX)
        return fault(f, "a pickle of more than 64 MiB");
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &nodes));
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, entry->bytes, &data), done);
    SHOAL_TRY_GOTO(shoal_regular_read(file, f->path, entry->offset, entry->bytes, data), done);
    st = read_tree(f, data, entry->bytes, nodes);
done:
    shoal_free(data);
    shoal_arena_destroy(nodes);
    return st;
}

shoal_status shoal_torch_read(const shoal_regular_file *file, const char *path, int index,
                              shoal_arena *arena, shoal_tensor_list *list)
{
    shoal_torch_file f = {.path = path, .index = index, .arena = arena, .list = list};
    const size_t before = list->count;
    SHOAL_TRY(check_kind(file, path));
    SHOAL_TRY(shoal_zip_open(file, path, arena, &f.archive));
    shoal_status st = find_folder(&f);
    if (st == SHOAL_OK)
        st = check_byte_order(&f, file);
    if (st == SHOAL_OK)
        st = read_state(&f, file);
    if (st != SHOAL_OK)
        list->count = before;
    return st;
}

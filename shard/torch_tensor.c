#include "shard/torch_tensor.h"

#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/quoted.h"

/* Keys of storages are decimal numbers. */
#define KEY_MAX 64

typedef struct {
    const shoal_torch_file *file;
    const char *name;
} place;

static shoal_status fault(const place *at, const char *what)
{
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: %s", at->file->path, at->name, what);
    return SHOAL_ERR_DATA;
}

bool shoal_torch_tensor_find(const shoal_pickle *value, const shoal_pickle **out)
{
    if (shoal_pickle_calls(value, SHOAL_GLOBAL_REBUILD_PARAMETER))
        value = shoal_pickle_argument(value, 0);
    if (!shoal_pickle_calls(value, SHOAL_GLOBAL_REBUILD_TENSOR) &&
        !shoal_pickle_calls(value, SHOAL_GLOBAL_REBUILD_TENSOR_V2) &&
        !shoal_pickle_calls(value, SHOAL_GLOBAL_REBUILD_TENSOR_V3))
        return false;
    *out = value;
    return true;
}

int shoal_torch_numbers(const shoal_pickle *value, int64_t *out, int room)
{
    if (shoal_pickle_calls(value, SHOAL_GLOBAL_SIZE))
        value = shoal_pickle_argument(value, 0);
    if (!value || (value->kind != SHOAL_PICKLE_TUPLE && value->kind != SHOAL_PICKLE_LIST) ||
        value->count > (uint32_t)room)
        return -1;
    for (uint32_t i = 0; i < value->count; i++) {
        const shoal_pickle *item = value->as.items[i];
        if (item->kind != SHOAL_PICKLE_INTEGER || item->as.integer < 0)
            return -1;
        out[i] = item->as.integer;
    }
    return (int)value->count;
}

/* ---- the storage ---- */

typedef struct {
    const shoal_zip_entry *entry;
    shoal_dtype dtype;
    bool untyped;
    uint64_t bytes;
} storage;

static shoal_status find_entry(const place *at, const shoal_pickle *key,
                               const shoal_zip_entry **out)
{
    char path[SHOAL_ZIP_NAME_MAX + KEY_MAX + 8], text[KEY_MAX + 1];
    if (key->kind != SHOAL_PICKLE_TEXT || key->count == 0 || key->count > KEY_MAX)
        return fault(at, "its storage has no key");
    memcpy(text, key->as.text, key->count);
    text[key->count] = '\0';
    if (strlen(text) != key->count || shoal_has_control(text) || strchr(text, '/'))
        return fault(at, "its storage has no key");
    (void)snprintf(path, sizeof path, "%s/data/%s", at->file->folder, text);
    *out = shoal_zip_find(&at->file->archive, path);
    if (!*out)
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: the archive has no storage '%.64s'",
                          at->file->path, at->name, text);
    return SHOAL_OK;
}

/* ('storage', type, key, location, elements[, view]) */
static shoal_status read_storage(const place *at, const shoal_pickle *value, storage *out)
{
    if (!value || value->kind != SHOAL_PICKLE_PERSISTENT ||
        value->as.items[0]->kind != SHOAL_PICKLE_TUPLE)
        return fault(at, "it is not made from a storage");
    const shoal_pickle *identity = value->as.items[0];
    shoal_pickle *const *items = identity->as.items;
    if (identity->count < 5 || identity->count > 6 || !shoal_pickle_is_text(items[0], "storage") ||
        items[4]->kind != SHOAL_PICKLE_INTEGER || items[4]->as.integer < 0 ||
        (identity->count == 6 && items[5]->kind != SHOAL_PICKLE_NONE))
        return fault(at, "its storage is described in a form that is not read");
    out->untyped = shoal_pickle_names(items[1], SHOAL_GLOBAL_BYTE_STORAGE);
    if (!out->untyped && !shoal_pickle_names(items[1], SHOAL_GLOBAL_STORAGE))
        return fault(at, "its storage has an unknown type");
    out->dtype = out->untyped ? SHOAL_U8 : items[1]->as.global->dtype;
    SHOAL_TRY(find_entry(at, items[2], &out->entry));
    if (!shoal_mul_u64((uint64_t)items[4]->as.integer, shoal_dtype_bytes(out->dtype),
                       &out->bytes) ||
        out->bytes != out->entry->bytes)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: tensor %.200s: a storage of %lld %s; the archive has %llu bytes",
                          at->file->path, at->name, (long long)items[4]->as.integer,
                          shoal_dtype_name(out->dtype), (unsigned long long)out->entry->bytes);
    return SHOAL_OK;
}

/* ---- sizes and strides ---- */

/* Do all elements lie inside the storage? Nothing here may overflow. */
static bool is_inside(const shoal_tensor *t, const int64_t *strides, uint64_t first,
                      uint64_t elements)
{
    uint64_t last = first;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] == 0)
            return true;
    for (int i = 0; i < t->rank; i++) {
        uint64_t reach;
        if (!shoal_mul_u64((uint64_t)t->shape[i] - 1, (uint64_t)strides[i], &reach) ||
            !shoal_add_u64(last, reach, &last))
            return false;
    }
    return last < elements;
}

static shoal_status set_shape(const place *at, const shoal_pickle *call, const storage *from,
                              shoal_tensor *t)
{
    int64_t strides[SHOAL_TENSOR_RANK_MAX];
    const uint64_t element = shoal_dtype_bytes(t->dtype);
    const shoal_pickle *offset = shoal_pickle_argument(call, 1);
    uint64_t bytes = element;
    t->rank = shoal_torch_numbers(shoal_pickle_argument(call, 2), t->shape, SHOAL_TENSOR_RANK_MAX);
    if (t->rank < 0)
        return fault(at, "its shape is no list of at most 8 sizes");
    if (shoal_torch_numbers(shoal_pickle_argument(call, 3), strides, SHOAL_TENSOR_RANK_MAX) !=
        t->rank)
        return fault(at, "its strides do not go with its shape");
    if (!offset || offset->kind != SHOAL_PICKLE_INTEGER || offset->as.integer < 0)
        return fault(at, "its place in the storage is no number");
    for (int i = 0; i < t->rank; i++)
        if (!shoal_mul_u64(bytes, (uint64_t)t->shape[i], &bytes) || bytes > INT64_MAX)
            return fault(at, "its shape overflows 64 bits");
    if (!is_inside(t, strides, (uint64_t)offset->as.integer, from->bytes / element))
        return fault(at, "it reaches beyond the end of its storage");
    if (!shoal_view_make(t->rank, t->shape, strides, element, &t->view))
        return fault(at, "its elements overlap or lie in an order that is not read; save it "
                         "again after .contiguous()");
    t->bytes = bytes;
    t->offset = from->entry->offset + (bytes ? (uint64_t)offset->as.integer * element : 0);
    return SHOAL_OK;
}

/* The type of version 3 stands behind the hooks; others have that of the storage. */
static shoal_status set_dtype(const place *at, const shoal_pickle *call, const storage *from,
                              shoal_tensor *t)
{
    t->dtype = from->dtype;
    if (!shoal_pickle_calls(call, SHOAL_GLOBAL_REBUILD_TENSOR_V3))
        return from->untyped ? fault(at, "its storage has no type") : SHOAL_OK;
    const shoal_pickle *dtype = shoal_pickle_argument(call, 6);
    if (!shoal_pickle_names(dtype, SHOAL_GLOBAL_DTYPE))
        return fault(at, "its dtype is unknown");
    t->dtype = dtype->as.global->dtype;
    return SHOAL_OK;
}

shoal_status shoal_torch_tensor_add(shoal_torch_file *file, const char *name,
                                    const shoal_pickle *call, const shoal_tensor_subclass *subclass)
{
    const place at = {file, name};
    shoal_tensor t = {.name = name, .file = file->index, .subclass = subclass};
    storage from = {0};
    SHOAL_TRY(read_storage(&at, shoal_pickle_argument(call, 0), &from));
    SHOAL_TRY(set_dtype(&at, call, &from, &t));
    SHOAL_TRY(set_shape(&at, call, &from, &t));
    return shoal_tensor_list_add(file->list, &t);
}

#include "shard/torchao_metadata.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/json_file.h"
#include "shard/quoted.h"

static const shoal_json_limits limits = {65536, 16, 4096};

typedef struct {
    const char *where;
    shoal_tensor_list *list;
    shoal_arena *arena;
    shoal_tensor_subclass *subclass;
} linking;

static shoal_status fault(const linking *l, const char *what)
{
    char quoted[SHOAL_QUOTED_ROOM];
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: metadata of %s: %s", l->where,
                     shoal_quoted(l->subclass->name, quoted, sizeof quoted), what);
    return SHOAL_ERR_DATA;
}

/* ---- attributes ---- */

/* *count becomes the length; values beyond `room` are an error, null is none. */
static shoal_status get_sizes(const linking *l, const json_t *data, const char *name, int64_t *out,
                              size_t room, size_t *count)
{
    const json_t *list = json_object_get(data, name);
    *count = 0;
    if (!list || json_is_null(list))
        return SHOAL_OK;
    if (!json_is_array(list) || json_array_size(list) > room)
        return fault(l, "a shape or block_size that is no list of two sizes");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return fault(l, "a shape or block_size that is no list of two sizes");
        out[i] = json_integer_value(item);
    }
    *count = json_array_size(list);
    return SHOAL_OK;
}

/* {"_type": "torch.dtype", "_data": "int4"} gives the range of its codes. */
static void get_target(const json_t *data, shoal_tensor_subclass *s)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(data, "target_dtype"), "_data"));
    int bits;
    if (!name || sscanf(name, "int%1d", &bits) != 1 || bits < 1 || bits > 8)
        return;
    s->quant_min = -(INT64_C(1) << (bits - 1));
    s->quant_max = -s->quant_min - 1;
    s->has_range = true;
}

static shoal_status get_attributes(const linking *l, const json_t *data)
{
    shoal_tensor_subclass *s = l->subclass;
    const json_t *act = json_object_get(data, "act_quant_kwargs");
    size_t count;
    SHOAL_TRY(get_sizes(l, data, "block_size", s->block, 2, &count));
    if (count == 1)
        return fault(l, "a shape or block_size that is no list of two sizes");
    SHOAL_TRY(get_sizes(l, data, "shape", s->shape, 2, &count));
    s->rank = (int)count;
    get_target(data, s);
    s->per_token = act && !json_is_null(act);
    return SHOAL_OK;
}

/* ---- parts ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const shoal_tensor *)a)->name, ((const shoal_tensor *)b)->name);
}

/* A part that is null has no tensor. */
static shoal_status link_part(const linking *l, const json_t *part)
{
    char text[SHOAL_TENSOR_NAME_MAX + 1];
    if (!json_is_string(part))
        return fault(l, "_tensor_data_names is no list of names");
    if (!shoal_subclass_part_name(l->subclass->name, json_string_value(part),
                                  json_string_length(part), text, sizeof text))
        return fault(l, "a name of more than 1024 bytes");
    const shoal_tensor key = {.name = text};
    shoal_tensor *found =
        l->list->count ? bsearch(&key, l->list->items, l->list->count, sizeof key, by_name) : NULL;
    if (found)
        found->subclass = l->subclass;
    return SHOAL_OK;
}

static shoal_status copy_text(const linking *l, const char *text, const char **out)
{
    void *block;
    const size_t bytes = strlen(text) + 1;
    SHOAL_TRY(shoal_arena_alloc(l->arena, bytes, &block));
    memcpy(block, text, bytes);
    *out = block;
    return SHOAL_OK;
}

static shoal_status describe(const linking *l, const json_t *root)
{
    const json_t *type = json_object_get(root, "_type"),
                 *parts = json_object_get(root, "_tensor_data_names");
    if (!json_is_string(type) || !json_is_array(parts))
        return fault(l, "a tensor class without _type or _tensor_data_names");
    SHOAL_TRY(copy_text(l, json_string_value(type), &l->subclass->type));
    SHOAL_TRY(get_attributes(l, json_object_get(root, "_data")));
    for (size_t i = 0; i < json_array_size(parts); i++)
        SHOAL_TRY(link_part(l, json_array_get(parts, i)));
    return SHOAL_OK;
}

shoal_status shoal_torchao_link(const char *where, shoal_tensor_list *list, shoal_arena *arena)
{
    for (size_t i = 0; i < list->metadata_count; i++) {
        const shoal_metadata_entry *entry = &list->metadata[i];
        json_t *root;
        void *block;
        if (!strstr(entry->value, "\"_tensor_data_names\""))
            continue;
        SHOAL_TRY(shoal_arena_alloc(arena, sizeof(shoal_tensor_subclass), &block));
        const linking l = {where, list, arena, block};
        l.subclass->name = entry->key;
        SHOAL_TRY(shoal_json_parse(entry->value, strlen(entry->value), where, &limits, &root));
        const shoal_status st = describe(&l, root);
        json_decref(root);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

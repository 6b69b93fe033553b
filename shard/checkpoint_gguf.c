#include "shard/checkpoint_gguf.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shard/gguf_experts.h"
#include "shard/gguf_file.h"
#include "shard/quoted.h"

#define PARTS_MAX 4096

const char *shoal_tensor_type_name(const shoal_tensor *tensor)
{
    uint32_t elements, bytes;
    const char *name;
    if (tensor->block_type && shoal_gguf_type_layout(tensor->block_type, &elements, &bytes, &name))
        return name;
    return shoal_dtype_name(tensor->dtype);
}

/* ---- parts ---- */

shoal_status shoal_gguf_parts(const char *first, int *parts)
{
    int part = 1, many = 1;
    size_t stem;
    if (shoal_gguf_part_name(first, &part, &many, &stem) && part != 1)
        return shoal_fail(SHOAL_ERR_DATA, "%s is part %d of a model in %d files; name the first",
                          first, part, many);
    if (many < 1 || many > PARTS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a model in %d files; 1 to %d are read", first, many,
                          PARTS_MAX);
    *parts = many;
    return SHOAL_OK;
}

shoal_status shoal_gguf_part_path(const char *first, int index, int parts, char **out)
{
    int part, many;
    size_t stem;
    char *path;
    SHOAL_TRY(shoal_strdup(SHOAL_MEM_CHECKPOINT, first, &path));
    if (shoal_gguf_part_name(first, &part, &many, &stem))
        (void)snprintf(path + stem, strlen(first) - stem + 1, "-%05d-of-%05d.gguf", index + 1,
                       parts);
    *out = path;
    return SHOAL_OK;
}

shoal_status shoal_gguf_parts_present(const char *first, int parts)
{
    shoal_names missing = {0};
    for (int i = 0; i < parts; i++) {
        struct stat info;
        char *path;
        SHOAL_TRY(shoal_gguf_part_path(first, i, parts, &path));
        const char *name = strrchr(path, '/');
        if (stat(path, &info) != 0)
            shoal_names_add(&missing, name ? name + 1 : path);
        shoal_free(path);
    }
    if (missing.count == 0)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_NOTFOUND, "%s: %zu of %d parts %s missing: %s", first,
                      missing.count, parts, missing.count == 1 ? "is" : "are",
                      shoal_names_end(&missing));
}

shoal_status shoal_gguf_check_part(const char *path, const shoal_gguf *part, int index, int parts)
{
    int64_t number = 0, count = 1;
    SHOAL_TRY(shoal_gguf_integer(part, "split.no", &number));
    SHOAL_TRY(shoal_gguf_integer(part, "split.count", &count));
    if (count == 0) /* not split */
        count = 1;
    if (number == index && count == parts)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: its header says part %lld of %lld, its name part %d of %d", path,
                      (long long)number + 1, (long long)count, index + 1, parts);
}

/* ---- tensors ---- */

/* GGUF types that are plain elements; the rest are blocks. */
static bool plain_dtype(uint32_t type, shoal_dtype *out)
{
    static const struct {
        uint32_t type;
        shoal_dtype dtype;
    } plain[] = {{0, SHOAL_F32},  {1, SHOAL_F16},  {30, SHOAL_BF16}, {24, SHOAL_I8},
                 {25, SHOAL_I16}, {26, SHOAL_I32}, {27, SHOAL_I64},  {28, SHOAL_F64}};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (plain[i].type == type) {
            *out = plain[i].dtype;
            return true;
        }
    return false;
}

static shoal_status copy_name(const char *path, const shoal_gguf_tensor *from, shoal_arena *names,
                              const char **out)
{
    char quoted[SHOAL_QUOTED_ROOM];
    void *copy;
    SHOAL_TRY(shoal_arena_alloc(names, from->name.bytes + 1, &copy));
    memcpy(copy, from->name.data, from->name.bytes);
    if (strlen(copy) != from->name.bytes || shoal_has_control(copy))
        return shoal_fail(SHOAL_ERR_DATA, "%s: a tensor's name has a control character: %s", path,
                          shoal_quoted(copy, quoted, sizeof quoted));
    *out = copy;
    return SHOAL_OK;
}

/* Is it "blk.N.MODULE.weight" or ".bias"? */
static bool is_of_module(const char *name, const char *module)
{
    int layer, end = 0;
    if (sscanf(name, "blk.%5d.%n", &layer, &end) != 1 || end == 0)
        return false;
    const char *rest = name + end;
    const size_t length = strlen(module);
    return strncmp(rest, module, length) == 0 && rest[length] == '.';
}

/* How rows of q and k lie in files of architecture llama and internlm2. Heads that do not divide
 * the rows are found when shapes are checked. */
static shoal_status find_pairs(const shoal_gguf *model, shoal_tensor *t)
{
    char family[16], key[64];
    shoal_gguf_text architecture = {"", 0};
    int64_t q_heads = 0, kv_heads = 0;
    SHOAL_TRY(shoal_gguf_string(model, "general.architecture", &architecture));
    (void)snprintf(family, sizeof family, "%.*s",
                   (int)(architecture.bytes < sizeof family ? architecture.bytes : 0),
                   architecture.data);
    if (strcmp(family, "llama") != 0 && strcmp(family, "internlm2") != 0)
        return SHOAL_OK;
    const bool q = is_of_module(t->name, "attn_q"), k = is_of_module(t->name, "attn_k");
    if (!q && !k)
        return SHOAL_OK;
    (void)snprintf(key, sizeof key, "%s.attention.head_count", family);
    SHOAL_TRY(shoal_gguf_repeated(model, key, &q_heads));
    kv_heads = q_heads;
    (void)snprintf(key, sizeof key, "%s.attention.head_count_kv", family);
    SHOAL_TRY(shoal_gguf_repeated(model, key, &kv_heads));
    const int64_t heads = q ? q_heads : kv_heads;
    if (heads > 0 && t->shape[0] % heads == 0 && t->shape[0] / heads % 2 == 0 &&
        t->shape[0] / heads <= INT32_MAX)
        t->pairs = (int32_t)(t->shape[0] / heads);
    return SHOAL_OK;
}

static shoal_status list_one(const char *path, const shoal_gguf *model,
                             const shoal_gguf_tensor *from, int file, shoal_arena *names,
                             shoal_tensor *out)
{
    shoal_tensor t = {.rank = (int)from->rank,
                      .file = file,
                      .offset = from->offset,
                      .bytes = from->bytes,
                      .dtype = SHOAL_U8};
    SHOAL_TRY(copy_name(path, from, names, &t.name));
    if (!plain_dtype(from->type, &t.dtype))
        t.block_type = from->type;
    for (int i = 0; i < t.rank; i++) {
        const uint64_t size = from->dims[t.rank - 1 - i];
        if (size < 1 || size > INT64_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s has a dimension of %llu", path,
                              t.name, (unsigned long long)size);
        t.shape[i] = (int64_t)size;
    }
    if (t.rank > 0)
        SHOAL_TRY(find_pairs(model, &t));
    *out = t;
    return SHOAL_OK;
}

shoal_status shoal_gguf_list(const char *path, const shoal_gguf *model, const shoal_gguf *part,
                             int file, shoal_arena *names, shoal_tensor_list *list)
{
    for (size_t i = 0; i < shoal_gguf_tensors(part); i++) {
        shoal_tensor tensor;
        SHOAL_TRY(list_one(path, model, shoal_gguf_tensor_at(part, i), file, names, &tensor));
        SHOAL_TRY(shoal_gguf_add_tensor(path, &tensor, names, list));
    }
    return SHOAL_OK;
}

shoal_status shoal_gguf_check_list(const char *first, const shoal_gguf *model,
                                   const shoal_tensor_list *list, uint64_t tensors)
{
    int64_t promised = -1;
    SHOAL_TRY(shoal_gguf_integer(model, "split.tensors.count", &promised));
    if (list->count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s has no tensors: a vocabulary alone is no model",
                          first);
    if (promised >= 0 && (uint64_t)promised != tensors)
        return shoal_fail(SHOAL_ERR_DATA, "%s: split.tensors.count is %lld, its parts have %llu",
                          first, (long long)promised, (unsigned long long)tensors);
    for (size_t i = 1; i < list->count; i++)
        if (strcmp(list->items[i - 1].name, list->items[i].name) == 0)
            return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s is in two parts", first,
                              list->items[i].name);
    return SHOAL_OK;
}

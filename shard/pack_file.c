/* shard/pack_file.c - see pack_file.h. */
#include "shard/pack_file.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/digest.h"
#include "shard/json_file.h"
#include "shard/pack_format.h"
#include "shard/quoted.h"

typedef struct {
    const char *name;
    const char *data;
    uint64_t bytes;
} pack_text;

struct shoal_pack_file {
    const char *path;
    uint64_t file_bytes;
    char *head; /* header, digests and texts as they lie in the file */
    uint64_t head_bytes;
    uint8_t *digests;
    uint64_t digest_count;
    pack_text *texts;
    size_t text_count;
    shoal_tensor *tensors;
    size_t tensor_count;
    json_t *root;
    shoal_arena *arena;
};

static shoal_status bad(const shoal_pack_file *p, const char *what)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: damaged pack file: %s", p->path, what);
}

bool shoal_pack_is_file(const char *path)
{
    char magic[8];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    const bool is = pread(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
                    memcmp(magic, SHOAL_PACK_MAGIC, sizeof magic) == 0;
    (void)close(fd);
    return is;
}

static bool is_digest(const void *data, uint64_t bytes, const uint8_t *digest)
{
    uint8_t mine[SHOAL_XXH128_BYTES];
    shoal_xxh128(data, bytes, mine);
    return memcmp(mine, digest, sizeof mine) == 0;
}

/* ---- numbers of the header ---- */

static bool get(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < least ||
        json_integer_value(value) > most)
        return false;
    *out = json_integer_value(value);
    return true;
}

static bool get_bytes(const json_t *object, const char *key, uint64_t *out)
{
    int64_t value;
    if (!get(object, key, 0, INT64_MAX, &value))
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool get_dtype(const json_t *object, shoal_dtype *out)
{
    const char *name = json_string_value(json_object_get(object, "dtype"));
    return name && shoal_dtype_parse(name, out) && shoal_dtype_bytes(*out) > 0;
}

static bool get_flag(const json_t *object, const char *key, bool *out)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_true(value);
    return json_is_boolean(value);
}

/* ---- the head of the file ---- */

/* Read bytes [preamble, preamble + bytes) more of the head. */
static shoal_status read_head(shoal_pack_file *p, const shoal_regular_file *file, uint64_t bytes)
{
    void *block = p->head;
    if (!shoal_range_inside(SHOAL_PACK_PREAMBLE, bytes, file->bytes))
        return bad(p, "it ends inside its own header");
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, bytes, 1, &block));
    p->head = block;
    SHOAL_TRY(shoal_regular_read(file, p->path, SHOAL_PACK_PREAMBLE + p->head_bytes,
                                 bytes - p->head_bytes, p->head + p->head_bytes));
    p->head_bytes = bytes;
    return SHOAL_OK;
}

static shoal_status check_layout(const shoal_pack_file *p)
{
    char quoted[SHOAL_QUOTED_ROOM];
    const char *layout = json_string_value(json_object_get(p->root, "layout"));
    if (!layout)
        return bad(p, "it names no layout");
    if (strcmp(layout, SHOAL_PACK_LAYOUT) != 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s has layout '%s'; " SHOAL_PACK_LAYOUT " is read",
                          p->path, shoal_quoted(layout, quoted, sizeof quoted));
    return SHOAL_OK;
}

static shoal_status read_header(shoal_pack_file *p, const shoal_regular_file *file)
{
    const shoal_json_limits limits = {SHOAL_PACK_HEADER_MAX, 8, 40000000};
    uint8_t start[SHOAL_PACK_PREAMBLE];
    static const uint8_t zeros[24] = {0};
    if (file->bytes < sizeof start)
        return bad(p, "it has no preamble");
    SHOAL_TRY(shoal_regular_read(file, p->path, 0, sizeof start, start));
    if (memcmp(start, SHOAL_PACK_MAGIC, 8) != 0)
        return bad(p, "it does not begin with the magic word");
    if (shoal_load_le32(start + 8) != SHOAL_PACK_VERSION)
        return shoal_fail(SHOAL_ERR_DATA, "%s is a pack file of version %u; version %u is read",
                          p->path, (unsigned)shoal_load_le32(start + 8), SHOAL_PACK_VERSION);
    if (shoal_load_le32(start + 12) != SHOAL_PACK_ORDER)
        return bad(p, "its byte order word is wrong");
    const uint64_t bytes = shoal_load_le64(start + 16);
    if (memcmp(start + 40, zeros, sizeof zeros) != 0 || bytes > SHOAL_PACK_HEADER_MAX)
        return bad(p, "its preamble is wrong");
    SHOAL_TRY(read_head(p, file, bytes));
    if (!is_digest(p->head, bytes, start + 24))
        return bad(p, "the checksum of the header is wrong");
    SHOAL_TRY(shoal_json_parse(p->head, bytes, p->path, &limits, &p->root));
    return check_layout(p);
}

static shoal_status read_digests(shoal_pack_file *p, const shoal_regular_file *file)
{
    uint8_t expected[SHOAL_XXH128_BYTES];
    uint64_t count, bytes, end;
    const uint64_t at = p->head_bytes;
    const char *hex = json_string_value(json_object_get(p->root, "digests_xxh3"));
    if (!get_bytes(p->root, "digests", &count) || !hex ||
        !shoal_unhex(hex, sizeof expected, expected) ||
        !shoal_mul_u64(count, SHOAL_XXH128_BYTES, &bytes) || !shoal_add_u64(at, bytes, &end))
        return bad(p, "its digests are not described");
    SHOAL_TRY(read_head(p, file, end));
    p->digest_count = count;
    return is_digest(p->head + at, bytes, expected)
               ? SHOAL_OK
               : bad(p, "the checksum of the digests is wrong");
}

static shoal_status read_texts(shoal_pack_file *p, const shoal_regular_file *file)
{
    void *block;
    const json_t *texts = json_object_get(p->root, "texts");
    const size_t count = json_array_size(texts);
    SHOAL_TRY(shoal_arena_array(p->arena, count, sizeof *p->texts, &block));
    p->texts = block;
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(texts, i);
        const char *hex = json_string_value(json_object_get(text, "xxh3"));
        uint8_t expected[SHOAL_XXH128_BYTES];
        uint64_t bytes, end;
        const uint64_t at = p->head_bytes;
        p->texts[i].name = json_string_value(json_object_get(text, "name"));
        if (!p->texts[i].name || !hex || !shoal_unhex(hex, sizeof expected, expected) ||
            !get_bytes(text, "bytes", &bytes) || !shoal_add_u64(at, bytes, &end))
            return bad(p, "a text is not described");
        SHOAL_TRY(read_head(p, file, end));
        if (!is_digest(p->head + at, bytes, expected))
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: damaged pack file: the checksum of the text %s is wrong",
                              p->path, p->texts[i].name);
        p->texts[i].bytes = bytes;
    }
    p->text_count = count;
    return SHOAL_OK;
}

/* The head does not move any more. */
static void settle_head(shoal_pack_file *p)
{
    const char *at = p->head + p->head_bytes;
    for (size_t i = p->text_count; i-- > 0;) {
        at -= p->texts[i].bytes;
        p->texts[i].data = at;
    }
    p->digests = (uint8_t *)at - p->digest_count * SHOAL_XXH128_BYTES;
}

/* ---- tensors ---- */

static bool read_linear(const json_t *from, shoal_pack_linear *l)
{
    int64_t kind, bits, zero;
    if (!get(from, "n", 1, INT32_MAX, &l->n) || !get(from, "k", 1, INT32_MAX, &l->k) ||
        !get_flag(from, "along_k", &l->along_k) || !get(from, "step", 1, INT32_MAX, &l->step) ||
        !get(from, "kind", SHOAL_WEIGHT_INT4, SHOAL_WEIGHT_FLOAT, &kind) ||
        !get(from, "bits", 1, 64, &bits) || !get(from, "group", 1, INT32_MAX, &l->group) ||
        !get(from, "source_group", -1, INT32_MAX, &l->source_group) ||
        !get_flag(from, "zeros", &l->has_zeros) || !get_flag(from, "mins", &l->has_mins) ||
        !get(from, "zero", INT16_MIN, INT16_MAX, &zero) ||
        !get_flag(from, "act_order", &l->act_order) ||
        !get_flag(from, "per_token", &l->per_token) || !get_dtype(from, &l->dtype) ||
        !shoal_dtype_is_float(l->dtype))
        return false;
    l->kind = (shoal_weight_kind)kind;
    l->bits = (int)bits;
    l->zero_const = (int16_t)zero;
    return l->kind != SHOAL_WEIGHT_FLOAT || !(l->has_zeros || l->has_mins || l->act_order);
}

/* [rows, ...]: bytes of the whole, and of a row. */
static bool read_shape(const json_t *from, shoal_tensor *t)
{
    const json_t *shape = json_object_get(from, "shape");
    t->rank = (int)json_array_size(shape);
    t->bytes = shoal_dtype_bytes(t->dtype);
    if (t->rank < 1 || t->rank > SHOAL_TENSOR_RANK_MAX)
        return false;
    for (int d = 0; d < t->rank; d++) {
        const json_t *value = json_array_get(shape, (size_t)d);
        t->shape[d] = json_integer_value(value);
        if (!json_is_integer(value) || t->shape[d] < 0 ||
            !shoal_mul_u64(t->bytes, (uint64_t)t->shape[d], &t->bytes))
            return false;
    }
    return true;
}

static bool read_packed(shoal_pack_file *p, const json_t *from, shoal_tensor *t,
                        shoal_status *status)
{
    void *block;
    uint64_t bytes;
    *status = shoal_arena_alloc(p->arena, sizeof(shoal_pack_linear), &block);
    if (*status != SHOAL_OK)
        return false;
    shoal_pack_linear *l = block;
    t->packed = l;
    return read_linear(from, l) && shoal_pack_measure(l, &t->run_bytes, &bytes) &&
           t->bytes == bytes;
}

/* One tensor that begins at `at`, whose first digest is `digest`; *runs becomes how many it has. */
static shoal_status read_tensor(shoal_pack_file *p, const json_t *from, uint64_t at,
                                uint64_t digest, shoal_tensor *t, uint64_t *runs)
{
    shoal_status st = SHOAL_OK;
    const json_t *linear = json_object_get(from, "linear");
    t->name = json_string_value(json_object_get(from, "name"));
    bool good = t->name && strlen(t->name) < SHOAL_TENSOR_NAME_MAX && get_dtype(from, &t->dtype) &&
                read_shape(from, t);
    if (good && linear)
        good = read_packed(p, linear, t, &st);
    else if (good)
        good = get_bytes(from, "run", &t->run_bytes);
    SHOAL_TRY(st);
    if (!good || t->run_bytes == 0 || !shoal_range_inside(at, t->bytes, p->file_bytes))
        return shoal_fail(SHOAL_ERR_DATA, "%s: damaged pack file: tensor %s is not described",
                          p->path, t->name ? t->name : "without a name");
    *runs = t->bytes / t->run_bytes + (t->bytes % t->run_bytes != 0);
    if (!shoal_range_inside(digest, *runs, p->digest_count))
        return bad(p, "it has too few digests");
    t->offset = at;
    t->digests = p->digests + digest * SHOAL_XXH128_BYTES;
    return SHOAL_OK;
}

static shoal_status read_tensors(shoal_pack_file *p)
{
    void *block;
    const json_t *tensors = json_object_get(p->root, "tensors");
    const size_t count = json_array_size(tensors);
    uint64_t at = SHOAL_PACK_PREAMBLE + p->head_bytes, digest = 0, runs = 0;
    if (count == 0 || count > SHOAL_TENSORS_MAX)
        return bad(p, "it has no tensors, or too many");
    SHOAL_TRY(shoal_arena_array(p->arena, count, sizeof *p->tensors, &block));
    p->tensors = block;
    for (size_t i = 0; i < count; i++) {
        SHOAL_TRY(read_tensor(p, json_array_get(tensors, i), at, digest, &p->tensors[i], &runs));
        at += p->tensors[i].bytes;
        digest += runs;
    }
    p->tensor_count = count;
    if (at != p->file_bytes)
        return shoal_fail(SHOAL_ERR_DATA, "%s: damaged pack file: %llu bytes instead of %llu",
                          p->path, (unsigned long long)p->file_bytes, (unsigned long long)at);
    return digest == p->digest_count ? SHOAL_OK : bad(p, "it has digests of nothing");
}

shoal_status shoal_pack_list(const shoal_pack_file *p, int file, shoal_tensor_list *list)
{
    void *items = list->items;
    const size_t count = list->count + p->tensor_count;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *list->items, &items));
    list->items = items;
    list->room = count;
    for (size_t i = 0; i < p->tensor_count; i++) {
        list->items[list->count] = p->tensors[i];
        list->items[list->count++].file = file;
    }
    return SHOAL_OK;
}

/* ---- opening ---- */

static shoal_status read_all(shoal_pack_file *p, const shoal_regular_file *file)
{
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &p->arena));
    SHOAL_TRY(read_header(p, file));
    SHOAL_TRY(read_digests(p, file));
    SHOAL_TRY(read_texts(p, file));
    settle_head(p);
    return read_tensors(p);
}

shoal_status shoal_pack_open(const shoal_regular_file *file, const char *path,
                             shoal_pack_file **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(shoal_pack_file), &block));
    shoal_pack_file *p = block;
    p->path = path;
    p->file_bytes = file->bytes;
    const shoal_status st = read_all(p, file);
    if (st == SHOAL_OK)
        *out = p;
    else
        shoal_pack_close(p);
    return st;
}

void shoal_pack_close(shoal_pack_file *p)
{
    if (!p)
        return;
    json_decref(p->root);
    shoal_arena_destroy(p->arena);
    shoal_free(p->head);
    shoal_free(p);
}

const char *shoal_pack_text(const shoal_pack_file *p, const char *name, uint64_t *bytes)
{
    for (size_t i = 0; i < p->text_count; i++) {
        if (strcmp(p->texts[i].name, name) != 0)
            continue;
        *bytes = p->texts[i].bytes;
        return p->texts[i].data;
    }
    return NULL;
}

static shoal_status copy_text(const shoal_pack_file *p, const char *name, uint64_t most,
                              char **text, uint64_t *bytes)
{
    uint64_t there = 0;
    void *block;
    const char *data = shoal_pack_text(p, name, &there);
    if (!data)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s has no %s", p->path, name);
    if (there > most)
        return shoal_fail(SHOAL_ERR_DATA, "%s in %s: %llu bytes (limit %llu)", name, p->path,
                          (unsigned long long)there, (unsigned long long)most);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, there + 1, &block));
    memcpy(block, data, there);
    *text = block;
    *bytes = there;
    return SHOAL_OK;
}

shoal_status shoal_pack_read_text(const char *path, const char *name, uint64_t most, char **text,
                                  uint64_t *bytes)
{
    shoal_regular_file file;
    shoal_pack_file *pack = NULL;
    SHOAL_TRY(shoal_regular_open(path, &file));
    shoal_status st = shoal_pack_open(&file, path, &pack);
    if (st == SHOAL_OK)
        st = copy_text(pack, name, most, text, bytes);
    shoal_pack_close(pack);
    shoal_regular_close(&file);
    return st;
}

#include "shard/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/json_scan.h"
#include "shard/quoted.h"

/* "__metadata__" is a handful of strings in every known file. */
#define METADATA_MAX 65536

typedef struct {
    const char *where;
    shoal_json_scan scan;
    uint64_t data_begin, data_bytes; /* of the file's data part */
    int file;
    shoal_tensor_list *list;
    size_t first, first_metadata; /* of this file in the list */
} parser;

void shoal_tensor_list_free(shoal_tensor_list *list)
{
    shoal_free(list->items);
    shoal_free(list->metadata);
    *list = (shoal_tensor_list){0};
}

shoal_status shoal_tensor_list_add(shoal_tensor_list *list, const shoal_tensor *tensor)
{
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 256;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *list->items,
                                      (void **)&list->items));
        list->room = room;
    }
    list->items[list->count++] = *tensor;
    return SHOAL_OK;
}

/* ---- the length of the header ---- */

/* What people mistake for a safetensors file. */
static const char *other_kind(const uint8_t *prefix)
{
    static const struct {
        const char *magic, *says;
    } kinds[] = {
        {"GGUF", "a GGUF file; not supported by this version"},
        {"PK\3\4", "a PyTorch (zip) file under the name of a safetensors file"},
        {"version ", "a Git LFS pointer; the file itself was not fetched"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (memcmp(prefix, kinds[i].magic, strlen(kinds[i].magic)) == 0)
            return kinds[i].says;
    return NULL;
}

shoal_status shoal_safetensors_header_bytes(const char *where, const uint8_t *prefix,
                                            uint64_t file_bytes, uint64_t *out)
{
    if (file_bytes < SHOAL_SAFETENSORS_PREFIX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a file of %llu bytes; safetensors have at least 8",
                          where, (unsigned long long)file_bytes);
    const char *other = other_kind(prefix);
    if (other)
        return shoal_fail(SHOAL_ERR_DATA, "%s is %s", where, other);
    const uint64_t bytes = shoal_load_le64(prefix);
    if (bytes > SHOAL_SAFETENSORS_HEADER_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: a header of %llu bytes in a file of %llu; the "
                          "limit is %u",
                          where, (unsigned long long)bytes, (unsigned long long)file_bytes,
                          SHOAL_SAFETENSORS_HEADER_MAX);
    if (bytes > file_bytes - SHOAL_SAFETENSORS_PREFIX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: a header of %llu bytes in a file of %llu; the file is cut off",
                          where, (unsigned long long)bytes, (unsigned long long)file_bytes);
    if (bytes < 2)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a header of %llu bytes in a file of %llu", where,
                          (unsigned long long)bytes, (unsigned long long)file_bytes);
    *out = bytes;
    return SHOAL_OK;
}

/* ---- one tensor ---- */

/* What the cursor found, said of the whole header or of one tensor (`name` NULL or not). */
static shoal_status scan_failed(const parser *p, const char *name)
{
    if (name)
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: %s at byte %zu of the header",
                          p->where, name, p->scan.fault, p->scan.at);
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s at byte %zu of the header", p->where, p->scan.fault,
                      p->scan.at);
}

static shoal_status tensor_fault(const parser *p, const char *name, const char *what)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: %s", p->where, name, what);
}

static shoal_status check_name(const parser *p, const char *name)
{
    const size_t length = strlen(name);
    if (length > SHOAL_TENSOR_NAME_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: a tensor name of %zu bytes at byte %zu of the header; the limit is "
                          "%d",
                          p->where, length, p->scan.at, SHOAL_TENSOR_NAME_MAX);
    if (length == 0 || shoal_has_control(name))
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s at byte %zu of the header", p->where,
                          length ? "a control character in a tensor name" : "an empty tensor name",
                          p->scan.at);
    return SHOAL_OK;
}

static shoal_status read_dtype(parser *p, shoal_tensor *t)
{
    char *text, quoted[SHOAL_QUOTED_ROOM];
    if (!shoal_json_scan_string(&p->scan, &text))
        return scan_failed(p, t->name);
    if (!shoal_dtype_parse(text, &t->dtype))
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s has the unknown dtype '%s'", p->where,
                          t->name, shoal_quoted(text, quoted, sizeof quoted));
    return SHOAL_OK;
}

static shoal_status read_shape(parser *p, shoal_tensor *t)
{
    bool more = true;
    if (!shoal_json_scan_take(&p->scan, '['))
        return scan_failed(p, t->name);
    if (shoal_json_scan_peek(&p->scan) == ']') {
        p->scan.at++;
        return SHOAL_OK;
    }
    while (more) {
        uint64_t size;
        if (!shoal_json_scan_u64(&p->scan, &size))
            return scan_failed(p, t->name);
        if (t->rank == SHOAL_TENSOR_RANK_MAX)
            return tensor_fault(p, t->name, "more than 8 dimensions in its shape");
        if (size > INT64_MAX)
            return tensor_fault(p, t->name, "a dimension over 2^63-1 in its shape");
        t->shape[t->rank++] = (int64_t)size;
        if (!shoal_json_scan_more(&p->scan, ']', &more))
            return scan_failed(p, t->name);
    }
    return SHOAL_OK;
}

/* Begin and end, counted from the first byte after the header. */
static shoal_status read_offsets(parser *p, shoal_tensor *t)
{
    uint64_t begin, end;
    if (!shoal_json_scan_take(&p->scan, '[') || !shoal_json_scan_u64(&p->scan, &begin) ||
        !shoal_json_scan_take(&p->scan, ',') || !shoal_json_scan_u64(&p->scan, &end) ||
        !shoal_json_scan_take(&p->scan, ']'))
        return scan_failed(p, t->name);
    if (begin > end)
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s begins at %llu and ends at %llu",
                          p->where, t->name, (unsigned long long)begin, (unsigned long long)end);
    if (end > p->data_bytes)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: tensor %.200s ends at byte %llu of the data, but there are only "
                          "%llu; the file is cut off or its header is wrong",
                          p->where, t->name, (unsigned long long)end,
                          (unsigned long long)p->data_bytes);
    t->offset = p->data_begin + begin;
    t->bytes = end - begin;
    return SHOAL_OK;
}

static shoal_status check_size(const parser *p, const shoal_tensor *t)
{
    uint64_t bits = shoal_dtype_bits(t->dtype);
    for (int i = 0; i < t->rank; i++)
        if (!shoal_mul_u64(bits, (uint64_t)t->shape[i], &bits))
            return tensor_fault(p, t->name, "its shape overflows 64 bits");
    if (bits % 8 != 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: %llu bits are no whole bytes",
                          p->where, t->name, (unsigned long long)bits);
    if (bits / 8 != t->bytes)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: tensor %.200s has %llu bytes; its shape as %s needs %llu", p->where,
                          t->name, (unsigned long long)t->bytes, shoal_dtype_name(t->dtype),
                          (unsigned long long)(bits / 8));
    return SHOAL_OK;
}

enum { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };
static const char *const field_names[FIELD_COUNT] = {"dtype", "shape", "data_offsets"};

static shoal_status read_field(parser *p, shoal_tensor *t, bool seen[FIELD_COUNT])
{
    static shoal_status (*const readers[FIELD_COUNT])(parser *, shoal_tensor *) = {
        read_dtype, read_shape, read_offsets};
    char *key;
    if (!shoal_json_scan_string(&p->scan, &key) || !shoal_json_scan_take(&p->scan, ':'))
        return scan_failed(p, t->name);
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(key, field_names[i]) != 0)
            continue;
        if (seen[i])
            return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s says %s twice", p->where, t->name,
                              field_names[i]);
        seen[i] = true;
        return readers[i](p, t);
    }
    if (!shoal_json_scan_skip(&p->scan, 2)) /* a field of some later version */
        return scan_failed(p, t->name);
    return SHOAL_OK;
}

static shoal_status read_tensor(parser *p, const char *name)
{
    shoal_tensor t = {.name = name, .file = p->file};
    bool seen[FIELD_COUNT] = {false}, more = true;
    SHOAL_TRY(check_name(p, name));
    if (p->list->count - p->first >= SHOAL_TENSORS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d tensors", p->where, SHOAL_TENSORS_MAX);
    if (!shoal_json_scan_take(&p->scan, '{'))
        return scan_failed(p, name);
    if (shoal_json_scan_peek(&p->scan) == '}') {
        p->scan.at++;
        more = false;
    }
    while (more) {
        SHOAL_TRY(read_field(p, &t, seen));
        if (!shoal_json_scan_more(&p->scan, '}', &more))
            return scan_failed(p, name);
    }
    for (int i = 0; i < FIELD_COUNT; i++)
        if (!seen[i])
            return shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s has no %s", p->where, name,
                              field_names[i]);
    SHOAL_TRY(check_size(p, &t));
    return shoal_tensor_list_add(p->list, &t);
}

/* ---- metadata ---- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const shoal_metadata_entry *)a)->key, ((const shoal_metadata_entry *)b)->key);
}

static shoal_status check_keys(const parser *p, shoal_metadata_entry *pairs, size_t count)
{
    char quoted[SHOAL_QUOTED_ROOM];
    qsort(pairs, count, sizeof *pairs, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (strcmp(pairs[i - 1].key, pairs[i].key) == 0)
            return shoal_fail(SHOAL_ERR_DATA, "%s: __metadata__ says '%s' twice", p->where,
                              shoal_quoted(pairs[i].key, quoted, sizeof quoted));
    return SHOAL_OK;
}

/* Append the pairs to the list's. */
static shoal_status read_pairs(parser *p)
{
    shoal_tensor_list *list = p->list;
    bool more = true;
    while (more) {
        char *key, *value;
        if (list->metadata_count - p->first_metadata == METADATA_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d entries in __metadata__", p->where,
                              METADATA_MAX);
        if (list->metadata_count == list->metadata_room) {
            const size_t room = list->metadata_room ? 4 * list->metadata_room : 16;
            SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *list->metadata,
                                          (void **)&list->metadata));
            list->metadata_room = room;
        }
        if (!shoal_json_scan_string(&p->scan, &key) || !shoal_json_scan_take(&p->scan, ':') ||
            !shoal_json_scan_string(&p->scan, &value) ||
            !shoal_json_scan_more(&p->scan, '}', &more))
            return scan_failed(p, "__metadata__");
        list->metadata[list->metadata_count++] = (shoal_metadata_entry){key, value};
    }
    return SHOAL_OK;
}

/* Strings by name. Two readers must not see two different files. */
static shoal_status read_metadata(parser *p)
{
    if (shoal_json_scan_peek(&p->scan) == 'n') { /* null, as some writers have it */
        if (!shoal_json_scan_skip(&p->scan, 1))
            return scan_failed(p, "__metadata__");
        return SHOAL_OK;
    }
    if (!shoal_json_scan_take(&p->scan, '{'))
        return scan_failed(p, "__metadata__");
    if (shoal_json_scan_peek(&p->scan) == '}') {
        p->scan.at++;
        return SHOAL_OK;
    }
    SHOAL_TRY(read_pairs(p));
    return check_keys(p, p->list->metadata + p->first_metadata,
                      p->list->metadata_count - p->first_metadata);
}

/* ---- all tensors together ---- */

static int compare_places(const void *a, const void *b)
{
    const shoal_tensor *x = *(shoal_tensor *const *)a, *y = *(shoal_tensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(shoal_tensor *const *)a)->name, (*(shoal_tensor *const *)b)->name);
}

/* In the order of their places each tensor begins where the one before ended. */
static shoal_status check_places(const parser *p, shoal_tensor *const *sorted, size_t count)
{
    uint64_t end = p->data_begin;
    for (size_t i = 0; i < count; i++) {
        const shoal_tensor *t = sorted[i];
        const char *before = i ? sorted[i - 1]->name : "the header";
        if (t->offset < end)
            return shoal_fail(SHOAL_ERR_DATA, "%s: tensors %.200s and %.200s overlap", p->where,
                              before, t->name);
        if (t->offset > end)
            return shoal_fail(SHOAL_ERR_DATA, "%s: a hole of %llu bytes between %.200s and %.200s",
                              p->where, (unsigned long long)(t->offset - end), before, t->name);
        end = t->offset + t->bytes;
    }
    const uint64_t file_end = p->data_begin + p->data_bytes;
    if (end != file_end)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %llu bytes after the last tensor (%.200s)", p->where,
                          (unsigned long long)(file_end - end),
                          count ? sorted[count - 1]->name : "there is none");
    return SHOAL_OK;
}

static shoal_status check_together(const parser *p)
{
    const size_t count = p->list->count - p->first;
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count + 1, sizeof(shoal_tensor *), &block));
    shoal_tensor **sorted = block;
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &p->list->items[p->first + i];
    qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            st = shoal_fail(SHOAL_ERR_DATA, "%s: two tensors are called %.200s", p->where,
                            sorted[i]->name);
            goto done;
        }
    qsort(sorted, count, sizeof *sorted, compare_places);
    st = check_places(p, sorted, count);
done:
    shoal_free(block);
    return st;
}

/* ---- the header ---- */

static shoal_status read_member(parser *p, bool *metadata_seen)
{
    char *name;
    if (!shoal_json_scan_string(&p->scan, &name) || !shoal_json_scan_take(&p->scan, ':'))
        return scan_failed(p, NULL);
    if (strcmp(name, "__metadata__") != 0)
        return read_tensor(p, name);
    if (*metadata_seen)
        return shoal_fail(SHOAL_ERR_DATA, "%s: __metadata__ stands there twice", p->where);
    *metadata_seen = true;
    return read_metadata(p);
}

static shoal_status read_header(parser *p)
{
    bool more = true, metadata_seen = false;
    shoal_json_scan *scan = &p->scan;
    if (scan->text[0] != '{')
        return shoal_fail(SHOAL_ERR_DATA, "%s: the header does not begin with '{'", p->where);
    if (!shoal_json_scan_start(scan, scan->text, scan->bytes))
        return scan_failed(p, NULL);
    scan->at = 1;
    if (shoal_json_scan_peek(scan) == '}') {
        scan->at++;
        more = false;
    }
    while (more) {
        SHOAL_TRY(read_member(p, &metadata_seen));
        if (!shoal_json_scan_more(scan, '}', &more))
            return scan_failed(p, NULL);
    }
    for (; scan->at < scan->bytes; scan->at++)
        if (scan->text[scan->at] != ' ')
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: something else than spaces after the JSON, at byte %zu of the "
                              "header",
                              p->where, scan->at);
    return SHOAL_OK;
}

shoal_status shoal_safetensors_parse(const char *where, char *header, uint64_t header_bytes,
                                     uint64_t file_bytes, int file, shoal_tensor_list *list)
{
    parser p = {
        .where = where,
        .scan = {.text = header, .bytes = (size_t)header_bytes},
        .data_begin = SHOAL_SAFETENSORS_PREFIX + header_bytes,
        .data_bytes = file_bytes - SHOAL_SAFETENSORS_PREFIX - header_bytes,
        .file = file,
        .list = list,
        .first = list->count,
        .first_metadata = list->metadata_count,
    };
    shoal_status st = read_header(&p);
    if (st == SHOAL_OK)
        st = check_together(&p);
    if (st != SHOAL_OK) {
        list->count = p.first;
        list->metadata_count = p.first_metadata;
    }
    return st;
}

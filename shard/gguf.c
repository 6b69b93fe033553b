#include "shard/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "proto/dtype.h"
#include "shard/quoted.h"

#define HEADER_BYTES      24u /* magic, version and the two counts */
#define ENTRY_BYTES_MIN   13u /* empty key, type, a value of one byte */
#define TENSOR_BYTES_MIN  24u /* empty name, rank 0, type, offset */
#define ALIGNMENT_DEFAULT 32
#define ARRAY_NEST_MAX    4

struct shoal_gguf {
    shoal_gguf_entry *entries; /* by key */
    size_t entry_count;
    shoal_gguf_tensor *tensors; /* by name */
    size_t tensor_count;
};

/* The bytes that are not read yet: those at hand, and those of the file. */
typedef struct {
    const unsigned char *data;
    uint64_t at, bytes, file_bytes;
} cursor;

/* ---- tables ---- */

/* Bytes of a value; 0: it says itself. */
static const unsigned char type_bytes[SHOAL_GGUF_TYPES] = {
    [SHOAL_GGUF_U8] = 1,  [SHOAL_GGUF_I8] = 1,  [SHOAL_GGUF_U16] = 2, [SHOAL_GGUF_I16] = 2,
    [SHOAL_GGUF_U32] = 4, [SHOAL_GGUF_I32] = 4, [SHOAL_GGUF_F32] = 4, [SHOAL_GGUF_BOOL] = 1,
    [SHOAL_GGUF_U64] = 8, [SHOAL_GGUF_I64] = 8, [SHOAL_GGUF_F64] = 8,
};

static const struct {
    uint16_t elements, bytes; /* of a block */
    const char *name;
} layouts[] = {
    [0] = {1, 4, "F32"},         [1] = {1, 2, "F16"},         [2] = {32, 18, "Q4_0"},
    [3] = {32, 20, "Q4_1"},      [6] = {32, 22, "Q5_0"},      [7] = {32, 24, "Q5_1"},
    [8] = {32, 34, "Q8_0"},      [9] = {32, 40, "Q8_1"},      [10] = {256, 84, "Q2_K"},
    [11] = {256, 110, "Q3_K"},   [12] = {256, 144, "Q4_K"},   [13] = {256, 176, "Q5_K"},
    [14] = {256, 210, "Q6_K"},   [15] = {256, 292, "Q8_K"},   [16] = {256, 66, "IQ2_XXS"},
    [17] = {256, 74, "IQ2_XS"},  [18] = {256, 98, "IQ3_XXS"}, [19] = {256, 50, "IQ1_S"},
    [20] = {32, 18, "IQ4_NL"},   [21] = {256, 110, "IQ3_S"},  [22] = {256, 82, "IQ2_S"},
    [23] = {256, 136, "IQ4_XS"}, [24] = {1, 1, "I8"},         [25] = {1, 2, "I16"},
    [26] = {1, 4, "I32"},        [27] = {1, 8, "I64"},        [28] = {1, 8, "F64"},
    [29] = {256, 56, "IQ1_M"},   [30] = {1, 2, "BF16"},       [34] = {256, 54, "TQ1_0"},
    [35] = {256, 66, "TQ2_0"},   [39] = {32, 17, "MXFP4"},    [40] = {64, 36, "NVFP4"},
    [41] = {128, 18, "Q1_0"},
};

bool shoal_gguf_type_layout(uint32_t type, uint32_t *elements, uint32_t *bytes, const char **name)
{
    if (type >= sizeof layouts / sizeof layouts[0] || !layouts[type].name)
        return false;
    *elements = layouts[type].elements;
    *bytes = layouts[type].bytes;
    *name = layouts[type].name;
    return true;
}

/* ---- reading ---- */

static shoal_status take(cursor *c, uint64_t bytes, const unsigned char **out)
{
    if (!shoal_range_inside(c->at, bytes, c->file_bytes))
        return shoal_fail(SHOAL_ERR_DATA,
                          "the header ends at byte %llu, inside a value that "
                          "begins at %llu",
                          (unsigned long long)c->file_bytes, (unsigned long long)c->at);
    if (!shoal_range_inside(c->at, bytes, c->bytes))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "the header goes on behind byte %llu",
                          (unsigned long long)c->bytes);
    *out = c->data + c->at;
    c->at += bytes;
    return SHOAL_OK;
}

static shoal_status take_u32(cursor *c, uint32_t *out)
{
    const unsigned char *data = NULL;
    SHOAL_TRY(take(c, 4, &data));
    *out = shoal_load_le32(data);
    return SHOAL_OK;
}

static shoal_status take_u64(cursor *c, uint64_t *out)
{
    const unsigned char *data = NULL;
    SHOAL_TRY(take(c, 8, &data));
    *out = shoal_load_le64(data);
    return SHOAL_OK;
}

static shoal_status take_text(cursor *c, shoal_gguf_text *out)
{
    const unsigned char *data = NULL;
    uint64_t bytes = 0;
    SHOAL_TRY(take_u64(c, &bytes));
    SHOAL_TRY(take(c, bytes, &data));
    *out = (shoal_gguf_text){(const char *)data, bytes};
    return SHOAL_OK;
}

static shoal_status take_type(cursor *c, shoal_gguf_type *out)
{
    uint32_t type = 0;
    SHOAL_TRY(take_u32(c, &type));
    if (type >= SHOAL_GGUF_TYPES)
        return shoal_fail(SHOAL_ERR_DATA, "the value at byte %llu has the unknown type %u",
                          (unsigned long long)c->at - 4, type);
    *out = (shoal_gguf_type)type;
    return SHOAL_OK;
}

/* ---- metadata ---- */

static shoal_status skip_values(cursor *c, shoal_gguf_type type, uint64_t count, int nest);

static shoal_status skip_array(cursor *c, int nest)
{
    shoal_gguf_type type = SHOAL_GGUF_U8;
    uint64_t count = 0;
    if (nest == ARRAY_NEST_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "arrays nested more than %d deep at byte %llu",
                          ARRAY_NEST_MAX, (unsigned long long)c->at);
    SHOAL_TRY(take_type(c, &type));
    SHOAL_TRY(take_u64(c, &count));
    return skip_values(c, type, count, nest + 1);
}

/* A value that says its own size takes at least 8 bytes, so that a count cannot make us spin. */
static shoal_status skip_values(cursor *c, shoal_gguf_type type, uint64_t count, int nest)
{
    const unsigned char *data;
    shoal_gguf_text text;
    uint64_t bytes;
    if (type_bytes[type]) {
        if (!shoal_mul_u64(count, type_bytes[type], &bytes))
            bytes = UINT64_MAX;
        return take(c, bytes, &data);
    }
    for (uint64_t i = 0; i < count; i++)
        SHOAL_TRY(type == SHOAL_GGUF_STRING ? take_text(c, &text) : skip_array(c, nest));
    return SHOAL_OK;
}

static shoal_status read_entry(cursor *c, shoal_gguf_entry *e)
{
    SHOAL_TRY(take_text(c, &e->key));
    if (e->key.bytes > SHOAL_GGUF_KEY_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a key of %llu bytes (limit %u)",
                          (unsigned long long)e->key.bytes, SHOAL_GGUF_KEY_MAX);
    SHOAL_TRY(take_type(c, &e->type));
    e->count = 1;
    e->array = e->type == SHOAL_GGUF_ARRAY;
    if (e->array) {
        SHOAL_TRY(take_type(c, &e->type));
        SHOAL_TRY(take_u64(c, &e->count));
    }
    e->data = c->data + c->at;
    const uint64_t begin = c->at;
    SHOAL_TRY(skip_values(c, e->type, e->count, 1));
    e->bytes = c->at - begin;
    return SHOAL_OK;
}

/* A text of the file for a sentence. */
static const char *quoted(const shoal_gguf_text *text, char room[SHOAL_QUOTED_ROOM])
{
    char copy[SHOAL_QUOTED_ROOM + 1] = "";
    memcpy(copy, text->data, text->bytes < sizeof copy ? text->bytes : sizeof copy - 1);
    return shoal_quoted(copy, room, SHOAL_QUOTED_ROOM);
}

static int compare_texts(const shoal_gguf_text *a, const shoal_gguf_text *b)
{
    const uint64_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->data, b->data, common);
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_texts(&((const shoal_gguf_entry *)a)->key, &((const shoal_gguf_entry *)b)->key);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_texts(&((const shoal_gguf_tensor *)a)->name,
                         &((const shoal_gguf_tensor *)b)->name);
}

/* Is the count one that the rest of the file can hold? */
static shoal_status check_count(const cursor *c, uint64_t count, uint64_t most, uint64_t each,
                                const char *what)
{
    if (count > most || count > (c->file_bytes - c->at) / each)
        return shoal_fail(SHOAL_ERR_DATA, "%llu %s in a file of %llu bytes (limit %llu)",
                          (unsigned long long)count, what, (unsigned long long)c->file_bytes,
                          (unsigned long long)most);
    return SHOAL_OK;
}

static shoal_status read_entries(shoal_gguf *g, cursor *c, uint64_t count)
{
    char room[SHOAL_QUOTED_ROOM];
    void *block;
    SHOAL_TRY(check_count(c, count, SHOAL_GGUF_ENTRIES_MAX, ENTRY_BYTES_MIN, "entries"));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *g->entries, &block));
    g->entries = block;
    for (; g->entry_count < count; g->entry_count++)
        SHOAL_TRY(read_entry(c, &g->entries[g->entry_count]));
    qsort(g->entries, g->entry_count, sizeof *g->entries, compare_entries);
    for (size_t i = 1; i < g->entry_count; i++)
        if (compare_entries(&g->entries[i - 1], &g->entries[i]) == 0)
            return shoal_fail(SHOAL_ERR_DATA, "the key %s is there twice",
                              quoted(&g->entries[i].key, room));
    return SHOAL_OK;
}

/* ---- tensors ---- */

static shoal_status tensor_fault(const shoal_gguf_tensor *t, const char *what)
{
    char room[SHOAL_QUOTED_ROOM];
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s: %s", quoted(&t->name, room), what);
}

/* Bytes of whole blocks along the innermost dimension, times the others. */
static shoal_status count_bytes(shoal_gguf_tensor *t)
{
    uint32_t elements, bytes;
    const char *name;
    if (!shoal_gguf_type_layout(t->type, &elements, &bytes, &name))
        return tensor_fault(t, "its type is unknown");
    const uint64_t inner = t->rank ? t->dims[0] : 1;
    if (inner % elements)
        return tensor_fault(t, "its rows are no whole number of blocks");
    bool fits = shoal_mul_u64(inner / elements, bytes, &t->bytes);
    for (uint32_t i = 1; i < t->rank; i++)
        fits = fits && shoal_mul_u64(t->bytes, t->dims[i], &t->bytes);
    return fits ? SHOAL_OK : tensor_fault(t, "its size is no number of 64 bits");
}

static shoal_status read_tensor(cursor *c, shoal_gguf_tensor *t)
{
    SHOAL_TRY(take_text(c, &t->name));
    if (t->name.bytes == 0 || t->name.bytes > SHOAL_GGUF_NAME_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a tensor's name of %llu bytes (limit %u)",
                          (unsigned long long)t->name.bytes, SHOAL_GGUF_NAME_MAX);
    SHOAL_TRY(take_u32(c, &t->rank));
    if (t->rank > SHOAL_GGUF_RANK_MAX)
        return tensor_fault(t, "it has more than 8 dimensions");
    for (uint32_t i = 0; i < t->rank; i++)
        SHOAL_TRY(take_u64(c, &t->dims[i]));
    SHOAL_TRY(take_u32(c, &t->type));
    SHOAL_TRY(take_u64(c, &t->offset));
    return count_bytes(t);
}

static shoal_status read_alignment(const shoal_gguf *g, uint64_t *out)
{
    int64_t alignment = ALIGNMENT_DEFAULT;
    SHOAL_TRY(shoal_gguf_integer(g, "general.alignment", &alignment));
    if (alignment < 1 || alignment > SHOAL_GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return shoal_fail(SHOAL_ERR_DATA, "general.alignment is %lld, no power of two up to %u",
                          (long long)alignment, SHOAL_GGUF_ALIGNMENT_MAX);
    *out = (uint64_t)alignment;
    return SHOAL_OK;
}

static int compare_places(const void *a, const void *b)
{
    const shoal_gguf_tensor *x = *(shoal_gguf_tensor *const *)a,
                            *y = *(shoal_gguf_tensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* No byte belongs to two tensors; those between them belong to none. */
static shoal_status check_overlap(const shoal_gguf *g)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, g->tensor_count, sizeof g->tensors, &block));
    const shoal_gguf_tensor **sorted = block;
    for (size_t i = 0; i < g->tensor_count; i++)
        sorted[i] = &g->tensors[i];
    if (g->tensor_count)
        qsort(sorted, g->tensor_count, sizeof *sorted, compare_places);
    for (size_t i = 1; i < g->tensor_count && st == SHOAL_OK; i++)
        if (sorted[i]->offset - sorted[i - 1]->offset < sorted[i - 1]->bytes)
            st = tensor_fault(sorted[i], "it overlaps another tensor");
    shoal_free(block);
    return st;
}

/* Offsets in the file count from the data, which begins at the next multiple of the alignment. */
static shoal_status place_tensors(shoal_gguf *g, const cursor *c)
{
    uint64_t alignment = 1, begin;
    SHOAL_TRY(read_alignment(g, &alignment));
    if (!shoal_pad_u64(c->at, alignment, &begin))
        return shoal_fail(SHOAL_ERR_DATA, "a header of %llu bytes", (unsigned long long)c->at);
    for (size_t i = 0; i < g->tensor_count; i++) {
        shoal_gguf_tensor *t = &g->tensors[i];
        if (t->offset % alignment)
            return tensor_fault(t, "its offset is not aligned");
        if (!shoal_add_u64(t->offset, begin, &t->offset) ||
            !shoal_range_inside(t->offset, t->bytes, c->file_bytes))
            return tensor_fault(t, "it lies outside the file, which is cut off or wrong");
    }
    return check_overlap(g);
}

static shoal_status read_tensors(shoal_gguf *g, cursor *c, uint64_t count)
{
    void *block;
    SHOAL_TRY(check_count(c, count, SHOAL_GGUF_TENSORS_MAX, TENSOR_BYTES_MIN, "tensors"));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *g->tensors, &block));
    g->tensors = block;
    for (; g->tensor_count < count; g->tensor_count++)
        SHOAL_TRY(read_tensor(c, &g->tensors[g->tensor_count]));
    qsort(g->tensors, g->tensor_count, sizeof *g->tensors, compare_tensors);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (compare_tensors(&g->tensors[i - 1], &g->tensors[i]) == 0)
            return tensor_fault(&g->tensors[i], "it is there twice");
    return SHOAL_OK;
}

/* ---- the file ---- */

static shoal_status read_file(shoal_gguf *g, cursor *c)
{
    const unsigned char *magic;
    uint32_t version = 0;
    uint64_t tensors = 0, entries = 0;
    if (c->bytes < HEADER_BYTES || memcmp(c->data, "GGUF", 4) != 0)
        return shoal_fail(SHOAL_ERR_DATA, "not a GGUF file");
    SHOAL_TRY(take(c, 4, &magic));
    SHOAL_TRY(take_u32(c, &version));
    if (version != 2 && version != 3)
        return shoal_fail(SHOAL_ERR_DATA, "GGUF version %u is unsupported (2 and 3 are)%s", version,
                          version && !(version & 0xFFFF) ? "; the file is big-endian" : "");
    SHOAL_TRY(take_u64(c, &tensors));
    SHOAL_TRY(take_u64(c, &entries));
    SHOAL_TRY(read_entries(g, c, entries));
    SHOAL_TRY(read_tensors(g, c, tensors));
    return place_tensors(g, c);
}

shoal_status shoal_gguf_parse(const void *data, uint64_t bytes, uint64_t file_bytes,
                              shoal_gguf **out)
{
    void *block;
    cursor c = {data, 0, bytes, file_bytes};
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof(shoal_gguf), &block));
    const shoal_status st = read_file(block, &c);
    if (st == SHOAL_OK)
        *out = block;
    else
        shoal_gguf_free(block);
    return st;
}

void shoal_gguf_free(shoal_gguf *gguf)
{
    if (!gguf)
        return;
    shoal_free(gguf->tensors);
    shoal_free(gguf->entries);
    shoal_free(gguf);
}

/* ---- looking up ---- */

size_t shoal_gguf_entries(const shoal_gguf *gguf)
{
    return gguf->entry_count;
}

const shoal_gguf_entry *shoal_gguf_entry_at(const shoal_gguf *gguf, size_t index)
{
    return &gguf->entries[index];
}

const shoal_gguf_entry *shoal_gguf_find(const shoal_gguf *gguf, const char *key)
{
    const shoal_gguf_entry wanted = {.key = {key, strlen(key)}};
    if (!gguf->entry_count)
        return NULL;
    return bsearch(&wanted, gguf->entries, gguf->entry_count, sizeof wanted, compare_entries);
}

static bool is_integer(shoal_gguf_type type)
{
    return type_bytes[type] && type != SHOAL_GGUF_BOOL && type != SHOAL_GGUF_F32 &&
           type != SHOAL_GGUF_F64;
}

static bool is_number(shoal_gguf_type type)
{
    return type_bytes[type] && type != SHOAL_GGUF_BOOL;
}

static shoal_status wrong_kind(const char *key, const char *wanted)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s is not %s", key, wanted);
}

/* The value of an integer type at these bytes; a U64 beyond the others wraps. */
static int64_t load_integer(shoal_gguf_type type, const unsigned char *at)
{
    switch (type) {
    case SHOAL_GGUF_U8: return at[0];
    case SHOAL_GGUF_I8: return (int8_t)at[0];
    case SHOAL_GGUF_U16: return shoal_load_le16(at);
    case SHOAL_GGUF_I16: return (int16_t)shoal_load_le16(at);
    case SHOAL_GGUF_U32: return shoal_load_le32(at);
    case SHOAL_GGUF_I32: return (int32_t)shoal_load_le32(at);
    default: return (int64_t)shoal_load_le64(at);
    }
}

double shoal_gguf_number_at(const shoal_gguf_entry *entry, uint64_t index)
{
    const unsigned char *at = entry->data + index * type_bytes[entry->type];
    if (entry->type == SHOAL_GGUF_F32)
        return shoal_f32_from_bits(shoal_load_le32(at));
    if (entry->type == SHOAL_GGUF_F64) {
        const uint64_t bits = shoal_load_le64(at);
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (entry->type == SHOAL_GGUF_U64)
        return (double)shoal_load_le64(at);
    return (double)load_integer(entry->type, at);
}

shoal_status shoal_gguf_integer(const shoal_gguf *gguf, const char *key, int64_t *out)
{
    const shoal_gguf_entry *e = shoal_gguf_find(gguf, key);
    if (!e)
        return SHOAL_OK;
    if (e->array || !is_integer(e->type) ||
        (e->type == SHOAL_GGUF_U64 && shoal_load_le64(e->data) > INT64_MAX))
        return wrong_kind(key, "an integer");
    *out = load_integer(e->type, e->data);
    return SHOAL_OK;
}

shoal_status shoal_gguf_repeated(const shoal_gguf *gguf, const char *key, int64_t *out)
{
    const shoal_gguf_entry *e = shoal_gguf_find(gguf, key);
    if (!e || !e->array)
        return shoal_gguf_integer(gguf, key, out);
    if (!is_integer(e->type) || e->count == 0)
        return wrong_kind(key, "an integer");
    const int64_t value = load_integer(e->type, e->data);
    for (uint64_t i = 1; i < e->count; i++)
        if (load_integer(e->type, e->data + i * type_bytes[e->type]) != value)
            return shoal_fail(SHOAL_ERR_DATA, "%s differs between layers, which is not read", key);
    *out = value;
    return SHOAL_OK;
}

shoal_status shoal_gguf_number(const shoal_gguf *gguf, const char *key, double *out)
{
    const shoal_gguf_entry *e = shoal_gguf_find(gguf, key);
    if (!e)
        return SHOAL_OK;
    if (e->array || !is_number(e->type))
        return wrong_kind(key, "a number");
    *out = shoal_gguf_number_at(e, 0);
    return SHOAL_OK;
}

shoal_status shoal_gguf_bool(const shoal_gguf *gguf, const char *key, bool *out)
{
    const shoal_gguf_entry *e = shoal_gguf_find(gguf, key);
    if (!e)
        return SHOAL_OK;
    if (e->array || e->type != SHOAL_GGUF_BOOL || e->data[0] > 1)
        return wrong_kind(key, "true or false");
    *out = e->data[0];
    return SHOAL_OK;
}

shoal_status shoal_gguf_string(const shoal_gguf *gguf, const char *key, shoal_gguf_text *out)
{
    const shoal_gguf_entry *e = shoal_gguf_find(gguf, key);
    uint64_t at = 0;
    if (!e)
        return SHOAL_OK;
    if (e->array || e->type != SHOAL_GGUF_STRING)
        return wrong_kind(key, "a string");
    *out = shoal_gguf_next_string(e, &at);
    return SHOAL_OK;
}

shoal_status shoal_gguf_strings(const shoal_gguf *gguf, const char *key,
                                const shoal_gguf_entry **out)
{
    *out = shoal_gguf_find(gguf, key);
    if (*out && (!(*out)->array || (*out)->type != SHOAL_GGUF_STRING))
        return wrong_kind(key, "an array of strings");
    return SHOAL_OK;
}

shoal_status shoal_gguf_numbers(const shoal_gguf *gguf, const char *key,
                                const shoal_gguf_entry **out)
{
    *out = shoal_gguf_find(gguf, key);
    if (*out && (!(*out)->array || !is_number((*out)->type)))
        return wrong_kind(key, "an array of numbers");
    return SHOAL_OK;
}

shoal_gguf_text shoal_gguf_next_string(const shoal_gguf_entry *entry, uint64_t *at)
{
    const uint64_t bytes = shoal_load_le64(entry->data + *at);
    const char *text = (const char *)entry->data + *at + 8;
    *at += 8 + bytes;
    return (shoal_gguf_text){text, bytes};
}

size_t shoal_gguf_tensors(const shoal_gguf *gguf)
{
    return gguf->tensor_count;
}

const shoal_gguf_tensor *shoal_gguf_tensor_at(const shoal_gguf *gguf, size_t index)
{
    return &gguf->tensors[index];
}

const shoal_gguf_tensor *shoal_gguf_tensor_find(const shoal_gguf *gguf, const char *name)
{
    const shoal_gguf_tensor wanted = {.name = {name, strlen(name)}};
    if (!gguf->tensor_count)
        return NULL;
    return bsearch(&wanted, gguf->tensors, gguf->tensor_count, sizeof wanted, compare_tensors);
}

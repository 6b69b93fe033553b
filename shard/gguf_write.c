#include "shard/gguf_write.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "proto/dtype.h"
#include "shard/gguf.h"

/* ---- bytes ---- */

static void append(shoal_gguf_builder *b, uint8_t **to, uint64_t *bytes, uint64_t *room,
                   const void *data, uint64_t count)
{
    if (b->status == SHOAL_OK && *bytes + count > *room) {
        void *block = *to;
        *room = 2 * (*bytes + count) + 4096;
        b->status = shoal_realloc_array(SHOAL_MEM_CHECKPOINT, *room, 1, &block);
        *to = block;
    }
    if (b->status != SHOAL_OK || count == 0)
        return;
    memcpy(*to + *bytes, data, count);
    *bytes += count;
}

static void entry(shoal_gguf_builder *b, const void *data, uint64_t count)
{
    append(b, &b->entries, &b->entry_bytes, &b->entry_room, data, count);
}

static void row(shoal_gguf_builder *b, const void *data, uint64_t count)
{
    append(b, &b->table, &b->table_bytes, &b->table_room, data, count);
}

typedef void (*appender)(shoal_gguf_builder *b, const void *data, uint64_t count);

static void u32_to(shoal_gguf_builder *b, appender to, uint32_t value)
{
    uint8_t bytes[4];
    shoal_store_le32(bytes, value);
    to(b, bytes, sizeof bytes);
}

static void u64_to(shoal_gguf_builder *b, appender to, uint64_t value)
{
    uint8_t bytes[8];
    shoal_store_le64(bytes, value);
    to(b, bytes, sizeof bytes);
}

static void text_to(shoal_gguf_builder *b, appender to, const char *text, size_t bytes)
{
    u64_to(b, to, bytes);
    to(b, text, bytes);
}

/* ---- entries ---- */

static void key_of(shoal_gguf_builder *b, const char *key, shoal_gguf_type type)
{
    text_to(b, entry, key, strlen(key));
    u32_to(b, entry, type);
    b->entry_count++;
}

void shoal_gguf_put_u32(shoal_gguf_builder *b, const char *key, uint32_t value)
{
    key_of(b, key, SHOAL_GGUF_U32);
    u32_to(b, entry, value);
}

void shoal_gguf_put_f32(shoal_gguf_builder *b, const char *key, float value)
{
    key_of(b, key, SHOAL_GGUF_F32);
    u32_to(b, entry, shoal_f32_bits(value));
}

void shoal_gguf_put_bool(shoal_gguf_builder *b, const char *key, bool value)
{
    const uint8_t byte = value;
    key_of(b, key, SHOAL_GGUF_BOOL);
    entry(b, &byte, 1);
}

void shoal_gguf_put_string(shoal_gguf_builder *b, const char *key, const char *text, size_t bytes)
{
    key_of(b, key, SHOAL_GGUF_STRING);
    text_to(b, entry, text, bytes);
}

static void array_of(shoal_gguf_builder *b, const char *key, shoal_gguf_type type, uint64_t count)
{
    key_of(b, key, SHOAL_GGUF_ARRAY);
    u32_to(b, entry, type);
    u64_to(b, entry, count);
}

void shoal_gguf_begin_strings(shoal_gguf_builder *b, const char *key, uint64_t count)
{
    array_of(b, key, SHOAL_GGUF_STRING, count);
}

void shoal_gguf_add_string(shoal_gguf_builder *b, const char *text, size_t bytes)
{
    text_to(b, entry, text, bytes);
}

void shoal_gguf_add_pair(shoal_gguf_builder *b, const char *left, const char *right)
{
    const size_t left_bytes = strlen(left), right_bytes = strlen(right);
    u64_to(b, entry, left_bytes + 1 + right_bytes);
    entry(b, left, left_bytes);
    entry(b, " ", 1);
    entry(b, right, right_bytes);
}

void shoal_gguf_put_i32s(shoal_gguf_builder *b, const char *key, const int32_t *values,
                         uint64_t count)
{
    array_of(b, key, SHOAL_GGUF_I32, count);
    for (uint64_t i = 0; i < count; i++)
        u32_to(b, entry, (uint32_t)values[i]);
}

/* ---- tensors ---- */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + SHOAL_GGUF_WRITE_ALIGN - 1) / SHOAL_GGUF_WRITE_ALIGN * SHOAL_GGUF_WRITE_ALIGN;
}

/* `dims` with the innermost first. */
static void tensor_to(shoal_gguf_builder *b, const char *name, uint32_t type, const int64_t *dims,
                      uint32_t rank, uint64_t bytes, uint64_t *offset)
{
    text_to(b, row, name, strlen(name));
    u32_to(b, row, rank);
    for (uint32_t i = 0; i < rank; i++)
        u64_to(b, row, (uint64_t)dims[i]);
    u32_to(b, row, type);
    u64_to(b, row, b->data);
    *offset = b->data;
    b->data += aligned(bytes);
    b->tensor_count++;
}

void shoal_gguf_put_tensor(shoal_gguf_builder *b, const char *name, uint32_t type, int64_t rows,
                           int64_t elements, uint64_t bytes, uint64_t *offset)
{
    tensor_to(b, name, type, (const int64_t[]){elements, rows}, rows ? 2 : 1, bytes, offset);
}

void shoal_gguf_put_planes(shoal_gguf_builder *b, const char *name, uint32_t type, int64_t planes,
                           int64_t rows, int64_t elements, uint64_t bytes, uint64_t *offset)
{
    tensor_to(b, name, type, (const int64_t[]){elements, rows, planes}, 3, bytes, offset);
}

shoal_status shoal_gguf_builder_finish(shoal_gguf_builder *b, uint8_t **header, uint64_t *bytes)
{
    void *block;
    const uint64_t start = 24;
    const uint64_t all = aligned(start + b->entry_bytes + b->table_bytes);
    SHOAL_TRY(b->status);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, all, &block));
    uint8_t *to = block;
    memcpy(to, "GGUF", 4);
    shoal_store_le32(to + 4, 3);
    shoal_store_le64(to + 8, b->tensor_count);
    shoal_store_le64(to + 16, b->entry_count);
    memcpy(to + start, b->entries, b->entry_bytes);
    memcpy(to + start + b->entry_bytes, b->table, b->table_bytes);
    *header = to;
    *bytes = all;
    shoal_gguf_builder_free(b);
    return SHOAL_OK;
}

void shoal_gguf_builder_free(shoal_gguf_builder *b)
{
    shoal_free(b->entries);
    shoal_free(b->table);
    *b = (shoal_gguf_builder){0};
}

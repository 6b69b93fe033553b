/* shard/gguf_write.h - the header of a GGUF file (version 3), put together in memory: entries, then
 * the table of tensors. shard/gguf.h reads it. */
#ifndef SHOAL_SHARD_GGUF_WRITE_H
#define SHOAL_SHARD_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_GGUF_WRITE_ALIGN 32

/* {0} to begin with; the first failure is kept and said by finish. */
typedef struct {
    uint8_t *entries, *table;
    uint64_t entry_bytes, entry_room, table_bytes, table_room;
    uint64_t entry_count, tensor_count;
    uint64_t data; /* bytes of tensors so far, each padded to the alignment */
    shoal_status status;
} shoal_gguf_builder;

void shoal_gguf_put_u32(shoal_gguf_builder *b, const char *key, uint32_t value);
void shoal_gguf_put_f32(shoal_gguf_builder *b, const char *key, float value);
void shoal_gguf_put_bool(shoal_gguf_builder *b, const char *key, bool value);
void shoal_gguf_put_string(shoal_gguf_builder *b, const char *key, const char *text, size_t bytes);

/* Arrays: begin with the count, then an item per element. */
void shoal_gguf_begin_strings(shoal_gguf_builder *b, const char *key, uint64_t count);
void shoal_gguf_add_string(shoal_gguf_builder *b, const char *text, size_t bytes);
void shoal_gguf_add_pair(shoal_gguf_builder *b, const char *left,
                         const char *right); /* "left right" */
void shoal_gguf_put_i32s(shoal_gguf_builder *b, const char *key, const int32_t *values,
                         uint64_t count);

/* A tensor [rows][row elements] (rows 0: a vector) of a type by its number; its data begin at
 * *offset from where the data of all begin. */
void shoal_gguf_put_tensor(shoal_gguf_builder *b, const char *name, uint32_t type, int64_t rows,
                           int64_t elements, uint64_t bytes, uint64_t *offset);

/* The same of several matrices, [planes][rows][row elements]. */
void shoal_gguf_put_planes(shoal_gguf_builder *b, const char *name, uint32_t type, int64_t planes,
                           int64_t rows, int64_t elements, uint64_t bytes, uint64_t *offset);

/* Everything before the data, padded; freed with shoal_free. The builder is empty afterwards. */
SHOAL_MUST_USE shoal_status shoal_gguf_builder_finish(shoal_gguf_builder *b, uint8_t **header,
                                                      uint64_t *bytes);
void shoal_gguf_builder_free(shoal_gguf_builder *b);

#endif

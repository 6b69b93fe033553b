/* tests/support/torch_maker.h - files of torch.save, made opcode by opcode: a state dict of tensors
 * whose storages, shapes and strides the test chooses, in a stored zip archive.
 *
 * Begin, add tensors (or any opcodes) and entries, end: the bytes of the file are then in `file`.
 * Everything is kept so simple that a test can damage it on purpose. */
#ifndef SHOAL_TESTS_SUPPORT_TORCH_MAKER_H
#define SHOAL_TESTS_SUPPORT_TORCH_MAKER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/dtype.h"

#define TORCH_ENTRIES_MAX 64

typedef struct {
    uint8_t *at;
    size_t size, room;
} torch_bytes;

typedef struct {
    char name[96];
    torch_bytes data;
    size_t header; /* place of its local header, once written */
    uint16_t method;
} torch_entry;

typedef struct {
    torch_bytes pickle, file;
    torch_entry entries[TORCH_ENTRIES_MAX];
    int entry_count, storages;
    size_t directory, end; /* places in the file */
} torch_maker;

static inline void torch_put(torch_bytes *b, const void *data, size_t bytes)
{
    if (b->size + bytes > b->room) {
        b->room = 2 * (b->size + bytes) + 64;
        b->at = realloc(b->at, b->room);
        if (!b->at)
            abort();
    }
    if (bytes)
        memcpy(b->at + b->size, data, bytes);
    b->size += bytes;
}

/* A little-endian number. */
static inline void torch_put_number(torch_bytes *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        const uint8_t byte = i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
        torch_put(b, &byte, 1);
    }
}

/* Opcodes as a string: without NUL bytes. */
static inline void torch_ops(torch_maker *m, const char *ops)
{
    torch_put(&m->pickle, ops, strlen(ops));
}

static inline void torch_op_text(torch_maker *m, const char *text)
{
    torch_ops(m, "X");
    torch_put_number(&m->pickle, strlen(text), 4);
    torch_ops(m, text);
}

static inline void torch_op_integer(torch_maker *m, int64_t value)
{
    torch_ops(m, "\x8a");
    torch_put_number(&m->pickle, 8, 1);
    torch_put_number(&m->pickle, (uint64_t)value, 8);
}

static inline void torch_op_numbers(torch_maker *m, const int64_t *values, int count)
{
    torch_ops(m, "(");
    for (int i = 0; i < count; i++)
        torch_op_integer(m, values[i]);
    torch_ops(m, "t");
}

/* An entry of the archive below "archive/". */
static inline torch_entry *torch_add_entry(torch_maker *m, const char *name, const void *data,
                                           size_t bytes)
{
    torch_entry *e = &m->entries[m->entry_count++];
    *e = (torch_entry){0};
    snprintf(e->name, sizeof e->name, "archive/%s", name);
    torch_put(&e->data, data, bytes);
    return e;
}

/* A storage; returns its key. */
static inline int torch_add_storage(torch_maker *m, const void *data, size_t bytes)
{
    char name[32];
    snprintf(name, sizeof name, "data/%d", m->storages);
    torch_add_entry(m, name, data, bytes);
    return m->storages++;
}

static inline const char *torch_storage_type(shoal_dtype dtype)
{
    switch (dtype) {
    case SHOAL_F32: return "ctorch\nFloatStorage\n";
    case SHOAL_F16: return "ctorch\nHalfStorage\n";
    case SHOAL_BF16: return "ctorch\nBFloat16Storage\n";
    case SHOAL_I8: return "ctorch\nCharStorage\n";
    case SHOAL_U8: return "ctorch\nByteStorage\n";
    case SHOAL_I32: return "ctorch\nIntStorage\n";
    case SHOAL_I64: return "ctorch\nLongStorage\n";
    default: abort();
    }
}

/* What a tensor is made of. */
typedef struct {
    shoal_dtype dtype;
    int storage;      /* key            */
    int64_t elements; /* of the storage */
    int64_t offset;
    int rank;
    int64_t sizes[8], strides[8];
} torch_tensor;

/* The call that rebuilds a tensor, left on the stack. */
static inline void torch_op_tensor(torch_maker *m, const torch_tensor *t)
{
    char key[16];
    torch_ops(m, "ctorch._utils\n_rebuild_tensor_v2\n((");
    torch_op_text(m, "storage");
    torch_ops(m, torch_storage_type(t->dtype));
    snprintf(key, sizeof key, "%d", t->storage);
    torch_op_text(m, key);
    torch_op_text(m, "cpu");
    torch_op_integer(m, t->elements);
    torch_ops(m, "tQ");
    torch_op_integer(m, t->offset);
    torch_op_numbers(m, t->sizes, t->rank);
    torch_op_numbers(m, t->strides, t->rank);
    torch_ops(m, "\x89"
                 "ccollections\nOrderedDict\n)RtR");
}

/* A contiguous tensor with a storage of its own. */
static inline torch_tensor torch_plain(torch_maker *m, shoal_dtype dtype, int rank,
                                       const int64_t *sizes, const void *data)
{
    torch_tensor t = {.dtype = dtype, .elements = 1, .rank = rank};
    for (int i = rank - 1; i >= 0; i--) {
        t.sizes[i] = sizes[i];
        t.strides[i] = t.elements;
        t.elements *= sizes[i];
    }
    t.storage = torch_add_storage(m, data, (size_t)t.elements * shoal_dtype_bytes(dtype));
    return t;
}

/* An object of a tensor class ("ctorchao.x\nInt8Tensor\n") of n x k up to its dict of attributes,
 * which the caller fills and ends with "utR". */
static inline void torch_op_class(torch_maker *m, const char *type, int64_t n, int64_t k)
{
    torch_ops(m, "ctorch._tensor\n_rebuild_from_type_v2\n(");
    torch_ops(m, "ctorch._utils\n_rebuild_wrapper_subclass\n");
    torch_ops(m, type);
    torch_ops(m, "(");
    torch_ops(m, type);
    torch_ops(m, "ctorch\nbfloat16\n");
    torch_op_numbers(m, (int64_t[]){n, k}, 2);
    torch_ops(m, "t}(");
}

/* An attribute that is a tensor. */
static inline void torch_op_part(torch_maker *m, const char *name, shoal_dtype dtype, int rank,
                                 const int64_t *sizes, const void *data)
{
    const torch_tensor t = torch_plain(m, dtype, rank, sizes, data);
    torch_op_text(m, name);
    torch_op_tensor(m, &t);
}

static inline void torch_begin(torch_maker *m)
{
    *m = (torch_maker){0};
    torch_ops(m, "\x80\x02}(");
}

/* One item of the state dict. */
static inline void torch_add(torch_maker *m, const char *name, const torch_tensor *t)
{
    torch_op_text(m, name);
    torch_op_tensor(m, t);
}

static inline void torch_local_header(torch_maker *m, torch_entry *e)
{
    const size_t name = strlen(e->name);
    e->header = m->file.size;
    const size_t padding = (64 - (e->header + 30 + name + 4) % 64) % 64;
    torch_put_number(&m->file, 0x04034b50, 4);
    torch_put_number(&m->file, 0, 2);
    torch_put_number(&m->file, 0x0808, 2); /* sizes follow behind, names are UTF-8 */
    torch_put_number(&m->file, e->method, 2);
    torch_put_number(&m->file, 0, 16); /* time, date, checksum, both sizes */
    torch_put_number(&m->file, name, 2);
    torch_put_number(&m->file, 4 + padding, 2);
    torch_put(&m->file, e->name, name);
    torch_put(&m->file, "FB", 2);
    torch_put_number(&m->file, padding, 2);
    for (size_t i = 0; i < padding; i++)
        torch_put(&m->file, "Z", 1);
    torch_put(&m->file, e->data.at, e->data.size);
}

static inline void torch_central_header(torch_maker *m, const torch_entry *e)
{
    const size_t name = strlen(e->name);
    torch_put_number(&m->file, 0x02014b50, 4);
    torch_put_number(&m->file, 0, 4);
    torch_put_number(&m->file, 0x0808, 2);
    torch_put_number(&m->file, e->method, 2);
    torch_put_number(&m->file, 0, 8);
    torch_put_number(&m->file, e->data.size, 4);
    torch_put_number(&m->file, e->data.size, 4);
    torch_put_number(&m->file, name, 2);
    torch_put_number(&m->file, 0, 12);
    torch_put_number(&m->file, e->header, 4);
    torch_put(&m->file, e->name, name);
}

/* The archive of what was added, its pickle as it is. */
static inline void torch_archive(torch_maker *m)
{
    m->file.size = 0;
    torch_add_entry(m, "data.pkl", m->pickle.at, m->pickle.size);
    for (int i = 0; i < m->entry_count; i++)
        torch_local_header(m, &m->entries[i]);
    m->directory = m->file.size;
    for (int i = 0; i < m->entry_count; i++)
        torch_central_header(m, &m->entries[i]);
    m->end = m->file.size;
    torch_put_number(&m->file, 0x06054b50, 4);
    torch_put_number(&m->file, 0, 4);
    torch_put_number(&m->file, (uint64_t)m->entry_count, 2);
    torch_put_number(&m->file, (uint64_t)m->entry_count, 2);
    torch_put_number(&m->file, m->end - m->directory, 4);
    torch_put_number(&m->file, m->directory, 4);
    torch_put_number(&m->file, 0, 2);
}

static inline void torch_end(torch_maker *m)
{
    torch_ops(m, "u.");
    torch_archive(m);
}

static inline void torch_free(torch_maker *m)
{
    for (int i = 0; i < m->entry_count; i++)
        free(m->entries[i].data.at);
    free(m->pickle.at);
    free(m->file.at);
}

#endif

/* tests/unit/checkpoint_maker.h - model folders made by a test: tensors in memory, written as
 * config.json and model.safetensors into a fresh folder under TMPDIR, removed afterwards. */
#ifndef SHOAL_TESTS_CHECKPOINT_MAKER_H
#define SHOAL_TESTS_CHECKPOINT_MAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "proto/dtype.h"

#define MAKER_TENSORS_MAX 256

typedef struct {
    char name[128];
    shoal_dtype dtype;
    int rank;
    int64_t shape[2];
    size_t bytes;
    void *data;
} maker_tensor;

typedef struct {
    maker_tensor tensors[MAKER_TENSORS_MAX];
    int count;
    char folder[256]; /* "" before maker_write */
    uint64_t seed;
    bool powers; /* scales are powers of 2, whose multiples are exact in any float (convert_case.h)
                  */
} maker;

static inline uint64_t maker_random(maker *m)
{
    m->seed += 0x9e3779b97f4a7c15u;
    uint64_t z = m->seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* In [0, limit). */
static inline int64_t maker_below(maker *m, int64_t limit)
{
    return (int64_t)(maker_random(m) % (uint64_t)limit);
}

/* In (-1, 1), a multiple of 2^-12, so exact in fp16. */
static inline float maker_unit(maker *m)
{
    return (float)(maker_below(m, 4095) - 2047) / 2048.0f;
}

static inline void *maker_alloc(size_t bytes)
{
    void *block = calloc(1, bytes ? bytes : 1);
    if (!block)
        abort();
    return block;
}

static inline maker_tensor *maker_find(maker *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            return &m->tensors[i];
    return NULL;
}

/* Add a zeroed tensor ([rows] when columns is 0) and return its data. */
static inline void *maker_add(maker *m, const char *name, shoal_dtype dtype, int64_t rows,
                              int64_t columns)
{
    if (m->count == MAKER_TENSORS_MAX)
        abort();
    maker_tensor *t = &m->tensors[m->count++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->dtype = dtype;
    t->rank = columns ? 2 : 1;
    t->shape[0] = rows;
    t->shape[1] = columns;
    t->bytes = (size_t)(rows * (columns ? columns : 1)) * shoal_dtype_bytes(dtype);
    t->data = maker_alloc(t->bytes);
    return t->data;
}

static inline void maker_store(void *array, shoal_dtype dtype, size_t index, float value)
{
    uint16_t half = dtype == SHOAL_BF16 ? shoal_bf16_from_f32(value) : shoal_f16_from_f32(value);
    if (dtype == SHOAL_F32)
        memcpy((char *)array + index * 4, &value, 4);
    else
        memcpy((char *)array + index * 2, &half, 2);
}

/* A float tensor of random values. */
static inline void *maker_add_random(maker *m, const char *name, shoal_dtype dtype, int64_t rows,
                                     int64_t columns)
{
    void *data = maker_add(m, name, dtype, rows, columns);
    const int64_t count = rows * (columns ? columns : 1);
    for (int64_t i = 0; i < count; i++)
        maker_store(data, dtype, (size_t)i, maker_unit(m));
    return data;
}

static inline void maker_remove(maker *m, const char *name)
{
    maker_tensor *t = maker_find(m, name);
    if (!t)
        abort();
    free(t->data);
    *t = m->tensors[--m->count];
}

static inline void maker_path(const maker *m, const char *file, char *out, size_t room)
{
    snprintf(out, room, "%s/%s", m->folder, file);
}

static inline FILE *maker_open(const maker *m, const char *file)
{
    char path[320];
    maker_path(m, file, path, sizeof path);
    FILE *f = fopen(path, "wb");
    if (!f)
        abort();
    return f;
}

static inline size_t maker_header(const maker *m, char *header, size_t room)
{
    size_t at = (size_t)snprintf(header, room, "{"), offset = 0;
    for (int i = 0; i < m->count; i++) {
        const maker_tensor *t = &m->tensors[i];
        char shape[64];
        snprintf(shape, sizeof shape, t->rank == 2 ? "%lld,%lld" : "%lld", (long long)t->shape[0],
                 (long long)t->shape[1]);
        at += (size_t)snprintf(header + at, room - at,
                               "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                               "\"data_offsets\":[%zu,%zu]}",
                               i ? "," : "", t->name, shoal_dtype_name(t->dtype), shape, offset,
                               offset + t->bytes);
        offset += t->bytes;
    }
    at += (size_t)snprintf(header + at, room - at, "}");
    while (at % 8)
        header[at++] = ' ';
    return at;
}

/* Write everything; `config` is the text of config.json. Returns the folder. */
static inline const char *maker_write(maker *m, const char *config)
{
    static char header[MAKER_TENSORS_MAX * 320];
    const char *tmp = getenv("TMPDIR");
    unsigned char length[8];
    if (!m->folder[0]) {
        snprintf(m->folder, sizeof m->folder, "%s/shoal-test-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(m->folder))
            abort();
    }
    FILE *f = maker_open(m, "config.json");
    fputs(config, f);
    fclose(f);
    f = maker_open(m, "model.safetensors");
    const size_t bytes = maker_header(m, header, sizeof header);
    shoal_store_le64(length, bytes);
    fwrite(length, 1, sizeof length, f);
    fwrite(header, 1, bytes, f);
    for (int i = 0; i < m->count; i++)
        fwrite(m->tensors[i].data, 1, m->tensors[i].bytes, f);
    fclose(f);
    return m->folder;
}

/* Remove the folder, keep the tensors. */
static inline void maker_unwrite(maker *m)
{
    char path[320];
    if (!m->folder[0])
        return;
    maker_path(m, "config.json", path, sizeof path);
    unlink(path);
    maker_path(m, "model.safetensors", path, sizeof path);
    unlink(path);
    rmdir(m->folder);
    m->folder[0] = '\0';
}

static inline void maker_forget(maker *m)
{
    maker_unwrite(m);
    for (int i = 0; i < m->count; i++)
        free(m->tensors[i].data);
    m->count = 0;
}

#endif

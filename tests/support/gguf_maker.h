/* tests/support/gguf_maker.h - GGUF files made by a test: metadata and tensors in memory, written
 * as one file or in parts. Blocks are random bytes whose half floats are small numbers. */
#ifndef SHOAL_TESTS_SUPPORT_GGUF_MAKER_H
#define SHOAL_TESTS_SUPPORT_GGUF_MAKER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/dtype.h"

/* Types of values, as the format numbers them. */
enum { GGUF_TYPE_U32 = 4, GGUF_TYPE_F32 = 6, GGUF_TYPE_STRING = 8, GGUF_TYPE_ARRAY = 9 };

#define GGUF_MAKER_TENSORS 64
#define GGUF_MAKER_ALIGN   32

typedef struct {
    uint8_t *data;
    size_t bytes, room;
} gguf_bytes;

typedef struct {
    char name[96];
    uint32_t type;
    uint32_t rank;
    uint64_t dims[3]; /* the innermost first */
    uint8_t *data;
    size_t bytes, row_bytes;
} gguf_maker_tensor;

typedef struct {
    gguf_bytes entries;
    uint64_t entry_count;
    gguf_maker_tensor tensors[GGUF_MAKER_TENSORS];
    int count;
    int layers; /* of a model; 0: one */
    uint64_t seed;
} gguf_maker;

static inline uint64_t gguf_random(gguf_maker *m)
{
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return m->seed >> 33;
}

/* ---- bytes ---- */

static inline void gguf_put(gguf_bytes *b, const void *data, size_t bytes)
{
    if (b->bytes + bytes > b->room) {
        b->room = 2 * (b->bytes + bytes);
        b->data = realloc(b->data, b->room);
        if (!b->data)
            abort();
    }
    memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

static inline void gguf_put_u32(gguf_bytes *b, uint32_t value)
{
    uint8_t le[4];
    shoal_store_le32(le, value);
    gguf_put(b, le, sizeof le);
}

static inline void gguf_put_u64(gguf_bytes *b, uint64_t value)
{
    uint8_t le[8];
    shoal_store_le64(le, value);
    gguf_put(b, le, sizeof le);
}

static inline void gguf_put_text(gguf_bytes *b, const char *text)
{
    gguf_put_u64(b, strlen(text));
    gguf_put(b, text, strlen(text));
}

/* ---- metadata ---- */

static inline void gguf_key(gguf_maker *m, const char *key, uint32_t type)
{
    gguf_put_text(&m->entries, key);
    gguf_put_u32(&m->entries, type);
    m->entry_count++;
}

static inline void gguf_u32(gguf_maker *m, const char *key, uint32_t value)
{
    gguf_key(m, key, GGUF_TYPE_U32);
    gguf_put_u32(&m->entries, value);
}

static inline void gguf_f32(gguf_maker *m, const char *key, float value)
{
    gguf_key(m, key, GGUF_TYPE_F32);
    gguf_put_u32(&m->entries, shoal_f32_bits(value));
}

static inline void gguf_text(gguf_maker *m, const char *key, const char *value)
{
    gguf_key(m, key, GGUF_TYPE_STRING);
    gguf_put_text(&m->entries, value);
}

static inline void gguf_texts(gguf_maker *m, const char *key, const char *const *texts,
                              size_t count)
{
    gguf_key(m, key, GGUF_TYPE_ARRAY);
    gguf_put_u32(&m->entries, GGUF_TYPE_STRING);
    gguf_put_u64(&m->entries, count);
    for (size_t i = 0; i < count; i++)
        gguf_put_text(&m->entries, texts[i]);
}

/* ---- tensors ---- */

static inline void gguf_half(uint8_t *at, float value)
{
    const uint16_t half = shoal_f16_from_f32(value);
    at[0] = (uint8_t)half;
    at[1] = (uint8_t)(half >> 8);
}

/* In (-1/8, 1/8). */
static inline float gguf_small(gguf_maker *m)
{
    return ((float)(gguf_random(m) % 4096) - 2047.5f) / 16384.0f;
}

/* Types of tensors: elements and bytes of a block, and where it has half floats (-1: none). */
typedef struct {
    uint32_t type;
    uint32_t elements, bytes;
    int halves[2];
} gguf_maker_form;

static inline const gguf_maker_form *gguf_form(uint32_t type)
{
    static const gguf_maker_form forms[] = {
        {0, 1, 4, {-1, -1}},    {1, 1, 2, {0, -1}},      {2, 32, 18, {0, -1}},
        {3, 32, 20, {0, 2}},    {6, 32, 22, {0, -1}},    {7, 32, 24, {0, 2}},
        {8, 32, 34, {0, -1}},   {10, 256, 84, {80, 82}}, {11, 256, 110, {108, -1}},
        {12, 256, 144, {0, 2}}, {13, 256, 176, {0, 2}},  {14, 256, 210, {208, -1}},
        {19, 256, 50, {0, -1}}, {20, 32, 18, {0, -1}},   {23, 256, 136, {0, -1}},
        {30, 1, 2, {-1, -1}},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (forms[i].type == type)
            return &forms[i];
    abort();
}

static inline void gguf_fill(gguf_maker *m, gguf_maker_tensor *t, const gguf_maker_form *form)
{
    for (size_t i = 0; i < t->bytes; i++)
        t->data[i] = (uint8_t)gguf_random(m);
    for (size_t at = 0; at < t->bytes; at += form->bytes) {
        if (t->type == 0) { /* F32 */
            shoal_store_le32(t->data + at, shoal_f32_bits(gguf_small(m)));
        } else if (t->type == 30) { /* BF16 */
            const uint16_t half = shoal_bf16_from_f32(gguf_small(m));
            t->data[at] = (uint8_t)half;
            t->data[at + 1] = (uint8_t)(half >> 8);
        }
        for (int h = 0; h < 2; h++)
            if (form->halves[h] >= 0)
                gguf_half(t->data + at + form->halves[h], gguf_small(m));
    }
}

/* rows x inner elements; rows 0: a vector of `inner`. */
static inline gguf_maker_tensor *gguf_tensor(gguf_maker *m, const char *name, uint32_t type,
                                             uint64_t rows, uint64_t inner)
{
    const gguf_maker_form *form = gguf_form(type);
    if (m->count == GGUF_MAKER_TENSORS)
        abort();
    gguf_maker_tensor *t = &m->tensors[m->count++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = type;
    t->rank = rows ? 2 : 1;
    t->dims[0] = inner;
    t->dims[1] = rows;
    t->row_bytes = inner / form->elements * form->bytes;
    t->bytes = t->row_bytes * (rows ? rows : 1);
    t->data = malloc(t->bytes);
    if (!t->data)
        abort();
    gguf_fill(m, t, form);
    return t;
}

/* planes x rows x inner elements. */
static inline gguf_maker_tensor *gguf_planes(gguf_maker *m, const char *name, uint32_t type,
                                             uint64_t planes, uint64_t rows, uint64_t inner)
{
    gguf_maker_tensor *t = gguf_tensor(m, name, type, planes * rows, inner);
    t->rank = 3;
    t->dims[1] = rows;
    t->dims[2] = planes;
    return t;
}

static inline gguf_maker_tensor *gguf_find(gguf_maker *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            return &m->tensors[i];
    abort();
}

static inline void gguf_drop(gguf_maker *m, const char *name)
{
    gguf_maker_tensor *t = gguf_find(m, name);
    free(t->data);
    *t = m->tensors[--m->count];
}

/* ---- the file ---- */

static inline void gguf_pad(gguf_bytes *b)
{
    while (b->bytes % GGUF_MAKER_ALIGN)
        gguf_put(b, "", 1);
}

/* Tensors [begin, end) with the metadata `entries`. */
static inline gguf_bytes gguf_make(const gguf_maker *m, const gguf_bytes *entries,
                                   uint64_t entry_count, int begin, int end)
{
    gguf_bytes b = {0};
    uint64_t offset = 0;
    gguf_put(&b, "GGUF", 4);
    gguf_put_u32(&b, 3);
    gguf_put_u64(&b, (uint64_t)(end - begin));
    gguf_put_u64(&b, entry_count);
    if (entries->bytes)
        gguf_put(&b, entries->data, entries->bytes);
    for (int i = begin; i < end; i++) {
        const gguf_maker_tensor *t = &m->tensors[i];
        gguf_put_text(&b, t->name);
        gguf_put_u32(&b, t->rank);
        for (uint32_t d = 0; d < t->rank; d++)
            gguf_put_u64(&b, t->dims[d]);
        gguf_put_u32(&b, t->type);
        gguf_put_u64(&b, offset);
        offset += (t->bytes + GGUF_MAKER_ALIGN - 1) / GGUF_MAKER_ALIGN * GGUF_MAKER_ALIGN;
    }
    for (int i = begin; i < end; i++) {
        gguf_pad(&b);
        gguf_put(&b, m->tensors[i].data, m->tensors[i].bytes);
    }
    gguf_pad(&b);
    return b;
}

static inline void gguf_save(const char *path, const gguf_bytes *bytes)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes->data, 1, bytes->bytes, f) != bytes->bytes || fclose(f) != 0)
        abort();
}

static inline void gguf_write(const gguf_maker *m, const char *path)
{
    gguf_bytes b = gguf_make(m, &m->entries, m->entry_count, 0, m->count);
    gguf_save(path, &b);
    free(b.data);
}

static inline void gguf_forget(gguf_maker *m)
{
    for (int i = 0; i < m->count; i++)
        free(m->tensors[i].data);
    free(m->entries.data);
    *m = (gguf_maker){0};
}

/* ---- a model ---- */

#define GGUF_HIDDEN       256
#define GGUF_INTERMEDIATE 512
#define GGUF_HEADS        4
#define GGUF_KV_HEADS     2
#define GGUF_HEAD_DIM     64
#define GGUF_VOCAB        96

static inline void gguf_model_entries(gguf_maker *m, const char *architecture)
{
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"block_count", m->layers ? (uint32_t)m->layers : 1},
                   {"context_length", 128},
                   {"embedding_length", GGUF_HIDDEN},
                   {"feed_forward_length", GGUF_INTERMEDIATE},
                   {"attention.head_count", GGUF_HEADS},
                   {"attention.head_count_kv", GGUF_KV_HEADS}};
    char key[128];
    gguf_text(m, "general.architecture", architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(key, sizeof key, "%s.%s", architecture, numbers[i].name);
        gguf_u32(m, key, numbers[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    gguf_f32(m, key, 1e-5f);
}

static inline void gguf_layer(gguf_maker *m, int layer, uint32_t type)
{
    const uint64_t q = GGUF_HEADS * GGUF_HEAD_DIM, kv = GGUF_KV_HEADS * GGUF_HEAD_DIM;
    const struct {
        const char *name;
        uint32_t type;
        uint64_t rows, inner;
    } tensors[] = {{"attn_norm", 0, 0, GGUF_HIDDEN},
                   {"ffn_norm", 0, 0, GGUF_HIDDEN},
                   {"attn_q", type, q, GGUF_HIDDEN},
                   {"attn_k", type, kv, GGUF_HIDDEN},
                   {"attn_v", type, kv, GGUF_HIDDEN},
                   {"attn_output", type, GGUF_HIDDEN, q},
                   {"ffn_gate", type, GGUF_INTERMEDIATE, GGUF_HIDDEN},
                   {"ffn_up", type, GGUF_INTERMEDIATE, GGUF_HIDDEN},
                   {"ffn_down", type, GGUF_HIDDEN, GGUF_INTERMEDIATE}};
    char name[64];
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, tensors[i].name);
        gguf_tensor(m, name, tensors[i].type, tensors[i].rows, tensors[i].inner);
    }
}

/* Every linear of `type`. */
static inline void gguf_model(gguf_maker *m, const char *architecture, uint32_t type)
{
    gguf_model_entries(m, architecture);
    gguf_tensor(m, "token_embd.weight", type, GGUF_VOCAB, GGUF_HIDDEN);
    gguf_tensor(m, "output.weight", type, GGUF_VOCAB, GGUF_HIDDEN);
    gguf_tensor(m, "output_norm.weight", 0, 0, GGUF_HIDDEN);
    for (int layer = 0; layer < (m->layers ? m->layers : 1); layer++)
        gguf_layer(m, layer, type);
}

#endif

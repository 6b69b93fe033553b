/* tests/unit/gguf_case.h - GGUF models of a test on disk, and every element of their blocks by a
 * decoder that is written a second time from the format's description. */
#ifndef SHOAL_TESTS_UNIT_GGUF_CASE_H
#define SHOAL_TESTS_UNIT_GGUF_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/status.h"
#include "shard/checkpoint.h"
#include "shard/dialect.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "tests/support/gguf_maker.h"

/* Types of tensors that are blocks, and those that are not. */
static const uint32_t block_types[] = {2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23};
static const uint32_t plain_types[] = {0, 1, 30};

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

/* ---- the second decoder ---- */

static inline double half(const uint8_t *at)
{
    return (double)shoal_f32_from_f16((uint16_t)(at[0] | at[1] << 8));
}

/* Bits [bit, bit + count) of little-endian bytes. */
static inline int bits(const uint8_t *bytes, int bit, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++)
        value |= (bytes[(bit + i) / 8] >> ((bit + i) % 8) & 1) << i;
    return value;
}

/* Nibbles of 16 bytes: the low halves are elements 0..15, the high ones 16..31. */
static inline int nibble_32(const uint8_t *in, int k)
{
    return bits(in, 8 * (k % 16) + 4 * (k / 16), 4);
}

/* Nibbles of 128 bytes: 32 low halves, then the 32 high ones of the same bytes. */
static inline int nibble_256(const uint8_t *in, int k)
{
    return bits(in, 8 * (k / 64 * 32 + k % 32) + 4 * (k / 32 % 2), 4);
}

static inline int two_bits_256(const uint8_t *in, int k)
{
    return bits(in, 8 * (k / 128 * 32 + k % 32) + 2 * (k / 32 % 4), 2);
}

static inline int table_value(int code)
{
    static const int values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
    return values[code];
}

/* Q4_K and Q5_K: scale (which 0) or minimum (1) of group g. */
static inline int six_bits(const uint8_t *s, int which, int g)
{
    if (g < 4)
        return bits(s, 8 * (g + 4 * which), 6);
    return bits(s, 8 * (g + 4) + 4 * which, 4) | bits(s, 8 * (g - 4 + 4 * which) + 6, 2) << 4;
}

static inline double q3_k(const uint8_t *b, int k)
{
    const int g = k / 16;
    const int low = bits(b + 96, 8 * (g % 8) + 4 * (g / 8), 4);
    const int high = bits(b + 104, 8 * (g % 4) + 2 * (g / 4), 2);
    const int third = bits(b, 8 * (k % 32) + k / 32, 1);
    return half(b + 108) * ((low | high << 4) - 32) * (two_bits_256(b + 32, k) - (third ? 0 : 4));
}

static inline double q6_k(const uint8_t *b, int k)
{
    const int h = k / 128, l = k % 32, quarter = k % 128 / 32;
    const int low = bits(b, 8 * (64 * h + 32 * (quarter & 1) + l) + 4 * (quarter >> 1), 4);
    const int high = bits(b + 128, 8 * (32 * h + l) + 2 * quarter, 2);
    return half(b + 208) * (int8_t)b[192 + k / 16] * ((low | high << 4) - 32);
}

static inline double iq4_xs(const uint8_t *b, int k)
{
    const int g = k / 32;
    const int scale = bits(b + 4, 4 * g, 4) | bits(b + 2, 2 * g, 2) << 4;
    return half(b) * (scale - 32) * table_value(nibble_32(b + 8 + 16 * g, k % 32));
}

/* Element k of a block; every product and sum is exact in a double. */
static inline double block_value(uint32_t type, const uint8_t *b, int k)
{
    const int g = k / 32;
    switch (type) {
    case 2: return (nibble_32(b + 2, k) - 8) * half(b);
    case 3: return nibble_32(b + 4, k) * half(b) + half(b + 2);
    case 6: return ((nibble_32(b + 6, k) | bits(b + 2, k, 1) << 4) - 16) * half(b);
    case 7: return (nibble_32(b + 8, k) | bits(b + 4, k, 1) << 4) * half(b) + half(b + 2);
    case 8: return (int8_t)b[2 + k] * half(b);
    case 10:
        return half(b + 80) * (b[k / 16] & 15) * two_bits_256(b + 16, k) -
               half(b + 82) * (b[k / 16] >> 4);
    case 11: return q3_k(b, k);
    case 12:
        return half(b) * six_bits(b + 4, 0, g) * nibble_256(b + 16, k) -
               half(b + 2) * six_bits(b + 4, 1, g);
    case 13:
        return half(b) * six_bits(b + 4, 0, g) *
                   (nibble_256(b + 48, k) | bits(b + 16, 8 * (k % 32) + g, 1) << 4) -
               half(b + 2) * six_bits(b + 4, 1, g);
    case 14: return q6_k(b, k);
    case 20: return half(b) * table_value(nibble_32(b + 2, k));
    default: return iq4_xs(b, k);
    }
}

/* Element [row][k] of a tensor, rows as the file has them. */
static inline float value_of(const gguf_maker_tensor *t, int64_t row, int64_t k)
{
    const gguf_maker_form *form = gguf_form(t->type);
    const uint8_t *block =
        t->data + (size_t)row * t->row_bytes + (size_t)(k / form->elements) * form->bytes;
    if (form->elements == 1)
        return shoal_load_f32(block,
                              t->type == 0   ? SHOAL_F32
                              : t->type == 1 ? SHOAL_F16
                                             : SHOAL_BF16,
                              0);
    return (float)block_value(t->type, block, (int)(k % form->elements));
}

/* ---- a model on disk ---- */

typedef struct {
    char folder[64], path[128];
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} opened;

static inline void make_folder(opened *o)
{
    *o = (opened){0};
    snprintf(o->folder, sizeof o->folder, "/tmp/shoal-gguf-XXXXXX");
    assert_non_null(mkdtemp(o->folder));
    snprintf(o->path, sizeof o->path, "%s/model.gguf", o->folder);
}

static inline shoal_status open_path(opened *o, const char *path, const char *quantize)
{
    const shoal_manifest_options options = {.quantize = quantize};
    SHOAL_TRY(shoal_model_open(path, &o->model));
    SHOAL_TRY(shoal_checkpoint_open(path, &o->checkpoint));
    return shoal_manifest_create(o->model, o->checkpoint, &options, &o->manifest);
}

static inline void close_model(opened *o)
{
    if (o->manifest)
        shoal_manifest_destroy(o->manifest);
    if (o->checkpoint)
        shoal_checkpoint_close(o->checkpoint);
    if (o->model)
        shoal_model_close(o->model);
    o->manifest = NULL;
    o->checkpoint = NULL;
    o->model = NULL;
}

static inline void remove_folder(opened *o)
{
    close_model(o);
    unlink(o->path);
    assert_int_equal(rmdir(o->folder), 0);
}

static inline void must(shoal_status st)
{
    if (st != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
}

static inline void write_and_open(const gguf_maker *m, opened *o)
{
    make_folder(o);
    gguf_write(m, o->path);
    must(open_path(o, o->path, NULL));
}

/* Opening fails with these words. */
static inline void refuse(const gguf_maker *m, const char *says)
{
    opened o;
    make_folder(&o);
    gguf_write(m, o.path);
    const shoal_status st = open_path(&o, o.path, NULL);
    if (st != SHOAL_ERR_DATA || !strstr(shoal_error_text(), says))
        fail_msg("status %d: \"%s\" does not say \"%s\"", (int)st, shoal_error_text(), says);
    remove_folder(&o);
}

/* ---- rectangles ---- */

static inline float canonical_value(const shoal_canonical *b, const shoal_weight *w,
                                    const shoal_rect *rect, int64_t n, int64_t k)
{
    if (b->kind == SHOAL_WEIGHT_FLOAT)
        return shoal_load_f32(b->dense, b->dtype, (size_t)(n * b->k + k));
    const int64_t g = n * b->groups + (rect->k_begin + k) / w->group - rect->k_begin / w->group;
    const float code = (float)(b->codes[n * b->k + k] - b->zero_const);
    return b->mins ? fmaf(code, b->scales[g], b->mins[g]) : code * b->scales[g];
}

/* Where the file has row n of a tensor whose rows are in pairs of `pairs`; 0: in order. */
static inline int64_t stored_row(int64_t n, int64_t pairs)
{
    if (!pairs)
        return n;
    const int64_t in = n % pairs;
    return n - in + (in < pairs / 2 ? 2 * in : 2 * (in - pairs / 2) + 1);
}

static inline void compare_rect(const opened *o, const shoal_weight *w, const gguf_maker_tensor *t,
                                const shoal_rect *rect, int64_t pairs)
{
    shoal_arena *arena;
    shoal_canonical block;
    must(shoal_arena_create(SHOAL_MEM_OTHER, &arena));
    const uint64_t before = shoal_checkpoint_bytes_read(o->checkpoint);
    must(shoal_weight_read(o->manifest, w, rect, arena, &block));
    assert_true(shoal_checkpoint_bytes_read(o->checkpoint) - before ==
                shoal_weight_read_bytes(w, rect));
    for (int64_t n = 0; n < block.n; n++)
        for (int64_t k = 0; k < block.k; k++) {
            const float got = canonical_value(&block, w, rect, n, k);
            const float want = value_of(t, stored_row(rect->n_begin + n, pairs), rect->k_begin + k);
            if (shoal_f32_bits(got) != shoal_f32_bits(want) && !(got == 0 && want == 0))
                fail_msg("%s [%lld][%lld]: %.9g, not %.9g", t->name, (long long)(rect->n_begin + n),
                         (long long)(rect->k_begin + k), (double)got, (double)want);
        }
    shoal_arena_destroy(arena);
}

#endif

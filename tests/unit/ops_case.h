/* tests/unit/ops_case.h - random numbers, comparison and KV pages for the tests of kernels/ops.h.
 * Include it after cmocka.h. */
#ifndef SHOAL_TESTS_OPS_CASE_H
#define SHOAL_TESTS_OPS_CASE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kv.h"
#include "kernels/ops.h"
#include "proto/dtype.h"

static uint64_t ops_random_state = 0x243f6a8885a308d3u;

static inline uint32_t ops_random(void)
{
    ops_random_state ^= ops_random_state << 13;
    ops_random_state ^= ops_random_state >> 7;
    ops_random_state ^= ops_random_state << 17;
    return (uint32_t)(ops_random_state >> 20);
}

static inline float ops_uniform(float most)
{
    return ((float)(ops_random() >> 8) * 0x1p-23f - 1.0f) * most;
}

/* Ordinary values with zeros of both signs and numbers that underflow when multiplied. */
static inline void ops_fill(float *x, int64_t n, float most)
{
    for (int64_t i = 0; i < n; i++) {
        const uint32_t kind = ops_random() % 32;
        x[i] = kind == 0   ? -0.0f
               : kind == 1 ? 0.0f
               : kind == 2 ? ops_uniform(0x1p-120f)
                           : ops_uniform(most);
    }
}

static inline void *ops_array(int64_t count, size_t size)
{
    void *p = calloc(count > 0 ? (size_t)count : 1, size);
    assert_non_null(p);
    return p;
}

/* Equal bits, where any NaN equals any NaN (an invalid operation's NaN depends on the order in
 * which a compiler puts the operands). */
static inline bool ops_same(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (shoal_f32_bits(a[i]) != shoal_f32_bits(b[i]) && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

/* Pages of `positions` positions for one sequence, filled with NaN of every type, in a shuffled
 * order with as many foreign pages between. */
typedef struct {
    shoal_kv_layer layer;
    int32_t *pages;
    int64_t positions;
    uint64_t bytes;
} ops_kv;

static inline ops_kv ops_kv_create(shoal_kv_type type, int64_t kv_heads, int64_t head_dim,
                                   int64_t positions)
{
    const int64_t used = (positions + SHOAL_PAGE - 1) / SHOAL_PAGE, pages = 2 * used + 1;
    ops_kv kv = {.layer = {NULL, pages, kv_heads, head_dim, type}, .positions = positions};
    kv.bytes = (uint64_t)(pages * kv_heads) * shoal_kv_head_bytes(type, head_dim);
    kv.layer.base = ops_array((int64_t)kv.bytes, 1);
    memset(kv.layer.base, 0xff, kv.bytes);
    kv.pages = ops_array(pages, sizeof *kv.pages);
    for (int64_t i = 0; i < pages; i++)
        kv.pages[i] = (int32_t)i;
    for (int64_t i = pages - 1; i > 0; i--) {
        const int64_t j = (int64_t)(ops_random() % (uint32_t)(i + 1));
        const int32_t swap = kv.pages[i];
        kv.pages[i] = kv.pages[j];
        kv.pages[j] = swap;
    }
    return kv;
}

static inline void ops_kv_free(ops_kv *kv)
{
    free(kv->layer.base);
    free(kv->pages);
}

static const char *const ops_kv_names[] = {"f32", "f16", "int8"};

/* Head sizes of real models, and their awkward relatives. */
static const int64_t ops_head_dims[] = {24, 40, 48, 64, 80, 96, 128, 192, 256};
#define OPS_HEAD_DIMS 9

/* Does this machine have the row? The reference is compared with itself: harmless. */
static inline bool ops_runs(const shoal_ops_row *row)
{
    return shoal_cpu_has(row->needs);
}

#endif

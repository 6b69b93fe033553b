/* tests/unit/dialect_case.h - what the tests of stored forms share: a made-up integer linear that
 * knows its codes, a checkpoint with one module P opened and described, random rectangles of it
 * compared element by element with the bytes counted, refusals, and the arrays whose packed forms
 * have known CRCs. A test of one form adds how that form is written (tests/unit/test_dialect_*.c).
 *
 * Made with K=256, N=128, g=64: packers of a test are checked against CRCs that the libraries'
 * own packers gave. */
#ifndef SHOAL_TESTS_DIALECT_CASE_H
#define SHOAL_TESTS_DIALECT_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/dialect.h"
#include "tests/unit/checkpoint_maker.h"

/* ---- a linear that knows its codes ---- */

typedef struct {
    int64_t n, k;
    int64_t group; /* as the config says: -1 for all of k */
    int bits;      /* up to 8 */
    bool symmetric, act_order;
    int first_zero; /* the smallest zero that the form can say */
    shoal_dtype scale_dtype;
    int64_t groups;
    uint8_t *u;   /* [k][n] */
    int *z;       /* [groups][n] */
    float *s;     /* [groups][n], numbers of scale_dtype */
    float *mins;  /* [groups][n], or NULL: none */
    int32_t *idx; /* [k] group of input k */
} made_linear;

static inline int64_t made_group(const made_linear *l)
{
    return l->group < 0 || l->group > l->k ? l->k : l->group;
}

/* A random number of this dtype. */
static inline float made_number(maker *m, shoal_dtype dtype)
{
    float value;
    maker_store(&value, dtype, 0, maker_unit(m));
    return shoal_load_f32(&value, dtype, 0);
}

/* Random content for the shape and flags that are set, without mins; act-order puts inputs into
 * groups of exactly `group` by a random walk. */
static inline void made_fill(made_linear *l, maker *m)
{
    const int64_t g = made_group(l);
    const int top = 1 << l->bits;
    l->groups = (l->k + g - 1) / g;
    l->u = maker_alloc((size_t)(l->k * l->n));
    l->z = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->z);
    l->s = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->s);
    l->idx = maker_alloc((size_t)l->k * sizeof *l->idx);
    for (int64_t i = 0; i < l->k * l->n; i++)
        l->u[i] = (uint8_t)maker_below(m, top);
    for (int64_t i = 0; i < l->groups * l->n; i++) {
        l->z[i] = l->symmetric ? top / 2 : l->first_zero + (int)maker_below(m, top - l->first_zero);
        l->s[i] = made_number(m, l->scale_dtype);
    }
    for (int64_t k = 0; k < l->k; k++)
        l->idx[k] = (int32_t)(k / g);
    for (int64_t k = l->k - 1; l->act_order && k > 0; k--) {
        const int64_t other = maker_below(m, k + 1);
        const int32_t swap = l->idx[k];
        l->idx[k] = l->idx[other];
        l->idx[other] = swap;
    }
}

static inline void made_free(made_linear *l)
{
    free(l->u);
    free(l->z);
    free(l->s);
    free(l->mins);
    free(l->idx);
}

/* Field `index` of a run of `bits` each, lowest bit first; its words lie `stride` words apart. */
static inline void put_field(uint32_t *words, int64_t stride, int64_t index, int bits,
                             unsigned value)
{
    for (int b = 0; b < bits; b++) {
        const int64_t bit = index * bits + b;
        words[bit / 32 * stride] |= (value >> b & 1u) << (bit % 32);
    }
}

/* ---- a checkpoint with one module P ---- */

typedef struct {
    shoal_checkpoint *checkpoint;
    shoal_quantization quantization;
    shoal_manifest manifest;
    shoal_weight weight;
} opened;

/* `config` is the text of the quantization config, or NULL. close_module() also after a failure. */
static inline shoal_status open_module(const char *folder, const char *config, int64_t n, int64_t k,
                                       opened *o)
{
    const shoal_dialect *dialect;
    memset(o, 0, sizeof *o);
    SHOAL_TRY(shoal_quantization_parse(config, &o->quantization));
    SHOAL_TRY(shoal_checkpoint_open(folder, &o->checkpoint));
    o->manifest.checkpoint = o->checkpoint;
    const shoal_module module = {o->checkpoint, &o->quantization, "P", n, k};
    SHOAL_TRY(shoal_dialect_find(&module, &dialect));
    o->weight = (shoal_weight){.present = true, .dialect = dialect, .n = n, .k = k};
    for (int i = 0; dialect->parts[i]; i++)
        o->weight.parts[i] = shoal_module_tensor(&module, dialect->parts[i]);
    return dialect->describe(&module, &o->weight);
}

static inline void close_module(opened *o)
{
    shoal_checkpoint_close(o->checkpoint);
    o->checkpoint = NULL;
}

/* Write what the maker holds and open it; `n` and `k` are the model's. */
static inline void open_made(maker *m, const char *config, int64_t n, int64_t k, opened *o)
{
    if (open_module(maker_write(m, "{}"), config, n, k, o) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
}

/* Read a rectangle; the bytes counted are the bytes predicted. */
static inline shoal_canonical read_rect(const opened *o, const shoal_rect *rect, shoal_arena *arena)
{
    shoal_canonical block;
    const uint64_t before = shoal_checkpoint_bytes_read(o->checkpoint);
    const uint64_t predicted = shoal_weight_read_bytes(&o->weight, rect);
    if (shoal_weight_read(&o->manifest, &o->weight, rect, arena, &block) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(o->checkpoint) - before, predicted);
    return block;
}

/* ---- rectangles against the linear ---- */

/* Is element (i, j) of the block that of output n, input k (in walking order) of the linear? */
static inline bool element_right(const made_linear *l, const shoal_rect *rect, int64_t n, int64_t i,
                                 int64_t j, const shoal_canonical *b)
{
    const int64_t group = made_group(l), k = rect->k_begin + j;
    const int64_t stored = rect->order ? rect->order[k] : k;
    const int64_t from = l->idx[stored] * l->n + n;
    const int64_t at = i * b->groups + k / group - rect->k_begin / group;
    return k / group == l->idx[stored] && b->codes[i * b->k + j] == l->u[stored * l->n + n] &&
           (b->zeros ? b->zeros[at] : b->zero_const) == l->z[from] && b->scales[at] == l->s[from] &&
           (!l->mins || b->mins[at] == l->mins[from]);
}

/* Every element of a block of the weight whose first row is `row_offset` of the linear. */
static inline void check_block(const made_linear *l, const shoal_rect *rect, int64_t row_offset,
                               const shoal_canonical *b)
{
    bool right = b->n == rect->n_end - rect->n_begin && b->k == rect->k_end - rect->k_begin;
    right = right && b->kind == (l->bits > 4 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4);
    right = right && b->dtype == l->scale_dtype && (b->zeros != NULL) != l->symmetric;
    right = right && (b->mins != NULL) == (l->mins != NULL);
    for (int64_t i = 0; right && i < b->n; i++) {
        const int64_t n = row_offset + (rect->columns ? rect->columns[i] : rect->n_begin + i);
        for (int64_t j = 0; right && j < b->k; j++)
            right = element_right(l, rect, n, i, j, b);
    }
    if (!right)
        fail_msg("bits %d n %lld k %lld group %lld rect [%lld, %lld) x [%lld, %lld)%s%s", l->bits,
                 (long long)l->n, (long long)l->k, (long long)l->group, (long long)rect->n_begin,
                 (long long)rect->n_end, (long long)rect->k_begin, (long long)rect->k_end,
                 rect->columns ? " permuted" : "", rect->order ? " act-order" : "");
}

static inline void random_range(maker *m, int64_t size, int64_t *begin, int64_t *end)
{
    *begin = maker_below(m, size + 1);
    *end = *begin + maker_below(m, size - *begin + 1);
    if (maker_below(m, 4) == 0) {
        *begin = 0;
        *end = size;
    }
}

/* One random rectangle of an opened linear, its columns permuted if `columns` (room for n). */
static inline void check_random_rect(const opened *o, const made_linear *l, const int32_t *order,
                                     int32_t *columns, maker *m)
{
    shoal_arena *arena;
    shoal_rect rect = {.order = order, .columns = columns};
    random_range(m, o->weight.n, &rect.n_begin, &rect.n_end);
    random_range(m, l->k, &rect.k_begin, &rect.k_end);
    for (int64_t i = 0; columns && i < rect.n_end - rect.n_begin; i++)
        columns[i] = (int32_t)maker_below(m, o->weight.n);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    const shoal_canonical block = read_rect(o, &rect, arena);
    check_block(l, &rect, o->weight.row_offset, &block);
    shoal_arena_destroy(arena);
}

/* Random rectangles of a linear whose tensors the maker holds: some permuted, some of a weight
 * that is stacked in the module from a row on (`stacked`). Frees the linear and its tensors. */
static inline void check_linear(made_linear *l, const char *config, bool stacked, maker *m)
{
    opened o;
    open_made(m, config, l->n, l->k, &o);
    int32_t *order = maker_alloc((size_t)l->k * sizeof *order);
    int32_t *columns = maker_alloc((size_t)l->n * sizeof *columns);
    assert_int_equal(o.weight.act_order, l->act_order);
    if (l->act_order)
        assert_int_equal(shoal_weight_order(&o.manifest, &o.weight, order), SHOAL_OK);
    for (int round = 0; round < 12; round++) {
        o.weight.row_offset = stacked ? maker_below(m, l->n) : 0;
        o.weight.n = l->n - o.weight.row_offset;
        check_random_rect(&o, l, l->act_order ? order : NULL, round % 3 == 2 ? columns : NULL, m);
    }
    free(order);
    free(columns);
    close_module(&o);
    maker_forget(m);
    made_free(l);
}

/* Opening P or reading all of it, its order too, is SHOAL_ERR_DATA with a sentence that holds
 * these words ("" for fewer). Frees the tensors. */
static inline void check_refused(maker *m, const char *config, int64_t n, int64_t k,
                                 const char *const says[3])
{
    const shoal_rect all = {.n_end = n, .k_end = k};
    int32_t *order = maker_alloc((size_t)k * sizeof *order);
    shoal_arena *arena;
    shoal_canonical block;
    opened o;
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    shoal_status st = open_module(maker_write(m, "{}"), config, n, k, &o);
    if (st == SHOAL_OK)
        st = o.weight.act_order ? shoal_weight_order(&o.manifest, &o.weight, order)
                                : shoal_weight_read(&o.manifest, &o.weight, &all, arena, &block);
    if (st != SHOAL_ERR_DATA)
        fail_msg("'%s': %s", says[0], shoal_status_name(st));
    for (int w = 0; w < 3; w++)
        if (!strstr(shoal_error_text(), says[w]))
            fail_msg("'%s' lacks '%s'", shoal_error_text(), says[w]);
    shoal_arena_destroy(arena);
    close_module(&o);
    maker_forget(m);
    free(order);
}

/* ---- spoiling a module ---- */

static inline void spoil_nothing(maker *m)
{
    (void)m;
}

/* The tensor with another shape, its content 0. */
static inline void spoil_replace(maker *m, const char *name, shoal_dtype dtype, int64_t rows,
                                 int64_t columns)
{
    maker_remove(m, name);
    maker_add(m, name, dtype, rows, columns);
}

/* ---- arrays with known CRCs ---- */

enum { CRC_K = 256, CRC_N = 128, CRC_G = 4 };

static inline uint32_t crc32_of(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= at[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Codes [CRC_K][CRC_N] of 4 or 8 bits, and 4-bit zeros [CRC_G][CRC_N]. */
static inline void crc_codes(int bits, uint8_t *u)
{
    const int per_n = bits == 8 ? 13 : 3, cycle = bits == 8 ? 11 : 5;
    for (int k = 0; k < CRC_K; k++)
        for (int n = 0; n < CRC_N; n++)
            u[k * CRC_N + n] = (uint8_t)((7 * k + per_n * n + k * n % cycle) & ((1 << bits) - 1));
    assert_int_equal(crc32_of(u, (size_t)CRC_K * CRC_N), bits == 8 ? 0x63eb5776u : 0x1fb18483u);
}

static inline void crc_zeros(int *z)
{
    for (int i = 0; i < CRC_G * CRC_N; i++)
        z[i] = (5 * (i / CRC_N) + 3 * (i % CRC_N)) & 15;
}

#endif

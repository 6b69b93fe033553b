/* Stored forms against a reference that knows the codes: made-up GPTQ, AWQ and dense modules of
 * random shapes, read by random rectangles and compared element by element; the bytes counted
 * against the bytes predicted; what is refused; and the packers of this test against golden CRCs
 * (formats: K=256, N=128, g=64). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "shard/dialect.h"
#include "shard/quantize.h"
#include "tests/unit/checkpoint_maker.h"

typedef enum { GPTQ, AWQ } form_kind;

/* One linear: how it is stored, and what it holds. */
typedef struct {
    form_kind kind;
    int bits;
    bool symmetric, act_order, g_idx;
    shoal_zeros_rule zeros;
    shoal_dtype scale_dtype;
    int64_t n, k, group; /* group: as in the config, -1 for all of k */
    int64_t groups;
    uint8_t *u;   /* [k][n] */
    int *z;       /* [groups][n] */
    float *s;     /* [groups][n] */
    int32_t *idx; /* [k] group of input k */
} linear;

static int64_t group_of(const linear *l)
{
    return l->group < 0 || l->group > l->k ? l->k : l->group;
}

static void put_field(uint32_t *words, int64_t stride, int64_t index, int bits, unsigned value)
{
    for (int b = 0; b < bits; b++) {
        const int64_t bit = index * bits + b;
        words[bit / 32 * stride] |= (value >> b & 1u) << (bit % 32);
    }
}

/* Random content; act-order puts inputs into groups of exactly `group` by a random walk. */
static void linear_fill(linear *l, maker *m)
{
    const int64_t g = group_of(l);
    l->groups = (l->k + g - 1) / g;
    l->u = maker_alloc((size_t)(l->k * l->n));
    l->z = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->z);
    l->s = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->s);
    l->idx = maker_alloc((size_t)l->k * sizeof *l->idx);
    for (int64_t i = 0; i < l->k * l->n; i++)
        l->u[i] = (uint8_t)maker_below(m, 1 << l->bits);
    for (int64_t i = 0; i < l->groups * l->n; i++) {
        const int first = l->zeros == SHOAL_ZEROS_PLAIN ? 0 : 1;
        l->z[i] =
            l->symmetric ? 1 << (l->bits - 1) : first + (int)maker_below(m, (1 << l->bits) - first);
        l->s[i] = maker_unit(m);
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

static void linear_free(linear *l)
{
    free(l->u);
    free(l->z);
    free(l->s);
    free(l->idx);
}

static const int awq_order[8] = {0, 2, 4, 6, 1, 3, 5, 7};

static void pack_awq(const uint8_t *u, int64_t rows, int64_t n, uint32_t *words)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < n; c += 8)
            for (int i = 0; i < 8; i++)
                words[r * (n / 8) + c / 8] |= (uint32_t)u[r * n + c + awq_order[i]] << (4 * i);
}

static void pack_gptq_codes(const linear *l, uint32_t *words)
{
    for (int64_t k = 0; k < l->k; k++)
        for (int64_t n = 0; n < l->n; n++)
            put_field(words + n, l->n, k, l->bits, l->u[k * l->n + n]);
}

static void pack_gptq_zeros(const linear *l, uint32_t *words)
{
    const int64_t row = (l->n * l->bits + 31) / 32;
    const unsigned less = l->zeros == SHOAL_ZEROS_PLAIN ? 0 : 1;
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            put_field(words + g * row, 1, n, l->bits,
                      ((unsigned)l->z[g * l->n + n] - less) & ((1u << l->bits) - 1));
}

static void linear_store(const linear *l, maker *m)
{
    const int64_t words = (l->k * l->bits + 31) / 32, zero_words = (l->n * l->bits + 31) / 32;
    if (l->kind == GPTQ) {
        pack_gptq_codes(l, maker_add(m, "P.qweight", SHOAL_I32, words, l->n));
        pack_gptq_zeros(l, maker_add(m, "P.qzeros", SHOAL_I32, l->groups, zero_words));
    } else {
        uint8_t *z = maker_alloc((size_t)(l->groups * l->n));
        for (int64_t i = 0; i < l->groups * l->n; i++)
            z[i] = (uint8_t)l->z[i];
        pack_awq(l->u, l->k, l->n, maker_add(m, "P.qweight", SHOAL_I32, l->k, l->n / 8));
        pack_awq(z, l->groups, l->n, maker_add(m, "P.qzeros", SHOAL_I32, l->groups, l->n / 8));
        free(z);
    }
    void *scales = maker_add(m, "P.scales", l->scale_dtype, l->groups, l->n);
    for (int64_t i = 0; i < l->groups * l->n; i++) {
        maker_store(scales, l->scale_dtype, (size_t)i, l->s[i]);
        l->s[i] = shoal_load_f32(scales, l->scale_dtype, (size_t)i);
    }
    if (l->g_idx)
        memcpy(maker_add(m, "P.g_idx", SHOAL_I32, l->k, 0), l->idx, (size_t)l->k * sizeof *l->idx);
}

/* A checkpoint with one module P, opened and described. */
typedef struct {
    shoal_checkpoint *checkpoint;
    shoal_quantization quantization;
    shoal_manifest manifest;
    shoal_weight weight;
} opened;

static void config_text(const linear *l, char *out, size_t room)
{
    if (l->kind == AWQ)
        snprintf(out, room,
                 "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":%d,"
                 "\"zero_point\":true,\"version\":\"GEMM\"}",
                 (int)l->group);
    else
        snprintf(out, room,
                 "{\"quant_method\":\"gptq\",\"bits\":%d,\"group_size\":%d,\"sym\":%s,"
                 "\"desc_act\":%s,\"checkpoint_format\":\"%s\"%s}",
                 l->bits, (int)l->group, l->symmetric ? "true" : "false",
                 l->act_order ? "true" : "false",
                 l->zeros == SHOAL_ZEROS_PLAIN ? "gptq_v2" : "gptq",
                 l->zeros == SHOAL_ZEROS_MINUS_ONE_WORD
                     ? ",\"meta\":{\"quantizer\":[\"gptqmodel:1.4.0\"]}"
                     : "");
}

static shoal_status open_module(const char *folder, const char *config, int64_t n, int64_t k,
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

static void open_linear(const linear *l, maker *m, opened *o)
{
    char config[256];
    config_text(l, config, sizeof config);
    if (open_module(maker_write(m, "{}"), config, l->n, l->k, o) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
}

static void close_module(opened *o)
{
    shoal_checkpoint_close(o->checkpoint);
    o->checkpoint = NULL;
}

/* Read a rectangle; the bytes counted are the bytes predicted. */
static shoal_canonical read_rect(const opened *o, const shoal_rect *rect, shoal_arena *arena)
{
    shoal_canonical block;
    const uint64_t before = shoal_checkpoint_bytes_read(o->checkpoint);
    const uint64_t predicted = shoal_weight_read_bytes(&o->weight, rect);
    if (shoal_weight_read(&o->manifest, &o->weight, rect, arena, &block) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(o->checkpoint) - before, predicted);
    return block;
}

/* Every element of a block against the linear. `order` maps walked inputs to stored ones. */
static void check_block(const linear *l, const shoal_rect *rect, int64_t row_offset,
                        const shoal_canonical *b)
{
    const int64_t group = group_of(l), first = rect->k_begin / group;
    bool right = b->n == rect->n_end - rect->n_begin && b->k == rect->k_end - rect->k_begin;
    right = right && b->kind == (l->bits == 8 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4);
    right = right && b->dtype == l->scale_dtype && (b->zeros != NULL) != l->symmetric;
    for (int64_t i = 0; right && i < b->n; i++) {
        const int64_t n = row_offset + (rect->columns ? rect->columns[i] : rect->n_begin + i);
        for (int64_t j = 0; right && j < b->k; j++) {
            const int64_t k = rect->k_begin + j;
            const int64_t stored = rect->order ? rect->order[k] : k;
            const int64_t g = l->idx[stored];
            const int64_t at = i * b->groups + k / group - first;
            right = k / group == g && b->codes[i * b->k + j] == l->u[stored * l->n + n] &&
                    (b->zeros ? b->zeros[at] : b->zero_const) == l->z[g * l->n + n] &&
                    b->scales[at] == l->s[g * l->n + n];
        }
    }
    if (!right)
        fail_msg("bits %d n %lld k %lld group %lld rect [%lld, %lld) x [%lld, %lld)%s%s", l->bits,
                 (long long)l->n, (long long)l->k, (long long)l->group, (long long)rect->n_begin,
                 (long long)rect->n_end, (long long)rect->k_begin, (long long)rect->k_end,
                 rect->columns ? " permuted" : "", rect->order ? " act-order" : "");
}

static void random_range(maker *m, int64_t size, int64_t *begin, int64_t *end)
{
    *begin = maker_below(m, size + 1);
    *end = *begin + maker_below(m, size - *begin + 1);
    if (maker_below(m, 4) == 0) {
        *begin = 0;
        *end = size;
    }
}

/* Random rectangles of a stored linear, some permuted, some of a part of its rows. */
static void check_linear(linear *l, maker *m)
{
    opened o;
    shoal_arena *arena;
    linear_fill(l, m);
    linear_store(l, m);
    open_linear(l, m, &o);
    int32_t *order = maker_alloc((size_t)l->k * sizeof *order);
    int32_t *columns = maker_alloc((size_t)l->n * sizeof *columns);
    assert_int_equal(o.weight.act_order, l->act_order);
    if (l->act_order)
        assert_int_equal(shoal_weight_order(&o.manifest, &o.weight, order), SHOAL_OK);
    for (int round = 0; round < 12; round++) {
        shoal_rect rect = {.order = l->act_order ? order : NULL};
        o.weight.row_offset = l->kind == GPTQ ? maker_below(m, l->n) : 0;
        o.weight.n = l->n - o.weight.row_offset;
        random_range(m, o.weight.n, &rect.n_begin, &rect.n_end);
        random_range(m, l->k, &rect.k_begin, &rect.k_end);
        if (round % 3 == 2) {
            for (int64_t i = 0; i < rect.n_end - rect.n_begin; i++)
                columns[i] = (int32_t)maker_below(m, o.weight.n);
            rect.columns = columns;
        }
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        const shoal_canonical block = read_rect(&o, &rect, arena);
        check_block(l, &rect, o.weight.row_offset, &block);
        shoal_arena_destroy(arena);
    }
    free(order);
    free(columns);
    close_module(&o);
    maker_forget(m);
    linear_free(l);
}

static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};

static void gptq_any_shape(void **state)
{
    static const int widths[] = {2, 3, 4, 8};
    static const int64_t groups[] = {8, 16, 32, 40, 64, 128, -1};
    maker m = {.seed = 7};
    (void)state;
    for (int round = 0; round < 160; round++) {
        linear l = {.kind = GPTQ, .bits = widths[round % 4]};
        l.symmetric = maker_below(&m, 2);
        l.act_order = maker_below(&m, 3) == 0;
        l.g_idx = l.act_order || maker_below(&m, 2);
        l.zeros = (shoal_zeros_rule)maker_below(&m, l.bits == 3 ? 2 : 3);
        l.scale_dtype = scale_types[maker_below(&m, 3)];
        l.n = 1 + maker_below(&m, 150);
        l.k = 1 + maker_below(&m, 300);
        l.group = groups[maker_below(&m, l.act_order ? 6 : 7)];
        check_linear(&l, &m);
    }
}

static void awq_any_shape(void **state)
{
    static const int64_t groups[] = {16, 32, 64, 128, -1};
    maker m = {.seed = 8};
    (void)state;
    for (int round = 0; round < 60; round++) {
        linear l = {.kind = AWQ, .bits = 4};
        l.scale_dtype = scale_types[maker_below(&m, 3)];
        l.n = 8 * (1 + maker_below(&m, 16));
        l.k = 1 + maker_below(&m, 300);
        l.group = groups[maker_below(&m, 5)];
        check_linear(&l, &m);
    }
}

/* Dense rectangles, and the same quantized at load: any slice has the codes of the whole. */
static void check_dense(opened *o, maker *m, const shoal_canonical *whole)
{
    shoal_arena *arena;
    shoal_rect rect = {0};
    random_range(m, o->weight.n, &rect.n_begin, &rect.n_end);
    random_range(m, o->weight.k, &rect.k_begin, &rect.k_end);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    const shoal_canonical b = read_rect(o, &rect, arena);
    const size_t size = b.dense ? shoal_dtype_bytes(b.dtype) : 1;
    const char *from = whole->dense ? whole->dense : (const char *)whole->codes;
    const char *to = b.dense ? b.dense : (const char *)b.codes;
    for (int64_t i = 0; i < b.n; i++) {
        const int64_t at = (rect.n_begin + i) * whole->k + rect.k_begin;
        const int64_t first = (rect.n_begin + i) * whole->groups + rect.k_begin / o->weight.group;
        assert_memory_equal(to + (size_t)(i * b.k) * size, from + (size_t)at * size,
                            (size_t)b.k * size);
        if (b.groups)
            assert_memory_equal(b.scales + i * b.groups, whole->scales + first,
                                (size_t)b.groups * sizeof(float));
    }
    shoal_arena_destroy(arena);
}

/* The whole, quantized row by row in the test. */
static void check_codes(const opened *o, const shoal_canonical *whole, const void *dense)
{
    const shoal_weight *w = &o->weight;
    float row[512];
    uint8_t codes[512];
    float scale;
    for (int64_t n = 0; n < w->n; n++)
        for (int64_t k = 0; k < w->k; k += w->group) {
            const int64_t count = k + w->group < w->k ? w->group : w->k - k;
            for (int64_t i = 0; i < count; i++)
                row[i] = shoal_load_f32(dense, w->parts[0]->dtype, (size_t)(n * w->k + k + i));
            assert_true(shoal_quantize_weight_group(row, count, w->kind, codes, &scale));
            assert_memory_equal(whole->codes + n * w->k + k, codes, (size_t)count);
            assert_true(whole->scales[n * whole->groups + k / w->group] == scale);
        }
}

static void dense_and_quantized_at_load(void **state)
{
    static const char *const words[] = {NULL, "int4-g32", "int4-g64", "int4-g128", "int8"};
    maker m = {.seed = 9};
    (void)state;
    for (int round = 0; round < 60; round++) {
        const int64_t n = 1 + maker_below(&m, 150), k = 1 + maker_below(&m, 300);
        const void *dense = maker_add_random(&m, "P.weight", scale_types[round % 3], n, k);
        const char *word = words[round % 5];
        opened o;
        shoal_arena *arena;
        assert_int_equal(open_module(maker_write(&m, "{}"), NULL, n, k, &o), SHOAL_OK);
        if (word) {
            shoal_quantizer q;
            assert_int_equal(shoal_quantizer_parse(word, &q), SHOAL_OK);
            o.weight.dialect = &shoal_dialect_at_load;
            o.weight.kind = q.kind;
            o.weight.zero_const = q.zero;
            o.weight.dtype = SHOAL_F32;
            o.weight.group = q.group ? q.group : k;
        }
        const shoal_rect all = {.n_end = n, .k_end = k};
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        const shoal_canonical whole = read_rect(&o, &all, arena);
        if (word)
            check_codes(&o, &whole, dense);
        else
            assert_memory_equal(whole.dense, dense,
                                (size_t)(n * k) * shoal_dtype_bytes(whole.dtype));
        for (int i = 0; i < 8; i++)
            check_dense(&o, &m, &whole);
        shoal_arena_destroy(arena);
        close_module(&o);
        maker_forget(&m);
    }
}

static uint32_t crc32_of(const void *data, size_t bytes)
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

/* The packers above make the words that the libraries make. */
static void packers_match_golden_crcs(void **state)
{
    enum { K = 256, N = 128, G = 4 };
    static uint8_t u4[K * N], u8[K * N], u3[K * N], z4[G * N];
    static uint32_t words[K * N];
    static int z[G * N];
    (void)state;
    for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++) {
            u4[k * N + n] = (uint8_t)((7 * k + 3 * n + k * n % 5) & 15);
            u8[k * N + n] = (uint8_t)((7 * k + 13 * n + k * n % 11) & 255);
            u3[k * N + n] = u4[k * N + n] & 7;
        }
    for (int i = 0; i < G * N; i++)
        z[i] = z4[i] = (uint8_t)((5 * (i / N) + 3 * (i % N)) & 15);
    assert_int_equal(crc32_of(u4, sizeof u4), 0x1fb18483u);
    assert_int_equal(crc32_of(u8, sizeof u8), 0x63eb5776u);
    const struct {
        int bits;
        uint8_t *u;
        size_t bytes;
        uint32_t crc;
    } codes[] = {{4, u4, 32 * N * 4, 0xbfbf4931u},
                 {8, u8, 64 * N * 4, 0x10cf7b2cu},
                 {3, u3, 24 * N * 4, 0x1dbc1764u}};
    for (size_t i = 0; i < 3; i++) {
        const linear l = {.bits = codes[i].bits, .n = N, .k = K, .u = codes[i].u};
        memset(words, 0, sizeof words);
        pack_gptq_codes(&l, words);
        assert_int_equal(crc32_of(words, codes[i].bytes), codes[i].crc);
    }
    linear l = {.bits = 4, .n = N, .groups = G, .z = z, .zeros = SHOAL_ZEROS_PLAIN};
    memset(words, 0, sizeof words);
    pack_gptq_zeros(&l, words);
    assert_int_equal(crc32_of(words, G * N / 2), 0xc8d96b06u);
    l.zeros = SHOAL_ZEROS_MINUS_ONE;
    memset(words, 0, sizeof words);
    pack_gptq_zeros(&l, words);
    assert_int_equal(crc32_of(words, G * N / 2), 0x27026f15u);
    memset(words, 0, sizeof words);
    pack_awq(u4, K, N, words);
    assert_int_equal(crc32_of(words, K * N / 2), 0xd52a002cu);
    memset(words, 0, sizeof words);
    pack_awq(z4, G, N, words);
    assert_int_equal(crc32_of(words, G * N / 2), 0x1d7199efu);
}

/* z = [8,8,0,8,8,8,8,8] as v1 writers stored it, and what each reader rule makes of it. */
static void zero_of_v1(void **state)
{
    static const struct {
        shoal_zeros_rule rule;
        uint32_t word;
        int16_t zeros[8];
    } cases[] = {
        {SHOAL_ZEROS_MINUS_ONE, 0x77777f77u, {8, 8, 0, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE, 0x77776f77u, {8, 8, 0, 7, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE, 0xffffff77u, {8, 8, 0, 0, 0, 0, 0, 0}},
        {SHOAL_ZEROS_MINUS_ONE_WORD, 0x77776f77u, {8, 8, 0, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE_WORD, 0x77777777u, {8, 8, 8, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_PLAIN, 0x88888088u, {8, 8, 0, 8, 8, 8, 8, 8}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = i};
        linear l = {.kind = GPTQ, .bits = 4, .zeros = cases[i].rule, .n = 8, .k = 8, .group = -1};
        const shoal_rect all = {.n_end = 8, .k_end = 8}, cut = {2, 5, 0, 8, NULL, NULL};
        opened o;
        shoal_arena *arena;
        linear_fill(&l, &m);
        linear_store(&l, &m);
        memcpy(maker_find(&m, "P.qzeros")->data, &cases[i].word, 4);
        open_linear(&l, &m, &o);
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        assert_memory_equal(read_rect(&o, &all, arena).zeros, cases[i].zeros, 16);
        assert_memory_equal(read_rect(&o, &cut, arena).zeros, cases[i].zeros + 2, 6);
        shoal_arena_destroy(arena);
        close_module(&o);
        maker_forget(&m);
        linear_free(&l);
    }
}

/* What must be refused, and the words that the sentence must hold. */
static void spoil_scale_nan(maker *m)
{
    maker_store(maker_find(m, "P.scales")->data, SHOAL_F16, 3 * 16 + 5, NAN);
}

static void spoil_scale_inf(maker *m)
{
    maker_store(maker_find(m, "P.scales")->data, SHOAL_F16, 3 * 16 + 5, -INFINITY);
}

static void spoil_symmetry(maker *m)
{
    ((uint8_t *)maker_find(m, "P.qzeros")->data)[4 + 2] = 0x79; /* group 0, columns 12, 13 */
}

static void spoil_g_idx(maker *m)
{
    int32_t *g_idx = maker_find(m, "P.g_idx")->data;
    g_idx[40] = (g_idx[40] + 1) % 4;
}

static void spoil_g_idx_range(maker *m)
{
    ((int32_t *)maker_find(m, "P.g_idx")->data)[40] = 4;
}

static void spoil_g_idx_negative(maker *m)
{
    ((int32_t *)maker_find(m, "P.g_idx")->data)[40] = -1;
}

static void spoil_no_g_idx(maker *m)
{
    maker_remove(m, "P.g_idx");
}

static void spoil_no_zeros(maker *m)
{
    maker_remove(m, "P.qzeros");
}

static void spoil_no_scales(maker *m)
{
    maker_remove(m, "P.scales");
}

static void spoil_twice(maker *m)
{
    maker_add_random(m, "P.weight", SHOAL_F16, 16, 128);
}

static void spoil_awq_shape(maker *m)
{
    maker_remove(m, "P.qweight");
    maker_add(m, "P.qweight", SHOAL_I32, 128, 2);
}

static void spoil_shape(maker *m)
{
    maker_remove(m, "P.qweight");
    maker_add(m, "P.qweight", SHOAL_I32, 16, 24);
}

static void spoil_zero_shape(maker *m)
{
    maker_remove(m, "P.qzeros");
    maker_add(m, "P.qzeros", SHOAL_I32, 3, 2);
}

static void spoil_dtype(maker *m)
{
    maker_find(m, "P.qweight")->dtype = SHOAL_F32;
}

static void spoil_scale_dtype(maker *m)
{
    maker_find(m, "P.scales")->dtype = SHOAL_I16;
}

static void spoil_everything(maker *m)
{
    spoil_no_scales(m);
    spoil_no_zeros(m);
    spoil_no_g_idx(m);
    maker_find(m, "P.qweight")->name[2] = 'x';
}

static void refusals(void **state)
{
    static const struct {
        void (*spoil)(maker *);
        bool act_order;
        const char *says[3];
    } cases[] = {
        {spoil_scale_nan, false, {"P.scales", "group 3, column 5", "NaN"}},
        {spoil_scale_inf, false, {"P.scales", "group 3, column 5", "infinite"}},
        {spoil_symmetry, false, {"P.qzeros", "group 0, column 12", "zero 9 instead of 7"}},
        {spoil_g_idx, false, {"P.g_idx", "input 40 in group 2", "so 1"}},
        {spoil_g_idx, true, {"P.g_idx", "group", "inputs, not 32"}},
        {spoil_g_idx_range, true, {"P.g_idx", "input 40 is in group 4 of 4", ""}},
        {spoil_g_idx_negative, true, {"P.g_idx", "input 40 is in group -1", ""}},
        {spoil_no_g_idx, true, {"P.g_idx is missing", "desc_act", ""}},
        {spoil_no_zeros, false, {"P.qzeros is missing", "", ""}},
        {spoil_no_scales, false, {"P.scales is missing", "", ""}},
        {spoil_twice, false, {"stored twice", "P.weight", "P.qweight"}},
        {spoil_awq_shape, false, {"P.qweight", "as awq does", "says gptq"}},
        {spoil_shape, false, {"P.qweight has shape [16, 24]", "[16, 16]", ""}},
        {spoil_zero_shape, false, {"P.qzeros has shape [3, 2]", "[4, 2]", ""}},
        {spoil_dtype, false, {"P.qweight has dtype F32", "I32", ""}},
        {spoil_scale_dtype, false, {"P.scales has dtype I16", "F16", ""}},
        {spoil_everything, false, {"P:", "'gptq'", "xweight I32 [16, 16]"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = 100 + i};
        linear l = {.kind = GPTQ,
                    .bits = 4,
                    .symmetric = true,
                    .g_idx = true,
                    .zeros = SHOAL_ZEROS_MINUS_ONE,
                    .scale_dtype = SHOAL_F16,
                    .n = 16,
                    .k = 128,
                    .group = 32,
                    .act_order = cases[i].act_order};
        char config[256];
        int32_t order[128];
        shoal_arena *arena;
        shoal_canonical block;
        const shoal_rect all = {.n_end = 16, .k_end = 128};
        opened o;
        linear_fill(&l, &m);
        linear_store(&l, &m);
        cases[i].spoil(&m);
        config_text(&l, config, sizeof config);
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        shoal_status st = open_module(maker_write(&m, "{}"), config, 16, 128, &o);
        if (st == SHOAL_OK)
            st = l.act_order ? shoal_weight_order(&o.manifest, &o.weight, order)
                             : shoal_weight_read(&o.manifest, &o.weight, &all, arena, &block);
        if (st != SHOAL_ERR_DATA)
            fail_msg("case %zu: %s", i, shoal_status_name(st));
        for (int w = 0; w < 3; w++)
            if (!strstr(shoal_error_text(), cases[i].says[w]))
                fail_msg("case %zu: '%s' lacks '%s'", i, shoal_error_text(), cases[i].says[w]);
        shoal_arena_destroy(arena);
        close_module(&o);
        maker_forget(&m);
        linear_free(&l);
    }
}

/* Quantization configs: names of both generations, defaults, and what is not read. */
static const struct {
    const char *text, *error; /* error NULL: parses */
    shoal_quantization want;
} config_cases[] = {
    {NULL, NULL, {.method = SHOAL_METHOD_NONE}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":true}",
     NULL,
     {SHOAL_METHOD_GPTQ, 4, 128, true, false, false, SHOAL_ZEROS_MINUS_ONE}},
    {"{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"desc_act\":true}",
     NULL,
     {SHOAL_METHOD_GPTQ, 8, -1, true, true, false, SHOAL_ZEROS_MINUS_ONE}},
    {"{\"method\":\"gptq\",\"format\":\"gptq_v2\",\"bits\":4,\"group_size\":32,"
     "\"desc_act\":true,\"sym\":false}",
     NULL,
     {SHOAL_METHOD_GPTQ, 4, 32, false, true, true, SHOAL_ZEROS_PLAIN}},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true,"
     "\"meta\":{\"static_groups\":true,\"quantizer\":\"gptqmodel:0.9.0\"}}",
     NULL,
     {SHOAL_METHOD_GPTQ, 4, 32, true, true, false, SHOAL_ZEROS_MINUS_ONE_WORD}},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"optimum:1\",\"gptqmodel:0.8.7\"]}}",
     NULL,
     {SHOAL_METHOD_GPTQ, 4, 32, true, false, false, SHOAL_ZEROS_MINUS_ONE}},
    {"{\"method\":\"gptq\",\"bits\":3,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"gptqmodel:7.7.0\"]}}",
     NULL,
     {SHOAL_METHOD_GPTQ, 3, 32, true, false, false, SHOAL_ZEROS_MINUS_ONE}},
    {"{\"w_bit\":4,\"q_group_size\":128,\"zero_point\":true,\"version\":\"GEMM\"}",
     NULL,
     {SHOAL_METHOD_AWQ, 4, 128, false, false, false, SHOAL_ZEROS_PLAIN}},
    {"{\"bits\":5,\"group_size\":128}", "5 bits", {0}},
    {"{\"bits\":4,\"group_size\":0}", "group_size is 0", {0}},
    {"{\"bits\":4}", "group_size is missing", {0}},
    {"{\"bits\":\"4\",\"group_size\":128}", "bits is not an integer", {0}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":1}", "sym is not true or false", {0}},
    {"{\"bits\":4,\"group_size\":128,\"checkpoint_format\":\"marlin\"}", "'marlin'", {0}},
    {"{\"bits\":4,\"group_size\":128,\"is_marlin_format\":true}", "'marlin'", {0}},
    {"{\"bits\":4,\"group_size\":128,\"pack_dtype\":\"int16\"}", "int16", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"-:.*gate.*\":{}}}",
     NULL,
     {SHOAL_METHOD_GPTQ, 4, 128, true, false, false, SHOAL_ZEROS_MINUS_ONE}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"+:.*down.*\":{\"bits\":8}}}",
     "'+:.*down.*' changes bits",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv\"}", "'gemv'", {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv_fast\"}",
     "'gemv_fast'",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":8,\"group_size\":64}", "awq with 8 bits", {0}},
    {"{\"quant_method\":\"fp8\"}", "'fp8'", {0}},
    {"{}", "quant_method is missing", {0}},
    {"[]", "not a JSON object", {0}},
    {"{", "quantization config", {0}},
};

static void configs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof config_cases / sizeof config_cases[0]; i++) {
        const shoal_quantization *want = &config_cases[i].want;
        shoal_quantization q;
        const shoal_status st = shoal_quantization_parse(config_cases[i].text, &q);
        assert_int_equal(st, config_cases[i].error ? SHOAL_ERR_DATA : SHOAL_OK);
        if (config_cases[i].error) {
            if (!strstr(shoal_error_text(), config_cases[i].error))
                fail_msg("%s: %s", config_cases[i].text, shoal_error_text());
            continue;
        }
        if (q.method != want->method || q.bits != want->bits || q.group != want->group ||
            q.symmetric != want->symmetric || q.desc_act != want->desc_act ||
            q.act_order != want->act_order || q.zeros != want->zeros)
            fail_msg("%s", config_cases[i].text);
    }
}

/* A read that fails half way, for want of memory at any point, frees what it took. */
static void memory_runs_out(void **state)
{
    maker m = {.seed = 5};
    linear l = {.kind = GPTQ,
                .bits = 4,
                .act_order = true,
                .g_idx = true,
                .zeros = SHOAL_ZEROS_MINUS_ONE,
                .scale_dtype = SHOAL_F16,
                .n = 70,
                .k = 96,
                .group = 32};
    int32_t order[96], columns[3] = {69, 0, 7};
    const shoal_rect rect = {0, 3, 10, 90, columns, order};
    opened o;
    (void)state;
    linear_fill(&l, &m);
    linear_store(&l, &m);
    open_linear(&l, &m, &o);
    const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT);
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        shoal_arena *arena;
        shoal_canonical block;
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        shoal_mem_fail_nth(nth);
        shoal_status st = shoal_weight_order(&o.manifest, &o.weight, order);
        if (st == SHOAL_OK)
            st = shoal_weight_read(&o.manifest, &o.weight, &rect, arena, &block);
        shoal_mem_fail_nth(0);
        done = st == SHOAL_OK;
        assert_true(done || st == SHOAL_ERR_TEMPORARY);
        assert_true(nth < 100);
        if (done)
            check_block(&l, &rect, 0, &block);
        shoal_arena_destroy(arena);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
    }
    close_module(&o);
    maker_forget(&m);
    linear_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packers_match_golden_crcs),
        cmocka_unit_test(configs),
        cmocka_unit_test(gptq_any_shape),
        cmocka_unit_test(awq_any_shape),
        cmocka_unit_test(dense_and_quantized_at_load),
        cmocka_unit_test(zero_of_v1),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

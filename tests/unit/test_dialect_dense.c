/* Dense weights by random rectangles, as they are and quantized while they are read. */
#include "shard/quantize.h"
#include "tests/unit/dialect_case.h"

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
    static const shoal_dtype types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 9};
    (void)state;
    for (int round = 0; round < 60; round++) {
        const int64_t n = 1 + maker_below(&m, 150), k = 1 + maker_below(&m, 300);
        const void *dense = maker_add_random(&m, "P.weight", types[round % 3], n, k);
        const char *word = words[round % 5];
        opened o;
        shoal_arena *arena;
        open_made(&m, NULL, n, k, &o);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_and_quantized_at_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* From checkpoint to packed linear: every element of loaded slices against the canonical weights,
 * the same bytes on any number of threads, read and resident bytes against what was predicted, a
 * linear that needs several strips, and failures on threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "shard/dialect.h"
#include "shard/load.h"
#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} loaded;

static void load(const char *name, const shoal_manifest_options *options, loaded *l)
{
    const char *root = getenv("SHOAL_GOLDEN");
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/golden", name);
    if (shoal_model_open(path, &l->model) != SHOAL_OK ||
        shoal_checkpoint_open(path, &l->checkpoint) != SHOAL_OK ||
        shoal_manifest_create(l->model, l->checkpoint, options, &l->manifest) != SHOAL_OK)
        fail_msg("%s: %s", name, shoal_error_text());
}

static void unload(loaded *l)
{
    shoal_manifest_destroy(l->manifest);
    shoal_checkpoint_close(l->checkpoint);
    shoal_model_close(l->model);
}

static shoal_linear_spec spec_of(const shoal_weight *w, const shoal_rect *rect, int64_t unit)
{
    return (shoal_linear_spec){
        .n = rect->n_end - rect->n_begin,
        .k = rect->k_end - rect->k_begin,
        .k_begin = rect->k_begin,
        .kind = w->kind,
        .dtype = w->dtype,
        .group = w->group,
        .has_zeros = w->has_zeros,
        .zero_const = w->zero_const,
        .has_mins = w->has_mins,
        .act = w->kind == SHOAL_WEIGHT_FLOAT ? SHOAL_ACT_F32 : SHOAL_ACT_INT8,
        .act_group = unit ? unit : 128,
        .unit = unit,
    };
}

static float element(const shoal_canonical *b, int64_t group, int64_t k_begin, int64_t n, int64_t k)
{
    if (b->dense)
        return shoal_load_f32(b->dense, b->dtype, (size_t)(n * b->k + k));
    const int64_t at = n * b->groups + (k_begin + k) / group - k_begin / group;
    const int zero = b->zeros ? b->zeros[at] : b->zero_const;
    return (float)(b->codes[n * b->k + k] - zero) * b->scales[at];
}

static uint64_t round64(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void check_bias(const loaded *l, const shoal_weight *w, const shoal_rect *rect,
                       const shoal_linear *linear)
{
    float all[4096];
    if (!w->bias || linear->spec.n == 0) {
        assert_null(linear->bias);
        return;
    }
    assert_int_equal(shoal_vector_read(l->manifest, w->bias, 0, w->bias->shape[0], NULL, all),
                     SHOAL_OK);
    for (int64_t n = 0; n < linear->spec.n; n++) {
        const int64_t row = rect->columns ? rect->columns[n] : rect->n_begin + n;
        assert_true(linear->bias[n] == all[w->row_offset + row]);
    }
}

static void same_bytes(const void *a, const void *b, uint64_t bytes)
{
    assert_true((a == NULL) == (b == NULL));
    if (a && bytes)
        assert_memory_equal(a, b, bytes);
}

/* The same slice on one, two and three threads at the best level of this machine: the bytes that
 * the reference level packed, and as many bytes read. */
static void check_threads(const loaded *l, const shoal_weight *w, const shoal_rect *rect,
                          const shoal_linear_spec *spec, const shoal_linear *want)
{
    for (int threads = 1; threads <= 3; threads++) {
        shoal_arena *arena;
        shoal_linear got;
        shoal_pool *pool;
        const uint64_t before = shoal_checkpoint_bytes_read(l->checkpoint);
        uint64_t predicted = shoal_weight_read_bytes(w, rect);
        predicted += shoal_weight_bias_bytes(w, rect);
        assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
        assert_int_equal(shoal_pool_create(threads, true, &pool), SHOAL_OK);
        if (shoal_load_linear(l->manifest, w, rect, spec, shoal_cpu_best(), arena, pool, &got) !=
            SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        assert_int_equal(shoal_checkpoint_bytes_read(l->checkpoint) - before, predicted);
        same_bytes(got.codes, want->codes, want->size.codes_bytes);
        same_bytes(got.scales, want->scales, want->size.scales_bytes);
        same_bytes(got.zeros, want->zeros, want->size.zeros_bytes);
        same_bytes(got.mins, want->mins, want->size.mins_bytes);
        same_bytes(got.bias, want->bias, (uint64_t)spec->n * sizeof(float));
        shoal_pool_destroy(pool);
        shoal_arena_destroy(arena);
    }
}

/* Load a slice, compare it element by element, and count what it took. */
static void check_slice(const loaded *l, const shoal_weight *w, const shoal_rect *rect,
                        int64_t unit)
{
    const shoal_linear_spec spec = spec_of(w, rect, unit);
    shoal_arena *arena, *aside;
    shoal_linear linear;
    shoal_linear_size size;
    shoal_canonical b;
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &aside), SHOAL_OK);
    const uint64_t before = shoal_checkpoint_bytes_read(l->checkpoint);
    uint64_t predicted = shoal_weight_read_bytes(w, rect);
    if (shoal_load_linear(l->manifest, w, rect, &spec, SHOAL_CPU_REF, arena, NULL, &linear) !=
        SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    predicted += shoal_weight_bias_bytes(w, rect);
    assert_int_equal(shoal_checkpoint_bytes_read(l->checkpoint) - before, predicted);
    assert_int_equal(shoal_linear_measure(&spec, &size), SHOAL_OK);
    assert_int_equal(shoal_arena_bytes(arena),
                     size.bytes + (linear.bias ? round64((uint64_t)spec.n * 4) : 0));
    assert_int_equal(shoal_weight_read(l->manifest, w, rect, aside, &b), SHOAL_OK);
    for (int64_t n = 0; n < b.n; n++)
        for (int64_t k = 0; k < b.k; k++)
            if (shoal_linear_weight(&linear, n, k) != element(&b, w->group, rect->k_begin, n, k))
                fail_msg("%s [%lld][%lld]", shoal_role_name(w->role), (long long)n, (long long)k);
    check_bias(l, w, rect, &linear);
    check_threads(l, w, rect, &spec, &linear);
    shoal_arena_destroy(arena);
    shoal_arena_destroy(aside);
}

/* A column that the weight does not have is refused before anything is packed. */
static void check_outside(const loaded *l, const shoal_weight *w, int32_t *columns)
{
    shoal_rect rect = {.n_end = 64, .k_end = w->k, .columns = columns};
    shoal_arena *arena;
    shoal_linear linear;
    for (int i = 0; i < 64; i++)
        columns[i] = i;
    columns[63] = (int32_t)w->n;
    const shoal_linear_spec spec = spec_of(w, &rect, 0);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    assert_int_equal(
        shoal_load_linear(l->manifest, w, &rect, &spec, SHOAL_CPU_REF, arena, NULL, &linear),
        SHOAL_ERR_INTERNAL);
    if (!strstr(shoal_error_text(), ": column "))
        fail_msg("%s", shoal_error_text());
    shoal_arena_destroy(arena);
}

/* Slices of every linear of a layer, cut as workers cut them: o and down in units of K, the others
 * by columns, gate and up also permuted. */
static void check_model(const loaded *l, maker *random)
{
    for (int r = 0; r < SHOAL_ROLE_LAYER_LINEARS; r++) {
        const shoal_weight *w = shoal_manifest_weight(l->manifest, 1, (shoal_role)r);
        const bool cut = r == SHOAL_ROLE_O || r == SHOAL_ROLE_DOWN;
        const int64_t unit = cut ? 32 : 0;
        int32_t *order = maker_alloc((size_t)w->k * sizeof *order);
        int32_t *columns = maker_alloc((size_t)w->n * sizeof *columns);
        if (w->act_order)
            assert_int_equal(shoal_weight_order(l->manifest, w, order), SHOAL_OK);
        for (int round = 0; round < 6; round++) {
            shoal_rect rect = {.n_end = w->n, .k_end = w->k, .order = w->act_order ? order : NULL};
            if (cut && round) {
                rect.k_begin = 32 * maker_below(random, w->k / 32 + 1);
                rect.k_end = shoal_min_i64(w->k, rect.k_begin + 32 * maker_below(random, 5));
            } else if (round) {
                rect.n_begin = maker_below(random, w->n);
                rect.n_end = rect.n_begin + maker_below(random, w->n - rect.n_begin + 1);
            }
            for (int64_t i = 0; i < rect.n_end - rect.n_begin; i++)
                columns[i] = (int32_t)maker_below(random, w->n);
            if ((r == SHOAL_ROLE_GATE || r == SHOAL_ROLE_UP) && round % 2)
                rect.columns = columns;
            check_slice(l, w, &rect, unit);
        }
        if (r == SHOAL_ROLE_GATE && !w->act_order && !w->bias)
            check_outside(l, w, columns);
        free(order);
        free(columns);
    }
}

static void slices_of_real_models(void **state)
{
    static const struct {
        const char *name;
        shoal_manifest_options options;
    } cases[] = {
        {"quant/gptq-4b-g32-actorder", {NULL, NULL}},
        {"quant/gptq-autogptq-4b-g64-asym", {NULL, NULL}},
        {"quant/gptq-autogptq-4b-g128-bias", {NULL, NULL}},
        {"quant/gptq-3b-g128", {NULL, NULL}},
        {"quant/gptq-8b-g128", {NULL, NULL}},
        {"quant/gptq-4b-channel", {NULL, NULL}},
        {"quant/awq-gemm-gptqmodel-bias", {NULL, NULL}},
        {"quant/awq-gemv-g64-autoawq-bias", {NULL, NULL}},
        {"quant/ct-w4a16-asym-g64-bias", {NULL, NULL}},
        {"quant/ct-w8a16-channel", {NULL, NULL}},
        {"quant/marlin-autogptq-g128-bias", {NULL, NULL}},
        {"quant/marlin-autogptq-channel", {NULL, NULL}},
        {"arch/pico-bias-2shards", {NULL, NULL}},
        {"arch/pico-bias-2shards", {"int4-g64", NULL}},
        {"arch/phi3", {NULL, NULL}},
        {"arch/phi3", {"int8", NULL}},
        {"arch/qwen3", {"int4-g32", "v_proj"}},
    };
    maker random = {.seed = 21};
    const char *root = getenv("SHOAL_GOLDEN");
    (void)state;
    if (access(root ? root : "../shared/golden", R_OK) != 0) {
        print_message("skipped: no golden data\n");
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        loaded l;
        load(cases[i].name, &cases[i].options, &l);
        check_model(&l, &random);
        unload(&l);
    }
}

/* K so long that 64 columns fill the staging memory: two strips, the second one short. */
static void several_strips(void **state)
{
    enum { N = 70, K = 600000, GROUP = 128, GROUPS = (K + GROUP - 1) / GROUP };
    maker m = {.seed = 22};
    loaded l = {0};
    shoal_manifest manifest = {0};
    const shoal_rect all = {.n_end = N, .k_end = K};
    shoal_arena *arena;
    shoal_linear linear;
    (void)state;
    uint32_t *words = maker_add(&m, "P.qweight", SHOAL_I32, K / 8, N);
    uint32_t *zeros = maker_add(&m, "P.qzeros", SHOAL_I32, GROUPS, (N + 7) / 8);
    uint16_t *scales = maker_add_random(&m, "P.scales", SHOAL_F16, GROUPS, N);
    for (int64_t i = 0; i < K / 8 * N; i++)
        words[i] = (uint32_t)maker_random(&m);
    for (int64_t i = 0; i < GROUPS * ((N + 7) / 8); i++)
        zeros[i] = 0x88888888u;
    const shoal_quantization q = {
        .method = SHOAL_METHOD_GPTQ, .bits = 4, .group = GROUP, .symmetric = true};
    assert_int_equal(shoal_checkpoint_open(maker_write(&m, "{}"), &l.checkpoint), SHOAL_OK);
    manifest.checkpoint = l.checkpoint;
    const shoal_module module = {l.checkpoint, &q, "P", N, K};
    shoal_weight w = {.present = true, .dialect = &shoal_dialect_gptq_v2, .n = N, .k = K};
    for (int i = 0; w.dialect->parts[i]; i++)
        w.parts[i] = shoal_module_tensor(&module, w.dialect->parts[i]);
    assert_int_equal(w.dialect->describe(&module, &w), SHOAL_OK);
    assert_int_equal(shoal_rect_staging_columns(&w, &all), 64);
    const shoal_linear_spec spec = spec_of(&w, &all, 0);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    if (shoal_load_linear(&manifest, &w, &all, &spec, SHOAL_CPU_REF, arena, NULL, &linear) !=
        SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(l.checkpoint), shoal_weight_read_bytes(&w, &all));
    for (int i = 0; i < 200000; i++) {
        const int64_t n = maker_below(&m, N), k = maker_below(&m, K);
        const int u = (int)(words[k / 8 * N + n] >> (4 * (k % 8)) & 15);
        const float s = shoal_f32_from_f16(scales[k / GROUP * N + n]);
        assert_true(shoal_linear_weight(&linear, n, k) == (float)(u - 8) * s);
    }
    shoal_arena_destroy(arena);
    shoal_checkpoint_close(l.checkpoint);
    maker_forget(&m);
}

/* ---- failures on threads ---- */

enum { FAULTY_N = 2048, FAULTY_K = 4096, FAULTY_G = 128 };

/* A symmetric GPTQ module of several tiles, `o` opened on it. */
typedef struct {
    maker m;
    uint16_t *scales;
    loaded l;
    shoal_manifest manifest;
    shoal_weight w;
} faulty;

static void faulty_write(faulty *f)
{
    f->m.seed = 23;
    maker_add(&f->m, "P.qweight", SHOAL_I32, FAULTY_K / 8, FAULTY_N);
    uint32_t *zeros = maker_add(&f->m, "P.qzeros", SHOAL_I32, FAULTY_K / FAULTY_G, FAULTY_N / 8);
    f->scales = maker_add_random(&f->m, "P.scales", SHOAL_F16, FAULTY_K / FAULTY_G, FAULTY_N);
    for (int64_t i = 0; i < FAULTY_K / FAULTY_G * FAULTY_N / 8; i++)
        zeros[i] = 0x88888888u;
}

static void faulty_open(faulty *f)
{
    static const shoal_quantization q = {
        .method = SHOAL_METHOD_GPTQ, .bits = 4, .group = FAULTY_G, .symmetric = true};
    assert_int_equal(shoal_checkpoint_open(maker_write(&f->m, "{}"), &f->l.checkpoint), SHOAL_OK);
    f->manifest.checkpoint = f->l.checkpoint;
    const shoal_module module = {f->l.checkpoint, &q, "P", FAULTY_N, FAULTY_K};
    f->w = (shoal_weight){
        .present = true, .dialect = &shoal_dialect_gptq_v2, .n = FAULTY_N, .k = FAULTY_K};
    for (int i = 0; f->w.dialect->parts[i]; i++)
        f->w.parts[i] = shoal_module_tensor(&module, f->w.dialect->parts[i]);
    assert_int_equal(f->w.dialect->describe(&module, &f->w), SHOAL_OK);
}

/* What loading it says, on so many threads. */
static shoal_status faulty_load(faulty *f, int threads)
{
    const shoal_rect all = {.n_end = FAULTY_N, .k_end = FAULTY_K};
    const shoal_linear_spec spec = spec_of(&f->w, &all, 0);
    shoal_arena *arena;
    shoal_linear linear;
    shoal_pool *pool;
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    assert_int_equal(shoal_pool_create(threads, true, &pool), SHOAL_OK);
    shoal_error_clear();
    const shoal_status st =
        shoal_load_linear(&f->manifest, &f->w, &all, &spec, shoal_cpu_best(), arena, pool, &linear);
    shoal_pool_destroy(pool);
    shoal_arena_destroy(arena);
    return st;
}

static void faulty_close(faulty *f)
{
    shoal_checkpoint_close(f->l.checkpoint);
    maker_forget(&f->m);
}

/* Of several failures all thread counts name the same one. */
static void first_failure_is_named(void **state)
{
    (void)state;
    faulty f = {0};
    faulty_write(&f);
    f.scales[20 * FAULTY_N + 5] = 0x7e00;
    f.scales[9 * FAULTY_N + 70] = 0xfc00;
    f.scales[31 * FAULTY_N] = 0x7c00;
    faulty_open(&f);
    for (int round = 0; round < 10; round++)
        for (int threads = 1; threads <= 5; threads++) {
            assert_int_equal(faulty_load(&f, threads), SHOAL_ERR_DATA);
            assert_string_equal(shoal_error_text(),
                                "tensor P.scales: the scale of group 9, column 70 is infinite");
        }
    faulty_close(&f);
}

/* A file that shrinks while it is open: the same sentence, and every thread comes back. */
static void short_file_is_named(void **state)
{
    (void)state;
    faulty f = {0};
    char path[320], want[1024];
    faulty_write(&f);
    faulty_open(&f);
    snprintf(path, sizeof path, "%s/model.safetensors", f.m.folder);
    assert_int_equal(truncate(path, 2500000), 0);
    for (int threads = 1; threads <= 5; threads++) {
        assert_int_equal(faulty_load(&f, threads), SHOAL_ERR_IO);
        if (threads == 1)
            snprintf(want, sizeof want, "%s", shoal_error_text());
        assert_string_equal(shoal_error_text(), want);
        assert_non_null(strstr(shoal_error_text(), "ends at byte 2500000"));
    }
    faulty_close(&f);
}

/* Every allocation of a load may fail: it says so, and nothing leaks or hangs. */
static void no_memory_is_said(void **state)
{
    (void)state;
    faulty f = {0};
    uint64_t n = 1;
    faulty_write(&f);
    faulty_open(&f);
    assert_int_equal(faulty_load(&f, 2), SHOAL_OK);
    for (bool failed = true; failed; n++) {
        const shoal_rect all = {.n_end = FAULTY_N, .k_end = FAULTY_K};
        const shoal_linear_spec spec = spec_of(&f.w, &all, 0);
        shoal_arena *arena;
        shoal_linear linear;
        shoal_pool *pool;
        assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
        assert_int_equal(shoal_pool_create(2, true, &pool), SHOAL_OK);
        shoal_mem_fail_nth(n);
        const shoal_status st =
            shoal_load_linear(&f.manifest, &f.w, &all, &spec, SHOAL_CPU_REF, arena, pool, &linear);
        failed = st != SHOAL_OK;
        shoal_mem_fail_nth(0);
        assert_true(!failed || st == SHOAL_ERR_TEMPORARY);
        shoal_pool_destroy(pool);
        shoal_arena_destroy(arena);
    }
    assert_true(n > 8);
    faulty_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_of_real_models),  cmocka_unit_test(several_strips),
        cmocka_unit_test(first_failure_is_named), cmocka_unit_test(short_file_is_named),
        cmocka_unit_test(no_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* lmdeploy's SmoothQuant against codes that are known: random rectangles, the scale per input and
 * what a config may say of it, refusals. */
#include "tests/unit/dialect_case.h"

#include <math.h>

#define CONFIG "{\"quant_method\":\"smooth_quant\",\"quant_dtype\":\"int8\"}"

static void add_codes(const made_linear *l, maker *m)
{
    int8_t *codes = maker_add(m, "P.weight", SHOAL_I8, l->n, l->k);
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t k = 0; k < l->k; k++)
            codes[n * l->k + k] = (int8_t)(l->u[k * l->n + n] - 128);
}

static void lmdeploy_make(made_linear *l, maker *m)
{
    l->bits = 8;
    l->symmetric = true;
    l->group = -1;
    made_fill(l, m);
    add_codes(l, m);
    void *scales = maker_add(m, "P.scale", l->scale_dtype, l->n, maker_below(m, 2));
    for (int64_t n = 0; n < l->n; n++)
        maker_store(scales, l->scale_dtype, (size_t)n, l->s[n]);
}

static void any_shape(void **state)
{
    static const shoal_dtype scale_types[] = {SHOAL_F32, SHOAL_F16, SHOAL_BF16};
    maker m = {.seed = 3};
    (void)state;
    for (int round = 0; round < 60; round++) {
        made_linear l = {.scale_dtype = scale_types[maker_below(&m, 3)]};
        l.n = 1 + maker_below(&m, 150);
        l.k = 1 + maker_below(&m, 300);
        lmdeploy_make(&l, &m);
        check_linear(&l, round % 3 ? CONFIG : NULL, true, &m);
    }
}

/* The scale per input is claimed, and means what the config says. */
static void input_scale(void **state)
{
    static const struct {
        const char *config;
        bool used, multiply;
    } rows[] = {
        {CONFIG, true, false},
        {"{\"quant_method\":\"smooth_quant\",\"migration_scale\":\"divide\"}", true, false},
        {"{\"quant_method\":\"smooth_quant\",\"migration_scale\":\"multiply\"}", true, true},
        {"{\"quant_method\":\"smooth_quant\",\"migration_scale\":\"ignore\"}", false, false},
        {NULL, true, false},
    };
    maker m = {.seed = 4};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const shoal_rect part = {.n_end = 4, .k_begin = 3, .k_end = 9};
        opened o;
        made_linear l = {.n = 8, .k = 16, .scale_dtype = SHOAL_F32};
        lmdeploy_make(&l, &m);
        maker_add_random(&m, "P.migration_scale", SHOAL_F16, 16, 0);
        open_made(&m, rows[i].config, 8, 16, &o);
        assert_true(o.weight.per_token);
        assert_int_equal(o.weight.input_scale != NULL, rows[i].used);
        assert_int_equal(o.weight.input_multiply, rows[i].multiply);
        assert_int_equal(shoal_weight_input_scale_bytes(&o.weight, &part), rows[i].used ? 12 : 0);
        close_module(&o);
        maker_forget(&m);
        made_free(&l);
    }
}

static void refused(void **state)
{
    maker m = {.seed = 5};
    made_linear l = {.n = 8, .k = 16, .scale_dtype = SHOAL_F32};
    (void)state;
    lmdeploy_make(&l, &m);
    check_refused(&m, CONFIG, 8, 32, (const char *[]){"P.weight", "[8, 16]", "[8, 32]"});
    add_codes(&l, &m);
    check_refused(&m, CONFIG, 8, 16, (const char *[]){"P.scale", "missing", ""});
    add_codes(&l, &m);
    maker_add(&m, "P.scale", SHOAL_F32, 4, 2);
    check_refused(&m, CONFIG, 8, 16, (const char *[]){"P.scale", "[4, 2]", "[8, 1]"});
    add_codes(&l, &m);
    maker_add(&m, "P.scale", SHOAL_I32, 8, 1);
    check_refused(&m, CONFIG, 8, 16, (const char *[]){"P.scale", "I32", ""});
    add_codes(&l, &m);
    const float bad[8] = {0, 1, 2, INFINITY};
    memcpy(maker_add(&m, "P.scale", SHOAL_F32, 8, 1), bad, sizeof bad);
    check_refused(&m, CONFIG, 8, 16, (const char *[]){"P.scale", "column 3", "infinite"});
    add_codes(&l, &m);
    maker_add_random(&m, "P.scale", SHOAL_F32, 8, 1);
    maker_add_random(&m, "P.migration_scale", SHOAL_F32, 8, 0);
    check_refused(&m, CONFIG, 8, 16, (const char *[]){"P.migration_scale", "[8]", "[16]"});
    made_free(&l);
}

static void configs_refused(void **state)
{
    static const char *const configs[][2] = {
        {"{\"quant_method\":\"smooth_quant\",\"quant_dtype\":\"float8_e4m3fn\"}", "float8_e4m3fn"},
        {"{\"quant_method\":\"smooth_quant\",\"migration_scale\":\"fold\"}", "'fold'"},
        {"{\"quant_method\":\"smooth_quant\",\"migration_scale\":1}", "migration_scale"},
    };
    shoal_quantization q;
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        assert_int_equal(shoal_quantization_parse(configs[i][0], &q), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), configs[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_shape),
        cmocka_unit_test(input_scale),
        cmocka_unit_test(refused),
        cmocka_unit_test(configs_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Quantize-at-load of one group: error bound, ties, range, what cannot be quantized. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "shard/quantize.h"
#include "tests/unit/checkpoint_maker.h"

static const struct {
    shoal_weight_kind kind;
    int zero, low, high;
    float steps;
} kinds[] = {
    {SHOAL_WEIGHT_INT4, 8, 1, 15, 7.0f},
    {SHOAL_WEIGHT_INT8, 128, 1, 255, 127.0f},
};

static void words(void **state)
{
    shoal_quantizer q;
    (void)state;
    assert_int_equal(shoal_quantizer_parse("int4-g64", &q), SHOAL_OK);
    assert_int_equal(q.kind, SHOAL_WEIGHT_INT4);
    assert_int_equal(q.group, 64);
    assert_int_equal(q.zero, 8);
    assert_int_equal(shoal_quantizer_parse("int8", &q), SHOAL_OK);
    assert_int_equal(q.group, 0);
    assert_int_equal(q.zero, 128);
    assert_int_equal(shoal_quantizer_parse("int4", &q), SHOAL_ERR_USAGE);
    assert_non_null(strstr(shoal_error_text(), "int4-g128"));
}

/* |w - (u - z) s| <= s / 2, but for the rounding of the quotient and the product. */
static void error_is_half_a_step(void **state)
{
    maker m = {.seed = 1};
    float weights[96];
    uint8_t codes[96];
    (void)state;
    for (size_t which = 0; which < 2; which++)
        for (int round = 0; round < 500; round++) {
            const int64_t count = 1 + maker_below(&m, 96);
            const float size = ldexpf(1.0f, (int)maker_below(&m, 60) - 30);
            float scale, most = 0.0f;
            for (int64_t i = 0; i < count; i++) {
                weights[i] = maker_unit(&m) * size;
                most = fmaxf(most, fabsf(weights[i]));
            }
            assert_true(
                shoal_quantize_weight_group(weights, count, kinds[which].kind, codes, &scale));
            assert_true(scale == most / kinds[which].steps);
            for (int64_t i = 0; i < count; i++) {
                const double back = ((double)codes[i] - kinds[which].zero) * (double)scale;
                assert_in_range(codes[i], kinds[which].low, kinds[which].high);
                assert_true(fabs(back - (double)weights[i]) <= 0.5 * (double)scale * (1 + 1e-5));
            }
        }
}

/* Codes and widened halves by the words of their definitions, bit for bit. */
static void definitions(void **state)
{
    maker m = {.seed = 2};
    float weights[200];
    uint8_t codes[200];
    (void)state;
    for (int round = 0; round < 4000; round++) {
        const int which = round % 2, count = 1 + (int)maker_below(&m, 200);
        const float size = ldexpf(1.0f, (int)maker_below(&m, 270) - 145);
        float scale;
        for (int i = 0; i < count; i++)
            weights[i] = maker_unit(&m) * size;
        assert_true(shoal_quantize_weight_group(weights, count, kinds[which].kind, codes, &scale));
        for (int i = 0; i < count; i++) {
            const float zero = (float)kinds[which].zero, top = which ? 255.0f : 15.0f;
            const float code = scale > 0.0f ? rintf(weights[i] / scale) + zero : zero;
            assert_int_equal(codes[i], (int)fminf(fmaxf(code, 0.0f), top));
        }
    }
    for (uint32_t h = 0; h < 65536; h++) {
        const uint16_t half = (uint16_t)h;
        float wide;
        shoal_widen_f32(&half, SHOAL_F16, 1, &wide);
        assert_int_equal(shoal_f32_bits(wide), shoal_f32_bits(shoal_f32_from_f16(half)));
    }
}

/* With absmax 7 (127) the scale is 1 and halves are ties: they go to the even code. */
static void ties_go_to_even(void **state)
{
    const float four[] = {7.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -6.5f, 6.5f};
    const uint8_t four_codes[] = {15, 8, 10, 10, 8, 6, 6, 2, 14};
    const float eight[] = {-127.0f, 126.5f, 125.5f, -0.5f, 0.5f, -100.5f};
    const uint8_t eight_codes[] = {1, 254, 254, 128, 128, 28};
    uint8_t codes[16];
    float scale;
    (void)state;
    assert_true(shoal_quantize_weight_group(four, 9, SHOAL_WEIGHT_INT4, codes, &scale));
    assert_true(scale == 1.0f);
    assert_memory_equal(codes, four_codes, sizeof four_codes);
    assert_true(shoal_quantize_weight_group(eight, 6, SHOAL_WEIGHT_INT8, codes, &scale));
    assert_true(scale == 1.0f);
    assert_memory_equal(codes, eight_codes, sizeof eight_codes);
}

static void zeros_and_subnormals(void **state)
{
    const float nothing[] = {0.0f, -0.0f, 0.0f};
    const float tiny[] = {1e-45f, -1e-45f, 0.0f};
    const float small[] = {1.4e-44f, -1.4e-44f, 5e-45f};
    uint8_t codes[3];
    float scale = 1.0f;
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        const uint8_t zero = (uint8_t)kinds[which].zero;
        assert_true(shoal_quantize_weight_group(nothing, 3, kinds[which].kind, codes, &scale));
        assert_true(scale == 0.0f);
        for (int i = 0; i < 3; i++)
            assert_int_equal(codes[i], zero);
        /* A scale that underflows to zero makes zero codes, no infinity. */
        assert_true(shoal_quantize_weight_group(tiny, 3, kinds[which].kind, codes, &scale));
        for (int i = 0; i < 3; i++)
            assert_int_equal(codes[i], zero);
        assert_true(shoal_quantize_weight_group(small, 3, kinds[which].kind, codes, &scale));
        for (int i = 0; i < 3; i++)
            assert_in_range(codes[i], 0, kinds[which].high);
    }
}

static void not_a_number_is_refused(void **state)
{
    const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int at = 0; at < 5; at++) {
            float weights[5] = {1, 2, 3, 4, 5}, scale = 42.0f;
            uint8_t codes[5] = {9, 9, 9, 9, 9};
            weights[at] = bad[i];
            assert_false(shoal_quantize_weight_group(weights, 5, SHOAL_WEIGHT_INT4, codes, &scale));
            assert_true(scale == 42.0f);
            assert_int_equal(codes[0], 9);
        }
    const float largest[] = {FLT_MAX, -FLT_MAX};
    uint8_t codes[2];
    float scale;
    assert_true(shoal_quantize_weight_group(largest, 2, SHOAL_WEIGHT_INT4, codes, &scale));
    assert_int_equal(codes[0], 15);
    assert_int_equal(codes[1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(error_is_half_a_step),
        cmocka_unit_test(definitions),
        cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(zeros_and_subnormals),
        cmocka_unit_test(not_a_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Rows of numbers to halves and back against the functions of one number, over both formats' ties,
 * subnormals, overflows and NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dtype.h"

/* Low halves around every place where a bit of F16 or BF16 is rounded. */
static const uint16_t low[] = {0x0000, 0x0001, 0x0fff, 0x1000, 0x1001, 0x1fff,
                               0x2000, 0x2fff, 0x3000, 0x3001, 0x4000, 0x7fff,
                               0x8000, 0x8001, 0xefff, 0xf000, 0xf001, 0xffff};
#define LOW (sizeof low / sizeof low[0])

static void rows_round_as_numbers_do(void **state)
{
    float values[LOW];
    uint16_t f16[LOW], bf16[LOW];
    (void)state;
    for (uint32_t high = 0; high <= 0xffff; high++) {
        for (size_t i = 0; i < LOW; i++)
            values[i] = shoal_f32_from_bits(high << 16 | low[i]);
        shoal_narrow_f32(values, SHOAL_F16, LOW, f16);
        shoal_narrow_f32(values, SHOAL_BF16, LOW, bf16);
        for (size_t i = 0; i < LOW; i++) {
            assert_int_equal(f16[i], shoal_f16_from_f32(values[i]));
            assert_int_equal(bf16[i], shoal_bf16_from_f32(values[i]));
        }
    }
}

static void halves_come_back(void **state)
{
    uint16_t half, back;
    float value;
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        half = (uint16_t)bits;
        shoal_widen_f32(&half, SHOAL_F16, 1, &value);
        shoal_narrow_f32(&value, SHOAL_F16, 1, &back);
        if (value == value)
            assert_int_equal(back, half);
        shoal_widen_f32(&half, SHOAL_BF16, 1, &value);
        shoal_narrow_f32(&value, SHOAL_BF16, 1, &back);
        if (value == value)
            assert_int_equal(back, half);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_round_as_numbers_do),
        cmocka_unit_test(halves_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

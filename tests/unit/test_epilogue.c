/* Unit sums to fixed point: bounds, ties and every column count, at every level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu.h"
#include "kernels/epilogue.h"
#include "kernels/linear.h"
#include "proto/dtype.h"

#define ROWS 5
#define LD   70

static const struct {
    const char *name;
    const shoal_epilogue *of;
} variants[] = {
    {"ref", &shoal_epilogue_ref},
#if defined(__x86_64__)
    {"avx2", &shoal_epilogue_avx2},
    {"avx512", &shoal_epilogue_avx512},
#endif
};

#define VARIANTS (sizeof variants / sizeof variants[0])

/* round-half-even(u * 2^28) by integer arithmetic on the fields of the number; |u| <= 2^22. */
static int64_t fixed_by_hand(float u)
{
    const uint32_t bits = shoal_f32_bits(u);
    const int exponent = (int)(bits >> 23 & 255);
    const int64_t mantissa = (int64_t)(bits & 0x7fffff) | (exponent ? 0x800000 : 0);
    const int shift = (exponent ? exponent : 1) - 127 - 23 + 28;
    int64_t v = 0;
    if (shift >= 0) {
        v = mantissa << shift;
    } else if (shift > -40) {
        const int64_t half = INT64_C(1) << (-shift - 1), rest = mantissa & (2 * half - 1);
        v = mantissa >> -shift;
        v += rest > half || (rest == half && (v & 1));
    }
    return bits >> 31 ? -v : v;
}

static bool in_bounds(float u)
{
    return (shoal_f32_bits(u) & 0x7fffffff) <= 0x4a800000; /* 2^22 */
}

/* Values around everything that matters, then random bit patterns. */
static float value(uint32_t i)
{
    static const uint32_t edges[] = {
        0x00000000, 0x80000000, 0x00000001, 0x80000001, /* zeros, smallest subnormals          */
        0x4a800000, 0xca800000, 0x4a800001, 0xca800001, /* 2^22 and the next float             */
        0x4a7fffff, 0xca7fffff, 0x7f800000, 0xff800000, /* the float before; infinities        */
        0x7fc00000, 0xffc00000, 0x7f800001, 0xff7fffff, /* NaNs; the largest                   */
        0x31000000, 0xb1000000, 0x31400000, 0xb1400000, /* .5 and .75 of a step                */
        0x31c00000, 0xb1c00000, 0x32200000, 0xb2200000, /* 1.5 and 2.5 steps                   */
        0x30ffffff, 0x31000001, 0x31bfffff, 0x31c00001, /* a little to either side             */
        0x4b000000, 0x3f800000, 0xbf800000, 0x49ffffff,
    };
    const uint32_t count = sizeof edges / sizeof edges[0];
    if (i < count)
        return shoal_f32_from_bits(edges[i]);
    const uint32_t mixed = (i ^ i >> 7) * 2654435761u;
    if (i % 3 == 0)
        return shoal_f32_from_bits(mixed);
    const uint32_t exponent = 85 + mixed % 66; /* 2^-42 .. 2^23 */
    return shoal_f32_from_bits((mixed & 0x807fffff) | exponent << 23);
}

static void test_single(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        int64_t v = 77;
        const float u = value(i);
        assert_int_equal(shoal_unit_fixed(u, &v), in_bounds(u));
        assert_int_equal(v, in_bounds(u) ? fixed_by_hand(u) : 77);
    }
}

static void check_block(const shoal_epilogue *of, uint32_t seed, int64_t columns, bool first)
{
    _Alignas(64) float acc[ROWS * SHOAL_PANEL];
    int64_t slot[ROWS * LD], bad[ROWS];
    for (uint32_t i = 0; i < ROWS * SHOAL_PANEL; i++)
        acc[i] = value(seed + i);
    for (int i = 0; i < ROWS * LD; i++)
        slot[i] = (int64_t)i << 40 ^ -i;
    for (int r = 0; r < ROWS; r++)
        bad[r] = 100 * r;
    of->flush(acc, ROWS, columns, slot, LD, bad, first);
    for (int r = 0; r < ROWS; r++) {
        int64_t count = 100 * r;
        for (int c = 0; c < LD; c++) {
            const int i = r * LD + c;
            const int64_t before = (int64_t)i << 40 ^ -i;
            int64_t want = before;
            if (c < columns) {
                const float u = acc[r * SHOAL_PANEL + c];
                want = (first ? 0 : before) + (in_bounds(u) ? fixed_by_hand(u) : 0);
                count += !in_bounds(u);
            }
            assert_int_equal(slot[i], want);
        }
        assert_int_equal(bad[r], count);
    }
}

static void test_blocks(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        const bool has = shoal_cpu_has(variants[v].of->needs);
        print_message("  %s: %s\n", variants[v].name, has ? "runs" : "skipped: absent");
        for (uint32_t i = 0; has && i < 2000; i++)
            check_block(variants[v].of, i < 4 ? 0 : i * 320, i < 4 ? 64 : 1 + i % 64, i % 2);
    }
}

/* Outputs with and without a bias, for every number of columns; nothing beside them is touched. */
static void test_put(void **state)
{
    (void)state;
    float acc[ROWS * SHOAL_PANEL], bias[SHOAL_PANEL], expected[ROWS * LD], out[ROWS * LD];
    for (int i = 0; i < ROWS * SHOAL_PANEL; i++)
        acc[i] = value((uint32_t)i + 40);
    for (int c = 0; c < SHOAL_PANEL; c++)
        bias[c] = (float)c * 0.37f - 9;
    for (size_t v = 0; v < VARIANTS; v++) {
        if (!shoal_cpu_has(variants[v].of->needs))
            continue;
        for (int64_t columns = 0; columns <= SHOAL_PANEL; columns++) {
            for (int with = 0; with < 2; with++) {
                memset(expected, 0x55, sizeof expected);
                memset(out, 0x55, sizeof out);
                for (int r = 0; r < ROWS; r++) {
                    for (int64_t c = 0; c < columns; c++)
                        expected[r * LD + c] =
                            with ? acc[r * SHOAL_PANEL + c] + bias[c] : acc[r * SHOAL_PANEL + c];
                }
                variants[v].of->put(acc, ROWS, columns, with ? bias : NULL, out, LD);
                assert_memory_equal(out, expected, sizeof out);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

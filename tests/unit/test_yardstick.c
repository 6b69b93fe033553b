/* The tables of peaks and readers: what is promised about their order, and that each can run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/yardstick.h"
#include "proto/arena.h"

static const shoal_peak_product products[] = {SHOAL_PEAK_INT4, SHOAL_PEAK_INT8, SHOAL_PEAK_F32,
                                              SHOAL_PEAK_BF16};

static void test_names_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < shoal_peak_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(shoal_peaks[i].name, shoal_peaks[j].name);
    for (size_t i = 0; i < shoal_reader_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(shoal_readers[i].name, shoal_readers[j].name);
}

static void test_a_pick_is_usable_and_serves(void **state)
{
    (void)state;
    for (int cap = SHOAL_CPU_REF; cap < SHOAL_CPU_LEVELS; cap++) {
        for (size_t p = 0; p < sizeof products / sizeof *products; p++) {
            const shoal_peak *peak = shoal_peak_pick(products[p], (shoal_cpu_level)cap);
            assert_non_null(peak);
            assert_true(peak->products & products[p]);
            assert_true(shoal_peak_usable(peak, (shoal_cpu_level)cap));
            assert_true(peak->needs <= (shoal_cpu_level)cap && shoal_cpu_has(peak->needs));
        }
    }
}

static void test_without_levels_the_portable_ones_are_left(void **state)
{
    (void)state;
    assert_string_equal(shoal_peak_pick(SHOAL_PEAK_INT4, SHOAL_CPU_REF)->name, "c.int32");
    assert_string_equal(shoal_peak_pick(SHOAL_PEAK_INT8, SHOAL_CPU_REF)->name, "c.int32");
    assert_string_equal(shoal_peak_pick(SHOAL_PEAK_F32, SHOAL_CPU_REF)->name, "c.f32");
    assert_string_equal(shoal_peak_pick(SHOAL_PEAK_BF16, SHOAL_CPU_REF)->name, "c.f32");
}

static void test_bf16_belongs_to_two_levels(void **state)
{
    (void)state;
    for (int level = SHOAL_CPU_REF; level < SHOAL_CPU_LEVELS; level++)
        if (shoal_cpu_has_bf16((shoal_cpu_level)level))
            assert_true((level == SHOAL_CPU_AVX512VNNI || level == SHOAL_CPU_AMX) &&
                        shoal_cpu_has((shoal_cpu_level)level));
}

static void test_every_peak_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < shoal_peak_count; i++) {
        assert_true(shoal_peaks[i].operations > 0);
        if (!shoal_peak_usable(&shoal_peaks[i], shoal_cpu_best())) {
            print_message("skipped: no %s here\n", shoal_peaks[i].name);
            continue;
        }
        shoal_peaks[i].run(0);
        shoal_peaks[i].run(100);
        print_message("ran %s\n", shoal_peaks[i].name);
    }
}

/* Readers stay inside: the sanitizer watches the end of the block. */
static void test_every_reader_stays_inside(void **state)
{
    (void)state;
    for (size_t pieces = 0; pieces < 5; pieces++) {
        const size_t bytes = pieces * SHOAL_READER_PIECE;
        void *block;
        assert_int_equal(shoal_alloc(SHOAL_MEM_OTHER, bytes, &block), SHOAL_OK);
        for (size_t i = 0; i < shoal_reader_count; i++)
            if (shoal_cpu_has(shoal_readers[i].needs))
                shoal_readers[i].read(block, bytes, shoal_readers[i].ahead);
        shoal_free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_a_pick_is_usable_and_serves),
        cmocka_unit_test(test_without_levels_the_portable_ones_are_left),
        cmocka_unit_test(test_bf16_belongs_to_two_levels),
        cmocka_unit_test(test_every_peak_runs),
        cmocka_unit_test(test_every_reader_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

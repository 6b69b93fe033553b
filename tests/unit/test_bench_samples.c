/* Quantiles against their definition, and the random numbers that a load is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "coordinator/bench/random.h"
#include "coordinator/bench/samples.h"
#include "coordinator/bench/tally.h"

static shoal_bench_samples samples_of(const double *values, size_t count)
{
    shoal_bench_samples s = {0};
    for (size_t i = 0; i < count; i++)
        assert_int_equal(shoal_bench_samples_add(&s, values[i]), SHOAL_OK);
    shoal_bench_samples_sort(&s);
    return s;
}

static void test_quantiles_that_a_hand_can_compute(void **state)
{
    (void)state;
    static const double values[] = {40, 10, 30, 20};
    shoal_bench_samples s = samples_of(values, 4);
    assert_true(shoal_bench_samples_quantile(&s, 0) == 10);
    assert_true(shoal_bench_samples_quantile(&s, 1) == 40);
    assert_true(shoal_bench_samples_quantile(&s, 0.5) == 25);
    assert_true(fabs(shoal_bench_samples_quantile(&s, 0.9) - 37) < 1e-12);
    shoal_bench_samples_free(&s);

    s = samples_of(values, 1);
    assert_true(shoal_bench_samples_quantile(&s, 0.99) == 40);
    shoal_bench_samples_free(&s);
    assert_true(isnan(shoal_bench_samples_quantile(&s, 0.5)));
}

/* Of 0, 1, .. n - 1 in any order the quantile q is q (n - 1). */
static void test_quantiles_of_a_shuffled_line(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (uint32_t n = 2; n < 400; n += 13) {
        double values[400];
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t other = shoal_bench_random_below(&random, i + 1);
            values[i] = values[other];
            values[other] = i;
        }
        shoal_bench_samples s = samples_of(values, n);
        for (int percent = 0; percent <= 100; percent++)
            assert_true(fabs(shoal_bench_samples_quantile(&s, percent / 100.0) -
                             percent / 100.0 * (n - 1)) < 1e-9);
        shoal_bench_samples_free(&s);
    }
}

static void test_waits_of_a_poisson_process(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    const double rate = 4;
    uint64_t random = 1;
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        const double wait = shoal_bench_random_wait(&random, rate);
        assert_true(wait >= 0 && isfinite(wait));
        sum += wait;
        squares += wait * wait;
    }
    /* Mean 1/rate and variance 1/rate^2, within five standard errors. */
    const double mean = sum / COUNT, variance = squares / COUNT - mean * mean;
    assert_true(fabs(mean * rate - 1) < 5 / sqrt(COUNT));
    assert_true(fabs(variance * rate * rate - 1) < 5 * sqrt(8.0 / COUNT));
}

static void test_numbers_below_a_count_are_even(void **state)
{
    (void)state;
    enum { COUNT = 7, DRAWS = 70000 };
    int seen[COUNT] = {0};
    uint64_t random = 3;
    for (int i = 0; i < DRAWS; i++)
        seen[shoal_bench_random_below(&random, COUNT)]++;
    for (int i = 0; i < COUNT; i++)
        assert_true(abs(seen[i] - DRAWS / COUNT) < 5 * sqrt(DRAWS / COUNT));
}

static void test_rates_of_a_tally(void **state)
{
    (void)state;
    shoal_bench_tally t = {0};
    assert_true(shoal_bench_tally_throughput(&t) == 0);
    assert_true(shoal_bench_tally_request_rate(&t) == 0);
    t.seconds = 4, t.tokens = 100, t.finished = 10;
    assert_true(shoal_bench_tally_throughput(&t) == 25);
    assert_true(shoal_bench_tally_request_rate(&t) == 2.5);

    (void)shoal_fail(SHOAL_ERR_DATA, "first");
    shoal_bench_tally_fail(&t);
    (void)shoal_fail(SHOAL_ERR_DATA, "second");
    shoal_bench_tally_fail(&t);
    assert_int_equal(t.failed, 2);
    assert_string_equal(t.first_failure, "first");
    shoal_bench_tally_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_that_a_hand_can_compute),
        cmocka_unit_test(test_quantiles_of_a_shuffled_line),
        cmocka_unit_test(test_waits_of_a_poisson_process),
        cmocka_unit_test(test_numbers_below_a_count_are_even),
        cmocka_unit_test(test_rates_of_a_tally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which ranks and threads a bench measures (coordinator/bench/setup.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/setup.h"

static const int three[] = {1, 2, 4};

/* As text: "r1t1 r1t2". */
static void expect(int cores, int ranks, int threads, const char *wanted)
{
    shoal_bench_setup setups[SHOAL_BENCH_SETUPS_MAX];
    char text[256] = "";
    const int count = shoal_bench_setups(cores, ranks, threads, three, 3, setups);
    for (int i = 0; i < count; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%sr%dt%d", i ? " " : "",
                       setups[i].ranks, setups[i].threads);
    assert_string_equal(text, wanted);
}

static void cores_are_shared(void **state)
{
    (void)state;
    expect(2, 0, 0, "r1t1 r1t2 r2t1 r4t1");
    expect(1, 0, 0, "r1t1 r2t1 r4t1");
    expect(3, 0, 0, "r1t1 r1t3 r2t1 r4t1");
    expect(16, 0, 0, "r1t1 r1t16 r2t8 r4t4");
}

static void users_decide(void **state)
{
    (void)state;
    expect(16, 3, 0, "r3t5");
    expect(2, 3, 0, "r3t1");
    expect(2, 2, 7, "r2t7");
    expect(16, 0, 4, "r1t4 r2t4 r4t4");
}

static void never_too_many(void **state)
{
    const int many[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    shoal_bench_setup setups[SHOAL_BENCH_SETUPS_MAX];
    (void)state;
    assert_int_equal(shoal_bench_setups(2, 0, 0, many, 10, setups), SHOAL_BENCH_SETUPS_MAX);
}

static void width_is_what_runs(void **state)
{
    (void)state;
    assert_int_equal(shoal_bench_setup_width(&(shoal_bench_setup){1, 2}, 8), 2);
    assert_int_equal(shoal_bench_setup_width(&(shoal_bench_setup){4, 1}, 2), 2);
    assert_int_equal(shoal_bench_setup_width(&(shoal_bench_setup){2, 4}, 8), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_shared),
        cmocka_unit_test(users_decide),
        cmocka_unit_test(never_too_many),
        cmocka_unit_test(width_is_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

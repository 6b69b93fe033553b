/* Which ranks and threads a bench measures (coordinator/bench/setup.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/model_rows.h"
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

/* The names that match, in order. */
static void expect_rows(int setup_count, const char *pattern, const char *wanted)
{
    static const shoal_bench_setup setups[] = {{1, 1}, {1, 2}, {2, 1}};
    shoal_bench_model_row rows[SHOAL_BENCH_MODEL_ROWS_MAX];
    char text[1024] = "";
    int count;
    assert_int_equal(
        shoal_bench_model_rows(setups, setup_count, 2, false, "m", pattern, rows, &count),
        SHOAL_OK);
    for (int i = 0; i < count; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                       rows[i].name);
    assert_string_equal(text, wanted);
}

static void rows_of_models(void **state)
{
    const shoal_bench_setup one = {1, 1};
    shoal_bench_model_row rows[SHOAL_BENCH_MODEL_ROWS_MAX];
    int count;
    (void)state;
    expect_rows(3, NULL,
                "model.decode.m.r1t1 model.prefill.m.r1t1 load.m model.decode.m.r1t2 "
                "model.prefill.m.r1t2 model.decode.m.b8.r1t2 model.decode.m.b32.r1t2 "
                "model.decode.m.r2t1 model.prefill.m.r2t1");
    expect_rows(1, NULL,
                "load.m model.decode.m.r1t1 model.prefill.m.r1t1 model.decode.m.b8.r1t1 "
                "model.decode.m.b32.r1t1");
    expect_rows(3, "decode.m.r|load",
                "model.decode.m.r1t1 load.m model.decode.m.r1t2 "
                "model.decode.m.r2t1");
    assert_int_equal(shoal_bench_model_rows(&one, 1, 2, true, "m", NULL, rows, &count), SHOAL_OK);
    assert_string_equal(rows[0].name, "model.decode.m.r1t1");
    assert_int_equal(shoal_bench_model_rows(&one, 1, 2, true, "m", "^load", rows, &count),
                     SHOAL_ERR_USAGE);
    assert_int_equal(shoal_bench_model_rows(&one, 1, 2, false, "m", "nothing", rows, &count),
                     SHOAL_ERR_USAGE);
    assert_int_equal(shoal_bench_model_rows(&one, 1, 2, false, "m", "(", rows, &count),
                     SHOAL_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_shared), cmocka_unit_test(users_decide),
        cmocka_unit_test(never_too_many),   cmocka_unit_test(width_is_what_runs),
        cmocka_unit_test(rows_of_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

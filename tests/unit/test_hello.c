/* Who may join a cluster: every difference that could change a bit is refused, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/hello.h"

static const uint8_t little[4] = {4, 3, 2, 1}, big[4] = {1, 2, 3, 4};
static const uint8_t plan_a[16] = {1}, plan_b[16] = {2}, model_a[16] = {3}, model_b[16] = {4};

static shoal_wire_hello hello_of(int rank)
{
    return (shoal_wire_hello){.protocol = SHOAL_WIRE_PROTOCOL,
                              .rank = rank,
                              .size = 3,
                              .pid = 100 + rank,
                              .host = "node",
                              .build = "0.1.0+aa",
                              .kernel_level = "avx2",
                              .byte_order = {little, 4}};
}

static shoal_wire_ready ready_of(void)
{
    return (shoal_wire_ready){
        .arithmetic = "cpu-int8/1", .plan_hash = {plan_a, 16}, .manifest_hash = {model_a, 16}};
}

static shoal_roster roster;

static int start_over(void **state)
{
    (void)state;
    roster = (shoal_roster){.ranks = 3};
    return 0;
}

static void expect(shoal_status got, shoal_status want, const char *part)
{
    assert_int_equal(got, want);
    if (!strstr(shoal_error_text(), part))
        fail_msg("'%s' does not say '%s'", shoal_error_text(), part);
}

static void test_all_join(void **state)
{
    (void)state;
    static const int order[] = {2, 0, 1};
    for (int i = 0; i < 3; i++) {
        const shoal_wire_hello h = hello_of(order[i]);
        assert_int_equal(shoal_roster_hello(&roster, &h), SHOAL_OK);
        assert_int_equal(roster.joined, i + 1);
    }
    for (int i = 0; i < 3; i++) {
        const shoal_wire_ready r = ready_of();
        assert_int_equal(shoal_roster_ready(&roster, order[i], &r), SHOAL_OK);
        assert_int_equal(roster.ready, i + 1);
    }
    char name[64];
    shoal_roster_name(&roster, 1, name, sizeof name);
    assert_string_equal(name, "rank 1 (process 101 on node)");
}

static void test_who_does_not_belong(void **state)
{
    (void)state;
    shoal_wire_hello h = hello_of(1);
    assert_int_equal(shoal_roster_hello(&roster, &h), SHOAL_OK);
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG, "also says it is rank 1");
    h = hello_of(2);
    h.size = 4;
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG, "rank 2 of 4; 3 ranks are expected");
    h = hello_of(3);
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG, "rank 3");
    h = hello_of(2);
    h.protocol++;
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG, "protocol");
    assert_int_equal(roster.joined, 1);
}

static void test_differences_are_named(void **state)
{
    (void)state;
    const shoal_wire_hello first = hello_of(0);
    shoal_wire_hello h = hello_of(2);
    assert_int_equal(shoal_roster_hello(&roster, &first), SHOAL_OK);
    h.build = "0.1.0+bb";
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG,
           "rank 2 (process 102 on node) differs from rank 0 (process 100 on node) in its build: "
           "0.1.0+bb against 0.1.0+aa");
    h = hello_of(1);
    h.byte_order.data = big;
    expect(shoal_roster_hello(&roster, &h), SHOAL_ERR_CONFIG,
           "byte order: 01020304 against 04030201");
}

/* All levels give the same bits. */
static void test_kernel_levels_may_differ(void **state)
{
    (void)state;
    const shoal_wire_hello first = hello_of(0);
    shoal_wire_hello h = hello_of(1);
    h.kernel_level = "amx";
    assert_int_equal(shoal_roster_hello(&roster, &first), SHOAL_OK);
    assert_int_equal(shoal_roster_hello(&roster, &h), SHOAL_OK);
}

static void test_plans_and_models_are_compared(void **state)
{
    (void)state;
    shoal_wire_ready r = ready_of();
    for (int i = 0; i < 3; i++) {
        const shoal_wire_hello h = hello_of(i);
        assert_int_equal(shoal_roster_hello(&roster, &h), SHOAL_OK);
    }
    assert_int_equal(shoal_roster_ready(&roster, 1, &r), SHOAL_OK);
    r.plan_hash.data = plan_b;
    expect(shoal_roster_ready(&roster, 2, &r), SHOAL_ERR_CONFIG, "in its plan");
    r = ready_of();
    r.manifest_hash.data = model_b;
    expect(shoal_roster_ready(&roster, 2, &r), SHOAL_ERR_CONFIG, "in its model");
    r = ready_of();
    r.manifest_hash.bytes = 0;
    expect(shoal_roster_ready(&roster, 2, &r), SHOAL_ERR_CONFIG, "in its model");
    r = ready_of();
    r.arithmetic = "cpu-f32/1";
    expect(shoal_roster_ready(&roster, 2, &r), SHOAL_ERR_CONFIG,
           "arithmetic: cpu-f32/1 against cpu-int8/1");
}

static void test_the_build_has_a_name(void **state)
{
    (void)state;
    char a[SHOAL_BUILD_MAX], b[SHOAL_BUILD_MAX];
    shoal_build_name(a);
    shoal_build_name(b);
    assert_string_equal(a, b);
    assert_non_null(strchr(a, '+'));
    assert_null(strstr(a, "unknown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_join, start_over),
        cmocka_unit_test_setup(test_who_does_not_belong, start_over),
        cmocka_unit_test_setup(test_differences_are_named, start_over),
        cmocka_unit_test_setup(test_kernel_levels_may_differ, start_over),
        cmocka_unit_test_setup(test_plans_and_models_are_compared, start_over),
        cmocka_unit_test(test_the_build_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How the time of a step is dealt out (coordinator/bench/profile.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "coordinator/bench/profile.h"

static const shoal_bench_work work = {
    .shapes = {{"qkv", "whole", 512, 256},
               {"o", "cut", 256, 256},
               {"gate_up", "gated", 1536, 256},
               {"down", "cut", 256, 768},
               {"lm_head", "whole", 1024, 256}},
};

static const shoal_timed_line lines[] = {
    {"norm", 0, 0, 20, 0.5, 1e9, 0},        {"cut", 256, 768, 8, 1.0, 2e9, 4e9},
    {"whole", 512, 256, 8, 2.0, 1e9, 40e9}, {"attention", 0, 0, 8, 1.0, 1e9, 8e9},
    {"cut", 99, 256, 4, 0.25, 1e9, 1e9},
};

static const shoal_bench_profile_input input = {
    .steps = 4,
    .seconds = 8,
    .step_seconds = 7.5,
    .exchange_seconds = 1.5,
    .waited_seconds = 1,
    .lines = lines,
    .count = 5,
    .read = 10e9,
    .peak = 100e9,
    .f32_peak = 16e9,
};

static const shoal_bench_profile_line *find(const shoal_bench_profile *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->lines[i].name, name) == 0)
            return &p->lines[i];
    fail_msg("no line %s", name);
    return NULL;
}

static void near(double value, double wanted)
{
    assert_true(fabs(value - wanted) <= 1e-12 * fabs(wanted));
}

static void nothing_is_lost(void **state)
{
    shoal_bench_profile p = {.phase = "decode"};
    double share = 0, ms = 0;
    (void)state;
    shoal_bench_profile_make(&input, &work, &p);
    for (int i = 0; i < p.count; i++) {
        share += p.lines[i].share;
        ms += p.lines[i].ms;
    }
    near(share, 1);
    near(ms, p.step_ms);
    near(p.step_ms, 2000);
    near(find(&p, "reduce")->ms, 125);
    near(find(&p, "waiting")->ms, 250);
    near(find(&p, "other")->ms, 1e3 * (7.5 - 1.5 - 4.75) / 4);
    near(find(&p, "outside")->ms, 125);
}

static void linears_have_names_and_limits(void **state)
{
    shoal_bench_profile p = {.phase = "decode"};
    (void)state;
    shoal_bench_profile_make(&input, &work, &p);
    near(find(&p, "down")->fraction, 0.2); /* by memory */
    near(find(&p, "down")->gbps, 2);
    near(find(&p, "down")->calls, 2);
    near(find(&p, "qkv")->fraction, 0.2); /* by arithmetic */
    near(find(&p, "qkv")->gops, 20);
    near(find(&p, "attention")->fraction, 0.5);
    near(find(&p, "cut 99x256")->fraction, 0.4);
    assert_true(isnan(find(&p, "norm")->fraction));
    assert_true(isnan(find(&p, "norm")->gops));
    assert_true(isnan(find(&p, "other")->calls));
}

static void json_has_no_nan(void **state)
{
    shoal_bench_profile p = {.phase = "decode"};
    (void)state;
    shoal_bench_profile_make(&input, &work, &p);
    json_t *document = shoal_bench_profile_json(&p);
    const json_t *list = json_object_get(document, "lines");
    assert_int_equal(json_array_size(list), p.count);
    const json_t *norm = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(norm, "name")), "norm");
    assert_true(json_is_null(json_object_get(norm, "fraction")));
    assert_true(json_is_real(json_object_get(norm, "ms")));
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(linears_have_names_and_limits),
        cmocka_unit_test(json_has_no_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Patterns over module names: what Python's re.match says of each, what is refused, and that
 * nothing takes long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shard/name_pattern.h"

static const char gate[] = "model.layers.18.mlp.gate_proj";
static const char down[] = "model.layers.7.mlp.down_proj";
static const char q[] = "model.layers.7.self_attn.q_proj";

/* The verdicts are those of Python 3 (re.match). */
static const struct {
    const char *pattern, *name;
    bool matches;
} cases[] = {
    {"model", gate, true},
    {"layers", gate, false},
    {".*layers", gate, true},
    {"", gate, true},
    {".*\\.18\\..*gate.*", gate, true},
    {".*\\.18\\..*gate.*", down, false},
    {".*(gate|down)_proj$", gate, true},
    {".*(gate|down)_proj$", q, false},
    {".*gate$", gate, false},
    {"^model\\.layers\\.\\d+\\.mlp", down, true},
    {"^layers", down, false},
    {"model.layers.[0-9].mlp", down, true},
    {"model.layers.[0-9].mlp", gate, false},
    {"model.layers.[^0-6].mlp", down, true},
    {"model.layers.[^7].mlp", down, false},
    {"model.layers.[]7].mlp", down, true},
    {"model.layers.[\\d-]+.mlp", gate, true},
    {"model\\.layers\\.(?:1[0-9]|7)\\.", gate, true},
    {"model\\.layers\\.(?:1[0-9]|7)\\.", "model.layers.17.x", true},
    {"model\\.layers\\.(?:1[0-9]|7)\\.", "model.layers.27.x", false},
    {"(?!.*gate).*proj", down, true},
    {"(?!.*gate).*proj", gate, false},
    {"^(?!.*(gate|q)_proj).*$", down, true},
    {"^(?!.*(gate|q)_proj).*$", q, false},
    {"(?=.*mlp).*down", down, true},
    {"(?=.*mlp).*down", q, false},
    {"(?P<all>.*)_proj", q, true},
    {"(?!(?!model).*).*", gate, true},
    {"lm_head", "lm_head", true},
    {"lm_head", "lm_head.extra", true},
    {"lm_head$", "lm_head.extra", false},
    {"l+m*_?h{1}e{1,}a{0,2}d{,3}$", "llm_head", true},
    {"a{2,3}$", "a", false},
    {"a{2,3}$", "aa", true},
    {"a{2,3}$", "aaa", true},
    {"a{2,3}$", "aaaa", false},
    {"(ab){2}c", "ababc", true},
    {"(ab){2}c", "abc", false},
    {"(a|b|c)+?d", "abcd", true},
    {"(a*)*b", "aaaa", false},
    {"(a*)*b", "aaaab", true},
    {"(a|b||c)d", "d", true},
    {"a|bc|d$", "bcx", true},
    {"a|bc|d$", "dx", false},
    {"x{", "x{", true},
    {"x{a}", "x{a}", true},
    {".*\\bgate_proj\\b", gate, true},
    {".*\\bproj\\b", gate, false},
    {".*\\Bproj\\b", gate, true},
    {"\\w+\\.\\w+\\.\\d+\\.\\D+$", gate, true},
    {"\\W", gate, false},
    {"\\S+$", gate, true},
    {"\\s", gate, false},
    {"[\\w.]+$", gate, true},
    {"\\[\\]\\(\\)\\$", "[]()$", true},
};

static void verdicts_of_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shoal_name_pattern *pattern;
        bool matches;
        if (shoal_name_pattern_compile(cases[i].pattern, &pattern) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        int64_t steps = 100000;
        assert_int_equal(shoal_name_pattern_matches(pattern, cases[i].name, &steps, &matches),
                         SHOAL_OK);
        if (matches != cases[i].matches)
            fail_msg("'%s' and '%s': %d", cases[i].pattern, cases[i].name, matches);
        shoal_name_pattern_free(pattern);
    }
}

static void refused(void **state)
{
    static const char *const texts[][2] = {
        {"(a", "group without end"},
        {"a)", "did not open"},
        {"[a", "class without end"},
        {"[z-a]", "backwards"},
        {"*a", "repeats nothing"},
        {"a**", "repeats a repeat"},
        {"a*+", "repeats a repeat"},
        {"(?<=a)b", "kind of group"},
        {"(?i)a", "kind of group"},
        {"(a)\\1", "escape"},
        {"a\\", "escape"},
        {"a{3,2}", "repeat that is not read"},
        {"a{1000}", "repeat that is not read"},
        {"((((a{50}){50}){50}){50})", "too large"},
        {"(?:a{255}){8}aaaaaaaa(?=b)", "too large"}, /* a look-ahead where the room ends */
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        shoal_name_pattern *pattern;
        assert_int_equal(shoal_name_pattern_compile(texts[i][0], &pattern), SHOAL_ERR_DATA);
        if (!strstr(shoal_error_text(), texts[i][1]))
            fail_msg("'%s': %s", texts[i][0], shoal_error_text());
    }
}

/* Long, deep, and slow for those who walk back. */
static void bounded(void **state)
{
    char text[2000] = "", name[500];
    shoal_name_pattern *pattern;
    bool matches;
    int64_t steps = 1000000;
    (void)state;
    memset(text, '(', 1000);
    assert_int_equal(shoal_name_pattern_compile(text, &pattern), SHOAL_ERR_DATA);
    memset(text, 'a', 1500);
    assert_int_equal(shoal_name_pattern_compile(text, &pattern), SHOAL_ERR_DATA);
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(shoal_name_pattern_compile("(a+)+(a|aa)*(a?){100}b", &pattern), SHOAL_OK);
    assert_int_equal(shoal_name_pattern_matches(pattern, name, &steps, &matches), SHOAL_OK);
    assert_false(matches);
    assert_in_range(steps, 1, 999999);
    shoal_name_pattern_free(pattern);
    assert_int_equal(
        shoal_name_pattern_compile("((?=a*(?=a*(?=a*b|a*c)|a*d)|a*e)|a)*(a?){200}", &pattern),
        SHOAL_OK);
    assert_int_equal(shoal_name_pattern_matches(pattern, name, &steps, &matches), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "too long"));
    shoal_name_pattern_free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_of_python),
        cmocka_unit_test(refused),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

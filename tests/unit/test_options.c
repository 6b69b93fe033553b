/* The option table and its reader: every way to say a value, every way to say it wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cli/options.h"

static const char *variables[8][2];

static const char *fake_environment(const char *name)
{
    for (size_t i = 0; i < 8 && variables[i][0]; i++)
        if (strcmp(variables[i][0], name) == 0)
            return variables[i][1];
    return NULL;
}

static int clear_environment(void **state)
{
    (void)state;
    memset(variables, 0, sizeof variables);
    return 0;
}

#define WORDS_MAX 12

/* Parse words (NULL at the end) for a verb that takes two operands. */
static shoal_status parse(shoal_verb_id verb, const char *const *words, shoal_options *out)
{
    char *argv[WORDS_MAX];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    return shoal_options_parse(verb, 2, argc, argv, fake_environment, out);
}

#define PARSE(verb, options, ...) parse(verb, (const char *const[]){__VA_ARGS__, NULL}, options)

static void expect_failure(shoal_status code, const char *const *words, const char *part)
{
    shoal_options o;
    assert_int_equal(parse(SHOAL_VERB_GENERATE, words, &o), code);
    if (!strstr(shoal_error_text(), part))
        fail_msg("'%s' does not say '%s'", shoal_error_text(), part);
}

#define REFUSE(part, ...)                                                                          \
    expect_failure(SHOAL_ERR_USAGE, (const char *const[]){__VA_ARGS__, NULL}, part)

static void test_ways_to_say_a_value(void **state)
{
    (void)state;
    static const char *const ways[][3] = {
        {"--ranks", "3"}, {"--ranks=3"}, {"-n", "3"},
        {"-n3"},          {"-n=3"},      {"--tp", "3"},
        {"--tp=3"},       {"-tp", "3"},  {"--tensor-parallel-size", "3"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        shoal_options o;
        assert_int_equal(parse(SHOAL_VERB_PLAN, ways[i], &o), SHOAL_OK);
        assert_int_equal(shoal_option_int(&o, SHOAL_OPT_RANKS), 3);
        assert_true(shoal_option_given(&o, SHOAL_OPT_RANKS));
        shoal_options_close(&o);
    }
}

static void test_operands_and_the_double_dash(void **state)
{
    (void)state;
    shoal_options o;
    assert_int_equal(PARSE(SHOAL_VERB_INSPECT, &o, "model", "--json", "--", "--odd-name"),
                     SHOAL_OK);
    assert_int_equal(o.operand_count, 2);
    assert_string_equal(o.operands[0], "model");
    assert_string_equal(o.operands[1], "--odd-name");
    assert_true(shoal_option_bool(&o, SHOAL_OPT_JSON));
    shoal_options_close(&o);
    REFUSE("unexpected argument 'c'", "a", "b", "c");
}

static void test_values_may_look_like_options(void **state)
{
    (void)state;
    shoal_options o;
    assert_int_equal(PARSE(SHOAL_VERB_GENERATE, &o, "m", "--prompt", "--json"), SHOAL_OK);
    assert_string_equal(shoal_option_text(&o, SHOAL_OPT_PROMPT), "--json");
    assert_false(shoal_option_bool(&o, SHOAL_OPT_JSON));
    shoal_options_close(&o);
}

static void test_unknown_options_get_a_suggestion(void **state)
{
    (void)state;
    REFUSE("did you mean --max-tokens?", "m", "--max-token", "3");
    REFUSE("did you mean --temperature?", "m", "--temprature=1");
    REFUSE("unknown option --zzzzzzzzzz", "m", "--zzzzzzzzzz");
    REFUSE("option of other verbs", "m", "--dequant", "x");
    REFUSE("unknown option -q", "m", "-q");
    REFUSE("unknown option", "m", "--=3");
}

static void test_numbers_are_read_strictly(void **state)
{
    (void)state;
    REFUSE("--max-tokens: 'abc' is not a whole number", "m", "--max-tokens", "abc");
    REFUSE("'3x' is not a whole number", "m", "--max-tokens=3x");
    REFUSE("'' is not a whole number", "m", "--max-tokens=");
    REFUSE("' 3' is not a whole number", "m", "--max-tokens", " 3");
    REFUSE("'+3' is not a whole number", "m", "--max-tokens", "+3");
    REFUSE("'0x10' is not a whole number", "m", "--max-tokens", "0x10");
    REFUSE("'3.0' is not a whole number", "m", "--max-tokens", "3.0");
    REFUSE("--max-tokens: 0 is outside 1..16777216", "m", "--max-tokens", "0");
    REFUSE("-5 is outside", "m", "--max-tokens", "-5");
    REFUSE("is outside", "m", "--max-tokens", "99999999999999999999999");
    REFUSE("--temperature: 'hot' is not a number", "m", "--temperature", "hot");
    REFUSE("'nan' is not a number", "m", "--temperature", "nan");
    REFUSE("1e999 is outside 0..100", "m", "--temperature", "1e999");
    REFUSE("-1 is outside", "m", "--temperature", "-1");
    REFUSE("--max-tokens needs a value", "m", "--max-tokens");
}

static void test_words_of_an_enum(void **state)
{
    (void)state;
    shoal_options o;
    REFUSE("'fp8' is not one of: auto f32 fp16 int8", "m", "--kv", "fp8");
    REFUSE("'f32 fp16' is not one of", "m", "--kv", "f32 fp16");
    REFUSE("'' is not one of", "m", "--kv=");
    assert_int_equal(PARSE(SHOAL_VERB_GENERATE, &o, "m", "--kv", "fp16"), SHOAL_OK);
    assert_int_equal(shoal_option_int(&o, SHOAL_OPT_KV), 2);
    shoal_options_close(&o);
}

static void test_sizes_in_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"1", 1},         {"4096", 4096},       {"16B", 16},         {"1KiB", 1024},
                 {"1.5KiB", 1536}, {"8 GiB", 8ll << 30}, {"2TiB", 2ll << 40}, {"3M", 3ll << 20},
                 {"3g", 3ll << 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        shoal_options o;
        assert_int_equal(PARSE(SHOAL_VERB_PLAN, &o, "m", "--memory", sizes[i].text), SHOAL_OK);
        assert_int_equal(shoal_option_int(&o, SHOAL_OPT_MEMORY), sizes[i].bytes);
        shoal_options_close(&o);
    }
    REFUSE("is not a size", "m", "--memory", "lots");
    REFUSE("is not a size", "m", "--memory", "5 Gallons");
    REFUSE("is not a size", "m", "--memory", "-1GiB");
    REFUSE("is not a size", "m", "--memory", "0x10");
    REFUSE("is not a size", "m", "--memory", "inf");
    REFUSE("is outside", "m", "--memory", "0");
    REFUSE("is outside", "m", "--memory", "9999999TiB");
}

static void test_flag_beats_environment_beats_config(void **state)
{
    (void)state;
    char path[] = "/tmp/shoal-test-options-XXXXXX", origin[128];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "max-tokens: 7\ntop_k: 5\nthreads: 2\ncapacity: [2, 1, 1]\n"
                               "dequant: of-another-verb\n";
    assert_int_equal(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    (void)close(fd);
    variables[0][0] = "SHOAL_MAX_TOKENS", variables[0][1] = "8";
    variables[1][0] = "SHOAL_TOP_K", variables[1][1] = "6";
    variables[2][0] = "SHOAL_SEED", variables[2][1] = ""; /* counts as unset */

    shoal_options o;
    assert_int_equal(PARSE(SHOAL_VERB_GENERATE, &o, "m", "--config", path, "--max-tokens", "9"),
                     SHOAL_OK);
    assert_int_equal(shoal_option_int(&o, SHOAL_OPT_MAX_TOKENS), 9);
    assert_int_equal(shoal_option_int(&o, SHOAL_OPT_TOP_K), 6);
    assert_int_equal(shoal_option_int(&o, SHOAL_OPT_THREADS), 2);
    assert_int_equal(shoal_option_int(&o, SHOAL_OPT_SEED), 0);
    assert_string_equal(shoal_option_text(&o, SHOAL_OPT_CAPACITY), "2,1,1");
    shoal_option_origin(&o, SHOAL_OPT_MAX_TOKENS, origin, sizeof origin);
    assert_string_equal(origin, "flag");
    shoal_option_origin(&o, SHOAL_OPT_TOP_K, origin, sizeof origin);
    assert_string_equal(origin, "environment SHOAL_TOP_K");
    shoal_option_origin(&o, SHOAL_OPT_THREADS, origin, sizeof origin);
    assert_non_null(strstr(origin, path));
    shoal_option_origin(&o, SHOAL_OPT_SEED, origin, sizeof origin);
    assert_string_equal(origin, "default");
    shoal_options_close(&o);

    variables[1][1] = "many";
    REFUSE("environment SHOAL_TOP_K: 'many' is not a whole number", "m");
    (void)unlink(path);
}

static void refuse_config(const char *text, shoal_status code, const char *part)
{
    char path[] = "/tmp/shoal-test-options-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    expect_failure(code, (const char *const[]){"m", "--config", path, NULL}, part);
    (void)unlink(path);
}

static void test_bad_config_files(void **state)
{
    (void)state;
    refuse_config("max-tokns: 3\n", SHOAL_ERR_CONFIG,
                  "line 1: unknown option 'max-tokns'; did you");
    refuse_config("\nmax-tokens: three\n", SHOAL_ERR_USAGE, "line 2: max-tokens: 'three' is not");
    refuse_config("- a\n- b\n", SHOAL_ERR_CONFIG, "expected a mapping");
    refuse_config("just words\n", SHOAL_ERR_CONFIG, "expected a mapping");
    refuse_config("max-tokens: {a: 3}\n", SHOAL_ERR_CONFIG, "a mapping inside a mapping");
    refuse_config("max-tokens: [1\n", SHOAL_ERR_CONFIG, "line ");
    refuse_config("seed: &x 3\ntop-k: *x\n", SHOAL_ERR_CONFIG, "aliases are not supported");
    refuse_config("help: true\n", SHOAL_ERR_CONFIG, "unknown option 'help'");
    expect_failure(SHOAL_ERR_NOTFOUND,
                   (const char *const[]){"m", "--config", "/no/such/file", NULL}, "/no/such/file");
}

static void test_the_table_itself(void **state)
{
    (void)state;
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        char variable[64];
        assert_non_null(row->name);
        assert_non_null(row->help);
        assert_int_not_equal(row->verbs, 0);
        assert_int_equal(shoal_option_find(row->name, false), i);
        assert_true(row->type == SHOAL_TYPE_BOOL || row->metavar != NULL);
        assert_true((row->type == SHOAL_TYPE_ENUM) == (row->words != NULL));
        shoal_option_variable(row, variable);
        assert_int_equal(strncmp(variable, "SHOAL_", 6), 0);
        assert_int_equal(row->help[strlen(row->help) - 1], '.');
    }
    char variable[64];
    shoal_option_variable(&shoal_option_table[SHOAL_OPT_MAX_MODEL_LEN], variable);
    assert_string_equal(variable, "SHOAL_MAX_MODEL_LEN");
    assert_int_equal(shoal_option_find("max_model_len", true), SHOAL_OPT_MAX_MODEL_LEN);
    assert_int_equal(shoal_option_find("max_model_len", false), SHOAL_OPT_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ways_to_say_a_value, clear_environment),
        cmocka_unit_test_setup(test_operands_and_the_double_dash, clear_environment),
        cmocka_unit_test_setup(test_values_may_look_like_options, clear_environment),
        cmocka_unit_test_setup(test_unknown_options_get_a_suggestion, clear_environment),
        cmocka_unit_test_setup(test_numbers_are_read_strictly, clear_environment),
        cmocka_unit_test_setup(test_words_of_an_enum, clear_environment),
        cmocka_unit_test_setup(test_sizes_in_bytes, clear_environment),
        cmocka_unit_test_setup(test_flag_beats_environment_beats_config, clear_environment),
        cmocka_unit_test_setup(test_bad_config_files, clear_environment),
        cmocka_unit_test_setup(test_the_table_itself, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

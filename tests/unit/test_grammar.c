/* Grammars: JSON Schema, regular expressions and choices as automata over bytes.
 *
 * Golden data: tok/schema (verdicts of the jsonschema package). The tables here follow from the
 * text of JSON Schema 2020-12, ECMA 262 and RFC 8259. Exact properties: a text is accepted byte by
 * byte or not at all, and from every state a walk along falling distances ends in an accepted text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/grammar/grammar_states.h"
#include "coordinator/text/utf8.h"

#define PATH_BYTES 1024
#define END        NULL

/* ---- reading a text -------------------------------------------------------------------------- */

static int32_t step(shoal_grammar_states *states, int32_t from, uint8_t byte)
{
    int32_t to;
    if (shoal_grammar_step(states, from, byte, &to) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return to;
}

/* The state behind the text, SHOAL_GRAMMAR_DEAD when it cannot be read. */
static int32_t walk(shoal_grammar_states *states, const char *text, size_t bytes)
{
    int32_t at = shoal_grammar_start(states);
    for (size_t i = 0; i < bytes && at != SHOAL_GRAMMAR_DEAD; i++)
        at = step(states, at, (uint8_t)text[i]);
    return at;
}

static bool accepts(shoal_grammar *grammar, const char *text, size_t bytes)
{
    shoal_grammar_states *states;
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    const bool good = shoal_grammar_may_end(states, walk(states, text, bytes));
    shoal_grammar_states_destroy(states);
    return good;
}

static void expect(shoal_grammar *grammar, const char *of, const char *text, bool want)
{
    if (accepts(grammar, text, strlen(text)) != want)
        fail_msg("%s should %s %s", of, want ? "accept" : "refuse", text);
}

/* From `state`: the distance is 0 exactly where the text may end, and falls by one along some byte,
 * never faster. Follows it to the end. */
static void expect_way_out(shoal_grammar_states *states, int32_t state)
{
    for (int64_t left = shoal_grammar_distance(states, state); left > 0; left--) {
        int32_t closer = SHOAL_GRAMMAR_DEAD;
        assert_false(shoal_grammar_may_end(states, state));
        for (int byte = 0; byte < 256; byte++) {
            const int32_t to = step(states, state, (uint8_t)byte);
            if (to == SHOAL_GRAMMAR_DEAD)
                continue;
            const int64_t distance = shoal_grammar_distance(states, to);
            assert_true(distance >= left - 1);
            if (distance == left - 1)
                closer = to;
        }
        assert_int_not_equal(closer, SHOAL_GRAMMAR_DEAD);
        state = closer;
    }
    assert_true(shoal_grammar_may_end(states, state));
}

/* There is a way out behind every beginning of the text. */
static void expect_ways_out(shoal_grammar *grammar, const char *text)
{
    shoal_grammar_states *states;
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    int32_t at = shoal_grammar_start(states);
    for (size_t i = 0; at != SHOAL_GRAMMAR_DEAD; i++) {
        expect_way_out(states, at);
        if (!text[i])
            break;
        at = step(states, at, (uint8_t)text[i]);
    }
    shoal_grammar_states_destroy(states);
}

static shoal_status compile(const char *schema, shoal_grammar **grammar)
{
    json_t *json = json_loads(schema, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    const shoal_status st = shoal_grammar_from_schema(json, grammar);
    json_decref(json);
    return st;
}

/* ---- golden schemas -------------------------------------------------------------------------- */

static size_t check_list(shoal_grammar *grammar, const json_t *row, const char *list, bool want)
{
    size_t i, wrong = 0;
    json_t *text;
    json_array_foreach(json_object_get(row, list), i, text)
    {
        const char *value = json_string_value(text);
        if (accepts(grammar, value, json_string_length(text)) != want) {
            printf("  %s: %s: %s\n", json_string_value(json_object_get(row, "name")), list, value);
            wrong++;
        }
        if (want)
            expect_ways_out(grammar, value);
    }
    return wrong;
}

/* The keywords that no automaton of reasonable size enforces, and what the cases about them need.
 */
static bool may_be_refused(const json_t *row)
{
    static const char *const keywords[] = {"'uniqueItems'", "'if'"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strstr(shoal_error_text(), keywords[i]))
            return true;
    printf("  %s: %s\n", json_string_value(json_object_get(row, "name")), shoal_error_text());
    return false;
}

static size_t check_row(const json_t *row, size_t *refused)
{
    shoal_grammar *grammar;
    if (shoal_grammar_from_schema(json_object_get(row, "schema"), &grammar) != SHOAL_OK) {
        ++*refused;
        return may_be_refused(row) ? 0 : 1;
    }
    const size_t wrong =
        check_list(grammar, row, "valid", true) + check_list(grammar, row, "valid_spaced", true) +
        check_list(grammar, row, "invalid", false) + check_list(grammar, row, "broken", false);
    shoal_grammar_release(grammar);
    return wrong;
}

static void test_golden(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    const char *root = getenv("SHOAL_GOLDEN");
    size_t i, wrong = 0, refused = 0;
    json_t *row;
    shoal_grammar *any;
    snprintf(path, sizeof path, "%s/tok/schema/cases.json", root ? root : "../shared/golden");
    json_t *all = json_load_file(path, JSON_ALLOW_NUL, NULL);
    if (!all) {
        printf("skipped: no golden data\n");
        skip();
    }
    json_array_foreach(json_object_get(all, "cases"), i, row) wrong += check_row(row, &refused);
    assert_int_equal(compile("true", &any), SHOAL_OK);
    wrong += check_list(any, json_object_get(all, "json_texts"), "valid", true);
    wrong += check_list(any, json_object_get(all, "json_texts"), "invalid", false);
    shoal_grammar_release(any);
    json_decref(all);
    printf("%zu schemas, %zu refused, %zu wrong verdicts\n", i, refused, wrong);
    assert_int_equal(wrong, 0);
    assert_true(refused <= 2);
}

/* ---- schemas --------------------------------------------------------------------------------- */

typedef struct {
    const char *schema;
    const char *good[8], *bad[8]; /* ended by END */
} schema_case;

static const schema_case schemas[] = {
    /* Values count, not how they are written. */
    {"{\"const\":\"aé\"}",
     {"\"aé\"", "\"\\u0061\\u00E9\"", "\"a\\u00e9\"", END},
     {"\"ae\"", "\"\\u0062é\"", "\"aé\\u0000\"", END}},
    {"{\"maxLength\":1,\"type\":\"string\"}",
     {"\"\\n\"", "\"\\ud83e\\udd99\"", "\"🦙\"", END},
     {"\"\\n\\n\"", "\"\\ud83e\"", "\"\\udd99\"", "\"\\ud83e\\ud83e\"", END}},
    {"{\"enum\":[1,\"1\",[1,{\"a\":null}]]}",
     {"1", "1.0", "1e0", "\"1\"", "[1.00,{\"a\":null}]", END},
     {"1.01", "11", "[1]", "[1,{}]", "[1,{\"a\":null},1]", END}},
    /* Names in any order, each once, in any spelling. */
    {"{\"properties\":{\"a\":{\"type\":\"integer\"},\"ab\":{\"type\":\"null\"}},"
     "\"required\":[\"ab\"],\"additionalProperties\":false,\"type\":\"object\"}",
     {"{\"ab\":null}", "{\"ab\":null,\"a\":1}", "{\"\\u0061\":1,\"ab\":null}", END},
     {"{\"a\":1}", "{\"ab\":null,\"ab\":null}", "{\"ab\":null,\"\\u0061b\":null}", "{\"ab\":1}",
      END}},
    {"{\"type\":\"object\",\"patternProperties\":{\"^n\":{\"type\":\"number\"},\"s$\":{\"minimum\":"
     "5}},\"properties\":{\"ns\":{\"maximum\":7}},\"additionalProperties\":{\"type\":\"null\"}}",
     {"{\"ns\":6}", "{\"n\":1}", "{\"s\":\"x\"}", "{\"x\":null}", END},
     {"{\"ns\":4}", "{\"ns\":8}", "{\"n\":null}", "{\"s\":4}", "{\"x\":1}", END}},
    {"{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2},\"minProperties\":1}",
     {"{\"a\":1}", "{\"\":1,\"ab\":2}", END},
     {"{}", "{\"abc\":1}", END}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"minProperties\":2,"
     "\"maxProperties\":2,\"required\":[\"c\"],\"additionalProperties\":false}",
     {"{\"c\":1,\"a\":1}", "{\"b\":1,\"c\":1}", END},
     {"{\"c\":1}", "{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":1,\"c\":1}", END}},
    {"{\"allOf\":[{\"maxProperties\":3},{\"enum\":[{\"a\":1},{\"a\":1,\"b\":2,\"c\":3,\"d\":4}]}]}",
     {"{\"a\":1}", END},
     {"{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", "{}", END}},
    {"{\"allOf\":[{\"enum\":[{\"a\":1},{\"a\":1,\"b\":2}]},{\"maxProperties\":1}]}",
     {"{\"a\":1}", END},
     {"{\"a\":1,\"b\":2}", "{}", END}},
    /* `additionalProperties` looks at its own schema only. */
    {"{\"allOf\":[{\"properties\":{\"a\":{}},\"additionalProperties\":false},"
     "{\"properties\":{\"b\":{}}}],\"type\":\"object\"}",
     {"{}", "{\"a\":1}", END},
     {"{\"b\":1}", END}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"null\"}],\"items\":{\"type\":\"boolean\"},"
     "\"minItems\":1,\"maxItems\":3}",
     {"[null]", "[ null , true , false ]", END},
     {"[]", "[true]", "[null,null]", "[null,true,true,true]", END}},
    /* Numbers as decimals. */
    {"{\"type\":\"number\",\"exclusiveMinimum\":-1.25,\"maximum\":0.005}",
     {"-1.2499", "0.005", "-0", "5.0e-3", "-9.99e-1", "1E-30", END},
     {"-1.25", "-1.250", "0.0050001", "5.1e-3", "-1.25e0", "1e0", END}},
    {"{\"type\":\"integer\",\"minimum\":1000000000000}",
     {"1000000000000", "1e12", "99999999999999999999", END},
     {"999999999999", "1e11", "-1000000000000", "1000000000000.5", END}},
    {"{\"type\":\"number\",\"multipleOf\":0.25}",
     {"0", "-1.75", "3.5000", "100", END},
     {"0.1", "-1.7", "3.125", END}},
    /* A double has the value of 15 digits; integers of more are read digit by digit. */
    {"{\"type\":\"integer\",\"multipleOf\":5}",
     {"0.0", "-10.0", "16764196122237218264110", "123456789012345.000", END},
     {"16764196122237218264110.0", "1234567890123455.0", "1e1", "5e0", "5.5", END}},
    {"{\"type\":\"number\",\"not\":{\"multipleOf\":5}}",
     {"16764196122237218264111", "123456789012341.5", END},
     {"16764196122237218264110.0", "16764196122237218264111.0", "10.0", END}},
    /* Combinations. */
    {"{\"oneOf\":[{\"type\":\"integer\",\"multipleOf\":2},{\"type\":\"integer\",\"multipleOf\":3}]"
     "}",
     {"2", "3", "4", END},
     {"6", "12", "0", "5", END}},
    {"{\"oneOf\":[{\"properties\":{\"k\":{\"const\":1}}},{\"properties\":{\"k\":{\"const\":2}}}],"
     "\"required\":[\"k\"],\"type\":\"object\"}",
     {"{\"k\":1}", "{\"x\":3,\"k\":2}", END},
     {"{}", "{\"k\":3}", END}},
    {"{\"discriminator\":{\"propertyName\":\"k\"},\"type\":[\"null\",\"integer\"]}",
     {"null", "5", END},
     {"{}", END}},
    /* Apart by a name, however the schemas are put; else it is not known, or both hold. */
    {"{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{}}},"
     "\"b\":{"
     "\"properties\":{\"k\":{\"enum\":[\"b\"]}},\"required\":[\"k\"]}},\"oneOf\":[{\"$ref\":\"#/"
     "$defs/a\"},"
     "{\"$ref\":\"#/$defs/b\",\"type\":\"object\"},{\"type\":\"array\"},{\"type\":\"integer\"},"
     "{\"enum\":[\"s\",4.5]}]}",
     {"{\"k\":\"b\"}", "{\"k\":\"a\"}", "{\"x\":1}", "[]", "4", "4.5", "\"s\"", END},
     {"{\"k\":\"c\"}", "{\"k\":1}", "true", "5.5", "\"t\"", END}},
    {"{\"oneOf\":[{\"enum\":[1,2,\"a\",null]},{\"enum\":[2.0,3,\"b\",true]},{\"const\":\"a\"}]}",
     {"1", "3", "\"b\"", "null", "true", END},
     {"2", "2.0", "\"a\"", "4", "false", END}},
    {"{\"not\":{\"type\":[\"object\",\"string\"],\"minLength\":2}}",
     {"1", "[]", "\"a\"", "1.5e7", END},
     {"{}", "\"ab\"", END}},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}]}",
     {"\"\"", "[[],[\"x\",[]]]", END},
     {"1", "[1]", "[[1]]", END}},
    {"{\"$ref\":\"#/$defs/a~1b%25\",\"minimum\":2,\"$defs\":{\"a/b%\":{\"type\":\"integer\"}}}",
     {"2", END},
     {"1", "2.5", END}},
    /* Branches that nothing satisfies are not entered. */
    {"{\"properties\":{\"a\":{\"minLength\":2,\"maxLength\":1,\"type\":\"string\"},\"b\":{}},"
     "\"type\":\"object\",\"additionalProperties\":false}",
     {"{}", "{\"b\":1}", END},
     {"{\"a\":\"xx\"}", END}},
    {"{\"pattern\":\"^[^x]*$\",\"minLength\":2,\"type\":\"string\",\"title\":\"t\",\"default\":1}",
     {"\"ab\"", "\"\\u0079é\"", END},
     {"\"a\"", "\"ax\"", "\"a\\u0078\"", END}},
    {"{\"format\":\"date\",\"type\":\"string\"}",
     {"\"2000-02-29\"", "\"2024-12-31\"", END},
     {"\"1900-02-29\"", "\"2023-02-29\"", "\"0000-01-01\"", "\"2024-04-31\"", "\"2024-1-01\"",
      END}},
    {"{\"format\":\"ipv6\",\"type\":\"string\"}",
     {"\"::\"", "\"1::8\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\"", END},
     {"\"1:2\"", "\"1::2::3\"", "\"12345::\"", "\":::\"", END}},
    {"{\"format\":\"duration\",\"type\":\"string\"}",
     {"\"P1Y2M3DT4H5M6S\"", "\"PT1S\"", "\"P4W\"", END},
     {"\"P\"", "\"P1YT\"", "\"P1S\"", "\"1D\"", END}},
    {"{\"format\":\"hostname\",\"type\":\"string\"}",
     {"\"a-b.example\"", "\"localhost\"", END},
     {"\"-a\"", "\"a..b\"", "\"\"", END}},
    {"{\"format\":\"uri\",\"type\":\"string\"}",
     {"\"http://a.b/c?d=e#f\"", "\"urn:x:y\"", "\"http://[::1]:80/\"", END},
     {"\"/relative\"", "\"http://a b\"", "\"x\"", END}},
};

static void test_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        const schema_case *c = &schemas[i];
        shoal_grammar *grammar;
        if (compile(c->schema, &grammar) != SHOAL_OK)
            fail_msg("%s: %s", c->schema, shoal_error_text());
        for (size_t t = 0; c->good[t]; t++) {
            expect(grammar, c->schema, c->good[t], true);
            expect_ways_out(grammar, c->good[t]);
        }
        for (size_t t = 0; c->bad[t]; t++) {
            expect(grammar, c->schema, c->bad[t], false);
            expect_ways_out(grammar, c->bad[t]);
        }
        shoal_grammar_release(grammar);
    }
}

/* What is refused, and a part of the sentence that says so. */
static const char *const refusals[][2] = {
    {"{\"properties\":{\"age\":{\"contains\":{}}}}", "#/properties/age: 'contains'"},
    {"{\"type\":\"array\",\"uniqueItems\":true}", "'uniqueItems'"},
    {"{\"not\":{\"properties\":{\"a\":{}},\"required\":[\"a\"]}}", "'not'"},
    {"{\"requried\":[\"a\"]}", "'requried'"},
    {"{\"format\":\"color\"}", "'format'"},
    {"{\"pattern\":\"a(?=b)\"}", "'pattern': regular expression, byte 3"},
    {"{\"$ref\":\"#/$defs/x\"}", "'$ref' points to nothing"},
    {"{\"$ref\":\"http://x/y\"}", "'$ref'"},
    {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", "refers to itself"},
    {"{\"oneOf\":[{\"type\":\"object\"},{\"required\":[\"a\"]}]}", "'oneOf'"},
    {"{\"type\":\"text\"}", "'type'"},
    {"{\"minLength\":-1}", "'minLength'"},
    {"{\"properties\":[]}", "'properties'"},
    {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "nothing satisfies"},
    {"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":1}", "nothing satisfies"},
    {"false", "allows nothing"},
    {"{\"items\":3}", "#/items: a schema is an object, true or false"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        shoal_grammar *grammar;
        assert_int_equal(compile(refusals[i][0], &grammar), SHOAL_ERR_DATA);
        if (!strstr(shoal_error_text(), refusals[i][1]))
            fail_msg("%s: %s", refusals[i][0], shoal_error_text());
    }
}

/* White space is taken, but not for ever; behind the value nothing else can come. */
static void test_blanks(void **state)
{
    (void)state;
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    assert_int_equal(shoal_grammar_json_object(&grammar), SHOAL_OK);
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    static const char *const places[] = {
        "", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":[", "{\"a\":[1,", "{}"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int32_t at = walk(states, places[i], strlen(places[i]));
        int blanks = 0;
        for (; at != SHOAL_GRAMMAR_DEAD; blanks++)
            at = step(states, at, (uint8_t) " \n\t\r"[blanks % 4]);
        assert_in_range(blanks, 32, 1000);
    }
    assert_true(shoal_grammar_must_end(states, walk(states, "{}", 2)));
    assert_false(shoal_grammar_must_end(states, walk(states, "{", 1)));
    assert_int_equal(walk(states, "[", 1), SHOAL_GRAMMAR_DEAD);
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
}

/* A long generation in an open grammar stays in few states. */
static void test_states_stay_few(void **state)
{
    (void)state;
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    assert_int_equal(compile("{\"type\":\"array\",\"items\":{\"type\":\"object\"}}", &grammar),
                     SHOAL_OK);
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    int32_t at = step(states, shoal_grammar_start(states), '[');
    for (int i = 0; i < 1000; i++) {
        char text[64];
        const int bytes =
            snprintf(text, sizeof text, "%s{\"k%d\": %d, \"x\": \"y%d\"}", i ? ", " : "", i, i, i);
        for (int k = 0; k < bytes; k++)
            at = step(states, at, (uint8_t)text[k]);
    }
    assert_int_equal(shoal_grammar_distance(states, at), 1);
    assert_in_range(shoal_grammar_state_count(states), 1, 100);
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
}

/* Characters beyond ASCII, all from the same table of states: which bytes lead alike must not
 * depend on which came first. */
static void test_beyond_ascii(void **state)
{
    (void)state;
    static const char regex[] =
        "[\\u00e0-\\u00f6\\u0900-\\u1003\\ud7f0-\\ue001\\u{1F600}-\\u{1F63F}]x|"
        "[^\\u00e0-\\u00f6\\u0900-\\u1003\\ud7f0-\\ue001\\u{1F600}-\\u{1F63F}]y|..zz";
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    if (shoal_grammar_from_regex(regex, strlen(regex), &grammar) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    for (uint32_t c = 0x110000; c-- > 0x80; c -= c > 0x20000 ? 997 : 0) {
        char text[8];
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        const size_t bytes = shoal_utf8_put(c, text);
        const bool in = (c >= 0xE0 && c <= 0xF6) || (c >= 0x900 && c <= 0x1003) ||
                        (c >= 0xD7F0 && c <= 0xE001) || (c >= 0x1F600 && c <= 0x1F63F);
        for (int way = 0; way < 2; way++) {
            text[bytes] = "xy"[way];
            const int32_t at = walk(states, text, bytes + 1);
            if (shoal_grammar_may_end(states, at) != (in == (way == 0)))
                fail_msg("U+%04X: %c", c, text[bytes]);
        }
    }
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
}

/* ---- regular expressions and choices --------------------------------------------------------- */

static const schema_case expressions[] = {
    {"(yes|no)!?", {"yes", "no!", END}, {"y", "yesno", "", "no!!", END}},
    {"a{2,3}?b*", {"aa", "aaabb", END}, {"a", "aaaa", END}},
    {"[^\\W\\d_]+", {"ab", "Z", END}, {"a1", "_", "é", "", END}},
    {"\\p{Lu}\\p{L}*", {"É", "Éa", "Жж", END}, {"é", "1", "", END}},
    {"\\P{Nd}", {"a", "½", END}, {"1", "٣", END}},
    {"^a$|^$", {"a", "", END}, {"b", "aa", END}},
    {"a^b", {END}, {END}},
    {".\\u{1F999}[\\u00e0-\\u00ff]", {"x🦙é", END}, {"\n🦙é", "🦙é", "x🦙e", END}},
    {"(?:(a*)*|b)+c", {"c", "aac", "bbac", END}, {"a", "", END}},
    {"[]-]x", {END}, {END}},
    {"[a\\]-]{2}", {"a-", "]]", END}, {"b", "a", END}},
    {"(?P<n>x)(?<m>y)", {"xy", END}, {"x", END}},
};

static void test_expressions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        const schema_case *c = &expressions[i];
        shoal_grammar *grammar;
        const shoal_status st = shoal_grammar_from_regex(c->schema, strlen(c->schema), &grammar);
        if (!c->good[0]) { /* nothing matches, or the dialects disagree */
            assert_int_equal(st, SHOAL_ERR_DATA);
            continue;
        }
        if (st != SHOAL_OK)
            fail_msg("%s: %s", c->schema, shoal_error_text());
        for (size_t t = 0; c->good[t]; t++) {
            expect(grammar, c->schema, c->good[t], true);
            expect_ways_out(grammar, c->good[t]);
        }
        for (size_t t = 0; c->bad[t]; t++)
            expect(grammar, c->schema, c->bad[t], false);
        shoal_grammar_release(grammar);
    }
}

static void test_expressions_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"(",
                                        ")",
                                        "a)",
                                        "[a",
                                        "*a",
                                        "a**",
                                        "a{3,2}",
                                        "a{9999}",
                                        "\\1",
                                        "\\b",
                                        "a{x",
                                        "(?i)a",
                                        "(?=a)",
                                        "[b-a]",
                                        "\\p{Xx}",
                                        "\\u12",
                                        "\\",
                                        "[[:alpha:]]",
                                        "\\ud800",
                                        "a{1}{2}",
                                        "a++",
                                        "\xff",
                                        "(?<!a)b",
                                        "((a{1000}){1000}){1000}",
                                        "(((){4000}){4000}){4000}",
                                        "(a|b)*a(a|b){60}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        shoal_grammar *grammar;
        if (shoal_grammar_from_regex(wrong[i], strlen(wrong[i]), &grammar) != SHOAL_ERR_DATA)
            fail_msg("%s should be refused", wrong[i]);
        assert_true(shoal_error_text()[0] != '\0');
    }
}

static void test_choices(void **state)
{
    (void)state;
    static const char *const texts[] = {"left", "le", "", "日本", "a\nb"};
    static const size_t bytes[] = {4, 2, 0, 6, 3};
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    assert_int_equal(shoal_grammar_from_choices(texts, bytes, 5, &grammar), SHOAL_OK);
    for (size_t i = 0; i < 5; i++)
        expect(grammar, "choices", texts[i], true);
    expect(grammar, "choices", "lef", false);
    expect(grammar, "choices", "leftt", false);
    expect(grammar, "choices", "\xE6\x97", false);
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    assert_false(shoal_grammar_must_end(states, walk(states, "le", 2)));
    assert_true(shoal_grammar_may_end(states, walk(states, "le", 2)));
    assert_true(shoal_grammar_must_end(states, walk(states, "left", 4)));
    assert_int_equal(shoal_grammar_distance(states, walk(states, "\xE6", 1)), 5);
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
    assert_int_equal(shoal_grammar_from_choices(texts, bytes, 0, &grammar), SHOAL_ERR_DATA);
    static const char *const broken[] = {"\xE6"};
    static const size_t one[] = {1};
    assert_int_equal(shoal_grammar_from_choices(broken, one, 1, &grammar), SHOAL_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),          cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_blanks),
        cmocka_unit_test(test_states_stay_few), cmocka_unit_test(test_beyond_ascii),
        cmocka_unit_test(test_expressions),     cmocka_unit_test(test_expressions_refused),
        cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

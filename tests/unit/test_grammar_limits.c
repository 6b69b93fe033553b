/* What compiling a schema may cost: whoever asks for too much is refused, soon, and in bounded
 * memory; what is merely long is not. How soon is for the timeout of the test to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/grammar/grammar_states.h"
#include "coordinator/text/growable.h"
#include "proto/arena.h"

#define MEMORY_MAX (400u << 20) /* bytes, of the schema of a megabyte that takes the most */

/* A schema: head, so many pieces with commas between, tail. `%d` in a piece is its number. */
typedef struct {
    const char *head, *piece, *tail;
    int count;
    const char *refusal; /* a part of the sentence; NULL: it is compiled */
} long_schema;

static const long_schema schemas[] = {
    /* Work that grows with the square of what is said. */
    {"{'allOf':[", "{}", "]}", 300000, "too many"},
    {"{'allOf':[", "{'properties':{'p%d':{}}}", "]}", 4000, "too many"},
    {"{'allOf':[{'prefixItems':[{},{},{},{},{},{},{},{},{},{}]},", "{'minItems':0}", "]}", 60000,
     "too many"},
    {"{'$defs':{'a':{'allOf':[{},{},{},{},{},{},{},{}]}},'anyOf':[", "{'$ref':'#/$defs/a'}", "]}",
     40000, NULL},
    /* Automata that nobody counted. */
    {"{'properties':{", "'a%d':{'multipleOf':2%04d}", "}}", 1000, "'multipleOf'"},
    {"{'properties':{", "'a%d':{'multipleOf':20001}", "}}", 1000, NULL},
    {"{'properties':{", "'a%d':{'maxLength':65000}", "}}", 400, NULL},
    {"{'properties':{", "'a%d':{'pattern':'((){2000}){1000}x{%d}'}", "}}", 400, "'pattern'"},
    {"{'pattern':'", "\\\\p{L}", "'}", 4000, "the limit is 16384"},
    {"{'patternProperties':{'", "\\\\p{L}", "':{}}}", 4000, "the limit is 16384"},
    {"{'pattern':'(\\\\p{L}{1000}){", "1000", "}'}", 1, "'pattern'"},
    {"{'patternProperties':{", "'a.{%d}b':{}", "}}", 40, "too large"},
    {"{'enum':[", "%d", "]}", 120000, "nodes"},
    /* Alternatives. */
    {"{'oneOf':[", "{'const':'v%d'}", "]}", 300, NULL},
    {"{'oneOf':[", "{'const':%d}", "]}", 100, NULL},
    {"{'oneOf':[", "{'type':'object','properties':{'k':{'const':'v%d'},'x':{}},'required':['k']}",
     "]}", 200, NULL},
    {"{'enum':[", "{'a':%d}", "]}", 512, NULL},
    {"{'enum':[", "{'a':%d}", "]}", 513, "#: more than 512 objects"},
    {"{'enum':[", "[%d]", "]}", 513, "#: more than 512 objects or arrays"},
    {"{'$defs':{'a':{'type':'null'},", "'b%d':{'anyOf':[{'$ref':'#/$defs/a'},{}]}",
     "},'$ref':'#/$defs/b1'}", 20000, NULL},
    /* Long, and that is all. */
    {"{'const':'", "0123456789", "'}", 80000, NULL},
    {"{'properties':{'", "0123456789", "':{}}}", 10000, NULL},
    {"{'properties':{", "'a%d':{'type':'integer','minimum':%d}", "}}", 1000, NULL},
    {"{'enum':[", "'value%d'", "]}", 50000, NULL},
    {"{'properties':{", "'a%d':{'minimum':1.7e308}", "}}", 500, NULL},
};

static void append(shoal_strbuf *out, const char *text)
{
    assert_int_equal(shoal_strbuf_append(out, text, strlen(text)), SHOAL_OK);
}

/* As JSON; a single quote stands for a double one. */
static json_t *write_schema(const long_schema *from)
{
    char piece[256];
    shoal_strbuf text = {0};
    append(&text, from->head);
    const bool list = !strchr("'{", from->head[strlen(from->head) - 1]) ||
                      strcmp(from->head, "{'properties':{") == 0 ||
                      strcmp(from->head, "{'patternProperties':{") == 0;
    for (int i = 0; i < from->count; i++) {
        (void)snprintf(piece, sizeof piece, from->piece, i, i % 10000);
        append(&text, i && list ? "," : "");
        append(&text, piece);
    }
    append(&text, from->tail);
    for (size_t i = 0; i < text.bytes; i++)
        text.data[i] = text.data[i] == '\'' ? '"' : text.data[i];
    json_error_t why;
    json_t *json = json_loadb(text.data, text.bytes, 0, &why);
    shoal_strbuf_free(&text);
    if (!json)
        fail_msg("%s: %s", from->head, why.text);
    return json;
}

static void test_long_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        const long_schema *s = &schemas[i];
        shoal_grammar *grammar = NULL;
        json_t *json = write_schema(s);
        const shoal_status st = shoal_grammar_from_schema(json, &grammar);
        json_decref(json);
        if (s->refusal ? st != SHOAL_ERR_DATA : st != SHOAL_OK)
            fail_msg("%s%s: %s", s->head, s->piece, st == SHOAL_OK ? "" : shoal_error_text());
        if (s->refusal && (!strstr(shoal_error_text(), s->refusal) || *shoal_error_text() != '#'))
            fail_msg("%s%s: %s", s->head, s->piece, shoal_error_text());
        shoal_grammar_release(grammar);
    }
    assert_true(shoal_mem_peak(SHOAL_MEM_TEXT) < MEMORY_MAX);
}

/* An alternative of many names with one value each, and many others that it requires. */
static void append_alternative(shoal_strbuf *out, const char *value, int names, int required)
{
    char piece[64];
    append(out, "{\"type\":\"object\",\"properties\":{\"\":{}");
    for (int i = 0; i < names; i++) {
        (void)snprintf(piece, sizeof piece, ",\"p%d\":{\"const\":\"%s\"}", i, value);
        append(out, piece);
    }
    append(out, "},\"required\":[\"\"");
    for (int i = 0; i < required; i++) {
        (void)snprintf(piece, sizeof piece, ",\"r%d\"", i);
        append(out, piece);
    }
    append(out, "]}");
}

/* Whether two alternatives are apart is not asked name by name of each other. */
static void test_long_alternatives(void **state)
{
    (void)state;
    shoal_grammar *grammar;
    shoal_strbuf text = {0};
    append(&text, "{\"oneOf\":[");
    append_alternative(&text, "a", 60000, 250000);
    append(&text, ",");
    append_alternative(&text, "b", 60000, 250000);
    append(&text, "]}");
    json_t *json = json_loadb(text.data, text.bytes, 0, NULL);
    assert_non_null(json);
    assert_int_equal(shoal_grammar_from_schema(json, &grammar), SHOAL_ERR_DATA);
    assert_int_equal(*shoal_error_text(), '#');
    json_decref(json);
    shoal_strbuf_free(&text);
}

/* ---- levels ---------------------------------------------------------------------------------- */

/* Arrays in arrays, `levels` of them, all of which must be there; behind the definitions `use`. */
static shoal_status nested(int levels, const char *use, shoal_grammar **grammar)
{
    char piece[256];
    shoal_strbuf text = {0};
    append(&text, "{\"$defs\":{");
    for (int i = 1; i <= levels; i++) {
        (void)snprintf(piece, sizeof piece,
                       "\"d%d\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/d%d\"},"
                       "\"minItems\":1},",
                       i, i - 1);
        append(&text, piece);
    }
    append(&text, "\"d0\":{\"type\":\"null\"}},");
    append(&text, use);
    json_t *json = json_loadb(text.data, text.bytes, 0, NULL);
    assert_non_null(json);
    const shoal_status st = shoal_grammar_from_schema(json, grammar);
    json_decref(json);
    shoal_strbuf_free(&text);
    return st;
}

/* Rules that refer to earlier ones, all the way. */
static void test_chains(void **state)
{
    (void)state;
    shoal_grammar *grammar;
    char use[65536] = "\"anyOf\":[";
    for (int i = 0; i < 990; i++)
        (void)snprintf(use + strlen(use), sizeof use - strlen(use),
                       "%s{\"properties\":{\"p\":{\"$ref\":\"#/$defs/d%d\"}}}", i ? "," : "", i);
    (void)snprintf(use + strlen(use), sizeof use - strlen(use), "]}");
    assert_int_equal(nested(990, use, &grammar), SHOAL_ERR_DATA); /* too many to choose from */
    strcpy(use, "\"properties\":{");
    for (int i = 0; i < 990; i++)
        (void)snprintf(use + strlen(use), sizeof use - strlen(use),
                       "%s\"p%d\":{\"$ref\":\"#/$defs/d%d\"}", i ? "," : "", i, i);
    (void)snprintf(use + strlen(use), sizeof use - strlen(use), "}}");
    assert_int_equal(nested(990, use, &grammar), SHOAL_OK);
    shoal_grammar_release(grammar);
}

static int32_t walk(shoal_grammar_states *states, const char *text)
{
    int32_t at = shoal_grammar_start(states);
    for (; *text && at != SHOAL_GRAMMAR_DEAD; text++)
        assert_int_equal(shoal_grammar_step(states, at, (uint8_t)*text, &at), SHOAL_OK);
    return at;
}

/* A text can be completed wherever it stands: nothing begins that has no room for what it needs. */
static void test_levels(void **state)
{
    (void)state;
    char text[4096] = "";
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    assert_int_equal(nested(1001, "\"$ref\":\"#/$defs/d1001\"}", &grammar), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "nests more than 1000 levels"));
    assert_int_equal(nested(1000, "\"$ref\":\"#/$defs/d1000\"}", &grammar), SHOAL_OK);
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    memset(text, '[', 1000);
    strcpy(text + 1000, "null");
    memset(text + 1004, ']', 1000);
    assert_true(shoal_grammar_may_end(states, walk(states, text)));
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);

    /* Lists of lists, or of ten levels that must be there. */
    assert_int_equal(nested(10,
                            "\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#\"},"
                            "{\"type\":\"object\",\"required\":[\"a\"],\"additionalProperties\":"
                            "false,\"properties\":{\"a\":{\"$ref\":\"#/$defs/d10\"},\"b\":{"
                            "\"$ref\":\"#/$defs/d0\"}}}]}}",
                            &grammar),
                     SHOAL_OK);
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    for (int levels = 1; levels <= 1001; levels++) {
        memset(text, '[', (size_t)levels);
        text[levels] = '\0';
        const int32_t at = walk(states, text);
        assert_true((at == SHOAL_GRAMMAR_DEAD) == (levels > 1000));
        strcpy(text + levels, "{\"a\":[[[[[[[[[[");
        assert_true((walk(states, text) == SHOAL_GRAMMAR_DEAD) == (levels + 11 > 1000));
        text[levels + 1] = '\0'; /* the brace alone */
        assert_true((walk(states, text) == SHOAL_GRAMMAR_DEAD) == (levels + 11 > 1000));
    }
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_schemas),
        cmocka_unit_test(test_long_alternatives),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

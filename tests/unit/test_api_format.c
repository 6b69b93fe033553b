/* The form of an answer: every way to ask for one, what is refused, and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/serve/api_request.h"
#include "proto/arena.h"
#include "tests/unit/api_case.h"
#include "tests/unit/made_vocab.h"

static shoal_tokenizer *tokenizer;
static shoal_vocab_trie trie;

static int open_all(void **state)
{
    (void)state;
    tokenizer = made_tokenizer();
    return shoal_vocab_trie_build(tokenizer, MADE_SIZE, &trie) == SHOAL_OK ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(tokenizer);
    return 0;
}

static bool parse(const shoal_vocab_trie *by, const char *field, shoal_api_request *out,
                  shoal_api_error *error)
{
    const size_t room = strlen(field) + 32;
    char *text = malloc(room);
    const shoal_api_context context = {
        .model_name = "m", .tokenizer = tokenizer, .vocab = MADE_SIZE, .context = 100, .trie = by};
    (void)snprintf(text, room, "{'prompt':'Hi',%s}", field);
    char *body = api_body(text);
    free(text);
    *error = (shoal_api_error){0};
    const bool parsed = shoal_api_parse_completion(&context, body, strlen(body), out, error);
    free(body);
    return parsed;
}

static const char *const forms[] = {
    "'response_format':{'type':'json_object'}",
    "'response_format':{'type':'json_object','schema':{'type':'object'}}",
    "'response_format':{'type':'json_schema','json_schema':{'description':'d','schema':{}}}",
    "'response_format':{'type':'json_schema','json_schema':{'name':'x','strict':true,'schema':{}}}",
    "'guided_json':{'type':'integer'}",
    "'guided_json':true",
    "'guided_json':'{\\'type\\':\\'integer\\'}'",
    "'guided_regex':'[a-z]+','guided_decoding_backend':'any'",
    "'guided_choice':['yes','no','']",
    "'guided_choice':['yes'],'response_format':{'type':'text'}",
    "'structured_outputs':{'json':{'type':'integer'},'disable_any_whitespace':false}",
    "'structured_outputs':{'regex':'a|b','choice':null}",
    "'structured_outputs':{'choice':['a'],'json_object':false}",
    "'structured_outputs':{'json_object':true}",
};
enum { FORMS = sizeof forms / sizeof forms[0] };

static void test_taken(void **state)
{
    shoal_api_request r;
    shoal_api_error error;
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        if (!parse(&trie, forms[i], &r, &error))
            fail_msg("%s: %s", forms[i], error.message);
        assert_non_null(r.masks);
        shoal_api_request_free(&r);
    }
    assert_true(parse(&trie, "'structured_outputs':{'json_object':false}", &r, &error));
    assert_null(r.masks);
    shoal_api_request_free(&r);
}

static void test_refused(void **state)
{
    static const struct {
        const char *fields, *param, *code;
    } cases[] = {
        {"'response_format':{'type':'json_object','schema':1}", "response_format.schema",
         "invalid_type"},
        {"'response_format':{'type':'json_schema','json_schema':{'schema':'{}'}}",
         "response_format.json_schema.schema", "invalid_type"},
        {"'response_format':{'type':'json_schema','json_schema':{'schema':{},'strict':1}}",
         "response_format.json_schema.strict", "invalid_type"},
        {"'response_format':{'type':'json_schema','json_schema':{'schema':{},'name':1}}",
         "response_format.json_schema.name", "invalid_type"},
        {"'response_format':{'type':'json_schema','json_schema':{'schema':{'type':'poem'}}}",
         "response_format", "invalid_json_schema"},
        {"'guided_json':{'not':{}}", "guided_json", "invalid_json_schema"},
        {"'guided_json':'{'", "guided_json", "invalid_value"},
        {"'guided_json':7", "guided_json", "invalid_json_schema"},
        {"'guided_regex':'('", "guided_regex", "invalid_value"},
        {"'guided_regex':7", "guided_regex", "invalid_type"},
        {"'guided_choice':'a'", "guided_choice", "invalid_type"},
        {"'guided_choice':[]", "guided_choice", "invalid_type"},
        {"'guided_choice':['a',1]", "guided_choice", "invalid_type"},
        {"'guided_whitespace_pattern':' '", "guided_whitespace_pattern", "unsupported"},
        {"'guided_json':{},'guided_regex':'a'", "guided_regex", "invalid_value"},
        {"'guided_json':{},'response_format':{'type':'json_object'}", "guided_json",
         "invalid_value"},
        {"'structured_outputs':'json'", "structured_outputs", "invalid_type"},
        {"'structured_outputs':{'grammar':'a'}", "structured_outputs", "unsupported"},
        {"'structured_outputs':{'json_object':1}", "structured_outputs.json_object",
         "invalid_type"},
        {"'structured_outputs':{'json':{},'regex':'a'}", "structured_outputs.regex",
         "invalid_value"},
    };
    shoal_api_request r;
    shoal_api_error error;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (parse(&trie, cases[i].fields, &r, &error))
            fail_msg("accepted: %s", cases[i].fields);
        if (error.status != 400 || strcmp(error.param, cases[i].param) != 0 ||
            strcmp(error.code, cases[i].code) != 0 || !strstr(error.message, cases[i].param))
            fail_msg("%s: %d %s %s: %s", cases[i].fields, error.status, error.param, error.code,
                     error.message);
    }
}

/* What cannot be enforced is named, and where it stands. */
static void test_sentence(void **state)
{
    shoal_api_request r;
    shoal_api_error error;
    (void)state;
    assert_false(parse(&trie,
                       "'response_format':{'type':'json_schema','json_schema':{'schema':"
                       "{'type':'object','properties':{'age':{'uniqueItems':true}}}}}",
                       &r, &error));
    assert_non_null(strstr(error.message, "'uniqueItems'"));
    assert_non_null(strstr(error.message, "/properties/age"));
}

static void test_large_schema(void **state)
{
    shoal_api_request r;
    shoal_api_error error;
    const int most = (int)SHOAL_GRAMMAR_SCHEMA_MAX;
    char *field = malloc((size_t)most + 100);
    (void)state;
    for (int more = 0; more <= 1; more++) { /* {"title":"..."} has 12 bytes beside the text */
        (void)sprintf(field, "'guided_json':{'title':'%0*d'}", most - 12 + more, 0);
        assert_int_equal(parse(&trie, field, &r, &error), more == 0);
        if (more == 0)
            shoal_api_request_free(&r);
    }
    assert_string_equal(error.code, "invalid_value");
    free(field);
}

/* A tokenizer whose tokens do not make up the text. */
static void test_no_trie(void **state)
{
    shoal_api_request r;
    shoal_api_error error;
    (void)state;
    assert_false(parse(NULL, "'guided_choice':['a']", &r, &error));
    assert_int_equal(error.status, 400);
    assert_string_equal(error.code, "unsupported");
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        bool parsed = false;
        for (uint64_t n = 1; !parsed; n++) {
            shoal_api_request r;
            shoal_api_error error;
            const uint64_t before = shoal_mem_live(SHOAL_MEM_TEXT);
            shoal_mem_fail_nth(n);
            parsed = parse(&trie, forms[i], &r, &error);
            shoal_mem_fail_nth(0);
            if (parsed)
                shoal_api_request_free(&r);
            else
                assert_int_equal(error.status, 503);
            assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sentence),     cmocka_unit_test(test_no_trie),
        cmocka_unit_test(test_large_schema), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

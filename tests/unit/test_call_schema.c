/* The schema of an answer that is nothing but calls: its grammar takes what it should and nothing
 * else, also where functions bring definitions of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/serve/call_schema.h"
#include "coordinator/text/grammar/grammar_states.h"
#include "tests/unit/api_case.h"

static json_t *json_of(const char *text)
{
    char *body = api_body(text);
    json_t *json = json_loads(body, 0, NULL);
    assert_non_null(json);
    free(body);
    return json;
}

/* Is the text, written with apostrophes, an answer as a whole? Takes the schema over. */
static bool accepts(json_t *schema, const char *text)
{
    shoal_grammar *grammar;
    shoal_grammar_states *states;
    char *answer = api_body(text);
    assert_non_null(schema);
    if (shoal_grammar_from_schema(schema, &grammar) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_grammar_states_create(grammar, &states), SHOAL_OK);
    int32_t state = shoal_grammar_start(states);
    for (const char *c = answer; *c && state != SHOAL_GRAMMAR_DEAD; c++)
        assert_int_equal(shoal_grammar_step(states, state, (uint8_t)*c, &state), SHOAL_OK);
    const bool whole = state != SHOAL_GRAMMAR_DEAD && shoal_grammar_may_end(states, state);
    shoal_grammar_states_destroy(states);
    shoal_grammar_release(grammar);
    json_decref(schema);
    free(answer);
    return whole;
}

static void test_arguments(void **state)
{
    json_t *none = json_of("{'name':'f'}"), *empty = json_of("{'name':'f','parameters':{}}");
    json_t *some = json_of("{'name':'f','parameters':{'properties':{'a':{'type':'integer'}},"
                           "'required':['a'],'additionalProperties':false}}");
    (void)state;
    assert_true(accepts(shoal_arguments_schema(none), "{}"));
    assert_false(accepts(shoal_arguments_schema(none), "{'a':1}"));
    assert_true(accepts(shoal_arguments_schema(empty), "{}"));
    assert_true(accepts(shoal_arguments_schema(some), "{'a':1}"));
    assert_false(accepts(shoal_arguments_schema(some), "{}"));
    assert_false(accepts(shoal_arguments_schema(some), "7")); /* arguments are an object */
    json_t *open = json_of("{'name':'f','parameters':{'$id':'x','type':['object','null']}}");
    assert_true(accepts(shoal_arguments_schema(open), "{'a':1}"));
    assert_false(accepts(shoal_arguments_schema(open), "null"));
    json_decref(open);
    json_decref(some);
    json_decref(empty);
    json_decref(none);
}

static void test_calls(void **state)
{
    json_t *tools = json_of(
        "[{'function':{'name':'now'}},{'function':{'name':'f','parameters':{'type':'object',"
        "'properties':{'t':{'$ref':'#/$defs/tree'}},'required':['t'],'additionalProperties':false,"
        "'$defs':{'tree':{'anyOf':[{'type':'null'},{'type':'array','items':{'$ref':'#/$defs/tree'},"
        "'maxItems':1}]}}}}}]");
    json_t *before = json_deep_copy(tools);
    (void)state;
#define CALLS(parallel, text) accepts(shoal_calls_schema(tools, parallel), text)
    assert_true(CALLS(true, "[{'name':'now','arguments':{}}]"));
    assert_true(CALLS(true, "[{'name':'f','arguments':{'t':[[null]]}}]"));
    assert_true(CALLS(true, "[{'arguments':{'t':null},'name':'f'},{'name':'now','arguments':{}}]"));
    assert_false(CALLS(true, "[]"));
    assert_false(CALLS(true, "[{'name':'now','arguments':{'t':null}}]"));
    assert_false(CALLS(true, "[{'name':'g','arguments':{}}]"));
    assert_false(CALLS(true, "[{'name':'f','arguments':{'t':[7]}}]"));
    assert_false(CALLS(true, "[{'name':'now'}]"));
    assert_true(CALLS(false, "[{'name':'now','arguments':{}}]"));
    assert_false(CALLS(false, "[{'name':'now','arguments':{}},{'name':'now','arguments':{}}]"));
#undef CALLS
    assert_true(json_equal(tools, before));
    json_decref(before);
    json_decref(tools);
}

/* Names of properties may be words that mean something elsewhere. */
static void test_names(void **state)
{
    (void)state;
    json_t *tools =
        json_of("[{'function':{'name':'f','parameters':{'properties':{'enum':{'$ref':'#/$defs/n'},"
                "'const':{'items':{'$ref':'#/$defs/n'}},'$ref':{'$ref':'#/$defs/n'},'properties':"
                "{'$ref':'#/$defs/const'}},'additionalProperties':false,"
                "'$defs':{'n':{'type':'null'},'const':{'enum':[{'$ref':'#'}]}}}}}]");
#define CALL(arguments)                                                                            \
    accepts(shoal_calls_schema(tools, false), "[{'name':'f','arguments':" arguments "}]")
    assert_true(CALL("{'enum':null,'const':[null],'$ref':null}"));
    assert_true(CALL("{'properties':{'$ref':'#'}}"));
    assert_false(CALL("{'enum':1}"));
    assert_false(CALL("{'const':[1]}"));
    assert_false(CALL("{'$ref':1}"));
#undef CALL
    json_decref(tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Bodies that are no request: broken JSON, unknown fields, other models; and the bodies of
 * /tokenize and /detokenize. */
#include "tests/unit/api_request_case.h"

/* ---- bodies ---- */

static void refuse_body(const char *body, size_t bytes, int at)
{
    const shoal_api_context c = context();
    shoal_api_request request;
    shoal_api_error error;
    char where[32];
    for (int chat = 0; chat <= 1; chat++) {
        assert_false(parse_bytes(&c, chat, body, bytes, &request, &error));
        assert_int_equal(error.status, 400);
        assert_true(error.param[0] == '\0' && error.code[0] == '\0');
        snprintf(where, sizeof where, at < 0 ? " at byte " : " at byte %d.", at);
        if (!strstr(error.message, where))
            fail_msg("%.60s: %s", body, error.message);
    }
}

static void test_no_json(void **state)
{
    (void)state;
#define REFUSE(text, at) refuse_body(text, sizeof(text) - 1, at)
    REFUSE("", 0);
    REFUSE("   ", 3);
    REFUSE("{\"a\":", 5);
    REFUSE("{\"a\":[1,2", 9);
    REFUSE("nothing", -1);
    REFUSE("\"text\"", -1);
    REFUSE("{\"a\":1} x", -1);
    REFUSE("{\"a\":1,\"a\":1}", -1);
    REFUSE("{\"a\":NaN}", -1);
    REFUSE("{\"a\":Infinity}", -1);
    REFUSE("{\"temperature\":1e400}", -1);
    REFUSE("{\"seed\":9223372036854775808}", -1);
    REFUSE("{\"seed\":-9223372036854775809}", -1);
    REFUSE("{\"a\":01}", -1);
    REFUSE("{\"a\":\"\\ud83e alone\"}", -1);
    REFUSE("{\"a\":\"\\udd99 alone\"}", -1);
    REFUSE("{\"a\\u0000\":1}", -1);
    REFUSE("\xEF\xBB\xBF{}", -1);
    REFUSE("{\"a\":\"\xff\xfe\"}", 6);
    REFUSE("{\"a\":\"\xed\xa0\x80\"}", 6);
    REFUSE("{\"a\":\"\xf0\x9f\"}", 6);
    REFUSE("{\"a\":\"\0\"}", -1);
    REFUSE("{\"a\":\"\n\"}", -1);
#undef REFUSE
    const shoal_api_context c = context();
    refuse_by(&c, true, "[]", 400, "", "invalid_type");
}

static void test_depth_and_digits(void **state)
{
    enum { LONG = 1000000 };
    char *text = malloc(LONG + 16);
    (void)state;
    assert_non_null(text);
    memset(text, '[', LONG);
    refuse_body(text, LONG, SHOAL_API_DEPTH_MAX);
    for (int i = 0; i < LONG; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    refuse_body(text, LONG, 5 * SHOAL_API_DEPTH_MAX);
    memset(text, '9', LONG + 16);
    memcpy(text, "{\"seed\":", 8);
    text[LONG] = '}';
    refuse_body(text, LONG + 1, -1);
    /* brackets in a string are no depth, and an escaped quotation mark does not end it */
    memcpy(text, "[\"\\\"", 4);
    memset(text + 4, '[', 100);
    memcpy(text + 104, "\"]", 2);
    shoal_api_error error = {0};
    json_t *json = shoal_api_parse_json(text, 106, &error);
    assert_non_null(json);
    assert_int_equal(json_string_length(json_array_get(json, 0)), 101);
    json_decref(json);
    /* the last level that is allowed */
    memset(text, '[', SHOAL_API_DEPTH_MAX);
    memset(text + SHOAL_API_DEPTH_MAX, ']', SHOAL_API_DEPTH_MAX);
    json = shoal_api_parse_json(text, (size_t)2 * SHOAL_API_DEPTH_MAX, &error);
    assert_non_null(json);
    json_decref(json);
    free(text);
}

static void test_model_name(void **state)
{
    const shoal_api_context c = context();
    (void)state;
    refuse_by(&c, true, "{'model':'other'}", 404, "model", "model_not_found");
    refuse_by(&c, false, "{'model':'shoal-test\\u0000x','prompt':'a'}", 404, "model",
              "model_not_found");
    refuse_by(&c, true, "{'model':7}", 400, "model", "invalid_type");
    shoal_api_request r = accept_field(true, "'model':'shoal-test'");
    shoal_api_request_free(&r);
}

/* Lines about `name` on stderr while it is asked for `times` times. */
static int log_lines(const char *name, int times)
{
    char field[128], line[1024];
    int lines = 0;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    const int saved = dup(2);
    dup2(fileno(file), 2);
    snprintf(field, sizeof field, "'%s':{'a':1}", name);
    for (int i = 0; i < times; i++) {
        shoal_api_request r = accept_field(i % 2, field);
        shoal_api_request_free(&r);
    }
    dup2(saved, 2);
    close(saved);
    rewind(file);
    while (fgets(line, sizeof line, file))
        lines += strstr(line, name) != NULL;
    fclose(file);
    return lines;
}

static void test_unknown_fields(void **state)
{
    char name[32];
    int logged = 0;
    (void)state;
    assert_int_equal(log_lines("shoal_unknown_field", 4), 1);
    assert_int_equal(log_lines("shoal_unknown_field", 4), 0);
    assert_int_equal(log_lines("another_one", 1), 1);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "invented_%d_", i);
        logged += log_lines(name, 1);
    }
    assert_true(logged > 0 && logged < 100); /* what is remembered is bounded */
}

/* ---- tokenize ---- */

static json_t *ask(bool tokenize, const char *text, shoal_api_error *error)
{
    const shoal_api_context c = context();
    shoal_strbuf answer = {0};
    char *body = api_body(text);
    *error = (shoal_api_error){0};
    const bool done = (tokenize ? shoal_api_tokenize : shoal_api_detokenize)(&c, body, strlen(body),
                                                                             &answer, error);
    assert_int_equal(done, error->status == 0);
    json_t *json = done ? json_loadb(answer.data, answer.bytes, JSON_ALLOW_NUL, NULL) : NULL;
    assert_int_equal(done, json != NULL);
    shoal_strbuf_free(&answer);
    free(body);
    return json;
}

/* What /tokenize gives, through /detokenize. */
static void expect_round(const char *body, const char *want)
{
    shoal_api_error error;
    json_t *ids = ask(true, body, &error);
    if (!ids)
        fail_msg("%s: %s", body, error.message);
    const json_t *tokens = json_object_get(ids, "tokens");
    assert_int_equal(json_integer_value(json_object_get(ids, "count")), json_array_size(tokens));
    assert_int_equal(json_integer_value(json_object_get(ids, "max_model_len")), CONTEXT);
    char *list = json_dumps(ids, 0);
    json_t *text = ask(false, list, &error);
    assert_non_null(text);
    assert_string_equal(json_string_value(json_object_get(text, "prompt")), want);
    assert_string_equal(json_string_value(json_object_get(text, "content")), want);
    json_decref(text);
    free(list);
    json_decref(ids);
}

/* As many ids as are taken, and one more. */
static void test_detokenize_limit(void **state)
{
    (void)state;
    for (int more = 0; more <= 1; more++) {
        shoal_api_error error;
        json_t *list = json_array();
        for (int i = 0; i < SHOAL_API_DETOKENIZE_MAX + more; i++)
            json_array_append_new(list, json_integer(300));
        json_t *body = json_pack("{s:o}", "tokens", list);
        char *text = json_dumps(body, JSON_COMPACT);
        json_t *answer = ask(false, text, &error);
        assert_int_equal(error.status, more ? 400 : 0);
        json_decref(answer);
        json_decref(body);
        free(text);
    }
}

static void test_tokenize(void **state)
{
    shoal_api_error error;
    (void)state;
    expect_round("{'prompt':'Hi \\\"you\\\"\\n'}", "<|begin|>Hi \"you\"\n");
    expect_round("{'text':'Hi'}", "<|begin|>Hi");
    expect_round("{'content':'Hi'}", "Hi");
    expect_round("{'content':'Hi','add_special':true}", "<|begin|>Hi");
    expect_round("{'prompt':'Hi','add_special_tokens':false}", "Hi");
    expect_round("{'content':''}", "");
    expect_round("{'messages':[{'role':'user','content':'Hi'}]}",
                 "<|begin|><|user|>\nHi<|end|>\n<|assistant|>\n");
    static const struct {
        bool tokenize;
        const char *body, *param;
    } cases[] = {
        {true, "{}", "prompt"},
        {true, "{'prompt':7}", "prompt"},
        {true, "{'prompt':'a','text':'b'}", "text"},
        {true, "{'content':'a','add_special':1}", "add_special"},
        {true, "{'messages':[]}", "messages"},
        {false, "{}", "tokens"},
        {false, "{'tokens':'a'}", "tokens"},
        {false, "{'tokens':['a']}", "tokens"},
        {false, "{'tokens':[2048]}", "tokens"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(ask(cases[i].tokenize, cases[i].body, &error));
        assert_int_equal(error.status, 400);
        assert_string_equal(error.param, cases[i].param);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_json),          cmocka_unit_test(test_depth_and_digits),
        cmocka_unit_test(test_model_name),       cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_detokenize_limit), cmocka_unit_test(test_tokenize),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

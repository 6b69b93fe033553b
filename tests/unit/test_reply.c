/* Replies: tokens of a driver become whole answers and streams with reasoning and calls. The server
 * is played by this file: what a reply sends is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/serve/reply.h"
#include "coordinator/text/byte_level.h"
#include "proto/arena.h"
#include "tests/unit/api_case.h"

/* ---- the server ---- */

static shoal_strbuf sent;
static int status;
static bool ended;

static void keep(const char *bytes, size_t count)
{
    assert_int_equal(shoal_strbuf_append(&sent, bytes, count), SHOAL_OK);
}

const char *shoal_http_header(const shoal_http_exchange *x, const char *name)
{
    (void)x, (void)name;
    return NULL;
}

const char *shoal_http_request_id(const shoal_http_exchange *x)
{
    (void)x;
    return "id";
}

void shoal_http_set_user(shoal_http_exchange *x, void *user)
{
    (void)x, (void)user;
}

void shoal_http_stream_begin(shoal_http_exchange *x, const char *type, const char *headers)
{
    (void)x, (void)type, (void)headers;
    status = 200;
}

bool shoal_http_stream_write(shoal_http_exchange *x, const char *bytes, size_t count)
{
    (void)x;
    keep(bytes, count);
    return true;
}

void shoal_http_stream_end(shoal_http_exchange *x)
{
    (void)x;
    ended = true;
}

void shoal_http_reply(shoal_http_exchange *x, int code, const char *type, const char *headers,
                      const char *body, size_t bytes)
{
    (void)x, (void)type, (void)headers;
    status = code;
    ended = true;
    keep(body, bytes);
}

void shoal_http_reply_error(shoal_http_exchange *x, const shoal_api_error *error)
{
    (void)x;
    status = error->status;
    ended = true;
}

/* ---- a tokenizer of bytes and special tokens ---- */

#define FIRST_SPECIAL 256
static const char *const specials[] = {"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "<pad>"};
#define SPECIALS (sizeof specials / sizeof specials[0])

static shoal_tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    json_t *vocab = json_object(), *added = json_array();
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        shoal_strbuf piece = {0};
        assert_int_equal(shoal_byte_level_encode(&c, 1, &piece), SHOAL_OK);
        assert_int_equal(shoal_strbuf_append(&piece, "", 1), SHOAL_OK);
        json_object_set_new(vocab, piece.data, json_integer(byte));
        shoal_strbuf_free(&piece);
    }
    for (size_t i = 0; i < SPECIALS; i++)
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id",
                                               FIRST_SPECIAL + (int)i, "content", specials[i],
                                               "special", 1, "single_word", 0, "lstrip", 0,
                                               "rstrip", 0, "normalized", 0));
    json_t *json =
        json_pack("{s:{s:s, s:b, s:b, s:b}, s:o, s:{s:s, s:o, s:[]}}", "decoder", "type",
                  "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1,
                  "added_tokens", added, "model", "type", "BPE", "vocab", vocab, "merges");
    char *text = json_dumps(json, 0);
    const shoal_status st = shoal_tokenizer_open_memory(text, strlen(text), "made", &tokenizer);
    if (st != SHOAL_OK)
        printf("%s\n", shoal_error_text());
    free(text);
    json_decref(json);
    return st == SHOAL_OK ? 0 : -1;
}

static int close_tokenizer(void **state)
{
    (void)state;
    shoal_tokenizer_close(tokenizer);
    shoal_strbuf_free(&sent);
    return 0;
}

/* The token that the text at `at` begins with. */
static int32_t token_at(const char *text, size_t *at)
{
    for (size_t i = 0; i < SPECIALS; i++) {
        const size_t bytes = strlen(specials[i]);
        if (strncmp(text + *at, specials[i], bytes) == 0) {
            *at += bytes;
            return FIRST_SPECIAL + (int32_t)i;
        }
    }
    return (unsigned char)text[(*at)++];
}

/* ---- one reply ---- */

typedef struct {
    shoal_speech_rules rules;
    bool stream, logprobs;
    int n;
} wish;

static shoal_reply *begin(const wish *order)
{
    static const shoal_reply_context context = {.model = "m", .fingerprint = "fp"};
    static shoal_reply_context with_tokenizer;
    shoal_reply *reply;
    void *prompts;
    with_tokenizer = context;
    with_tokenizer.tokenizer = tokenizer;
    sent.bytes = 0, status = 0, ended = false;
    assert_int_equal(shoal_reply_create(&with_tokenizer, (shoal_http_exchange *)&sent, &reply),
                     SHOAL_OK);
    assert_int_equal(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_api_prompt), &prompts), SHOAL_OK);
    shoal_api_request request = {.chat = true,
                                 .stream = order->stream,
                                 .logprobs = order->logprobs,
                                 .n = order->n ? order->n : 1,
                                 .best_of = order->n ? order->n : 1,
                                 .prompts = prompts,
                                 .prompt_count = 1,
                                 .speech = order->rules};
    assert_int_equal(shoal_reply_prepare(reply, &request), SHOAL_OK);
    shoal_reply_begin(reply);
    return reply;
}

/* All of the text to a part, and its end. Returns how many bytes were taken before the reply wanted
 * no more. */
static size_t say(shoal_reply *reply, int index, const char *text, shoal_finish finish)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes;) {
        bool cancel;
        const shoal_driver_event event = {.has_token = true,
                                          .token = {.token = token_at(text, &at)}};
        shoal_reply_take(&reply->parts[index], &event, &cancel);
        if (cancel)
            return at;
    }
    bool cancel;
    const shoal_driver_event end = {.finish = finish};
    shoal_reply_take(&reply->parts[index], &end, &cancel);
    return bytes;
}

static json_t *whole(const wish *order, const char *text, shoal_finish finish)
{
    shoal_reply *reply = begin(order);
    (void)say(reply, 0, text, finish);
    assert_true(ended);
    assert_int_equal(status, 200);
    json_t *json = json_loadb(sent.data, sent.bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    shoal_reply_destroy(reply);
    return json;
}

/* ---- a stream put together as clients do ---- */

static void append(json_t *object, const char *key, const json_t *more)
{
    const char *old = json_string_value(json_object_get(object, key));
    if (json_is_string(more))
        json_object_set_new(object, key,
                            json_sprintf("%s%s", old ? old : "", json_string_value(more)));
}

static void merge_call(json_t *calls, const json_t *delta)
{
    const size_t index = (size_t)json_integer_value(json_object_get(delta, "index"));
    const json_t *function = json_object_get(delta, "function");
    assert_true(index <= json_array_size(calls));
    if (index == json_array_size(calls)) {
        assert_string_equal(json_string_value(json_object_get(delta, "type")), "function");
        json_array_append_new(calls, json_pack("{s:O, s:s, s:{s:O, s:s}}", "id",
                                               json_object_get(delta, "id"), "type", "function",
                                               "function", "name",
                                               json_object_get(function, "name"), "arguments", ""));
    }
    append(json_object_get(json_array_get(calls, index), "function"), "arguments",
           json_object_get(function, "arguments"));
}

/* {"message", "finish_reason"} of choice 0. */
static json_t *merged(const char *text)
{
    json_t *message = json_object(), *calls = json_array(), *finish = NULL;
    for (const char *at = text; (at = strstr(at, "data: {")) != NULL; at += 6) {
        const char *end = strstr(at, "\n\n");
        json_t *chunk = json_loadb(at + 6, (size_t)(end - at) - 6, JSON_REJECT_DUPLICATES, NULL);
        const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
        const json_t *delta = json_object_get(choice, "delta");
        assert_true(json_array_size(json_object_get(delta, "tool_calls")) <= 1);
        append(message, "content", json_object_get(delta, "content"));
        append(message, "reasoning_content", json_object_get(delta, "reasoning_content"));
        if (json_object_get(delta, "tool_calls"))
            merge_call(calls, json_array_get(json_object_get(delta, "tool_calls"), 0));
        if (json_is_string(json_object_get(choice, "finish_reason")))
            finish = json_copy(json_object_get(choice, "finish_reason"));
        json_decref(chunk);
    }
    if (json_array_size(calls) > 0)
        json_object_set(message, "tool_calls", calls);
    json_decref(calls);
    return json_pack("{s:o, s:o}", "message", message, "finish_reason", finish);
}

static json_t *streamed(const wish *given, const char *text, shoal_finish finish)
{
    wish order = *given;
    order.stream = true;
    shoal_reply *reply = begin(&order);
    (void)say(reply, 0, text, finish);
    assert_true(ended);
    assert_int_equal(shoal_strbuf_append(&sent, "", 1), SHOAL_OK);
    assert_non_null(strstr(sent.data, "data: [DONE]\n\n"));
    shoal_reply_destroy(reply);
    return merged(sent.data);
}

/* ---- tests ---- */

static void expect(const json_t *choice, const char *want)
{
    char *body = api_body(want);
    json_t *wanted = json_loads(body, 0, NULL), *got = json_object();
    json_t *message = json_copy(json_object_get(choice, "message"));
    assert_non_null(wanted);
    json_object_del(message, "role");
    json_object_del(message, "refusal");
    if (json_is_null(json_object_get(message, "content")) ||
        json_string_length(json_object_get(message, "content")) == 0)
        json_object_del(message, "content");
    for (size_t i = 0; i < json_array_size(json_object_get(message, "tool_calls")); i++) {
        json_t *call = json_array_get(json_object_get(message, "tool_calls"), i);
        assert_int_equal(json_string_length(json_object_get(call, "id")), 9);
        json_object_del(call, "id");
    }
    json_object_set_new(got, "message", message);
    json_object_set(got, "finish_reason", json_object_get(choice, "finish_reason"));
    char *text = json_dumps(got, 0);
    if (!json_equal(got, wanted))
        fail_msg("%s\n is not\n%s", text, body);
    free(text);
    json_decref(got);
    json_decref(wanted);
    free(body);
}

/* The same whole and streamed. */
static void check(const wish *order, const char *text, shoal_finish finish, const char *want)
{
    json_t *answer = whole(order, text, finish);
    expect(json_array_get(json_object_get(answer, "choices"), 0), want);
    json_decref(answer);
    json_t *put_together = streamed(order, text, finish);
    expect(put_together, want);
    json_decref(put_together);
}

#define CALL_F "{'type':'function','function':{'name':'f','arguments':'{\\\"a\\\": \\\"é\\\"}'}}"
#define CALL_G "{'type':'function','function':{'name':'g','arguments':'{}'}}"

static wish all_rules(void)
{
    return (wish){.rules = {.calls = shoal_call_format_named("mistral"),
                            .think = shoal_think_format_of("[/THINK]", 8)}};
}

/* Marks are special tokens here, which no answer shows. */
static void test_messages(void **state)
{
    const wish all = all_rules(), none = {0};
    (void)state;
    check(&none, "Hi <pad>there[TOOL_CALLS]!", SHOAL_FINISH_LENGTH,
          "{'message':{'content':'Hi there!'},'finish_reason':'length'}");
    check(&all, "[THINK]Hm.<pad>[/THINK]Yes.", SHOAL_FINISH_STOP,
          "{'message':{'content':'Yes.','reasoning_content':'Hm.'},'finish_reason':'stop'}");
    check(&all, "[TOOL_CALLS]f[ARGS]{\"a\": \"é\"}[TOOL_CALLS]g[ARGS]{}", SHOAL_FINISH_STOP,
          "{'message':{'tool_calls':[" CALL_F "," CALL_G "]},'finish_reason':'tool_calls'}");
    check(&all, "[THINK]Hm[/THINK]So:[TOOL_CALLS]g[ARGS]{}", SHOAL_FINISH_LENGTH,
          "{'message':{'content':'So:','reasoning_content':'Hm','tool_calls':[" CALL_G "]},"
          "'finish_reason':'length'}");
    check(&all, "[TOOL_CALLS]nothing", SHOAL_FINISH_STOP,
          "{'message':{'content':'[TOOL_CALLS]nothing'},'finish_reason':'stop'}");
}

/* The answer ends with its only call; what comes behind is not asked for. */
static void test_single(void **state)
{
    static const char text[] = "[TOOL_CALLS]g[ARGS]{}[TOOL_CALLS]f[ARGS]{}";
    wish order = all_rules();
    (void)state;
    order.rules.single = true;
    check(&order, text, SHOAL_FINISH_STOP,
          "{'message':{'tool_calls':[" CALL_G "]},'finish_reason':'tool_calls'}");
    shoal_reply *reply = begin(&order);
    assert_int_equal(say(reply, 0, text, SHOAL_FINISH_STOP), strlen("[TOOL_CALLS]g[ARGS]{}"));
    shoal_reply_destroy(reply);
}

/* A call that breaks after a client has seen it begin: whole answers have it as content. */
static void test_taken_back(void **state)
{
    static const char text[] = "[TOOL_CALLS]f[ARGS]{\"a\": nonsense}";
    const wish all = all_rules();
    (void)state;
    json_t *answer = whole(&all, text, SHOAL_FINISH_STOP);
    expect(json_array_get(json_object_get(answer, "choices"), 0),
           "{'message':{'content':'[TOOL_CALLS]f[ARGS]{\\\"a\\\": nonsense}'},"
           "'finish_reason':'stop'}");
    json_decref(answer);
    json_t *seen = streamed(&all, text, SHOAL_FINISH_STOP);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(seen, "message"), "content")), text);
    assert_string_equal(json_string_value(json_object_get(seen, "finish_reason")), "stop");
    json_decref(seen);
}

/* Every token is shown once, in the choices of several, whatever its text was. */
static void test_tokens_are_shown(void **state)
{
    static const char text[] = "[THINK]Hm[/THINK]So:[TOOL_CALLS]g[ARGS]{}";
    wish order = all_rules();
    size_t shown = 0;
    (void)state;
    order.logprobs = order.stream = true;
    order.n = 2;
    shoal_reply *reply = begin(&order);
    (void)say(reply, 1, text, SHOAL_FINISH_STOP);
    assert_false(ended);
    (void)say(reply, 0, text, SHOAL_FINISH_STOP);
    assert_true(ended);
    assert_int_equal(shoal_strbuf_append(&sent, "", 1), SHOAL_OK);
    for (const char *at = sent.data; (at = strstr(at, "\"top_logprobs\"")) != NULL; at++)
        shown++;
    assert_int_equal(shown, 2 * strlen("THmTSo:TgA{}"));
    shoal_reply_destroy(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_tokens_are_shown),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}

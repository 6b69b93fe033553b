/* Answers: the golden ones made again from their own values, and what JSON text must hold for any
 * text and number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/api_answer.h"
#include "coordinator/serve/json_write.h"
#include "coordinator/text/byte_level.h"
#include "proto/arena.h"
#include "tests/unit/api_case.h"

#define CHOICES_MAX 4
#define TOKENS_MAX  8

/* ---- a tokenizer of the tokens that a golden answer mentions ---- */

/* The bytes of a token in the byte alphabet, as JSON string. */
static json_t *piece_of(const char *bytes, size_t count)
{
    shoal_strbuf piece = {0};
    assert_int_equal(shoal_byte_level_encode(bytes, count, &piece), SHOAL_OK);
    json_t *text = json_stringn(piece.data, piece.bytes);
    shoal_strbuf_free(&piece);
    return text;
}

static void add_piece(json_t *vocab, const char *bytes, size_t count)
{
    json_t *piece = piece_of(bytes, count);
    if (!json_object_get(vocab, json_string_value(piece)))
        json_object_set_new(vocab, json_string_value(piece),
                            json_integer((json_int_t)json_object_size(vocab)));
    json_decref(piece);
}

static size_t bytes_of(const json_t *list, char out[64])
{
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (char)json_integer_value(json_array_get(list, i));
    return json_array_size(list);
}

/* Every {"token", "bytes"} and every key of "top_logprobs" below `json`. */
static void collect(json_t *vocab, const json_t *json)
{
    char bytes[64];
    const char *key;
    json_t *value;
    const json_t *list = json_object_get(json, "bytes");
    if (list)
        add_piece(vocab, bytes, bytes_of(list, bytes));
    json_object_foreach((json_t *)json, key, value)
    {
        if (json_is_real(value) && strcmp(key, "logprob") != 0)
            add_piece(vocab, key, strlen(key));
        collect(vocab, value);
    }
    for (size_t i = 0; i < json_array_size(json); i++)
        collect(vocab, json_array_get(json, i));
}

static shoal_tokenizer *tokenizer_of(json_t *vocab)
{
    shoal_tokenizer *tokenizer = NULL;
    json_t *json = json_pack("{s:{s:s, s:b, s:b, s:b}, s:{s:s, s:O, s:[]}}", "decoder", "type",
                             "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1,
                             "model", "type", "BPE", "vocab", vocab, "merges");
    char *text = json_dumps(json, 0);
    if (shoal_tokenizer_open_memory(text, strlen(text), "made", &tokenizer) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    free(text);
    json_decref(json);
    return tokenizer;
}

/* ---- from golden JSON to what the answer is made of ---- */

typedef struct {
    json_t *vocab;
    shoal_tokenizer *tokenizer;
    shoal_answer_head head;
    shoal_answer_choice choices[CHOICES_MAX];
    shoal_choice_token tokens[CHOICES_MAX][TOKENS_MAX];
    shoal_speech_message messages[CHOICES_MAX];
    int count;
} material;

static int32_t id_of(const material *m, const char *bytes, size_t count)
{
    json_t *piece = piece_of(bytes, count);
    const json_t *id = json_object_get(m->vocab, json_string_value(piece));
    assert_non_null(id);
    json_decref(piece);
    return (int32_t)json_integer_value(id);
}

static int32_t chat_id(const material *m, const json_t *token)
{
    char bytes[64];
    return id_of(m, bytes, bytes_of(json_object_get(token, "bytes"), bytes));
}

static int32_t text_id(const material *m, const char *text)
{
    return id_of(m, text, strlen(text));
}

static float real_of(const json_t *number)
{
    return (float)json_number_value(number);
}

static void read_chat_tokens(const material *m, const json_t *content, shoal_choice_token *out,
                             shoal_answer_choice *choice)
{
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *token = json_array_get(content, i);
        const json_t *top = json_object_get(token, "top_logprobs");
        out[i].token = chat_id(m, token);
        out[i].logprob = real_of(json_object_get(token, "logprob"));
        for (size_t k = 0; k < json_array_size(top); k++) {
            out[i].top_ids[k] = chat_id(m, json_array_get(top, k));
            out[i].top_logprobs[k] = real_of(json_object_get(json_array_get(top, k), "logprob"));
        }
        out[i].top_count = choice->top_logprobs = (int)json_array_size(top);
    }
    choice->token_count = (int)json_array_size(content);
}

static void read_completion_tokens(const material *m, const json_t *logprobs,
                                   shoal_choice_token *out, shoal_answer_choice *choice)
{
    const json_t *tokens = json_object_get(logprobs, "tokens");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const char *key;
        json_t *value, *top = json_array_get(json_object_get(logprobs, "top_logprobs"), i);
        out[i].token = text_id(m, json_string_value(json_array_get(tokens, i)));
        out[i].logprob = real_of(json_array_get(json_object_get(logprobs, "token_logprobs"), i));
        out[i].text_offset =
            json_integer_value(json_array_get(json_object_get(logprobs, "text_offset"), i));
        json_object_foreach(top, key, value)
        {
            out[i].top_ids[out[i].top_count] = text_id(m, key);
            out[i].top_logprobs[out[i].top_count++] = real_of(value);
        }
        choice->top_logprobs = out[i].top_count;
    }
    choice->token_count = (int)json_array_size(tokens);
}

static shoal_finish finish_of(const json_t *choice)
{
    const char *name = json_string_value(json_object_get(choice, "finish_reason"));
    if (!name)
        return SHOAL_FINISH_NONE;
    if (strcmp(name, "tool_calls") == 0)
        return SHOAL_FINISH_TOOL_CALLS;
    return strcmp(name, "stop") == 0 ? SHOAL_FINISH_STOP : SHOAL_FINISH_LENGTH;
}

/* "message" or "delta" of a chat, the choice itself of a completion. */
static const json_t *text_in(const json_t *choice)
{
    const json_t *message = json_object_get(choice, "message");
    const json_t *delta = json_object_get(choice, "delta");
    if (message || delta)
        return json_object_get(message ? message : delta, "content");
    return json_object_get(choice, "text");
}

/* ---- calls ---- */

static void collect_piece(shoal_speech_message *message, shoal_speech_kind kind, int call,
                          const json_t *text)
{
    const shoal_speech_piece piece = {kind, call, 0, json_string_length(text)};
    assert_int_equal(shoal_speech_collect(message, json_string_value(text), &piece, 1), SHOAL_OK);
}

static void read_message(const json_t *given, shoal_speech_message *message)
{
    const json_t *calls = json_object_get(given, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        collect_piece(message, SHOAL_SPEECH_CALL, (int)i, json_object_get(function, "name"));
        collect_piece(message, SHOAL_SPEECH_ARGUMENTS, (int)i,
                      json_object_get(function, "arguments"));
    }
}

/* A delta has a call that begins, or more of one. */
static void read_delta(const json_t *delta, shoal_answer_choice *choice)
{
    const json_t *call = json_array_get(json_object_get(delta, "tool_calls"), 0);
    const json_t *function = json_object_get(call, "function");
    const json_t *name = json_object_get(function, "name");
    if (!call)
        return;
    const json_t *text = name ? name : json_object_get(function, "arguments");
    choice->kind = name ? SHOAL_SPEECH_CALL : SHOAL_SPEECH_ARGUMENTS;
    choice->call = (int)json_integer_value(json_object_get(call, "index"));
    choice->text = json_string_value(text);
    choice->bytes = json_string_length(text);
}

static void read_choice(material *m, const json_t *given)
{
    shoal_answer_choice *choice = &m->choices[m->count];
    shoal_choice_token *tokens = m->tokens[m->count++];
    const json_t *logprobs = json_object_get(given, "logprobs"), *text = text_in(given);
    shoal_speech_message *message = &m->messages[m->count - 1];
    choice->index = (int)json_integer_value(json_object_get(given, "index"));
    choice->text = text ? json_string_value(text) : "";
    choice->bytes = text ? json_string_length(text) : 0;
    choice->finish = finish_of(given);
    read_message(json_object_get(given, "message"), message);
    choice->message = message;
    read_delta(json_object_get(given, "delta"), choice);
    if (json_is_null(logprobs))
        return;
    choice->tokens = tokens;
    if (m->head.chat)
        read_chat_tokens(m, json_object_get(logprobs, "content"), tokens, choice);
    else
        read_completion_tokens(m, logprobs, tokens, choice);
}

static shoal_usage usage_of(const json_t *json)
{
    const json_t *usage = json_object_get(json, "usage");
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    return (shoal_usage){
        json_integer_value(json_object_get(usage, "prompt_tokens")),
        json_integer_value(json_object_get(usage, "completion_tokens")),
        json_integer_value(json_object_get(details, "cached_tokens")),
    };
}

/* The first delta of an answer that may be a call. */
static bool first_is_null(const json_t *choices)
{
    const json_t *delta = json_object_get(json_array_get(choices, 0), "delta");
    return json_is_null(json_object_get(delta, "content"));
}

static void begin(material *m, const json_t *json)
{
    *m = (material){.vocab = json_object()};
    const json_t *choices = json_object_get(json, "choices");
    add_piece(m->vocab, "any", 3); /* a vocabulary is never empty */
    collect(m->vocab, choices);
    m->tokenizer = tokenizer_of(m->vocab);
    m->head = (shoal_answer_head){
        .id = json_string_value(json_object_get(json, "id")),
        .model = json_string_value(json_object_get(json, "model")),
        .fingerprint = json_string_value(json_object_get(json, "system_fingerprint")),
        .created = json_integer_value(json_object_get(json, "created")),
        .calls = first_is_null(choices),
        .chat = strncmp(json_string_value(json_object_get(json, "object")), "chat", 4) == 0,
        .tokenizer = m->tokenizer,
    };
    for (size_t i = 0; i < json_array_size(choices); i++)
        read_choice(m, json_array_get(choices, i));
}

static void end(material *m)
{
    for (int i = 0; i < m->count; i++)
        shoal_speech_message_free(&m->messages[i]);
    shoal_tokenizer_close(m->tokenizer);
    json_decref(m->vocab);
}

/* ---- comparing ---- */

static const char letters_and_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* Log-probabilities are fp32: what of a number is left in one. */
static void round_reals(json_t *json)
{
    const char *key;
    json_t *value;
    if (json_is_real(json)) {
        char text[32];
        snprintf(text, sizeof text, "%.9g", (double)(float)json_real_value(json));
        json_real_set(json, strtod(text, NULL));
    }
    json_object_foreach(json, key, value) round_reals(value);
    for (size_t i = 0; i < json_array_size(json); i++)
        round_reals(json_array_get(json, i));
}

/* Ids of calls are the server's: nine letters and digits, and none twice. */
static void hide_call_ids(json_t *json, json_t *seen)
{
    const char *key;
    json_t *value;
    const json_t *function = json_object_get(json, "function"), *id = json_object_get(json, "id");
    if (function && id) {
        if (seen) {
            assert_int_equal(strspn(json_string_value(id), letters_and_digits), 9);
            assert_int_equal(json_string_length(id), 9);
            assert_null(json_object_get(seen, json_string_value(id)));
            json_object_set_new(seen, json_string_value(id), json_true());
        }
        json_object_set_new(json, "id", json_string("call"));
    }
    json_object_foreach(json, key, value) hide_call_ids(value, seen);
    for (size_t i = 0; i < json_array_size(json); i++)
        hide_call_ids(json_array_get(json, i), seen);
}

static void expect_json(const char *text, size_t bytes, json_t *want)
{
    json_t *got = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    json_t *seen = json_object();
    assert_non_null(got);
    round_reals(want);
    hide_call_ids(got, seen);
    hide_call_ids(want, NULL);
    json_decref(seen);
    char *a = json_dumps(got, 0), *b = json_dumps(want, 0);
    if (!json_equal(got, want))
        fail_msg("%s\nis not\n%s", a, b);
    free(b);
    free(a);
    json_decref(got);
}

static void expect_event(const shoal_strbuf *event, json_t *want)
{
    assert_true(event->bytes > 8);
    assert_memory_equal(event->data, "data: ", 6);
    assert_memory_equal(event->data + event->bytes - 2, "\n\n", 2);
    assert_null(memchr(event->data, '\n', event->bytes - 2));
    if (json_is_string(want))
        assert_memory_equal(event->data + 6, "[DONE]", event->bytes - 8);
    else
        expect_json(event->data + 6, event->bytes - 8, want);
}

static void check_whole(json_t *body)
{
    material m;
    shoal_strbuf out = {0};
    const shoal_usage usage = usage_of(body);
    begin(&m, body);
    assert_int_equal(shoal_answer_whole(&m.head, m.choices, m.count, &usage, &out), SHOAL_OK);
    expect_json(out.data, out.bytes, body);
    shoal_strbuf_free(&out);
    end(&m);
}

static shoal_status write_chunk(const material *m, const json_t *chunk, shoal_strbuf *out)
{
    const json_t *delta =
        json_object_get(json_array_get(json_object_get(chunk, "choices"), 0), "delta");
    const bool usage_null = json_is_null(json_object_get(chunk, "usage"));
    const shoal_usage usage = usage_of(chunk);
    if (m->count == 0)
        return shoal_answer_usage(&m->head, &usage, out);
    if (json_object_get(delta, "role"))
        return shoal_answer_first(&m->head, m->choices[0].index, usage_null, out);
    return shoal_answer_piece(&m->head, &m->choices[0], usage_null, out);
}

static void check_error(const json_t *given,
                        shoal_status (*write)(const shoal_api_error *error, shoal_strbuf *out),
                        int status, shoal_strbuf *out)
{
    shoal_api_error error = {0};
    const json_t *e = json_object_get(given, "error");
    assert_false(shoal_api_refuse(&error, status, json_string_value(json_object_get(e, "code")),
                                  json_string_value(json_object_get(e, "param")), "%s",
                                  json_string_value(json_object_get(e, "message"))));
    assert_int_equal(write(&error, out), SHOAL_OK);
}

static void check_event(json_t *event)
{
    material m;
    shoal_strbuf out = {0};
    if (json_is_string(event)) {
        assert_int_equal(shoal_answer_stream_done(&out), SHOAL_OK);
    } else if (json_object_get(event, "error")) {
        check_error(event, shoal_answer_stream_error, 500, &out);
    } else {
        begin(&m, event);
        assert_int_equal(write_chunk(&m, event, &out), SHOAL_OK);
        end(&m);
    }
    expect_event(&out, event);
    shoal_strbuf_free(&out);
}

static void check_models(json_t *body, bool list)
{
    shoal_strbuf out = {0};
    assert_int_equal(shoal_answer_models("shoal-test", 1795219200, 0, list, &out), SHOAL_OK);
    expect_json(out.data, out.bytes, body);
    out.bytes = 0;
    assert_int_equal(shoal_answer_models("shoal-test", 1795219200, 512, false, &out), SHOAL_OK);
    json_t *told = json_loadb(out.data, out.bytes, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(told, "max_model_len")), 512);
    json_decref(told);
    shoal_strbuf_free(&out);
}

static void check_golden(int number, json_t *response)
{
    const int status = (int)json_integer_value(json_object_get(response, "status"));
    json_t *body = json_object_get(response, "body"), *events = json_object_get(response, "events");
    shoal_strbuf out = {0};
    if (number <= 2)
        check_models(body, number == 1);
    else if (status != 200) {
        check_error(body, shoal_api_error_write, status, &out);
        expect_json(out.data, out.bytes, body);
    } else if (body)
        check_whole(body);
    for (size_t i = 0; i < json_array_size(events); i++)
        check_event(json_array_get(events, i));
    shoal_strbuf_free(&out);
}

static void test_golden(void **state)
{
    int made = 0;
    (void)state;
    for (int number = 1; number <= API_CASES; number++) {
        json_t *golden = api_golden(number);
        if (!golden) {
            printf("skipped: no golden data\n");
            skip();
        }
        json_t *response = json_object_get(golden, "response");
        check_golden(number, response);
        made++;
        json_decref(golden);
    }
    assert_int_equal(made, API_CASES);
}

/* ---- JSON text ---- */

static void test_escapes(void **state)
{
    char text[0x80 + 16];
    size_t bytes = 0;
    shoal_strbuf out = {0};
    (void)state;
    for (int c = 0; c < 0x80; c++)
        text[bytes++] = (char)c;
    memcpy(text + bytes, "\xC3\xA9\xE2\x80\xA8\xF0\x9F\xA6\x99", 9);
    bytes += 9;
    shoal_json_writer w = shoal_write_begin(&out);
    shoal_write_open(&w, '[');
    shoal_write_text(&w, text, bytes);
    shoal_write_open(&w, '{');
    shoal_write_key_text(&w, "a\"b\n", 4);
    shoal_write_int(&w, INT64_MIN);
    shoal_write_key_int(&w, "x", INT64_MAX);
    shoal_write_close(&w, '}');
    shoal_write_open(&w, '[');
    shoal_write_close(&w, ']');
    shoal_write_word(&w, "");
    shoal_write_close(&w, ']');
    assert_int_equal(shoal_write_end(&w), SHOAL_OK);
    assert_null(memchr(out.data, '\n', out.bytes));
    json_t *json = json_loadb(out.data, out.bytes, JSON_ALLOW_NUL, NULL);
    assert_int_equal(json_array_size(json), 4);
    assert_int_equal(json_string_length(json_array_get(json, 0)), bytes);
    assert_memory_equal(json_string_value(json_array_get(json, 0)), text, bytes);
    const json_t *object = json_array_get(json, 1);
    assert_true(json_integer_value(json_object_get(object, "a\"b\n")) == INT64_MIN);
    assert_true(json_integer_value(json_object_get(object, "x")) == INT64_MAX);
    json_decref(json);
    shoal_strbuf_free(&out);
}

/* Every fp32 number comes back as itself; what is none becomes -9999. */
static void test_numbers(void **state)
{
    uint32_t bits = 12345;
    (void)state;
    for (int i = 0; i < 100000; i++) {
        float number, back;
        shoal_strbuf out = {0};
        bits = bits * 1664525u + 1013904223u;
        memcpy(&number, &bits, sizeof number);
        shoal_json_writer w = shoal_write_begin(&out);
        shoal_write_open(&w, '[');
        shoal_write_float(&w, number);
        shoal_write_close(&w, ']');
        assert_int_equal(shoal_write_end(&w), SHOAL_OK);
        json_t *json = json_loadb(out.data, out.bytes, 0, NULL);
        assert_non_null(json);
        back = (float)json_number_value(json_array_get(json, 0));
        assert_true(isfinite(number) ? back == number : back == -9999.0f);
        json_decref(json);
        shoal_strbuf_free(&out);
    }
}

/* ---- tokens that are special, alike, or unknown ---- */

static const char made[] =
    "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
    "\"use_regex\":true},\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"special\":true,"
    "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\\u00c3\":1,\"\\u00a9\":2,\"b\":3},"
    "\"merges\":[]}}";

static const shoal_choice_token looks_alike = {.token = 3,
                                               .logprob = -5,
                                               .text_offset = 7,
                                               .top_count = 5,
                                               .top_ids = {4, 1, 2, 0, 99},
                                               .top_logprobs = {-0.5f, -1, -2, -INFINITY, -9}};

static void expect_logprobs(const shoal_answer_head *head, int top, const char *want)
{
    shoal_strbuf out = {0};
    const shoal_usage usage = {1, 1, 0};
    const shoal_answer_choice choice = {.text = "b",
                                        .bytes = 1,
                                        .tokens = &looks_alike,
                                        .token_count = 1,
                                        .top_logprobs = top,
                                        .finish = SHOAL_FINISH_ERROR};
    assert_int_equal(shoal_answer_whole(head, &choice, 1, &usage, &out), SHOAL_OK);
    json_t *json = json_loadb(out.data, out.bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_t *given = json_array_get(json_object_get(json, "choices"), 0);
    assert_string_equal(json_string_value(json_object_get(given, "finish_reason")), "error");
    char *expected = api_body(want);
    json_t *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    char *text = json_dumps(json_object_get(given, "logprobs"), 0);
    expect_json(text, strlen(text), wanted);
    free(text);
    json_decref(wanted);
    free(expected);
    json_decref(json);
    shoal_strbuf_free(&out);
}

static void test_looks(void **state)
{
    shoal_tokenizer *tokenizer = NULL;
    (void)state;
    assert_int_equal(shoal_tokenizer_open_memory(made, strlen(made), "made", &tokenizer), SHOAL_OK);
    shoal_answer_head head = {
        .id = "x", .model = "m", .fingerprint = "f", .chat = true, .tokenizer = tokenizer};
    expect_logprobs(&head, 20,
                    "{'content':[{'token':'b','logprob':-5,'bytes':[98],'top_logprobs':["
                    "{'token':'<s>','logprob':-0.5,'bytes':[]},"
                    "{'token':'\xEF\xBF\xBD','logprob':-1,'bytes':[195]},"
                    "{'token':'\xEF\xBF\xBD','logprob':-2,'bytes':[169]},"
                    "{'token':'a','logprob':-9999,'bytes':[97]},"
                    "{'token':'','logprob':-9,'bytes':[]}]}],'refusal':null}");
    expect_logprobs(&head, 0,
                    "{'content':[{'token':'b','logprob':-5,'bytes':[98],'top_logprobs':[]}],"
                    "'refusal':null}");
    head.chat = false; /* a map has one entry for two looks, and the chosen one besides */
    expect_logprobs(&head, 3,
                    "{'tokens':['b'],'token_logprobs':[-5],'text_offset':[7],'top_logprobs':["
                    "{'<s>':-0.5,'\xEF\xBF\xBD':-1,'b':-5}]}");
    head.tokenizer = NULL;
    expect_logprobs(&head, 1,
                    "{'tokens':['token_id:3'],'token_logprobs':[-5],'text_offset':[7],"
                    "'top_logprobs':[{'token_id:4':-0.5,'token_id:3':-5}]}");
    shoal_tokenizer_close(tokenizer);
}

/* ---- reasoning, and calls that were taken back ---- */

static void expect_message(const shoal_speech_message *message, const char *want)
{
    const shoal_answer_head head = {.id = "x", .model = "m", .fingerprint = "f", .chat = true};
    const shoal_answer_choice choice = {.text = message->content.data,
                                        .bytes = message->content.bytes,
                                        .message = message,
                                        .finish = SHOAL_FINISH_STOP};
    const shoal_usage usage = {1, 1, 0};
    shoal_strbuf out = {0};
    assert_int_equal(shoal_answer_whole(&head, &choice, 1, &usage, &out), SHOAL_OK);
    json_t *json = json_loadb(out.data, out.bytes, 0, NULL);
    const json_t *given = json_array_get(json_object_get(json, "choices"), 0);
    char *text = json_dumps(json_object_get(given, "message"), 0), *body = api_body(want);
    json_t *wanted = json_loads(body, 0, NULL);
    expect_json(text, strlen(text), wanted);
    json_decref(wanted);
    free(body);
    free(text);
    json_decref(json);
    shoal_strbuf_free(&out);
}

static void test_reasoning(void **state)
{
    shoal_speech_message message = {0};
    (void)state;
    expect_message(&message, "{'role':'assistant','content':'','refusal':null}");
    assert_int_equal(shoal_strbuf_append(&message.reasoning, "Hm", 2), SHOAL_OK);
    expect_message(&message, "{'role':'assistant','reasoning_content':'Hm','content':null,"
                             "'refusal':null}");
    assert_int_equal(shoal_strbuf_append(&message.content, "Yes", 3), SHOAL_OK);
    expect_message(&message, "{'role':'assistant','reasoning_content':'Hm','content':'Yes',"
                             "'refusal':null}");
    shoal_speech_message_free(&message);
}

static void test_reasoning_piece(void **state)
{
    const shoal_answer_head head = {.id = "x", .model = "m", .fingerprint = "f", .chat = true};
    shoal_answer_choice piece = {.text = "Hm", .bytes = 2, .kind = SHOAL_SPEECH_REASONING};
    shoal_strbuf out = {0};
    (void)state;
    assert_int_equal(shoal_answer_piece(&head, &piece, false, &out), SHOAL_OK);
    json_t *json = json_loadb(out.data + 6, out.bytes - 8, 0, NULL);
    const json_t *given = json_array_get(json_object_get(json, "choices"), 0);
    char *text = json_dumps(json_object_get(given, "delta"), 0);
    assert_string_equal(text, "{\"reasoning_content\": \"Hm\"}");
    free(text);
    json_decref(json);
    out.bytes = 0;
    piece.kind = SHOAL_SPEECH_NO_CALL;
    assert_int_equal(shoal_answer_piece(&head, &piece, false, &out), SHOAL_OK);
    assert_int_equal(out.bytes, 0);
    shoal_strbuf_free(&out);
}

/* ---- errors ---- */

static void test_refuse(void **state)
{
    shoal_api_error error = {0};
    char longest[1000];
    (void)state;
    for (size_t i = 0; i + 2 < sizeof longest; i += 2)
        memcpy(longest + i, "\xC3\xA9", 3);
    assert_false(shoal_api_refuse(&error, 400, longest, longest, "x%s", longest));
    assert_int_equal(strlen(error.code) % 2, 0);
    assert_int_equal(strlen(error.param) % 2, 0);
    assert_int_equal(strlen(error.message), sizeof error.message - 1); /* x and whole letters */
    assert_false(shoal_api_refuse(&error, 500, NULL, NULL, "later"));
    assert_int_equal(error.status, 400);
    assert_true(error.message[0] == 'x');
}

/* ---- memory ---- */

static void test_no_memory(void **state)
{
    shoal_tokenizer *tokenizer = NULL;
    (void)state;
    assert_int_equal(shoal_tokenizer_open_memory(made, strlen(made), "made", &tokenizer), SHOAL_OK);
    const shoal_answer_head head = {
        .id = "x", .model = "m", .fingerprint = "f", .tokenizer = tokenizer};
    const shoal_answer_choice piece = {
        .text = "b", .bytes = 1, .tokens = &looks_alike, .token_count = 1, .top_logprobs = 4};
    for (uint64_t n = 1;; n++) {
        const uint64_t before = shoal_mem_live(SHOAL_MEM_TEXT);
        shoal_strbuf out = {0};
        shoal_mem_fail_nth(n);
        const shoal_status st = shoal_answer_piece(&head, &piece, true, &out);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_OK || (st == SHOAL_ERR_TEMPORARY && out.bytes == 0));
        shoal_strbuf_free(&out);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), before);
        if (st == SHOAL_OK) {
            assert_true(n > 5);
            break;
        }
    }
    shoal_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),    cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_looks),
        cmocka_unit_test(test_reasoning), cmocka_unit_test(test_reasoning_piece),
        cmocka_unit_test(test_refuse),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

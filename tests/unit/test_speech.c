/* What models say: per format, texts and the messages they are; the same message however the text
 * is cut; and properties of texts that are no calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/text/json_scan.h"
#include "coordinator/text/speech.h"
#include "coordinator/text/speech_message.h"
#include "coordinator/text/tool_calls.h"
#include "coordinator/text/tool_calls_python.h"

/* ---- texts and their messages ---- */

/* `message`: content, reasoning and name, arguments of each call, one behind the other; NULL ends
 * it. Arguments are compared as text. */
typedef struct {
    const char *format; /* of the table; "required", "forced"; NULL: none */
    const char *text;
    const char *content, *reasoning;
    const char *calls[6];
    const char *think; /* its opening mark; NULL: reasoning is not read */
    bool thinking, single;
} example;

#define BEGIN  "<｜tool▁calls▁begin｜>"
#define END    "<｜tool▁calls▁end｜>"
#define CALL   "<｜tool▁call▁begin｜>"
#define SEP    "<｜tool▁sep｜>"
#define ENDED  "<｜tool▁call▁end｜>"
#define BERGEN "{\"city\": \"Bergen\"}"

static const example examples[] = {
    /* Hermes, Qwen */
    {"hermes", "<tool_call>\n{\"name\": \"weather\", \"arguments\": " BERGEN "}\n</tool_call>", "",
     "", .calls = {"weather", BERGEN}},
    {"hermes", "<tool_call>{\"n\\u0061me\": \"b\", \"\\u0061rguments\": {\"x\": 1}}</tool_call>",
     "", "", .calls = {"b", "{\"x\": 1}"}},
    {"hermes",
     "I look.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
     "{\"name\": \"b\", \"arguments\": {\"x\": [1, {\"y\": \"}\"}]}}\n</tool_call>\n",
     "I look.", "", .calls = {"a", "{}", "b", "{\"x\": [1, {\"y\": \"}\"}]}"}},
    /* Broken before the inner mark: by a name that is none, by arguments that are no object. */
    {"hermes",
     "<tool_call>{\"name\": \"\\ud800\", \"arguments\": {\"<tool_call>{\"name\": \"d\", "
     "\"arguments\": {}}",
     "<tool_call>{\"name\": \"\\ud800\", \"arguments\": {\"", "", .calls = {"d", "{}"}},
    {"hermes",
     "<tool_call>{\"name\": \"f\", \"arguments\": 1, \"<tool_call>{\"name\": \"d\", \"arguments\": "
     "{}}",
     "<tool_call>{\"name\": \"f\", \"arguments\": 1, \"", "", .calls = {"d", "{}"}},
    {"hermes", "<tool_call>{\"arguments\":{\"a\":1},\"name\":\"f\"}</tool_call> Done.", "Done.", "",
     .calls = {"f", "{\"a\":1}"}},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"t\": \"</tool_call>\"}}</tool_call>",
     "", "", .calls = {"f", "{\"t\": \"</tool_call>\"}"}},
    {"hermes", "<tool_call>{\"name\": \"f\"}</tool_call>", "", "", .calls = {"f", "{}"}},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}}", "", "", .calls = {"f", "{}"}},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}} and text", "and text", "",
     .calls = {"f", "{}"}},
    {"hermes",
     "<tool_call>{\"id\": 7, \"arguments\": \"{\\\"a\\\": 1}\", \"name\": \"\\u0066\\n\"}"
     "</tool_call>",
     "", "", .calls = {"f\n", "{\"a\": 1}"}},
    {"hermes",
     "<tool_call>{\"nested\": {\"name\": \"x\", \"arguments\": {}}, \"name\": \"f\", "
     "\"arguments\": {}, \"n\": -1.5e+3}</tool_call>",
     "", "", .calls = {"f", "{}"}},
    {"hermes", "Plain text, a < b, <tool, <tool_cal", "Plain text, a < b, <tool, <tool_cal",
     .reasoning = ""},
    {"hermes", " two spaces around \n", " two spaces around \n", .reasoning = ""},
    {"hermes", "", "", .reasoning = ""},
    /* What is no call stays text. */
    {"hermes", "So: <tool_call>{\"name\": \"f\", \"arguments\": {oops}}</tool_call>",
     "So: <tool_call>{\"name\": \"f\", \"arguments\": {oops}}</tool_call>", .reasoning = ""},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", .reasoning = ""},
    {"hermes", "<tool_call>\n</tool_call>", "<tool_call>\n</tool_call>", .reasoning = ""},
    {"hermes", "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>", .reasoning = ""},
    {"hermes", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>", .reasoning = ""},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", .reasoning = ""},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"no\"}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": \"no\"}</tool_call>", .reasoning = ""},
    {"hermes",
     "<tool_call>{\"name\": \"f\", <tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"f\",", "", .calls = {"g", "{}"}},
    {"hermes",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": nul}}</tool_call>\n"
     "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": nul}}</tool_call>", "",
     .calls = {"g", "{}"}},
    /* at most one call */
    {"hermes",
     "<tool_call>{\"name\": \"a\", \"arguments\": {}}</tool_call>\n"
     "<tool_call>{\"name\": \"b\", \"arguments\": {}}</tool_call>",
     "", "", .calls = {"a", "{}"}, .single = true},

    /* Llama 3: JSON, with and without the mark */
    {"llama-json", "{\"name\": \"f\", \"parameters\": {\"a\": \"1\"}}", "", "",
     .calls = {"f", "{\"a\": \"1\"}"}},
    {"llama-json", "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "", "",
     .calls = {"f", "{}"}},
    {"llama-json",
     "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; "
     "{\"name\": \"g\", \"parameters\": {\"b\": 2}}",
     "", "", .calls = {"f", "{}", "g", "{\"b\": 2}"}},
    {"llama-json", "{\"name\": \"Bob\", \"age\": 7}", "{\"name\": \"Bob\", \"age\": 7}",
     .reasoning = ""},
    {"llama-json", "{\"name\": \"Bob\"}", "{\"name\": \"Bob\"}", .reasoning = ""},
    {"llama-json", "Take {\"name\": \"f\", \"parameters\": {}}",
     "Take {\"name\": \"f\", \"parameters\": {}}", .reasoning = ""},
    {"llama-json", "<|python_tag|>print(1)", "<|python_tag|>print(1)", .reasoning = ""},

    /* Llama in Python */
    {"llama-python", "[f(a=1, b=\"x\"), g()]", "", "",
     .calls = {"f", "{\"a\": 1, \"b\": \"x\"}", "g", "{}"}},
    {"llama-python", "<|python_start|>[f(a=[1, 'it\\'s', None], b={'k': True,})]<|python_end|>", "",
     "", .calls = {"f", "{\"a\": [1, \"it's\", null], \"b\": {\"k\": true}}"}},
    {"llama-python", "[1, 2]", "[1, 2]", .reasoning = ""},
    {"llama-python", "[f(a=g(1))]", "[f(a=g(1))]", .reasoning = ""},
    {"llama-python", "[link](http://x)", "[link](http://x)", .reasoning = ""},
    {"lfm", "Sure.<|tool_call_start|>[f(q=\"a)b\")]<|tool_call_end|>Wait.", "Sure.Wait.", "",
     .calls = {"f", "{\"q\": \"a)b\"}"}},

    /* Mistral, older and newer */
    {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"123456789\"}]",
     "", "", .calls = {"f", "{\"a\": 1}"}},
    {"mistral",
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]",
     "", "", .calls = {"f", "{}", "g", "{}"}},
    {"mistral", "Hm.[TOOL_CALLS]f[ARGS]{\"a\": \"[ARGS]\"}[TOOL_CALLS]g[ARGS]{}", "Hm.", "",
     .calls = {"f", "{\"a\": \"[ARGS]\"}", "g", "{}"}},
    {"mistral", "[TOOL_CALLS]f[CALL_ID]abc[ARGS]{}", "", "", .calls = {"f", "{}"}},
    {"mistral", "[TOOL_CALLS]f{\"a\":1}", "", "", .calls = {"f", "{\"a\":1}"}},
    {"mistral", "[TOOL_CALLS]f has {}", "[TOOL_CALLS]f has {}", .reasoning = ""},
    {"mistral", "[TOOL_CALLS]f[ARGS]{\"a\":", "[TOOL_CALLS]f[ARGS]{\"a\":", .reasoning = ""},

    /* DeepSeek: R1 and V3, and V3.1 */
    {"deepseek",
     BEGIN CALL "function" SEP "f\n```json\n{\"a\": 1}\n```" ENDED "\n" CALL "function" SEP
                "g\n```json\n{}\n```" ENDED END,
     "", "", .calls = {"f", "{\"a\": 1}", "g", "{}"}},
    {"deepseek", "Gut. " BEGIN CALL "f" SEP "{\"a\": \"é\"}" ENDED CALL "g" SEP "{}" ENDED END,
     "Gut.", "", .calls = {"f", "{\"a\": \"é\"}", "g", "{}"}},
    {"deepseek", BEGIN CALL "function" SEP "{}" ENDED END, "", "", .calls = {"function", "{}"}},
    {"deepseek", BEGIN "nothing" END, BEGIN "nothing" END, .reasoning = ""},

    /* lists and sections of others */
    {"granite", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]", "", "",
     .calls = {"f", "{}"}},
    {"nemotron", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}]</TOOLCALL>", "", "",
     .calls = {"f", "{}"}},
    {"minimax",
     "<tool_calls>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}\n"
     "</tool_calls>",
     "", "", .calls = {"f", "{}", "g", "{}"}},
    {"command-r7b",
     "<|START_ACTION|>[\n {\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {}}\n]"
     "<|END_ACTION|>",
     "", "", .calls = {"f", "{}"}},
    {"functionary", "<function=f>{\"a\": 1}</function>", "", "", .calls = {"f", "{\"a\": 1}"}},

    /* made by a grammar */
    {"required", "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]", "",
     "", .calls = {"f", "{}", "g", "{}"}},
    {"forced", " {\"a\": {\"b\": 1}}\n", "", "", .calls = {"chosen", "{\"a\": {\"b\": 1}}"}},
    {"forced", "{\"a\": ", "{\"a\": ", .reasoning = ""},

    /* reasoning */
    {NULL, "<think>\nHm.\n</think>\n\nYes.\n", "Yes.\n", "Hm.", .think = "<think>"},
    {NULL, "\n<think></think>Yes", "Yes", "", .think = "<think>"},
    {NULL, "Hm.\n\nWell.\n</think>\nYes", "Yes", "Hm.\n\nWell.", .think = "<think>",
     .thinking = true},
    {NULL, "<think>\nHm.</think>Yes", "Yes", "Hm.", .think = "<think>", .thinking = true},
    {NULL, "Cut off ", "", "Cut off", .think = "<think>", .thinking = true},
    {NULL, "About <think> tags.", "About <think> tags.", "", .think = "<think>"},
    {NULL, "[THINK]Hm[/THINK]Yes", "Yes", "Hm", .think = "[THINK]"},
    {"hermes",
     "<think>I might <tool_call></think>\n\n<tool_call>{\"name\": \"f\", \"arguments\": {}}"
     "</tool_call>",
     "", "I might <tool_call>", .calls = {"f", "{}"}, .think = "<think>"},
    {"llama-json", "<think>a</think>{\"name\": \"f\", \"parameters\": {}}", "", "a",
     .calls = {"f", "{}"}, .think = "<think>"},
};

#define EXAMPLES (sizeof examples / sizeof examples[0])

static shoal_speech_rules rules_of(const example *e)
{
    shoal_speech_rules rules = {.thinking = e->thinking, .single = e->single, .forced = "chosen"};
    if (e->think)
        rules.think =
            shoal_think_format_of(strcmp(e->think, "<think>") == 0 ? "</think>" : "[/THINK]", 8);
    if (e->format && strcmp(e->format, "required") == 0)
        rules.calls = &shoal_calls_required;
    else if (e->format && strcmp(e->format, "forced") == 0)
        rules.calls = &shoal_calls_forced;
    else if (e->format)
        rules.calls = shoal_call_format_named(e->format);
    return rules;
}

static void expect_text(const example *e, const shoal_strbuf *got, const char *want)
{
    if (got->bytes != strlen(want) || (got->bytes && memcmp(got->data, want, got->bytes) != 0))
        fail_msg("%s\n gives '%.*s'\n  not '%s'", e->text, (int)got->bytes,
                 got->bytes ? got->data : "", want);
}

static void expect_message(const example *e, const shoal_speech_message *m, int complete)
{
    size_t count = 0;
    expect_text(e, &m->content, e->content);
    expect_text(e, &m->reasoning, e->reasoning);
    for (; count < 3 && e->calls[2 * count]; count++) {
        if (count >= m->call_count)
            fail_msg("%s\n has %zu calls", e->text, m->call_count);
        expect_text(e, &m->calls[count].name, e->calls[2 * count]);
        expect_text(e, &m->calls[count].arguments, e->calls[2 * count + 1]);
    }
    assert_int_equal(m->call_count, count);
    assert_int_equal(complete, count);
}

static void push(shoal_speech *speech, const char *text, size_t bytes, bool final,
                 shoal_speech_message *message)
{
    const shoal_speech_pieces *pieces;
    assert_int_equal(shoal_speech_push(speech, text, bytes, final, &pieces), SHOAL_OK);
    assert_int_equal(shoal_speech_collect(message, pieces->text.data, pieces->data, pieces->count),
                     SHOAL_OK);
}

/* The text in pieces of these sizes; the last one takes the rest, and the end comes by itself. */
static void check(const example *e, size_t first, size_t others)
{
    const shoal_speech_rules rules = rules_of(e);
    const size_t bytes = strlen(e->text);
    shoal_speech_message message = {0};
    shoal_speech *speech;
    assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
    for (size_t at = 0, take = first; at < bytes; at += take, take = others) {
        take = take < bytes - at ? take : bytes - at;
        push(speech, e->text + at, take, false, &message);
    }
    push(speech, "", 0, true, &message);
    expect_message(e, &message, shoal_speech_calls(speech));
    assert_int_equal(shoal_speech_over(speech), e->single);
    shoal_speech_message_free(&message);
    shoal_speech_destroy(speech);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        const size_t bytes = strlen(examples[i].text);
        for (size_t first = 0; first <= bytes; first++)
            check(&examples[i], first, bytes + 1);
        for (size_t size = 1; size <= 5; size++)
            check(&examples[i], size, size);
    }
}

/* A mark, or the head of a call, across the limit of a call: what it is said without waiting for
 * the end of the text, and is the same however that is cut. */
static void test_limit_of_a_call(void **state)
{
    static const char begin[] = "<tool_call>", *const tails[] = {"</tool_call>", "f", "{"};
    enum { BYTES = SHOAL_CALL_TEXT_MAX + 64 };
    static char text[BYTES];
    const shoal_speech_rules rules = {.calls = shoal_call_format_named("hermes")};
    (void)state;
    for (size_t i = 0; i < 3 * 24; i++) {
        const char *tail = tails[i % 3];
        const size_t steps[] = {BYTES, 4093, 65536};
        memset(text, ' ', BYTES);
        memcpy(text, begin, sizeof begin - 1);
        memcpy(text + SHOAL_CALL_TEXT_MAX - i / 3, tail, strlen(tail));
        for (size_t s = 0; s < 3; s++) {
            shoal_speech_message message = {0};
            shoal_speech *speech;
            assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
            for (size_t at = 0; at < BYTES; at += steps[s])
                push(speech, text + at, at + steps[s] < BYTES ? steps[s] : BYTES - at, false,
                     &message);
            assert_int_equal(message.call_count, 0);
            assert_true(message.content.bytes >= sizeof begin - 1);
            push(speech, "x", 1, true, &message);
            assert_int_equal(message.content.bytes, BYTES + 1);
            shoal_speech_message_free(&message);
            shoal_speech_destroy(speech);
        }
    }
}

/* What stands before the arguments is limited. A call behind the limit is one, and one across it is
 * none, however the text is cut. */
static void test_head_too_long(void **state)
{
    static const char mark[] = "[TOOL_CALLS]", call[] = "[TOOL_CALLS]g[ARGS]{}";
    (void)state;
    for (size_t fill = SHOAL_CALL_NAME_MAX - 18; fill < SHOAL_CALL_NAME_MAX + 20; fill++) {
        char text[SHOAL_CALL_NAME_MAX + 64], content[sizeof text];
        memcpy(text, mark, sizeof mark - 1);
        memset(text + sizeof mark - 1, 'f', fill);
        memcpy(text + sizeof mark - 1 + fill, call, sizeof call);
        snprintf(content, sizeof content, "%s", text);
        example e = {.format = "mistral", .text = text, .content = content, .reasoning = ""};
        if (fill > SHOAL_CALL_NAME_MAX) {
            content[sizeof mark - 1 + fill] = '\0';
            e.calls[0] = "g";
            e.calls[1] = "{}";
        }
        for (size_t size = 1; size <= sizeof text; size++)
            check(&e, size, size);
    }
}

/* ---- what is given out when ---- */

static void expect_piece(const shoal_speech_pieces *pieces, size_t i, shoal_speech_kind kind,
                         int call, const char *text)
{
    assert_true(i < pieces->count);
    assert_int_equal(pieces->data[i].kind, kind);
    assert_int_equal(pieces->data[i].call, call);
    assert_int_equal(pieces->data[i].bytes, strlen(text));
    assert_memory_equal(pieces->text.data + pieces->data[i].begin, text, strlen(text));
}

/* The name comes first, arguments as they grow, content without waiting. */
static void test_streaming(void **state)
{
    const shoal_speech_rules rules = {.calls = shoal_call_format_named("hermes")};
    const shoal_speech_pieces *pieces;
    shoal_speech *speech;
    (void)state;
    assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
#define PUSH(text)                                                                                 \
    assert_int_equal(shoal_speech_push(speech, text, strlen(text), false, &pieces), SHOAL_OK)
    PUSH("Well, ");
    expect_piece(pieces, 0, SHOAL_SPEECH_CONTENT, 0, "Well,");
    PUSH("so\n<tool_");
    expect_piece(pieces, 0, SHOAL_SPEECH_CONTENT, 0, " so");
    PUSH("call>{\"name\": \"get");
    assert_int_equal(pieces->count, 0);
    PUSH("_it\", \"arguments\": ");
    assert_int_equal(pieces->count, 0);
    PUSH("{\"a\"");
    assert_int_equal(pieces->count, 2);
    expect_piece(pieces, 0, SHOAL_SPEECH_CALL, 0, "get_it");
    expect_piece(pieces, 1, SHOAL_SPEECH_ARGUMENTS, 0, "{\"a\"");
    PUSH(": 1}");
    expect_piece(pieces, 0, SHOAL_SPEECH_ARGUMENTS, 0, ": 1}");
    PUSH("}</tool_call><tool_call>{\"name\": \"b\", \"arguments\": {");
    assert_int_equal(pieces->count, 2);
    expect_piece(pieces, 0, SHOAL_SPEECH_CALL, 1, "b");
    PUSH("!");
    assert_int_equal(pieces->count, 2);
    expect_piece(pieces, 0, SHOAL_SPEECH_NO_CALL, 1, "");
    expect_piece(pieces, 1, SHOAL_SPEECH_CONTENT, 0,
                 "<tool_call>{\"name\": \"b\", \"arguments\": {!");
#undef PUSH
    assert_int_equal(shoal_speech_calls(speech), 1);
    shoal_speech_destroy(speech);
}

/* A megabyte in small pieces: white space that may stand before a mark, an argument, beginnings of
 * marks. Quadratic work would take minutes. */
static void test_long(void **state)
{
    static const char *const fill[] = {" ", "<", "<tool_call>", "<tool_call>{", "x"};
    const shoal_speech_rules rules = {.calls = shoal_call_format_named("hermes")};
    (void)state;
    for (size_t i = 0; i < sizeof fill / sizeof fill[0]; i++) {
        shoal_speech_message message = {0};
        shoal_speech *speech;
        size_t bytes = 1;
        assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
        push(speech, ".", 1, false, &message);
        for (; bytes < 400000; bytes += strlen(fill[i]))
            push(speech, fill[i], strlen(fill[i]), false, &message);
        push(speech, "", 0, true, &message);
        assert_int_equal(message.content.bytes, bytes);
        shoal_speech_message_free(&message);
        shoal_speech_destroy(speech);
    }
}

/* One call is limited. */
static void test_call_too_long(void **state)
{
    const shoal_speech_rules rules = {.calls = shoal_call_format_named("hermes")};
    static const char begin[] = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"";
    shoal_speech_message message = {0};
    shoal_speech *speech;
    size_t bytes = sizeof begin - 1;
    (void)state;
    assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
    push(speech, begin, bytes, false, &message);
    for (; bytes < (2u << 20); bytes += 16)
        push(speech, "sixteen bytes...", 16, false, &message);
    push(speech, "\"}}</tool_call>", 15, true, &message);
    assert_int_equal(message.call_count, 0);
    assert_int_equal(message.content.bytes, bytes + 15);
    shoal_speech_message_free(&message);
    shoal_speech_destroy(speech);
}

/* ---- recognition ---- */

static void test_marks(void **state)
{
    const shoal_speech_rules calls = {.calls = shoal_call_format_named("mistral")};
    const shoal_speech_rules think = {.think = shoal_think_format_of("x</think>", 9)};
    const shoal_speech_rules none = {0};
    (void)state;
    assert_true(shoal_speech_needed(&calls) && shoal_speech_needed(&think));
    assert_false(shoal_speech_needed(&none));
    assert_true(shoal_speech_wants(&calls, "[TOOL_CALLS]", 12));
    assert_true(shoal_speech_wants(&calls, "[ARGS]", 6));
    assert_false(shoal_speech_wants(&calls, "</s>", 4));
    assert_true(shoal_speech_wants(&think, "</think>", 8));
    assert_false(shoal_speech_wants(&none, "</think>", 8));
    assert_true(shoal_speech_opened(think.think, "a<think>\n", 9));
    assert_false(shoal_speech_opened(think.think, "<think></think>\n", 16));
    assert_false(shoal_speech_opened(think.think, "nk>", 3));
    assert_false(shoal_speech_opened(NULL, "<think>", 7));
    assert_null(shoal_call_format_of("nothing", 7));
    assert_null(shoal_call_format_of(NULL, 0));
}

/* ---- JSON, byte by byte, against jansson ---- */

/* DONE, or a number that is not BROKEN by the end. */
static bool scan_accepts(const char *text)
{
    shoal_json_scan scan = {0};
    shoal_json_verdict verdict = SHOAL_JSON_MORE;
    char padded[80];
    snprintf(padded, sizeof padded, "[%s]", text);
    for (const char *c = padded; *c; c++) {
        if (verdict != SHOAL_JSON_MORE)
            return false;
        verdict = shoal_json_scan_byte(&scan, *c);
    }
    return verdict == SHOAL_JSON_DONE;
}

static void test_json_scan(void **state)
{
    static const char *const words[] = {"{",  "}",   "[",       "]",     ",",    ":",  "\"",
                                        "a",  "\\n", "\\u00e9", "\\",    "0",    "12", "-",
                                        ".5", "e+1", "true",    "false", "null", " ",  "\"k\":"};
    uint64_t random = 20261129;
    int accepted = 0;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char text[64] = "", padded[80];
        const int count = 1 + (int)(random >> 40) % 7;
        for (int i = 0; i < count; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            strcat(text, words[(random >> 33) % (sizeof words / sizeof words[0])]);
        }
        snprintf(padded, sizeof padded, "[%s]", text);
        json_t *json = json_loads(padded, 0, NULL);
        accepted += json != NULL;
        if (scan_accepts(text) != (json != NULL))
            fail_msg("%s", text);
        json_decref(json);
    }
    assert_true(accepted > 1000);
}

/* ---- Python ---- */

static void test_python(void **state)
{
    static const char *const cases[][2] = {
        {"f()", "{}"},
        {"f(a=-1.5e3)", "{\"a\": -1.5e3}"},
        {"f( a = 1 , b = 'x' , )", "{\"a\": 1, \"b\": \"x\"}"},
        {"f(a='\"\\'\\\\\\n\\t\\x41\\u00e9\\U0001F600\\q')",
         "{\"a\": \"\\\"'\\\\\\u000a\\u0009A\xC3\xA9\xF0\x9F\x98\x80\\\\q\"}"},
        {"f(a=[], b={}, c=[[1],{'a': None}])",
         "{\"a\": [], \"b\": {}, \"c\": [[1], {\"a\": null}]}"},
        {"f(a=True, b=false)", "{\"a\": true, \"b\": false}"},
        {"f(1)", NULL},
        {"f(a=)", NULL},
        {"f(a=x)", NULL},
        {"f(a=01)", NULL},
        {"f(a=1.)", NULL},
        {"f(a=1 b=2)", NULL},
        {"f(,)", NULL},
        {"f(a='x)", NULL},
        {"f(a='\\ud800')", NULL},
        {"f(a={1: 2})", NULL},
        {"f(a=1) ", NULL},
        {"f(a=[1)", NULL},
        {"f", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shoal_strbuf json = {0};
        size_t name = 0;
        bool valid;
        assert_int_equal(
            shoal_python_call_read(cases[i][0], strlen(cases[i][0]), &name, &json, &valid),
            SHOAL_OK);
        if (valid != (cases[i][1] != NULL))
            fail_msg("%s", cases[i][0]);
        if (valid) {
            assert_int_equal(name, 1);
            assert_int_equal(json.bytes, strlen(cases[i][1]));
            assert_memory_equal(json.data, cases[i][1], json.bytes);
        }
        shoal_strbuf_free(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_head_too_long),
        cmocka_unit_test(test_limit_of_a_call),
        cmocka_unit_test(test_streaming),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_call_too_long),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_json_scan),
        cmocka_unit_test(test_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What chat templates teach: formats of calls recognised in real templates and read back from what
 * these make of calls; built-in templates; tools made plain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/text/builtin_templates.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/plain_tools.h"
#include "coordinator/text/speech.h"
#include "coordinator/text/speech_message.h"
#include "coordinator/text/text_file.h"
#include "tests/unit/api_case.h"

#define PATH_BYTES 1024

static shoal_chat_template *parse(const char *text, size_t bytes)
{
    shoal_chat_template *chat;
    if (shoal_chat_template_parse(text, bytes, "made", &chat) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return chat;
}

/* NULL when there is no golden data. */
static shoal_chat_template *golden(const char *name)
{
    char path[PATH_BYTES];
    shoal_strbuf text = {0};
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, sizeof path, "%s/tok/templates/%s.jinja", root ? root : "../shared/golden",
             name);
    if (access(path, R_OK) != 0)
        return NULL;
    assert_int_equal(shoal_text_file_read(path, 1u << 20, &text), SHOAL_OK);
    shoal_chat_template *chat = parse(text.data, text.bytes);
    shoal_strbuf_free(&text);
    return chat;
}

static json_t *json_of(const char *text)
{
    char *body = api_body(text);
    json_t *json = json_loads(body, 0, NULL);
    if (!json)
        fail_msg("%s", text);
    free(body);
    return json;
}

/* Messages written with apostrophes; the text is the caller's. False: the template refuses. */
static bool try_render(const shoal_chat_template *chat, const char *messages, const char *tools,
                       bool prompt, const char *bos, shoal_strbuf *out)
{
    json_t *variables = json_pack("{s:o,s:o,s:b,s:s,s:s}", "messages", json_of(messages), "tools",
                                  tools ? json_of(tools) : json_null(), "add_generation_prompt",
                                  (int)prompt, "bos_token", bos, "eos_token", "</s>");
    const shoal_status st = shoal_chat_template_render(chat, variables, out);
    json_decref(variables);
    return st == SHOAL_OK;
}

/* ---- formats --------------------------------------------------------------------------------- */

static const struct {
    const char *name, *calls, *think;
    bool fails; /* to show tools, in Python as well */
} styles[] = {
    {"llama-3.1-8b-instruct", "llama-json", NULL, false},
    {"llama-3.2-3b-instruct", "llama-json", NULL, false},
    {"llama-3.3-70b-instruct", "llama-json", NULL, false},
    {"qwen2.5-7b-instruct", "hermes", NULL, false},
    {"qwq-32b", "hermes", "<think>", false},
    {"qwen3-0.6b", "hermes", "<think>", false},
    {"mistral-nemo-instruct-2407", "mistral", NULL, false},
    {"devstral-small-2507", "mistral", NULL, false},
    {"ministral-3-14b-reasoning", "mistral", "[THINK]", false},
    {"deepseek-r1-distill-qwen-32b", "deepseek", "<think>", false},
    {"deepseek-r1-llamacpp", "deepseek", "<think>", true},
    {"deepseek-v3.1", "deepseek", "<think>", false},
    {"hermes-3-llama-3.1-8b-tool_use", "hermes", NULL, false},
    {"hermes-2-pro-llama-3-8b-tool_use", "hermes", NULL, false},
    {"granite-4.1", "hermes", NULL, false},
    {"bielik-11b-v3.0", "hermes", "<think>", false},
    {"mimo-vl", "hermes", NULL, false},
    {"minimax-m1", "minimax", NULL, false},
    {"nemotron-nano-v2", "nemotron", "<think>", false},
    {"functionary-medium-v3.1", "functionary", NULL, false},
};

static void expect_call(const char *name, const shoal_chat_style *style, const char *text,
                        size_t bytes)
{
    const shoal_speech_rules rules = {.calls = style->calls, .think = style->think};
    const shoal_speech_pieces *pieces;
    shoal_speech_message message = {0};
    shoal_speech *speech;
    assert_int_equal(shoal_speech_create(&rules, &speech), SHOAL_OK);
    assert_int_equal(shoal_speech_push(speech, text, bytes, true, &pieces), SHOAL_OK);
    assert_int_equal(shoal_speech_collect(&message, pieces->text.data, pieces->data, pieces->count),
                     SHOAL_OK);
    if (message.call_count != 1)
        fail_msg("%s: %zu calls in %.*s", name, message.call_count, (int)bytes, text);
    const shoal_speech_call *call = &message.calls[0];
    json_t *want = json_of("{'city':'Bergen','days':[1,2]}");
    json_t *got = json_loadb(call->arguments.data, call->arguments.bytes, 0, NULL);
    assert_int_equal(call->name.bytes, 11);
    assert_memory_equal(call->name.data, "get_weather", 11);
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    shoal_speech_message_free(&message);
    shoal_speech_destroy(speech);
}

/* What the template makes of a call is what its model says to make one. */
static void check_round(const char *name, const shoal_chat_template *chat, bool with_tools)
{
    static const char described[] =
        "[{'type':'function','function':{'name':'get_weather','description':'Weather.',"
        "'parameters':{'type':'object','properties':{'city':{'type':'string'}}}}}]";
    const char *tools = with_tools ? described : NULL;
    static const char question[] = "[{'role':'user','content':'Weather?'}]";
    static const char asked[] =
        "[{'role':'user','content':'Weather?'},{'role':'assistant','content':'','tool_calls':"
        "[{'id':'abcdef123','type':'function','function':{'name':'get_weather',"
        "'arguments':{'city':'Bergen','days':[1,2]}}}]}]";
    shoal_strbuf before = {0}, whole = {0};
    size_t same = 0;
    if (!try_render(chat, question, tools, true, "<s>", &before) ||
        !try_render(chat, asked, tools, false, "<s>", &whole))
        fail_msg("%s: %s", name, shoal_error_text());
    while (same < before.bytes && same < whole.bytes && before.data[same] == whole.data[same])
        same++;
    /* A prompt may have opened reasoning in the same place where the answer has its first mark. */
    while (same > 0 && whole.data[same - 1] != '\n' && whole.data[same - 1] != '>' &&
           whole.data[same - 1] != ']')
        same--;
    expect_call(name, shoal_chat_template_style(chat), whole.data + same, whole.bytes - same);
    shoal_strbuf_free(&whole);
    shoal_strbuf_free(&before);
}

static void test_styles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        shoal_chat_template *chat = golden(styles[i].name);
        if (!chat) {
            printf("skipped: no golden data\n");
            skip();
        }
        const shoal_chat_style *style = shoal_chat_template_style(chat);
        if (!style->calls || strcmp(style->calls->name, styles[i].calls) != 0)
            fail_msg("%s: %s", styles[i].name, style->calls ? style->calls->name : "none");
        assert_true(style->tools);
        if (!style->think != !styles[i].think)
            fail_msg("%s: think %d", styles[i].name, style->think != NULL);
        if (style->think)
            assert_string_equal(style->think->open, styles[i].think);
        check_round(styles[i].name, chat, !styles[i].fails);
        shoal_chat_template_close(chat);
    }
}

/* Calls that are not understood are not mistaken for some that are. */
static void test_unknown_calls(void **state)
{
    static const char *const names[] = {"qwen3.5-4b", "glm-4.6", "nemotron-3-nano", "gpt-oss-120b",
                                        "kimi-k2-instruct"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        shoal_chat_template *chat = golden(names[i]);
        if (!chat) {
            printf("skipped: no golden data\n");
            skip();
        }
        const shoal_chat_style *style = shoal_chat_template_style(chat);
        if (style->calls || !style->tools)
            fail_msg("%s: %s", names[i], style->calls ? style->calls->name : "no tools");
        shoal_chat_template_close(chat);
    }
}

/* ---- built-in templates ---------------------------------------------------------------------- */

#define CHAT                                                                                       \
    "[{'role':'user','content':'Hi'},{'role':'assistant','content':'Yes?'},"                       \
    "{'role':'user','content':'Go.'}]"
#define SYSTEM "[{'role':'system','content':'Be.'},{'role':'user','content':'Hi'}]"
#define ODD    "[{'role':'assistant','content':'x'}]"

static void expect_prompt(const char *family, int64_t vocab, const char *messages, const char *want)
{
    const char *text = shoal_builtin_template(family, vocab);
    shoal_strbuf out = {0};
    assert_non_null(text);
    shoal_chat_template *chat = parse(text, strlen(text));
    const bool done = try_render(chat, messages, NULL, true, "", &out);
    if (done != (want != NULL))
        fail_msg("%s: %s", family, shoal_error_text());
    if (want && (out.bytes != strlen(want) || memcmp(out.data, want, out.bytes) != 0))
        fail_msg("%s: %.*s", family, (int)out.bytes, out.data);
    shoal_strbuf_free(&out);
    shoal_chat_template_close(chat);
}

/* The forms that their makers published. */
static void test_builtin(void **state)
{
    (void)state;
    expect_prompt("llama", 32000, CHAT, "<s>[INST] Hi [/INST] Yes? </s><s>[INST] Go. [/INST]");
    expect_prompt("llama", 32000, SYSTEM, "<s>[INST] <<SYS>>\nBe.\n<</SYS>>\n\nHi [/INST]");
    expect_prompt("llama", 32000, ODD, NULL);
    expect_prompt("llama", 128256, SYSTEM,
                  "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe.<|eot_id|>"
                  "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                  "<|start_header_id|>assistant<|end_header_id|>\n\n");
    expect_prompt("mistral", 32000, CHAT, "<s>[INST] Hi [/INST] Yes?</s>[INST] Go. [/INST]");
    expect_prompt("internlm2", 92544, CHAT,
                  "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"
                  "<|im_start|>user\nGo.<|im_end|>\n<|im_start|>assistant\n");
    expect_prompt("mixtral", 32000, ODD, NULL);
    expect_prompt("gemma", 256000, ODD, NULL);
    assert_null(shoal_builtin_template("llama", 1024));
    assert_null(shoal_builtin_template("falcon", 32000));
    assert_null(shoal_builtin_template("", 0));
}

/* Where the set has the published template, the built-in one gives the same. */
static void test_builtin_golden(void **state)
{
    static const struct {
        const char *family, *published, *bos, *messages;
    } pairs[] = {
        {"gemma2", "gemma-2-2b-it", "<bos>", CHAT},
        {"phi3", "phi-3.5-mini-instruct", "", CHAT},
        {"phi3", "phi-3.5-mini-instruct", "", SYSTEM},
        {"qwen2", "qwen2-gguf", "", SYSTEM},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        shoal_strbuf out = {0};
        shoal_chat_template *chat = golden(pairs[i].published);
        if (!chat) {
            printf("skipped: no golden data\n");
            skip();
        }
        assert_true(try_render(chat, pairs[i].messages, NULL, true, pairs[i].bos, &out));
        assert_int_equal(shoal_strbuf_append(&out, "", 1), SHOAL_OK);
        expect_prompt(pairs[i].family, 0, pairs[i].messages, out.data);
        shoal_strbuf_free(&out);
        shoal_chat_template_close(chat);
    }
}

/* ---- tools made plain ------------------------------------------------------------------------ */

static void expect_plain(const char *messages, const char *tools, const char *want)
{
    json_t *given = json_of(messages), *wanted = json_of(want);
    json_t *described = tools ? json_of(tools) : NULL;
    assert_int_equal(shoal_plain_tools(given, described), SHOAL_OK);
    char *text = json_dumps(given, 0);
    if (!json_equal(given, wanted))
        fail_msg("%s", text);
    free(text);
    json_decref(described);
    json_decref(wanted);
    json_decref(given);
}

static void test_plain(void **state)
{
    (void)state;
    expect_plain(CHAT, NULL, CHAT);
    expect_plain("[{'role':'user','content':'Hi'},"
                 "{'role':'assistant','content':null,'tool_calls':["
                 "{'function':{'name':'f','arguments':{'a':1}}},{'function':{'name':'g'}}]},"
                 "{'role':'tool','content':'1','tool_call_id':'x'},{'role':'tool','content':'2'},"
                 "{'role':'user','content':'So?'}]",
                 NULL,
                 "[{'role':'user','content':'Hi'},"
                 "{'role':'assistant','content':'<tool_call>\\n{\\\"name\\\": \\\"f\\\", "
                 "\\\"arguments\\\": {\\\"a\\\": 1}}\\n</tool_call>\\n<tool_call>\\n"
                 "{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": {}}\\n</tool_call>'},"
                 "{'role':'user','content':'<tool_response>\\n1\\n</tool_response>\\n"
                 "<tool_response>\\n2\\n</tool_response>','tool_call_id':'x'},"
                 "{'role':'user','content':'So?'}]");
}

/* The description stands in the first message, whoever's that is. */
static void test_plain_description(void **state)
{
    static const char *const chats[] = {SYSTEM, CHAT};
    static const char tool[] = "{\"function\": {\"name\": \"f\"}}";
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        json_t *messages = json_of(chats[i]), *tools = json_of("[{'function':{'name':'f'}}]");
        const size_t count = json_array_size(messages);
        assert_int_equal(shoal_plain_tools(messages, tools), SHOAL_OK);
        assert_int_equal(json_array_size(messages), count);
        const json_t *first = json_array_get(messages, 0);
        const char *content = json_string_value(json_object_get(first, "content"));
        assert_string_equal(json_string_value(json_object_get(first, "role")),
                            i == 0 ? "system" : "user");
        assert_non_null(strstr(content, tool));
        assert_non_null(strstr(content, i == 0 ? "Be.\n\n" : "\n\nHi"));
        json_decref(tools);
        json_decref(messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_styles),  cmocka_unit_test(test_unknown_calls),
        cmocka_unit_test(test_builtin), cmocka_unit_test(test_builtin_golden),
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_plain_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

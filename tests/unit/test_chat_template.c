/* Chat templates: those of published models against what transformers' environment gives, and how a
 * model folder is read. Golden data: tok/templates (tok/INDEX.md says what the fields mean). */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/text/chat_template.h"
#include "coordinator/text/text_file.h"

#define PATH_BYTES 1024

/* ---- golden templates ------------------------------------------------------------------------ */

/* Every case of these must come out right; there are no others. */
static const char *const expected[] = {
    "apertus-8b-instruct",
    "bielik-11b-v3.0",
    "command-r-default",
    "command-r-plus-tool_use",
    "command-r-rag",
    "command-r7b-tool_use",
    "deepseek-r1-distill-qwen-32b",
    "deepseek-r1-llamacpp",
    "deepseek-v3.1",
    "deepseek-v3.2",
    "devstral-small-2507",
    "firefunction-v2",
    "functionary-medium-v3.1",
    "functionary-medium-v3.2",
    "gemma-2-2b-it",
    "gemma-4-31b-it",
    "glm-4.6",
    "gpt-oss-120b",
    "granite-3.3-2b-instruct",
    "granite-4.1",
    "hermes-2-pro-llama-3-8b-tool_use",
    "hermes-3-llama-3.1-8b-tool_use",
    "hunyuan-hy3",
    "kimi-k2-instruct",
    "kimi-k2-thinking",
    "lfm2-8b-a1b",
    "lfm2.5-8b-a1b",
    "llama-3.1-8b-instruct",
    "llama-3.2-3b-instruct",
    "llama-3.3-70b-instruct",
    "mimo-vl",
    "minimax-m1",
    "ministral-3-14b-reasoning",
    "mistral-nemo-instruct-2407",
    "nemotron-3-nano",
    "nemotron-nano-v2",
    "phi-3-gguf",
    "phi-3.5-mini-instruct",
    "qwen2-gguf",
    "qwen2.5-7b-instruct",
    "qwen3-0.6b",
    "qwen3.5-4b",
    "qwq-32b",
    "seed-oss",
    "smollm3-3b",
    "solar-open-100b",
};

#define EXPECTED (sizeof expected / sizeof *expected)

static const char *golden(const char *name, const char *end, char path[PATH_BYTES])
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, PATH_BYTES, "%s/tok/templates/%s%s", root ? root : "../shared/golden", name,
             end);
    return path;
}

static bool have_golden(void)
{
    char path[PATH_BYTES];
    if (access(golden("LIST.md", "", path), R_OK) == 0)
        return true;
    printf("skipped: no golden data\n");
    return false;
}

/* Does `text` end with the string? */
static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static json_t *variables_of(json_t *row)
{
    json_t *all = json_pack("{s:n}", "documents");
    assert_int_equal(json_object_update(all, json_object_get(row, "kwargs")), 0);
    json_object_set(all, "messages", json_object_get(row, "messages"));
    json_object_set(all, "tools", json_object_get(row, "tools"));
    return all;
}

/* The expected text; or a failure, with the words of the template if it raised an exception. */
static bool passes(const shoal_chat_template *chat, json_t *row)
{
    const json_t *want = json_object_get(row, "expected"), *error = json_object_get(row, "error");
    const char *kind = json_string_value(json_object_get(error, "kind"));
    json_t *variables = variables_of(row);
    shoal_strbuf out = {0};
    const shoal_status st = shoal_chat_template_render(chat, variables, &out);
    bool good = want && st == SHOAL_OK && out.bytes == json_string_length(want) &&
                (out.bytes == 0 || memcmp(out.data, json_string_value(want), out.bytes) == 0);
    if (error)
        good =
            st == SHOAL_ERR_DATA &&
            (strcmp(kind, "raise") != 0 ||
             ends_with(shoal_error_text(), json_string_value(json_object_get(error, "message"))));
    if (!good)
        printf("  case %lld: %s\n", json_integer_value(json_object_get(row, "n")),
               st == SHOAL_OK ? "another text" : shoal_error_text());
    shoal_strbuf_free(&out);
    json_decref(variables);
    return good;
}

/* How many cases of a template pass, of how many. */
static size_t count_passes(const char *name, size_t *cases)
{
    char path[PATH_BYTES];
    shoal_chat_template *chat;
    shoal_strbuf text = {0};
    struct tm now;
    size_t i, good = 0;
    json_t *row, *all = json_load_file(golden(name, ".cases.json", path), JSON_ALLOW_NUL, NULL);
    json_t *rows = json_object_get(all, "cases");
    *cases = json_array_size(rows);
    assert_true(*cases > 0);
    assert_int_equal(shoal_chat_time_parse(json_string_value(json_object_get(all, "now")), &now),
                     SHOAL_OK);
    assert_int_equal(shoal_text_file_read(golden(name, ".jinja", path), 1u << 20, &text), SHOAL_OK);
    if (shoal_chat_template_parse(text.data, text.bytes, name, &chat) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    shoal_chat_template_fix_time(chat, &now);
    json_array_foreach(rows, i, row) good += passes(chat, row);
    shoal_chat_template_close(chat);
    shoal_strbuf_free(&text);
    json_decref(all);
    return good;
}

static size_t count_files(void)
{
    char path[PATH_BYTES];
    size_t count = 0;
    DIR *folder = opendir(golden("", "", path));
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += ends_with(entry->d_name, ".cases.json");
    closedir(folder);
    return count;
}

static void test_golden(void **state)
{
    (void)state;
    size_t good = 0, all = 0;
    if (!have_golden())
        skip();
    for (size_t i = 0; i < EXPECTED; i++) {
        size_t cases;
        const size_t passed = count_passes(expected[i], &cases);
        if (passed != cases)
            printf("%s: %zu of %zu cases\n", expected[i], passed, cases);
        good += passed;
        all += cases;
    }
    printf("%zu of %zu cases of %zu templates\n", good, all, EXPECTED);
    assert_int_equal(good, all);
    assert_int_equal(count_files(), EXPECTED);
}

/* ---- model folders --------------------------------------------------------------------------- */

typedef struct {
    char path[64];
} folder;

static void write_file(const folder *f, const char *name, const char *text)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static folder make_folder(const char *config, const char *jinja)
{
    folder f = {"/tmp/shoal-chat-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    if (config)
        write_file(&f, "tokenizer_config.json", config);
    if (jinja)
        write_file(&f, "chat_template.jinja", jinja);
    return f;
}

static void remove_folder(const folder *f)
{
    static const char *const names[] = {"tokenizer_config.json", "chat_template.jinja"};
    char path[PATH_BYTES];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", f->path, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->path), 0);
}

static void expect_prompt(const char *config, const char *jinja, json_t *variables,
                          const char *want)
{
    const folder f = make_folder(config, jinja);
    shoal_chat_template *chat;
    shoal_strbuf out = {0};
    if (shoal_chat_template_open(f.path, &chat) != SHOAL_OK ||
        shoal_chat_template_render(chat, variables, &out) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(out.bytes, strlen(want));
    assert_memory_equal(out.data, want, out.bytes);
    shoal_strbuf_free(&out);
    shoal_chat_template_close(chat);
    remove_folder(&f);
    json_decref(variables);
}

static void test_folders(void **state)
{
    (void)state;
    /* tokens as strings and as objects; the file of its own comes first */
    expect_prompt("{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"},"
                  "\"pad_token\": null, \"chat_template\": \"no\"}",
                  "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}", json_object(),
                  "<s></s>False");
    expect_prompt("{\"bos_token\": \"<s>\", \"chat_template\": \"{{ bos_token }}\"}", NULL,
                  json_object(), "<s>");
    /* the request's variables come before the model's */
    expect_prompt("{\"bos_token\": \"<s>\", \"chat_template\": \"{{ bos_token }}\"}", NULL,
                  json_pack("{s:s}", "bos_token", "B"), "B");
    /* of several templates the default one */
    expect_prompt("{\"chat_template\": [{\"name\": \"rag\", \"template\": \"r\"},"
                  "{\"name\": \"default\", \"template\": \"d\"}]}",
                  NULL, json_object(), "d");
    expect_prompt(NULL, "only {{ 1 }}", json_object(), "only 1");
}

static void expect_refusal(const char *config, const char *jinja, shoal_status code,
                           const char *words)
{
    const folder f = make_folder(config, jinja);
    shoal_chat_template *chat;
    assert_int_equal(shoal_chat_template_open(f.path, &chat), code);
    if (!strstr(shoal_error_text(), words))
        fail_msg("want: %s\ngot:  %s", words, shoal_error_text());
    remove_folder(&f);
}

static void test_bad_folders(void **state)
{
    (void)state;
    expect_refusal(NULL, NULL, SHOAL_ERR_NOTFOUND, "has no chat template");
    expect_refusal("{}", NULL, SHOAL_ERR_NOTFOUND, "has no chat template");
    expect_refusal("{\"chat_template\": null}", NULL, SHOAL_ERR_NOTFOUND, "has no chat template");
    expect_refusal("{\"chat_template\": [{\"name\": \"rag\", \"template\": \"r\"}]}", NULL,
                   SHOAL_ERR_NOTFOUND, "has no chat template");
    expect_refusal("{\"chat_template\": 3}", NULL, SHOAL_ERR_DATA, "is no string");
    expect_refusal("[]", NULL, SHOAL_ERR_DATA, "not an object");
    expect_refusal("{\n\"a\"", NULL, SHOAL_ERR_DATA, "tokenizer_config.json: line 2");
    expect_refusal("{\"chat_template\": \"a\\n{% if %}\"}", NULL, SHOAL_ERR_DATA,
                   "chat_template of tokenizer_config.json, line 2");
    expect_refusal(NULL, "{{ 1", SHOAL_ERR_DATA, "chat_template.jinja, line 1");
    shoal_chat_template *chat;
    assert_int_equal(shoal_chat_template_open("/nowhere", &chat), SHOAL_ERR_NOTFOUND);
}

/* The small model's own template. */
static void test_small_model(void **state)
{
    (void)state;
    static const char want[] = "<|begin|><|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n"
                               "<|assistant|>\n";
    shoal_chat_template *chat;
    shoal_strbuf out = {0};
    json_t *variables =
        json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:b}", "messages", "role", "system", "content",
                  "Be kind.", "role", "user", "content", "Hi", "add_generation_prompt", true);
    assert_int_equal(shoal_chat_template_open("tests/data/tiny-llama", &chat), SHOAL_OK);
    assert_int_equal(shoal_chat_template_render(chat, variables, &out), SHOAL_OK);
    assert_int_equal(out.bytes, sizeof want - 1);
    assert_memory_equal(out.data, want, out.bytes);
    shoal_strbuf_free(&out);
    json_decref(variables);
    variables = json_pack("{s:[{s:s,s:s}]}", "messages", "role", "cook", "content", "x");
    assert_int_equal(shoal_chat_template_render(chat, variables, &out), SHOAL_ERR_DATA);
    assert_true(ends_with(shoal_error_text(), ": unknown role cook"));
    assert_int_equal(out.bytes, 0);
    json_decref(variables);
    shoal_chat_template_close(chat);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void test_time(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2026-11-21",
                                      "2026-11-21 12:34",
                                      "2026-02-30 00:00:00",
                                      "2026-11-21 12:34:56 ",
                                      "2026-11-21 25:00:00",
                                      "now"};
    static const char text[] = "{{ strftime_now('%A %j %H') }}";
    struct tm now = {0};
    shoal_chat_template *chat;
    shoal_strbuf out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(shoal_chat_time_parse(bad[i], &now), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_chat_time_parse("2024-02-29 08:00:00", &now), SHOAL_OK);
    assert_int_equal(shoal_chat_template_parse(text, sizeof text - 1, "made", &chat), SHOAL_OK);
    shoal_chat_template_fix_time(chat, &now);
    assert_int_equal(shoal_chat_template_render(chat, NULL, &out), SHOAL_OK);
    assert_int_equal(out.bytes, 15);
    assert_memory_equal(out.data, "Thursday 060 08", 15);
    shoal_strbuf_free(&out);
    shoal_chat_template_close(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_folders),
        cmocka_unit_test(test_bad_folders), cmocka_unit_test(test_small_model),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

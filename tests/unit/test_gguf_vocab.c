/* Vocabularies of GGUF files give what the tokenizer.json of the same model gives: ids, with and
 * without special tokens, and texts. Golden data: tok/vocab (tok/INDEX.md says what the fields
 * mean). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/text/tokenizer.h"

#define PATH_BYTES 1024

static const char *golden(const char *name, const char *file, char path[PATH_BYTES])
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, PATH_BYTES, "%s/tok/vocab/%s/%s", root ? root : "../shared/golden", name, file);
    return path;
}

/* A vocab.gguf.gz of the golden vocabularies; gzip is there on every system. */
static shoal_tokenizer *open_vocab(const char *name)
{
    char path[PATH_BYTES], command[PATH_BYTES + 32], part[65536];
    shoal_strbuf data = {0};
    shoal_tokenizer *t = NULL;
    size_t n;
    snprintf(command, sizeof command, "gzip -dc '%s'", golden(name, "vocab.gguf.gz", path));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while ((n = fread(part, 1, sizeof part, pipe)) > 0)
        assert_int_equal(shoal_strbuf_append(&data, part, n), SHOAL_OK);
    assert_int_equal(pclose(pipe), 0);
    const shoal_status st = shoal_tokenizer_open_memory(data.data, data.bytes, name, &t);
    if (st != SHOAL_OK)
        printf("%s\n", shoal_error_text());
    assert_int_equal(st, SHOAL_OK);
    shoal_strbuf_free(&data);
    return t;
}

/* ---- one case ---- */

static bool encodes(const shoal_tokenizer *t, const json_t *text, unsigned flags,
                    const json_t *want)
{
    shoal_ids ids = {0};
    const shoal_status st =
        shoal_tokenizer_encode(t, json_string_value(text), json_string_length(text), flags, &ids);
    bool same = st == SHOAL_OK && ids.count == json_array_size(want);
    for (size_t i = 0; same && i < ids.count; i++)
        same = ids.data[i] == json_integer_value(json_array_get(want, i));
    shoal_ids_free(&ids);
    return same;
}

static bool decodes(const shoal_tokenizer *t, const json_t *array, bool skip, const json_t *want)
{
    shoal_ids ids = {0};
    shoal_strbuf text = {0};
    for (size_t i = 0; i < json_array_size(array); i++)
        assert_int_equal(
            shoal_ids_push(&ids, (int32_t)json_integer_value(json_array_get(array, i))), SHOAL_OK);
    const shoal_status st = shoal_tokenizer_decode(t, ids.data, ids.count, skip, &text);
    const bool same = st == SHOAL_OK && text.bytes == json_string_length(want) &&
                      (!text.bytes || memcmp(text.data, json_string_value(want), text.bytes) == 0);
    shoal_strbuf_free(&text);
    shoal_ids_free(&ids);
    return same;
}

static bool holds(const shoal_tokenizer *t, const json_t *row)
{
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    const json_t *plain = json_object_get(row, "ids_plain");
    const json_t *decoded = json_object_get(row, "decoded");
    const json_t *skipped = json_object_get(row, "decoded_skip");
    return encodes(t, text, 0, ids) &&
           encodes(t, text, SHOAL_ENCODE_ADD_SPECIAL, json_object_get(row, "ids_special")) &&
           encodes(t, text, SHOAL_ENCODE_PLAIN, plain ? plain : ids) &&
           decodes(t, ids, false, decoded) && decodes(t, ids, true, skipped ? skipped : decoded);
}

/* ---- the vocabularies ---- */

static void run_vocab(const char *name)
{
    char path[PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    int right = 0, cases = 0;
    shoal_tokenizer *t = open_vocab(name);
    FILE *f = fopen(golden(name, "cases.jsonl", path), "r");
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0; cases++) {
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        if (holds(t, row))
            right++;
        else
            printf("%s: case %d is wrong\n", name, cases);
        json_decref(row);
    }
    printf("%s: %d of %d cases\n", name, right, cases);
    free(line);
    fclose(f);
    shoal_tokenizer_close(t);
    assert_true(cases > 700);
    assert_int_equal(right, cases);
}

static void test_golden(void **state)
{
    static const char *const names[] = {"gpt-2",          "llama-bpe", "qwen2",
                                        "deepseek-coder", "llama-spm", "phi-3"};
    char path[PATH_BYTES];
    (void)state;
    FILE *f = fopen(golden("gpt-2", "cases.jsonl", path), "r");
    if (!f) {
        printf("skipped: no golden data\n");
        skip();
    }
    fclose(f);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        run_vocab(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

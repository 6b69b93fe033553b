/* The tokenizer against real library output: the small model's own tokenizer, six published
 * vocabularies, and streams of ids taken one by one. Golden data: tiny-llama and tok
 * (tok/INDEX.md says what the fields mean). */
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

static const char *golden(const char *below, char path[PATH_BYTES])
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, PATH_BYTES, "%s/%s", root ? root : "../shared/golden", below);
    return path;
}

static bool have_golden(void)
{
    char path[PATH_BYTES];
    FILE *f = fopen(golden("tok/INDEX.md", path), "r");
    if (!f) {
        printf("skipped: no golden data\n");
        return false;
    }
    fclose(f);
    return true;
}

/* A tokenizer.json.gz of the golden vocabularies; gzip is there on every system. */
static shoal_status open_vocab(const char *name, shoal_tokenizer **out)
{
    char below[128], path[PATH_BYTES], command[PATH_BYTES + 32], part[65536];
    shoal_strbuf json = {0};
    size_t n;
    snprintf(below, sizeof below, "tok/vocab/%s/tokenizer.json.gz", name);
    snprintf(command, sizeof command, "gzip -dc '%s'", golden(below, path));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while ((n = fread(part, 1, sizeof part, pipe)) > 0)
        assert_int_equal(shoal_strbuf_append(&json, part, n), SHOAL_OK);
    assert_int_equal(pclose(pipe), 0);
    const shoal_status st = shoal_tokenizer_open_memory(json.data, json.bytes, name, out);
    shoal_strbuf_free(&json);
    return st;
}

/* ---- one case ---- */

static bool same_ids(const shoal_ids *got, const json_t *want)
{
    if (got->count != json_array_size(want))
        return false;
    for (size_t i = 0; i < got->count; i++)
        if (got->data[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

static bool same_text(const char *got, size_t bytes, const json_t *want)
{
    return bytes == json_string_length(want) &&
           (bytes == 0 || memcmp(got, json_string_value(want), bytes) == 0);
}

static bool encodes(const shoal_tokenizer *t, const json_t *text, unsigned flags,
                    const json_t *want)
{
    shoal_ids ids = {0};
    const shoal_status st =
        shoal_tokenizer_encode(t, json_string_value(text), json_string_length(text), flags, &ids);
    const bool same = st == SHOAL_OK && same_ids(&ids, want);
    shoal_ids_free(&ids);
    return same;
}

static shoal_ids ids_of(const json_t *array)
{
    shoal_ids ids = {0};
    for (size_t i = 0; i < json_array_size(array); i++)
        assert_int_equal(
            shoal_ids_push(&ids, (int32_t)json_integer_value(json_array_get(array, i))), SHOAL_OK);
    return ids;
}

static bool decodes(const shoal_tokenizer *t, const json_t *array, bool skip, const json_t *want)
{
    shoal_ids ids = ids_of(array);
    shoal_strbuf text = {0};
    const shoal_status st = shoal_tokenizer_decode(t, ids.data, ids.count, skip, &text);
    const bool same = st == SHOAL_OK && same_text(text.data, text.bytes, want);
    shoal_strbuf_free(&text);
    shoal_ids_free(&ids);
    return same;
}

/* ---- the small model ---- */

static void test_small_model(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    shoal_tokenizer *t;
    size_t i;
    json_t *row;
    if (!have_golden())
        skip();
    assert_int_equal(shoal_tokenizer_open(golden("tiny-llama", path), &t), SHOAL_OK);
    json_t *all =
        json_load_file(golden("tiny-llama/expected/tokenizer.json", path), JSON_ALLOW_NUL, NULL);
    assert_non_null(all);
    json_array_foreach(json_object_get(all, "encode"), i, row)
    {
        const json_t *text = json_object_get(row, "text");
        assert_true(encodes(t, text, 0, json_object_get(row, "ids")));
        assert_true(
            encodes(t, text, SHOAL_ENCODE_ADD_SPECIAL, json_object_get(row, "ids_with_special")));
        assert_true(
            decodes(t, json_object_get(row, "ids"), false, json_object_get(row, "decoded")));
    }
    printf("tiny-llama: %zu of %zu texts\n", i, json_array_size(json_object_get(all, "encode")));
    json_array_foreach(json_object_get(all, "chat"), i, row)
    {
        assert_true(encodes(t, json_object_get(row, "rendered"), 0, json_object_get(row, "ids")));
        assert_true(
            decodes(t, json_object_get(row, "ids"), false, json_object_get(row, "rendered")));
        assert_true(decodes(t, json_object_get(row, "greedy16"), false,
                            json_object_get(row, "greedy16_text")));
    }
    json_decref(all);
    shoal_tokenizer_close(t);
}

/* ---- the published vocabularies ---- */

static bool vocab_case(const shoal_tokenizer *t, const json_t *row)
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

static void run_vocab(const char *name)
{
    char below[128], path[PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    int right = 0, cases = 0;
    shoal_tokenizer *t;
    assert_int_equal(open_vocab(name, &t), SHOAL_OK);
    snprintf(below, sizeof below, "tok/vocab/%s/cases.jsonl", name);
    FILE *f = fopen(golden(below, path), "r");
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0; cases++) {
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        if (vocab_case(t, row))
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

static const char *const vocabularies[] = {"gpt-2",          "llama-bpe", "qwen2",
                                           "deepseek-coder", "llama-spm", "phi-3"};
#define VOCABULARIES (sizeof vocabularies / sizeof vocabularies[0])

static void test_vocabularies(void **state)
{
    (void)state;
    if (!have_golden())
        skip();
    for (size_t i = 0; i < VOCABULARIES; i++)
        run_vocab(vocabularies[i]);
}

/* ---- streams ---- */

static bool push_all(shoal_detok *d, const json_t *ids, const json_t *pieces, shoal_strbuf *all)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const char *text;
        size_t bytes;
        if (shoal_detok_push(d, json_integer_value(json_array_get(ids, i)), &text, &bytes) !=
            SHOAL_OK)
            return false;
        if (pieces && !same_text(text, bytes, json_array_get(pieces, i)))
            return false;
        assert_int_equal(shoal_strbuf_append(all, text, bytes), SHOAL_OK);
    }
    return true;
}

static bool stream_case(const shoal_tokenizer *t, const json_t *row)
{
    shoal_detok *d;
    shoal_strbuf prompt = {0}, sent = {0};
    const char *text;
    size_t bytes;
    assert_int_equal(shoal_detok_create(t, json_is_true(json_object_get(row, "skip_special")), &d),
                     SHOAL_OK);
    const bool same =
        push_all(d, json_object_get(row, "prefix_ids"), NULL, &prompt) &&
        same_text(prompt.data, prompt.bytes, json_object_get(row, "prefix_text")) &&
        push_all(d, json_object_get(row, "ids"), json_object_get(row, "pieces"), &sent) &&
        shoal_detok_flush(d, &text, &bytes) == SHOAL_OK &&
        same_text(text, bytes, json_object_get(row, "final")) &&
        shoal_detok_flush(d, &text, &bytes) == SHOAL_OK && bytes == 0;
    shoal_strbuf_free(&prompt);
    shoal_strbuf_free(&sent);
    shoal_detok_destroy(d);
    return same;
}

static void test_streams(void **state)
{
    (void)state;
    shoal_tokenizer *t[VOCABULARIES];
    char path[PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    int right = 0, cases = 0;
    if (!have_golden())
        skip();
    for (size_t i = 0; i < VOCABULARIES; i++)
        assert_int_equal(open_vocab(vocabularies[i], &t[i]), SHOAL_OK);
    FILE *f = fopen(golden("tok/stream/cases.jsonl", path), "r");
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0; cases++) {
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        const char *vocab = json_string_value(json_object_get(row, "vocab"));
        size_t which = 0;
        while (which < VOCABULARIES && strcmp(vocabularies[which], vocab) != 0)
            which++;
        assert_true(which < VOCABULARIES);
        if (stream_case(t[which], row))
            right++;
        else
            printf("stream case %lld is wrong\n",
                   (long long)json_integer_value(json_object_get(row, "n")));
        json_decref(row);
    }
    printf("streams: %d of %d cases\n", right, cases);
    free(line);
    fclose(f);
    for (size_t i = 0; i < VOCABULARIES; i++)
        shoal_tokenizer_close(t[i]);
    assert_int_equal(cases, 372);
    assert_int_equal(right, cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_model),
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Vocabularies of GGUF files give what the tokenizer.json of the same model gives: ids, with and
 * without special tokens, and texts. Golden data: tok/vocab (tok/INDEX.md says what the fields
 * mean). And small files made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/gguf_vocab.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/tokenizer_parts.h"
#include "shard/gguf_tokenizer.h"

#define PATH_BYTES 1024

static const char *golden(const char *name, const char *file, char path[PATH_BYTES])
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, PATH_BYTES, "%s/tok/vocab/%s/%s", root ? root : "../shared/golden", name, file);
    return path;
}

/* A vocab.gguf.gz of the golden vocabularies; gzip is there on every system. */
static shoal_strbuf read_vocab(const char *name)
{
    char path[PATH_BYTES], command[PATH_BYTES + 32], part[65536];
    shoal_strbuf data = {0};
    size_t n;
    snprintf(command, sizeof command, "gzip -dc '%s'", golden(name, "vocab.gguf.gz", path));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while ((n = fread(part, 1, sizeof part, pipe)) > 0)
        assert_int_equal(shoal_strbuf_append(&data, part, n), SHOAL_OK);
    assert_int_equal(pclose(pipe), 0);
    return data;
}

/* The vocabulary of a file: as it is, or by way of the tokenizer.json that is made of it. */
static shoal_tokenizer *open_vocab(const shoal_strbuf *data, bool as_json)
{
    shoal_tokenizer *t = NULL;
    shoal_gguf *gguf;
    json_t *json = NULL;
    char *text = NULL;
    shoal_status st = SHOAL_OK;
    if (as_json) {
        assert_int_equal(shoal_gguf_parse(data->data, data->bytes, data->bytes, &gguf), SHOAL_OK);
        st = shoal_gguf_tokenizer(gguf, &json);
        text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        shoal_gguf_free(gguf);
    }
    if (st == SHOAL_OK)
        st = shoal_tokenizer_open_memory(text ? text : data->data,
                                         text ? strlen(text) : data->bytes, "vocabulary", &t);
    if (st != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    free(text);
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

static void run_vocab(const char *name, bool as_json)
{
    char path[PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    int right = 0, cases = 0;
    shoal_strbuf data = read_vocab(name);
    shoal_tokenizer *t = open_vocab(&data, as_json);
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
    printf("%s%s: %d of %d cases\n", name, as_json ? " as JSON" : "", right, cases);
    shoal_strbuf_free(&data);
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
        for (int as_json = 0; as_json < 2; as_json++)
            run_vocab(names[i], as_json);
}

/* ---- the table of pre-tokenizer names ---- */

/* The words of a text, "~" between them. */
static void cut(const char *pre_name, const char *text, shoal_strbuf *out)
{
    const shoal_gguf_pre *pre;
    shoal_tokenizer t = {0};
    shoal_words words = {0};
    shoal_matcher *matcher;
    assert_int_equal(shoal_gguf_pre_find(pre_name, strlen(pre_name), &pre), SHOAL_OK);
    assert_int_equal(shoal_gguf_pre_apply(pre, &t), SHOAL_OK);
    assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
    assert_int_equal(
        shoal_pretokenizer_run(&t.pretokenizer, matcher, text, strlen(text), true, &words),
        SHOAL_OK);
    for (size_t i = 0; i < words.spans.count; i++) {
        const shoal_span s = words.spans.data[i];
        if (i)
            assert_int_equal(shoal_strbuf_append(out, "~", 1), SHOAL_OK);
        assert_int_equal(shoal_byte_level_decode(words.text.data + s.begin, s.end - s.begin, out),
                         SHOAL_OK);
    }
    shoal_words_free(&words);
    shoal_matcher_free(matcher);
    shoal_decoder_free(&t.decoder);
    shoal_pretokenizer_free(&t.pretokenizer);
    shoal_normalizer_free(&t.normalizer);
}

/* What Python's `regex` makes of the published patterns. */
static void test_pre_names(void **state)
{
    (void)state;
    static const char text[] = "It'S a (b|c), x.y 12345//\n\ne f -\t\n z";
    static const struct {
        const char *name, *words;
    } cases[] = {
        {"bloom", "It'S~ a~ (~b~|~c~),~ x~.~y~ 12345//~\n\n~e~ f~ -~\t\n~ z"},
        {"viking", "It'S~ a~ (~b~|~c~),~ x~.~y~ ~1~2~3~4~5~//~\n\n~e~ f~ -~\t\n~ z"},
        {"bailingmoe", "It~'S~ a~ (~b~|c~),~ x~.y~ ~1~2~3~4~5~//\n\n~e~ f~ -~\t\n~ z"},
        {"seed-coder", "It~'S~ a~ (~b~|c~),~ x~.y~ ~1~2~3~4~5~//~\n\n~e~ f~ -~\t\n~ z"},
        {"exaone-moe", "It~'S~ a~ (~b~|c~),~ x~.y~ ~1~2~3~4~5~//\n~\n~e f~ -~\t\n~ z"},
        {"minicpm5", "It~'S~ a~ (~b~|c~),~ x~.y~ ~123~45~//\n\n~e~ f~ -~\t\n~ z"},
        {"glm4", "It~'S~ a~ (~b~|c~),~ x~.y~ ~123~45~//\n\n~e~ f~ -~\t\n~ z"},
    };
    const shoal_gguf_pre *pre;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shoal_strbuf words = {0};
        cut(cases[i].name, text, &words);
        assert_int_equal(shoal_strbuf_append(&words, "", 1), SHOAL_OK);
        assert_string_equal(words.data, cases[i].words);
        shoal_strbuf_free(&words);
    }
    assert_int_equal(shoal_gguf_pre_find("gpt-22", 6, &pre), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "\"gpt-22\" is none of the"));
    assert_int_equal(shoal_gguf_pre_find("", 0, &pre), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "pre is missing"));
}

/* ---- files made here ---- */

static void put(shoal_strbuf *file, const void *data, size_t bytes)
{
    assert_int_equal(shoal_strbuf_append(file, data, bytes), SHOAL_OK);
}

static void put_number(shoal_strbuf *file, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        put(file, &(char){(char)(unsigned char)(value >> 8 * i & 0xFF)}, 1);
}

static void put_text(shoal_strbuf *file, const char *text)
{
    put_number(file, strlen(text), 8);
    put(file, text, strlen(text));
}

enum { GGUF_INT32 = 5, GGUF_FLOAT = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void put_string(shoal_strbuf *file, const char *key, const char *value)
{
    put_text(file, key);
    put_number(file, GGUF_STRING, 4);
    put_text(file, value);
}

static void put_array(shoal_strbuf *file, const char *key, uint32_t type, size_t count)
{
    put_text(file, key);
    put_number(file, GGUF_ARRAY, 4);
    put_number(file, type, 4);
    put_number(file, count, 8);
}

static void put_strings(shoal_strbuf *file, const char *key, const char *const *texts, size_t count)
{
    put_array(file, key, GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        put_text(file, texts[i]);
}

static void put_header(shoal_strbuf *file, uint64_t entries)
{
    put(file, "GGUF", 4);
    put_number(file, 3, 4);
    put_number(file, 0, 8);
    put_number(file, entries, 8);
}

static void expect_ids(const shoal_tokenizer *t, const char *text, const int32_t *ids, size_t count,
                       const char *back)
{
    shoal_ids got = {0};
    shoal_strbuf decoded = {0};
    assert_int_equal(shoal_tokenizer_encode(t, text, strlen(text), SHOAL_ENCODE_ADD_SPECIAL, &got),
                     SHOAL_OK);
    assert_int_equal(got.count, count);
    assert_memory_equal(got.data, ids, count * sizeof *ids);
    assert_int_equal(shoal_tokenizer_decode(t, got.data, got.count, true, &decoded), SHOAL_OK);
    assert_int_equal(decoded.bytes, strlen(back));
    assert_memory_equal(decoded.data, back, decoded.bytes);
    shoal_strbuf_free(&decoded);
    shoal_ids_free(&got);
}

static void expect_file(shoal_strbuf *file, const char *text, const int32_t *ids, size_t count,
                        const char *back)
{
    for (int as_json = 0; as_json < 2; as_json++) {
        shoal_tokenizer *t = open_vocab(file, as_json);
        expect_ids(t, text, ids, count, back);
        shoal_tokenizer_close(t);
    }
    shoal_strbuf_free(file);
}

/* Old files of the kind "llama" name neither the unknown token nor the first one: they are 0 and 1.
 */
static void test_unnamed_ids(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a"};
    static const int types[] = {2, 3, 3, 1, 1};
    shoal_strbuf file = {0};
    put_header(&file, 4);
    put_string(&file, "tokenizer.ggml.model", "llama");
    put_strings(&file, "tokenizer.ggml.tokens", tokens, 5);
    put_array(&file, "tokenizer.ggml.token_type", GGUF_INT32, 5);
    for (size_t i = 0; i < 5; i++)
        put_number(&file, (uint64_t)types[i], 4);
    put_array(&file, "tokenizer.ggml.scores", GGUF_FLOAT, 5);
    for (size_t i = 0; i < 5; i++)
        put_number(&file, 0, 4);
    expect_file(&file, "az", (const int32_t[]){1, 3, 4, 0}, 4, "a");
}

/* Pairs of characters are joined, also across spaces; what has no token becomes bytes. */
static void test_characters(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>",        "<bos>",         "<eos>",  "a",
                                         "\xE2\x96\x81", "a\xE2\x96\x81", "<0xC3>", "<0xA9>"};
    static const char *const merges[] = {"a \xE2\x96\x81"};
    static const int types[] = {2, 3, 3, 1, 1, 1, 6, 6};
    shoal_strbuf file = {0};
    put_header(&file, 5);
    put_string(&file, "tokenizer.ggml.model", "gemma4");
    put_strings(&file, "tokenizer.ggml.tokens", tokens, 8);
    put_strings(&file, "tokenizer.ggml.merges", merges, 1);
    put_array(&file, "tokenizer.ggml.token_type", GGUF_INT32, 8);
    for (size_t i = 0; i < 8; i++)
        put_number(&file, (uint64_t)types[i], 4);
    put_text(&file, "tokenizer.ggml.bos_token_id");
    put_number(&file, GGUF_INT32, 4);
    put_number(&file, 1, 4);
    expect_file(&file, "a a\xC3\xA9", (const int32_t[]){1, 5, 3, 6, 7}, 5, "a a\xC3\xA9");
}

/* Byte-level pieces; special tokens and those of users; a row that no token uses. */
static shoal_strbuf made_pieces(const char *merge)
{
    static const char *const tokens[] = {"a",          "b",     "ab",  "\304\240",
                                         "\304\240ab", "<|x|>", "<u>", "[PAD7]"};
    static const int types[] = {1, 1, 1, 1, 1, 3, 4, 1};
    const char *const merges[] = {"a b", merge};
    shoal_strbuf file = {0};
    put_header(&file, 6);
    put_string(&file, "tokenizer.ggml.model", "gpt2");
    put_string(&file, "tokenizer.ggml.pre", "llama-bpe");
    put_strings(&file, "tokenizer.ggml.tokens", tokens, 8);
    put_strings(&file, "tokenizer.ggml.merges", merges, 2);
    put_array(&file, "tokenizer.ggml.token_type", GGUF_INT32, 8);
    for (size_t i = 0; i < 8; i++)
        put_number(&file, (uint64_t)types[i], 4);
    put_text(&file, "tokenizer.ggml.bos_token_id");
    put_number(&file, GGUF_INT32, 4);
    put_number(&file, 5, 4);
    return file;
}

static void test_pieces(void **state)
{
    (void)state;
    shoal_strbuf file = made_pieces("\xC4\xA0 ab");
    expect_file(&file, "ab ab<u>b<|x|>a", (const int32_t[]){5, 2, 4, 6, 1, 5, 0}, 7, "ab ab<u>ba");
}

/* What no tokenizer.json can say has a sentence, not a file that says something else. */
static void test_no_json(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } changes[] = {
        {"llama-bpe", "nobody-xx", "\"nobody-xx\" is none of the"},
        {"gpt2", "bert", "none of gpt2, llama and gemma4"},
    };
    for (size_t i = 0; i < 2; i++) {
        shoal_strbuf file = made_pieces("\xC4\xA0 ab");
        shoal_gguf *gguf;
        json_t *json = NULL;
        char *at = memmem(file.data, file.bytes, changes[i].from, strlen(changes[i].from));
        assert_non_null(at);
        memcpy(at, changes[i].to, strlen(changes[i].from));
        assert_int_equal(shoal_gguf_parse(file.data, file.bytes, file.bytes, &gguf), SHOAL_OK);
        assert_int_equal(shoal_gguf_tokenizer(gguf, &json), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), changes[i].says));
        shoal_gguf_free(gguf);
        shoal_strbuf_free(&file);
    }
    shoal_strbuf file = made_pieces("b ab"); /* "bab" is no token */
    shoal_gguf *gguf;
    json_t *json = NULL;
    assert_int_equal(shoal_gguf_parse(file.data, file.bytes, file.bytes, &gguf), SHOAL_OK);
    assert_int_equal(shoal_gguf_tokenizer(gguf, &json), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "merge 1 is not of two tokens to one"));
    shoal_gguf_free(gguf);
    shoal_strbuf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_pre_names),
        cmocka_unit_test(test_unnamed_ids), cmocka_unit_test(test_characters),
        cmocka_unit_test(test_pieces),      cmocka_unit_test(test_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

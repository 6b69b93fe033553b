/* SentencePiece models against what the sentencepiece library said of four trained ones (golden
 * data: tok/sentencepiece; tok/INDEX.md says what the fields mean), the rules of model folders, and
 * what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "coordinator/text/tokenizer_parts.h"

#define PATH_BYTES 1024

static const char *golden(const char *name, const char *ending, char path[PATH_BYTES])
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(path, PATH_BYTES, "%s/tok/sentencepiece/%s%s", root ? root : "../shared/golden", name,
             ending);
    return path;
}

/* ---- one case ---- */

static bool same_text(const char *got, size_t bytes, const json_t *want)
{
    return bytes == json_string_length(want) &&
           (bytes == 0 || memcmp(got, json_string_value(want), bytes) == 0);
}

static bool same_ids(const shoal_ids *got, const json_t *want)
{
    bool same = got->count == json_array_size(want);
    for (size_t i = 0; same && i < got->count; i++)
        same = got->data[i] == json_integer_value(json_array_get(want, i));
    return same;
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

static bool normalizes(const shoal_tokenizer *t, const json_t *text, const json_t *want)
{
    shoal_strbuf out = {0};
    const shoal_status st = shoal_normalizer_run(&t->normalizer, NULL, json_string_value(text),
                                                 json_string_length(text), &out);
    const bool same = st == SHOAL_OK && same_text(out.data, out.bytes, want);
    shoal_strbuf_free(&out);
    return same;
}

/* The whole text, and one token after the other; the pieces by name. */
static bool decodes(const shoal_tokenizer *t, const json_t *ids, const json_t *pieces,
                    const json_t *want)
{
    shoal_ids list = {0};
    shoal_strbuf whole = {0}, stepwise = {0};
    shoal_detok *detok;
    const char *text;
    size_t bytes;
    bool same = true;
    assert_int_equal(shoal_detok_create(t, true, &detok), SHOAL_OK);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        const char *piece = shoal_tokenizer_piece(t, id, &bytes);
        same = same && same_text(piece, bytes, json_array_get(pieces, i));
        assert_int_equal(shoal_ids_push(&list, id), SHOAL_OK);
        assert_int_equal(shoal_detok_push(detok, id, &text, &bytes), SHOAL_OK);
        assert_int_equal(shoal_strbuf_append(&stepwise, text, bytes), SHOAL_OK);
    }
    assert_int_equal(shoal_detok_flush(detok, &text, &bytes), SHOAL_OK);
    assert_int_equal(shoal_strbuf_append(&stepwise, text, bytes), SHOAL_OK);
    assert_int_equal(shoal_tokenizer_decode(t, list.data, list.count, false, &whole), SHOAL_OK);
    same = same && same_text(whole.data, whole.bytes, want) &&
           same_text(stepwise.data, stepwise.bytes, want);
    shoal_detok_destroy(detok);
    shoal_strbuf_free(&stepwise);
    shoal_strbuf_free(&whole);
    shoal_ids_free(&list);
    return same;
}

static bool holds(const shoal_tokenizer *t, const json_t *row)
{
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    return normalizes(t, text, json_object_get(row, "normalized")) && encodes(t, text, 0, ids) &&
           encodes(t, text, SHOAL_ENCODE_ADD_SPECIAL, json_object_get(row, "ids_bos_eos")) &&
           decodes(t, ids, json_object_get(row, "pieces"), json_object_get(row, "decoded"));
}

/* ---- the models ---- */

static void run_model(const char *name)
{
    char path[PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    int right = 0, cases = 0;
    shoal_tokenizer *t;
    assert_int_equal(shoal_tokenizer_open(golden(name, ".model", path), &t), SHOAL_OK);
    FILE *f = fopen(golden(name, ".cases.jsonl", path), "r");
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
    assert_true(cases > 800);
    assert_int_equal(right, cases);
}

static void test_golden(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    FILE *f = fopen(golden("bpe", ".model", path), "r");
    if (!f) {
        printf("skipped: no golden data\n");
        skip();
    }
    fclose(f);
    run_model("unigram");
    run_model("unigram-nobyte");
    run_model("bpe");
    run_model("bpe-noprefix");
}

/* ---- a folder ---- */

static void write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void expect_ids(const shoal_tokenizer *t, const char *text, const int32_t *want,
                       size_t count)
{
    shoal_ids ids = {0};
    assert_int_equal(shoal_tokenizer_encode(t, text, strlen(text), SHOAL_ENCODE_ADD_SPECIAL, &ids),
                     SHOAL_OK);
    assert_int_equal(ids.count, count);
    assert_memory_equal(ids.data, want, count * sizeof *want);
    shoal_ids_free(&ids);
}

/* Pieces <unk> <s> </s> a U+2581 U+2581a; byte pairs, a space in front. */
static const char model[] = "\x0A\x09\x0A\x05<unk>\x18\x02"
                            "\x0A\x07\x0A\x03<s>\x18\x03"
                            "\x0A\x08\x0A\x04</s>\x18\x03"
                            "\x0A\x03\x0A\x01"
                            "a"
                            "\x0A\x05\x0A\x03\xE2\x96\x81"
                            "\x0A\x06\x0A\x04\xE2\x96\x81"
                            "a"
                            "\x12\x02\x18\x02";

/* By itself special tokens in a text are text; in a folder they count, and its files say what is
 * put around, and which tokens are added. */
static void test_folder(void **state)
{
    static const char config[] = "{\"add_bos_token\": false, \"add_eos_token\": true, "
                                 "\"added_tokens_decoder\": {\"7\": {\"content\": \"<x>\", "
                                 "\"rstrip\": true, \"special\": true}}}";
    static const char added[] = "{\"<y>\": 6}";
    char folder[] = "/tmp/shoal-sentencepiece-XXXXXX", path[PATH_BYTES];
    shoal_tokenizer *t;
    (void)state;
    assert_int_equal(shoal_tokenizer_open_memory(model, sizeof model - 1, "model", &t), SHOAL_OK);
    expect_ids(t, "a<s>", (const int32_t[]){1, 5, 0, 2}, 4);
    shoal_tokenizer_close(t);

    assert_non_null(mkdtemp(folder));
    write_file(folder, "tokenizer.model", model, sizeof model - 1);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_OK);
    expect_ids(t, "a<s>a", (const int32_t[]){1, 5, 1, 5}, 4);
    shoal_tokenizer_close(t);

    write_file(folder, "tokenizer_config.json", config, sizeof config - 1);
    write_file(folder, "added_tokens.json", added, sizeof added - 1);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_OK);
    expect_ids(t, "a<x>  a<y> a", (const int32_t[]){5, 7, 5, 6, 5, 2}, 6);
    shoal_tokenizer_close(t);

    write_file(folder, "added_tokens.json", "{\"<y>\": 0}", 10);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_ERR_DATA);
    static const char *const names[] = {"/tokenizer.model", "/tokenizer_config.json",
                                        "/added_tokens.json", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
}

/* ---- user-defined pieces ---- */

/* A tenth for the second byte of "bc" makes "a", "bc" more than "abc". */
static void test_user_score(void **state)
{
    (void)state;
    static const char pieces[] = "\x0A\x09\x0A\x05<unk>\x18\x02"
                                 "\x0A\x08\x0A\x01"
                                 "a\x15\x00\x00\x40\xC0"
                                 "\x0A\x06\x0A\x02"
                                 "bc\x18\x04"
                                 "\x0A\x0A\x0A\x03"
                                 "abc\x15\x00\x00\x40\xC0";
    shoal_tokenizer *t;
    assert_int_equal(shoal_tokenizer_open_memory(pieces, sizeof pieces - 1, "model", &t), SHOAL_OK);
    expect_ids(t, "abc", (const int32_t[]){0, 1, 2}, 3);
    shoal_tokenizer_close(t);
}

/* ---- what is refused ---- */

static void refuse(const char *data, size_t bytes, const char *says)
{
    shoal_tokenizer *t;
    assert_int_equal(shoal_tokenizer_open_memory(data, bytes, "model", &t), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), says))
        fail_msg("\"%s\" does not say \"%s\"", shoal_error_text(), says);
}
#define REFUSE(text, says) refuse(text, sizeof(text) - 1, says)

static void test_refused(void **state)
{
    (void)state;
#define UNK "\x0A\x09\x0A\x05<unk>\x18\x02"
    refuse(model, sizeof model - 2, "not a SentencePiece model");
    REFUSE("\x12\x02\x18\x02", "0 pieces");
    REFUSE("\x0A\x03\x0A\x01"
           "a",
           "no unknown piece");
    REFUSE(UNK "\x0A\x05\x0A\x01"
               "b\x18\x02",
           "both the unknown one");
    REFUSE(UNK "\x0A\x05\x0A\x01"
               "b\x18\x09",
           "unknown type 9");
    REFUSE(UNK "\x0A\x02\x0A\x00", "piece 1 is empty");
    REFUSE(UNK "\x0A\x03\x0A\x01\xFF", "not UTF-8");
    REFUSE(UNK "\x0A\x08\x0A\x01"
               "b\x15\x00\x00\xC0\x7F",
           "not finite");
    REFUSE(UNK "\x12\x02\x18\x03", "kind WORD");
    REFUSE(UNK "\x1A\x05\x12\x03"
               "abc",
           "charsmap");
    REFUSE(UNK "\x2A\x05\x12\x03"
               "abc",
           "denormalizer");
}

/* Too many pieces are refused before memory is taken for them. */
static void test_many_pieces(void **state)
{
    (void)state;
    const size_t pieces = (4u << 20) + 1;
    char *data = calloc(pieces, 2);
    assert_non_null(data);
    for (size_t i = 0; i < pieces; i++)
        data[2 * i] = 0x0A;
    refuse(data, 2 * pieces, "a model of 4194305 pieces (limit 1 to 4194304)");
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_folder),
        cmocka_unit_test(test_user_score),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

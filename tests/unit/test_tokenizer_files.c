/* tokenizer.json files made by hand: what each member does, what is refused and with which
 * sentence, and what happens when memory runs out. No golden data. */
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

#include "coordinator/text/tokenizer.h"
#include "proto/arena.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static shoal_status open_text(const char *json, shoal_tokenizer **out)
{
    return shoal_tokenizer_open_memory(json, strlen(json), "made.json", out);
}

static shoal_tokenizer *opened(const char *json)
{
    shoal_tokenizer *t = NULL;
    if (open_text(json, &t) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return t;
}

/* Encode, write the pieces with a blank between them, and check. */
static void expect_pieces(const shoal_tokenizer *t, const char *text, size_t bytes, unsigned flags,
                          const char *want)
{
    shoal_ids ids = {0};
    shoal_strbuf got = {0};
    assert_int_equal(shoal_tokenizer_encode(t, text, bytes, flags, &ids), SHOAL_OK);
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        const char *piece = shoal_tokenizer_piece(t, ids.data[i], &length);
        assert_non_null(piece);
        assert_int_equal(shoal_tokenizer_find(t, piece, length), ids.data[i]);
        assert_int_equal(shoal_strbuf_append(&got, " ", i > 0), SHOAL_OK);
        assert_int_equal(shoal_strbuf_append(&got, piece, length), SHOAL_OK);
    }
    assert_int_equal(shoal_strbuf_append(&got, "", 1), SHOAL_OK);
    assert_string_equal(got.data, want);
    shoal_strbuf_free(&got);
    shoal_ids_free(&ids);
}

/* ---- what members do ---- */

#define VOCAB                                                                                      \
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u0120ab\":4,\"\\u0100\":5,"             \
    "\"\\u00c3\":6,\"\\u00a9\":7,\"-\":8,\"1\":9,\"abb\":10}"
#define MERGES "\"merges\":[\"a b\",[\"\\u0120\",\"ab\"]]"
#define MODEL  "\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "}"
#define BYTES(prefix, regex)                                                                       \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix ",\"trim_offsets\":true,"               \
    "\"use_regex\":" regex "}"
#define DECODER "\"decoder\":{\"type\":\"ByteLevel\"}"

static void test_byte_level(void **state)
{
    (void)state;
    shoal_tokenizer *t =
        opened("{\"pre_tokenizer\":" BYTES("false", "true") "," DECODER "," MODEL "}");
    expect_pieces(t, TEXT("ab ab\0b"), 0,
                  "ab \xC4\xA0"
                  "ab \xC4\x80 b");
    expect_pieces(t, TEXT("a\xC3\xA9"), 0, "a \xC3\x83 \xC2\xA9");
    expect_pieces(t, TEXT(""), SHOAL_ENCODE_ADD_SPECIAL, "");
    expect_pieces(t, TEXT("bxb"), 0, "b b"); /* x has no token and there is no unknown token */
    assert_int_equal(shoal_tokenizer_size(t), 11);
    assert_int_equal(shoal_tokenizer_count(t), 11);
    shoal_tokenizer_close(t);

    t = opened("{\"pre_tokenizer\":" BYTES("true", "true") "," DECODER "," MODEL "}");
    expect_pieces(t, TEXT("ab"), 0,
                  "\xC4\xA0"
                  "ab");
    shoal_tokenizer_close(t);
}

static void test_pre_tokenizers(void **state)
{
    (void)state;
    shoal_tokenizer *t = opened(
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
        "{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"Removed\","
        "\"invert\":false},"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a(?=b1)\"},\"behavior\":\"Isolated\"},"
        "{\"type\":\"Digits\",\"individual_digits\":true},"
        "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES("false", "false") "]}]}," MODEL "}");
    expect_pieces(t, TEXT("a-bab1ab"), 0, "a b a b 1 ab");
    shoal_tokenizer_close(t);
}

static void test_normalizer(void **state)
{
    (void)state;
    /* An e with an accent of its own becomes one character, and its two bytes two tokens. */
    shoal_tokenizer *t =
        opened("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
               "\"NFC\"}]},\"pre_tokenizer\":" BYTES("false", "false") "," MODEL "}");
    expect_pieces(t, TEXT("e\xCC\x81"), 0, "\xC3\x83 \xC2\xA9");
    shoal_tokenizer_close(t);
}

#define ADDED(id, content, more) "{\"id\":" id ",\"content\":\"" content "\"" more "}"

#define ADDED_BEGIN ADDED("11", "<s>", ",\"special\":true")
#define ADDED_END   ADDED("12", "</s>", ",\"special\":true,\"normalized\":false")
#define ADDED_WORD  ADDED("10", "abb", "")
#define ADDED_X     ADDED("14", "<x>", ",\"special\":false,\"rstrip\":true")
#define ALL_ADDED   "\"added_tokens\":[" ADDED_BEGIN "," ADDED_END "," ADDED_WORD "," ADDED_X "]"
#define BYTES_PRE   "\"pre_tokenizer\":" BYTES("false", "true")
/* S in front, twice E behind, inside a Sequence. */
#define TEMPLATE                                                                                   \
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"          \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\",\"type_id\":0}}" \
    ","                                                                                            \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}}]" \
    ","                                                                                            \
    "\"special_tokens\":{\"S\":{\"id\":\"S\",\"ids\":[11],\"tokens\":[\"<s>\"]},"                  \
    "\"E\":{\"id\":\"E\",\"ids\":[12,12],\"tokens\":[]}}}]}"

static void test_added_and_post(void **state)
{
    (void)state;
    shoal_tokenizer *t = opened("{" ALL_ADDED "," BYTES_PRE "," DECODER "," TEMPLATE "," MODEL "}");
    expect_pieces(t, TEXT("ab"), SHOAL_ENCODE_ADD_SPECIAL, "<s> ab </s> </s>");
    expect_pieces(t, TEXT("a</s>b"), 0, "a </s> b");
    expect_pieces(t, TEXT("a</s>b"), SHOAL_ENCODE_PLAIN, "a b"); /* <, /, s and > have no token */
    expect_pieces(t, TEXT("babb<x>  b"), 0, "b abb <x> b");
    assert_int_equal(shoal_tokenizer_size(t), 15); /* 13 is a hole */
    assert_int_equal(shoal_tokenizer_count(t), 14);
    assert_true(shoal_tokenizer_is_special(t, 11) && !shoal_tokenizer_is_special(t, 14));
    assert_false(shoal_tokenizer_is_special(t, 13) || shoal_tokenizer_is_special(t, -1));
    size_t bytes;
    assert_null(shoal_tokenizer_piece(t, 13, &bytes));
    assert_null(shoal_tokenizer_piece(t, 15, &bytes));
    assert_null(shoal_tokenizer_piece(t, INT64_MIN, &bytes));

    static const int32_t ids[] = {11, 4, 13, -5, 99, 6, 14, 6, 7, 12, 6};
    shoal_strbuf text = {0};
    assert_int_equal(shoal_tokenizer_decode(t, ids, 11, true, &text), SHOAL_OK);
    assert_int_equal(text.bytes, strlen(" ab\xEF\xBF\xBD<x>\xC3\xA9\xEF\xBF\xBD"));
    assert_memory_equal(text.data, " ab\xEF\xBF\xBD<x>\xC3\xA9\xEF\xBF\xBD", text.bytes);
    text.bytes = 0;
    assert_int_equal(shoal_tokenizer_decode(t, ids, 2, false, &text), SHOAL_OK);
    assert_memory_equal(text.data, "<s> ab", 6);
    shoal_strbuf_free(&text);
    shoal_tokenizer_close(t);
}

/* Without a decoder pieces are shown as they are; without a pre-tokenizer a text is one word. */
static void test_bare_model(void **state)
{
    (void)state;
    shoal_tokenizer *t = opened("{\"decoder\":null,\"model\":{" VOCAB ",\"merges\":[\"#version: "
                                "0.2\",\"a b\"],\"unk_token\":\"-\",\"dropout\":0.0}}");
    static const int32_t ids[] = {2, 0, 1};
    shoal_strbuf text = {0};
    shoal_detok *d;
    const char *sent;
    size_t bytes;
    expect_pieces(t, TEXT("ab z"), 0, "ab - -");
    assert_int_equal(shoal_tokenizer_decode(t, ids, 3, false, &text), SHOAL_OK);
    assert_int_equal(text.bytes, 6);
    assert_memory_equal(text.data, "ab a b", 6);
    assert_int_equal(shoal_detok_create(t, false, &d), SHOAL_OK);
    assert_int_equal(shoal_detok_push(d, 2, &sent, &bytes), SHOAL_OK);
    assert_int_equal(bytes, 2);
    assert_int_equal(shoal_detok_push(d, 0, &sent, &bytes), SHOAL_OK);
    assert_int_equal(bytes, 2);
    assert_memory_equal(sent, " a", 2);
    shoal_detok_destroy(d);
    shoal_strbuf_free(&text);
    shoal_tokenizer_close(t);
}

/* Failure leaves the caller's ids alone. */
static void test_bad_text(void **state)
{
    (void)state;
    shoal_tokenizer *t = opened("{" MODEL "}");
    shoal_ids ids = {0};
    assert_int_equal(shoal_ids_push(&ids, 42), SHOAL_OK);
    assert_int_equal(shoal_tokenizer_encode(t, TEXT("ab\xC3"), 0, &ids), SHOAL_ERR_DATA);
    assert_string_equal(shoal_error_text(), "the text is not UTF-8 at byte 2");
    assert_int_equal(ids.count, 1);
    assert_int_equal(shoal_tokenizer_encode(t, TEXT("ab"), 0, &ids), SHOAL_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.data[0], 42);
    shoal_ids_free(&ids);
    shoal_tokenizer_close(t);
}

/* ---- what is refused ---- */

typedef struct {
    const char *json, *sentence;
} bad_case;

#define WITH(member) "{" member "," MODEL "}"
#define PRE(json)    WITH("\"pre_tokenizer\":" json)
#define POST(json)   WITH("\"post_processor\":" json)
#define TOKENS(list) WITH("\"added_tokens\":[" list "]")
#define BPE(members) "{\"model\":{\"type\":\"BPE\"," members "}}"

static const bad_case bad[] = {
    {"", "line 1"},
    {"[]", "not a JSON object"},
    {"{\"model\":", "line 1"},
    {"{}", "\"model\" must be an object"},
    {"{\"model\":[]}", "\"model\" must be an object"},
    {"{\"model\":{}}", "\"type\" must be a name"},
    {"{\"model\":{\"type\":\"Bigram\",\"vocab\":[]}}", "\"Bigram\" is unsupported"},
    {"{\"model\":{\"type\":\"BP\\u0000E\"}}", "\"type\" must be a name"},
    {BPE("\"vocab\":[]," MERGES), "\"vocab\" must be an object"},
    {BPE("\"vocab\":{}," MERGES), "0 tokens"},
    {BPE(VOCAB), "\"merges\" must be an array"},
    {BPE(VOCAB ",\"merges\":{}"), "\"merges\" must be an array"},
    {BPE("\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]"), "\"a\" has two ids, 0 and 1"},
    {BPE("\"vocab\":{\"a\":0,\"a\":0},\"merges\":[]"), "\"a\" is there twice"},
    {BPE("\"vocab\":{\"a\":0},\"vocab\":{\"a\":0},\"merges\":[]"), "duplicate"},
    {BPE("\"vocab\":{\"a\":0]},\"merges\":[]"), "line 1"},
    {BPE("\"vocab\":{\"a\" 0},\"merges\":[]"), "line 1"},
    {BPE("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), "id 0 is given to two tokens"},
    {BPE("\"vocab\":{\"a\":\"0\"},\"merges\":[]"), "\"a\" is no integer"},
    {BPE("\"vocab\":{\"a\":-1},\"merges\":[]"), "\"a\" has id -1"},
    {BPE("\"vocab\":{\"a\":4194304},\"merges\":[]"), "\"a\" has id 4194304"},
    {BPE("\"vocab\":{\"a\":4294967296},\"merges\":[]"), "\"a\" has id 4294967296"},
    {BPE("\"vocab\":{\"a\":1e3},\"merges\":[]"), "\"a\" is no integer"},
    {BPE("\"vocab\":{\"a\":99999999999999999999},\"merges\":[]"), "\"a\" is no integer"},
    {BPE("\"vocab\":{\"a\":70000},\"merges\":[]"), "far above the 1 tokens"},
    {BPE("\"vocab\":{\"\\ud800\":0},\"merges\":[]"), "line 1"},
    {BPE("\"vocab\":{\"a\xFF\":0},\"merges\":[]"), "line 1"},
    {BPE(VOCAB ",\"merges\":[\"a c\"]"), "merge 0 names \"c\""},
    {BPE(VOCAB ",\"merges\":[\"a b\",\"b a\"]"), "merge 1 names \"ba\""},
    {BPE(VOCAB ",\"merges\":[[\"zz\",\"a\"]]"), "merge 0 names \"zz\""},
    {BPE(VOCAB ",\"merges\":[\"ab\"]"), "merge 0 is neither"},
    {BPE(VOCAB ",\"merges\":[\"a b c\"]"), "merge 0 is neither"},
    {BPE(VOCAB ",\"merges\":[[\"a\"]]"), "merge 0 is neither"},
    {BPE(VOCAB ",\"merges\":[[\"a\",1]]"), "merge 0 is neither"},
    {BPE(VOCAB ",\"merges\":[7]"), "merge 0 is neither"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", "\"vocab\" must be an array"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"b\"]]}}", "vocab[1] is not"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", "vocab[0] is not"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",01]]}}", "vocab[0] is not"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1],[\"a\",2]]}}", "two ids, 0 and 1"},
    {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\"," VOCAB "}}", "WordPiece without"},
    {BPE(VOCAB ",\"merges\":[],\"unk_token\":7"), "\"unk_token\" must be a string"},
    {BPE(VOCAB ",\"merges\":[],\"dropout\":0.1"), "dropout is unsupported"},
    {BPE(VOCAB ",\"merges\":[],\"byte_fallback\":\"yes\""), "true or false"},
    {BPE(VOCAB ",\"merges\":[[\"a\",\"b\"]],\"continuing_subword_prefix\":\"##\""),
     "merge 0 names \"b\""},
    {TOKENS("1"), "added_tokens[0]: must be an object"},
    {TOKENS("{}"), "added_tokens[0]: \"id\""},
    {TOKENS("{\"id\":11}"), "\"content\" must be a string"},
    {TOKENS(ADDED("11", "<s>", "") "," ADDED("11", "<t>", "")), "\"<s>\" and \"<t>\""},
    {TOKENS(ADDED("3", "<s>", "")), "id 3 is given to two tokens"},
    {TOKENS(ADDED("11", "ab", "")), "\"ab\" has two ids, 2 and 11"},
    {TOKENS(ADDED("-1", "<s>", "")), "\"<s>\" has id -1"},
    {TOKENS(ADDED("9000000", "<s>", "")), "\"<s>\" has id 9000000"},
    {TOKENS(ADDED("9000000000000", "<s>", "")), "\"<s>\" has id 9000000000000"},
    {TOKENS(ADDED("100000", "<s>", "")), "far above"},
    {TOKENS(ADDED("11", "<s>", ",\"special\":1")), "\"special\" must be true or false"},
    {WITH("\"added_tokens\":{}"), "must be an array"},
    {WITH("\"normalizer\":7"), "normalizer: must be an object"},
    {WITH("\"normalizer\":{\"type\":\"Shout\"}"), "normalizer: type \"Shout\" is unsupported"},
    {PRE("{\"type\":\"UnicodeScripts\"}"), "type \"UnicodeScripts\" is unsupported"},
    {PRE("{\"type\":\"Sequence\"}"), "\"pretokenizers\" must be an array"},
    {PRE("{\"type\":\"Split\",\"behavior\":\"Sideways\"}"), "\"Sideways\" is unknown"},
    {PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Glob\":\"*\"}}"),
     "neither Regex nor String"},
    {PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(a\"}}"),
     "\"(a\" is unsupported"},
    {PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"[a&&b]\"}}"),
     "intersection"},
    {PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"String\":\"\"}}"),
     "0 bytes"},
    {POST("{\"type\":\"Magic\"}"), "post_processor: type \"Magic\" is unsupported"},
    {POST("{\"type\":\"TemplateProcessing\",\"single\":[]}"), "the text once"},
    {POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}"),
     "the text once"},
    {POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\"}}],"
          "\"special_tokens\":{}}"),
     "\"S\" must be an object"},
    {POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\"}}],"
          "\"special_tokens\":{\"S\":{\"ids\":[77]}}}"),
     "\"S\" has id 77, which is no token"},
    {POST("{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",500],\"sep\":[\"</s>\",2]}"),
     "\"<s>\" has id 500"},
    {WITH("\"decoder\":{\"type\":\"CTC\"}"), "decoder: type \"CTC\" is unsupported"},
    {WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
          "{\"type\":\"ByteFallback\"}]}"),
     "behind ByteLevel or Fuse"},
};

static void test_refusals(void **state)
{
    (void)state;
    const uint64_t live = shoal_mem_live(SHOAL_MEM_TEXT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shoal_tokenizer *t = NULL;
        const shoal_status st = open_text(bad[i].json, &t);
        if (st != SHOAL_ERR_DATA || t || strncmp(shoal_error_text(), "made.json: ", 11) != 0 ||
            !strstr(shoal_error_text(), bad[i].sentence))
            fail_msg("%s\ngives %d \"%s\"", bad[i].json, st, shoal_error_text());
    }
    assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), live);
}

/* `count` times `unit` between `head` and `tail`. */
static void expect_bad_bulk(const char *head, const char *unit, size_t count, const char *tail,
                            const char *sentence)
{
    shoal_strbuf json = {0};
    shoal_tokenizer *t = NULL;
    assert_int_equal(shoal_strbuf_append(&json, head, strlen(head)), SHOAL_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(shoal_strbuf_append(&json, unit, strlen(unit)), SHOAL_OK);
    assert_int_equal(shoal_strbuf_append(&json, tail, strlen(tail)), SHOAL_OK);
    assert_int_equal(shoal_tokenizer_open_memory(json.data, json.bytes, "bulk.json", &t),
                     SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), sentence))
        fail_msg("%s", shoal_error_text());
    shoal_strbuf_free(&json);
}

static void test_limits(void **state)
{
    (void)state;
    expect_bad_bulk("{\"model\":{" VOCAB ",\"merges\":[", "null,", 4 << 20, "null]}}",
                    "4194305 merges (limit 4194304)");
    expect_bad_bulk("{\"model\":{\"vocab\":{\"", "x", (4 << 10) + 1, "\":0},\"merges\":[]}}",
                    "4097 bytes (limit 4096)");
    expect_bad_bulk("{\"model\":", "[", 100000, "", "depth");
    expect_bad_bulk("{\"added_tokens\":[", "[],", 1 << 20, "[]]," MODEL "}",
                    "values beside vocabulary and merges (limit 1048576)");
    expect_bad_bulk("{\"pre_tokenizer\":", "{\"type\":\"Sequence\",\"pretokenizers\":[", 12,
                    "]}]}]}]}]}]}]}]}]}]}]}]}," MODEL "}", "nested more than 8 deep");
    expect_bad_bulk("{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[",
                    "{\"type\":\"Digits\"},", 64, "{\"type\":\"Digits\"}]}," MODEL "}",
                    "more than 64 pre-tokenizer steps");
    expect_bad_bulk("{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Removed\",\"pattern\":{"
                    "\"Regex\":\"",
                    "(", 5000, "\"}}," MODEL "}", "is unsupported");
}

/* Steps that multiply a text are stopped before it fills the memory. */
static void expect_growth(const char *json, const char *text, bool encodes)
{
    shoal_tokenizer *t;
    shoal_ids ids = {0};
    shoal_strbuf back = {0};
    if (open_text(json, &t) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    const shoal_status st = shoal_tokenizer_encode(t, text, strlen(text), 0, &ids);
    assert_int_equal(st, encodes ? SHOAL_OK : SHOAL_ERR_DATA);
    if (encodes)
        assert_int_equal(shoal_tokenizer_decode(t, ids.data, ids.count, false, &back),
                         SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "longer than it may become"));
    shoal_ids_free(&ids);
    shoal_strbuf_free(&back);
    shoal_tokenizer_close(t);
}

#define TIMES8(x)   x "," x "," x "," x "," x "," x "," x "," x
#define BYTES_STEP  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define EIGHTFOLD   "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaa\"}"
#define SEQUENCE(x) "{\"type\":\"Sequence\"," x "}"

static void test_growth(void **state)
{
    (void)state;
    expect_growth(WITH("\"normalizer\":" SEQUENCE("\"normalizers\":[" TIMES8(EIGHTFOLD) "]")), "a",
                  false);
    expect_growth(PRE(SEQUENCE("\"pretokenizers\":[" TIMES8(BYTES_STEP) "," TIMES8(
                      BYTES_STEP) "," TIMES8(BYTES_STEP) "]")),
                  "\xC3\xA9", false);
    expect_growth(WITH("\"decoder\":" SEQUENCE("\"decoders\":[" TIMES8(EIGHTFOLD) "]")), "a", true);
}

static void test_paths(void **state)
{
    (void)state;
    shoal_tokenizer *t = NULL;
    char folder[] = "/tmp/shoal-tokenizer-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_ERR_NOTFOUND);
    assert_non_null(strstr(shoal_error_text(), path));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_ERR_DATA);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(shoal_tokenizer_open(path, &t), SHOAL_ERR_DATA);
    assert_int_equal(unlink(path), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{" MODEL "}", f);
    fclose(f);
    assert_int_equal(shoal_tokenizer_open(folder, &t), SHOAL_OK);
    shoal_tokenizer_close(t);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- memory ---- */

static shoal_status use_all(const char *json)
{
    shoal_status st;
    shoal_tokenizer *t = NULL;
    shoal_ids ids = {0};
    shoal_strbuf text = {0};
    shoal_detok *d = NULL;
    const char *sent;
    size_t bytes;
    SHOAL_TRY_GOTO(open_text(json, &t), done);
    SHOAL_TRY_GOTO(shoal_tokenizer_encode(t, TEXT("ab <s>e\xCC\x81 ab"), 1, &ids), done);
    SHOAL_TRY_GOTO(shoal_tokenizer_decode(t, ids.data, ids.count, false, &text), done);
    SHOAL_TRY_GOTO(shoal_detok_create(t, false, &d), done);
    for (size_t i = 0; i < ids.count; i++)
        SHOAL_TRY_GOTO(shoal_detok_push(d, ids.data[i], &sent, &bytes), done);
    st = shoal_detok_flush(d, &sent, &bytes);
done:
    shoal_detok_destroy(d);
    shoal_strbuf_free(&text);
    shoal_ids_free(&ids);
    shoal_tokenizer_close(t);
    return st;
}

/* Every kind of model, and steps that own something. */
#define STEPS                                                                                      \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"_" \
    "\"},"                                                                                         \
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" "                                             \
    "+\"},\"content\":\"_\"}]},\"pre_tokenizer\":{"                                                \
    "\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"},\"decoder\":{"     \
    "\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Metaspace\",\"replacement\":\"_\"},{"         \
    "\"type\":"                                                                                    \
    "\"Replace\",\"pattern\":{\"Regex\":\"b\"},\"content\":\"c\"},{\"type\":\"ByteFallback\"},{"   \
    "\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"_\",\"start\":1,\"stop\":1}]},"
#define WHOLE_VOCAB "\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"_a\":1,\"\\u005fab\":2}}}"

static const char *const every_kind[] = {
    "{\"normalizer\":{\"type\":\"NFC\"}," ALL_ADDED "," BYTES_PRE "," DECODER "," TEMPLATE "," MODEL
    "}",
    "{" STEPS "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"_a\",-1.5]]}}",
    "{" STEPS "\"model\":{\"type\":\"WordPiece\"," WHOLE_VOCAB,
    "{" STEPS "\"model\":{\"type\":\"WordLevel\"," WHOLE_VOCAB,
};

/* Whichever allocation fails, there is one sentence and nothing is left behind. */
static void test_out_of_memory(void **state)
{
    (void)state;
    const uint64_t live = shoal_mem_live(SHOAL_MEM_TEXT);
    for (size_t i = 0; i < sizeof every_kind / sizeof every_kind[0]; i++) {
        shoal_status st = SHOAL_ERR_TEMPORARY;
        uint64_t n = 0;
        while (st != SHOAL_OK) {
            shoal_mem_fail_nth(++n);
            st = use_all(every_kind[i]);
            shoal_mem_fail_nth(0);
            if (st != SHOAL_OK && st != SHOAL_ERR_TEMPORARY)
                fail_msg("%s", shoal_error_text());
            assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), live);
        }
        printf("%llu allocations, each made to fail\n", (unsigned long long)n - 1);
        assert_true(n > 30);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),    cmocka_unit_test(test_pre_tokenizers),
        cmocka_unit_test(test_normalizer),    cmocka_unit_test(test_added_and_post),
        cmocka_unit_test(test_bare_model),    cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_growth),        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The parts under the tokenizer: UTF-8, byte alphabet, normal forms, patterns, splits, added
 * tokens.
 *
 * Expected values come from the Unicode standard (table 3-8 for broken parts), from exact
 * properties, or from the example in the documentation of the tokenizers library (splits). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/added_tokens.h"
#include "coordinator/text/byte_level.h"
#include "coordinator/text/pattern.h"
#include "coordinator/text/pretokenizer.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static void expect_bytes(const shoal_strbuf *got, const char *want, size_t bytes)
{
    assert_int_equal(got->bytes, bytes);
    assert_memory_equal(got->data, want, bytes);
}

/* ---- UTF-8 ---- */

static void test_utf8_round_trip(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char put[SHOAL_UTF8_MAX];
        size_t length, at = 0;
        const size_t bytes = shoal_utf8_put(c, put);
        const shoal_utf8_kind kind = shoal_utf8_look(put, bytes, &length);
        if (c >= 0xD800 && c < 0xE000) {
            assert_int_equal(kind, SHOAL_UTF8_BROKEN);
            continue;
        }
        assert_int_equal(kind, SHOAL_UTF8_WHOLE);
        assert_int_equal(length, bytes);
        assert_int_equal(shoal_utf8_next(put, &at), c);
        assert_int_equal(at, bytes);
        assert_int_equal(shoal_utf8_previous(put, &at), c);
        assert_int_equal(at, 0);
        for (size_t cut = 1; cut < bytes; cut++)
            assert_int_equal(shoal_utf8_look(put, cut, &length), SHOAL_UTF8_PARTIAL);
    }
}

typedef struct {
    const char *text;
    size_t bytes;
    const char *repaired;
    size_t left; /* bytes kept back when more may come */
} repair_case;

#define BAD "\xEF\xBF\xBD"

static void test_utf8_repair(void **state)
{
    (void)state;
    static const repair_case cases[] = {
        {TEXT("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
         "a" BAD BAD BAD "b" BAD "c" BAD BAD "d", 0},
        {TEXT("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), BAD BAD BAD BAD BAD BAD BAD BAD "A", 0},
        {TEXT("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), BAD BAD BAD BAD BAD BAD BAD BAD "A", 0},
        {TEXT("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), BAD BAD BAD BAD BAD "A" BAD BAD "B", 0},
        {TEXT("\xE2\x82"), BAD, 2},
        {TEXT("\xED\xA0"), BAD BAD, 2},
        {TEXT("\xED\xA0x"), BAD BAD "x", 0},
        {TEXT("x\xF0\x9F\x98"), "x" BAD, 3},
        {TEXT(""), "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const repair_case *c = &cases[i];
        shoal_strbuf out = {0};
        size_t used;
        assert_int_equal(shoal_utf8_repair(c->text, c->bytes, true, &out, &used), SHOAL_OK);
        assert_int_equal(used, c->bytes);
        expect_bytes(&out, c->repaired, strlen(c->repaired));
        out.bytes = 0;
        assert_int_equal(shoal_utf8_repair(c->text, c->bytes, false, &out, &used), SHOAL_OK);
        assert_int_equal(used, c->bytes - c->left);
        shoal_strbuf_free(&out);
    }
}

static void test_utf8_show(void **state)
{
    (void)state;
    char out[SHOAL_UTF8_SHOW], longer[200];
    assert_string_equal(shoal_utf8_show(TEXT("a\n\0\xFFz"), out), "a\\x0A\\x00\\xFFz");
    memset(longer, '\1', sizeof longer);
    assert_true(strlen(shoal_utf8_show(longer, sizeof longer, out)) < SHOAL_UTF8_SHOW);
    assert_non_null(strstr(out, "..."));
}

/* ---- byte alphabet ---- */

static void test_byte_alphabet(void **state)
{
    (void)state;
    shoal_strbuf chars = {0}, back = {0};
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    assert_int_equal(shoal_byte_level_encode(all, sizeof all, &chars), SHOAL_OK);
    assert_int_equal(shoal_utf8_valid(chars.data, chars.bytes), chars.bytes);
    assert_int_equal(shoal_byte_level_decode(chars.data, chars.bytes, &back), SHOAL_OK);
    expect_bytes(&back, all, sizeof all);

    chars.bytes = back.bytes = 0;
    assert_int_equal(shoal_byte_level_encode(TEXT("a b\n\xAD"), &chars), SHOAL_OK);
    expect_bytes(&chars, TEXT("a\xC4\xA0"
                              "b\xC4\x8A\xC5\x83")); /* a U+0120 b U+010A U+0143 */
    /* One foreign character and the piece stands for itself, known characters included. */
    assert_int_equal(shoal_byte_level_decode(TEXT("\xC4\xA0|\xE2\x96\x81"), &back), SHOAL_OK);
    expect_bytes(&back, TEXT("\xC4\xA0|\xE2\x96\x81"));
    shoal_strbuf_free(&chars);
    shoal_strbuf_free(&back);
}

/* ---- Unicode ---- */

static void test_normal_forms(void **state)
{
    (void)state;
    shoal_strbuf out = {0};
    assert_int_equal(
        shoal_unicode_normalize(SHOAL_UNICODE_NFC, TEXT("e\xCC\x81\0\xEF\xAC\x81"), &out),
        SHOAL_OK);
    expect_bytes(&out, TEXT("\xC3\xA9\0\xEF\xAC\x81"));
    out.bytes = 0;
    assert_int_equal(
        shoal_unicode_normalize(SHOAL_UNICODE_NFKD, TEXT("\xC3\xA9\xEF\xAC\x81"), &out), SHOAL_OK);
    expect_bytes(&out, TEXT("e\xCC\x81"
                            "fi"));
    /* Hangul: conjoining jamo and the syllable. */
    out.bytes = 0;
    assert_int_equal(shoal_unicode_normalize(SHOAL_UNICODE_NFC,
                                             TEXT("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"), &out),
                     SHOAL_OK);
    expect_bytes(&out, TEXT("\xED\x95\x9C"));
    shoal_strbuf_free(&out);
}

/* Half a million marks of two classes, the wrong way round: sorted, stable, and in no time. */
static void test_many_marks(void **state)
{
    (void)state;
    shoal_strbuf text = {0}, out = {0};
    const size_t marks = 250000;
    assert_int_equal(shoal_strbuf_append(&text, "q", 1), SHOAL_OK);
    for (size_t i = 0; i < marks; i++) /* U+0302 of class 230, U+0323 of class 220 */
        assert_int_equal(shoal_strbuf_append(&text, "\xCC\x82\xCC\xA3", 4), SHOAL_OK);
    assert_int_equal(shoal_unicode_normalize(SHOAL_UNICODE_NFD, text.data, text.bytes, &out),
                     SHOAL_OK);
    assert_int_equal(out.bytes, text.bytes);
    for (size_t i = 0; i < 2 * marks; i++)
        assert_memory_equal(out.data + 1 + 2 * i, i < marks ? "\xCC\xA3" : "\xCC\x82", 2);
    shoal_strbuf_free(&text);
    shoal_strbuf_free(&out);
}

static void test_classes(void **state)
{
    (void)state;
    static const uint32_t spaces[] = {9,      10,     11,     12,     13,     0x20,
                                      0x85,   0xA0,   0x1680, 0x2000, 0x200A, 0x2028,
                                      0x2029, 0x202F, 0x205F, 0x3000};
    static const uint32_t others[] = {0, 8, 0x1C, 0x1F, 0x180E, 0x200B, 0x2060, 0xFEFF, 'a', '_'};
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        assert_true(shoal_unicode_is_space(spaces[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(shoal_unicode_is_space(others[i]));
    assert_true(shoal_unicode_is_word('_') && shoal_unicode_is_word(0x301));
    assert_true(shoal_unicode_is_word(0x24B6) && shoal_unicode_is_word(0x200D));
    assert_false(shoal_unicode_is_word('-') || shoal_unicode_is_word(0xB2));
}

/* ---- patterns ---- */

/* Does the pattern match this one character, and only where the classes of unicode.h say so? */
static void check_class(const char *regex, bool (*expected)(uint32_t), bool negated)
{
    shoal_pattern *pattern;
    shoal_matcher *matcher;
    assert_int_equal(shoal_pattern_compile(regex, strlen(regex), &pattern), SHOAL_OK);
    assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
    for (uint32_t c = 0; c < 0x20000; c++) {
        char text[SHOAL_UTF8_MAX];
        bool found;
        shoal_span span;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        const size_t bytes = shoal_utf8_put(c, text);
        assert_int_equal(shoal_pattern_find(pattern, matcher, text, bytes, 0, &found, &span),
                         SHOAL_OK);
        if (found != (expected(c) != negated))
            fail_msg("%s and U+%04X: %d", regex, c, found);
    }
    shoal_matcher_free(matcher);
    shoal_pattern_free(pattern);
}

static void test_pattern_classes(void **state)
{
    (void)state;
    check_class("\\s", shoal_unicode_is_space, false);
    check_class("\\S", shoal_unicode_is_space, true);
    check_class("[\\s]", shoal_unicode_is_space, false);
    check_class("[^\\s]", shoal_unicode_is_space, true);
    check_class("[\\S]", shoal_unicode_is_space, true);
    check_class("[^\\S]", shoal_unicode_is_space, false);
}

/* A script is the characters of that script alone, not also those it shares with others. */
static bool is_thai(uint32_t c)
{
    return (c >= 0xE01 && c <= 0xE3A) || (c >= 0xE40 && c <= 0xE5B);
}

static void test_pattern_scripts(void **state)
{
    (void)state;
    check_class("\\p{Thai}", is_thai, false);
    check_class("[^\\p{Thai}]", is_thai, true);
}

static void test_pattern_translation(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to; /* to NULL: refused */
    } cases[] = {
        {"\\p{L}+|\\p{N}{1,3}", "\\p{L}+|\\p{N}{1,3}"},
        {"(?m:a.b)", "(?s:a.b)"},
        {"(?i:'s)|(?!x)", "(?i:'s)|(?!x)"},
        {"\\h[\\h]", "[0-9A-Fa-f][0-9A-Fa-f]"},
        {"[[:alpha:]]\\[x\\]", "[\\p{Alphabetic}]\\[x\\]"},
        {"[^[:^Lower:]_]", "[^\\P{Lowercase}_]"},
        {"\\p{Lu}\\p{^Nd}\\P{alpha}", "\\p{Lu}\\p{^Nd}\\P{alpha}"},
        {"[\\p{Han}\\P{Greek}]", "[\\p{sc:Han}\\P{sc:Greek}]"},
        {"\\p{^Thai}\\P{^Thai}", "\\P{sc:Thai}\\p{sc:Thai}"},
        {"\\u00e9\\u12", "\\x{00e9}\\u12"},
        {"\\x{41}+", "\\x{41}+"},
        {"\\", "\\"},
        {"\\p{L", "\\p{L"},
        {"[a[bc]]", NULL},
        {"[a&&b]", NULL},
        {"[\\W]", NULL},
        {"[]a]", NULL},
        {"[a", NULL},
        {"a{1,3}+", NULL},
        {"\\X", NULL},
        {"[[:graph:]]", NULL},
        {"[[:^punct:]]", NULL},
        {"[[:alpha", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shoal_strbuf out = {0};
        const shoal_status st = shoal_pattern_translate(cases[i].from, strlen(cases[i].from), &out);
        assert_int_equal(st, cases[i].to ? SHOAL_OK : SHOAL_ERR_DATA);
        if (cases[i].to)
            expect_bytes(&out, cases[i].to, strlen(cases[i].to));
        else
            assert_non_null(strstr(shoal_error_text(), "un"));
        shoal_strbuf_free(&out);
    }
}

/* A pattern that would backtrack for ever ends with a sentence. */
static void test_pattern_limit(void **state)
{
    (void)state;
    shoal_pattern *pattern;
    shoal_matcher *matcher;
    char text[64];
    bool found;
    shoal_span span;
    memset(text, 'a', sizeof text);
    assert_int_equal(shoal_pattern_compile(TEXT("(?:a|aa)+$(?<!a)"), &pattern), SHOAL_OK);
    assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
    assert_int_equal(shoal_pattern_find(pattern, matcher, text, sizeof text, 0, &found, &span),
                     SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "gives up"));
    shoal_matcher_free(matcher);
    shoal_pattern_free(pattern);
    assert_int_equal(shoal_pattern_compile(TEXT("(a"), &pattern), SHOAL_ERR_DATA);
    assert_int_equal(shoal_pattern_compile(TEXT(""), &pattern), SHOAL_ERR_DATA);
    assert_int_equal(shoal_pattern_compile(TEXT("\xFF"), &pattern), SHOAL_ERR_DATA);
}

/* ---- splits ---- */

typedef struct {
    const char *regex;
    shoal_split_behavior behavior;
    bool invert;
    const char *text, *words; /* words with | between */
} split_case;

static const split_case splits[] = {
    {"-", SHOAL_SPLIT_REMOVED, false, "the-final--countdown", "the|final|countdown"},
    {"-", SHOAL_SPLIT_ISOLATED, false, "the-final--countdown", "the|-|final|-|-|countdown"},
    {"-", SHOAL_SPLIT_WITH_PREVIOUS, false, "the-final--countdown", "the-|final-|-|countdown"},
    {"-", SHOAL_SPLIT_WITH_NEXT, false, "the-final--countdown", "the|-final|-|-countdown"},
    {"-", SHOAL_SPLIT_CONTIGUOUS, false, "the-final--countdown", "the|-|final|--|countdown"},
    {"\\w+", SHOAL_SPLIT_REMOVED, true, "one, two", "one|two"},
    {"\\b", SHOAL_SPLIT_ISOLATED, false, "one, two", "one|, |two"},
    {"x*", SHOAL_SPLIT_ISOLATED, false, "axxb", "a|xx|b"},
    {"-", SHOAL_SPLIT_WITH_NEXT, false, "a-", "a|-"},
    {"(?<=a)b", SHOAL_SPLIT_ISOLATED, false, "abb", "a|b|b"},
    {"^a$", SHOAL_SPLIT_REMOVED, false, "b\na\nc", "b\n|\nc"},
};

static void test_splits(void **state)
{
    (void)state;
    shoal_matcher *matcher;
    assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        const split_case *c = &splits[i];
        shoal_pretokenizer pre = {0};
        shoal_words words = {0};
        shoal_strbuf joined = {0};
        shoal_pattern *pattern;
        assert_int_equal(shoal_pattern_compile(c->regex, strlen(c->regex), &pattern), SHOAL_OK);
        const shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_SPLIT,
                                          .pattern = pattern,
                                          .behavior = c->behavior,
                                          .invert = c->invert};
        assert_int_equal(shoal_pretokenizer_add(&pre, &step), SHOAL_OK);
        assert_int_equal(
            shoal_pretokenizer_run(&pre, matcher, c->text, strlen(c->text), true, &words),
            SHOAL_OK);
        for (size_t k = 0; k < words.spans.count; k++) {
            const shoal_span s = words.spans.data[k];
            assert_int_equal(shoal_strbuf_append(&joined, "|", k > 0), SHOAL_OK);
            assert_int_equal(
                shoal_strbuf_append(&joined, words.text.data + s.begin, s.end - s.begin), SHOAL_OK);
        }
        expect_bytes(&joined, c->words, strlen(c->words));
        shoal_strbuf_free(&joined);
        shoal_words_free(&words);
        shoal_pretokenizer_free(&pre);
    }
    shoal_matcher_free(matcher);
}

/* ---- added tokens ---- */

typedef struct {
    const char *text;
    bool plain;
    const char *segments; /* text|<id>text|... : a token is written with its id */
} added_case;

static const added_case added[] = {
    {"xabcy", false, "x|<1>abc|y"}, /* the longest wins                */
    {"xaby", false, "x|<0>ab|y"},
    {"abcab", false, "<1>abc|<0>ab"},
    {"q L q", false, "q|<2> L| q"},                         /* white space on the left         */
    {"q R \xE3\x80\x80q", false, "q |<3>R \xE3\x80\x80|q"}, /* on the right              */
    {"R  L", false, "<3>R  |<2>L"},                         /* taken once                      */
    {"W-W xW Wx", false, "<4>W|-|<4>W| xW Wx"},             /* single words                    */
    {"xaby", true, "xaby"},                                 /* 0 is special, and so passed over */
    {"xabcy", true, "x|<1>abc|y"},
    {"", false, ""},
    {"a\t\t\t\tb", false, "a|<5>\t\t\t\t|b"}, /* the second is in the first's white space */
};

static void test_added_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        shoal_added_token token;
    } tokens[] = {
        {"ab", {.id = 9}}, /* replaced by the next line */
        {"ab", {.id = 0, .special = true}},
        {"abc", {.id = 1}},
        {"L", {.id = 2, .lstrip = true}},
        {"R", {.id = 3, .rstrip = true}},
        {"W", {.id = 4, .single_word = true}},
        {"\t\t", {.id = 5, .lstrip = true, .rstrip = true}},
    };
    shoal_added_set *set;
    shoal_segments segments = {0};
    assert_int_equal(shoal_added_set_create(&set), SHOAL_OK);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        assert_int_equal(shoal_added_set_add(set, tokens[i].content, strlen(tokens[i].content),
                                             &tokens[i].token),
                         SHOAL_OK);
    assert_int_equal(shoal_added_set_seal(set), SHOAL_OK);
    for (size_t i = 0; i < sizeof added / sizeof added[0]; i++) {
        const added_case *c = &added[i];
        shoal_strbuf joined = {0};
        assert_int_equal(shoal_added_set_split(set, c->text, strlen(c->text), c->plain, &segments),
                         SHOAL_OK);
        for (size_t k = 0; k < segments.count; k++) {
            const shoal_segment *s = &segments.data[k];
            char mark[16] = "";
            if (s->id >= 0)
                snprintf(mark, sizeof mark, "<%d>", s->id);
            assert_int_equal(shoal_strbuf_append(&joined, "|", k > 0), SHOAL_OK);
            assert_int_equal(shoal_strbuf_append(&joined, mark, strlen(mark)), SHOAL_OK);
            assert_int_equal(
                shoal_strbuf_append(&joined, c->text + s->span.begin, s->span.end - s->span.begin),
                SHOAL_OK);
        }
        expect_bytes(&joined, c->segments, strlen(c->segments));
        shoal_strbuf_free(&joined);
    }
    shoal_segments_free(&segments);
    shoal_added_set_destroy(set);
}

/* Contents of a set; the id is the place in the list. */
typedef struct {
    const char *text[16];
    size_t bytes[16];
    int count;
} contents;

static shoal_added_set *set_of(const contents *c)
{
    shoal_added_set *set;
    assert_int_equal(shoal_added_set_create(&set), SHOAL_OK);
    for (int32_t i = 0; i < c->count; i++)
        assert_int_equal(
            shoal_added_set_add(set, c->text[i], c->bytes[i], &(shoal_added_token){.id = i}),
            SHOAL_OK);
    assert_int_equal(shoal_added_set_seal(set), SHOAL_OK);
    return set;
}

/* The longest content at a place, by comparing all; -1: none. */
static int32_t longest_of(const contents *c, const char *text, size_t bytes)
{
    int32_t best = -1;
    for (int32_t i = 0; i < c->count; i++)
        if (c->bytes[i] <= bytes && memcmp(c->text[i], text, c->bytes[i]) == 0 &&
            (best < 0 || c->bytes[i] > c->bytes[best]))
            best = i;
    return best;
}

static void expect_longest(const contents *c, const char *text, size_t bytes,
                           const shoal_segments *segments)
{
    size_t at = 0;
    for (size_t k = 0; k < segments->count; k++) {
        const shoal_segment s = segments->data[k];
        assert_int_equal(s.span.begin, at);
        for (; s.id < 0 && at < s.span.end; at++)
            assert_int_equal(longest_of(c, text + at, bytes - at), -1);
        if (s.id >= 0) {
            assert_int_equal(longest_of(c, text + at, bytes - at), s.id);
            at += c->bytes[s.id];
        }
        assert_int_equal(s.span.end, at);
    }
    assert_int_equal(at, bytes);
}

/* Texts longer than what is looked at together, with a token that is longer, too. */
static void test_added_tokens_of_long_texts(void **state)
{
    (void)state;
    enum { BYTES = 300000 };
    static const char *const pieces[] = {"abab",     "ababb",       "bbbbbbb",
                                         "aaaaaaaa", "abbbabaaabb", "bac"};
    static char text[BYTES];
    uint64_t random = 1;
    for (size_t i = 0; i < BYTES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        text[i] = "aabbbc"[(random >> 33) % 6];
    }
    contents c = {.count = 7, .text = {[6] = text + 120001}, .bytes = {[6] = 100000}};
    for (int i = 0; i < 6; i++) {
        c.text[i] = pieces[i];
        c.bytes[i] = strlen(pieces[i]);
    }
    shoal_segments segments = {0};
    shoal_added_set *set = set_of(&c);
    const size_t lengths[] = {BYTES, 0, 1, 65536, 65537, 220001, 220000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(shoal_added_set_split(set, text, lengths[i], false, &segments), SHOAL_OK);
        expect_longest(&c, text, lengths[i], &segments);
        assert_true(segments.steps <= 4 * (uint64_t)lengths[i]);
    }
    shoal_segments_free(&segments);
    shoal_added_set_destroy(set);
}

/* Tokens that match almost, everywhere: steps do not grow with their length. */
static void test_added_tokens_that_nearly_match(void **state)
{
    (void)state;
    enum { BYTES = 1u << 20, LONG = 4096 };
    static char text[BYTES], before[LONG], behind[LONG], middle[LONG];
    memset(text, 'a', BYTES);
    memset(before, 'a', LONG);
    memset(behind, 'a', LONG);
    memset(middle, 'a', LONG);
    before[0] = behind[LONG - 1] = middle[LONG / 2] = 'b';
    const contents c = {{before, behind, middle}, {LONG, LONG, LONG}, 3};
    shoal_segments segments = {0};
    shoal_added_set *set = set_of(&c);
    assert_int_equal(shoal_added_set_split(set, text, BYTES, false, &segments), SHOAL_OK);
    assert_int_equal(segments.count, 1);
    assert_in_range(segments.steps, BYTES, 4u * BYTES);
    shoal_segments_free(&segments);
    shoal_added_set_destroy(set);
}

static void test_added_tokens_limit(void **state)
{
    (void)state;
    static char content[SHOAL_ADDED_BYTES_MAX];
    const shoal_added_token token = {.id = 0};
    shoal_added_set *set;
    memset(content, 'a', sizeof content);
    assert_int_equal(shoal_added_set_create(&set), SHOAL_OK);
    assert_int_equal(shoal_added_set_add(set, "b", 1, &token), SHOAL_OK);
    assert_int_equal(shoal_added_set_add(set, content, sizeof content, &token), SHOAL_ERR_DATA);
    assert_int_equal(shoal_added_set_add(set, content, sizeof content - 1, &token), SHOAL_OK);
    assert_int_equal(shoal_added_set_add(set, "c", 1, &token), SHOAL_ERR_DATA);
    shoal_added_set_destroy(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_round_trip),
        cmocka_unit_test(test_utf8_repair),
        cmocka_unit_test(test_utf8_show),
        cmocka_unit_test(test_byte_alphabet),
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_many_marks),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_pattern_classes),
        cmocka_unit_test(test_pattern_scripts),
        cmocka_unit_test(test_pattern_translation),
        cmocka_unit_test(test_pattern_limit),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_added_tokens_limit),
        cmocka_unit_test(test_added_tokens_of_long_texts),
        cmocka_unit_test(test_added_tokens_that_nearly_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

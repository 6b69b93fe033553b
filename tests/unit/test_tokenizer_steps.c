/* The steps of tokenizer.json one by one: normalizers, pre-tokenizers and decoders. What is
 * expected is what the library `tokenizers` 0.23.3 gives for the same JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/tokenizer_parts.h"

/* Words and pieces are written with | between them. */
typedef struct {
    const char *json, *input, *expected;
} step_case;

static const step_case normalizers[] = {
    {"{\"type\":\"Lowercase\"}", "\xC3\x80\xC4\xB0\xCE\xA3\xCF\x82 Ab",
     "\xC3\xA0i\xCC\x87\xCF\x83\xCF\x82 ab"},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", "\xE3\x80\x80 a ", "a "},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", " \x09 ", ""},
    {"{\"type\":\"StripAccents\"}", "e\xCC\x81\xE0\xA4\x83x", "ex"},
    {"{\"type\":\"BertNormalizer\",\"clean_text\":false,\"handle_chinese_chars\":false,\"strip_"
     "accents\":true,\"lowercase\":false}",
     "\xC3\xA9\xE0\xA4\x83", "e\xE0\xA4\x83"},
    {"{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":false,\"strip_"
     "accents\":false,\"lowercase\":false}",
     "a\x07\xC2\xA0\xEF\xBF\xBD\xE2\x80\x8B"
     "b\x09"
     "c",
     "a b c"},
    {"{\"type\":\"BertNormalizer\",\"clean_text\":false,\"handle_chinese_chars\":true,\"strip_"
     "accents\":false,\"lowercase\":false}",
     "a\xE4\xB8\xAD\xEF\xA4\x80"
     "b",
     "a \xE4\xB8\xAD  \xEF\xA4\x80 b"},
    {"{\"type\":\"BertNormalizer\",\"clean_text\":false,\"handle_chinese_chars\":false,\"strip_"
     "accents\":null,\"lowercase\":true}",
     "\xC3\x80\xC3\x89", "ae"},
    {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a", "_a"},
    {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", ""},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"x\"}", "aabab", "axx"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s*\"},\"content\":\"-\"}", "a  b",
     "-a-b-"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\b\"},\"content\":\"|\"}", "a \xC2\xB2",
     "|a| |\xC2\xB2|"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^\"},\"content\":\"-\"}", "", ""},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[\\\\w]+\"},\"content\":\"w\"}",
     "a\xC2\xB2"
     "b",
     "w\xC2\xB2w"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"content\":\"w\"}",
     "a\xC2\xB2"
     "b",
     "w"},
    {"{\"type\":\"Nmt\"}",
     "a\x01\xE2\x80\x8B\xE2\x96\x81"
     "b\xC2\x8F",
     "a  b"},
    {"{\"type\":\"ByteLevel\"}", "\xC3\xA9 a",
     "\xC3\x83\xC2\xA9\xC4\xA0"
     "a"},
    {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Replace\","
     "\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]}",
     "\xEF\xAC\x81 x", "fi\xE2\x96\x81x"},
    {"{\"type\":\"Sequence\",\"normalizers\":[]}", "aB", "aB"},
};

static const step_case pretokenizers[] = {
    {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\",\"split\":"
     "true}",
     "a b  c",
     "\xE2\x96\x81"
     "a|\xE2\x96\x81"
     "b|\xE2\x96\x81|\xE2\x96\x81"
     "c"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\",\"split\":"
     "false}",
     "\xE2\x96\x81"
     "a b",
     "\xE2\x96\x81"
     "a\xE2\x96\x81"
     "b"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\",\"split\":"
     "true}",
     " a b",
     "\xE2\x96\x81"
     "a|\xE2\x96\x81"
     "b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
     "\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"first\",\"split\":true}]}",
     "a b",
     "\xE2\x96\x81"
     "a|b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"CharDelimiterSplit\",\"delimiter\":"
     "\"a\"},{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"first\","
     "\"split\":true}]}",
     "ab b",
     "b|\xE2\x96\x81"
     "b"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":true}", "a b", "_a|_b"},
    {"{\"type\":\"Whitespace\"}", "a\xC2\xB2 \xC3\xA9-b\xE2\x80\x8D  ,,",
     "a|\xC2\xB2|\xC3\xA9|-|b\xE2\x80\x8D|,,"},
    {"{\"type\":\"WhitespaceSplit\"}",
     " a\xE3\x80\x80"
     "b ",
     "a|b"},
    {"{\"type\":\"BertPreTokenizer\"}",
     "a,b \xC2\xAB"
     "c\xC2\xBB $",
     "a|,|b|\xC2\xAB|c|\xC2\xBB|$"},
    {"{\"type\":\"Punctuation\",\"behavior\":\"MergedWithPrevious\"}", "a,b.!c", "a,|b.|!|c"},
    {"{\"type\":\"Digits\",\"individual_digits\":false}", "a12b\xC2\xBD", "a|12|b|\xC2\xBD"},
    {"{\"type\":\"Digits\",\"individual_digits\":true}", "a12", "a|1|2"},
    {"{\"type\":\"FixedLength\",\"length\":2}",
     "a\xC3\xA9"
     "bcd",
     "a\xC3\xA9|bc|d"},
    {"{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"x\"}", "axxb", "a|b"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
     "\xC3\xA9 it's", "\xC4\xA0\xC3\x83\xC2\xA9|\xC4\xA0it|'s"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{L}+\"},\"behavior\":\"MergedWithNext\","
     "\"invert\":true}",
     "a, b", "a|, b"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":\"Removed\",\"invert\":"
     "false}",
     "a.b", "a|b"},
};

static const step_case decoders[] = {
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
     "\"\\u2581\"},\"content\":\" "
     "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
     "\",\"start\":1,\"stop\":0}]}",
     "\xE2\x96\x81\xE2\x96\x81"
     "a|<0xE4>|<0xB8>|<0xAD>|\xE2\x96\x81"
     "b",
     " a\xE4\xB8\xAD b"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
     "\"\\u2581\"},\"content\":\" "
     "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
     "\",\"start\":1,\"stop\":0}]}",
     "<0xE4>|<0xB8>|x", "\xEF\xBF\xBD\xEF\xBF\xBDx"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
     "\"\\u2581\"},\"content\":\" "
     "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
     "\",\"start\":1,\"stop\":0}]}",
     "\xE2\x96\x81|a|\xE2\x96\x81\xE2\x96\x81", "a  "},
    {"{\"type\":\"ByteFallback\"}", "<0x61>|<0xff>|<0x6g>|<0xC3>|<0xA9>",
     "\xEF\xBF\xBD\xEF\xBF\xBD<0x6g>\xC3\xA9"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\",\"split\":"
     "true}",
     "\xE2\x96\x81"
     "a\xE2\x96\x81"
     "b|\xE2\x96\x81"
     "c",
     "ab c"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\",\"split\":"
     "true}",
     "\xE2\x96\x81"
     "a|\xE2\x96\x81"
     "b",
     " a b"},
    {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}", "##a|b|##c|.", "##a bc ."},
    {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "do|n't|##x|.|'|s|!|a n't",
     "don'tx. ' s! an't"},
    {"{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a|b</w>|c</w>d|e</w>", "ab c de"},
    {"{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a</w>|b", "a b"},
    {"{\"type\":\"Strip\",\"content\":\"_\",\"start\":1,\"stop\":1}", "__a__|b_|_c", "_a_bc"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"x\"}", "a|bab|aab",
     "abxax"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{"
     "\"String\":\"ab\"},\"content\":\"x\"}]}",
     "a|b|aab|a|c", "xaxac"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{"
     "\"String\":\"aab\"},\"content\":\"x\"}]}",
     "a|a|a|b|aa", "axaa"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
     "\"trim_offsets\":true,\"use_regex\":true},{\"type\":\"Replace\",\"pattern\":{\"String\":"
     "\"\\u00e9\"},\"content\":\"e\"}]}",
     "\xC3\x83|\xC2\xA9|\xC4\xA0"
     "a",
     "e a"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"_"
     "\",\"start\":2,\"stop\":0}]}",
     "_|_|_a|_", "_a_"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"_"
     "\",\"start\":0,\"stop\":2}]}",
     "a|_|_|_", "a_"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"WordPiece\",\"prefix\":"
     "\"a\",\"cleanup\":true}]}",
     "a| .|b", "a.b"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Metaspace\","
     "\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\",\"split\":true}]}",
     "a|\xE2\x96\x81"
     "b",
     "ab"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"BPEDecoder\",\"suffix\":"
     "\"_\"}]}",
     "a_|b", "ab"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]+\"},\"content\":\"#\"}", "a1|2b34",
     "a##b#"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^_\"},"
     "\"content\":\"\"},{\"type\":\"Fuse\"}]}",
     "_a|_b|c_", "abc_"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
     "\xC4\xA0"
     "a|</s>\xE4\xB8\xAD|\xC3\x83|x",
     " a</s>\xE4\xB8\xAD\xEF\xBF\xBDx"},
    {"{\"type\":\"Sequence\",\"decoders\":[]}", "a|b", "ab"},
};

/* A tokenizer with this one part. */
static shoal_tokenizer *open_with(const char *part, const char *json)
{
    char text[2048];
    shoal_tokenizer *t = NULL;
    const int length = snprintf(text, sizeof text,
                                "{\"%s\":%s,\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},"
                                "\"unk_token\":\"a\"}}",
                                part, json);
    assert_in_range(length, 1, sizeof text - 1);
    if (shoal_tokenizer_open_memory(text, (size_t)length, part, &t) != SHOAL_OK)
        fail_msg("%s: %s", json, shoal_error_text());
    return t;
}

static void expect(const step_case *c, const shoal_strbuf *got)
{
    if (got->bytes != strlen(c->expected) || memcmp(got->data, c->expected, got->bytes) != 0)
        fail_msg("%s\n\"%s\" gives \"%.*s\", not \"%s\"", c->json, c->input, (int)got->bytes,
                 got->data, c->expected);
}

static void test_normalizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof normalizers / sizeof normalizers[0]; i++) {
        const step_case *c = &normalizers[i];
        shoal_strbuf out = {0};
        shoal_matcher *matcher;
        shoal_tokenizer *t = open_with("normalizer", c->json);
        assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
        assert_int_equal(
            shoal_normalizer_run(&t->normalizer, matcher, c->input, strlen(c->input), &out),
            SHOAL_OK);
        expect(c, &out);
        shoal_matcher_free(matcher);
        shoal_strbuf_free(&out);
        shoal_tokenizer_close(t);
    }
}

static void test_pretokenizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pretokenizers / sizeof pretokenizers[0]; i++) {
        const step_case *c = &pretokenizers[i];
        shoal_words words = {0};
        shoal_strbuf joined = {0};
        shoal_matcher *matcher;
        shoal_tokenizer *t = open_with("pre_tokenizer", c->json);
        assert_int_equal(shoal_matcher_create(&matcher), SHOAL_OK);
        assert_int_equal(shoal_pretokenizer_run(&t->pretokenizer, matcher, c->input,
                                                strlen(c->input), true, &words),
                         SHOAL_OK);
        for (size_t k = 0; k < words.spans.count; k++) {
            const shoal_span s = words.spans.data[k];
            assert_int_equal(shoal_strbuf_append(&joined, "|", k > 0), SHOAL_OK);
            assert_int_equal(
                shoal_strbuf_append(&joined, words.text.data + s.begin, s.end - s.begin), SHOAL_OK);
        }
        expect(c, &joined);
        shoal_matcher_free(matcher);
        shoal_strbuf_free(&joined);
        shoal_words_free(&words);
        shoal_tokenizer_close(t);
    }
}

static void push_pieces(shoal_decode_walk *walk, const char *pieces)
{
    for (const char *piece = pieces;; piece++) {
        const size_t bytes = strcspn(piece, "|");
        assert_int_equal(shoal_decode_push(walk, piece, bytes), SHOAL_OK);
        piece += bytes;
        if (!*piece)
            break;
    }
    assert_int_equal(shoal_decode_finish(walk), SHOAL_OK);
}

/* A walk begins anew after its end. Step by step the same text comes out, but that only then each
 * broken part, not each byte of a broken run, is one U+FFFD. */
static void test_decoders(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++) {
        const step_case *c = &decoders[i];
        shoal_strbuf out = {0};
        shoal_tokenizer *t = open_with("decoder", c->json);
        for (int whole = 0; whole < 2; whole++) {
            shoal_decode_walk walk = {.decoder = &t->decoder, .whole = whole, .out = &out};
            for (int turn = 0; turn < 2; turn++) {
                out.bytes = 0;
                push_pieces(&walk, c->input);
                if (whole || !strstr(c->expected, "\xEF\xBF\xBD"))
                    expect(c, &out);
            }
            shoal_decode_walk_free(&walk);
        }
        shoal_strbuf_free(&out);
        shoal_tokenizer_close(t);
    }
}

/* What a piece stands for in the middle of a text, for those who look at single tokens. */
static void test_pieces(void **state)
{
    (void)state;
    static const step_case pieces[] = {
        {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"}"
         ","
         "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
         "\"content\":\" \",\"start\":1,\"stop\":0}]}",
         "_a|<0xE4>|b", " a|\xE4|b"},
        {"{\"type\":\"ByteLevel\"}",
         "\xC4\xA0"
         "a|\xC3\x83",
         " a|\xC3"},
        {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "##a|b|.", "a| b|."},
        {"{\"type\":\"BPEDecoder\",\"suffix\":\"/\"}", "a|b/", "a|b "},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "_a|b", " a|b"},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]\"},\"content\":\"#\"}", "a1", "a#"},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        const step_case *c = &pieces[i];
        shoal_strbuf out = {0};
        shoal_tokenizer *t = open_with("decoder", c->json);
        for (const char *piece = c->input; *piece; piece += *piece == '|') {
            const size_t bytes = strcspn(piece, "|");
            if (piece > c->input)
                assert_int_equal(shoal_strbuf_append(&out, "|", 1), SHOAL_OK);
            assert_int_equal(shoal_decoder_piece(&t->decoder, piece, bytes, &out), SHOAL_OK);
            piece += bytes;
        }
        expect(c, &out);
        shoal_strbuf_free(&out);
        shoal_tokenizer_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalizers),
        cmocka_unit_test(test_pretokenizers),
        cmocka_unit_test(test_decoders),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

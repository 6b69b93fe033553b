/* The heap against the definition: join the pair of lowest rank, the leftmost of equals, until none
 * is left. Random merges over a small alphabet, many of them overlapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "coordinator/text/bpe.h"

#define TOKENS_MAX 256
#define MERGES_MAX 256
#define WORD_MAX   200

typedef struct {
    char text[TOKENS_MAX][32];
    int tokens;
    int left[MERGES_MAX], right[MERGES_MAX], joined[MERGES_MAX];
    int merges;
} model;

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static int token(model *m, const char *text)
{
    for (int i = 0; i < m->tokens; i++)
        if (strcmp(m->text[i], text) == 0)
            return i;
    memcpy(m->text[m->tokens], text, strlen(text) + 1);
    return m->tokens++;
}

static void fill(model *m, unsigned letters)
{
    char text[64];
    *m = (model){0};
    for (unsigned i = 0; i < letters; i++) {
        snprintf(text, sizeof text, "%c", (char)('a' + (int)i));
        (void)token(m, text);
    }
    while (m->merges < MERGES_MAX && m->tokens < TOKENS_MAX) {
        const int l = (int)draw((unsigned)m->tokens), r = (int)draw((unsigned)m->tokens);
        bool known = false;
        for (int i = 0; i < m->merges; i++)
            known |= m->left[i] == l && m->right[i] == r;
        snprintf(text, sizeof text, "%s%s", m->text[l], m->text[r]);
        if (known || strlen(text) >= sizeof m->text[0]) {
            if (draw(50) == 0)
                break;
            continue;
        }
        m->left[m->merges] = l;
        m->right[m->merges] = r;
        m->joined[m->merges++] = token(m, text);
    }
}

/* The definition, literally. Returns the number of ids. */
static size_t by_definition(const model *m, const char *word, int *ids)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++)
        ids[i] = word[i] - 'a';
    for (;;) {
        int best = m->merges;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (int k = 0; k < best; k++)
                if (m->left[k] == ids[i] && m->right[k] == ids[i + 1]) {
                    best = k;
                    at = i;
                }
        if (best == m->merges)
            return n;
        ids[at] = m->joined[best];
        n--;
        for (size_t i = at + 1; i < n; i++)
            ids[i] = ids[i + 1];
    }
}

static shoal_token_model *build(const model *m, shoal_vocab **vocab)
{
    const shoal_bpe_options options = {.unk = -1};
    shoal_bpe *bpe;
    assert_int_equal(shoal_vocab_create((size_t)m->tokens, vocab), SHOAL_OK);
    for (int i = 0; i < m->tokens; i++)
        assert_int_equal(
            shoal_vocab_add(*vocab, i, m->text[i], strlen(m->text[i]), SHOAL_TOKEN_MODEL),
            SHOAL_OK);
    assert_int_equal(shoal_bpe_create(*vocab, &options, 0, &bpe), SHOAL_OK);
    for (int i = 0; i < m->merges; i++) {
        const char *l = m->text[m->left[i]], *r = m->text[m->right[i]];
        assert_int_equal(shoal_bpe_add_merge(bpe, l, strlen(l), r, strlen(r)), SHOAL_OK);
    }
    return shoal_bpe_model(bpe);
}

static void test_against_definition(void **state)
{
    (void)state;
    static model m;
    shoal_token_scratch scratch = {0};
    shoal_ids ids = {0};
    for (int round = 0; round < 300; round++) {
        seed = (uint64_t)round;
        const unsigned letters = 1 + draw(4);
        shoal_vocab *vocab;
        fill(&m, letters);
        shoal_token_model *bpe = build(&m, &vocab);
        for (int w = 0; w < 20; w++) {
            char word[WORD_MAX + 1];
            int want[WORD_MAX];
            const size_t n = 1 + draw(w < 15 ? 20 : WORD_MAX);
            for (size_t i = 0; i < n; i++)
                word[i] = (char)('a' + (int)draw(letters));
            word[n] = '\0';
            const size_t count = by_definition(&m, word, want);
            ids.count = 0;
            assert_int_equal(bpe->kind->encode(bpe, &scratch, word, n, &ids), SHOAL_OK);
            if (ids.count != count || memcmp(ids.data, want, count * sizeof want[0]) != 0)
                fail_msg("round %d, word %s: not as defined", round, word);
        }
        bpe->kind->destroy(bpe);
        shoal_vocab_destroy(vocab);
    }
    shoal_ids_free(&ids);
    shoal_token_scratch_free(&scratch);
}

/* One word of a megabyte: a, aa, aaaa, ... */
static void test_long_word(void **state)
{
    (void)state;
    static model m;
    static char word[1 << 20];
    shoal_vocab *vocab;
    shoal_token_scratch scratch = {0};
    shoal_ids ids = {0};
    m.tokens = 1;
    m.text[0][0] = 'a';
    for (int i = 0; i < 4; i++) {
        char text[32];
        memset(text, 'a', sizeof text);
        text[2 << i] = '\0';
        m.left[i] = m.right[i] = i;
        m.joined[i] = token(&m, text);
        m.merges++;
    }
    memset(word, 'a', sizeof word);
    shoal_token_model *bpe = build(&m, &vocab);
    const clock_t start = clock();
    assert_int_equal(bpe->kind->encode(bpe, &scratch, word, sizeof word, &ids), SHOAL_OK);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("a word of %zu letters: %.2f s\n", sizeof word, seconds);
    assert_int_equal(ids.count, sizeof word / 16);
    assert_true(seconds < 10); /* 0.3 without sanitizers; quadratic would be hours */
    bpe->kind->destroy(bpe);
    shoal_vocab_destroy(vocab);
    shoal_ids_free(&ids);
    shoal_token_scratch_free(&scratch);
}

/* ---- unknown characters, bytes, affixes ---- */

typedef struct {
    shoal_bpe_options options;
    const char *word, *pieces;
} option_case;

static const char *const option_tokens[] = {"a",   "b",   "ab",   "<unk>", "<0xC3>", "<0xA9>",
                                            "##b", "##a", "a##b", "a</w>", "b</w>",  "ab##a"};

static const option_case option_cases[] = {
    {{.unk = -1}, "a\xC3\xA9z", "a"},
    {{.unk = 3}, "axyb", "a <unk> <unk> b"},
    {{.unk = 3, .fuse_unk = true}, "axyb", "a <unk> b"},
    {{.unk = 3, .byte_fallback = true}, "a\xC3\xA9z", "a <0xC3> <0xA9> <unk>"},
    {{.unk = -1, .byte_fallback = true}, "\xC3\xA9\xC3\xA8", "<0xC3> <0xA9>"},
    {{.unk = -1, .prefix = "##", .prefix_bytes = 2}, "aba", "ab ##a"},
    {{.unk = -1, .suffix = "</w>", .suffix_bytes = 4}, "ab", "a b</w>"},
    {{.unk = -1, .ignore_merges = true}, "a##b", "a##b"},
};

static void test_options(void **state)
{
    (void)state;
    shoal_token_scratch scratch = {0};
    for (size_t i = 0; i < sizeof option_cases / sizeof option_cases[0]; i++) {
        const option_case *c = &option_cases[i];
        shoal_vocab *vocab;
        shoal_bpe *bpe;
        shoal_ids ids = {0};
        char got[256] = "";
        assert_int_equal(shoal_vocab_create(0, &vocab), SHOAL_OK);
        for (int k = 0; k < (int)(sizeof option_tokens / sizeof option_tokens[0]); k++)
            assert_int_equal(shoal_vocab_add(vocab, k, option_tokens[k], strlen(option_tokens[k]),
                                             SHOAL_TOKEN_MODEL),
                             SHOAL_OK);
        assert_int_equal(shoal_bpe_create(vocab, &c->options, 1, &bpe), SHOAL_OK);
        if (c->options.prefix)
            assert_int_equal(shoal_bpe_add_merge(bpe, "a", 1, "##b", 3), SHOAL_OK);
        shoal_token_model *m = shoal_bpe_model(bpe);
        assert_int_equal(m->kind->encode(m, &scratch, c->word, strlen(c->word), &ids), SHOAL_OK);
        for (size_t k = 0; k < ids.count; k++) {
            strcat(got, k ? " " : "");
            strcat(got, option_tokens[ids.data[k]]);
        }
        assert_string_equal(got, c->pieces);
        shoal_ids_free(&ids);
        m->kind->destroy(m);
        shoal_vocab_destroy(vocab);
    }
    shoal_token_scratch_free(&scratch);
}

/* An unknown token that the vocabulary lacks does no harm until a text needs it. */
static void test_missing_unknown(void **state)
{
    (void)state;
    const shoal_bpe_options options = {.unk = SHOAL_BPE_UNK_MISSING};
    shoal_token_scratch scratch = {0};
    shoal_ids ids = {0};
    shoal_vocab *vocab;
    shoal_bpe *bpe;
    assert_int_equal(shoal_vocab_create(1, &vocab), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 0, "a", 1, SHOAL_TOKEN_MODEL), SHOAL_OK);
    assert_int_equal(shoal_bpe_create(vocab, &options, 0, &bpe), SHOAL_OK);
    shoal_token_model *m = shoal_bpe_model(bpe);
    assert_int_equal(m->kind->encode(m, &scratch, "aa", 2, &ids), SHOAL_OK);
    assert_int_equal(m->kind->encode(m, &scratch, "az", 2, &ids), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "no token for \"z\""));
    m->kind->destroy(m);
    shoal_vocab_destroy(vocab);
    shoal_ids_free(&ids);
    shoal_token_scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_long_word),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_missing_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

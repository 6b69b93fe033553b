/* The unigram model against its definition: of all ways to cut a word, the one with the greatest
 * sum. Random pieces over a small alphabet, all ways tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/unigram.h"

#define PIECES_MAX 40
#define WORD_MAX   12

typedef struct {
    char text[PIECES_MAX][8];
    double score[PIECES_MAX];
    double lowest;
    int count;
} pieces;

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static bool known(const pieces *p, const char *text)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->text[i], text) == 0)
            return true;
    return false;
}

/* Piece 0 is the unknown token; scores are multiples of 2^-10, so that sums are exact. */
static shoal_token_model *make(pieces *p, bool float_sums, shoal_vocab **vocab)
{
    const shoal_unigram_options options = {.fuse_unk = true, .float_sums = float_sums};
    shoal_token_model *model;
    *p = (pieces){.text = {"<unk>"}, .count = 1};
    assert_int_equal(shoal_vocab_create(PIECES_MAX, vocab), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(*vocab, 0, "<unk>", 5, SHOAL_TOKEN_SPECIAL), SHOAL_OK);
    for (unsigned tries = 10 + draw(50); tries > 0 && p->count < PIECES_MAX; tries--) {
        char text[8] = "";
        for (unsigned n = 1 + draw(4); n > 0; n--)
            strcat(text, (const char *[]){"a", "b", "c", "d"}[draw(4)]);
        if (known(p, text))
            continue;
        memcpy(p->text[p->count], text, sizeof text);
        p->score[p->count] = -(double)(draw(20000) + 1) / 1024;
        if (p->score[p->count] < p->lowest)
            p->lowest = p->score[p->count];
        assert_int_equal(shoal_vocab_add(*vocab, p->count, text, strlen(text), SHOAL_TOKEN_MODEL),
                         SHOAL_OK);
        p->count++;
    }
    assert_int_equal(shoal_unigram_create(*vocab, p->score, &options, &model), SHOAL_OK);
    return model;
}

/* The greatest sum over all ways to cut the word. */
static double best_sum(const pieces *p, const char *word)
{
    if (!*word)
        return 0;
    const char single[2] = {*word, 0};
    double best = -1e9;
    if (!known(p, single))
        best = p->lowest - 10 + best_sum(p, word + 1);
    for (int i = 1; i < p->count; i++) {
        const size_t bytes = strlen(p->text[i]);
        if (strncmp(word, p->text[i], bytes) != 0)
            continue;
        const double sum = p->score[i] + best_sum(p, word + bytes);
        best = sum > best ? sum : best;
    }
    return best;
}

/* The sum of what was encoded, which must spell the word: an unknown token takes the characters up
 * to where the next piece is found. */
static double sum_of(const pieces *p, const shoal_ids *ids, size_t i, const char *word)
{
    if (i == ids->count)
        return *word ? -1e9 : 0;
    const int32_t id = ids->data[i];
    if (id > 0) {
        const size_t bytes = strlen(p->text[id]);
        return strncmp(word, p->text[id], bytes) != 0
                   ? -1e9
                   : p->score[id] + sum_of(p, ids, i + 1, word + bytes);
    }
    double best = -1e9, sum = 0;
    for (; *word; word++) {
        const char single[2] = {*word, 0};
        if (known(p, single))
            break;
        sum += p->lowest - 10;
        const double rest = sum_of(p, ids, i + 1, word + 1);
        best = sum + rest > best ? sum + rest : best;
    }
    return best;
}

static void test_best_cut(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        pieces p;
        shoal_vocab *vocab;
        shoal_token_scratch scratch = {0};
        shoal_ids ids = {0};
        shoal_token_model *model = make(&p, round % 2, &vocab);
        for (int w = 0; w < 10; w++) {
            char word[WORD_MAX + 1] = "";
            for (unsigned n = 1 + draw(WORD_MAX); n > 0; n--)
                strcat(word, (const char *[]){"a", "b", "c", "d"}[draw(4)]);
            ids.count = 0;
            assert_int_equal(model->kind->encode(model, &scratch, word, strlen(word), &ids),
                             SHOAL_OK);
            assert_true(sum_of(&p, &ids, 0, word) == best_sum(&p, word));
            for (size_t i = 1; i < ids.count; i++)
                assert_false(ids.data[i] == 0 && ids.data[i - 1] == 0); /* fused */
        }
        shoal_ids_free(&ids);
        shoal_token_scratch_free(&scratch);
        model->kind->destroy(model);
        shoal_vocab_destroy(vocab);
    }
}

static void expect(const shoal_token_model *model, const char *word, const int32_t *want,
                   size_t count)
{
    shoal_token_scratch scratch = {0};
    shoal_ids ids = {0};
    assert_int_equal(model->kind->encode(model, &scratch, word, strlen(word), &ids), SHOAL_OK);
    assert_int_equal(ids.count, count);
    assert_memory_equal(ids.data, want, count * sizeof *want);
    shoal_ids_free(&ids);
    shoal_token_scratch_free(&scratch);
}

/* Unknown characters: bytes where every byte has a token, one token for each or for all, or no
 * answer. */
static void test_unknown(void **state)
{
    (void)state;
    static const struct {
        bool bytes, fuse;
        int32_t want[8];
        size_t count;
    } cases[] = {
        {false, false, {1, 0, 0, 1}, 4},
        {false, true, {1, 0, 1}, 3},
        {true, true, {1, 2, 3, 2, 3, 1}, 6},
    };
    const double scores[] = {0, -1, 0, 0};
    shoal_token_scratch scratch = {0};
    shoal_ids ids = {0};
    shoal_vocab *vocab;
    shoal_token_model *model;
    assert_int_equal(shoal_vocab_create(4, &vocab), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 0, "<unk>", 5, SHOAL_TOKEN_SPECIAL), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 1, "a", 1, SHOAL_TOKEN_MODEL), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 2, "<0xC3>", 6, SHOAL_TOKEN_BYTE), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 3, "<0xA9>", 6, SHOAL_TOKEN_BYTE), SHOAL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const shoal_unigram_options options = {.byte_fallback = cases[i].bytes,
                                               .fuse_unk = cases[i].fuse};
        assert_int_equal(shoal_unigram_create(vocab, scores, &options, &model), SHOAL_OK);
        expect(model,
               "a\xC3\xA9\xC3\xA9"
               "a",
               cases[i].want, cases[i].count);
        model->kind->destroy(model);
    }
    const shoal_unigram_options none = {.byte_fallback = true, .unk = -1};
    assert_int_equal(shoal_unigram_create(vocab, scores, &none, &model), SHOAL_OK);
    assert_int_equal(model->kind->encode(model, &scratch, "\xC3\xAA", 2, &ids), SHOAL_ERR_DATA);
    model->kind->destroy(model);
    shoal_ids_free(&ids);
    shoal_token_scratch_free(&scratch);
    shoal_vocab_destroy(vocab);
}

/* The unknown token spelt in the text joins unknown neighbours, and is itself where it has none. */
static void test_unknown_by_name(void **state)
{
    (void)state;
    static const int32_t alone[] = {1, 0, 1}, joined[] = {0, 1};
    const double scores[] = {-1, -1};
    const shoal_unigram_options options = {.fuse_unk = true};
    shoal_vocab *vocab;
    shoal_token_model *model;
    assert_int_equal(shoal_vocab_create(2, &vocab), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 0, "<unk>", 5, SHOAL_TOKEN_MODEL), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(vocab, 1, "a", 1, SHOAL_TOKEN_MODEL), SHOAL_OK);
    assert_int_equal(shoal_unigram_create(vocab, scores, &options, &model), SHOAL_OK);
    expect(model, "a<unk>a", alone, 3);
    expect(model, "z<unk><unk>a", joined, 2);
    model->kind->destroy(model);
    shoal_vocab_destroy(vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_cut),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_unknown_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Longest pieces from the left against their definition: random vocabularies over a small alphabet
 * with characters of two bytes, words cut by looking every piece up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/word_piece.h"

#define PIECES_MAX 40
#define CHARS_MAX  8

static const char *const letters[] = {"a", "b", "\xC3\xA9", "\xC3\xA8"};

static uint64_t seed = 1;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

typedef struct {
    shoal_vocab *vocab;
    shoal_token_model *model;
    const char *prefix;
} made;

static void draw_word(char *out, unsigned most)
{
    for (unsigned n = 1 + draw(most); n > 0; n--)
        strcat(out, letters[draw(4)]);
}

/* Token 0 is the unknown one; about half of the others go on a word. */
static void make(made *m, const char *prefix)
{
    const shoal_word_piece_options options = {
        .unk = 0, .word_chars = CHARS_MAX, .prefix = prefix, .prefix_bytes = strlen(prefix)};
    m->prefix = prefix;
    assert_int_equal(shoal_vocab_create(PIECES_MAX, &m->vocab), SHOAL_OK);
    assert_int_equal(shoal_vocab_add(m->vocab, 0, "[UNK]", 5, SHOAL_TOKEN_MODEL), SHOAL_OK);
    for (int tries = 0; tries < PIECES_MAX; tries++) {
        char piece[64] = "";
        if (draw(2))
            strcat(piece, prefix);
        draw_word(piece, 3);
        if (shoal_vocab_find(m->vocab, piece, strlen(piece), SHOAL_TOKEN_MODEL) < 0)
            assert_int_equal(shoal_vocab_add(m->vocab, (int64_t)shoal_vocab_count(m->vocab), piece,
                                             strlen(piece), SHOAL_TOKEN_MODEL),
                             SHOAL_OK);
    }
    assert_int_equal(shoal_word_piece_create(m->vocab, &options, &m->model), SHOAL_OK);
}

/* The definition. Returns the number of ids. */
static size_t cut(const made *m, const char *word, int32_t *ids)
{
    size_t count = 0;
    for (size_t at = 0; word[at];) {
        size_t end = strlen(word);
        int32_t id = -1;
        for (; end > at; end--) {
            char piece[128];
            snprintf(piece, sizeof piece, "%s%.*s", at ? m->prefix : "", (int)(end - at),
                     word + at);
            id = shoal_vocab_find(m->vocab, piece, strlen(piece), SHOAL_TOKEN_MODEL);
            if (id >= 0)
                break;
        }
        if (id < 0) {
            ids[0] = 0;
            return 1;
        }
        ids[count++] = id;
        at = end;
    }
    return count;
}

static void test_random(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"##", "", "\xE2\x96\x81"};
    for (int round = 0; round < 60; round++) {
        made m;
        shoal_token_scratch scratch = {0};
        make(&m, prefixes[round % 3]);
        for (int i = 0; i < 100; i++) {
            char word[64] = "";
            int32_t want[32];
            shoal_ids got = {0};
            draw_word(word, CHARS_MAX);
            const size_t count = cut(&m, word, want);
            assert_int_equal(m.model->kind->encode(m.model, &scratch, word, strlen(word), &got),
                             SHOAL_OK);
            assert_int_equal(got.count, count);
            assert_memory_equal(got.data, want, count * sizeof *want);
            shoal_ids_free(&got);
        }
        shoal_token_scratch_free(&scratch);
        m.model->kind->destroy(m.model);
        shoal_vocab_destroy(m.vocab);
    }
}

/* A word of more characters than are looked at is unknown, whatever it holds. */
static void test_long_word(void **state)
{
    (void)state;
    made m;
    shoal_ids got = {0};
    shoal_token_scratch scratch = {0};
    make(&m, "##");
    assert_int_equal(m.model->kind->encode(m.model, &scratch, "aaaaaaaaa", 9, &got), SHOAL_OK);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.data[0], 0);
    shoal_ids_free(&got);
    m.model->kind->destroy(m.model);
    shoal_vocab_destroy(m.vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_long_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

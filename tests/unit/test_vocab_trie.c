/* The trie against the plain list of a tokenizer's tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/text/grammar/vocab_trie.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"
#include "tests/unit/made_vocab.h"

static bool is_ordinary(const shoal_tokenizer *t, int64_t id)
{
    size_t bytes;
    return shoal_tokenizer_piece(t, id, &bytes) && !shoal_tokenizer_is_special(t, id);
}

/* Every ordinary token with bytes is there once, behind exactly its bytes. */
static void check_tokens(const shoal_tokenizer *t, const shoal_vocab_trie *trie)
{
    char path[SHOAL_TRIE_DEPTH_MAX];
    bool *found = calloc((size_t)trie->vocab, sizeof *found);
    for (uint32_t i = 0; i < trie->count; i++) {
        const shoal_trie_node *node = &trie->nodes[i];
        path[node->depth - 1] = (char)node->byte;
        for (uint32_t k = node->first; k < node[1].first; k++) {
            const int32_t id = trie->ids[k];
            shoal_strbuf bytes = {0};
            assert_int_equal(shoal_tokenizer_bytes(t, id, &bytes), SHOAL_OK);
            assert_int_equal(bytes.bytes, node->depth);
            assert_memory_equal(bytes.data, path, bytes.bytes);
            shoal_strbuf_free(&bytes);
            assert_true(is_ordinary(t, id));
            assert_false(found[id]);
            found[id] = true;
        }
    }
    for (int64_t id = 0; id < trie->vocab; id++) {
        shoal_strbuf bytes = {0};
        assert_int_equal(shoal_tokenizer_bytes(t, id, &bytes), SHOAL_OK);
        assert_int_equal(found[id], is_ordinary(t, id) && bytes.bytes > 0);
        shoal_strbuf_free(&bytes);
    }
    free(found);
}

/* A branch is what lies deeper until something does not. Returns its end. */
static uint32_t end_of(const shoal_vocab_trie *trie, uint32_t node)
{
    uint32_t k = node + 1;
    while (k < trie->count && trie->nodes[k].depth > trie->nodes[node].depth)
        k++;
    return k;
}

/* What the tokens below a node add to it: classes, or that one is no UTF-8 behind it; characters.
 */
static void expect_below(const shoal_vocab_trie *trie, uint32_t index, unsigned *below, int *height)
{
    const shoal_trie_node *node = &trie->nodes[index], *end = &trie->nodes[end_of(trie, index)];
    *below = 0;
    *height = 0;
    for (uint32_t k = node[1].first; k < end->first; k++) {
        shoal_strbuf text = {0};
        int begun = 0;
        assert_int_equal(shoal_tokenizer_bytes(trie->tokenizer, trie->ids[k], &text), SHOAL_OK);
        const size_t valid = shoal_utf8_valid(text.data, text.bytes);
        for (size_t i = node->depth; i < text.bytes; i++) {
            const uint8_t byte = (uint8_t)text.data[i];
            *below |= 1u << (i < valid ? shoal_trie_class(byte) : SHOAL_TRIE_BROKEN);
            begun += byte < 0x80 || byte >= 0xC0;
        }
        *height = begun > *height ? begun : *height;
        shoal_strbuf_free(&text);
    }
}

static void check_branches(const shoal_vocab_trie *trie)
{
    for (uint32_t i = 0; i < trie->count; i++) {
        const shoal_trie_node *node = &trie->nodes[i];
        unsigned below;
        int height;
        expect_below(trie, i, &below, &height);
        assert_int_equal(node->end, end_of(trie, i));
        /* a whole character of one token may be broken for another that goes the same way */
        assert_int_equal(node->below & ~below & ~(1u << SHOAL_TRIE_BROKEN), 0);
        assert_int_equal(node->below >> SHOAL_TRIE_BROKEN & 1, below >> SHOAL_TRIE_BROKEN & 1);
        if (!(node->below >> SHOAL_TRIE_BROKEN & 1))
            assert_int_equal(node->below, below);
        assert_int_equal(node->height, height);
        if (i + 1 < trie->count)
            assert_true(trie->nodes[i + 1].depth <= node->depth + 1);
        assert_true(node->first <= node[1].first);
    }
}

static void check_trie(const shoal_tokenizer *t, int64_t vocab)
{
    shoal_vocab_trie trie = {0};
    assert_int_equal(shoal_vocab_trie_build(t, vocab, &trie), SHOAL_OK);
    assert_int_equal(trie.vocab, vocab);
    check_tokens(t, &trie);
    check_branches(&trie);
    shoal_vocab_trie_free(&trie);
}

static void test_made(void **state)
{
    (void)state;
    shoal_tokenizer *t = made_tokenizer();
    assert_int_equal(shoal_tokenizer_size(t), MADE_SIZE);
    check_trie(t, MADE_SIZE);
    check_trie(t, MADE_SIZE + 100); /* logits nobody speaks for */
    check_trie(t, 300);             /* tokens without a logit */
    check_trie(t, 1);
    shoal_tokenizer_close(t);
}

static void test_tiny_llama(void **state)
{
    shoal_tokenizer *t;
    (void)state;
    assert_int_equal(shoal_tokenizer_open("tests/data/tiny-llama", &t), SHOAL_OK);
    check_trie(t, 1024);
    shoal_tokenizer_close(t);
}

static void test_classes(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++)
        assert_in_range(shoal_trie_class((uint8_t)byte), 0, SHOAL_TRIE_BROKEN - 1);
}

/* Texts of such a tokenizer have blanks that belong to no token. */
static void test_joined(void **state)
{
    shoal_tokenizer *t;
    shoal_vocab_trie trie = {0};
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    (void)state;
    assert_int_equal(shoal_tokenizer_open_memory(json, sizeof json - 1, "made", &t), SHOAL_OK);
    assert_int_equal(shoal_vocab_trie_build(t, 2, &trie), SHOAL_ERR_USAGE);
    assert_null(trie.nodes);
    shoal_tokenizer_close(t);
}

static void test_no_memory(void **state)
{
    shoal_tokenizer *t = made_tokenizer();
    shoal_vocab_trie trie = {0};
    shoal_status st = SHOAL_ERR_TEMPORARY;
    (void)state;
    for (uint64_t n = 1; st != SHOAL_OK; n++) {
        shoal_mem_fail_nth(n);
        st = shoal_vocab_trie_build(t, MADE_SIZE, &trie);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_OK || (st == SHOAL_ERR_TEMPORARY && !trie.nodes));
    }
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made),      cmocka_unit_test(test_tiny_llama),
        cmocka_unit_test(test_classes),   cmocka_unit_test(test_joined),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

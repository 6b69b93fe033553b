/* The trie against the plain list of a tokenizer's tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/text/grammar/vocab_trie.h"
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

/* A branch is what lies deeper until something does not, and `below` the classes in it. */
static void check_branches(const shoal_vocab_trie *trie)
{
    for (uint32_t i = 0; i < trie->count; i++) {
        const shoal_trie_node *node = &trie->nodes[i];
        unsigned below = 0;
        uint32_t k = i + 1;
        for (; k < trie->count && trie->nodes[k].depth > node->depth; k++)
            below |= 1u << shoal_trie_class(trie->nodes[k].byte);
        assert_int_equal(node->end, k);
        assert_int_equal(node->below, below);
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
        assert_in_range(shoal_trie_class((uint8_t)byte), 0, SHOAL_TRIE_CLASSES - 1);
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

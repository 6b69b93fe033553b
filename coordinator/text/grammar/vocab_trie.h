/* coordinator/text/grammar/vocab_trie.h - the byte strings of a vocabulary, laid out for one walk.
 *
 * Every ordinary token of a tokenizer, by its bytes, in a tree of bytes that is stored depth first:
 * who walks the array from front to back visits every beginning of a token once, behind the one
 * that is a byte shorter, and leaves a whole branch out by going on at its `end`. The tokens of a
 * branch lie together, so that a branch can be taken as a whole, too; `below` says which classes of
 * bytes are in it.
 *
 * Not in it: special tokens, tokens without bytes, tokens of more than SHOAL_TRIE_DEPTH_MAX bytes,
 * ids that have no logit. Read-only once built; any thread. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_VOCAB_TRIE_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_VOCAB_TRIE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/tokenizer.h"

#define SHOAL_TRIE_DEPTH_MAX 1024

/* Classes of bytes: such that a text usually goes on alike behind all bytes of a class. */
enum { SHOAL_TRIE_CLASSES = 8 };

typedef struct {
    uint32_t first; /* ids[first .. first of the next node) are the tokens that end here */
    uint32_t end;   /* the node behind its branch */
    uint16_t depth; /* bytes from the root, 1 for the first */
    uint8_t byte;
    uint8_t below; /* bit c: class c is among the bytes of its branch, its own left out */
} shoal_trie_node;

typedef struct {
    const shoal_tokenizer *tokenizer; /* borrowed */
    int64_t vocab;                    /* width of the logits */
    shoal_trie_node *nodes;           /* [count + 1]: behind the last one that has no byte */
    uint32_t count;
    int32_t *ids; /* [nodes[count].first] */
} shoal_vocab_trie;

/* The tokenizer outlives the trie. SHOAL_ERR_USAGE when texts of this tokenizer are not the bytes
 * of its tokens one after another. */
SHOAL_MUST_USE shoal_status shoal_vocab_trie_build(const shoal_tokenizer *tokenizer, int64_t vocab,
                                                   shoal_vocab_trie *out);
void shoal_vocab_trie_free(shoal_vocab_trie *trie); /* {0} is allowed */

/* The class of a byte. */
int shoal_trie_class(uint8_t byte);

#endif

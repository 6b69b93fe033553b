/* coordinator/text/grammar/vocab_trie.h - the byte strings of a vocabulary, laid out for one walk.
 *
 * Every ordinary token of a tokenizer, by its bytes, in a tree of bytes that is stored depth first:
 * who walks the array from front to back visits every beginning of a token once, behind the one
 * that is a byte shorter, and leaves a whole branch out by going on at its `end`. The tokens of a
 * branch lie together, so that a branch can be taken as a whole, too; `below` and `height` say what
 * is in it.
 *
 * Not in it: special tokens, tokens without bytes, tokens of more than SHOAL_TRIE_DEPTH_MAX bytes,
 * ids that have no logit. Read-only once built; any thread. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_VOCAB_TRIE_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_VOCAB_TRIE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/tokenizer.h"

#define SHOAL_TRIE_DEPTH_MAX 1024

/* Classes of characters: such that a text usually goes on alike behind all of a class. What is not
 * part of a whole character of its token is of the last class. */
enum {
    SHOAL_TRIE_BEYOND_ASCII,
    SHOAL_TRIE_LOWER,
    SHOAL_TRIE_UPPER,
    SHOAL_TRIE_DIGIT,
    SHOAL_TRIE_QUOTE,
    SHOAL_TRIE_BACKSLASH,
    SHOAL_TRIE_CONTROL,
    SHOAL_TRIE_OTHER, /* punctuation and the space */
    SHOAL_TRIE_BROKEN,
};

typedef struct {
    uint32_t first;  /* ids[first .. first of the next node) are the tokens that end here */
    uint32_t end;    /* the node behind its branch */
    uint16_t depth;  /* bytes from the root, 1 for the first */
    uint16_t height; /* characters that begin below it, the most on one way */
    uint16_t below;  /* bit c: class c is among what is below it */
    uint8_t byte;
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

/* The class of a byte that is a character, or part of one that is whole. */
int shoal_trie_class(uint8_t byte);

#endif

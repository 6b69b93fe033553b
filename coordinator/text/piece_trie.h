/* coordinator/text/piece_trie.h - all pieces that a text begins with, found byte by byte.
 *
 * A set of non-empty byte strings with an id each. Filled, sealed, and read-only afterwards. A step
 * costs the logarithm of the number of bytes that can follow. */
#ifndef SHOAL_COORDINATOR_TEXT_PIECE_TRIE_H
#define SHOAL_COORDINATOR_TEXT_PIECE_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/vocab.h"

typedef struct shoal_piece_trie shoal_piece_trie;

SHOAL_MUST_USE shoal_status shoal_piece_trie_create(shoal_piece_trie **out);
void shoal_piece_trie_destroy(shoal_piece_trie *trie); /* NULL is allowed */

/* The text is borrowed until the trie is sealed; of equal texts one stays. */
SHOAL_MUST_USE shoal_status shoal_piece_trie_add(shoal_piece_trie *trie, const char *text,
                                                 size_t bytes, int32_t id);
SHOAL_MUST_USE shoal_status shoal_piece_trie_seal(shoal_piece_trie *trie);

/* A sealed trie of the tokens that have one of the `kind` bits. */
SHOAL_MUST_USE shoal_status shoal_piece_trie_of(const shoal_vocab *vocab, unsigned kind,
                                                shoal_piece_trie **out);

/* From *node (0: the root) along `byte`; false when no piece goes on like this. */
bool shoal_piece_trie_step(const shoal_piece_trie *trie, unsigned char byte, uint32_t *node);

/* Nodes are numbered by the length of the paths that lead to them, from 0: the root. Those behind a
 * node: their number, *first and the ones after it. The byte that leads to a node. */
uint32_t shoal_piece_trie_nodes(const shoal_piece_trie *trie);
uint32_t shoal_piece_trie_children(const shoal_piece_trie *trie, uint32_t node, uint32_t *first);
unsigned char shoal_piece_trie_byte(const shoal_piece_trie *trie, uint32_t node);

/* The piece that ends at a node; -1 if none. */
int32_t shoal_piece_trie_id(const shoal_piece_trie *trie, uint32_t node);

/* Length of the longest piece that text[0, bytes) begins with, and its id; 0: none. */
size_t shoal_piece_trie_longest(const shoal_piece_trie *trie, const char *text, size_t bytes,
                                int32_t *id);

#endif

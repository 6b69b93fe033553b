/* coordinator/text/charsmap.h - the precompiled normalization of SentencePiece: longest prefixes of
 * the text and what they become.
 *
 * The blob (normalizer_spec.precompiled_charsmap of a .model, "precompiled_charsmap" in
 * tokenizer.json after base64) is: uint32 length of a Darts double-array trie in bytes,
 * little-endian; the trie (uint32 units); the replacements, each ended by a zero byte; the trie's
 * values are offsets into them. A character that begins no key is kept. Read-only once made. */
#ifndef SHOAL_COORDINATOR_TEXT_CHARSMAP_H
#define SHOAL_COORDINATOR_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

#define SHOAL_CHARSMAP_MAX     (4u << 20) /* bytes of a blob */
#define SHOAL_CHARSMAP_KEY_MAX 256u       /* bytes of a key  */

typedef struct shoal_charsmap shoal_charsmap;

/* The blob is copied. SHOAL_ERR_DATA when it is cut, too long, its trie points outside itself, a
 * value into the middle of a character, or a key is too long (as all are where the trie leads back
 * to itself); what passes is safe to walk, and from no place for long. */
SHOAL_MUST_USE shoal_status shoal_charsmap_create(const void *blob, size_t bytes,
                                                  shoal_charsmap **out);
void shoal_charsmap_destroy(shoal_charsmap *map); /* NULL is allowed */

/* How many bytes of text[bytes] (valid UTF-8, not empty) the longest key at its beginning takes,
 * and its replacement (borrowed). No key: the first character, as it is. */
size_t shoal_charsmap_next(const shoal_charsmap *map, const char *text, size_t bytes,
                           const char **replacement, size_t *replacement_bytes);

#endif

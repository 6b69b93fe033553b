/* coordinator/text/byte_level.h - the byte alphabet of byte-level BPE.
 *
 * Each of the 256 byte values is written as one printable character: itself for most of Latin-1,
 * U+0100 onwards for the rest (so a space is U+0120). Vocabulary strings are in this alphabet. */
#ifndef SHOAL_COORDINATOR_TEXT_BYTE_LEVEL_H
#define SHOAL_COORDINATOR_TEXT_BYTE_LEVEL_H

#include "coordinator/text/growable.h"

/* Append the bytes in the alphabet (1 or 2 bytes of UTF-8 for each). */
SHOAL_MUST_USE shoal_status shoal_byte_level_encode(const char *text, size_t bytes,
                                                    shoal_strbuf *out);

/* Append the bytes that a piece stands for. A piece with a character outside the alphabet stands
 * for its own UTF-8, whole. */
SHOAL_MUST_USE shoal_status shoal_byte_level_decode(const char *piece, size_t bytes,
                                                    shoal_strbuf *out);

#endif

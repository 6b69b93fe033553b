/* coordinator/text/char_map.h - normalizations that look at one character at a time.
 *
 * A map writes what becomes of a character, at most SHOAL_CHAR_MAP_MAX of them, and returns how
 * many: none when the character is dropped. Pure. */
#ifndef SHOAL_COORDINATOR_TEXT_CHAR_MAP_H
#define SHOAL_COORDINATOR_TEXT_CHAR_MAP_H

#include <stddef.h>
#include <stdint.h>

#define SHOAL_CHAR_MAP_MAX 3

typedef size_t (*shoal_char_map)(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);

/* Lower case, by itself: no final sigma. */
size_t shoal_char_lower(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);

/* No marks; no marks of zero width. */
size_t shoal_char_drop_marks(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);
size_t shoal_char_drop_accents(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);

/* Of "Nmt": no control characters, and a space for what stands for one. */
size_t shoal_char_nmt(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);

/* Of BERT: the same, more thoroughly; and spaces around Chinese characters. */
size_t shoal_char_bert_clean(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);
size_t shoal_char_bert_chinese(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX]);

#endif

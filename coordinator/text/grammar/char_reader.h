/* coordinator/text/grammar/char_reader.h - bytes to characters, one byte at a time.
 *
 * Two forms: text as it is (UTF-8), and the inside of a JSON string, where a character may be
 * written as itself or in any of its escapes. What was read of a character is one number; 0 is "at
 * a boundary". What no character can come of is refused at once: broken UTF-8, control characters
 * in a string, lone surrogates. Pure. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_CHAR_READER_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_CHAR_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { SHOAL_CHAR_WHOLE, SHOAL_CHAR_PART, SHOAL_CHAR_BROKEN } shoal_char_progress;

/* `part` is what was read before. WHOLE: *result is the character; PART: the new part. In a JSON
 * string a '"' at a boundary is BROKEN: who reads the string looks at it first. */
shoal_char_progress shoal_char_read(bool json_string, uint32_t part, uint8_t byte,
                                    uint32_t *result);

/* Characters [first, last] that can still come of a part, with the fewest bytes it takes. */
typedef struct {
    uint32_t first, last;
    int32_t bytes;
} shoal_char_outlook;

#define SHOAL_CHAR_OUTLOOKS 12

/* For a part that is not 0; they cover all possible characters. Returns how many. */
size_t shoal_char_outlooks(uint32_t part, shoal_char_outlook out[SHOAL_CHAR_OUTLOOKS]);

/* For a part of a character in UTF-8: another part with as many bytes to come, all of which may
 * come, the same for as many parts as possible. 0 when there is none. Who does not care which of
 * the characters comes can go on with that one. */
uint32_t shoal_char_stand_in(uint32_t part);

#endif

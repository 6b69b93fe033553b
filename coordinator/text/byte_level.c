#include "coordinator/text/byte_level.h"

#include <stdbool.h>

#include "coordinator/text/utf8.h"

#define ALPHABET_END (256 + 68) /* first character value behind the alphabet */

/* Bytes that stand for themselves: printable ASCII and Latin-1 without the soft hyphen. The others
 * take U+0100, U+0101, ... in ascending order: 0..32 then 127..160 then 173. */
static uint32_t char_of(unsigned char b)
{
    if (b <= 0x20)
        return 0x100u + b;
    if (b >= 0x7F && b <= 0xA0)
        return 0x100u + 33u + (b - 0x7Fu);
    if (b == 0xAD)
        return ALPHABET_END - 1;
    return b;
}

/* The inverse; -1 outside the alphabet. */
static int byte_of(uint32_t c)
{
    if (c >= ALPHABET_END)
        return -1;
    if (c == ALPHABET_END - 1)
        return 0xAD;
    if (c >= 0x100 + 33)
        return (int)(c - 0x100 - 33 + 0x7F);
    if (c >= 0x100)
        return (int)(c - 0x100);
    return char_of((unsigned char)c) == c ? (int)c : -1;
}

shoal_status shoal_byte_level_encode(const char *text, size_t bytes, shoal_strbuf *out)
{
    if (bytes > SIZE_MAX / SHOAL_UTF8_MAX)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "a text of %zu bytes is too large", bytes);
    SHOAL_TRY(shoal_strbuf_reserve(out, bytes * 2));
    for (size_t i = 0; i < bytes; i++) {
        char put[SHOAL_UTF8_MAX];
        const size_t length = shoal_utf8_put(char_of((unsigned char)text[i]), put);
        out->data[out->bytes++] = put[0];
        if (length == 2)
            out->data[out->bytes++] = put[1];
    }
    return SHOAL_OK;
}

shoal_status shoal_byte_level_decode(const char *piece, size_t bytes, shoal_strbuf *out)
{
    SHOAL_TRY(shoal_strbuf_reserve(out, bytes));
    const size_t start = out->bytes;
    for (size_t at = 0; at < bytes;) {
        const int b = byte_of(shoal_utf8_next(piece, &at));
        if (b < 0) {
            out->bytes = start;
            return shoal_strbuf_append(out, piece, bytes);
        }
        out->data[out->bytes++] = (char)b;
    }
    return SHOAL_OK;
}

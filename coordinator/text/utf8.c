#include "coordinator/text/utf8.h"

#include <stdio.h>
#include <string.h>

/* How many bytes a lead byte announces, and the range its second byte must be in: that range is
 * what excludes overlong forms, surrogates and values above U+10FFFF. 0 = not a lead byte. */
static size_t lead(unsigned char b, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (b < 0x80)
        return 1;
    if (b >= 0xC2 && b <= 0xDF)
        return 2;
    if (b >= 0xE0 && b <= 0xEF) {
        if (b == 0xE0)
            *low = 0xA0;
        if (b == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (b >= 0xF0 && b <= 0xF4) {
        if (b == 0xF0)
            *low = 0x90;
        if (b == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

shoal_utf8_kind shoal_utf8_look(const char *text, size_t bytes, size_t *length)
{
    const unsigned char *b = (const unsigned char *)text;
    unsigned char low, high;
    const size_t need = lead(b[0], &low, &high);
    size_t have = 1;
    while (have < need && have < bytes && b[have] >= low && b[have] <= high) {
        have++;
        low = 0x80;
        high = 0xBF;
    }
    *length = have;
    if (have == need)
        return SHOAL_UTF8_WHOLE;
    return need && have == bytes ? SHOAL_UTF8_PARTIAL : SHOAL_UTF8_BROKEN;
}

size_t shoal_utf8_valid(const char *text, size_t bytes)
{
    size_t at = 0, length;
    while (at < bytes) {
        if (!((unsigned char)text[at] & 0x80)) {
            at++;
            continue;
        }
        if (shoal_utf8_look(text + at, bytes - at, &length) != SHOAL_UTF8_WHOLE)
            break;
        at += length;
    }
    return at;
}

uint32_t shoal_utf8_next(const char *text, size_t *at)
{
    const unsigned char *b = (const unsigned char *)text + *at;
    if (b[0] < 0x80) {
        *at += 1;
        return b[0];
    }
    const size_t length = b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    uint32_t c = b[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (b[i] & 0x3Fu);
    *at += length;
    return c;
}

uint32_t shoal_utf8_previous(const char *text, size_t *at)
{
    size_t begin = *at - 1;
    while (begin > 0 && ((unsigned char)text[begin] & 0xC0) == 0x80)
        begin--;
    *at = begin;
    return shoal_utf8_next(text, &begin);
}

size_t shoal_utf8_put(uint32_t c, char out[SHOAL_UTF8_MAX])
{
    const size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char mark[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)(mark[length] | c);
    return length;
}

/* Two thirds of an encoded surrogate at the end: broken already, but the reference streams wait for
 * the third byte, so that the three replacements come together. */
static bool half_surrogate(const char *text, size_t bytes)
{
    return bytes == 2 && (unsigned char)text[0] == 0xED && (unsigned char)text[1] >= 0xA0 &&
           (unsigned char)text[1] <= 0xBF;
}

shoal_status shoal_utf8_repair(const char *text, size_t bytes, bool final, shoal_strbuf *out,
                               size_t *used)
{
    size_t at = 0;
    while (at < bytes) {
        const size_t good = shoal_utf8_valid(text + at, bytes - at);
        SHOAL_TRY(shoal_strbuf_append(out, text + at, good));
        at += good;
        if (at == bytes)
            break;
        size_t length;
        const shoal_utf8_kind kind = shoal_utf8_look(text + at, bytes - at, &length);
        if (!final && (kind == SHOAL_UTF8_PARTIAL || half_surrogate(text + at, bytes - at)))
            break;
        SHOAL_TRY(shoal_strbuf_append(out, "\xEF\xBF\xBD", 3));
        at += length;
    }
    *used = at;
    return SHOAL_OK;
}

const char *shoal_utf8_show(const char *text, size_t bytes, char out[SHOAL_UTF8_SHOW])
{
    size_t at = 0, put = 0;
    while (at < bytes && put < 60) {
        size_t length;
        const bool whole = shoal_utf8_look(text + at, bytes - at, &length) == SHOAL_UTF8_WHOLE;
        if (whole && (unsigned char)text[at] >= 0x20 && text[at] != 0x7F) {
            memcpy(out + put, text + at, length);
            put += length;
        } else {
            length = 1;
            put += (size_t)snprintf(out + put, 5, "\\x%02X", (unsigned char)text[at]);
        }
        at += length;
    }
    memcpy(out + put, at < bytes ? "..." : "", at < bytes ? 4 : 1);
    return out;
}

#include "coordinator/text/base64.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

shoal_status shoal_base64_decode(const char *text, size_t bytes, shoal_strbuf *out)
{
    size_t end = bytes;
    uint32_t bits = 0;
    unsigned have = 0;
    while (end > 0 && bytes - end < 2 && text[end - 1] == '=')
        end--;
    if (end % 4 == 1 || (end < bytes && bytes % 4 != 0))
        return shoal_fail(SHOAL_ERR_DATA, "base64 of %zu characters is cut", bytes);
    for (size_t i = 0; i < end; i++)
        if (value_of(text[i]) < 0)
            return shoal_fail(SHOAL_ERR_DATA, "character %zu is none of base64", i);
    SHOAL_TRY(shoal_strbuf_reserve(out, end / 4 * 3 + 3));
    for (size_t i = 0; i < end; i++) {
        bits = bits << 6 | (uint32_t)value_of(text[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out->data[out->bytes++] = (char)(unsigned char)(bits >> have & 0xFF);
        }
    }
    return SHOAL_OK;
}

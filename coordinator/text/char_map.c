#include "coordinator/text/char_map.h"

#include <stdbool.h>

#include "coordinator/text/unicode.h"

typedef struct {
    uint32_t first, last;
} range;

static bool inside(uint32_t c, const range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

#define INSIDE(c, ranges) inside(c, ranges, sizeof(ranges) / sizeof(ranges)[0])

static size_t keep_unless(bool dropped, uint32_t c, uint32_t *out)
{
    out[0] = c;
    return dropped ? 0 : 1;
}

size_t shoal_char_lower(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    if (c == 0x130) { /* the only one whose lower case is two characters */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = shoal_unicode_lower(c);
    return 1;
}

size_t shoal_char_drop_marks(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    return keep_unless(shoal_unicode_is_mark(c), c, out);
}

size_t shoal_char_drop_accents(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    return keep_unless(shoal_unicode_is_accent(c), c, out);
}

size_t shoal_char_nmt(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    static const range dropped[] = {{0x01, 0x08}, {0x0B, 0x0B}, {0x0E, 0x1F},
                                    {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}};
    static const range spaces[] = {{0x09, 0x0A},     {0x0C, 0x0D},     {0x1680, 0x1680},
                                   {0x200B, 0x200F}, {0x2028, 0x2029}, {0x2581, 0x2581},
                                   {0xFEFF, 0xFEFF}, {0xFFFD, 0xFFFD}};
    return keep_unless(INSIDE(c, dropped), INSIDE(c, spaces) ? ' ' : c, out);
}

size_t shoal_char_bert_clean(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    const bool space = shoal_unicode_is_space(c);
    const bool line = c == '\t' || c == '\n' || c == '\r';
    const bool dropped = c == 0xFFFD || (!line && shoal_unicode_is_other(c));
    return keep_unless(dropped, space ? ' ' : c, out);
}

size_t shoal_char_bert_chinese(uint32_t c, uint32_t out[SHOAL_CHAR_MAP_MAX])
{
    static const range chinese[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                    {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                    {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    if (!INSIDE(c, chinese))
        return keep_unless(false, c, out);
    out[0] = out[2] = ' ';
    out[1] = c;
    return 3;
}

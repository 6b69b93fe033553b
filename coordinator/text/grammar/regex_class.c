#include <string.h>

#include "coordinator/text/grammar/char_category.h"
#include "coordinator/text/grammar/regex_parser.h"
#include "coordinator/text/utf8.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` hexadecimal digits. */
static shoal_status parse_hex(shoal_regex_parser *p, size_t digits, uint32_t *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++, p->at++) {
        const int digit = p->at < p->bytes ? hex_digit(p->text[p->at]) : -1;
        if (digit < 0)
            return shoal_regex_fail(p, "a hexadecimal digit is missing");
        *value = *value << 4 | (uint32_t)digit;
    }
    return SHOAL_OK;
}

static bool is_high(uint32_t c)
{
    return c >= SHOAL_SURROGATE_FIRST && c < 0xDC00;
}

static bool is_low(uint32_t c)
{
    return c >= 0xDC00 && c <= SHOAL_SURROGATE_LAST;
}

/* Behind "\u": four digits (two such escapes for what is beyond U+FFFF), or any in braces. */
static shoal_status parse_unicode(shoal_regex_parser *p, uint32_t *c)
{
    if (p->at < p->bytes && p->text[p->at] == '{') {
        const char *end = memchr(p->text + p->at, '}', p->bytes - p->at);
        const size_t digits = end ? (size_t)(end - p->text) - p->at - 1 : 0;
        if (digits < 1 || digits > 6)
            return shoal_regex_fail(p, "\\u{...} has one to six digits");
        p->at++;
        SHOAL_TRY(parse_hex(p, digits, c));
        p->at++;
    } else {
        SHOAL_TRY(parse_hex(p, 4, c));
        uint32_t low;
        if (is_high(*c) && p->bytes - p->at >= 6 && memcmp(p->text + p->at, "\\u", 2) == 0) {
            p->at += 2;
            SHOAL_TRY(parse_hex(p, 4, &low));
            if (is_low(low))
                *c = 0x10000 + ((*c - SHOAL_SURROGATE_FIRST) << 10) + (low - 0xDC00);
        }
    }
    if (is_high(*c) || is_low(*c) || *c > SHOAL_CHAR_MAX)
        return shoal_regex_fail(p, "an escape that is no character");
    return SHOAL_OK;
}

/* Behind \p or \P. */
static shoal_status parse_property(shoal_regex_parser *p, bool negated, shoal_charset *set)
{
    const char *begin = p->text + p->at;
    const char *end =
        p->at < p->bytes && *begin == '{' ? memchr(begin, '}', p->bytes - p->at) : NULL;
    bool known = false;
    if (end)
        SHOAL_TRY(shoal_charset_category(begin + 1, (size_t)(end - begin) - 1, set, &known));
    if (!known)
        return shoal_regex_fail(p, "only general categories are supported, as \\p{Lu} or \\p{L}");
    p->at += (size_t)(end - begin) + 1;
    return negated ? shoal_charset_negate(set) : SHOAL_OK;
}

static shoal_status add_ranges(shoal_charset *set, const shoal_char_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        SHOAL_TRY(shoal_charset_add(set, ranges[i].first, ranges[i].last));
    shoal_charset_settle(set);
    return SHOAL_OK;
}

/* \d \w \s and their opposites; false when `c` is none of them. */
static shoal_status parse_shorthand(char c, shoal_charset *set, bool *found)
{
    static const shoal_char_range digits[] = {{'0', '9'}};
    static const shoal_char_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const shoal_char_range spaces[] = {
        {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const char kind = (char)(c | 0x20);
    *found = true;
    if (kind == 'd')
        SHOAL_TRY(add_ranges(set, digits, 1));
    else if (kind == 'w')
        SHOAL_TRY(add_ranges(set, words, 4));
    else if (kind == 's')
        SHOAL_TRY(add_ranges(set, spaces, sizeof spaces / sizeof *spaces));
    else
        *found = false;
    return *found && kind != c ? shoal_charset_negate(set) : SHOAL_OK;
}

/* The one character behind a backslash. */
static shoal_status parse_escaped(shoal_regex_parser *p, bool in_class, uint32_t *c)
{
    static const char names[] = "nrtfv0", values[] = "\n\r\t\f\v";
    const char name = p->text[p->at];
    const char *known = memchr(names, name, sizeof names - 1);
    if (name == 'x' || name == 'u') {
        p->at++;
        return name == 'x' ? parse_hex(p, 2, c) : parse_unicode(p, c);
    }
    if (known) {
        p->at++;
        *c = (uint32_t)values[known - names];
        if (name == '0' && p->at < p->bytes && p->text[p->at] >= '0' && p->text[p->at] <= '9')
            return shoal_regex_fail(p, "octal escapes are not supported");
        return SHOAL_OK;
    }
    if (name == 'b' && in_class) {
        p->at++;
        *c = '\b';
        return SHOAL_OK;
    }
    if (hex_digit(name) >= 0 || (name >= 'g' && name <= 'z') || (name >= 'G' && name <= 'Z'))
        return shoal_regex_fail(p, "this escape is not supported");
    *c = shoal_utf8_next(p->text, &p->at);
    return SHOAL_OK;
}

shoal_status shoal_regex_escape(shoal_regex_parser *p, bool in_class, shoal_charset *set)
{
    if (p->at == p->bytes)
        return shoal_regex_fail(p, "a backslash at the end");
    const char name = p->text[p->at];
    bool found;
    SHOAL_TRY(parse_shorthand(name, set, &found));
    if (found) {
        p->at++;
        return SHOAL_OK;
    }
    if (name == 'p' || name == 'P') {
        p->at++;
        return parse_property(p, name == 'P', set);
    }
    uint32_t c = 0;
    SHOAL_TRY(parse_escaped(p, in_class, &c));
    return shoal_charset_add(set, c, c);
}

/* One end of a range, or a set that is none; `single` says which. */
static shoal_status parse_member(shoal_regex_parser *p, shoal_charset *set, bool *single)
{
    if (p->text[p->at] == '\\') {
        p->at++;
        SHOAL_TRY(shoal_regex_escape(p, true, set));
    } else {
        if (p->bytes - p->at > 1 && memcmp(p->text + p->at, "[:", 2) == 0)
            return shoal_regex_fail(p, "classes like [:alpha:] are not supported");
        const uint32_t c = shoal_utf8_next(p->text, &p->at);
        SHOAL_TRY(shoal_charset_add(set, c, c));
    }
    *single = set->count == 1 && set->data[0].first == set->data[0].last;
    return SHOAL_OK;
}

static bool range_follows(const shoal_regex_parser *p)
{
    return p->bytes - p->at > 1 && p->text[p->at] == '-' && p->text[p->at + 1] != ']';
}

/* A member or a range of a class. */
static shoal_status parse_members(shoal_regex_parser *p, shoal_charset *set)
{
    shoal_status st = SHOAL_OK;
    shoal_charset low = {0}, high = {0};
    bool single = false, other = false;
    SHOAL_TRY_GOTO(parse_member(p, &low, &single), done);
    if (range_follows(p)) {
        p->at++;
        SHOAL_TRY_GOTO(parse_member(p, &high, &other), done);
        if (!single || !other || low.data[0].first > high.data[0].first)
            st = shoal_regex_fail(p, "a range that has no order");
        else
            st = shoal_charset_add(set, low.data[0].first, high.data[0].first);
    } else {
        st = shoal_charset_join(set, &low);
    }
done:
    shoal_charset_free(&low);
    shoal_charset_free(&high);
    return st;
}

shoal_status shoal_regex_class(shoal_regex_parser *p, shoal_charset *set)
{
    const bool negated = p->at < p->bytes && p->text[p->at] == '^';
    p->at += negated;
    if (p->at < p->bytes && p->text[p->at] == ']')
        return shoal_regex_fail(p, "an empty class");
    while (p->at < p->bytes && p->text[p->at] != ']')
        SHOAL_TRY(parse_members(p, set));
    if (p->at == p->bytes)
        return shoal_regex_fail(p, "a class without ']'");
    p->at++;
    shoal_charset_settle(set);
    return negated ? shoal_charset_negate(set) : SHOAL_OK;
}

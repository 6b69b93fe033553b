#include "coordinator/text/json_scan.h"

#include <stddef.h>
#include <string.h>

static shoal_json_verdict go(shoal_json_scan *s, shoal_json_state state)
{
    s->state = state;
    return SHOAL_JSON_MORE;
}

static shoal_json_verdict value_ends(shoal_json_scan *s)
{
    s->state = SHOAL_JSON_AFTER;
    return s->depth == 0 ? SHOAL_JSON_DONE : SHOAL_JSON_MORE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- brackets ---- */

static shoal_json_verdict open_bracket(shoal_json_scan *s, bool object)
{
    if (s->depth == SHOAL_JSON_SCAN_DEPTH_MAX)
        return SHOAL_JSON_BROKEN;
    const uint64_t bit = (uint64_t)1 << s->depth++;
    s->objects = object ? s->objects | bit : s->objects & ~bit;
    return go(s, object ? SHOAL_JSON_FIRST_KEY : SHOAL_JSON_FIRST_VALUE);
}

static bool in_object(const shoal_json_scan *s)
{
    return s->depth > 0 && s->objects >> (s->depth - 1) & 1;
}

static shoal_json_verdict close_bracket(shoal_json_scan *s, char c)
{
    if (s->depth == 0 || in_object(s) != (c == '}'))
        return SHOAL_JSON_BROKEN;
    s->depth--;
    return value_ends(s);
}

/* ---- one situation each ---- */

static shoal_json_verdict begin_value(shoal_json_scan *s, char c)
{
    switch (c) {
    case '{': return open_bracket(s, true);
    case '[': return open_bracket(s, false);
    case '"': return go(s, SHOAL_JSON_IN_STRING);
    case '-': return go(s, SHOAL_JSON_MINUS);
    case '0': return go(s, SHOAL_JSON_ZERO);
    case 't': s->rest = "rue"; return go(s, SHOAL_JSON_IN_LITERAL);
    case 'f': s->rest = "alse"; return go(s, SHOAL_JSON_IN_LITERAL);
    case 'n': s->rest = "ull"; return go(s, SHOAL_JSON_IN_LITERAL);
    default: return is_digit(c) ? go(s, SHOAL_JSON_DIGITS) : SHOAL_JSON_BROKEN;
    }
}

static shoal_json_verdict literal(shoal_json_scan *s, char c)
{
    if (c != *s->rest)
        return SHOAL_JSON_BROKEN;
    return *++s->rest ? SHOAL_JSON_MORE : value_ends(s);
}

static shoal_json_verdict escaped(shoal_json_scan *s, char c)
{
    if (s->escape > 0) {
        s->escape--;
        return c && strchr("0123456789abcdefABCDEF", c) ? SHOAL_JSON_MORE : SHOAL_JSON_BROKEN;
    }
    s->escape = c == 'u' ? 4 : 0;
    return c && strchr("\"\\/bfnrtu", c) ? SHOAL_JSON_MORE : SHOAL_JSON_BROKEN;
}

static shoal_json_verdict quoted(shoal_json_scan *s, char c)
{
    if (s->escape != 0)
        return escaped(s, c);
    if (c == '\\')
        s->escape = -1;
    else if (c == '"')
        return s->state == SHOAL_JSON_IN_KEY ? go(s, SHOAL_JSON_COLON) : value_ends(s);
    return (unsigned char)c < 0x20 ? SHOAL_JSON_BROKEN : SHOAL_JSON_MORE;
}

static shoal_json_verdict behind_value(shoal_json_scan *s, char c)
{
    if (c == ',' && s->depth > 0)
        return go(s, in_object(s) ? SHOAL_JSON_KEY : SHOAL_JSON_VALUE);
    return c == '}' || c == ']' ? close_bracket(s, c) : SHOAL_JSON_BROKEN;
}

/* What may follow each part of a number: digits lead to `digit`; '.' and 'e' where allowed; and
 * whether the number may end here. */
static const struct {
    shoal_json_state digit;
    bool zero_first, point, e, end;
} parts[] = {
    [SHOAL_JSON_MINUS] = {.digit = SHOAL_JSON_DIGITS, .zero_first = true},
    [SHOAL_JSON_ZERO] = {.point = true, .e = true, .end = true},
    [SHOAL_JSON_DIGITS] = {.digit = SHOAL_JSON_DIGITS, .point = true, .e = true, .end = true},
    [SHOAL_JSON_POINT] = {.digit = SHOAL_JSON_FRACTION},
    [SHOAL_JSON_FRACTION] = {.digit = SHOAL_JSON_FRACTION, .e = true, .end = true},
    [SHOAL_JSON_E] = {.digit = SHOAL_JSON_EXPONENT},
    [SHOAL_JSON_E_SIGN] = {.digit = SHOAL_JSON_EXPONENT},
    [SHOAL_JSON_EXPONENT] = {.digit = SHOAL_JSON_EXPONENT, .end = true},
};

static shoal_json_verdict number(shoal_json_scan *s, char c)
{
    const shoal_json_state state = s->state;
    if (parts[state].zero_first && c == '0')
        return go(s, SHOAL_JSON_ZERO);
    if (parts[state].digit && is_digit(c))
        return go(s, parts[state].digit);
    if (parts[state].point && c == '.')
        return go(s, SHOAL_JSON_POINT);
    if (parts[state].e && (c == 'e' || c == 'E'))
        return go(s, SHOAL_JSON_E);
    if (state == SHOAL_JSON_E && (c == '+' || c == '-'))
        return go(s, SHOAL_JSON_E_SIGN);
    if (!parts[state].end)
        return SHOAL_JSON_BROKEN;
    s->state = SHOAL_JSON_AFTER;
    return shoal_json_blank(c) ? SHOAL_JSON_MORE : behind_value(s, c);
}

shoal_json_verdict shoal_json_scan_byte(shoal_json_scan *s, char c)
{
    switch (s->state) {
    case SHOAL_JSON_IN_KEY:
    case SHOAL_JSON_IN_STRING: return quoted(s, c);
    case SHOAL_JSON_IN_LITERAL: return literal(s, c);
    case SHOAL_JSON_MINUS:
    case SHOAL_JSON_ZERO:
    case SHOAL_JSON_DIGITS:
    case SHOAL_JSON_POINT:
    case SHOAL_JSON_FRACTION:
    case SHOAL_JSON_E:
    case SHOAL_JSON_E_SIGN:
    case SHOAL_JSON_EXPONENT: return number(s, c);
    default: break;
    }
    if (shoal_json_blank(c))
        return SHOAL_JSON_MORE;
    switch (s->state) {
    case SHOAL_JSON_FIRST_VALUE: return c == ']' ? close_bracket(s, c) : begin_value(s, c);
    case SHOAL_JSON_FIRST_KEY:
        if (c == '}')
            return close_bracket(s, c);
        return c == '"' ? go(s, SHOAL_JSON_IN_KEY) : SHOAL_JSON_BROKEN;
    case SHOAL_JSON_KEY: return c == '"' ? go(s, SHOAL_JSON_IN_KEY) : SHOAL_JSON_BROKEN;
    case SHOAL_JSON_COLON: return c == ':' ? go(s, SHOAL_JSON_VALUE) : SHOAL_JSON_BROKEN;
    case SHOAL_JSON_AFTER: return behind_value(s, c);
    default: return begin_value(s, c);
    }
}

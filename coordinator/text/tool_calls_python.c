#include "coordinator/text/tool_calls_python.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/json_scan.h"
#include "coordinator/text/utf8.h"
#include "proto/bytes.h"

/* Readers return false when the text is no call, or when memory fails: `status` tells. */
typedef struct {
    const char *text;
    size_t bytes, at;
    int depth;
    shoal_strbuf *out;
    shoal_status status;
} reading;

static bool put(reading *r, const char *text, size_t bytes)
{
    r->status = shoal_strbuf_append(r->out, text, bytes);
    return r->status == SHOAL_OK;
}

static bool put_word(reading *r, const char *word)
{
    return put(r, word, strlen(word));
}

/* ---- words ---- */

/* What comes behind white space; U+0000 at the end. */
static char peek(reading *r)
{
    while (r->at < r->bytes && shoal_json_blank(r->text[r->at]))
        r->at++;
    return r->at < r->bytes ? r->text[r->at] : '\0';
}

static bool take(reading *r, char c)
{
    if (peek(r) != c || r->at == r->bytes)
        return false;
    r->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t word(const reading *r)
{
    size_t end = r->at;
    while (end < r->bytes && (is_letter(r->text[end]) || is_digit(r->text[end])))
        end++;
    return end - r->at;
}

/* ---- strings ---- */

static bool put_character(reading *r, uint32_t c)
{
    char text[8];
    if (c == '"' || c == '\\')
        return put(r, "\\", 1) && put(r, c == '"' ? "\"" : "\\", 1);
    if (c >= 0x20)
        return put(r, text, shoal_utf8_put(c, text));
    (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    return put_word(r, text);
}

/* So many hex digits. */
static bool hex(reading *r, int digits)
{
    static const char alphabet[] = "0123456789abcdef0123456789ABCDEF";
    uint32_t c = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        const char *found =
            r->at < r->bytes && r->text[r->at] ? strchr(alphabet, r->text[r->at]) : NULL;
        if (!found)
            return false;
        c = c << 4 | ((uint32_t)(found - alphabet) & 15);
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return false;
    return put_character(r, c);
}

static bool escape(reading *r)
{
    static const char letters[] = "\\'\"nrtbfav0", values[] = "\\'\"\n\r\t\b\f\a\v\0";
    const char c = r->at < r->bytes ? r->text[r->at++] : '\0';
    switch (c) {
    case '\0': return false;
    case '\n': return true;
    case 'x': return hex(r, 2);
    case 'u': return hex(r, 4);
    case 'U': return hex(r, 8);
    default: break;
    }
    const char *found = strchr(letters, c);
    if (found)
        return put_character(r, (unsigned char)values[found - letters]);
    r->at--; /* Python leaves a backslash that means nothing */
    return put_character(r, '\\');
}

static bool string(reading *r)
{
    const char quote = r->text[r->at++];
    if (!put(r, "\"", 1))
        return false;
    while (r->at < r->bytes && r->text[r->at] != quote) {
        if (r->text[r->at] == '\\') {
            r->at++;
            if (!escape(r))
                return false;
        } else if (!put_character(r, shoal_utf8_next(r->text, &r->at))) {
            return false;
        }
    }
    if (r->at == r->bytes)
        return false;
    r->at++;
    return put(r, "\"", 1);
}

/* ---- values ---- */

static size_t digits(reading *r)
{
    const size_t begin = r->at;
    while (r->at < r->bytes && is_digit(r->text[r->at]))
        r->at++;
    return r->at - begin;
}

static bool take_one_of(reading *r, const char *choice)
{
    if (r->at == r->bytes || !r->text[r->at] || !strchr(choice, r->text[r->at]))
        return false;
    r->at++;
    return true;
}

/* Numbers that Python and JSON write alike. */
static bool number(reading *r)
{
    const size_t begin = r->at;
    (void)take_one_of(r, "-");
    const size_t whole = r->at, length = digits(r);
    if (length == 0 || (length > 1 && r->text[whole] == '0'))
        return false;
    if (take_one_of(r, ".") && digits(r) == 0)
        return false;
    if (take_one_of(r, "eE")) {
        (void)take_one_of(r, "+-");
        if (digits(r) == 0)
            return false;
    }
    return put(r, r->text + begin, r->at - begin);
}

static bool constant(reading *r)
{
    static const char *const names[][2] = {
        {"True", "true"}, {"False", "false"}, {"None", "null"},
        {"true", "true"}, {"false", "false"}, {"null", "null"},
    };
    const size_t bytes = word(r);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (shoal_text_is(r->text + r->at, bytes, names[i][0])) {
            r->at += bytes;
            return put_word(r, names[i][1]);
        }
    return false;
}

static bool value(reading *r);

static bool entry(reading *r)
{
    const char c = peek(r);
    if (c != '"' && c != '\'')
        return false;
    return string(r) && take(r, ':') && put(r, ": ", 2) && value(r);
}

static bool argument(reading *r)
{
    (void)peek(r);
    const size_t bytes = word(r), begin = r->at;
    if (bytes == 0 || is_digit(r->text[begin]))
        return false;
    r->at += bytes;
    return put(r, "\"", 1) && put(r, r->text + begin, bytes) && put(r, "\": ", 3) && take(r, '=') &&
           value(r);
}

/* Elements up to the closing bracket; a comma may stand before it. */
static bool elements(reading *r, char close, bool (*element)(reading *))
{
    for (bool first = true; !take(r, close); first = false) {
        if (!first && (!take(r, ',') || !put(r, ", ", 2)))
            return false;
        if (!first && take(r, close)) {
            r->out->bytes -= 2;
            return true;
        }
        if (!element(r))
            return false;
    }
    return true;
}

static bool bracket(reading *r, char close, const char *json, bool (*element)(reading *))
{
    if (++r->depth > SHOAL_PYTHON_DEPTH_MAX)
        return false;
    r->at++;
    const bool read = put(r, json, 1) && elements(r, close, element) && put(r, json + 1, 1);
    r->depth--;
    return read;
}

static bool value(reading *r)
{
    const char c = peek(r);
    switch (c) {
    case '"':
    case '\'': return string(r);
    case '[': return bracket(r, ']', "[]", value);
    case '{': return bracket(r, '}', "{}", entry);
    default: return is_digit(c) || c == '-' ? number(r) : constant(r);
    }
}

shoal_status shoal_python_call_read(const char *text, size_t bytes, size_t *name,
                                    shoal_strbuf *arguments, bool *valid)
{
    const size_t before = arguments->bytes;
    reading r = {.text = text, .bytes = bytes, .out = arguments};
    const char *open = memchr(text, '(', bytes);
    *valid = false;
    if (!open)
        return SHOAL_OK;
    *name = r.at = (size_t)(open - text);
    *valid = bracket(&r, ')', "{}", argument) && r.at == bytes;
    if (!*valid)
        arguments->bytes = before;
    return r.status;
}

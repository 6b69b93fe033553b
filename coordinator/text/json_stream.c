#include "coordinator/text/json_stream.h"

#include <string.h>

#include "coordinator/text/utf8.h"

char shoal_json_stream_peek(shoal_json_stream *s)
{
    for (; s->at < s->bytes; s->at++) {
        const char c = s->text[s->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return c;
    }
    return '\0';
}

bool shoal_json_stream_take(shoal_json_stream *s, char c)
{
    if (shoal_json_stream_peek(s) != c)
        return false;
    s->at++;
    return true;
}

bool shoal_json_stream_next(shoal_json_stream *s, shoal_json_list *list)
{
    const bool first = list->first;
    list->first = false;
    if (shoal_json_stream_take(s, list->close))
        return false;
    if (!first && !shoal_json_stream_take(s, ',')) {
        list->fault = true;
        return false;
    }
    return true;
}

/* ---- strings ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_word(shoal_json_stream *s, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        const int digit = s->at < s->bytes ? hex(s->text[s->at]) : -1;
        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return true;
}

/* Behind "\u"; a surrogate must have its other half. */
static bool unicode_escape(shoal_json_stream *s, uint32_t *out)
{
    uint32_t low;
    if (!hex_word(s, out) || (*out >= 0xDC00 && *out < 0xE000))
        return false;
    if (*out < 0xD800 || *out >= 0xDC00)
        return true;
    if (s->bytes - s->at < 2 || memcmp(s->text + s->at, "\\u", 2) != 0)
        return false;
    s->at += 2;
    if (!hex_word(s, &low) || low < 0xDC00 || low >= 0xE000)
        return false;
    *out = 0x10000 + ((*out - 0xD800) << 10 | (low - 0xDC00));
    return true;
}

static bool append(shoal_json_stream *s, shoal_strbuf *out, const char *text, size_t bytes)
{
    s->status = shoal_strbuf_append(out, text, bytes);
    return s->status == SHOAL_OK;
}

/* Behind a backslash. */
static bool escape(shoal_json_stream *s, shoal_strbuf *out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char put[SHOAL_UTF8_MAX];
    uint32_t c;
    const char letter = s->at < s->bytes ? s->text[s->at++] : '\0';
    if (letter == 'u')
        return unicode_escape(s, &c) && append(s, out, put, shoal_utf8_put(c, put));
    const char *row = letter ? strchr(letters, letter) : NULL;
    return row && append(s, out, &meanings[row - letters], 1);
}

/* Move to the next quote or backslash; false at what a string may not hold. */
static bool plain_part(shoal_json_stream *s)
{
    for (; s->at < s->bytes; s->at++) {
        const unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"' || c == '\\')
            return true;
        if (c < 0x20)
            return false;
    }
    return false;
}

bool shoal_json_stream_string(shoal_json_stream *s, shoal_strbuf *room, const char **text,
                              size_t *bytes)
{
    if (!shoal_json_stream_take(s, '"'))
        return false;
    size_t begin = s->at;
    if (!plain_part(s))
        return false;
    if (s->text[s->at] == '"') {
        *text = s->text + begin;
        *bytes = s->at++ - begin;
        return true;
    }
    for (room->bytes = 0;; begin = s->at) {
        if (!plain_part(s) || !append(s, room, s->text + begin, s->at - begin))
            return false;
        if (s->text[s->at++] == '"')
            break;
        if (!escape(s, room))
            return false;
    }
    *text = room->data;
    *bytes = room->bytes;
    return true;
}

static bool skip_string(shoal_json_stream *s)
{
    while (plain_part(s)) {
        if (s->text[s->at++] == '"')
            return true;
        if (s->at++ >= s->bytes)
            break;
    }
    return false;
}

/* ---- numbers and everything ---- */

bool shoal_json_stream_integer(shoal_json_stream *s, int64_t *out)
{
    const bool minus = shoal_json_stream_take(s, '-');
    const size_t begin = s->at;
    int64_t value = 0;
    while (s->at < s->bytes && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        if (s->at - begin == 18)
            return false;
        value = value * 10 + (s->text[s->at++] - '0');
    }
    const char next = s->at < s->bytes ? s->text[s->at] : '\0';
    if (s->at == begin || (s->text[begin] == '0' && s->at > begin + 1) || next == '.' ||
        next == 'e' || next == 'E')
        return false;
    *out = minus ? -value : value;
    return true;
}

bool shoal_json_stream_skip(shoal_json_stream *s, size_t *count)
{
    int depth = 0;
    bool empty = true;
    *count = 0;
    do {
        const char c = shoal_json_stream_peek(s);
        if (c == '\0')
            return false;
        s->at++;
        if (c == '"' && !skip_string(s))
            return false;
        if (c == ',' && depth == 1)
            ++*count;
        if (c == '}' || c == ']')
            depth--;
        else if (depth == 1)
            empty = false;
        if ((c == '{' || c == '[') && ++depth > SHOAL_JSON_STREAM_DEPTH)
            return false;
        if (depth == 0 && c != '"' && c != '}' && c != ']') /* a number or a word */
            while (s->at < s->bytes && strchr("+-.0123456789truefalsnE", s->text[s->at]) &&
                   s->text[s->at])
                s->at++;
    } while (depth > 0);
    *count += !empty;
    return depth == 0;
}

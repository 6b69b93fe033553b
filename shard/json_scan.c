#include "shard/json_scan.h"

#include <string.h>

bool shoal_json_scan_fault(shoal_json_scan *scan, const char *what)
{
    scan->fault = what;
    return false;
}

/* Length of the well-formed UTF-8 character at `at`, 0 if there is none (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *s, size_t room)
{
    const unsigned char lead = s[0];
    if (lead < 0x80)
        return 1;
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || room < length)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f; /* no surrogates */
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f; /* up to U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return length;
}

bool shoal_json_scan_start(shoal_json_scan *scan, char *text, size_t bytes)
{
    *scan = (shoal_json_scan){.text = text, .bytes = bytes};
    while (scan->at < bytes) {
        if (text[scan->at] == '\0')
            return shoal_json_scan_fault(scan, "a NUL byte");
        const size_t length = utf8_length((const unsigned char *)text + scan->at, bytes - scan->at);
        if (!length)
            return shoal_json_scan_fault(scan, "invalid UTF-8");
        scan->at += length;
    }
    scan->at = 0;
    return true;
}

char shoal_json_scan_peek(shoal_json_scan *scan)
{
    for (; scan->at < scan->bytes; scan->at++) {
        const char c = scan->text[scan->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return c;
    }
    return '\0';
}

bool shoal_json_scan_take(shoal_json_scan *scan, char expected)
{
    if (shoal_json_scan_peek(scan) == expected) {
        scan->at++;
        return true;
    }
    switch (expected) {
    case '{': return shoal_json_scan_fault(scan, "'{' is missing");
    case '[': return shoal_json_scan_fault(scan, "'[' is missing");
    case ']': return shoal_json_scan_fault(scan, "']' is missing");
    case ':': return shoal_json_scan_fault(scan, "':' is missing");
    case ',': return shoal_json_scan_fault(scan, "',' is missing");
    default: return shoal_json_scan_fault(scan, "malformed JSON");
    }
}

bool shoal_json_scan_more(shoal_json_scan *scan, char close, bool *more)
{
    const char c = shoal_json_scan_peek(scan);
    if (c != ',' && c != close)
        return shoal_json_scan_fault(scan, close == '}' ? "',' or '}' is missing"
                                                        : "',' or ']' is missing");
    scan->at++;
    *more = c == ',';
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits at the cursor. */
static bool hex_word(shoal_json_scan *scan, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        const int digit = scan->at < scan->bytes ? hex_value(scan->text[scan->at]) : -1;
        if (digit < 0)
            return shoal_json_scan_fault(scan, "malformed \\u escape");
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* After "\u": never longer than what it stands for, so it is written over it. */
static bool unicode_escape(shoal_json_scan *scan, char **to)
{
    uint32_t c = 0, low = 0;
    if (!hex_word(scan, &c))
        return false;
    if (c >= 0xd800 && c < 0xdc00) {
        if (scan->bytes - scan->at < 2 || memcmp(scan->text + scan->at, "\\u", 2) != 0)
            return shoal_json_scan_fault(scan, "half of a surrogate pair");
        scan->at += 2;
        if (!hex_word(scan, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return shoal_json_scan_fault(scan, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
    } else if (c >= 0xdc00 && c < 0xe000) {
        return shoal_json_scan_fault(scan, "half of a surrogate pair");
    }
    if (c == 0)
        return shoal_json_scan_fault(scan, "a NUL in a string");
    *to = put_utf8(*to, c);
    return true;
}

static bool escape(shoal_json_scan *scan, char **to)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char c = scan->at < scan->bytes ? scan->text[scan->at] : '\0';
    if (c == 'u') {
        scan->at++;
        return unicode_escape(scan, to);
    }
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter)
        return shoal_json_scan_fault(scan, "unknown escape in a string");
    *(*to)++ = meanings[letter - letters];
    scan->at++;
    return true;
}

bool shoal_json_scan_string(shoal_json_scan *scan, char **out)
{
    if (shoal_json_scan_peek(scan) != '"')
        return shoal_json_scan_fault(scan, "a string is missing");
    char *const start = scan->text + ++scan->at;
    char *to = start;
    while (scan->at < scan->bytes) {
        const char c = scan->text[scan->at];
        if (c == '"') {
            scan->at++;
            *to = '\0';
            *out = start;
            return true;
        }
        if ((unsigned char)c < 0x20)
            return shoal_json_scan_fault(scan, "a control character in a string");
        scan->at++;
        if (c != '\\')
            *to++ = c;
        else if (!escape(scan, &to))
            return false;
    }
    return shoal_json_scan_fault(scan, "a string without end");
}

static bool is_digit(const shoal_json_scan *scan)
{
    return scan->at < scan->bytes && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9';
}

static bool is_at(const shoal_json_scan *scan, char c)
{
    return scan->at < scan->bytes && scan->text[scan->at] == c;
}

bool shoal_json_scan_u64(shoal_json_scan *scan, uint64_t *out)
{
    uint64_t value = 0;
    const char first = shoal_json_scan_peek(scan);
    if (first == '-')
        return shoal_json_scan_fault(scan, "a negative number");
    if (!is_digit(scan))
        return shoal_json_scan_fault(scan, "a whole number is missing");
    const size_t begin = scan->at;
    for (; is_digit(scan); scan->at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(scan->text[scan->at] - '0'), &value))
            return shoal_json_scan_fault(scan, "a number over 2^64-1");
    if (first == '0' && scan->at - begin > 1)
        return shoal_json_scan_fault(scan, "a number with leading zeros");
    if (is_at(scan, '.') || is_at(scan, 'e') || is_at(scan, 'E'))
        return shoal_json_scan_fault(scan, "a number that is not written as a whole one");
    *out = value;
    return true;
}

static bool digits(shoal_json_scan *scan)
{
    if (!is_digit(scan))
        return shoal_json_scan_fault(scan, "a malformed number");
    while (is_digit(scan))
        scan->at++;
    return true;
}

static bool skip_number(shoal_json_scan *scan)
{
    if (is_at(scan, '-'))
        scan->at++;
    if (is_at(scan, '0'))
        scan->at++;
    else if (!digits(scan))
        return false;
    if (is_at(scan, '.')) {
        scan->at++;
        if (!digits(scan))
            return false;
    }
    if (is_at(scan, 'e') || is_at(scan, 'E')) {
        scan->at++;
        if (is_at(scan, '+') || is_at(scan, '-'))
            scan->at++;
        return digits(scan);
    }
    return true;
}

static bool skip_scalar(shoal_json_scan *scan, char first)
{
    static const char *const words[] = {"true", "false", "null"};
    char *ignored;
    if (first == '"')
        return shoal_json_scan_string(scan, &ignored);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t length = strlen(words[i]);
        if (first == words[i][0] && scan->bytes - scan->at >= length &&
            memcmp(scan->text + scan->at, words[i], length) == 0) {
            scan->at += length;
            return true;
        }
    }
    return skip_number(scan);
}

static bool skip_key(shoal_json_scan *scan)
{
    char *ignored;
    return shoal_json_scan_string(scan, &ignored) && shoal_json_scan_take(scan, ':');
}

/* `closing` is a stack of the brackets that are open. */
bool shoal_json_scan_skip(shoal_json_scan *scan, int depth)
{
    char closing[SHOAL_JSON_SCAN_DEPTH];
    int open = 0;
    for (;;) {
        const char first = shoal_json_scan_peek(scan);
        const bool container = first == '{' || first == '[';
        if (container) {
            if (depth + open >= SHOAL_JSON_SCAN_DEPTH)
                return shoal_json_scan_fault(scan, "nested deeper than 8 levels");
            closing[open++] = first == '{' ? '}' : ']';
            scan->at++;
            if (shoal_json_scan_peek(scan) != closing[open - 1]) {
                if (first == '{' && !skip_key(scan))
                    return false;
                continue;
            }
            scan->at++;
            open--;
        } else if (!skip_scalar(scan, first)) {
            return false;
        }
        bool more = false;
        while (open > 0 && !more) {
            const char close = closing[open - 1];
            if (!shoal_json_scan_more(scan, close, &more))
                return false;
            if (!more)
                open--;
            else if (close == '}' && !skip_key(scan))
                return false;
        }
        if (open == 0)
            return true;
    }
}

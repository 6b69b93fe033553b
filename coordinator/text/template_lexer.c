#include "coordinator/text/template_lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/template_strings.h"
#include "coordinator/text/utf8.h"

#define BRACKETS_MAX 256
#define NUMBER_MAX   64 /* characters of a number */

typedef struct {
    shoal_heap *heap;
    const char *name;
    shoal_text source;
    size_t at;
    int line; /* of `at` */
    char brackets[BRACKETS_MAX];
    int depth; /* open brackets of the present tag */
    shoal_lexeme *lexemes;
    size_t count, capacity;
} lexer;

static shoal_status complain(const lexer *l, const char *what)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s, line %d: %s", l->name, l->line, what);
}

/* ---- moving over the source ------------------------------------------------------------------ */

static bool looking_at(const lexer *l, size_t at, const char *word)
{
    const size_t bytes = strlen(word);
    return bytes <= l->source.bytes - at && memcmp(l->source.data + at, word, bytes) == 0;
}

static char byte_at(const lexer *l, size_t at)
{
    return at < l->source.bytes ? l->source.data[at] : '\0';
}

static size_t skip_spaces(const lexer *l, size_t at)
{
    while (at < l->source.bytes) {
        size_t next = at;
        if (!shoal_is_space(shoal_utf8_next(l->source.data, &next)))
            break;
        at = next;
    }
    return at;
}

static void move_to(lexer *l, size_t at)
{
    for (; l->at < at; l->at++)
        l->line += l->source.data[l->at] == '\n';
}

static shoal_status emit(lexer *l, shoal_lexeme_kind kind, shoal_text text, shoal_value value)
{
    void *lexemes = l->lexemes;
    SHOAL_TRY(shoal_heap_grow(l->heap, l->count, sizeof *l->lexemes, &lexemes, &l->capacity));
    l->lexemes = lexemes;
    l->lexemes[l->count++] =
        (shoal_lexeme){.kind = kind, .line = l->line, .text = text, .value = value};
    return SHOAL_OK;
}

/* Emit [l->at, end) and move behind it. */
static shoal_status take(lexer *l, shoal_lexeme_kind kind, size_t end, shoal_value value)
{
    SHOAL_TRY(emit(l, kind, (shoal_text){l->source.data + l->at, end - l->at}, value));
    move_to(l, end);
    return SHOAL_OK;
}

/* Where a tag that ends with `close` at `at` is over: a sign and white space or a line end belong
 * to it. 0 when none ends there. */
static size_t tag_end(const lexer *l, size_t at, const char *close)
{
    const bool output = close[0] == '}';
    const char sign = byte_at(l, at);
    const bool signed_end =
        (sign == '-' || (sign == '+' && !output)) && looking_at(l, at + 1, close);
    if (signed_end)
        return sign == '-' ? skip_spaces(l, at + 3) : at + 3;
    if (!looking_at(l, at, close))
        return 0;
    return at + 2 + (!output && byte_at(l, at + 2) == '\n');
}

/* ---- data between tags ----------------------------------------------------------------------- */

/* The data [begin, end) before a tag with this sign, without the white space that goes. */
static size_t stripped_end(const lexer *l, size_t begin, size_t end, char sign, bool output)
{
    size_t at = end;
    while (at > begin) {
        size_t before = at;
        const uint32_t c = shoal_utf8_previous(l->source.data, &before);
        if (!shoal_is_space(c) || (sign != '-' && c == '\n'))
            break;
        at = before;
    }
    if (sign == '-')
        return at;
    const bool line_start = at == 0 || l->source.data[at - 1] == '\n';
    return sign != '+' && !output && line_start ? at : end;
}

static shoal_status lex_data(lexer *l, size_t end, char sign, bool output)
{
    const size_t stripped = stripped_end(l, l->at, end, sign, output);
    if (stripped > l->at)
        SHOAL_TRY(take(l, SHOAL_LEXEME_DATA, stripped, shoal_none()));
    move_to(l, end);
    return SHOAL_OK;
}

/* The next "{{", "{%" or "{#", or the end. */
static size_t next_tag(const lexer *l)
{
    for (size_t at = l->at; at + 1 < l->source.bytes; at++) {
        const char next = l->source.data[at + 1];
        if (l->source.data[at] == '{' && (next == '{' || next == '%' || next == '#'))
            return at;
    }
    return l->source.bytes;
}

static char sign_at(const lexer *l, size_t at)
{
    const char c = byte_at(l, at);
    return c == '-' || c == '+' ? c : '\0';
}

static shoal_status lex_comment(lexer *l)
{
    for (size_t at = l->at + 2 + (sign_at(l, l->at + 2) != '\0'); at < l->source.bytes; at++) {
        const size_t end = tag_end(l, at, "#}");
        if (end) {
            move_to(l, end);
            return SHOAL_OK;
        }
    }
    return complain(l, "a comment has no end");
}

/* Where "{% word %}" that begins at `at` ends, or 0. */
static size_t word_tag_end(const lexer *l, size_t at, const char *word)
{
    at = skip_spaces(l, at + 2 + (sign_at(l, at + 2) != '\0'));
    return looking_at(l, at, word) ? tag_end(l, skip_spaces(l, at + strlen(word)), "%}") : 0;
}

static shoal_status lex_raw(lexer *l, size_t begin)
{
    move_to(l, begin);
    for (size_t at = begin; at < l->source.bytes; at++) {
        const size_t end = looking_at(l, at, "{%") ? word_tag_end(l, at, "endraw") : 0;
        if (end) {
            SHOAL_TRY(lex_data(l, at, sign_at(l, at + 2), false));
            move_to(l, end);
            return SHOAL_OK;
        }
    }
    return complain(l, "a raw block has no end");
}

/* ---- inside tags ----------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static size_t skip_digits(const lexer *l, size_t at)
{
    while (is_digit(byte_at(l, at)) || (byte_at(l, at) == '_' && is_digit(byte_at(l, at + 1))))
        at++;
    return at;
}

/* Behind a fraction or an exponent at `at`, or `at` itself. */
static size_t float_end(const lexer *l, size_t at)
{
    if (byte_at(l, at) == '.' && is_digit(byte_at(l, at + 1)))
        at = skip_digits(l, at + 1);
    if (byte_at(l, at) == 'e' || byte_at(l, at) == 'E') {
        const size_t digits = at + 1 + (sign_at(l, at + 1) != '\0');
        if (is_digit(byte_at(l, digits)))
            at = skip_digits(l, digits);
    }
    return at;
}

static shoal_status lex_number(lexer *l)
{
    char digits[NUMBER_MAX + 1];
    size_t n = 0;
    const size_t whole = skip_digits(l, l->at);
    /* x.0.5 is an element of an element, not a fraction. */
    const bool element = l->at > 0 && l->source.data[l->at - 1] == '.';
    const size_t end = element ? whole : float_end(l, whole);
    for (size_t at = l->at; at < end; at++) {
        if (n == NUMBER_MAX)
            return complain(l, "a number is too long");
        if (l->source.data[at] != '_')
            digits[n++] = l->source.data[at];
    }
    digits[n] = '\0';
    if (is_name(byte_at(l, end)))
        return complain(l, "a number ends in letters");
    if (end > whole)
        return take(l, SHOAL_LEXEME_LITERAL, end, shoal_float(strtod(digits, NULL)));
    errno = 0;
    const long long value = strtoll(digits, NULL, 10);
    if (errno)
        return complain(l, "an integer has more than 64 bits");
    return take(l, SHOAL_LEXEME_LITERAL, end, shoal_int(value));
}

/* One of \xHH, \uHHHH, \UHHHHHHHH; *at stands behind the letter. */
static shoal_status hex_escape(const lexer *l, shoal_text raw, size_t digits, size_t *at,
                               uint32_t *c)
{
    *c = 0;
    for (size_t i = 0; i < digits; i++, (*at)++) {
        const char *all = "0123456789abcdef";
        const char digit = *at < raw.bytes ? raw.data[*at] : '\0';
        const char *found = strchr(all, digit >= 'A' && digit <= 'F' ? digit + 32 : digit);
        if (!digit || !found)
            return complain(l, "an escape in a string has too few hexadecimal digits");
        *c = *c << 4 | (uint32_t)(found - all);
    }
    if (*c > 0x10FFFF || (*c >= 0xD800 && *c <= 0xDFFF))
        return complain(l, "an escape in a string is no character");
    return SHOAL_OK;
}

static uint32_t octal_escape(shoal_text raw, size_t *at)
{
    uint32_t c = 0;
    for (int i = 0; i < 3 && *at < raw.bytes && raw.data[*at] >= '0' && raw.data[*at] <= '7'; i++)
        c = c << 3 | (uint32_t)(raw.data[(*at)++] - '0');
    return c;
}

/* The character that stands behind a backslash; *at moves behind it. *kept: the backslash means
 * nothing and stays. */
static shoal_status escape(const lexer *l, shoal_text raw, size_t *at, uint32_t *c, bool *kept)
{
    static const char letters[] = "abfnrtv\\'\"", meanings[] = "\a\b\f\n\r\t\v\\'\"";
    const char letter = raw.data[*at];
    const char *found = memchr(letters, letter, sizeof letters - 1);
    *kept = false;
    if (letter == 'x' || letter == 'u' || letter == 'U') {
        (*at)++;
        return hex_escape(l, raw, letter == 'x' ? 2 : letter == 'u' ? 4 : 8, at, c);
    }
    if (letter >= '0' && letter <= '7') {
        *c = octal_escape(raw, at);
        return SHOAL_OK;
    }
    if (letter == 'N')
        return complain(l, "not supported: \\N in a string");
    *kept = !found;
    *c = shoal_utf8_next(raw.data, at);
    if (found)
        *c = (unsigned char)meanings[found - letters];
    return SHOAL_OK;
}

static shoal_status unescape(lexer *l, shoal_text raw, shoal_text *out)
{
    shoal_builder b = shoal_builder_in(l->heap);
    if (raw.bytes == 0 || !memchr(raw.data, '\\', raw.bytes)) {
        *out = raw;
        return SHOAL_OK;
    }
    for (size_t at = 0; at < raw.bytes;) {
        char put[SHOAL_UTF8_MAX];
        uint32_t c = 0;
        bool kept = false;
        if (raw.data[at] == '\\' && raw.data[at + 1] == '\n') {
            at += 2; /* a string may go on in the next line */
            continue;
        }
        if (raw.data[at] == '\\') {
            at++;
            SHOAL_TRY(escape(l, raw, &at, &c, &kept));
        } else {
            c = shoal_utf8_next(raw.data, &at);
        }
        if (kept)
            SHOAL_TRY(shoal_builder_put(&b, SHOAL_TEXT("\\")));
        SHOAL_TRY(shoal_builder_put(&b, (shoal_text){put, shoal_utf8_put(c, put)}));
    }
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

static shoal_status lex_string(lexer *l)
{
    const char quote = l->source.data[l->at];
    const size_t begin = l->at + 1;
    size_t end = begin;
    shoal_text text;
    while (end < l->source.bytes && l->source.data[end] != quote)
        end += l->source.data[end] == '\\' ? 2 : 1;
    if (end >= l->source.bytes)
        return complain(l, "a string has no end");
    SHOAL_TRY(unescape(l, (shoal_text){l->source.data + begin, end - begin}, &text));
    return take(l, SHOAL_LEXEME_LITERAL, end + 1, shoal_string(text));
}

/* Inside brackets "}}" and "%}" end no tag, so pairs must match. */
static shoal_status bracket(lexer *l, char c)
{
    if (strchr("([{", c)) {
        if (l->depth == BRACKETS_MAX)
            return complain(l, "brackets nested too deep");
        l->brackets[l->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (l->depth == 0 || l->brackets[--l->depth] != c)
            return complain(l, "a bracket is closed that is not open");
    }
    return SHOAL_OK;
}

static shoal_status lex_operator(lexer *l)
{
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    char shown[SHOAL_UTF8_SHOW];
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (looking_at(l, l->at, operators[i])) {
            SHOAL_TRY(bracket(l, operators[i][0]));
            return take(l, SHOAL_LEXEME_OPERATOR, l->at + strlen(operators[i]), shoal_none());
        }
    return shoal_fail(SHOAL_ERR_DATA, "%s, line %d: unexpected character %s", l->name, l->line,
                      shoal_utf8_show(l->source.data + l->at, 1, shown));
}

static shoal_status lex_name(lexer *l)
{
    size_t end = l->at;
    while (end < l->source.bytes && is_name(l->source.data[end]))
        end++;
    return take(l, SHOAL_LEXEME_NAME, end, shoal_none());
}

/* Up to the end of the tag. */
static shoal_status lex_tag(lexer *l, const char *close, shoal_lexeme_kind end_kind)
{
    l->depth = 0;
    for (;;) {
        move_to(l, skip_spaces(l, l->at));
        const size_t end = l->depth == 0 ? tag_end(l, l->at, close) : 0;
        const char c = byte_at(l, l->at);
        if (end)
            return take(l, end_kind, end, shoal_none());
        if (l->at == l->source.bytes)
            return complain(l, "a tag has no end");
        if (is_digit(c))
            SHOAL_TRY(lex_number(l));
        else if (is_name(c))
            SHOAL_TRY(lex_name(l));
        else if (c == '\'' || c == '"')
            SHOAL_TRY(lex_string(l));
        else
            SHOAL_TRY(lex_operator(l));
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The tag at l->at: data before it is already done. */
static shoal_status lex_any_tag(lexer *l)
{
    const char kind = l->source.data[l->at + 1];
    const size_t inside = l->at + 2 + (sign_at(l, l->at + 2) != '\0');
    const size_t raw = kind == '%' ? word_tag_end(l, l->at, "raw") : 0;
    if (kind == '#')
        return lex_comment(l);
    if (raw)
        return lex_raw(l, raw);
    if (kind == '%') {
        SHOAL_TRY(take(l, SHOAL_LEXEME_BLOCK_BEGIN, inside, shoal_none()));
        return lex_tag(l, "%}", SHOAL_LEXEME_BLOCK_END);
    }
    SHOAL_TRY(take(l, SHOAL_LEXEME_OUTPUT_BEGIN, inside, shoal_none()));
    return lex_tag(l, "}}", SHOAL_LEXEME_OUTPUT_END);
}

/* Every line ends with one \n, but for the last, which has no end. */
static shoal_status normalize(shoal_heap *heap, shoal_text source, shoal_text *out)
{
    void *block;
    size_t n = 0;
    SHOAL_TRY(shoal_heap_take(heap, source.bytes + 1, 1, &block));
    char *lines = block;
    for (size_t i = 0; i < source.bytes; i++) {
        const bool pair =
            source.data[i] == '\r' && i + 1 < source.bytes && source.data[i + 1] == '\n';
        if (!pair)
            lines[n++] = source.data[i] == '\r' ? '\n' : source.data[i];
    }
    if (n > 0 && lines[n - 1] == '\n')
        n--;
    *out = (shoal_text){lines, n};
    return SHOAL_OK;
}

shoal_status shoal_lex(shoal_heap *heap, const char *name, shoal_text source,
                       const shoal_lexeme **out)
{
    lexer l = {.heap = heap, .name = name, .line = 1};
    if (source.bytes > SHOAL_TEMPLATE_BYTES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a template of %zu bytes; at most %u", name,
                          source.bytes, SHOAL_TEMPLATE_BYTES_MAX);
    if (shoal_utf8_valid(source.data, source.bytes) != source.bytes)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a template that is not UTF-8", name);
    SHOAL_TRY(normalize(heap, source, &l.source));
    while (l.at < l.source.bytes) {
        const size_t tag = next_tag(&l);
        if (tag == l.source.bytes) {
            SHOAL_TRY(take(&l, SHOAL_LEXEME_DATA, tag, shoal_none()));
            break;
        }
        SHOAL_TRY(lex_data(&l, tag, sign_at(&l, tag + 2), l.source.data[tag + 1] == '{'));
        SHOAL_TRY(lex_any_tag(&l));
    }
    SHOAL_TRY(emit(&l, SHOAL_LEXEME_END, (shoal_text){NULL, 0}, shoal_none()));
    *out = l.lexemes;
    return SHOAL_OK;
}

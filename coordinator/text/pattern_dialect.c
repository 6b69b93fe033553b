/* From Oniguruma's dialect to PCRE2's, where the two read the same text differently:
 *
 *   \s \S \w \W \h \H   other sets of characters           written out as ranges and properties
 *   \b \B               between other words                look-arounds of these sets
 *   (?m)                there: a dot matches a newline     (?s)
 *   [[:alpha:]]         other sets of characters           properties, or refused
 *   \p{Han}             there: of this script only         \p{sc:Han}
 *   \u0041              a character                        \x{0041}
 *   \X                  clusters of another Unicode        refused
 *   [a[bc]] [a&&b]      nested sets and intersections      refused
 *   x{1,3}+             there: a group repeated            refused
 *
 * Everything else passes unchanged. ^ and $ are handled by an option of the compiler. */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "coordinator/text/pattern.h"
#include "coordinator/text/utf8.h"

/* White_Space; its complement is spelt out because a class cannot hold a negated class. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"
#define NO_SPACE                                                                                   \
    "\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"                \
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"                 \
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* Alphabetic, marks, decimal digits, connectors; outside a class also the numbers of Latin-1. */
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                    \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD_ALONE  WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX         "0-9A-Fa-f"
#define AFTER_WORD  "(?<=[" WORD_ALONE "])"
#define NOT_AFTER   "(?<![" WORD_ALONE "])"
#define BEFORE_WORD "(?=[" WORD_ALONE "])"
#define NOT_BEFORE  "(?![" WORD_ALONE "])"

typedef struct {
    char letter;
    bool inside;      /* may stand inside a class */
    const char *set;  /* inside                   */
    const char *text; /* outside                  */
} escape_row;

static const escape_row escapes[] = {
    {'s', true, SPACE, "[" SPACE "]"},
    {'S', true, NO_SPACE, "[^" SPACE "]"},
    {'w', true, WORD, "[" WORD_ALONE "]"},
    {'W', false, NULL, "[^" WORD_ALONE "]"},
    {'h', true, HEX, "[" HEX "]"},
    {'H', false, NULL, "[^" HEX "]"},
    {'b', true, "\\x08", "(?:" AFTER_WORD NOT_BEFORE "|" NOT_AFTER BEFORE_WORD ")"},
    {'B', false, NULL, "(?:" AFTER_WORD BEFORE_WORD "|" NOT_AFTER NOT_BEFORE ")"},
};

typedef struct {
    const char *text;
    size_t bytes, at;
    shoal_strbuf *out;
} reader;

static bool starts(const reader *r, const char *what)
{
    const size_t length = strlen(what);
    return r->bytes - r->at >= length && memcmp(r->text + r->at, what, length) == 0;
}

static shoal_status refuse(const reader *r, const char *what)
{
    char shown[SHOAL_UTF8_SHOW];
    return shoal_fail(SHOAL_ERR_DATA, "pattern \"%s\" is unsupported: %s (at %zu)",
                      shoal_utf8_show(r->text, r->bytes, shown), what, r->at);
}

static shoal_status copy(reader *r, size_t bytes)
{
    if (bytes > r->bytes - r->at)
        bytes = r->bytes - r->at;
    SHOAL_TRY(shoal_strbuf_append(r->out, r->text + r->at, bytes));
    r->at += bytes;
    return SHOAL_OK;
}

/* ---- properties ---- */

static bool is_name(const char *text, size_t bytes, const char *name)
{
    return bytes == strlen(name) && strncasecmp(text, name, bytes) == 0;
}

/* Properties that are called alike and are no scripts. General categories have one or two letters.
 */
static bool is_plain_property(const char *name, size_t bytes)
{
    static const char *const names[] = {"Any",   "Alphabetic", "Alpha",       "Lowercase",
                                        "Lower", "Uppercase",  "Upper",       "White_Space",
                                        "Space", "Emoji",      "Ideographic", "ASCII_Hex_Digit"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_name(name, bytes, names[i]))
            return true;
    return bytes <= 2;
}

/* r->at stands on the \p or \P of a property in braces that end at `end`; what is no script either
 * is left to the compiler to refuse. */
static shoal_status property(reader *r, const char *end)
{
    const char *name = r->text + r->at + 3;
    const size_t hat = *name == '^';
    const size_t bytes = (size_t)(end - name) - hat;
    if (is_plain_property(name + hat, bytes))
        return copy(r, (size_t)(end - (r->text + r->at)) + 1);
    const bool negated = (r->text[r->at + 1] == 'P') != (hat == 1);
    SHOAL_TRY(shoal_strbuf_append(r->out, negated ? "\\P{sc:" : "\\p{sc:", 6));
    SHOAL_TRY(shoal_strbuf_append(r->out, name + hat, bytes + 1));
    r->at = (size_t)(end - r->text) + 1;
    return SHOAL_OK;
}

/* Classes of POSIX: what stands for one inside a class, and for its negation, NULL where that
 * cannot be said there. */
static const struct {
    const char *name, *set, *other;
} posix_classes[] = {
    {"alpha", "\\p{Alphabetic}", "\\P{Alphabetic}"},
    {"lower", "\\p{Lowercase}", "\\P{Lowercase}"},
    {"upper", "\\p{Uppercase}", "\\P{Uppercase}"},
    {"digit", "\\p{Nd}", "\\P{Nd}"},
    {"alnum", "\\p{Alphabetic}\\p{Nd}", NULL},
    {"punct", "\\p{P}\\p{S}", NULL},
    {"space", SPACE, NO_SPACE},
    {"blank", "\\t\\p{Zs}", NULL},
    {"cntrl", "\\p{Cc}", "\\P{Cc}"},
    {"xdigit", HEX, NULL},
    {"word", WORD, NULL},
    {"ascii", "\\x{00}-\\x{7f}", "\\x{80}-\\x{10ffff}"},
};

/* r->at stands on "[:". */
static shoal_status posix_class(reader *r)
{
    const char *name = r->text + r->at + 2;
    const char *end = memmem(name, r->bytes - r->at - 2, ":]", 2);
    if (!end)
        return refuse(r, "an unfinished class name");
    const bool negated = *name == '^';
    name += negated;
    for (size_t i = 0; i < sizeof posix_classes / sizeof posix_classes[0]; i++) {
        const char *set = negated ? posix_classes[i].other : posix_classes[i].set;
        if (!is_name(name, (size_t)(end - name), posix_classes[i].name) || !set)
            continue;
        r->at = (size_t)(end - r->text) + 2;
        return shoal_strbuf_append(r->out, set, strlen(set));
    }
    return refuse(r, "this class name");
}

/* ---- escapes and classes ---- */

/* \uHHHH at r->at. */
static bool is_four_hex(const reader *r)
{
    size_t digits = 0;
    while (digits < 4 && r->bytes - r->at > 2 + digits &&
           isxdigit((unsigned char)r->text[r->at + 2 + digits]))
        digits++;
    return digits == 4;
}

static shoal_status four_hex(reader *r)
{
    SHOAL_TRY(shoal_strbuf_append(r->out, "\\x{", 3));
    r->at += 2;
    SHOAL_TRY(copy(r, 4));
    return shoal_strbuf_append(r->out, "}", 1);
}

static shoal_status escape(reader *r, bool in_class)
{
    const char letter = r->bytes - r->at > 1 ? r->text[r->at + 1] : '\0';
    if (letter == 'X')
        return refuse(r, "a cluster of characters");
    if (letter == 'u' && is_four_hex(r))
        return four_hex(r);
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        const escape_row *row = &escapes[i];
        if (row->letter != letter)
            continue;
        if (in_class && !row->inside)
            return refuse(r, "a negated class inside a class");
        const char *text = in_class ? row->set : row->text;
        r->at += 2;
        return shoal_strbuf_append(r->out, text, strlen(text));
    }
    /* The braces of \p{L} or \x{2e} belong to the escape. */
    if (memchr("pPxokgN", letter, 7) && r->bytes - r->at > 2 && r->text[r->at + 2] == '{') {
        const char *end = memchr(r->text + r->at, '}', r->bytes - r->at);
        if (end && (letter == 'p' || letter == 'P'))
            return property(r, end);
        if (end)
            return copy(r, (size_t)(end - (r->text + r->at)) + 1);
    }
    return copy(r, 2);
}

/* r->at stands on the opening bracket. */
static shoal_status char_class(reader *r)
{
    SHOAL_TRY(copy(r, starts(r, "[^") ? 2 : 1));
    if (starts(r, "]"))
        return refuse(r, "an empty class");
    while (r->at < r->bytes) {
        const char c = r->text[r->at];
        if (c == '\\') {
            SHOAL_TRY(escape(r, true));
        } else if (c == ']') {
            return copy(r, 1);
        } else if (starts(r, "&&")) {
            return refuse(r, "an intersection of classes");
        } else if (starts(r, "[:")) {
            SHOAL_TRY(posix_class(r));
        } else if (c == '[') {
            return refuse(r, "a class inside a class");
        } else {
            SHOAL_TRY(copy(r, 1));
        }
    }
    return refuse(r, "an unfinished class");
}

/* r->at stands on "(?": option letters, if any, up to ':' or ')'. */
static shoal_status group_options(reader *r)
{
    SHOAL_TRY(copy(r, 2));
    size_t end = r->at;
    while (end < r->bytes && memchr("imsx-", r->text[end], 5))
        end++;
    if (end == r->bytes || (r->text[end] != ':' && r->text[end] != ')'))
        return SHOAL_OK; /* a look-around or the like */
    for (; r->at < end; r->at++)
        SHOAL_TRY(shoal_strbuf_append(r->out, r->text[r->at] == 'm' ? "s" : r->text + r->at, 1));
    return SHOAL_OK;
}

/* The size of an interval such as {2}, {2,} or {,3} at r->at; 0 when there is none. */
static size_t interval(const reader *r)
{
    size_t end = r->at + 1;
    while (end < r->bytes && memchr("0123456789,", r->text[end], 11))
        end++;
    return end < r->bytes && r->text[end] == '}' && end > r->at + 1 ? end + 1 - r->at : 0;
}

shoal_status shoal_pattern_translate(const char *regex, size_t bytes, shoal_strbuf *out)
{
    reader r = {regex, bytes, 0, out};
    while (r.at < r.bytes) {
        const char c = regex[r.at];
        const size_t span = c == '{' ? interval(&r) : 0;
        if (c == '\\') {
            SHOAL_TRY(escape(&r, false));
        } else if (c == '[') {
            SHOAL_TRY(char_class(&r));
        } else if (starts(&r, "(?")) {
            SHOAL_TRY(group_options(&r));
        } else if (span && r.at + span < r.bytes && regex[r.at + span] == '+') {
            return refuse(&r, "a repeated interval");
        } else {
            SHOAL_TRY(copy(&r, span ? span : 1));
        }
    }
    return SHOAL_OK;
}

#include "coordinator/text/grammar/regex_parser.h"

#include <string.h>

#include "coordinator/text/grammar/grammar.h"
#include "coordinator/text/growable.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

static shoal_status parse_choice(shoal_regex_parser *p, int32_t *node);

shoal_status shoal_regex_fail(const shoal_regex_parser *p, const char *reason)
{
    return shoal_fail(SHOAL_ERR_DATA, "regular expression, byte %zu: %s", p->at, reason);
}

void shoal_regex_parser_free(shoal_regex_parser *p)
{
    for (size_t i = 0; i < p->count; i++)
        shoal_charset_free(&p->nodes[i].set);
    shoal_free(p->nodes);
    p->nodes = NULL;
    p->count = p->capacity = 0;
}

static bool at_char(const shoal_regex_parser *p, char c)
{
    return p->at < p->bytes && p->text[p->at] == c;
}

static bool take(shoal_regex_parser *p, const char *word)
{
    const size_t bytes = strlen(word);
    if (p->bytes - p->at < bytes || memcmp(p->text + p->at, word, bytes) != 0)
        return false;
    p->at += bytes;
    return true;
}

static shoal_status add(shoal_regex_parser *p, shoal_regex_kind kind, int32_t *node)
{
    void *block = p->nodes;
    SHOAL_TRY(shoal_grow(&block, sizeof *p->nodes, p->count, 1, &p->capacity));
    p->nodes = block;
    *node = (int32_t)p->count;
    p->nodes[p->count++] = (shoal_regex_node){
        .kind = kind, .child = -1, .sibling = -1, .least = 1, .most = 1, .set_number = -1};
    return SHOAL_OK;
}

static void adopt(shoal_regex_parser *p, int32_t parent, int32_t child)
{
    p->nodes[child].sibling = p->nodes[parent].child;
    p->nodes[parent].child = child;
}

/* `at` stands behind the opening parenthesis. */
static shoal_status parse_group(shoal_regex_parser *p, int32_t *node)
{
    if (take(p, "?")) {
        if (take(p, "P<") || (take(p, "<") && !at_char(p, '=') && !at_char(p, '!'))) {
            while (p->at < p->bytes && p->text[p->at] != '>' && p->text[p->at] != ')')
                p->at++;
            if (!take(p, ">"))
                return shoal_regex_fail(p, "the name of a group has no end");
        } else if (!take(p, ":")) {
            return shoal_regex_fail(p, "only (...), (?:...) and named groups are supported");
        }
    }
    if (p->depth >= SHOAL_REGEX_DEPTH_MAX)
        return shoal_regex_fail(p, "too many groups within groups");
    p->depth++;
    SHOAL_TRY(parse_choice(p, node));
    p->depth--;
    return take(p, ")") ? SHOAL_OK : shoal_regex_fail(p, "a group without ')'");
}

/* `.` is any character but the ends of lines of ECMA 262. */
static shoal_status set_of_dot(shoal_charset *set)
{
    SHOAL_TRY(shoal_charset_add(set, '\n', '\n'));
    SHOAL_TRY(shoal_charset_add(set, '\r', '\r'));
    SHOAL_TRY(shoal_charset_add(set, 0x2028, 0x2029));
    shoal_charset_settle(set);
    return shoal_charset_negate(set);
}

static shoal_status parse_set(shoal_regex_parser *p, shoal_charset *set)
{
    if (take(p, "["))
        return shoal_regex_class(p, set);
    if (take(p, "."))
        return set_of_dot(set);
    if (take(p, "\\")) {
        SHOAL_TRY(shoal_regex_escape(p, false, set));
    } else {
        const uint32_t c = shoal_utf8_next(p->text, &p->at);
        SHOAL_TRY(shoal_charset_add(set, c, c));
    }
    shoal_charset_settle(set);
    return SHOAL_OK;
}

static shoal_status parse_atom(shoal_regex_parser *p, int32_t *node)
{
    if (take(p, "("))
        return parse_group(p, node);
    if (take(p, "^") || take(p, "\\A"))
        return add(p, SHOAL_REGEX_BEGIN, node);
    if (take(p, "$") || take(p, "\\z") || take(p, "\\Z"))
        return add(p, SHOAL_REGEX_END, node);
    if (at_char(p, '*') || at_char(p, '+') || at_char(p, '?'))
        return shoal_regex_fail(p, "nothing to repeat");
    shoal_charset set = {0};
    shoal_status st = parse_set(p, &set);
    if (st == SHOAL_OK)
        st = add(p, SHOAL_REGEX_SET, node);
    if (st == SHOAL_OK)
        p->nodes[*node].set = set;
    else
        shoal_charset_free(&set);
    return st;
}

static shoal_status parse_bound(shoal_regex_parser *p, int32_t *bound)
{
    int32_t value = 0;
    while (p->at < p->bytes && p->text[p->at] >= '0' && p->text[p->at] <= '9') {
        value = value * 10 + (p->text[p->at] - '0');
        if (value > SHOAL_GRAMMAR_REPEAT_MAX)
            return shoal_regex_fail(p, "a bound of a repetition is above the limit");
        p->at++;
    }
    *bound = value;
    return SHOAL_OK;
}

/* Behind '{'. Dialects differ about braces that hold no bounds: those have to be escaped. */
static shoal_status parse_braces(shoal_regex_parser *p, int32_t *least, int32_t *most)
{
    const size_t begin = p->at;
    SHOAL_TRY(parse_bound(p, least));
    const bool named = p->at > begin;
    *most = *least;
    if (named && take(p, ",")) {
        *most = SHOAL_REGEX_NO_LIMIT;
        if (!at_char(p, '}'))
            SHOAL_TRY(parse_bound(p, most));
    }
    if (!named || !take(p, "}"))
        return shoal_regex_fail(p, "'{' is neither followed by bounds nor escaped");
    if (*most != SHOAL_REGEX_NO_LIMIT && *most < *least)
        return shoal_regex_fail(p, "the bounds of a repetition are out of order");
    return SHOAL_OK;
}

/* How often the atom before `at`; *found = false when nothing is said. */
static shoal_status parse_quantifier(shoal_regex_parser *p, int32_t *least, int32_t *most,
                                     bool *found)
{
    *found = true;
    if (take(p, "*")) {
        *least = 0;
        *most = SHOAL_REGEX_NO_LIMIT;
    } else if (take(p, "+")) {
        *least = 1;
        *most = SHOAL_REGEX_NO_LIMIT;
    } else if (take(p, "?")) {
        *least = 0;
        *most = 1;
    } else if (take(p, "{")) {
        SHOAL_TRY(parse_braces(p, least, most));
    } else {
        *found = false;
        return SHOAL_OK;
    }
    (void)take(p, "?"); /* lazy: the same texts match */
    if (at_char(p, '*') || at_char(p, '+') || at_char(p, '?') || at_char(p, '{'))
        return shoal_regex_fail(p, "a repetition of a repetition has to be grouped");
    return SHOAL_OK;
}

static shoal_status parse_repeat(shoal_regex_parser *p, int32_t *node)
{
    int32_t least = 1, most = 1, atom;
    bool found;
    SHOAL_TRY(parse_atom(p, &atom));
    SHOAL_TRY(parse_quantifier(p, &least, &most, &found));
    *node = atom;
    if (!found)
        return SHOAL_OK;
    SHOAL_TRY(add(p, SHOAL_REGEX_REPEAT, node));
    p->nodes[*node].least = least;
    p->nodes[*node].most = most;
    adopt(p, *node, atom);
    return SHOAL_OK;
}

static shoal_status parse_chain(shoal_regex_parser *p, int32_t *node)
{
    SHOAL_TRY(add(p, SHOAL_REGEX_CHAIN, node));
    while (p->at < p->bytes && !at_char(p, '|') && !at_char(p, ')')) {
        int32_t item;
        SHOAL_TRY(parse_repeat(p, &item));
        adopt(p, *node, item);
    }
    return SHOAL_OK;
}

static shoal_status parse_choice(shoal_regex_parser *p, int32_t *node)
{
    SHOAL_TRY(add(p, SHOAL_REGEX_CHOICE, node));
    do {
        int32_t chain;
        SHOAL_TRY(parse_chain(p, &chain));
        adopt(p, *node, chain);
    } while (take(p, "|"));
    return SHOAL_OK;
}

shoal_status shoal_regex_parse(shoal_regex_parser *p, int32_t *root)
{
    if (shoal_utf8_valid(p->text, p->bytes) != p->bytes)
        return shoal_fail(SHOAL_ERR_DATA, "a regular expression that is no UTF-8");
    SHOAL_TRY(parse_choice(p, root));
    return p->at == p->bytes ? SHOAL_OK : shoal_regex_fail(p, "')' without a group");
}

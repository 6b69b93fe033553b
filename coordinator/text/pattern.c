#include "coordinator/text/pattern.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

/* Work one search may do before it gives up: a floor plus so much for each byte of text. */
#define MATCH_LIMIT_BASE     1000000u
#define MATCH_LIMIT_PER_BYTE 64u
#define HEAP_LIMIT_KIB       (256u << 10)
#define NEST_LIMIT           100u
#define REGEX_OPTIONS        (PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C)
#define JIT_STACK_START      (32u << 10)
#define JIT_STACK_MAX        (8u << 20)

struct shoal_pattern {
    pcre2_code *code; /* NULL: a literal */
    shoal_strbuf literal;
};

struct shoal_matcher {
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
};

static shoal_status no_memory(void)
{
    return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a regular expression");
}

static shoal_status compile(const char *regex, size_t bytes, uint32_t options, pcre2_code **out)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return no_memory();
    /* Oniguruma knows only LF as the end of a line, and ^ and $ always mean lines there. */
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, NEST_LIMIT);
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile(
        (PCRE2_SPTR)regex, bytes, PCRE2_UTF | PCRE2_NO_UTF_CHECK | options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!compiled) {
        PCRE2_UCHAR why[160];
        char shown[SHOAL_UTF8_SHOW];
        pcre2_get_error_message(code, why, sizeof why);
        return shoal_fail(SHOAL_ERR_DATA, "pattern \"%s\" is unsupported: %s (at %zu)",
                          shoal_utf8_show(regex, bytes, shown), (const char *)why, at);
    }
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it searches are interpreted */
    *out = compiled;
    return SHOAL_OK;
}

static shoal_status check_text(const char *regex, size_t bytes)
{
    char shown[SHOAL_UTF8_SHOW];
    if (bytes == 0 || bytes > SHOAL_PATTERN_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a pattern of %zu bytes (limit 1 to %u)", bytes,
                          SHOAL_PATTERN_MAX);
    if (shoal_utf8_valid(regex, bytes) != bytes)
        return shoal_fail(SHOAL_ERR_DATA, "pattern \"%s\" is not UTF-8",
                          shoal_utf8_show(regex, bytes, shown));
    return SHOAL_OK;
}

static shoal_status wrap(pcre2_code *code, shoal_pattern **out)
{
    void *block;
    const shoal_status st = shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_pattern), &block);
    if (st != SHOAL_OK) {
        pcre2_code_free(code);
        return st;
    }
    *out = block;
    (*out)->code = code;
    return SHOAL_OK;
}

shoal_status shoal_pattern_compile(const char *regex, size_t bytes, shoal_pattern **out)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf translated = {0};
    pcre2_code *code;
    SHOAL_TRY(check_text(regex, bytes));
    SHOAL_TRY_GOTO(shoal_pattern_translate(regex, bytes, &translated), done);
    SHOAL_TRY_GOTO(compile(translated.data, translated.bytes, REGEX_OPTIONS, &code), done);
    st = wrap(code, out);
done:
    shoal_strbuf_free(&translated);
    return st;
}

shoal_status shoal_pattern_compile_literal(const char *text, size_t bytes, shoal_pattern **out)
{
    shoal_pattern *pattern;
    SHOAL_TRY(check_text(text, bytes));
    SHOAL_TRY(wrap(NULL, &pattern));
    const shoal_status st = shoal_strbuf_append(&pattern->literal, text, bytes);
    if (st != SHOAL_OK) {
        shoal_pattern_free(pattern);
        return st;
    }
    *out = pattern;
    return SHOAL_OK;
}

const shoal_strbuf *shoal_pattern_literal(const shoal_pattern *pattern)
{
    return pattern->code ? NULL : &pattern->literal;
}

void shoal_pattern_free(shoal_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    shoal_strbuf_free(&pattern->literal);
    shoal_free(pattern);
}

shoal_status shoal_matcher_create(shoal_matcher **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_matcher), &block));
    shoal_matcher *m = block;
    m->context = pcre2_match_context_create(NULL);
    m->data = pcre2_match_data_create(1, NULL); /* only where the whole match is */
    m->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (!m->context || !m->data) {
        shoal_matcher_free(m);
        return no_memory();
    }
    pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
    if (m->stack)
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    *out = m;
    return SHOAL_OK;
}

void shoal_matcher_free(shoal_matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_jit_stack_free(matcher->stack);
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    shoal_free(matcher);
}

static int match(const shoal_pattern *pattern, shoal_matcher *m, const char *text, size_t bytes,
                 size_t from, uint32_t options)
{
    return pcre2_match(pattern->code, (PCRE2_SPTR)text, bytes, from, options | PCRE2_NO_UTF_CHECK,
                       m->data, m->context);
}

/* Bytes of a text that is searched sooner than memmem has prepared itself: most tokens. */
#define SHORT_TEXT 32

static const char *find_in_short(const shoal_strbuf *literal, const char *text, size_t bytes)
{
    for (; bytes >= literal->bytes; text++, bytes--)
        if (*text == *literal->data && memcmp(text, literal->data, literal->bytes) == 0)
            return text;
    return NULL;
}

static void find_literal(const shoal_strbuf *literal, const char *text, size_t bytes, size_t from,
                         bool *found, shoal_span *span)
{
    const size_t rest = bytes - from;
    const char *at = rest <= SHORT_TEXT && literal->bytes
                         ? find_in_short(literal, text + from, rest)
                         : memmem(text + from, rest, literal->data, literal->bytes);
    *found = at != NULL;
    if (at)
        *span = (shoal_span){(size_t)(at - text), (size_t)(at - text) + literal->bytes};
}

static shoal_status find_regex(const shoal_pattern *pattern, shoal_matcher *matcher,
                               const char *text, size_t bytes, size_t from, bool *found,
                               shoal_span *span)
{
    const size_t per_byte = bytes < UINT32_MAX / MATCH_LIMIT_PER_BYTE - MATCH_LIMIT_BASE
                                ? bytes * MATCH_LIMIT_PER_BYTE
                                : UINT32_MAX - MATCH_LIMIT_BASE;
    pcre2_set_match_limit(matcher->context, MATCH_LIMIT_BASE + (uint32_t)per_byte);
    int rc = match(pattern, matcher, text, bytes, from, 0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = match(pattern, matcher, text, bytes, from, PCRE2_NO_JIT);
    if (rc == PCRE2_ERROR_NOMATCH) {
        *found = false;
        return SHOAL_OK;
    }
    if (rc < 0) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(rc, why, sizeof why);
        return shoal_fail(rc == PCRE2_ERROR_NOMEMORY ? SHOAL_ERR_TEMPORARY : SHOAL_ERR_DATA,
                          "a pattern of the tokenizer gives up on a text of %zu bytes: %s", bytes,
                          (const char *)why);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(matcher->data);
    if (at[0] < from || at[1] < at[0] || at[1] > bytes)
        return shoal_fail(SHOAL_ERR_DATA, "a pattern of the tokenizer matches backwards");
    *found = true;
    *span = (shoal_span){at[0], at[1]};
    return SHOAL_OK;
}

shoal_status shoal_pattern_find(const shoal_pattern *pattern, shoal_matcher *matcher,
                                const char *text, size_t bytes, size_t from, bool *found,
                                shoal_span *span)
{
    if (pattern->code)
        return find_regex(pattern, matcher, text, bytes, from, found, span);
    find_literal(&pattern->literal, text, bytes, from, found, span);
    return SHOAL_OK;
}

shoal_status shoal_matches_next(shoal_matches *m, bool *found, shoal_span *match)
{
    *found = false;
    while (m->from <= m->bytes) {
        SHOAL_TRY(
            shoal_pattern_find(m->pattern, m->matcher, m->text, m->bytes, m->from, found, match));
        if (!*found)
            return SHOAL_OK;
        if (match->begin < match->end || !m->any || match->end != m->done) {
            m->any = true;
            m->from = m->done = match->end;
            return SHOAL_OK;
        }
        *found = false;
        if (m->from == m->bytes)
            return SHOAL_OK;
        (void)shoal_utf8_next(m->text, &m->from);
    }
    return SHOAL_OK;
}

shoal_status shoal_pattern_replace(const shoal_pattern *pattern, shoal_matcher *matcher,
                                   const char *text, size_t bytes, const shoal_strbuf *replacement,
                                   size_t most, shoal_strbuf *out)
{
    const size_t before = out->bytes;
    shoal_matches matches = {pattern, matcher, text, bytes, 0, 0, false};
    size_t done = 0;
    while (bytes) { /* nothing matches in an empty text, not even the empty match */
        bool found;
        shoal_span m;
        SHOAL_TRY(shoal_matches_next(&matches, &found, &m));
        if (!found)
            break;
        SHOAL_TRY(shoal_strbuf_append(out, text + done, m.begin - done));
        SHOAL_TRY(shoal_strbuf_append(out, replacement->data, replacement->bytes));
        SHOAL_TRY(shoal_check_grown(out->bytes - before, most));
        done = m.end;
    }
    return shoal_strbuf_append(out, text + done, bytes - done);
}

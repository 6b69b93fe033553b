#include "coordinator/text/tool_calls.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/tool_calls_python.h"
#include "proto/bytes.h"

/* One showing of the text. The first failure stays in `status`. */
typedef struct {
    const char *text;
    size_t bytes;
    bool final;
    shoal_speech_pieces *out;
    shoal_status status;
} showing;

shoal_mark shoal_mark_at(const char *text, size_t bytes, const char *mark)
{
    const size_t length = mark ? strlen(mark) : 0, shown = bytes < length ? bytes : length;
    if (length == 0 || memcmp(text, mark, shown) != 0)
        return SHOAL_MARK_ABSENT;
    return shown == length ? SHOAL_MARK_WHOLE : SHOAL_MARK_BEGUN;
}

shoal_call_reader shoal_call_reader_at(const shoal_call_format *format, const char *forced,
                                       int number, bool first, size_t at)
{
    return (shoal_call_reader){
        .format = format, .forced = forced, .number = number, .first = first, .at = at};
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_-.:/", c));
}

/* ---- giving out ---- */

static void give(const shoal_call_reader *r, showing *in, shoal_speech_kind kind, const char *text,
                 size_t bytes)
{
    if (in->status == SHOAL_OK)
        in->status = shoal_speech_add(in->out, kind, r->number, text, bytes);
}

static bool give_name(shoal_call_reader *r, showing *in, const char *name, size_t bytes)
{
    if (bytes == 0 || bytes > SHOAL_CALL_NAME_MAX)
        return false;
    give(r, in, SHOAL_SPEECH_CALL, name, bytes);
    r->begun = true;
    return true;
}

/* A JSON string with its quotes; NULL: it stands for no text (half a surrogate pair). */
static json_t *unquote(const showing *in, shoal_span span)
{
    if (in->text[span.begin] != '"')
        return NULL;
    return json_loadb(in->text + span.begin, span.end - span.begin,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static bool is_whole_object(const char *text, size_t bytes)
{
    shoal_json_scan scan = {0};
    shoal_json_verdict verdict = SHOAL_JSON_MORE;
    if (bytes == 0 || text[0] != '{')
        return false;
    for (size_t i = 0; i < bytes && verdict != SHOAL_JSON_BROKEN; i++)
        verdict = shoal_json_scan_byte(&scan, text[i]);
    return verdict != SHOAL_JSON_BROKEN && scan.depth == 0;
}

/* Some models write the arguments as clients see them: JSON in a string. */
static bool give_quoted(const shoal_call_reader *r, showing *in)
{
    json_t *string = unquote(in, r->arguments);
    const char *text = json_string_value(string);
    const size_t bytes = json_string_length(string);
    const bool object = text && is_whole_object(text, bytes);
    if (object)
        give(r, in, SHOAL_SPEECH_ARGUMENTS, text, bytes);
    json_decref(string);
    return object;
}

static bool give_arguments(shoal_call_reader *r, showing *in)
{
    const size_t until = r->at < r->arguments.end ? r->at : r->arguments.end;
    switch (in->text[r->arguments.begin]) {
    case '{':
        give(r, in, SHOAL_SPEECH_ARGUMENTS, in->text + r->sent, until - r->sent);
        r->sent = until;
        return true;
    case '"':
        if (r->arguments.end > r->at || r->sent == r->arguments.end)
            return true;
        r->sent = r->arguments.end;
        return give_quoted(r, in);
    default: return false;
    }
}

/* ---- an object: {"name": ..., "arguments": ...} ---- */

static bool key_is(const shoal_call_reader *r, const showing *in, const char *a, const char *b)
{
    const char *key = in->text + r->key.begin + 1;
    const size_t bytes = r->key.end - r->key.begin - 2;
    json_t *plain = NULL;
    if (memchr(key, '\\', bytes))
        plain = unquote(in, r->key);
    const char *text = plain ? json_string_value(plain) : key;
    const size_t length = plain ? json_string_length(plain) : bytes;
    const bool same = shoal_text_is(text, length, a) || shoal_text_is(text, length, b);
    json_decref(plain);
    return same;
}

static bool has_arguments(const shoal_call_reader *r)
{
    return r->arguments.end != 0;
}

/* A value at the top of the object begins, or ends, here. */
static void value_begins(shoal_call_reader *r, const showing *in)
{
    r->value = (shoal_span){r->at, 0};
    if (!has_arguments(r) && key_is(r, in, "arguments", "parameters")) {
        r->arguments = (shoal_span){r->at, SIZE_MAX};
        r->sent = r->at;
    }
}

static void value_ends(shoal_call_reader *r, const showing *in)
{
    r->value.end = r->at + 1;
    if (r->arguments.end == SIZE_MAX)
        r->arguments.end = r->value.end;
    else if (r->name.end == 0 && key_is(r, in, "name", "tool_name"))
        r->name = r->value;
}

/* The byte at `at` brought the scan from `was` to where it is now. True: a value at the top of the
 * object begins or ends here, so that something may have become known. */
static bool observe(shoal_call_reader *r, const showing *in, const shoal_json_scan *was)
{
    const shoal_json_scan *now = &r->scan;
    const bool begins =
        was->depth == 1 && was->state == SHOAL_JSON_VALUE && now->state != SHOAL_JSON_VALUE;
    const bool ends = now->depth == 1 && now->state == SHOAL_JSON_AFTER &&
                      (was->depth == 2 || was->state != SHOAL_JSON_AFTER);
    if (was->depth == 1 && was->state != SHOAL_JSON_IN_KEY && now->state == SHOAL_JSON_IN_KEY)
        r->key.begin = r->at;
    if (was->depth == 1 && was->state == SHOAL_JSON_IN_KEY && now->state == SHOAL_JSON_COLON)
        r->key.end = r->at + 1;
    if (begins)
        value_begins(r, in);
    if (ends)
        value_ends(r, in);
    return begins || ends;
}

/* The name, once it is sure that this is a call; then the arguments, as far as they are there.
 * `whole`: the object is complete. A function without parameters may be called without arguments,
 * where marks say that it is a call. False: it is none. */
static bool give_known(shoal_call_reader *r, showing *in, bool whole)
{
    if (!r->begun) {
        if (!whole && (r->name.end == 0 || !has_arguments(r)))
            return true;
        if (r->name.end == 0 || (!has_arguments(r) && r->format->bare))
            return false;
        json_t *name = unquote(in, r->name);
        const bool good =
            name && give_name(r, in, json_string_value(name), json_string_length(name));
        json_decref(name);
        if (!good)
            return false;
    }
    if (has_arguments(r))
        return give_arguments(r, in);
    give(r, in, SHOAL_SPEECH_ARGUMENTS, "{}", 2);
    return true;
}

/* The object, or the arguments alone. */
static shoal_call_verdict json(shoal_call_reader *r, showing *in)
{
    shoal_json_verdict verdict = SHOAL_JSON_MORE;
    while (r->at < in->bytes && verdict == SHOAL_JSON_MORE) {
        const shoal_json_scan was = r->scan;
        verdict = shoal_json_scan_byte(&r->scan, in->text[r->at]);
        if (verdict == SHOAL_JSON_BROKEN)
            return SHOAL_CALL_BROKEN;
        const bool news = r->state == SHOAL_CALL_OBJECT && observe(r, in, &was);
        r->at++;
        if (news && !give_known(r, in, false)) /* here, wherever the text was cut */
            return SHOAL_CALL_BROKEN;
    }
    const bool whole = verdict == SHOAL_JSON_DONE;
    if (whole && r->state == SHOAL_CALL_ARGUMENTS)
        r->arguments.end = r->at;
    if (r->at > SHOAL_CALL_TEXT_MAX || !give_known(r, in, whole))
        return SHOAL_CALL_BROKEN;
    return whole ? SHOAL_CALL_DONE : SHOAL_CALL_MORE;
}

/* ---- a name, a separator, the arguments ---- */

static shoal_call_verdict begin_arguments(shoal_call_reader *r, showing *in, const char *name,
                                          size_t bytes)
{
    if (!give_name(r, in, name, bytes))
        return SHOAL_CALL_BROKEN;
    r->arguments = (shoal_span){r->at, SIZE_MAX};
    r->sent = r->at;
    r->state = SHOAL_CALL_ARGUMENTS;
    return SHOAL_CALL_MORE;
}

static bool all_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!shoal_json_blank(text[i]))
            return false;
    return true;
}

/* The name in a head: "f", "f[ARGS]", "f[CALL_ID]x[ARGS]", "f<sep>", or "function<sep>f" with a
 * fence of Markdown behind. Without a separator nothing but the name is there. */
static shoal_span name_in(const shoal_call_reader *r, const showing *in)
{
    static const char kind[] = "function";
    const char *separator = r->format->separator, *head = in->text + r->from;
    const size_t bytes = r->at - r->from, kind_bytes = sizeof kind - 1;
    const bool separated = memmem(head, bytes, separator, strlen(separator)) != NULL;
    size_t begin = 0, end;
    if (bytes > kind_bytes && memcmp(head, kind, kind_bytes) == 0 &&
        shoal_mark_at(head + kind_bytes, bytes - kind_bytes, separator) == SHOAL_MARK_WHOLE &&
        is_name(head[kind_bytes + strlen(separator)]))
        begin = kind_bytes + strlen(separator);
    for (end = begin; end < bytes && is_name(head[end]);)
        end++;
    if (!separated && !all_blank(head + end, bytes - end))
        end = begin;
    return (shoal_span){r->from + begin, r->from + end};
}

static shoal_call_verdict head(shoal_call_reader *r, showing *in)
{
    const char *brace = memchr(in->text + r->at, '{', in->bytes - r->at);
    r->at = brace ? (size_t)(brace - in->text) : in->bytes;
    if (r->at - r->from > SHOAL_CALL_NAME_MAX) {
        r->at = r->from + SHOAL_CALL_NAME_MAX + 1; /* however much of the text is there */
        return SHOAL_CALL_BROKEN;
    }
    if (!brace)
        return SHOAL_CALL_MORE;
    const shoal_span name = name_in(r, in);
    return begin_arguments(r, in, in->text + name.begin, name.end - name.begin);
}

/* ---- Python ---- */

static shoal_call_verdict translate(shoal_call_reader *r, showing *in)
{
    shoal_strbuf arguments = {0};
    size_t name = 0;
    bool valid = false;
    if (in->status == SHOAL_OK)
        in->status =
            shoal_python_call_read(in->text + r->from, r->at - r->from, &name, &arguments, &valid);
    valid = valid && give_name(r, in, in->text + r->from, name);
    if (valid)
        give(r, in, SHOAL_SPEECH_ARGUMENTS, arguments.data, arguments.bytes);
    shoal_strbuf_free(&arguments);
    return valid ? SHOAL_CALL_DONE : SHOAL_CALL_BROKEN;
}

/* Up to the bracket that closes the call; what is in it is looked at when it is whole. */
static shoal_call_verdict python(shoal_call_reader *r, showing *in)
{
    for (; r->at < in->bytes; r->at++) {
        const char c = in->text[r->at];
        if (r->escaped)
            r->escaped = false;
        else if (r->quote && c == '\\')
            r->escaped = true;
        else if (r->quote)
            r->quote = c == r->quote ? '\0' : r->quote;
        else if (c == '(' || (r->depth > 0 && (c == '[' || c == '{')))
            r->depth++;
        else if (r->depth == 0 && !is_name(c))
            return SHOAL_CALL_BROKEN;
        else if (c == '"' || c == '\'')
            r->quote = c;
        else if ((c == ')' || c == ']' || c == '}') && --r->depth == 0) {
            r->at++;
            return translate(r, in);
        }
    }
    return r->at > SHOAL_CALL_TEXT_MAX ? SHOAL_CALL_BROKEN : SHOAL_CALL_MORE;
}

/* ---- between calls ---- */

/* Pass over a mark that stands here. BEGUN: more text may make one of them whole, so none is
 * passed.
 */
static shoal_mark pass(shoal_call_reader *r, const showing *in, const char *const *marks,
                       size_t count)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        const shoal_mark mark = shoal_mark_at(in->text + r->at, in->bytes - r->at, marks[i]);
        if (mark == SHOAL_MARK_BEGUN && !in->final)
            return mark;
        if (mark == SHOAL_MARK_WHOLE && length == 0)
            length = strlen(marks[i]);
    }
    r->at += length;
    return length ? SHOAL_MARK_WHOLE : SHOAL_MARK_ABSENT;
}

static shoal_call_verdict begin_call(shoal_call_reader *r, showing *in)
{
    const char c = in->text[r->at];
    const shoal_call_shape shape = r->format->shape;
    r->from = r->at;
    if (shape == SHOAL_CALLS_ARGUMENTS && c == '{' && r->first)
        return begin_arguments(r, in, r->forced, strlen(r->forced));
    if ((shape == SHOAL_CALLS_OBJECTS || shape == SHOAL_CALLS_NAMED) && c == '{')
        r->state = SHOAL_CALL_OBJECT;
    else if (shape == SHOAL_CALLS_NAMED && is_name(c))
        r->state = SHOAL_CALL_HEAD;
    else if (shape == SHOAL_CALLS_PYTHON && is_name(c))
        r->state = SHOAL_CALL_PYTHON;
    else
        return r->first ? SHOAL_CALL_BROKEN : SHOAL_CALL_OVER;
    return SHOAL_CALL_MORE;
}

static shoal_call_verdict between(shoal_call_reader *r, showing *in)
{
    for (;;) {
        while (r->at < in->bytes && shoal_json_blank(in->text[r->at]))
            r->at++;
        if (r->at == in->bytes)
            return r->at > SHOAL_CALL_TEXT_MAX ? SHOAL_CALL_BROKEN : SHOAL_CALL_MORE;
        const shoal_mark close = pass(r, in, &r->format->close, 1);
        if (close == SHOAL_MARK_WHOLE)
            return r->first ? SHOAL_CALL_BROKEN : SHOAL_CALL_OVER;
        const shoal_mark skip =
            close == SHOAL_MARK_BEGUN ? close : pass(r, in, r->format->skips, SHOAL_CALL_SKIPS_MAX);
        if (skip == SHOAL_MARK_BEGUN)
            return SHOAL_CALL_MORE;
        if (skip == SHOAL_MARK_ABSENT)
            return begin_call(r, in);
    }
}

shoal_status shoal_call_read(shoal_call_reader *r, const char *text, size_t bytes, bool final,
                             shoal_speech_pieces *out, shoal_call_verdict *verdict)
{
    static shoal_call_verdict (*const readers[])(shoal_call_reader *, showing *) = {
        [SHOAL_CALL_BETWEEN] = between, [SHOAL_CALL_HEAD] = head,     [SHOAL_CALL_ARGUMENTS] = json,
        [SHOAL_CALL_OBJECT] = json,     [SHOAL_CALL_PYTHON] = python,
    };
    /* No reader sees more than one byte too much, so that all end at the same one. With that the
       text does not grow for them any more. */
    const bool full = bytes > SHOAL_CALL_TEXT_MAX;
    showing in = {.text = text,
                  .bytes = full ? SHOAL_CALL_TEXT_MAX + 1 : bytes,
                  .final = final || full,
                  .out = out};
    shoal_call_state state;
    do {
        state = r->state;
        *verdict = readers[state](r, &in);
    } while (*verdict == SHOAL_CALL_MORE && r->state != state);
    if (in.final && *verdict == SHOAL_CALL_MORE)
        *verdict = state == SHOAL_CALL_BETWEEN && !r->first ? SHOAL_CALL_OVER : SHOAL_CALL_BROKEN;
    return in.status;
}

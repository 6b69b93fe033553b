#include "coordinator/text/template_strings.h"

#include <string.h>

#include "coordinator/text/template_print.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

bool shoal_is_space(uint32_t c)
{
    return (c >= 0x1C && c <= 0x1F) || shoal_unicode_is_space(c);
}

static shoal_text part_of(shoal_text text, size_t begin, size_t end)
{
    return (shoal_text){text.data + begin, end - begin};
}

static shoal_status push(shoal_heap *heap, shoal_list *list, shoal_text text)
{
    const shoal_value v = shoal_string(text);
    return shoal_list_push(heap, list, &v);
}

/* ---- looking --------------------------------------------------------------------------------- */

size_t shoal_text_find(shoal_text text, shoal_text part, size_t from)
{
    if (from > text.bytes || part.bytes > text.bytes - from)
        return SHOAL_NOT_FOUND;
    if (part.bytes == 0)
        return from;
    const char *at = memmem(text.data + from, text.bytes - from, part.data, part.bytes);
    return at ? (size_t)(at - text.data) : SHOAL_NOT_FOUND;
}

bool shoal_text_starts(shoal_text text, shoal_text prefix)
{
    return prefix.bytes <= text.bytes && shoal_text_equal(part_of(text, 0, prefix.bytes), prefix);
}

bool shoal_text_ends(shoal_text text, shoal_text suffix)
{
    return suffix.bytes <= text.bytes &&
           shoal_text_equal(part_of(text, text.bytes - suffix.bytes, text.bytes), suffix);
}

/* The last place of `part` that ends at or before byte `end`. */
static size_t find_last(shoal_text text, shoal_text part, size_t end)
{
    for (size_t at = end - part.bytes + 1; part.bytes <= end && at-- > 0;)
        if (memcmp(text.data + at, part.data, part.bytes) == 0)
            return at;
    return SHOAL_NOT_FOUND;
}

static bool one_of(shoal_text chars, uint32_t c)
{
    if (!chars.data)
        return shoal_is_space(c);
    for (size_t at = 0; at < chars.bytes;)
        if (shoal_utf8_next(chars.data, &at) == c)
            return true;
    return false;
}

shoal_status shoal_text_strip(shoal_heap *heap, shoal_text text, shoal_text chars, shoal_strip ends,
                              shoal_text *out)
{
    size_t begin = 0, end = text.bytes;
    while ((ends & SHOAL_STRIP_LEFT) && begin < end) {
        size_t next = begin;
        if (!one_of(chars, shoal_utf8_next(text.data, &next)))
            break;
        SHOAL_TRY(shoal_heap_work(heap, chars.bytes));
        begin = next;
    }
    while ((ends & SHOAL_STRIP_RIGHT) && end > begin) {
        size_t before = end;
        if (!one_of(chars, shoal_utf8_previous(text.data, &before)))
            break;
        SHOAL_TRY(shoal_heap_work(heap, chars.bytes));
        end = before;
    }
    *out = part_of(text, begin, end);
    return SHOAL_OK;
}

/* ---- replacing and splitting ----------------------------------------------------------------- */

/* `new` before every character and at the end. */
static shoal_status insert_everywhere(shoal_builder *b, shoal_text text, shoal_text new,
                                      int64_t most)
{
    size_t at = 0;
    for (; most != 0; most--) {
        SHOAL_TRY(shoal_builder_put(b, new));
        if (at == text.bytes)
            return SHOAL_OK;
        const size_t begin = at;
        (void)shoal_utf8_next(text.data, &at);
        SHOAL_TRY(shoal_builder_put(b, part_of(text, begin, at)));
    }
    return shoal_builder_put(b, part_of(text, at, text.bytes));
}

shoal_status shoal_text_replace(shoal_heap *heap, shoal_text text, shoal_text old, shoal_text new,
                                int64_t most, shoal_text *out)
{
    shoal_builder b = shoal_builder_in(heap);
    size_t done = 0, at = shoal_text_find(text, old, 0);
    SHOAL_TRY(shoal_heap_work(heap, text.bytes));
    if (old.bytes == 0) {
        SHOAL_TRY(insert_everywhere(&b, text, new, most));
        *out = shoal_builder_text(&b);
        return SHOAL_OK;
    }
    if (at == SHOAL_NOT_FOUND) {
        *out = text;
        return SHOAL_OK;
    }
    for (; at != SHOAL_NOT_FOUND && most != 0; most--) {
        SHOAL_TRY(shoal_builder_put(&b, part_of(text, done, at)));
        SHOAL_TRY(shoal_builder_put(&b, new));
        done = at + old.bytes;
        at = shoal_text_find(text, old, done);
    }
    SHOAL_TRY(shoal_builder_put(&b, part_of(text, done, text.bytes)));
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

static size_t skip(shoal_text text, size_t at, bool spaces)
{
    while (at < text.bytes) {
        size_t next = at;
        if (shoal_is_space(shoal_utf8_next(text.data, &next)) != spaces)
            break;
        at = next;
    }
    return at;
}

static size_t skip_back(shoal_text text, size_t at, bool spaces)
{
    while (at > 0) {
        size_t before = at;
        if (shoal_is_space(shoal_utf8_previous(text.data, &before)) != spaces)
            break;
        at = before;
    }
    return at;
}

/* Words; what is left after the last cut keeps its inner spaces. */
static shoal_status split_words(shoal_heap *heap, shoal_text text, int64_t most, shoal_list *out)
{
    for (size_t at = skip(text, 0, true); at < text.bytes; most--) {
        const size_t end = most == 0 ? text.bytes : skip(text, at, false);
        SHOAL_TRY(push(heap, out, part_of(text, at, end)));
        at = skip(text, end, true);
    }
    return SHOAL_OK;
}

static shoal_status split_words_back(shoal_heap *heap, shoal_text text, int64_t most,
                                     shoal_list *out)
{
    for (size_t at = skip_back(text, text.bytes, true); at > 0; most--) {
        const size_t begin = most == 0 ? 0 : skip_back(text, at, false);
        SHOAL_TRY(push(heap, out, part_of(text, begin, at)));
        at = skip_back(text, begin, true);
    }
    return SHOAL_OK;
}

static shoal_status split_parts(shoal_heap *heap, shoal_text text, shoal_text separator,
                                int64_t most, shoal_list *out)
{
    size_t done = 0, at = shoal_text_find(text, separator, 0);
    for (; at != SHOAL_NOT_FOUND && most != 0; most--) {
        SHOAL_TRY(push(heap, out, part_of(text, done, at)));
        done = at + separator.bytes;
        at = shoal_text_find(text, separator, done);
    }
    return push(heap, out, part_of(text, done, text.bytes));
}

static shoal_status split_parts_back(shoal_heap *heap, shoal_text text, shoal_text separator,
                                     int64_t most, shoal_list *out)
{
    size_t end = text.bytes;
    for (; most != 0; most--) {
        const size_t at = find_last(text, separator, end);
        if (at == SHOAL_NOT_FOUND)
            break;
        SHOAL_TRY(push(heap, out, part_of(text, at + separator.bytes, end)));
        end = at;
    }
    return push(heap, out, part_of(text, 0, end));
}

static void reverse(shoal_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        const shoal_value swap = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = swap;
    }
}

shoal_status shoal_text_split(shoal_heap *heap, shoal_text text, shoal_text separator, int64_t most,
                              bool from_right, shoal_list *out)
{
    SHOAL_TRY(shoal_heap_work(heap, text.bytes));
    if (separator.data && separator.bytes == 0)
        return shoal_fail(SHOAL_ERR_DATA, "empty separator");
    if (!from_right)
        return separator.data ? split_parts(heap, text, separator, most, out)
                              : split_words(heap, text, most, out);
    /* Looking back compares at every place. */
    SHOAL_TRY(shoal_heap_work(heap, separator.bytes / 32 * text.bytes));
    SHOAL_TRY(separator.data ? split_parts_back(heap, text, separator, most, out)
                             : split_words_back(heap, text, most, out));
    reverse(out);
    return SHOAL_OK;
}

/* What str.splitlines() takes for the end of a line; "\r\n" is one. */
static bool ends_line(uint32_t c)
{
    return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

shoal_status shoal_text_split_lines(shoal_heap *heap, shoal_text text, bool keep_ends,
                                    shoal_list *out)
{
    size_t begin = 0;
    SHOAL_TRY(shoal_heap_work(heap, text.bytes));
    for (size_t at = 0; at < text.bytes;) {
        const size_t end = at;
        const uint32_t c = shoal_utf8_next(text.data, &at);
        if (!ends_line(c))
            continue;
        if (c == '\r' && at < text.bytes && text.data[at] == '\n')
            at++;
        SHOAL_TRY(push(heap, out, part_of(text, begin, keep_ends ? at : end)));
        begin = at;
    }
    return begin < text.bytes ? push(heap, out, part_of(text, begin, text.bytes)) : SHOAL_OK;
}

/* ---- case ------------------------------------------------------------------------------------ */

/* The one common letter that is two when large. */
#define SHARP_S 0xDFu

static bool begins_word(shoal_case to, bool first, uint32_t before)
{
    switch (to) {
    case SHOAL_CASE_UPPER: return true;
    case SHOAL_CASE_CAPITAL: return first;
    case SHOAL_CASE_TITLE: return first || !shoal_unicode_is_letter(before);
    case SHOAL_CASE_HEADING:
        return first || shoal_is_space(before) || before == '-' || before == '(' || before == '{' ||
               before == '[' || before == '<';
    default: return false;
    }
}

shoal_status shoal_text_recase(shoal_heap *heap, shoal_text text, shoal_case to, shoal_text *out)
{
    shoal_builder b = shoal_builder_in(heap);
    uint32_t before = 0;
    for (size_t at = 0; at < text.bytes;) {
        char put[SHOAL_UTF8_MAX];
        const bool large = begins_word(to, at == 0, before);
        before = shoal_utf8_next(text.data, &at);
        const uint32_t c = large ? shoal_unicode_upper(before) : shoal_unicode_lower(before);
        const shoal_text one = {put, shoal_utf8_put(c, put)};
        SHOAL_TRY(shoal_builder_put(&b, !large || before != SHARP_S ? one
                                        : to == SHOAL_CASE_UPPER    ? SHOAL_TEXT("SS")
                                                                    : SHOAL_TEXT("Ss")));
    }
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

bool shoal_text_is_case(shoal_text text, shoal_case which)
{
    bool letters = false;
    for (size_t at = 0; at < text.bytes;) {
        const uint32_t c = shoal_utf8_next(text.data, &at);
        const uint32_t lower = shoal_unicode_lower(c), upper = shoal_unicode_upper(c);
        if (c != (which == SHOAL_CASE_LOWER ? lower : upper))
            return false;
        letters |= lower != upper;
    }
    return letters;
}

bool shoal_text_all(shoal_text text, bool (*property)(uint32_t c))
{
    for (size_t at = 0; at < text.bytes;)
        if (!property(shoal_utf8_next(text.data, &at)))
            return false;
    return text.bytes > 0;
}

/* ---- format ---------------------------------------------------------------------------------- */

/* The value that the field (what is between the braces) names; *next counts the empty fields. */
static const shoal_value *field_value(shoal_text field, const shoal_value *values,
                                      const shoal_text *keywords, size_t count, size_t *next)
{
    size_t place = 0;
    if (field.bytes == 0)
        place = (*next)++;
    for (size_t i = 0; i < count && field.bytes; i++)
        if (shoal_text_equal(keywords[i], field))
            return &values[i];
    for (size_t i = 0; i < field.bytes; i++) {
        if (field.data[i] < '0' || field.data[i] > '9' || place > count)
            return NULL;
        place = place * 10 + (size_t)(field.data[i] - '0');
    }
    return place < count && keywords[place].bytes == 0 ? &values[place] : NULL;
}

shoal_status shoal_text_format(shoal_heap *heap, shoal_text format, const shoal_value *values,
                               const shoal_text *keywords, size_t count, shoal_text *out)
{
    shoal_builder b = shoal_builder_in(heap);
    size_t next = 0;
    for (size_t at = 0; at < format.bytes; at++) {
        const char c = format.data[at];
        if (c != '{' && c != '}') {
            SHOAL_TRY(shoal_builder_put(&b, part_of(format, at, at + 1)));
            continue;
        }
        if (at + 1 < format.bytes && format.data[at + 1] == c) {
            SHOAL_TRY(shoal_builder_put(&b, part_of(format, at, at + 1)));
            at++;
            continue;
        }
        const size_t end = c == '{' ? shoal_text_find(format, SHOAL_TEXT("}"), at) : at;
        if (c == '}' || end == SHOAL_NOT_FOUND)
            return shoal_fail(SHOAL_ERR_DATA, "a format with a single brace");
        const shoal_value *value =
            field_value(part_of(format, at + 1, end), values, keywords, count, &next);
        shoal_text text;
        if (!value)
            return shoal_fail(SHOAL_ERR_DATA, "not supported, or without a value: {%.*s}",
                              (int)(end - at - 1 < 40 ? end - at - 1 : 40), format.data + at + 1);
        SHOAL_TRY(shoal_print(heap, value, &text));
        SHOAL_TRY(shoal_builder_put(&b, text));
        at = end;
    }
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

#include "coordinator/text/template_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/template_builtin.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

/* ---- numbers --------------------------------------------------------------------------------- */

/* Digits without a point, and the power of ten of the first one. */
static int shortest_digits(double number, char digits[24])
{
    char text[40];
    int precision = 0;
    do
        (void)snprintf(text, sizeof text, "%.*e", precision, number);
    while (precision++ < 16 && (strtod(text, NULL) < number || strtod(text, NULL) > number));
    char *exponent = strchr(text, 'e');
    size_t n = 0;
    for (const char *c = text; c < exponent; c++)
        if (*c != '.')
            digits[n++] = *c;
    digits[n] = '\0';
    return (int)strtol(exponent + 1, NULL, 10);
}

void shoal_format_float(double number, char out[SHOAL_FLOAT_BYTES])
{
    char digits[24];
    const char *sign = signbit(number) ? "-" : "";
    if (isnan(number) || isinf(number)) {
        (void)snprintf(out, SHOAL_FLOAT_BYTES, "%s",
                       isnan(number) ? "nan"
                       : *sign       ? "-inf"
                                     : "inf");
        return;
    }
    const int power = shortest_digits(fabs(number), digits);
    const int n = (int)strlen(digits);
    if (power < -4 || power >= 16)
        (void)snprintf(out, SHOAL_FLOAT_BYTES, "%s%c%s%se%+03d", sign, digits[0], n > 1 ? "." : "",
                       digits + 1, power);
    else if (power < 0)
        (void)snprintf(out, SHOAL_FLOAT_BYTES, "%s0.%.*s%s", sign, -power - 1, "000", digits);
    else if (power + 1 >= n)
        (void)snprintf(out, SHOAL_FLOAT_BYTES, "%s%s%.*s.0", sign, digits, power + 1 - n,
                       "0000000000000000");
    else
        (void)snprintf(out, SHOAL_FLOAT_BYTES, "%s%.*s.%s", sign, power + 1, digits,
                       digits + power + 1);
}

static shoal_status put_float(shoal_builder *out, double number)
{
    char text[SHOAL_FLOAT_BYTES];
    shoal_format_float(number, text);
    return shoal_builder_format(out, "%s", text);
}

/* ---- strings --------------------------------------------------------------------------------- */

static shoal_status put_escaped(shoal_builder *out, uint32_t c)
{
    if (c == '\n' || c == '\r' || c == '\t')
        return shoal_builder_format(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    return shoal_builder_format(out,
                                c < 0x100     ? "\\x%02x"
                                : c < 0x10000 ? "\\u%04x"
                                              : "\\U%08x",
                                (unsigned)c);
}

/* In single quotes, unless that would need more escapes. */
static shoal_status put_quoted(shoal_builder *out, shoal_text text)
{
    const bool single = text.bytes && memchr(text.data, '\'', text.bytes);
    const bool both = single && memchr(text.data, '"', text.bytes);
    const char quote = single && !both ? '"' : '\'';
    SHOAL_TRY(shoal_builder_put(out, (shoal_text){&quote, 1}));
    for (size_t at = 0, begin = 0; at < text.bytes; begin = at) {
        const uint32_t c = shoal_utf8_next(text.data, &at);
        if (c == '\\' || c == (uint32_t)quote)
            SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT("\\")));
        if (shoal_unicode_is_printable(c))
            SHOAL_TRY(shoal_builder_put(out, (shoal_text){text.data + begin, at - begin}));
        else
            SHOAL_TRY(put_escaped(out, c));
    }
    return shoal_builder_put(out, (shoal_text){&quote, 1});
}

/* ---- containers ------------------------------------------------------------------------------ */

static shoal_status put_items(shoal_builder *out, const shoal_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT(", ")));
        SHOAL_TRY(shoal_print_repr(out, &list->items[i]));
    }
    return SHOAL_OK;
}

static shoal_status put_list(shoal_builder *out, const char *open, const shoal_list *list,
                             const char *close)
{
    SHOAL_TRY(shoal_builder_format(out, "%s", open));
    SHOAL_TRY(put_items(out, list));
    return shoal_builder_format(out, "%s", close);
}

static shoal_status put_dict(shoal_builder *out, const shoal_dict *dict)
{
    SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT("{")));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0)
            SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT(", ")));
        SHOAL_TRY(shoal_print_repr(out, &dict->entries[i].key));
        SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT(": ")));
        SHOAL_TRY(shoal_print_repr(out, &dict->entries[i].value));
    }
    return shoal_builder_put(out, SHOAL_TEXT("}"));
}

static shoal_status put_namespace(shoal_builder *out, const shoal_dict *dict)
{
    SHOAL_TRY(shoal_builder_put(out, SHOAL_TEXT("<Namespace ")));
    SHOAL_TRY(put_dict(out, dict));
    return shoal_builder_put(out, SHOAL_TEXT(">"));
}

static shoal_status put_any(shoal_builder *out, const shoal_value *v)
{
    switch (v->kind) {
    case SHOAL_VALUE_NONE: return shoal_builder_put(out, SHOAL_TEXT("None"));
    case SHOAL_VALUE_UNDEFINED: return shoal_builder_put(out, SHOAL_TEXT("Undefined"));
    case SHOAL_VALUE_BOOL: return shoal_builder_format(out, "%s", v->truth ? "True" : "False");
    case SHOAL_VALUE_INT: return shoal_builder_format(out, "%" PRId64, v->integer);
    case SHOAL_VALUE_FLOAT: return put_float(out, v->number);
    case SHOAL_VALUE_STRING: return put_quoted(out, v->text);
    case SHOAL_VALUE_LIST: return put_list(out, "[", v->list, "]");
    case SHOAL_VALUE_TUPLE: return put_list(out, "(", v->list, v->list->count == 1 ? ",)" : ")");
    case SHOAL_VALUE_VIEW: return put_list(out, "dict_view([", v->list, "])");
    case SHOAL_VALUE_DICT: return put_dict(out, v->dict);
    case SHOAL_VALUE_NAMESPACE: return put_namespace(out, v->dict);
    default: return shoal_builder_format(out, "<%s>", shoal_value_type(v));
    }
}

shoal_status shoal_print_repr(shoal_builder *out, const shoal_value *v)
{
    SHOAL_TRY(shoal_heap_enter(out->heap));
    const shoal_status st = put_any(out, v);
    shoal_heap_leave(out->heap);
    return st;
}

shoal_status shoal_print(shoal_heap *heap, const shoal_value *v, shoal_text *out)
{
    shoal_builder b = shoal_builder_in(heap);
    if (v->kind == SHOAL_VALUE_STRING) {
        *out = v->text;
        return SHOAL_OK;
    }
    if (v->kind != SHOAL_VALUE_UNDEFINED)
        SHOAL_TRY(shoal_print_repr(&b, v));
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

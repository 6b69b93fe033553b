#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "coordinator/text/template_print.h"
#include "coordinator/text/template_sort.h"
#include "coordinator/text/utf8.h"

typedef struct {
    const shoal_json_style *style;
    shoal_builder out;
    size_t level;
} writer;

static shoal_status put_value(writer *w, const shoal_value *v);

static shoal_status put_unit(writer *w, uint32_t unit)
{
    return shoal_builder_format(&w->out, "\\u%04x", (unsigned)unit);
}

/* UTF-16 units: two above U+FFFF. */
static shoal_status put_escape(writer *w, uint32_t c)
{
    if (c < 0x10000)
        return put_unit(w, c);
    SHOAL_TRY(put_unit(w, 0xD800 + ((c - 0x10000) >> 10)));
    return put_unit(w, 0xDC00 + ((c - 0x10000) & 0x3FF));
}

static shoal_status put_character(writer *w, uint32_t c, shoal_text as_it_is)
{
    static const char letters[] = "\"\\\n\r\t\f\b", names[] = "\"\\nrtfb";
    const char *found = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
    if (found)
        return shoal_builder_format(&w->out, "\\%c", names[found - letters]);
    if (c < 0x20 || (w->style->ascii && c >= 0x7F))
        return put_escape(w, c);
    return shoal_builder_put(&w->out, as_it_is);
}

static shoal_status put_string(writer *w, shoal_text text)
{
    SHOAL_TRY(shoal_builder_put(&w->out, SHOAL_TEXT("\"")));
    for (size_t at = 0, begin = 0; at < text.bytes; begin = at) {
        const uint32_t c = shoal_utf8_next(text.data, &at);
        SHOAL_TRY(put_character(w, c, (shoal_text){text.data + begin, at - begin}));
    }
    return shoal_builder_put(&w->out, SHOAL_TEXT("\""));
}

static shoal_status put_number(writer *w, double number)
{
    char text[SHOAL_FLOAT_BYTES];
    shoal_format_float(number, text);
    if (isnan(number))
        return shoal_builder_put(&w->out, SHOAL_TEXT("NaN"));
    if (isinf(number))
        return shoal_builder_format(&w->out, "%sInfinity", number < 0 ? "-" : "");
    return shoal_builder_format(&w->out, "%s", text);
}

static shoal_status new_line(writer *w)
{
    if (!w->style->lines)
        return SHOAL_OK;
    SHOAL_TRY(shoal_builder_put(&w->out, SHOAL_TEXT("\n")));
    for (size_t i = 0; i < w->level; i++)
        SHOAL_TRY(shoal_builder_put(&w->out, w->style->indent));
    return SHOAL_OK;
}

/* Before item i of a list or object. */
static shoal_status begin_item(writer *w, size_t i)
{
    if (i > 0)
        SHOAL_TRY(shoal_builder_put(&w->out, w->style->between));
    return new_line(w);
}

static shoal_status put_list(writer *w, const shoal_list *list)
{
    if (list->count == 0)
        return shoal_builder_put(&w->out, SHOAL_TEXT("[]"));
    SHOAL_TRY(shoal_builder_put(&w->out, SHOAL_TEXT("[")));
    w->level++;
    for (size_t i = 0; i < list->count; i++) {
        SHOAL_TRY(begin_item(w, i));
        SHOAL_TRY(put_value(w, &list->items[i]));
    }
    w->level--;
    SHOAL_TRY(new_line(w));
    return shoal_builder_put(&w->out, SHOAL_TEXT("]"));
}

/* Keys become strings as json.dumps makes them. */
static shoal_status put_key(writer *w, const shoal_value *key)
{
    if (key->kind == SHOAL_VALUE_STRING)
        return put_string(w, key->text);
    if (!shoal_value_is_number(key) && key->kind != SHOAL_VALUE_NONE)
        return shoal_fail(SHOAL_ERR_DATA, "keys must be str, int, float, bool or None, not %s",
                          shoal_value_type(key));
    SHOAL_TRY(shoal_builder_put(&w->out, SHOAL_TEXT("\"")));
    SHOAL_TRY(put_value(w, key));
    return shoal_builder_put(&w->out, SHOAL_TEXT("\""));
}

static shoal_status put_entries(writer *w, const shoal_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        SHOAL_TRY(begin_item(w, i));
        SHOAL_TRY(put_key(w, &entries[i].key));
        SHOAL_TRY(shoal_builder_put(&w->out, w->style->colon));
        SHOAL_TRY(put_value(w, &entries[i].value));
    }
    return SHOAL_OK;
}

static shoal_status put_dict(writer *w, const shoal_dict *dict)
{
    const shoal_entry *entries = dict->entries;
    if (dict->count == 0)
        return shoal_builder_put(&w->out, SHOAL_TEXT("{}"));
    if (w->style->sort_keys)
        SHOAL_TRY(shoal_entries_sorted(w->out.heap, entries, dict->count, false, &entries));
    SHOAL_TRY(shoal_builder_put(&w->out, SHOAL_TEXT("{")));
    w->level++;
    SHOAL_TRY(put_entries(w, entries, dict->count));
    w->level--;
    SHOAL_TRY(new_line(w));
    return shoal_builder_put(&w->out, SHOAL_TEXT("}"));
}

static shoal_status put_any(writer *w, const shoal_value *v)
{
    switch (v->kind) {
    case SHOAL_VALUE_NONE: return shoal_builder_put(&w->out, SHOAL_TEXT("null"));
    case SHOAL_VALUE_BOOL: return shoal_builder_format(&w->out, "%s", v->truth ? "true" : "false");
    case SHOAL_VALUE_INT: return shoal_builder_format(&w->out, "%" PRId64, v->integer);
    case SHOAL_VALUE_FLOAT: return put_number(w, v->number);
    case SHOAL_VALUE_STRING: return put_string(w, v->text);
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE: return put_list(w, v->list);
    case SHOAL_VALUE_DICT: return put_dict(w, v->dict);
    default:
        return shoal_fail(SHOAL_ERR_DATA, "Object of type %s is not JSON serializable",
                          shoal_value_type(v));
    }
}

static shoal_status put_value(writer *w, const shoal_value *v)
{
    SHOAL_TRY(shoal_heap_enter(w->out.heap));
    const shoal_status st = put_any(w, v);
    shoal_heap_leave(w->out.heap);
    return st;
}

shoal_status shoal_print_json(shoal_heap *heap, const shoal_value *v, const shoal_json_style *style,
                              shoal_text *out)
{
    writer w = {.style = style, .out = shoal_builder_in(heap)};
    SHOAL_TRY(put_value(&w, v));
    *out = shoal_builder_text(&w.out);
    return SHOAL_OK;
}

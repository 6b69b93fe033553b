#include "coordinator/text/template_print.h"
#include "coordinator/text/template_run.h"
#include "coordinator/text/template_strings.h"
#include "coordinator/text/unicode.h"

/* ---- of strings ------------------------------------------------------------------------------ */

static shoal_status strip_ends(const shoal_call *c, shoal_strip ends, shoal_value *out)
{
    shoal_text chars;
    *out = c->self;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "chars", (shoal_text){0}, &chars));
    return shoal_text_strip(c->heap, c->self.text, chars, ends, &out->text);
}

static shoal_status strip(const shoal_call *c, shoal_value *out)
{
    return strip_ends(c, SHOAL_STRIP_BOTH, out);
}

static shoal_status strip_left(const shoal_call *c, shoal_value *out)
{
    return strip_ends(c, SHOAL_STRIP_LEFT, out);
}

static shoal_status strip_right(const shoal_call *c, shoal_value *out)
{
    return strip_ends(c, SHOAL_STRIP_RIGHT, out);
}

static shoal_status split_from(const shoal_call *c, bool from_right, shoal_value *out)
{
    shoal_text separator;
    int64_t most;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "a separator", (shoal_text){0}, &separator));
    SHOAL_TRY(shoal_slot_int(&c->slots[1], "maxsplit", -1, &most));
    if (shoal_slot_given(&c->slots[0]) && separator.bytes == 0)
        return shoal_fail(SHOAL_ERR_DATA, "empty separator");
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_LIST, out));
    return shoal_text_split(c->heap, c->self.text, separator, most, from_right, out->list);
}

static shoal_status split(const shoal_call *c, shoal_value *out)
{
    return split_from(c, false, out);
}

static shoal_status split_right(const shoal_call *c, shoal_value *out)
{
    return split_from(c, true, out);
}

static shoal_status split_lines(const shoal_call *c, shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_LIST, out));
    return shoal_text_split_lines(c->heap, c->self.text, shoal_slot_truth(&c->slots[0], false),
                                  out->list);
}

/* Does the string begin (end) with the argument, or with one of a tuple of them? */
static shoal_status has_affix(const shoal_call *c, bool (*has)(shoal_text, shoal_text),
                              shoal_value *out)
{
    const shoal_value *slot = &c->slots[0];
    const shoal_list one = {.items = (shoal_value *)(uintptr_t)slot, .count = 1};
    const shoal_list *all = slot->kind == SHOAL_VALUE_TUPLE ? slot->list : &one;
    *out = shoal_bool(false);
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].kind != SHOAL_VALUE_STRING)
            return shoal_fail(SHOAL_ERR_DATA, "a prefix or suffix must be str, not %s",
                              shoal_value_type(&all->items[i]));
        out->truth |= has(c->self.text, all->items[i].text);
    }
    return SHOAL_OK;
}

static shoal_status starts_with(const shoal_call *c, shoal_value *out)
{
    return has_affix(c, shoal_text_starts, out);
}

static shoal_status ends_with(const shoal_call *c, shoal_value *out)
{
    return has_affix(c, shoal_text_ends, out);
}

static shoal_status remove_prefix(const shoal_call *c, shoal_value *out)
{
    shoal_text prefix;
    *out = c->self;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "a prefix", SHOAL_TEXT(""), &prefix));
    if (shoal_text_starts(out->text, prefix))
        out->text = (shoal_text){out->text.data + prefix.bytes, out->text.bytes - prefix.bytes};
    return SHOAL_OK;
}

static shoal_status remove_suffix(const shoal_call *c, shoal_value *out)
{
    shoal_text suffix;
    *out = c->self;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "a suffix", SHOAL_TEXT(""), &suffix));
    if (shoal_text_ends(out->text, suffix))
        out->text.bytes -= suffix.bytes;
    return SHOAL_OK;
}

static shoal_status replace(const shoal_call *c, shoal_value *out)
{
    shoal_text old, new, text;
    int64_t most;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "what is replaced", SHOAL_TEXT(""), &old));
    SHOAL_TRY(shoal_slot_text(&c->slots[1], "a replacement", SHOAL_TEXT(""), &new));
    SHOAL_TRY(shoal_slot_int(&c->slots[2], "count", -1, &most));
    SHOAL_TRY(shoal_text_replace(c->heap, c->self.text, old, new, most, &text));
    *out = shoal_string(text);
    return SHOAL_OK;
}

static shoal_status recase(const shoal_call *c, shoal_case to, shoal_value *out)
{
    *out = c->self;
    return shoal_text_recase(c->heap, c->self.text, to, &out->text);
}

static shoal_status lower(const shoal_call *c, shoal_value *out)
{
    return recase(c, SHOAL_CASE_LOWER, out);
}

static shoal_status upper(const shoal_call *c, shoal_value *out)
{
    return recase(c, SHOAL_CASE_UPPER, out);
}

static shoal_status capitalize(const shoal_call *c, shoal_value *out)
{
    return recase(c, SHOAL_CASE_CAPITAL, out);
}

static shoal_status title(const shoal_call *c, shoal_value *out)
{
    return recase(c, SHOAL_CASE_TITLE, out);
}

/* In characters; -1 when there is none. */
static shoal_status find(const shoal_call *c, shoal_value *out)
{
    shoal_text part;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "what is looked for", SHOAL_TEXT(""), &part));
    SHOAL_TRY(shoal_heap_work(c->heap, c->self.text.bytes));
    const size_t at = shoal_text_find(c->self.text, part, 0);
    *out = shoal_int(at == SHOAL_NOT_FOUND
                         ? -1
                         : (int64_t)shoal_text_length((shoal_text){c->self.text.data, at}));
    return SHOAL_OK;
}

static shoal_status count(const shoal_call *c, shoal_value *out)
{
    shoal_text part;
    int64_t n = 0;
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "what is counted", SHOAL_TEXT(""), &part));
    SHOAL_TRY(shoal_heap_work(c->heap, c->self.text.bytes));
    if (part.bytes == 0)
        n = (int64_t)shoal_text_length(c->self.text) + 1;
    for (size_t at = 0; part.bytes > 0; n++) {
        at = shoal_text_find(c->self.text, part, at);
        if (at == SHOAL_NOT_FOUND)
            break;
        at += part.bytes;
    }
    *out = shoal_int(n);
    return SHOAL_OK;
}

static shoal_status join(const shoal_call *c, shoal_value *out)
{
    shoal_builder b = shoal_builder_in(c->heap);
    shoal_list items;
    SHOAL_TRY(shoal_value_items(c->heap, &c->slots[0], &items));
    for (size_t i = 0; i < items.count; i++) {
        if (items.items[i].kind != SHOAL_VALUE_STRING)
            return shoal_fail(SHOAL_ERR_DATA, "sequence item %zu: expected str instance, %s found",
                              i, shoal_value_type(&items.items[i]));
        SHOAL_TRY(shoal_builder_put(&b, i > 0 ? c->self.text : SHOAL_TEXT("")));
        SHOAL_TRY(shoal_builder_put(&b, items.items[i].text));
    }
    *out = shoal_string(shoal_builder_text(&b));
    return SHOAL_OK;
}

static shoal_status format(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(shoal_text_format(c->heap, c->self.text, c->all.values, c->all.keywords, c->all.count,
                                &text));
    *out = shoal_string(text);
    return SHOAL_OK;
}

static bool is_letter_or_digit(uint32_t c)
{
    return shoal_unicode_is_letter(c) || shoal_unicode_is_digit(c);
}

static shoal_status is_digit(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_all(c->self.text, shoal_unicode_is_digit));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

static shoal_status is_alpha(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_all(c->self.text, shoal_unicode_is_letter));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

static shoal_status is_alnum(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_all(c->self.text, is_letter_or_digit));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

static shoal_status is_space(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_all(c->self.text, shoal_is_space));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

static shoal_status is_lower(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_is_case(c->self.text, SHOAL_CASE_LOWER));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

static shoal_status is_upper(const shoal_call *c, shoal_value *out)
{
    *out = shoal_bool(shoal_text_is_case(c->self.text, SHOAL_CASE_UPPER));
    return shoal_heap_work(c->heap, c->self.text.bytes);
}

/* ---- of dicts, lists, loops ------------------------------------------------------------------ */

static shoal_status get(const shoal_call *c, shoal_value *out)
{
    const shoal_value *value;
    SHOAL_TRY(shoal_dict_find(c->heap, c->self.dict, &c->slots[0], &value));
    *out = value ? *value : c->slots[1].kind == SHOAL_VALUE_ABSENT ? shoal_none() : c->slots[1];
    return SHOAL_OK;
}

static shoal_status keys(const shoal_call *c, shoal_value *out)
{
    return shoal_dict_view(c->heap, c->self.dict, SHOAL_DICT_KEYS, out);
}

static shoal_status values(const shoal_call *c, shoal_value *out)
{
    return shoal_dict_view(c->heap, c->self.dict, SHOAL_DICT_VALUES, out);
}

static shoal_status items(const shoal_call *c, shoal_value *out)
{
    return shoal_dict_view(c->heap, c->self.dict, SHOAL_DICT_ITEMS, out);
}

/* How many items equal the argument, and the place of the first. */
static shoal_status look_through(const shoal_call *c, int64_t *found, int64_t *place)
{
    *found = 0;
    *place = -1;
    for (size_t i = 0; i < c->self.list->count; i++) {
        bool same;
        SHOAL_TRY(shoal_value_equal(c->heap, &c->self.list->items[i], &c->slots[0], &same));
        if (same && (*found)++ == 0)
            *place = (int64_t)i;
    }
    return SHOAL_OK;
}

static shoal_status count_items(const shoal_call *c, shoal_value *out)
{
    int64_t found, place;
    SHOAL_TRY(look_through(c, &found, &place));
    *out = shoal_int(found);
    return SHOAL_OK;
}

static shoal_status index_of(const shoal_call *c, shoal_value *out)
{
    int64_t found, place;
    SHOAL_TRY(look_through(c, &found, &place));
    if (found == 0)
        return shoal_fail(SHOAL_ERR_DATA, "the value is not in the list");
    *out = shoal_int(place);
    return SHOAL_OK;
}

static shoal_status cycle(const shoal_call *c, shoal_value *out)
{
    if (c->all.count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "no items for cycling given");
    *out = c->all.values[c->self.loop->index % c->all.count];
    return SHOAL_OK;
}

/* Is this another value than in the call before? */
static shoal_status changed(const shoal_call *c, shoal_value *out)
{
    shoal_value asked;
    bool same = false;
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_TUPLE, &asked));
    for (size_t i = 0; i < c->all.count; i++)
        SHOAL_TRY(shoal_list_push(c->heap, asked.list, &c->all.values[i]));
    SHOAL_TRY(shoal_value_equal(c->heap, &c->self.loop->changed, &asked, &same));
    c->self.loop->changed = asked;
    *out = shoal_bool(!same);
    return SHOAL_OK;
}

/* Nothing here changes what it belongs to: the sandbox that templates are written for refuses
 * append, pop and update. */
static const struct {
    shoal_value_kind kind;
    shoal_builtin row;
} methods[] = {
    {SHOAL_VALUE_STRING, {"strip", "chars?", strip}},
    {SHOAL_VALUE_STRING, {"lstrip", "chars?", strip_left}},
    {SHOAL_VALUE_STRING, {"rstrip", "chars?", strip_right}},
    {SHOAL_VALUE_STRING, {"split", "sep? maxsplit?", split}},
    {SHOAL_VALUE_STRING, {"rsplit", "sep? maxsplit?", split_right}},
    {SHOAL_VALUE_STRING, {"splitlines", "keepends?", split_lines}},
    {SHOAL_VALUE_STRING, {"startswith", "prefix", starts_with}},
    {SHOAL_VALUE_STRING, {"endswith", "suffix", ends_with}},
    {SHOAL_VALUE_STRING, {"removeprefix", "prefix", remove_prefix}},
    {SHOAL_VALUE_STRING, {"removesuffix", "suffix", remove_suffix}},
    {SHOAL_VALUE_STRING, {"replace", "old new count?", replace}},
    {SHOAL_VALUE_STRING, {"lower", "", lower}},
    {SHOAL_VALUE_STRING, {"upper", "", upper}},
    {SHOAL_VALUE_STRING, {"capitalize", "", capitalize}},
    {SHOAL_VALUE_STRING, {"title", "", title}},
    {SHOAL_VALUE_STRING, {"find", "sub", find}},
    {SHOAL_VALUE_STRING, {"count", "sub", count}},
    {SHOAL_VALUE_STRING, {"join", "iterable", join}},
    {SHOAL_VALUE_STRING, {"format", NULL, format}},
    {SHOAL_VALUE_STRING, {"isdigit", "", is_digit}},
    {SHOAL_VALUE_STRING, {"isalpha", "", is_alpha}},
    {SHOAL_VALUE_STRING, {"isalnum", "", is_alnum}},
    {SHOAL_VALUE_STRING, {"isspace", "", is_space}},
    {SHOAL_VALUE_STRING, {"islower", "", is_lower}},
    {SHOAL_VALUE_STRING, {"isupper", "", is_upper}},
    {SHOAL_VALUE_DICT, {"get", "key default?", get}},
    {SHOAL_VALUE_DICT, {"keys", "", keys}},
    {SHOAL_VALUE_DICT, {"values", "", values}},
    {SHOAL_VALUE_DICT, {"items", "", items}},
    {SHOAL_VALUE_LIST, {"count", "value", count_items}},
    {SHOAL_VALUE_LIST, {"index", "value", index_of}},
    {SHOAL_VALUE_TUPLE, {"count", "value", count_items}},
    {SHOAL_VALUE_TUPLE, {"index", "value", index_of}},
    {SHOAL_VALUE_LOOP, {"cycle", NULL, cycle}},
    {SHOAL_VALUE_LOOP, {"changed", NULL, changed}},
};

const shoal_builtin *shoal_method_find(shoal_value_kind kind, shoal_text name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].kind == kind && shoal_text_is(name, methods[i].row.name))
            return &methods[i].row;
    return NULL;
}

#include "coordinator/text/template_operators.h"
#include "coordinator/text/template_print.h"
#include "coordinator/text/template_run.h"
#include "coordinator/text/template_sort.h"
#include "coordinator/text/template_strings.h"

/* ---- parts of items -------------------------------------------------------------------------- */

static bool all_digits(shoal_text text, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i > 9)
            return false;
        *out = *out * 10 + (text.data[i] - '0');
    }
    return text.bytes > 0;
}

/* item.a.0.b for the path "a.0.b"; item[n] for an integer; the item itself when none is given. */
static shoal_status follow(const shoal_call *c, const shoal_value *item, const shoal_value *path,
                           shoal_value *out)
{
    shoal_list parts = {0};
    int64_t index;
    *out = *item;
    if (!shoal_slot_given(path))
        return SHOAL_OK;
    if (path->kind != SHOAL_VALUE_STRING)
        return shoal_get_item(c->run, item, path, out);
    SHOAL_TRY(shoal_text_split(c->heap, path->text, SHOAL_TEXT("."), -1, false, &parts));
    for (size_t i = 0; i < parts.count; i++) {
        const shoal_value object = *out;
        const shoal_value key =
            all_digits(parts.items[i].text, &index) ? shoal_int(index) : parts.items[i];
        SHOAL_TRY(shoal_get_item(c->run, &object, &key, out));
    }
    return SHOAL_OK;
}

/* What items are compared by: a part of them, without the difference of case unless wanted. */
static shoal_status comparison_key(const shoal_call *c, const shoal_value *item,
                                   const shoal_value *path, bool case_sensitive, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(follow(c, item, path, out));
    if (case_sensitive || out->kind != SHOAL_VALUE_STRING)
        return SHOAL_OK;
    SHOAL_TRY(shoal_text_recase(c->heap, out->text, SHOAL_CASE_LOWER, &text));
    *out = shoal_string(text);
    return SHOAL_OK;
}

static shoal_status self_items(const shoal_call *c, shoal_list *out)
{
    return shoal_value_items(c->heap, &c->self, out);
}

/* ---- whole lists ----------------------------------------------------------------------------- */

static shoal_status length(const shoal_call *c, shoal_value *out)
{
    size_t n;
    SHOAL_TRY(shoal_value_length(c->heap, &c->self, &n));
    *out = shoal_int((int64_t)n);
    return SHOAL_OK;
}

static shoal_status to_list(const shoal_call *c, shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_LIST, out));
    return self_items(c, out->list);
}

static shoal_status join(const shoal_call *c, shoal_value *out)
{
    shoal_builder b = shoal_builder_in(c->heap);
    shoal_list items;
    shoal_text between = SHOAL_TEXT("");
    if (c->slots[0].kind != SHOAL_VALUE_ABSENT)
        SHOAL_TRY(shoal_print(c->heap, &c->slots[0], &between));
    SHOAL_TRY(self_items(c, &items));
    for (size_t i = 0; i < items.count; i++) {
        shoal_value part;
        shoal_text text;
        SHOAL_TRY(follow(c, &items.items[i], &c->slots[1], &part));
        SHOAL_TRY(shoal_print(c->heap, &part, &text));
        SHOAL_TRY(shoal_builder_put(&b, i > 0 ? between : SHOAL_TEXT("")));
        SHOAL_TRY(shoal_builder_put(&b, text));
    }
    *out = shoal_string(shoal_builder_text(&b));
    return SHOAL_OK;
}

static shoal_status first(const shoal_call *c, shoal_value *out)
{
    shoal_list items;
    SHOAL_TRY(self_items(c, &items));
    *out = items.count ? items.items[0] : shoal_undefined(SHOAL_TEXT("first"));
    return SHOAL_OK;
}

static shoal_status last(const shoal_call *c, shoal_value *out)
{
    shoal_list items;
    SHOAL_TRY(self_items(c, &items));
    *out = items.count ? items.items[items.count - 1] : shoal_undefined(SHOAL_TEXT("last"));
    return SHOAL_OK;
}

static shoal_status reverse(const shoal_call *c, shoal_value *out)
{
    const shoal_value back[3] = {{0}, {0}, shoal_int(-1)};
    shoal_list items;
    if (c->self.kind == SHOAL_VALUE_STRING)
        return shoal_get_slice(c->run, &c->self, back, out);
    SHOAL_TRY(self_items(c, &items));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_ITERATOR, out));
    for (size_t i = items.count; i > 0; i--)
        SHOAL_TRY(shoal_list_push(c->heap, out->list, &items.items[i - 1]));
    return SHOAL_OK;
}

static shoal_status sum(const shoal_call *c, shoal_value *out)
{
    shoal_list items;
    *out = c->slots[1].kind == SHOAL_VALUE_ABSENT ? shoal_int(0) : c->slots[1];
    SHOAL_TRY(self_items(c, &items));
    for (size_t i = 0; i < items.count; i++) {
        const shoal_value so_far = *out;
        shoal_value part;
        SHOAL_TRY(follow(c, &items.items[i], &c->slots[0], &part));
        SHOAL_TRY(shoal_operate(c->heap, SHOAL_OPERATOR_ADD, &so_far, &part, out));
    }
    return SHOAL_OK;
}

static shoal_status items_of_dict(const shoal_call *c, shoal_value *out)
{
    if (c->self.kind == SHOAL_VALUE_UNDEFINED)
        return shoal_list_make(c->heap, SHOAL_VALUE_ITERATOR, out);
    if (c->self.kind != SHOAL_VALUE_DICT)
        return shoal_fail(SHOAL_ERR_DATA, "Can only get item pairs from a mapping.");
    SHOAL_TRY(shoal_dict_view(c->heap, c->self.dict, SHOAL_DICT_ITEMS, out));
    out->kind = SHOAL_VALUE_ITERATOR;
    return SHOAL_OK;
}

/* ---- order ----------------------------------------------------------------------------------- */

static shoal_status sort_items(const shoal_call *c, const shoal_list *items,
                               const shoal_value *path, bool case_sensitive, bool descending,
                               shoal_list *out)
{
    const shoal_entry *sorted;
    void *block;
    SHOAL_TRY(shoal_heap_take(c->heap, items->count, sizeof(shoal_entry), &block));
    shoal_entry *entries = block;
    for (size_t i = 0; i < items->count; i++) {
        SHOAL_TRY(comparison_key(c, &items->items[i], path, case_sensitive, &entries[i].key));
        entries[i].value = items->items[i];
    }
    SHOAL_TRY(shoal_entries_sorted(c->heap, entries, items->count, descending, &sorted));
    for (size_t i = 0; i < items->count; i++)
        SHOAL_TRY(shoal_list_push(c->heap, out, &sorted[i].value));
    return SHOAL_OK;
}

static shoal_status sort(const shoal_call *c, shoal_value *out)
{
    shoal_list items;
    SHOAL_TRY(self_items(c, &items));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_LIST, out));
    return sort_items(c, &items, &c->slots[2], shoal_slot_truth(&c->slots[1], false),
                      shoal_slot_truth(&c->slots[0], false), out->list);
}

static shoal_status sort_dict(const shoal_call *c, shoal_value *out)
{
    shoal_text by;
    shoal_value pairs;
    if (c->self.kind != SHOAL_VALUE_DICT)
        return shoal_fail(SHOAL_ERR_DATA, "'%s object' has no attribute 'items'",
                          shoal_value_type(&c->self));
    SHOAL_TRY(shoal_slot_text(&c->slots[1], "by", SHOAL_TEXT("key"), &by));
    const shoal_value place = shoal_int(shoal_text_is(by, "value"));
    SHOAL_TRY(shoal_dict_view(c->heap, c->self.dict, SHOAL_DICT_ITEMS, &pairs));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_LIST, out));
    return sort_items(c, pairs.list, &place, shoal_slot_truth(&c->slots[0], false),
                      shoal_slot_truth(&c->slots[2], false), out->list);
}

/* The first of the items in ascending (descending) order. */
static shoal_status extreme(const shoal_call *c, bool descending, shoal_value *out)
{
    shoal_list items, sorted = {0};
    SHOAL_TRY(self_items(c, &items));
    SHOAL_TRY(sort_items(c, &items, &c->slots[1], shoal_slot_truth(&c->slots[0], false), descending,
                         &sorted));
    *out = sorted.count ? sorted.items[0] : shoal_undefined(SHOAL_TEXT("min or max"));
    return SHOAL_OK;
}

static shoal_status min(const shoal_call *c, shoal_value *out)
{
    return extreme(c, false, out);
}

static shoal_status max(const shoal_call *c, shoal_value *out)
{
    return extreme(c, true, out);
}

static shoal_status unique(const shoal_call *c, shoal_value *out)
{
    shoal_list items;
    shoal_value seen;
    SHOAL_TRY(self_items(c, &items));
    SHOAL_TRY(shoal_dict_make(c->heap, SHOAL_VALUE_DICT, &seen));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_ITERATOR, out));
    for (size_t i = 0; i < items.count; i++) {
        shoal_value key;
        const shoal_value *before;
        SHOAL_TRY(comparison_key(c, &items.items[i], &c->slots[1],
                                 shoal_slot_truth(&c->slots[0], false), &key));
        SHOAL_TRY(shoal_dict_find(c->heap, seen.dict, &key, &before));
        if (before)
            continue;
        SHOAL_TRY(shoal_dict_put(c->heap, seen.dict, &key, &key));
        SHOAL_TRY(shoal_list_push(c->heap, out->list, &items.items[i]));
    }
    return SHOAL_OK;
}

/* ---- other rows applied to every item -------------------------------------------------------- */

/* The items; of what counts as false, even of None, there are none. */
static shoal_status items_if_true(const shoal_call *c, shoal_list *out)
{
    *out = (shoal_list){0};
    return shoal_value_truth(&c->self) ? self_items(c, out) : SHOAL_OK;
}

/* The arguments behind the first `skipped` ones. */
static shoal_arguments rest_of(const shoal_call *c, size_t skipped)
{
    return (shoal_arguments){c->all.values + skipped, c->all.count - skipped,
                             c->all.keywords + skipped};
}

static shoal_status name_of_row(const shoal_call *c, size_t place, const char *what,
                                shoal_text *out)
{
    if (place >= c->all.count || c->all.keywords[place].bytes)
        return shoal_fail(SHOAL_ERR_DATA, "the name of a %s is missing", what);
    return shoal_slot_text(&c->all.values[place], "a name", SHOAL_TEXT(""), out);
}

static const shoal_value *keyword_of(const shoal_call *c, const char *name)
{
    for (size_t i = 0; i < c->all.count; i++)
        if (shoal_text_is(c->all.keywords[i], name))
            return &c->all.values[i];
    return NULL;
}

/* map(attribute='a', default=x) */
static shoal_status map_attribute(const shoal_call *c, const shoal_list *items,
                                  const shoal_value *path, shoal_list *out)
{
    const shoal_value *fallback = keyword_of(c, "default");
    for (size_t i = 0; i < items->count; i++) {
        shoal_value part;
        SHOAL_TRY(follow(c, &items->items[i], path, &part));
        if (fallback && part.kind == SHOAL_VALUE_UNDEFINED)
            part = *fallback;
        SHOAL_TRY(shoal_list_push(c->heap, out, &part));
    }
    return SHOAL_OK;
}

/* map('filter', its arguments) */
static shoal_status map(const shoal_call *c, shoal_value *out)
{
    const shoal_value *path = keyword_of(c, "attribute");
    shoal_text name;
    shoal_list items;
    SHOAL_TRY(items_if_true(c, &items));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_ITERATOR, out));
    if (path)
        return map_attribute(c, &items, path, out->list);
    SHOAL_TRY(name_of_row(c, 0, "filter", &name));
    const shoal_builtin *row = shoal_filter_find(name);
    const shoal_arguments rest = rest_of(c, 1);
    if (!row)
        return shoal_fail(SHOAL_ERR_DATA, "not supported: the filter in map()");
    for (size_t i = 0; i < items.count; i++) {
        shoal_value value;
        SHOAL_TRY(shoal_builtin_call(c->run, row, &items.items[i], &rest, &value));
        SHOAL_TRY(shoal_list_push(c->heap, out->list, &value));
    }
    return SHOAL_OK;
}

/* The test at argument `place` for a value; without one, its truth. */
static shoal_status passes(const shoal_call *c, size_t place, const shoal_value *value, bool *out)
{
    shoal_text name;
    shoal_value verdict;
    *out = shoal_value_truth(value);
    if (place == c->all.count)
        return SHOAL_OK;
    SHOAL_TRY(name_of_row(c, place, "test", &name));
    const shoal_builtin *row = shoal_test_find(name);
    const shoal_arguments rest = rest_of(c, place + 1);
    if (!row)
        return shoal_fail(SHOAL_ERR_DATA, "not supported: the test in a filter");
    SHOAL_TRY(shoal_builtin_call(c->run, row, value, &rest, &verdict));
    *out = shoal_value_truth(&verdict);
    return SHOAL_OK;
}

/* Items (or a part of them, named by the first argument) for which a test gives `wanted`. */
static shoal_status pick(const shoal_call *c, bool by_attribute, bool wanted, shoal_value *out)
{
    const shoal_value whole = {0};
    shoal_list items;
    if (by_attribute && c->all.count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "the name of an attribute is missing");
    SHOAL_TRY(items_if_true(c, &items));
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_ITERATOR, out));
    for (size_t i = 0; i < items.count; i++) {
        shoal_value part;
        bool verdict;
        SHOAL_TRY(follow(c, &items.items[i], by_attribute ? &c->all.values[0] : &whole, &part));
        SHOAL_TRY(passes(c, by_attribute, &part, &verdict));
        if (verdict == wanted)
            SHOAL_TRY(shoal_list_push(c->heap, out->list, &items.items[i]));
    }
    return SHOAL_OK;
}

static shoal_status select_items(const shoal_call *c, shoal_value *out)
{
    return pick(c, false, true, out);
}

static shoal_status reject_items(const shoal_call *c, shoal_value *out)
{
    return pick(c, false, false, out);
}

static shoal_status select_by_attribute(const shoal_call *c, shoal_value *out)
{
    return pick(c, true, true, out);
}

static shoal_status reject_by_attribute(const shoal_call *c, shoal_value *out)
{
    return pick(c, true, false, out);
}

static const shoal_builtin filters[] = {
    {"length", "", length},
    {"count", "", length},
    {"list", "", to_list},
    {"join", "d? attribute?", join},
    {"first", "", first},
    {"last", "", last},
    {"reverse", "", reverse},
    {"sum", "attribute? start?", sum},
    {"items", "", items_of_dict},
    {"sort", "reverse? case_sensitive? attribute?", sort},
    {"dictsort", "case_sensitive? by? reverse?", sort_dict},
    {"min", "case_sensitive? attribute?", min},
    {"max", "case_sensitive? attribute?", max},
    {"unique", "case_sensitive? attribute?", unique},
    {"map", NULL, map},
    {"select", NULL, select_items},
    {"reject", NULL, reject_items},
    {"selectattr", NULL, select_by_attribute},
    {"rejectattr", NULL, reject_by_attribute},
};

const shoal_builtin *shoal_list_filter_find(shoal_text name)
{
    return shoal_builtin_find(filters, sizeof filters / sizeof *filters, name);
}

#include "coordinator/text/template_value.h"

#include <string.h>

#include "coordinator/text/utf8.h"

static const char *const type_names[SHOAL_VALUE_KINDS] = {
    [SHOAL_VALUE_ABSENT] = "absent",
    [SHOAL_VALUE_UNDEFINED] = "Undefined",
    [SHOAL_VALUE_NONE] = "NoneType",
    [SHOAL_VALUE_BOOL] = "bool",
    [SHOAL_VALUE_INT] = "int",
    [SHOAL_VALUE_FLOAT] = "float",
    [SHOAL_VALUE_STRING] = "str",
    [SHOAL_VALUE_LIST] = "list",
    [SHOAL_VALUE_TUPLE] = "tuple",
    [SHOAL_VALUE_VIEW] = "dict view",
    [SHOAL_VALUE_ITERATOR] = "generator",
    [SHOAL_VALUE_DICT] = "dict",
    [SHOAL_VALUE_NAMESPACE] = "Namespace",
    [SHOAL_VALUE_LOOP] = "LoopContext",
    [SHOAL_VALUE_MACRO] = "Macro",
    [SHOAL_VALUE_BUILTIN] = "builtin_function_or_method",
};

const char *shoal_value_type(const shoal_value *v)
{
    return type_names[v->kind];
}

/* ---- texts ----------------------------------------------------------------------------------- */

bool shoal_text_equal(shoal_text a, shoal_text b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

bool shoal_text_is(shoal_text text, const char *word)
{
    return shoal_text_equal(text, (shoal_text){word, strlen(word)});
}

size_t shoal_text_length(shoal_text text)
{
    size_t length = 0;
    for (size_t i = 0; i < text.bytes; i++)
        length += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return length;
}

/* ---- undefined ------------------------------------------------------------------------------- */

shoal_value shoal_missing(const shoal_value *of, const shoal_value *key)
{
    shoal_value v = {.kind = SHOAL_VALUE_UNDEFINED, .owner = of->kind};
    if (key->kind == SHOAL_VALUE_STRING)
        v.text = key->text;
    return v;
}

shoal_status shoal_fail_undefined(const shoal_value *v)
{
    char shown[SHOAL_UTF8_SHOW];
    if (!v->text.data)
        return shoal_fail(SHOAL_ERR_DATA, "%s object has no such element", type_names[v->owner]);
    (void)shoal_utf8_show(v->text.data, v->text.bytes, shown);
    if (v->owner == SHOAL_VALUE_ABSENT)
        return shoal_fail(SHOAL_ERR_DATA, "'%s' is undefined", shown);
    return shoal_fail(SHOAL_ERR_DATA, "'%s object' has no attribute '%s'", type_names[v->owner],
                      shown);
}

/* ---- numbers and truth ----------------------------------------------------------------------- */

bool shoal_value_as_int(const shoal_value *v, int64_t *out)
{
    if (v->kind != SHOAL_VALUE_BOOL && v->kind != SHOAL_VALUE_INT)
        return false;
    *out = v->kind == SHOAL_VALUE_BOOL ? v->truth : v->integer;
    return true;
}

bool shoal_value_is_number(const shoal_value *v)
{
    return v->kind >= SHOAL_VALUE_BOOL && v->kind <= SHOAL_VALUE_FLOAT;
}

double shoal_value_number(const shoal_value *v)
{
    int64_t integer;
    return shoal_value_as_int(v, &integer) ? (double)integer : v->number;
}

bool shoal_value_truth(const shoal_value *v)
{
    switch (v->kind) {
    case SHOAL_VALUE_ABSENT:
    case SHOAL_VALUE_UNDEFINED:
    case SHOAL_VALUE_NONE: return false;
    case SHOAL_VALUE_BOOL: return v->truth;
    case SHOAL_VALUE_INT: return v->integer != 0;
    case SHOAL_VALUE_FLOAT: return v->number < 0 || v->number > 0 || v->number != v->number;
    case SHOAL_VALUE_STRING: return v->text.bytes > 0;
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE:
    case SHOAL_VALUE_VIEW: return v->list->count > 0;
    case SHOAL_VALUE_DICT: return v->dict->count > 0;
    default: return true;
    }
}

/* ---- equality and order ---------------------------------------------------------------------- */

static bool equal_numbers(const shoal_value *a, const shoal_value *b)
{
    int64_t i, j;
    if (shoal_value_as_int(a, &i) && shoal_value_as_int(b, &j))
        return i == j;
    const double x = shoal_value_number(a), y = shoal_value_number(b);
    return x <= y && x >= y;
}

static shoal_status equal_lists(shoal_heap *heap, const shoal_list *a, const shoal_list *b,
                                bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++)
        SHOAL_TRY(shoal_value_equal(heap, &a->items[i], &b->items[i], out));
    return SHOAL_OK;
}

static shoal_status equal_dicts(shoal_heap *heap, const shoal_dict *a, const shoal_dict *b,
                                bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const shoal_value *other;
        SHOAL_TRY(shoal_dict_find(heap, b, &a->entries[i].key, &other));
        *out = other != NULL;
        if (other)
            SHOAL_TRY(shoal_value_equal(heap, &a->entries[i].value, other, out));
    }
    return SHOAL_OK;
}

static shoal_status equal_same_kind(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                                    bool *out)
{
    switch (a->kind) {
    case SHOAL_VALUE_NONE:
    case SHOAL_VALUE_UNDEFINED: *out = true; return SHOAL_OK;
    case SHOAL_VALUE_STRING:
        *out = shoal_text_equal(a->text, b->text);
        return shoal_heap_work(heap, *out ? a->text.bytes : 0);
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE: return equal_lists(heap, a->list, b->list, out);
    case SHOAL_VALUE_DICT: return equal_dicts(heap, a->dict, b->dict, out);
    case SHOAL_VALUE_MACRO: *out = a->macro == b->macro; return SHOAL_OK;
    case SHOAL_VALUE_BUILTIN: *out = a->bound == b->bound; return SHOAL_OK;
    case SHOAL_VALUE_LOOP: *out = a->loop == b->loop; return SHOAL_OK;
    case SHOAL_VALUE_NAMESPACE: *out = a->dict == b->dict; return SHOAL_OK;
    default: *out = a->list == b->list; return SHOAL_OK;
    }
}

shoal_status shoal_value_equal(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                               bool *out)
{
    *out = false;
    SHOAL_TRY(shoal_heap_work(heap, 0));
    if (shoal_value_is_number(a) && shoal_value_is_number(b)) {
        *out = equal_numbers(a, b);
        return SHOAL_OK;
    }
    if (a->kind != b->kind)
        return SHOAL_OK;
    SHOAL_TRY(shoal_heap_enter(heap));
    const shoal_status st = equal_same_kind(heap, a, b, out);
    shoal_heap_leave(heap);
    return st;
}

/* UTF-8 orders as its characters do. */
static int order_texts(shoal_text a, shoal_text b)
{
    const size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    const int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* The first difference decides. */
static shoal_status order_lists(shoal_heap *heap, const shoal_list *a, const shoal_list *b,
                                const char *sign, int *out)
{
    bool same = true;
    size_t i = 0;
    while (i < a->count && i < b->count) {
        SHOAL_TRY(shoal_value_equal(heap, &a->items[i], &b->items[i], &same));
        if (!same)
            return shoal_value_order(heap, &a->items[i], &b->items[i], sign, out);
        i++;
    }
    *out = (a->count > b->count) - (a->count < b->count);
    return SHOAL_OK;
}

shoal_status shoal_value_order(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                               const char *sign, int *out)
{
    int64_t i, j;
    if (shoal_value_as_int(a, &i) && shoal_value_as_int(b, &j)) {
        *out = (i > j) - (i < j);
        return SHOAL_OK;
    }
    if (shoal_value_is_number(a) && shoal_value_is_number(b)) {
        const double x = shoal_value_number(a), y = shoal_value_number(b);
        *out = (x > y) - (x < y);
        return SHOAL_OK;
    }
    if (a->kind == SHOAL_VALUE_STRING && b->kind == SHOAL_VALUE_STRING) {
        *out = order_texts(a->text, b->text);
        return shoal_heap_work(heap, a->text.bytes);
    }
    if (a->kind == b->kind && (a->kind == SHOAL_VALUE_LIST || a->kind == SHOAL_VALUE_TUPLE)) {
        SHOAL_TRY(shoal_heap_enter(heap));
        const shoal_status st = order_lists(heap, a->list, b->list, sign, out);
        shoal_heap_leave(heap);
        return st;
    }
    if (a->kind == SHOAL_VALUE_UNDEFINED || b->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(a->kind == SHOAL_VALUE_UNDEFINED ? a : b);
    return shoal_fail(SHOAL_ERR_DATA, "'%s' not supported between instances of '%s' and '%s'", sign,
                      shoal_value_type(a), shoal_value_type(b));
}

/* ---- length and iteration -------------------------------------------------------------------- */

shoal_status shoal_value_length(shoal_heap *heap, const shoal_value *v, size_t *out)
{
    switch (v->kind) {
    case SHOAL_VALUE_UNDEFINED: *out = 0; return SHOAL_OK;
    case SHOAL_VALUE_STRING:
        *out = shoal_text_length(v->text);
        return shoal_heap_work(heap, v->text.bytes);
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE:
    case SHOAL_VALUE_VIEW: *out = v->list->count; return SHOAL_OK;
    case SHOAL_VALUE_DICT: *out = v->dict->count; return SHOAL_OK;
    default:
        return shoal_fail(SHOAL_ERR_DATA, "object of type '%s' has no len()", shoal_value_type(v));
    }
}

bool shoal_value_iterable(const shoal_value *v)
{
    return v->kind == SHOAL_VALUE_UNDEFINED ||
           (v->kind >= SHOAL_VALUE_STRING && v->kind <= SHOAL_VALUE_DICT);
}

static shoal_status characters(shoal_heap *heap, shoal_text text, shoal_list *out)
{
    for (size_t at = 0, begin = 0; at < text.bytes; begin = at) {
        (void)shoal_utf8_next(text.data, &at);
        const shoal_value c = shoal_string((shoal_text){text.data + begin, at - begin});
        SHOAL_TRY(shoal_list_push(heap, out, &c));
    }
    return SHOAL_OK;
}

shoal_status shoal_value_items(shoal_heap *heap, const shoal_value *v, shoal_list *out)
{
    shoal_value keys;
    *out = (shoal_list){0};
    switch (v->kind) {
    case SHOAL_VALUE_UNDEFINED: return SHOAL_OK;
    case SHOAL_VALUE_STRING: return characters(heap, v->text, out);
    case SHOAL_VALUE_ITERATOR:
        *out = *v->list;
        *v->list = (shoal_list){0};
        return SHOAL_OK;
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE:
    case SHOAL_VALUE_VIEW: *out = *v->list; return SHOAL_OK;
    case SHOAL_VALUE_DICT:
        SHOAL_TRY(shoal_dict_view(heap, v->dict, SHOAL_DICT_KEYS, &keys));
        *out = *keys.list;
        return SHOAL_OK;
    default: return shoal_fail(SHOAL_ERR_DATA, "'%s' object is not iterable", shoal_value_type(v));
    }
}

/* ---- lists and dicts ------------------------------------------------------------------------- */

shoal_status shoal_list_make(shoal_heap *heap, shoal_value_kind kind, shoal_value *out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(heap, 1, sizeof(shoal_list), &block));
    *out = (shoal_value){.kind = kind, .list = block};
    return SHOAL_OK;
}

shoal_status shoal_list_push(shoal_heap *heap, shoal_list *list, const shoal_value *item)
{
    void *items = list->items;
    SHOAL_TRY(shoal_heap_work(heap, 0));
    SHOAL_TRY(shoal_heap_grow(heap, list->count, sizeof *item, &items, &list->capacity));
    list->items = items;
    list->items[list->count++] = *item;
    return SHOAL_OK;
}

shoal_status shoal_dict_make(shoal_heap *heap, shoal_value_kind kind, shoal_value *out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(heap, 1, sizeof(shoal_dict), &block));
    *out = (shoal_value){.kind = kind, .dict = block};
    return SHOAL_OK;
}

static bool hashable(const shoal_value *v)
{
    bool good =
        v->kind != SHOAL_VALUE_LIST && v->kind != SHOAL_VALUE_DICT && v->kind != SHOAL_VALUE_VIEW;
    for (size_t i = 0; good && v->kind == SHOAL_VALUE_TUPLE && i < v->list->count; i++) {
        const shoal_value_kind item = v->list->items[i].kind;
        good = item >= SHOAL_VALUE_UNDEFINED && item <= SHOAL_VALUE_STRING;
    }
    return good;
}

/* Linear, and paid for in steps: the dicts of chats are small. */
static shoal_status find(shoal_heap *heap, const shoal_dict *dict, const shoal_value *key,
                         shoal_entry **out)
{
    bool same = false;
    *out = NULL;
    if (!hashable(key))
        return shoal_fail(SHOAL_ERR_DATA, "unhashable type: '%s'", shoal_value_type(key));
    for (size_t i = 0; i < dict->count && !same; i++) {
        const shoal_value *k = &dict->entries[i].key;
        if (k->kind == SHOAL_VALUE_STRING && key->kind == SHOAL_VALUE_STRING)
            same = shoal_text_equal(k->text, key->text);
        else
            SHOAL_TRY(shoal_value_equal(heap, k, key, &same));
        if (same)
            *out = &dict->entries[i];
    }
    return shoal_heap_work(heap, dict->count);
}

shoal_status shoal_dict_find(shoal_heap *heap, const shoal_dict *dict, const shoal_value *key,
                             const shoal_value **out)
{
    shoal_entry *entry;
    SHOAL_TRY(find(heap, dict, key, &entry));
    *out = entry ? &entry->value : NULL;
    return SHOAL_OK;
}

static shoal_status append_entry(shoal_heap *heap, shoal_dict *dict, const shoal_value *key,
                                 const shoal_value *value)
{
    void *entries = dict->entries;
    SHOAL_TRY(shoal_heap_work(heap, 0));
    SHOAL_TRY(shoal_heap_grow(heap, dict->count, sizeof *dict->entries, &entries, &dict->capacity));
    dict->entries = entries;
    dict->entries[dict->count++] = (shoal_entry){*key, *value};
    return SHOAL_OK;
}

shoal_status shoal_dict_put(shoal_heap *heap, shoal_dict *dict, const shoal_value *key,
                            const shoal_value *value)
{
    shoal_entry *entry;
    SHOAL_TRY(find(heap, dict, key, &entry));
    if (!entry)
        return append_entry(heap, dict, key, value);
    entry->value = *value;
    return SHOAL_OK;
}

static shoal_status pair(shoal_heap *heap, const shoal_entry *entry, shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(heap, SHOAL_VALUE_TUPLE, out));
    SHOAL_TRY(shoal_list_push(heap, out->list, &entry->key));
    return shoal_list_push(heap, out->list, &entry->value);
}

shoal_status shoal_dict_view(shoal_heap *heap, const shoal_dict *dict, shoal_dict_part part,
                             shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(heap, SHOAL_VALUE_VIEW, out));
    for (size_t i = 0; i < dict->count; i++) {
        shoal_value item = part == SHOAL_DICT_KEYS ? dict->entries[i].key : dict->entries[i].value;
        if (part == SHOAL_DICT_ITEMS)
            SHOAL_TRY(pair(heap, &dict->entries[i], &item));
        SHOAL_TRY(shoal_list_push(heap, out->list, &item));
    }
    return SHOAL_OK;
}

/* ---- from JSON ------------------------------------------------------------------------------- */

static shoal_status list_from_json(shoal_heap *heap, const json_t *json, shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(heap, SHOAL_VALUE_LIST, out));
    for (size_t i = 0; i < json_array_size(json); i++) {
        shoal_value item;
        SHOAL_TRY(shoal_value_from_json(heap, json_array_get(json, i), &item));
        SHOAL_TRY(shoal_list_push(heap, out->list, &item));
    }
    return SHOAL_OK;
}

/* The keys of a JSON object differ: there is nothing to look for. jansson iterates over objects
 * that it does not change, but does not say so with const. */
static shoal_status dict_from_json(shoal_heap *heap, const json_t *json, shoal_value *out)
{
    json_t *object = (json_t *)(uintptr_t)json;
    SHOAL_TRY(shoal_dict_make(heap, SHOAL_VALUE_DICT, out));
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at);
        const shoal_value key = shoal_string((shoal_text){name, json_object_iter_key_len(at)});
        shoal_value value;
        SHOAL_TRY(shoal_value_from_json(heap, json_object_iter_value(at), &value));
        SHOAL_TRY(append_entry(heap, out->dict, &key, &value));
    }
    return SHOAL_OK;
}

static shoal_status convert(shoal_heap *heap, const json_t *json, shoal_value *out)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: return dict_from_json(heap, json, out);
    case JSON_ARRAY: return list_from_json(heap, json, out);
    case JSON_STRING:
        *out = shoal_string((shoal_text){json_string_value(json), json_string_length(json)});
        return SHOAL_OK;
    case JSON_INTEGER: *out = shoal_int(json_integer_value(json)); return SHOAL_OK;
    case JSON_REAL: *out = shoal_float(json_real_value(json)); return SHOAL_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = shoal_bool(json_is_true(json)); return SHOAL_OK;
    case JSON_NULL: break;
    }
    *out = shoal_none();
    return SHOAL_OK;
}

shoal_status shoal_value_from_json(shoal_heap *heap, const json_t *json, shoal_value *out)
{
    SHOAL_TRY(shoal_heap_enter(heap));
    const shoal_status st = convert(heap, json, out);
    shoal_heap_leave(heap);
    return st;
}

#include "coordinator/text/template_run.h"
#include "coordinator/text/utf8.h"

/* ---- attributes ------------------------------------------------------------------------------ */

static bool loop_attribute(const shoal_loop *loop, shoal_text name, shoal_value *out)
{
    const int64_t index = (int64_t)loop->index, count = (int64_t)loop->items.count;
    const struct {
        const char *name;
        shoal_value value;
    } numbers[] = {
        {"index", shoal_int(index + 1)},
        {"index0", shoal_int(index)},
        {"revindex", shoal_int(count - index)},
        {"revindex0", shoal_int(count - index - 1)},
        {"length", shoal_int(count)},
        {"first", shoal_bool(index == 0)},
        {"last", shoal_bool(index == count - 1)},
        {"depth", shoal_int(1)}, /* more only in recursive loops */
        {"depth0", shoal_int(0)},
        {"previtem", index > 0 ? loop->items.items[index - 1] : shoal_undefined(name)},
        {"nextitem", index + 1 < count ? loop->items.items[index + 1] : shoal_undefined(name)},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (shoal_text_is(name, numbers[i].name)) {
            *out = numbers[i].value;
            return true;
        }
    return false;
}

static bool macro_attribute(const shoal_macro *macro, shoal_text name, shoal_value *out)
{
    *out = shoal_string(macro->is->name);
    return shoal_text_is(name, "name");
}

/* What the value has by itself: never what Python would also show, such as __class__. */
static shoal_status own_attribute(shoal_run *run, const shoal_value *object, shoal_text name,
                                  shoal_value *out, bool *found)
{
    const shoal_builtin *method = shoal_method_find(object->kind, name);
    *found = true;
    if (object->kind == SHOAL_VALUE_LOOP && loop_attribute(object->loop, name, out))
        return SHOAL_OK;
    if (object->kind == SHOAL_VALUE_MACRO && macro_attribute(object->macro, name, out))
        return SHOAL_OK;
    if (method)
        return shoal_bound_make(&run->heap, method, object, out);
    *found = false;
    return SHOAL_OK;
}

/* ---- elements -------------------------------------------------------------------------------- */

/* The byte at which character `index` begins, or text.bytes. */
static size_t byte_of(shoal_text text, size_t index)
{
    size_t at = 0;
    while (at < text.bytes && index-- > 0)
        (void)shoal_utf8_next(text.data, &at);
    return at;
}

static shoal_status character(shoal_run *run, const shoal_value *string, int64_t index,
                              shoal_value *out, bool *found)
{
    const shoal_text text = string->text;
    const int64_t length = (int64_t)shoal_text_length(text);
    if (index < 0)
        index += length;
    *found = index >= 0 && index < length;
    if (*found) {
        const size_t begin = byte_of(text, (size_t)index);
        size_t end = begin;
        (void)shoal_utf8_next(text.data, &end);
        *out = (shoal_value){.kind = SHOAL_VALUE_STRING,
                             .safe = string->safe,
                             .text = {text.data + begin, end - begin}};
    }
    return shoal_heap_work(&run->heap, text.bytes);
}

static void element(const shoal_list *list, int64_t index, shoal_value *out, bool *found)
{
    if (index < 0)
        index += (int64_t)list->count;
    *found = index >= 0 && (uint64_t)index < list->count;
    if (*found)
        *out = list->items[index];
}

/* object[key] as Python has it. */
static shoal_status own_item(shoal_run *run, const shoal_value *object, const shoal_value *key,
                             shoal_value *out, bool *found)
{
    const shoal_value *value;
    int64_t index;
    *found = false;
    switch (object->kind) {
    case SHOAL_VALUE_DICT:
        SHOAL_TRY(shoal_dict_find(&run->heap, object->dict, key, &value));
        *found = value != NULL;
        if (value)
            *out = *value;
        return SHOAL_OK;
    case SHOAL_VALUE_LIST:
    case SHOAL_VALUE_TUPLE:
        if (shoal_value_as_int(key, &index))
            element(object->list, index, out, found);
        return SHOAL_OK;
    case SHOAL_VALUE_STRING:
        return shoal_value_as_int(key, &index) ? character(run, object, index, out, found)
                                               : SHOAL_OK;
    default: return SHOAL_OK;
    }
}

/* Attributes of a namespace are its entries. */
static shoal_status named_entry(shoal_run *run, const shoal_value *object, const shoal_value *name,
                                shoal_value *out, bool *found)
{
    const shoal_value *value = NULL;
    if (object->kind == SHOAL_VALUE_NAMESPACE)
        SHOAL_TRY(shoal_dict_find(&run->heap, object->dict, name, &value));
    *found = value != NULL;
    if (value)
        *out = *value;
    return SHOAL_OK;
}

/* object.name looks for an attribute, then for an entry; object[key] the other way round. */
shoal_status shoal_get_attribute(shoal_run *run, const shoal_value *object, const shoal_value *name,
                                 shoal_value *out)
{
    bool found;
    if (object->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(object);
    SHOAL_TRY(named_entry(run, object, name, out, &found));
    if (!found)
        SHOAL_TRY(own_attribute(run, object, name->text, out, &found));
    if (!found)
        SHOAL_TRY(own_item(run, object, name, out, &found));
    if (!found)
        *out = shoal_missing(object, name);
    return SHOAL_OK;
}

shoal_status shoal_get_item(shoal_run *run, const shoal_value *object, const shoal_value *key,
                            shoal_value *out)
{
    bool found;
    if (object->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(object);
    SHOAL_TRY(own_item(run, object, key, out, &found));
    if (!found && key->kind == SHOAL_VALUE_STRING) {
        SHOAL_TRY(named_entry(run, object, key, out, &found));
        if (!found)
            SHOAL_TRY(own_attribute(run, object, key->text, out, &found));
    }
    if (!found)
        *out = shoal_missing(object, key);
    return SHOAL_OK;
}

/* ---- slices ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t start, stop, step;
} slice;

/* Python's rules: negative indices count from the end, and what is out of range is cut. */
static int64_t clamp(int64_t index, int64_t length, int64_t step)
{
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? length - 1 : length;
    if (index < 0)
        index = index < -length ? low : index + length;
    return index < low ? low : index > high ? high : index;
}

static shoal_status slice_of(const shoal_value parts[3], int64_t length, slice *out)
{
    SHOAL_TRY(shoal_slot_int(&parts[2], "the step of a slice", 1, &out->step));
    if (out->step == 0)
        return shoal_fail(SHOAL_ERR_DATA, "slice step cannot be zero");
    const bool back = out->step < 0;
    SHOAL_TRY(shoal_slot_int(&parts[0], "the start of a slice", back ? length : 0, &out->start));
    out->start = clamp(out->start, length, out->step);
    if (!shoal_slot_given(&parts[1])) {
        out->stop = back ? -1 : length;
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_slot_int(&parts[1], "the stop of a slice", 0, &out->stop));
    out->stop = clamp(out->stop, length, out->step);
    return SHOAL_OK;
}

/* Whole lists are cheap and strings share their bytes. A step beyond the length is one step. */
static shoal_status slice_list(shoal_run *run, const shoal_list *list, slice s, shoal_list *out)
{
    const int64_t length = (int64_t)list->count;
    if (s.step > length || s.step < -length)
        s.step = s.step > 0 ? length + 1 : -length - 1;
    for (int64_t i = s.start; s.step > 0 ? i < s.stop : i > s.stop; i += s.step)
        SHOAL_TRY(shoal_list_push(&run->heap, out, &list->items[i]));
    return SHOAL_OK;
}

static shoal_status slice_string(shoal_run *run, const shoal_value *string, slice s,
                                 shoal_value *out)
{
    const shoal_text text = string->text;
    *out = (shoal_value){.kind = SHOAL_VALUE_STRING, .safe = string->safe};
    if (s.step == 1) {
        const size_t begin = byte_of(text, (size_t)s.start);
        const size_t end = s.stop > s.start ? byte_of(text, (size_t)s.stop) : begin;
        out->text = (shoal_text){text.data + begin, end - begin};
        return shoal_heap_work(&run->heap, text.bytes);
    }
    shoal_list all, chosen = {0};
    shoal_builder b = shoal_builder_in(&run->heap);
    SHOAL_TRY(shoal_value_items(&run->heap, string, &all));
    SHOAL_TRY(slice_list(run, &all, s, &chosen));
    for (size_t i = 0; i < chosen.count; i++)
        SHOAL_TRY(shoal_builder_put(&b, chosen.items[i].text));
    out->text = shoal_builder_text(&b);
    return SHOAL_OK;
}

shoal_status shoal_get_slice(shoal_run *run, const shoal_value *object, const shoal_value parts[3],
                             shoal_value *out)
{
    slice s;
    size_t length;
    if (object->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(object);
    if (object->kind != SHOAL_VALUE_STRING && object->kind != SHOAL_VALUE_LIST &&
        object->kind != SHOAL_VALUE_TUPLE)
        return shoal_fail(SHOAL_ERR_DATA, "'%s' object cannot be sliced", shoal_value_type(object));
    SHOAL_TRY(shoal_value_length(&run->heap, object, &length));
    SHOAL_TRY(slice_of(parts, (int64_t)length, &s));
    if (object->kind == SHOAL_VALUE_STRING)
        return slice_string(run, object, s, out);
    SHOAL_TRY(shoal_list_make(&run->heap, object->kind, out));
    return slice_list(run, object->list, s, out->list);
}

#include <stdio.h>
#include <time.h>

#include "coordinator/text/template_print.h"
#include "coordinator/text/template_run.h"
#include "coordinator/text/template_strings.h"

#define RANGE_MAX       100000 /* as the sandbox of Jinja has it */
#define TIME_BYTES      1024
#define TIME_FORMAT_MAX 128

/* Items from `start` to before `stop`. */
static shoal_status range(const shoal_call *c, shoal_value *out)
{
    int64_t start = 0, stop, step;
    SHOAL_TRY(shoal_slot_int(&c->slots[0], "range", 0, &stop));
    if (c->slots[1].kind != SHOAL_VALUE_ABSENT) {
        start = stop;
        SHOAL_TRY(shoal_slot_int(&c->slots[1], "range", 0, &stop));
    }
    SHOAL_TRY(shoal_slot_int(&c->slots[2], "range", 1, &step));
    if (step == 0)
        return shoal_fail(SHOAL_ERR_DATA, "range() arg 3 must not be zero");
    SHOAL_TRY(shoal_list_make(c->heap, SHOAL_VALUE_TUPLE, out));
    for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
        const shoal_value item = shoal_int(i);
        if (out->list->count == RANGE_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "a range of more than %d items", RANGE_MAX);
        SHOAL_TRY(shoal_list_push(c->heap, out->list, &item));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return SHOAL_OK;
}

static shoal_status put_all(const shoal_call *c, const shoal_dict *from, shoal_dict *to)
{
    for (size_t i = 0; i < from->count; i++)
        SHOAL_TRY(shoal_dict_put(c->heap, to, &from->entries[i].key, &from->entries[i].value));
    return SHOAL_OK;
}

/* Dicts in parentheses, and keywords. */
static shoal_status make_dict(const shoal_call *c, shoal_value_kind kind, shoal_value *out)
{
    SHOAL_TRY(shoal_dict_make(c->heap, kind, out));
    for (size_t i = 0; i < c->all.count; i++) {
        const shoal_value *value = &c->all.values[i];
        const shoal_value key = shoal_string(c->all.keywords[i]);
        if (key.text.bytes)
            SHOAL_TRY(shoal_dict_put(c->heap, out->dict, &key, value));
        else if (value->kind == SHOAL_VALUE_DICT)
            SHOAL_TRY(put_all(c, value->dict, out->dict));
        else
            return shoal_fail(SHOAL_ERR_DATA, "not supported: a dict made of '%s'",
                              shoal_value_type(value));
    }
    return SHOAL_OK;
}

static shoal_status make_namespace(const shoal_call *c, shoal_value *out)
{
    return make_dict(c, SHOAL_VALUE_NAMESPACE, out);
}

static shoal_status make_plain_dict(const shoal_call *c, shoal_value *out)
{
    return make_dict(c, SHOAL_VALUE_DICT, out);
}

static shoal_status raise_exception(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    (void)out;
    SHOAL_TRY(shoal_print(c->heap, &c->slots[0], &text));
    return shoal_fail(SHOAL_ERR_DATA, "%.*s",
                      (int)(text.bytes < SHOAL_ERROR_MAX ? text.bytes : SHOAL_ERROR_MAX),
                      text.data);
}

static shoal_status strftime_now(const shoal_call *c, shoal_value *out)
{
    char format[TIME_FORMAT_MAX + 1], text[TIME_BYTES];
    shoal_text wanted;
    shoal_builder b = shoal_builder_in(c->heap);
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "the format of a time", SHOAL_TEXT(""), &wanted));
    if (wanted.bytes > TIME_FORMAT_MAX ||
        shoal_text_find(wanted, (shoal_text){"", 1}, 0) != SHOAL_NOT_FOUND)
        return shoal_fail(SHOAL_ERR_DATA,
                          "the format of a time is longer than %d bytes, or has a NUL",
                          TIME_FORMAT_MAX);
    (void)snprintf(format, sizeof format, "%.*s", (int)wanted.bytes, wanted.data);
    const size_t n = strftime(text, sizeof text, format, &c->run->now);
    SHOAL_TRY(shoal_builder_put(&b, (shoal_text){text, n}));
    *out = shoal_string(shoal_builder_text(&b));
    return SHOAL_OK;
}

static const shoal_builtin functions[] = {
    {"range", "start stop? step?", range},    {"namespace", NULL, make_namespace},
    {"dict", NULL, make_plain_dict},          {"raise_exception", "message", raise_exception},
    {"strftime_now", "format", strftime_now},
};

const shoal_builtin *shoal_function_find(shoal_text name)
{
    return shoal_builtin_find(functions, sizeof functions / sizeof *functions, name);
}

#include "coordinator/text/template_operators.h"

#include <math.h>
#include <string.h>

#include "coordinator/text/template_print.h"
#include "coordinator/text/template_strings.h"

static const char *const signs[SHOAL_OPERATOR_COUNT] = {
    [SHOAL_OPERATOR_LESS] = "<",          [SHOAL_OPERATOR_LESS_EQUAL] = "<=",
    [SHOAL_OPERATOR_GREATER] = ">",       [SHOAL_OPERATOR_GREATER_EQUAL] = ">=",
    [SHOAL_OPERATOR_ADD] = "+",           [SHOAL_OPERATOR_SUBTRACT] = "-",
    [SHOAL_OPERATOR_MULTIPLY] = "*",      [SHOAL_OPERATOR_DIVIDE] = "/",
    [SHOAL_OPERATOR_FLOOR_DIVIDE] = "//", [SHOAL_OPERATOR_REMAINDER] = "%",
    [SHOAL_OPERATOR_POWER] = "**",
};

static shoal_status unsupported(shoal_operator op, const shoal_value *a, const shoal_value *b)
{
    if (a->kind == SHOAL_VALUE_UNDEFINED || b->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(a->kind == SHOAL_VALUE_UNDEFINED ? a : b);
    if (op == SHOAL_OPERATOR_ADD && (a->kind == SHOAL_VALUE_STRING || a->kind == SHOAL_VALUE_LIST))
        return shoal_fail(SHOAL_ERR_DATA, "can only concatenate %s (not \"%s\") to %s",
                          shoal_value_type(a), shoal_value_type(b), shoal_value_type(a));
    return shoal_fail(SHOAL_ERR_DATA, "unsupported operand type(s) for %s: '%s' and '%s'",
                      signs[op], shoal_value_type(a), shoal_value_type(b));
}

/* ---- numbers --------------------------------------------------------------------------------- */

static shoal_status overflow(void)
{
    return shoal_fail(SHOAL_ERR_DATA, "an integer of more than 64 bits");
}

static shoal_status power(int64_t base, int64_t exponent, int64_t *out)
{
    int64_t result = 1;
    for (bool first = true; exponent > 0; exponent >>= 1, first = false) {
        if (!first && __builtin_mul_overflow(base, base, &base))
            return overflow();
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return overflow();
    }
    *out = result;
    return SHOAL_OK;
}

/* Division rounds down and the remainder has the divisor's sign. */
static shoal_status divide(shoal_operator op, int64_t a, int64_t b, int64_t *out)
{
    if (b == 0)
        return shoal_fail(SHOAL_ERR_DATA, "integer division or modulo by zero");
    if (a == INT64_MIN && b == -1) {
        *out = 0;
        return op == SHOAL_OPERATOR_REMAINDER ? SHOAL_OK : overflow();
    }
    const int64_t rest = a % b, fix = rest != 0 && (rest < 0) != (b < 0);
    *out = op == SHOAL_OPERATOR_REMAINDER ? rest + fix * b : a / b - fix;
    return SHOAL_OK;
}

static shoal_status operate_integers(shoal_operator op, int64_t a, int64_t b, shoal_value *out)
{
    int64_t result = 0;
    bool over = false;
    switch (op) {
    case SHOAL_OPERATOR_ADD: over = __builtin_add_overflow(a, b, &result); break;
    case SHOAL_OPERATOR_SUBTRACT: over = __builtin_sub_overflow(a, b, &result); break;
    case SHOAL_OPERATOR_MULTIPLY: over = __builtin_mul_overflow(a, b, &result); break;
    case SHOAL_OPERATOR_POWER: SHOAL_TRY(power(a, b, &result)); break;
    default: SHOAL_TRY(divide(op, a, b, &result)); break;
    }
    *out = shoal_int(result);
    return over ? overflow() : SHOAL_OK;
}

static shoal_status operate_floats(shoal_operator op, double a, double b, shoal_value *out)
{
    const bool divides = op == SHOAL_OPERATOR_DIVIDE || op == SHOAL_OPERATOR_FLOOR_DIVIDE ||
                         op == SHOAL_OPERATOR_REMAINDER;
    if (divides && b <= 0 && b >= 0)
        return shoal_fail(SHOAL_ERR_DATA, "division by zero");
    switch (op) {
    case SHOAL_OPERATOR_ADD: *out = shoal_float(a + b); break;
    case SHOAL_OPERATOR_SUBTRACT: *out = shoal_float(a - b); break;
    case SHOAL_OPERATOR_MULTIPLY: *out = shoal_float(a * b); break;
    case SHOAL_OPERATOR_DIVIDE: *out = shoal_float(a / b); break;
    case SHOAL_OPERATOR_FLOOR_DIVIDE: *out = shoal_float(floor(a / b)); break;
    case SHOAL_OPERATOR_REMAINDER: *out = shoal_float(a - b * floor(a / b)); break;
    default: *out = shoal_float(pow(a, b)); break;
    }
    return SHOAL_OK;
}

static shoal_status operate_numbers(shoal_operator op, const shoal_value *a, const shoal_value *b,
                                    shoal_value *out)
{
    int64_t i, j;
    const bool fraction = op == SHOAL_OPERATOR_DIVIDE;
    if (!fraction && shoal_value_as_int(a, &i) && shoal_value_as_int(b, &j) &&
        !(op == SHOAL_OPERATOR_POWER && j < 0))
        return operate_integers(op, i, j, out);
    return operate_floats(op, shoal_value_number(a), shoal_value_number(b), out);
}

shoal_status shoal_operate_sign(shoal_operator op, const shoal_value *v, shoal_value *out)
{
    const shoal_value zero = shoal_int(0);
    if (v->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(v);
    if (!shoal_value_is_number(v))
        return shoal_fail(SHOAL_ERR_DATA, "bad operand type for unary %s: '%s'", signs[op],
                          shoal_value_type(v));
    if (v->kind == SHOAL_VALUE_FLOAT) {
        *out = shoal_float(op == SHOAL_OPERATOR_SUBTRACT ? -v->number : v->number);
        return SHOAL_OK;
    }
    return operate_numbers(op, &zero, v, out);
}

/* ---- texts and lists ------------------------------------------------------------------------- */

shoal_status shoal_escape_html(shoal_heap *heap, shoal_text text, shoal_text *out)
{
    static const struct {
        char c;
        shoal_text entity;
    } entities[] = {{'&', {"&amp;", 5}},
                    {'<', {"&lt;", 4}},
                    {'>', {"&gt;", 4}},
                    {'\'', {"&#39;", 5}},
                    {'"', {"&#34;", 5}}};
    shoal_builder b = shoal_builder_in(heap);
    for (size_t i = 0; i < text.bytes; i++) {
        shoal_text put = {text.data + i, 1};
        for (size_t k = 0; k < sizeof entities / sizeof *entities; k++)
            if (text.data[i] == entities[k].c)
                put = entities[k].entity;
        SHOAL_TRY(shoal_builder_put(&b, put));
    }
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

static shoal_status join(shoal_heap *heap, shoal_text a, shoal_text b, shoal_value *out)
{
    void *block;
    SHOAL_TRY(shoal_heap_work(heap, a.bytes + b.bytes));
    SHOAL_TRY(shoal_heap_take(heap, a.bytes + b.bytes, 1, &block));
    char *text = block;
    if (a.bytes)
        memcpy(text, a.data, a.bytes);
    if (b.bytes)
        memcpy(text + a.bytes, b.data, b.bytes);
    *out = shoal_string((shoal_text){text, a.bytes + b.bytes});
    return SHOAL_OK;
}

/* Text joined to safe text is made safe, and that shows: quotes become entities. */
static shoal_status add_strings(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                                shoal_value *out)
{
    shoal_text left = a->text, right = b->text;
    const bool safe = a->safe || b->safe;
    if (safe && !a->safe)
        SHOAL_TRY(shoal_escape_html(heap, left, &left));
    if (safe && !b->safe)
        SHOAL_TRY(shoal_escape_html(heap, right, &right));
    SHOAL_TRY(join(heap, left, right, out));
    out->safe = safe;
    return SHOAL_OK;
}

static shoal_status add_lists(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                              shoal_value *out)
{
    const shoal_list *const parts[2] = {a->list, b->list};
    SHOAL_TRY(shoal_list_make(heap, a->kind, out));
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < parts[k]->count; i++)
            SHOAL_TRY(shoal_list_push(heap, out->list, &parts[k]->items[i]));
    return SHOAL_OK;
}

/* `value` any number of times. */
static shoal_status repeat(shoal_heap *heap, const shoal_value *value, int64_t times,
                           shoal_value *out)
{
    shoal_builder b = shoal_builder_in(heap);
    if (value->kind == SHOAL_VALUE_STRING) {
        for (int64_t i = 0; i < times && value->text.bytes; i++)
            SHOAL_TRY(shoal_builder_put(&b, value->text));
        *out = (shoal_value){
            .kind = SHOAL_VALUE_STRING, .safe = value->safe, .text = shoal_builder_text(&b)};
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_list_make(heap, value->kind, out));
    for (int64_t i = 0; i < times && value->list->count; i++)
        for (size_t k = 0; k < value->list->count; k++)
            SHOAL_TRY(shoal_list_push(heap, out->list, &value->list->items[k]));
    return SHOAL_OK;
}

static bool repeatable(const shoal_value *v)
{
    return v->kind == SHOAL_VALUE_STRING || v->kind == SHOAL_VALUE_LIST ||
           v->kind == SHOAL_VALUE_TUPLE;
}

static shoal_status join_as_texts(shoal_heap *heap, const shoal_value *a, const shoal_value *b,
                                  shoal_value *out)
{
    shoal_text left, right;
    SHOAL_TRY(shoal_print(heap, a, &left));
    SHOAL_TRY(shoal_print(heap, b, &right));
    return join(heap, left, right, out);
}

shoal_status shoal_operate(shoal_heap *heap, shoal_operator op, const shoal_value *a,
                           const shoal_value *b, shoal_value *out)
{
    int64_t times;
    if (op == SHOAL_OPERATOR_JOIN)
        return join_as_texts(heap, a, b, out);
    if (shoal_value_is_number(a) && shoal_value_is_number(b))
        return operate_numbers(op, a, b, out);
    if (op == SHOAL_OPERATOR_ADD && a->kind == b->kind && a->kind == SHOAL_VALUE_STRING)
        return add_strings(heap, a, b, out);
    if (op == SHOAL_OPERATOR_ADD && a->kind == b->kind && repeatable(a))
        return add_lists(heap, a, b, out);
    if (op == SHOAL_OPERATOR_MULTIPLY && repeatable(a) && shoal_value_as_int(b, &times))
        return repeat(heap, a, times, out);
    if (op == SHOAL_OPERATOR_MULTIPLY && repeatable(b) && shoal_value_as_int(a, &times))
        return repeat(heap, b, times, out);
    if (op == SHOAL_OPERATOR_REMAINDER && a->kind == SHOAL_VALUE_STRING)
        return shoal_fail(SHOAL_ERR_DATA, "not supported: formatting with %%");
    return unsupported(op, a, b);
}

/* ---- comparison ------------------------------------------------------------------------------ */

static shoal_status contains(shoal_heap *heap, const shoal_value *item, const shoal_value *in,
                             bool *out)
{
    shoal_list items;
    const shoal_value *value;
    if (in->kind == SHOAL_VALUE_STRING) {
        if (item->kind != SHOAL_VALUE_STRING)
            return shoal_fail(SHOAL_ERR_DATA,
                              "'in <string>' requires string as left operand, not %s",
                              shoal_value_type(item));
        *out = shoal_text_find(in->text, item->text, 0) != SHOAL_NOT_FOUND;
        return shoal_heap_work(heap, in->text.bytes);
    }
    if (in->kind == SHOAL_VALUE_DICT) {
        SHOAL_TRY(shoal_dict_find(heap, in->dict, item, &value));
        *out = value != NULL;
        return SHOAL_OK;
    }
    if (!shoal_value_iterable(in))
        return shoal_fail(SHOAL_ERR_DATA, "argument of type '%s' is not iterable",
                          shoal_value_type(in));
    SHOAL_TRY(shoal_value_items(heap, in, &items));
    *out = false;
    for (size_t i = 0; i < items.count && !*out; i++)
        SHOAL_TRY(shoal_value_equal(heap, &items.items[i], item, out));
    return SHOAL_OK;
}

static bool ordered(shoal_operator op, int order)
{
    switch (op) {
    case SHOAL_OPERATOR_LESS: return order < 0;
    case SHOAL_OPERATOR_LESS_EQUAL: return order <= 0;
    case SHOAL_OPERATOR_GREATER: return order > 0;
    default: return order >= 0;
    }
}

shoal_status shoal_compare(shoal_heap *heap, shoal_operator op, const shoal_value *a,
                           const shoal_value *b, bool *out)
{
    int order;
    const bool negated = op == SHOAL_OPERATOR_UNEQUAL || op == SHOAL_OPERATOR_NOT_IN;
    switch (op) {
    case SHOAL_OPERATOR_EQUAL:
    case SHOAL_OPERATOR_UNEQUAL: SHOAL_TRY(shoal_value_equal(heap, a, b, out)); break;
    case SHOAL_OPERATOR_IN:
    case SHOAL_OPERATOR_NOT_IN: SHOAL_TRY(contains(heap, a, b, out)); break;
    default:
        SHOAL_TRY(shoal_value_order(heap, a, b, signs[op], &order));
        *out = ordered(op, order);
        break;
    }
    *out = *out != negated;
    return SHOAL_OK;
}

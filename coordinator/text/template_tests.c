#include "coordinator/text/template_operators.h"
#include "coordinator/text/template_print.h"
#include "coordinator/text/template_run.h"
#include "coordinator/text/template_strings.h"

static shoal_status answer(bool holds, shoal_value *out)
{
    *out = shoal_bool(holds);
    return SHOAL_OK;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static shoal_status is_defined(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind != SHOAL_VALUE_UNDEFINED, out);
}

static shoal_status is_undefined(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_UNDEFINED, out);
}

static shoal_status is_none(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_NONE, out);
}

static shoal_status is_boolean(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_BOOL, out);
}

static shoal_status is_true(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_BOOL && c->self.truth, out);
}

static shoal_status is_false(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_BOOL && !c->self.truth, out);
}

static shoal_status is_integer(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_INT, out);
}

static shoal_status is_float(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_FLOAT, out);
}

static shoal_status is_number(const shoal_call *c, shoal_value *out)
{
    return answer(shoal_value_is_number(&c->self), out);
}

static shoal_status is_string(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_STRING, out);
}

static shoal_status is_mapping(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_DICT, out);
}

static shoal_status is_sequence(const shoal_call *c, shoal_value *out)
{
    const shoal_value_kind kind = c->self.kind;
    return answer(kind == SHOAL_VALUE_STRING || kind == SHOAL_VALUE_LIST ||
                      kind == SHOAL_VALUE_TUPLE || kind == SHOAL_VALUE_DICT ||
                      kind == SHOAL_VALUE_UNDEFINED,
                  out);
}

static shoal_status is_iterable(const shoal_call *c, shoal_value *out)
{
    return answer(shoal_value_iterable(&c->self), out);
}

static shoal_status is_callable(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_MACRO || c->self.kind == SHOAL_VALUE_BUILTIN, out);
}

static shoal_status is_escaped(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_STRING && c->self.safe, out);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static shoal_status compare(const shoal_call *c, shoal_operator op, shoal_value *out)
{
    bool holds;
    SHOAL_TRY(shoal_compare(c->heap, op, &c->self, &c->slots[0], &holds));
    return answer(holds, out);
}

static shoal_status is_equal(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_EQUAL, out);
}

static shoal_status is_unequal(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_UNEQUAL, out);
}

static shoal_status is_less(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_LESS, out);
}

static shoal_status is_less_equal(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_LESS_EQUAL, out);
}

static shoal_status is_greater(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_GREATER, out);
}

static shoal_status is_greater_equal(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_GREATER_EQUAL, out);
}

static shoal_status is_in(const shoal_call *c, shoal_value *out)
{
    return compare(c, SHOAL_OPERATOR_IN, out);
}

/* One and the same thing: of texts and numbers only equality can be seen. */
static shoal_status is_same(const shoal_call *c, shoal_value *out)
{
    const shoal_value *a = &c->self, *b = &c->slots[0];
    if (a->kind != b->kind)
        return answer(false, out);
    if (a->kind >= SHOAL_VALUE_LIST && a->kind <= SHOAL_VALUE_NAMESPACE)
        return answer(a->list == b->list, out);
    return compare(c, SHOAL_OPERATOR_EQUAL, out);
}

/* ---- numbers and texts ----------------------------------------------------------------------- */

static shoal_status rest_is(const shoal_call *c, const shoal_value *divisor, int64_t wanted,
                            shoal_value *out)
{
    shoal_value rest;
    const shoal_value expected = shoal_int(wanted);
    bool holds;
    SHOAL_TRY(shoal_operate(c->heap, SHOAL_OPERATOR_REMAINDER, &c->self, divisor, &rest));
    SHOAL_TRY(shoal_value_equal(c->heap, &rest, &expected, &holds));
    return answer(holds, out);
}

static shoal_status is_odd(const shoal_call *c, shoal_value *out)
{
    const shoal_value two = shoal_int(2);
    return rest_is(c, &two, 1, out);
}

static shoal_status is_even(const shoal_call *c, shoal_value *out)
{
    const shoal_value two = shoal_int(2);
    return rest_is(c, &two, 0, out);
}

static shoal_status is_divisible(const shoal_call *c, shoal_value *out)
{
    return rest_is(c, &c->slots[0], 0, out);
}

static shoal_status has_case(const shoal_call *c, shoal_case which, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(shoal_print(c->heap, &c->self, &text));
    return answer(shoal_text_is_case(text, which), out);
}

static shoal_status is_lower(const shoal_call *c, shoal_value *out)
{
    return has_case(c, SHOAL_CASE_LOWER, out);
}

static shoal_status is_upper(const shoal_call *c, shoal_value *out)
{
    return has_case(c, SHOAL_CASE_UPPER, out);
}

static shoal_status is_filter(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_STRING && shoal_filter_find(c->self.text), out);
}

static shoal_status is_test(const shoal_call *c, shoal_value *out)
{
    return answer(c->self.kind == SHOAL_VALUE_STRING && shoal_test_find(c->self.text), out);
}

static const shoal_builtin tests[] = {
    {"defined", "", is_defined},
    {"undefined", "", is_undefined},
    {"none", "", is_none},
    {"boolean", "", is_boolean},
    {"true", "", is_true},
    {"false", "", is_false},
    {"integer", "", is_integer},
    {"float", "", is_float},
    {"number", "", is_number},
    {"string", "", is_string},
    {"mapping", "", is_mapping},
    {"sequence", "", is_sequence},
    {"iterable", "", is_iterable},
    {"callable", "", is_callable},
    {"escaped", "", is_escaped},
    {"sameas", "other", is_same},
    {"in", "seq", is_in},
    {"equalto", "b", is_equal},
    {"eq", "b", is_equal},
    {"==", "b", is_equal},
    {"ne", "b", is_unequal},
    {"!=", "b", is_unequal},
    {"lessthan", "b", is_less},
    {"lt", "b", is_less},
    {"<", "b", is_less},
    {"le", "b", is_less_equal},
    {"<=", "b", is_less_equal},
    {"greaterthan", "b", is_greater},
    {"gt", "b", is_greater},
    {">", "b", is_greater},
    {"ge", "b", is_greater_equal},
    {">=", "b", is_greater_equal},
    {"odd", "", is_odd},
    {"even", "", is_even},
    {"divisibleby", "num", is_divisible},
    {"lower", "", is_lower},
    {"upper", "", is_upper},
    {"filter", "", is_filter},
    {"test", "", is_test},
};

const shoal_builtin *shoal_test_find(shoal_text name)
{
    return shoal_builtin_find(tests, sizeof tests / sizeof *tests, name);
}

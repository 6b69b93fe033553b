#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/template_operators.h"
#include "coordinator/text/template_print.h"
#include "coordinator/text/template_run.h"
#include "coordinator/text/template_strings.h"

#define INDENT_MAX 1000
/* Digits that a number in a text may have. */
#define NUMBER_BYTES 400

static shoal_status self_text(const shoal_call *c, shoal_text *out)
{
    return shoal_print(c->heap, &c->self, out);
}

static shoal_status give(shoal_text text, bool safe, shoal_value *out)
{
    *out = (shoal_value){.kind = SHOAL_VALUE_STRING, .safe = safe, .text = text};
    return SHOAL_OK;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static shoal_status to_string(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(self_text(c, &text));
    return give(text, c->self.kind == SHOAL_VALUE_STRING && c->self.safe, out);
}

static shoal_status mark_safe(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(self_text(c, &text));
    return give(text, true, out);
}

static shoal_status escape(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(self_text(c, &text));
    if (c->self.kind != SHOAL_VALUE_STRING || !c->self.safe)
        SHOAL_TRY(shoal_escape_html(c->heap, text, &text));
    return give(text, true, out);
}

static shoal_status trim(const shoal_call *c, shoal_value *out)
{
    shoal_text text, chars;
    SHOAL_TRY(to_string(c, out));
    SHOAL_TRY(shoal_slot_text(&c->slots[0], "chars", (shoal_text){0}, &chars));
    SHOAL_TRY(shoal_text_strip(c->heap, out->text, chars, SHOAL_STRIP_BOTH, &text));
    out->text = text;
    return SHOAL_OK;
}

static shoal_status recase(const shoal_call *c, shoal_case to, shoal_value *out)
{
    shoal_text text;
    SHOAL_TRY(to_string(c, out));
    SHOAL_TRY(shoal_text_recase(c->heap, out->text, to, &text));
    out->text = text;
    return SHOAL_OK;
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
    return recase(c, SHOAL_CASE_HEADING, out);
}

static shoal_status replace(const shoal_call *c, shoal_value *out)
{
    shoal_text text, old, new;
    int64_t most;
    SHOAL_TRY(self_text(c, &text));
    SHOAL_TRY(shoal_print(c->heap, &c->slots[0], &old));
    SHOAL_TRY(shoal_print(c->heap, &c->slots[1], &new));
    SHOAL_TRY(shoal_slot_int(&c->slots[2], "count", -1, &most));
    SHOAL_TRY(shoal_text_replace(c->heap, text, old, new, most, &text));
    return give(text, false, out);
}

static shoal_status spaces(shoal_heap *heap, const shoal_value *slot, int64_t fallback,
                           shoal_text *out)
{
    shoal_builder b = shoal_builder_in(heap);
    int64_t width;
    if (slot->kind == SHOAL_VALUE_STRING)
        return shoal_slot_text(slot, "indent", SHOAL_TEXT(""), out);
    SHOAL_TRY(shoal_slot_int(slot, "indent", fallback, &width));
    if (width > INDENT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "an indent of more than %d", INDENT_MAX);
    for (int64_t i = 0; i < width; i++)
        SHOAL_TRY(shoal_builder_put(&b, SHOAL_TEXT(" ")));
    *out = shoal_builder_text(&b);
    return SHOAL_OK;
}

/* The lines of the text; one that ends with a line end has an empty line behind it. */
static shoal_status lines_of(const shoal_call *c, shoal_list *out)
{
    shoal_builder b = shoal_builder_in(c->heap);
    if (c->self.kind != SHOAL_VALUE_STRING)
        return shoal_fail(SHOAL_ERR_DATA, "can only indent str, not %s",
                          shoal_value_type(&c->self));
    SHOAL_TRY(shoal_builder_put(&b, c->self.text));
    SHOAL_TRY(shoal_builder_put(&b, SHOAL_TEXT("\n")));
    return shoal_text_split_lines(c->heap, shoal_builder_text(&b), false, out);
}

/* The first line is moved only if `first`, empty ones behind it only if `blank`. */
static shoal_status indent(const shoal_call *c, shoal_value *out)
{
    const bool first = shoal_slot_truth(&c->slots[1], false);
    const bool blank = shoal_slot_truth(&c->slots[2], false);
    shoal_builder b = shoal_builder_in(c->heap);
    shoal_list lines = {0};
    shoal_text before;
    SHOAL_TRY(spaces(c->heap, &c->slots[0], 4, &before));
    SHOAL_TRY(lines_of(c, &lines));
    for (size_t i = 0; i < lines.count; i++) {
        const shoal_text line = lines.items[i].text;
        if (i > 0)
            SHOAL_TRY(shoal_builder_put(&b, SHOAL_TEXT("\n")));
        if (i == 0 ? first : blank || line.bytes > 0)
            SHOAL_TRY(shoal_builder_put(&b, before));
        SHOAL_TRY(shoal_builder_put(&b, line));
    }
    return give(shoal_builder_text(&b), c->self.safe, out);
}

static shoal_status word_count(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    shoal_list words = {0};
    SHOAL_TRY(self_text(c, &text));
    SHOAL_TRY(shoal_text_split(c->heap, text, (shoal_text){0}, -1, false, &words));
    *out = shoal_int((int64_t)words.count);
    return SHOAL_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static shoal_status separators(const shoal_value *slot, shoal_json_style *style)
{
    if (!shoal_slot_given(slot))
        return SHOAL_OK;
    if ((slot->kind != SHOAL_VALUE_TUPLE && slot->kind != SHOAL_VALUE_LIST) ||
        slot->list->count != 2)
        return shoal_fail(SHOAL_ERR_DATA, "separators must be two strings");
    SHOAL_TRY(
        shoal_slot_text(&slot->list->items[0], "a separator", style->between, &style->between));
    return shoal_slot_text(&slot->list->items[1], "a separator", style->colon, &style->colon);
}

static shoal_status to_json(const shoal_call *c, shoal_value *out)
{
    shoal_text text;
    shoal_json_style style = {.ascii = shoal_slot_truth(&c->slots[0], false),
                              .lines = shoal_slot_given(&c->slots[1]),
                              .sort_keys = shoal_slot_truth(&c->slots[3], false),
                              .colon = SHOAL_TEXT(": ")};
    style.between = style.lines ? SHOAL_TEXT(",") : SHOAL_TEXT(", ");
    SHOAL_TRY(spaces(c->heap, &c->slots[1], 0, &style.indent));
    SHOAL_TRY(separators(&c->slots[2], &style));
    SHOAL_TRY(shoal_print_json(c->heap, &c->self, &style, &text));
    return give(text, false, out);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The whole text as a number. */
static bool read_float(shoal_text text, double *out)
{
    char copy[NUMBER_BYTES + 1], *end;
    if (text.bytes == 0 || text.bytes > NUMBER_BYTES)
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *out = strtod(copy, &end);
    return end == copy + text.bytes && !strpbrk(copy, "xXpP(");
}

static bool read_int(shoal_text text, int64_t *out)
{
    char copy[NUMBER_BYTES + 1], *end;
    if (text.bytes == 0 || text.bytes > NUMBER_BYTES)
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    errno = 0;
    *out = strtoll(copy, &end, 10);
    return end == copy + text.bytes && errno == 0;
}

static shoal_status self_number(const shoal_call *c, double *out, bool *is_number)
{
    shoal_text text;
    *is_number = shoal_value_is_number(&c->self);
    if (*is_number)
        *out = shoal_value_number(&c->self);
    if (c->self.kind != SHOAL_VALUE_STRING)
        return SHOAL_OK;
    SHOAL_TRY(shoal_text_strip(c->heap, c->self.text, (shoal_text){0}, SHOAL_STRIP_BOTH, &text));
    *is_number = read_float(text, out);
    return SHOAL_OK;
}

/* What is no number, or too large a one, gives the default. */
static shoal_status to_int(const shoal_call *c, shoal_value *out)
{
    double number = 0;
    int64_t integer;
    bool is_number;
    shoal_text text;
    *out = c->slots[0].kind == SHOAL_VALUE_ABSENT ? shoal_int(0) : c->slots[0];
    if (shoal_value_as_int(&c->self, &integer)) {
        *out = shoal_int(integer);
        return SHOAL_OK;
    }
    if (c->self.kind == SHOAL_VALUE_STRING) {
        SHOAL_TRY(
            shoal_text_strip(c->heap, c->self.text, (shoal_text){0}, SHOAL_STRIP_BOTH, &text));
        if (read_int(text, &integer)) {
            *out = shoal_int(integer);
            return SHOAL_OK;
        }
    }
    SHOAL_TRY(self_number(c, &number, &is_number));
    if (is_number && number > -0x1p63 && number < 0x1p63)
        *out = shoal_int((int64_t)number);
    return SHOAL_OK;
}

static shoal_status to_float(const shoal_call *c, shoal_value *out)
{
    double number;
    bool is_number;
    *out = c->slots[0].kind == SHOAL_VALUE_ABSENT ? shoal_float(0) : c->slots[0];
    SHOAL_TRY(self_number(c, &number, &is_number));
    if (is_number)
        *out = shoal_float(number);
    return SHOAL_OK;
}

static shoal_status absolute(const shoal_call *c, shoal_value *out)
{
    *out = c->self;
    if (shoal_value_is_number(&c->self) && shoal_value_number(&c->self) >= 0)
        return SHOAL_OK;
    return shoal_operate_sign(SHOAL_OPERATOR_SUBTRACT, &c->self, out);
}

/* Halves go to the even neighbour; an integer stays one. */
static shoal_status round_number(const shoal_call *c, shoal_value *out)
{
    int64_t precision, integer;
    shoal_text method;
    SHOAL_TRY(shoal_slot_int(&c->slots[0], "precision", 0, &precision));
    SHOAL_TRY(shoal_slot_text(&c->slots[1], "method", SHOAL_TEXT("common"), &method));
    if (!shoal_value_is_number(&c->self))
        return shoal_fail(SHOAL_ERR_DATA, "type %s cannot be rounded", shoal_value_type(&c->self));
    if (precision < 0 || precision > 15)
        return shoal_fail(SHOAL_ERR_DATA, "not supported: rounding to %lld digits",
                          (long long)precision);
    const double number = shoal_value_number(&c->self), scale = pow(10, (double)precision);
    if (shoal_text_is(method, "ceil"))
        *out = shoal_float(ceil(number * scale) / scale);
    else if (shoal_text_is(method, "floor"))
        *out = shoal_float(floor(number * scale) / scale);
    else if (shoal_value_as_int(&c->self, &integer))
        *out = shoal_int(integer);
    else
        *out = shoal_float(nearbyint(number * scale) / scale);
    return SHOAL_OK;
}

/* ---- any value ------------------------------------------------------------------------------- */

static shoal_status or_default(const shoal_call *c, shoal_value *out)
{
    const bool by_truth = shoal_slot_truth(&c->slots[1], false);
    const bool missing =
        c->self.kind == SHOAL_VALUE_UNDEFINED || (by_truth && !shoal_value_truth(&c->self));
    *out = !missing                                 ? c->self
           : c->slots[0].kind == SHOAL_VALUE_ABSENT ? shoal_string(SHOAL_TEXT(""))
                                                    : c->slots[0];
    return SHOAL_OK;
}

static shoal_status attribute(const shoal_call *c, shoal_value *out)
{
    shoal_value name = {.kind = SHOAL_VALUE_STRING};
    SHOAL_TRY(
        shoal_slot_text(&c->slots[0], "the name of an attribute", SHOAL_TEXT(""), &name.text));
    return shoal_get_attribute(c->run, &c->self, &name, out);
}

static const shoal_builtin filters[] = {
    {"string", "", to_string},
    {"safe", "", mark_safe},
    {"escape", "", escape},
    {"e", "", escape},
    {"trim", "chars?", trim},
    {"lower", "", lower},
    {"upper", "", upper},
    {"capitalize", "", capitalize},
    {"title", "", title},
    {"replace", "old new count?", replace},
    {"indent", "width? first? blank?", indent},
    {"wordcount", "", word_count},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", to_json},
    {"int", "default? base?", to_int},
    {"float", "default?", to_float},
    {"abs", "", absolute},
    {"round", "precision? method?", round_number},
    {"default", "default_value? boolean?", or_default},
    {"d", "default_value? boolean?", or_default},
    {"attr", "name", attribute},
};

const shoal_builtin *shoal_filter_find(shoal_text name)
{
    const shoal_builtin *row = shoal_builtin_find(filters, sizeof filters / sizeof *filters, name);
    return row ? row : shoal_list_filter_find(name);
}

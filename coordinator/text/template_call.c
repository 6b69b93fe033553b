#include <string.h>

#include "coordinator/text/template_run.h"
#include "coordinator/text/utf8.h"

/* ---- rows of the tables ---------------------------------------------------------------------- */

const shoal_builtin *shoal_builtin_find(const shoal_builtin *rows, size_t count, shoal_text name)
{
    for (size_t i = 0; i < count; i++)
        if (shoal_text_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

shoal_status shoal_bound_make(shoal_heap *heap, const shoal_builtin *row, const shoal_value *self,
                              shoal_value *out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(heap, 1, sizeof(shoal_bound), &block));
    shoal_bound *bound = block;
    *bound = (shoal_bound){row, *self};
    *out = (shoal_value){.kind = SHOAL_VALUE_BUILTIN, .bound = bound};
    return SHOAL_OK;
}

/* The next name of "a b? c?": its length, 0 at the end. */
static size_t next_parameter(const char **at)
{
    while (**at == ' ' || **at == '?')
        (*at)++;
    return strcspn(*at, " ?");
}

/* Which parameter an argument is for: by its keyword, or by its place. -1: none. */
static int slot_of(const shoal_builtin *row, const shoal_arguments *arguments, size_t i)
{
    const char *at = row->parameters;
    const shoal_text keyword = arguments->keywords[i];
    int slot = 0;
    for (size_t n; (n = next_parameter(&at)) > 0; at += n, slot++)
        if (keyword.bytes ? shoal_text_equal(keyword, (shoal_text){at, n}) : (size_t)slot == i)
            return slot;
    return -1;
}

static shoal_status sort_arguments(const shoal_builtin *row, shoal_call *call)
{
    for (size_t i = 0; i < call->all.count; i++) {
        char shown[SHOAL_UTF8_SHOW];
        const shoal_text keyword = call->all.keywords[i];
        const int slot = slot_of(row, &call->all, i);
        if (slot < 0 && keyword.bytes)
            return shoal_fail(SHOAL_ERR_DATA, "%s() takes no argument '%s'", row->name,
                              shoal_utf8_show(keyword.data, keyword.bytes, shown));
        if (slot < 0)
            return shoal_fail(SHOAL_ERR_DATA, "%s() takes fewer than %zu arguments", row->name,
                              i + 1);
        if (call->slots[slot].kind != SHOAL_VALUE_ABSENT)
            return shoal_fail(SHOAL_ERR_DATA, "%s() is given an argument twice", row->name);
        call->slots[slot] = call->all.values[i];
    }
    return SHOAL_OK;
}

static shoal_status check_required(const shoal_builtin *row, const shoal_call *call)
{
    const char *at = row->parameters;
    int slot = 0;
    for (size_t n; (n = next_parameter(&at)) > 0; at += n, slot++)
        if (at[n] != '?' && call->slots[slot].kind == SHOAL_VALUE_ABSENT)
            return shoal_fail(SHOAL_ERR_DATA, "%s() misses its argument '%.*s'", row->name, (int)n,
                              at);
    return SHOAL_OK;
}

shoal_status shoal_builtin_call(shoal_run *run, const shoal_builtin *row, const shoal_value *self,
                                const shoal_arguments *arguments, shoal_value *out)
{
    shoal_call call = {.run = run, .heap = &run->heap, .self = *self, .all = *arguments};
    if (row->parameters) {
        SHOAL_TRY(sort_arguments(row, &call));
        SHOAL_TRY(check_required(row, &call));
    }
    return row->function(&call, out);
}

/* ---- slots ----------------------------------------------------------------------------------- */

bool shoal_slot_given(const shoal_value *slot)
{
    return slot->kind != SHOAL_VALUE_ABSENT && slot->kind != SHOAL_VALUE_NONE;
}

static shoal_status wrong_slot(const shoal_value *slot, const char *what, const char *wanted)
{
    if (slot->kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(slot);
    return shoal_fail(SHOAL_ERR_DATA, "%s must be %s, not %s", what, wanted,
                      shoal_value_type(slot));
}

shoal_status shoal_slot_int(const shoal_value *slot, const char *what, int64_t fallback,
                            int64_t *out)
{
    *out = fallback;
    if (!shoal_slot_given(slot) || shoal_value_as_int(slot, out))
        return SHOAL_OK;
    return wrong_slot(slot, what, "an integer");
}

shoal_status shoal_slot_text(const shoal_value *slot, const char *what, shoal_text fallback,
                             shoal_text *out)
{
    *out = fallback;
    if (!shoal_slot_given(slot))
        return SHOAL_OK;
    if (slot->kind != SHOAL_VALUE_STRING)
        return wrong_slot(slot, what, "a string");
    *out = slot->text;
    return SHOAL_OK;
}

bool shoal_slot_truth(const shoal_value *slot, bool fallback)
{
    return slot->kind == SHOAL_VALUE_ABSENT ? fallback : shoal_value_truth(slot);
}

/* ---- macros ---------------------------------------------------------------------------------- */

static shoal_status too_many(const shoal_macro *macro, shoal_text keyword)
{
    char name[SHOAL_UTF8_SHOW], shown[SHOAL_UTF8_SHOW];
    (void)shoal_utf8_show(macro->is->name.data, macro->is->name.bytes, name);
    if (keyword.bytes)
        return shoal_fail(SHOAL_ERR_DATA, "macro '%s' takes no keyword argument '%s'", name,
                          shoal_utf8_show(keyword.data, keyword.bytes, shown));
    return shoal_fail(SHOAL_ERR_DATA, "macro '%s' takes fewer arguments", name);
}

/* Set the parameter that argument i is for. */
static shoal_status pass_argument(shoal_run *run, const shoal_macro *macro, shoal_scope *scope,
                                  const shoal_arguments *arguments, size_t i)
{
    const shoal_text keyword = arguments->keywords[i];
    size_t place = 0;
    for (const shoal_node *p = macro->is->parameters; p; p = p->next, place++)
        if (keyword.bytes ? shoal_text_equal(p->keyword, keyword) : place == i)
            return shoal_scope_set(run, scope, p->keyword, &arguments->values[i]);
    if (shoal_text_is(keyword, "caller"))
        return shoal_scope_set(run, scope, keyword, &arguments->values[i]);
    return too_many(macro, keyword);
}

static bool is_passed(const shoal_scope *scope, shoal_text name)
{
    for (size_t i = 0; i < scope->count; i++)
        if (shoal_text_equal(scope->variables[i].name, name))
            return true;
    return false;
}

/* Defaults are computed anew at every call and see the parameters before them. run->scope is the
 * macro's. */
static shoal_status fill_defaults(shoal_run *run, const shoal_macro *macro)
{
    for (const shoal_node *p = macro->is->parameters; p; p = p->next) {
        shoal_value value = shoal_undefined(p->keyword);
        if (is_passed(run->scope, p->keyword))
            continue;
        if (p->value)
            SHOAL_TRY(shoal_eval(run, p->value, &value));
        SHOAL_TRY(shoal_scope_set(run, run->scope, p->keyword, &value));
    }
    return SHOAL_OK;
}

static shoal_status call_macro(shoal_run *run, const shoal_macro *macro,
                               const shoal_arguments *arguments, shoal_value *out)
{
    shoal_scope *outer = run->scope;
    void *block;
    shoal_text text;
    SHOAL_TRY(shoal_heap_take(&run->heap, 1, sizeof(shoal_scope), &block));
    shoal_scope *scope = block;
    scope->parent = macro->scope;
    for (size_t i = 0; i < arguments->count; i++)
        SHOAL_TRY(pass_argument(run, macro, scope, arguments, i));
    run->scope = scope;
    shoal_status st = fill_defaults(run, macro);
    if (st == SHOAL_OK)
        st = shoal_run_captured(run, macro->is->body, &text);
    run->scope = outer;
    if (st == SHOAL_OK)
        *out = shoal_string(text);
    return st;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* The values of a list of ARGUMENTs, and the caller of a call block behind them. */
static shoal_status eval_arguments(shoal_run *run, const shoal_node *first,
                                   const shoal_value *caller, shoal_arguments *out)
{
    size_t count = caller != NULL, i = 0;
    void *values, *keywords;
    for (const shoal_node *node = first; node; node = node->next)
        count++;
    SHOAL_TRY(shoal_heap_take(&run->heap, count, sizeof(shoal_value), &values));
    SHOAL_TRY(shoal_heap_take(&run->heap, count, sizeof(shoal_text), &keywords));
    for (const shoal_node *node = first; node; node = node->next, i++) {
        SHOAL_TRY(shoal_eval(run, node->value, &((shoal_value *)values)[i]));
        ((shoal_text *)keywords)[i] = node->keyword;
    }
    if (caller) {
        ((shoal_value *)values)[i] = *caller;
        ((shoal_text *)keywords)[i] = SHOAL_TEXT("caller");
    }
    *out = (shoal_arguments){values, count, keywords};
    return SHOAL_OK;
}

shoal_status shoal_eval_call(shoal_run *run, const shoal_node *node, const shoal_value *caller,
                             shoal_value *out)
{
    shoal_value callee;
    shoal_arguments arguments;
    SHOAL_TRY(shoal_eval(run, node->subject, &callee));
    if (callee.kind == SHOAL_VALUE_UNDEFINED)
        return shoal_fail_undefined(&callee);
    SHOAL_TRY(eval_arguments(run, node->arguments, caller, &arguments));
    if (callee.kind == SHOAL_VALUE_MACRO)
        return call_macro(run, callee.macro, &arguments, out);
    if (callee.kind == SHOAL_VALUE_BUILTIN)
        return shoal_builtin_call(run, callee.bound->row, &callee.bound->self, &arguments, out);
    return shoal_fail(SHOAL_ERR_DATA, "'%s' object is not callable", shoal_value_type(&callee));
}

static shoal_status eval_row(shoal_run *run, const shoal_node *node, const char *what,
                             shoal_value *out)
{
    char shown[SHOAL_UTF8_SHOW];
    shoal_value subject;
    shoal_arguments arguments;
    if (!node->row)
        return shoal_fail(SHOAL_ERR_DATA, "not supported: the %s '%s'", what,
                          shoal_utf8_show(node->called.data, node->called.bytes, shown));
    SHOAL_TRY(shoal_eval(run, node->subject, &subject));
    SHOAL_TRY(eval_arguments(run, node->arguments, NULL, &arguments));
    return shoal_builtin_call(run, node->row, &subject, &arguments, out);
}

shoal_status shoal_eval_filter(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    return eval_row(run, node, "filter", out);
}

shoal_status shoal_eval_test(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    return eval_row(run, node, "test", out);
}

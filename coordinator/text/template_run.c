#include "coordinator/text/template_run.h"

#include "coordinator/text/template_print.h"

shoal_status shoal_run_locate(shoal_run *run, const shoal_node *node, shoal_status st)
{
    if (st == SHOAL_OK || run->located)
        return st;
    run->located = true;
    return shoal_fail_within(st, "%s, line %d", run->name, node->line);
}

shoal_status shoal_run_captured(shoal_run *run, const shoal_node *first, shoal_text *out)
{
    shoal_builder text = shoal_builder_in(&run->heap), *outer = run->out;
    run->out = &text;
    const shoal_status st = shoal_run_body(run, first);
    run->out = outer;
    *out = shoal_builder_text(&text);
    return st;
}

/* ---- assignment ------------------------------------------------------------------------------ */

static shoal_status assign(shoal_run *run, const shoal_node *target, const shoal_value *value);

static shoal_status assign_items(shoal_run *run, const shoal_node *target, const shoal_value *value)
{
    shoal_list items;
    size_t i = 0;
    SHOAL_TRY(shoal_value_items(&run->heap, value, &items));
    for (const shoal_node *item = target->items; item; item = item->next, i++) {
        if (i == items.count)
            return shoal_fail(SHOAL_ERR_DATA, "not enough values to unpack (got %zu)", items.count);
        SHOAL_TRY(assign(run, item, &items.items[i]));
    }
    if (i < items.count)
        return shoal_fail(SHOAL_ERR_DATA, "too many values to unpack (expected %zu)", i);
    return SHOAL_OK;
}

static shoal_status assign_attribute(shoal_run *run, const shoal_node *target,
                                     const shoal_value *value)
{
    shoal_value object;
    SHOAL_TRY(shoal_eval(run, target->object, &object));
    if (object.kind != SHOAL_VALUE_NAMESPACE)
        return shoal_fail(SHOAL_ERR_DATA, "cannot assign attribute on non-namespace object");
    return shoal_dict_put(&run->heap, object.dict, &target->key->constant, value);
}

/* The nesting of targets is that of the source, which the parser has limited. */
static shoal_status assign(shoal_run *run, const shoal_node *target, const shoal_value *value)
{
    if (target->kind == SHOAL_NODE_TUPLE)
        return assign_items(run, target, value);
    if (target->kind == SHOAL_NODE_ATTRIBUTE)
        return assign_attribute(run, target, value);
    return shoal_scope_set(run, run->scope, target->name, value);
}

/* ---- statements ------------------------------------------------------------------------------ */

static shoal_status put_value(shoal_run *run, const shoal_value *value)
{
    shoal_text text;
    SHOAL_TRY(shoal_print(&run->heap, value, &text));
    return shoal_builder_put(run->out, text);
}

static shoal_status run_output(shoal_run *run, const shoal_node *node)
{
    shoal_value value;
    SHOAL_TRY(shoal_eval(run, node->operand, &value));
    return put_value(run, &value);
}

static shoal_status run_if(shoal_run *run, const shoal_node *node)
{
    for (const shoal_node *branch = node->items; branch; branch = branch->next) {
        shoal_value test = shoal_bool(true);
        if (branch->test)
            SHOAL_TRY(shoal_eval(run, branch->test, &test));
        if (shoal_value_truth(&test))
            return shoal_run_body(run, branch->yes);
    }
    return SHOAL_OK;
}

static shoal_status run_set(shoal_run *run, const shoal_node *node)
{
    shoal_value value;
    SHOAL_TRY(shoal_eval(run, node->source, &value));
    return assign(run, node->target, &value);
}

static shoal_status open_scope(shoal_run *run, shoal_scope **out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(&run->heap, 1, sizeof(shoal_scope), &block));
    *out = block;
    (*out)->parent = run->scope;
    return SHOAL_OK;
}

/* The text of the body, which has a scope of its own, after the filters. */
static shoal_status filtered_body(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    const shoal_text outer = run->captured;
    shoal_scope *scope;
    shoal_text text;
    SHOAL_TRY(open_scope(run, &scope));
    run->scope = scope;
    shoal_status st = shoal_run_captured(run, node->body, &text);
    if (st == SHOAL_OK) {
        run->captured = text;
        st = shoal_eval(run, node->source, out);
        run->captured = outer;
    }
    run->scope = scope->parent;
    return st;
}

static shoal_status run_filter_block(shoal_run *run, const shoal_node *node)
{
    shoal_value value;
    SHOAL_TRY(filtered_body(run, node, &value));
    return put_value(run, &value);
}

static shoal_status run_set_block(shoal_run *run, const shoal_node *node)
{
    shoal_value value;
    SHOAL_TRY(filtered_body(run, node, &value));
    return assign(run, node->target, &value);
}

/* A macro that sees the variables of the place where it stands. */
static shoal_status make_macro(shoal_run *run, const shoal_macro_body *is, shoal_value *out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(&run->heap, 1, sizeof(shoal_macro), &block));
    shoal_macro *macro = block;
    *macro = (shoal_macro){is, run->scope};
    *out = (shoal_value){.kind = SHOAL_VALUE_MACRO, .macro = macro};
    return SHOAL_OK;
}

static shoal_status run_macro(shoal_run *run, const shoal_node *node)
{
    shoal_value macro;
    SHOAL_TRY(make_macro(run, &node->macro, &macro));
    return shoal_scope_set(run, run->scope, node->macro.name, &macro);
}

static shoal_status run_call_block(shoal_run *run, const shoal_node *node)
{
    shoal_value caller, value;
    SHOAL_TRY(make_macro(run, &node->macro, &caller));
    SHOAL_TRY(shoal_eval_call(run, node->call, &caller, &value));
    return put_value(run, &value);
}

/* What is set on the scope is computed outside of it. */
static shoal_status run_scope(shoal_run *run, const shoal_node *node)
{
    shoal_scope *scope;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(open_scope(run, &scope));
    for (const shoal_node *set = node->settings; set && st == SHOAL_OK; set = set->next) {
        shoal_value value;
        SHOAL_TRY(shoal_eval(run, set->source, &value));
        run->scope = scope;
        st = assign(run, set->target, &value);
        run->scope = scope->parent;
    }
    SHOAL_TRY(st);
    run->scope = scope;
    st = shoal_run_body(run, node->inner);
    run->scope = scope->parent;
    return st;
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* The items for which the condition of `for ... if` holds; run->scope is the loop's. */
static shoal_status select_items(shoal_run *run, const shoal_node *node, const shoal_list *all,
                                 shoal_list *out)
{
    *out = (shoal_list){0};
    for (size_t i = 0; i < all->count; i++) {
        shoal_value test;
        run->scope->count = 0;
        SHOAL_TRY(assign(run, node->target, &all->items[i]));
        SHOAL_TRY(shoal_eval(run, node->condition, &test));
        if (shoal_value_truth(&test))
            SHOAL_TRY(shoal_list_push(&run->heap, out, &all->items[i]));
    }
    return SHOAL_OK;
}

/* Every turn begins with nothing but the target and `loop`. */
static shoal_status run_turns(shoal_run *run, const shoal_node *node, shoal_loop *loop)
{
    const shoal_value variable = {.kind = SHOAL_VALUE_LOOP, .loop = loop};
    for (; loop->index < loop->items.count; loop->index++) {
        SHOAL_TRY(shoal_heap_work(&run->heap, 0));
        run->scope->count = 0;
        SHOAL_TRY(shoal_scope_set(run, run->scope, SHOAL_TEXT("loop"), &variable));
        SHOAL_TRY(assign(run, node->target, &loop->items.items[loop->index]));
        SHOAL_TRY(shoal_run_body(run, node->body));
        const shoal_jump jump = run->jump;
        run->jump = SHOAL_JUMP_NONE;
        if (jump == SHOAL_JUMP_BREAK)
            break;
    }
    return SHOAL_OK;
}

/* In a scope of its own. */
static shoal_status run_loop(shoal_run *run, const shoal_node *node, const shoal_value *source)
{
    void *block;
    shoal_list all;
    SHOAL_TRY(shoal_value_items(&run->heap, source, &all));
    SHOAL_TRY(shoal_heap_take(&run->heap, 1, sizeof(shoal_loop), &block));
    shoal_loop *loop = block;
    *loop = (shoal_loop){.items = all};
    if (node->condition)
        SHOAL_TRY(select_items(run, node, &all, &loop->items));
    if (loop->items.count > 0)
        return run_turns(run, node, loop);
    run->scope->count = 0;
    return shoal_run_body(run, node->otherwise);
}

static shoal_status run_for(shoal_run *run, const shoal_node *node)
{
    shoal_value source;
    shoal_scope *scope;
    SHOAL_TRY(shoal_eval(run, node->source, &source));
    SHOAL_TRY(open_scope(run, &scope));
    run->scope = scope;
    const shoal_status st = run_loop(run, node, &source);
    run->scope = scope->parent;
    return st;
}

/* ---- any statement --------------------------------------------------------------------------- */

static shoal_status run_statement(shoal_run *run, const shoal_node *node)
{
    switch (node->kind) {
    case SHOAL_NODE_DATA: return shoal_builder_put(run->out, node->constant.text);
    case SHOAL_NODE_OUTPUT: return run_output(run, node);
    case SHOAL_NODE_IF: return run_if(run, node);
    case SHOAL_NODE_FOR: return run_for(run, node);
    case SHOAL_NODE_SET: return run_set(run, node);
    case SHOAL_NODE_SET_BLOCK: return run_set_block(run, node);
    case SHOAL_NODE_FILTER_BLOCK: return run_filter_block(run, node);
    case SHOAL_NODE_MACRO: return run_macro(run, node);
    case SHOAL_NODE_CALL_BLOCK: return run_call_block(run, node);
    case SHOAL_NODE_SCOPE: return run_scope(run, node);
    case SHOAL_NODE_BREAK: run->jump = SHOAL_JUMP_BREAK; return SHOAL_OK;
    case SHOAL_NODE_CONTINUE: run->jump = SHOAL_JUMP_CONTINUE; return SHOAL_OK;
    default: return shoal_fail(SHOAL_ERR_INTERNAL, "an expression where a statement should be");
    }
}

/* Until the end, or a break or continue on its way out. */
shoal_status shoal_run_body(shoal_run *run, const shoal_node *first)
{
    shoal_status st = shoal_heap_enter(&run->heap);
    if (st != SHOAL_OK)
        return first ? shoal_run_locate(run, first, st) : st;
    for (const shoal_node *node = first; node && st == SHOAL_OK && !run->jump; node = node->next) {
        st = shoal_heap_work(&run->heap, 0);
        if (st == SHOAL_OK)
            st = run_statement(run, node);
        st = shoal_run_locate(run, node, st);
    }
    shoal_heap_leave(&run->heap);
    return st;
}

#include "coordinator/text/template_operators.h"
#include "coordinator/text/template_run.h"

static shoal_status eval_items(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    SHOAL_TRY(shoal_list_make(
        &run->heap, node->kind == SHOAL_NODE_LIST ? SHOAL_VALUE_LIST : SHOAL_VALUE_TUPLE, out));
    for (const shoal_node *item = node->items; item; item = item->next) {
        shoal_value value;
        SHOAL_TRY(shoal_eval(run, item, &value));
        SHOAL_TRY(shoal_list_push(&run->heap, out->list, &value));
    }
    return SHOAL_OK;
}

static shoal_status eval_dict(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    SHOAL_TRY(shoal_dict_make(&run->heap, SHOAL_VALUE_DICT, out));
    for (const shoal_node *pair = node->items; pair; pair = pair->next) {
        shoal_value key, value;
        SHOAL_TRY(shoal_eval(run, pair->left, &key));
        SHOAL_TRY(shoal_eval(run, pair->right, &value));
        SHOAL_TRY(shoal_dict_put(&run->heap, out->dict, &key, &value));
    }
    return SHOAL_OK;
}

static shoal_status eval_unary(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_value operand;
    SHOAL_TRY(shoal_eval(run, node->operand, &operand));
    if (node->op != SHOAL_OPERATOR_NOT)
        return shoal_operate_sign(node->op, &operand, out);
    *out = shoal_bool(!shoal_value_truth(&operand));
    return SHOAL_OK;
}

/* `and` and `or` give one of their operands. */
static shoal_status eval_binary(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_value left, right;
    SHOAL_TRY(shoal_eval(run, node->left, &left));
    if (node->op == SHOAL_OPERATOR_AND || node->op == SHOAL_OPERATOR_OR) {
        *out = left;
        return shoal_value_truth(&left) == (node->op == SHOAL_OPERATOR_OR)
                   ? SHOAL_OK
                   : shoal_eval(run, node->right, out);
    }
    SHOAL_TRY(shoal_eval(run, node->right, &right));
    return shoal_operate(&run->heap, node->op, &left, &right, out);
}

static shoal_status eval_compare(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_value left, right;
    bool holds = true;
    SHOAL_TRY(shoal_eval(run, node->left, &left));
    for (const shoal_node *next = node->right; next && holds; next = next->next) {
        SHOAL_TRY(shoal_eval(run, next->right, &right));
        SHOAL_TRY(shoal_compare(&run->heap, next->op, &left, &right, &holds));
        left = right;
    }
    *out = shoal_bool(holds);
    return SHOAL_OK;
}

static shoal_status eval_conditional(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_value test;
    SHOAL_TRY(shoal_eval(run, node->test, &test));
    if (shoal_value_truth(&test))
        return shoal_eval(run, node->yes, out);
    if (node->no)
        return shoal_eval(run, node->no, out);
    *out = shoal_undefined(SHOAL_TEXT("else"));
    return SHOAL_OK;
}

static shoal_status eval_subscript(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_value object, key;
    SHOAL_TRY(shoal_eval(run, node->object, &object));
    SHOAL_TRY(shoal_eval(run, node->key, &key));
    return node->kind == SHOAL_NODE_ATTRIBUTE ? shoal_get_attribute(run, &object, &key, out)
                                              : shoal_get_item(run, &object, &key, out);
}

static shoal_status eval_slice(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    const shoal_node *const parts[3] = {node->key, node->stop, node->step};
    shoal_value object, values[3] = {{0}};
    SHOAL_TRY(shoal_eval(run, node->object, &object));
    for (int i = 0; i < 3; i++)
        if (parts[i])
            SHOAL_TRY(shoal_eval(run, parts[i], &values[i]));
    return shoal_get_slice(run, &object, values, out);
}

static shoal_status eval(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    switch (node->kind) {
    case SHOAL_NODE_CONSTANT: *out = node->constant; return SHOAL_OK;
    case SHOAL_NODE_NAME: return shoal_scope_get(run, node->name, out);
    case SHOAL_NODE_LIST:
    case SHOAL_NODE_TUPLE: return eval_items(run, node, out);
    case SHOAL_NODE_DICT: return eval_dict(run, node, out);
    case SHOAL_NODE_UNARY: return eval_unary(run, node, out);
    case SHOAL_NODE_BINARY: return eval_binary(run, node, out);
    case SHOAL_NODE_COMPARE: return eval_compare(run, node, out);
    case SHOAL_NODE_CONDITIONAL: return eval_conditional(run, node, out);
    case SHOAL_NODE_ATTRIBUTE:
    case SHOAL_NODE_SUBSCRIPT: return eval_subscript(run, node, out);
    case SHOAL_NODE_SLICE: return eval_slice(run, node, out);
    case SHOAL_NODE_CALL: return shoal_eval_call(run, node, NULL, out);
    case SHOAL_NODE_FILTER: return shoal_eval_filter(run, node, out);
    case SHOAL_NODE_TEST: return shoal_eval_test(run, node, out);
    case SHOAL_NODE_CAPTURED: *out = shoal_string(run->captured); return SHOAL_OK;
    default: return shoal_fail(SHOAL_ERR_INTERNAL, "a statement where an expression should be");
    }
}

shoal_status shoal_eval(shoal_run *run, const shoal_node *node, shoal_value *out)
{
    shoal_status st = shoal_heap_work(&run->heap, 0);
    if (st == SHOAL_OK)
        st = shoal_heap_enter(&run->heap);
    if (st == SHOAL_OK) {
        st = eval(run, node, out);
        shoal_heap_leave(&run->heap);
    }
    return shoal_run_locate(run, node, st);
}

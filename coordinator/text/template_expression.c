#include "coordinator/text/template_builtin.h"
#include "coordinator/text/template_parser.h"

/* Higher binds tighter; operators of one level group from the left. */
enum {
    LEVEL_OR = 1,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_JOIN,
    LEVEL_MULTIPLY,
    LEVEL_POWER
};

static const struct {
    const char *word;
    shoal_operator op;
    int level;
} operators[] = {
    {"or", SHOAL_OPERATOR_OR, LEVEL_OR},
    {"and", SHOAL_OPERATOR_AND, LEVEL_AND},
    {"==", SHOAL_OPERATOR_EQUAL, LEVEL_COMPARE},
    {"!=", SHOAL_OPERATOR_UNEQUAL, LEVEL_COMPARE},
    {"<", SHOAL_OPERATOR_LESS, LEVEL_COMPARE},
    {"<=", SHOAL_OPERATOR_LESS_EQUAL, LEVEL_COMPARE},
    {">", SHOAL_OPERATOR_GREATER, LEVEL_COMPARE},
    {">=", SHOAL_OPERATOR_GREATER_EQUAL, LEVEL_COMPARE},
    {"in", SHOAL_OPERATOR_IN, LEVEL_COMPARE},
    {"not", SHOAL_OPERATOR_NOT_IN, LEVEL_COMPARE}, /* behind an operand only `not in` */
    {"+", SHOAL_OPERATOR_ADD, LEVEL_ADD},
    {"-", SHOAL_OPERATOR_SUBTRACT, LEVEL_ADD},
    {"~", SHOAL_OPERATOR_JOIN, LEVEL_JOIN},
    {"*", SHOAL_OPERATOR_MULTIPLY, LEVEL_MULTIPLY},
    {"/", SHOAL_OPERATOR_DIVIDE, LEVEL_MULTIPLY},
    {"//", SHOAL_OPERATOR_FLOOR_DIVIDE, LEVEL_MULTIPLY},
    {"%", SHOAL_OPERATOR_REMAINDER, LEVEL_MULTIPLY},
    {"**", SHOAL_OPERATOR_POWER, LEVEL_POWER},
};

#define OPERATORS (sizeof operators / sizeof *operators)

/* ---- literals and names ---------------------------------------------------------------------- */

static shoal_status make_constant(shoal_parser *p, shoal_value value, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_CONSTANT, out));
    (*out)->constant = value;
    return SHOAL_OK;
}

static shoal_status parse_name(shoal_parser *p, shoal_node **out)
{
    const shoal_text name = p->at->text;
    p->at++;
    if (shoal_text_is(name, "true") || shoal_text_is(name, "True"))
        return make_constant(p, shoal_bool(true), out);
    if (shoal_text_is(name, "false") || shoal_text_is(name, "False"))
        return make_constant(p, shoal_bool(false), out);
    if (shoal_text_is(name, "none") || shoal_text_is(name, "None"))
        return make_constant(p, shoal_none(), out);
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_NAME, out));
    (*out)->name = name;
    return SHOAL_OK;
}

static bool sees_string(const shoal_parser *p)
{
    return p->at->kind == SHOAL_LEXEME_LITERAL && p->at->value.kind == SHOAL_VALUE_STRING;
}

/* Strings that follow each other are one. */
static shoal_status parse_literal(shoal_parser *p, shoal_node **out)
{
    const shoal_lexeme *first = p->at++;
    SHOAL_TRY(make_constant(p, first->value, out));
    if (first->value.kind != SHOAL_VALUE_STRING || !sees_string(p))
        return SHOAL_OK;
    shoal_builder joined = shoal_builder_in(p->heap);
    SHOAL_TRY(shoal_builder_put(&joined, first->value.text));
    for (; sees_string(p); p->at++)
        SHOAL_TRY(shoal_builder_put(&joined, p->at->value.text));
    (*out)->constant = shoal_string(shoal_builder_text(&joined));
    return SHOAL_OK;
}

static shoal_status parse_list(shoal_parser *p, shoal_node **out)
{
    shoal_nodes items = {0};
    shoal_node *item;
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_LIST, out));
    while (!shoal_parser_skips(p, "]")) {
        if (items.first)
            SHOAL_TRY(shoal_parser_expects(p, ","));
        if (shoal_parser_skips(p, "]"))
            break;
        SHOAL_TRY(shoal_parse_expression(p, true, &item));
        shoal_nodes_push(&items, item);
    }
    (*out)->items = items.first;
    return SHOAL_OK;
}

static shoal_status parse_dict(shoal_parser *p, shoal_node **out)
{
    shoal_nodes items = {0};
    shoal_node *pair;
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_DICT, out));
    while (!shoal_parser_skips(p, "}")) {
        if (items.first)
            SHOAL_TRY(shoal_parser_expects(p, ","));
        if (shoal_parser_skips(p, "}"))
            break;
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_PAIR, &pair));
        SHOAL_TRY(shoal_parse_expression(p, true, &pair->left));
        SHOAL_TRY(shoal_parser_expects(p, ":"));
        SHOAL_TRY(shoal_parse_expression(p, true, &pair->right));
        shoal_nodes_push(&items, pair);
    }
    (*out)->items = items.first;
    return SHOAL_OK;
}

static shoal_status parse_parenthesis(shoal_parser *p, shoal_node **out)
{
    if (shoal_parser_skips(p, ")"))
        return shoal_node_make(p, SHOAL_NODE_TUPLE, out);
    SHOAL_TRY(shoal_parse_tuple(p, true, out));
    return shoal_parser_expects(p, ")");
}

static shoal_status parse_primary(shoal_parser *p, shoal_node **out)
{
    if (p->at->kind == SHOAL_LEXEME_NAME)
        return parse_name(p, out);
    if (p->at->kind == SHOAL_LEXEME_LITERAL)
        return parse_literal(p, out);
    if (shoal_parser_skips(p, "("))
        return parse_parenthesis(p, out);
    if (shoal_parser_skips(p, "["))
        return parse_list(p, out);
    if (shoal_parser_skips(p, "{"))
        return parse_dict(p, out);
    return shoal_parser_fails(p, "expected an expression");
}

/* ---- what stands behind a primary ------------------------------------------------------------ */

static shoal_status parse_argument(shoal_parser *p, shoal_node **out)
{
    if (shoal_parser_sees(p, "*") || shoal_parser_sees(p, "**"))
        return shoal_parser_fails(p, "not supported: unpacked arguments");
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_ARGUMENT, out));
    if (p->at->kind == SHOAL_LEXEME_NAME && shoal_text_is(p->at[1].text, "=") &&
        p->at[1].kind == SHOAL_LEXEME_OPERATOR) {
        (*out)->keyword = p->at->text;
        p->at += 2;
    }
    return shoal_parse_expression(p, true, &(*out)->value);
}

/* Behind "(". */
static shoal_status parse_arguments(shoal_parser *p, shoal_node **out)
{
    shoal_nodes list = {0};
    shoal_node *argument;
    while (!shoal_parser_skips(p, ")")) {
        if (list.first)
            SHOAL_TRY(shoal_parser_expects(p, ","));
        if (shoal_parser_skips(p, ")"))
            break;
        SHOAL_TRY(parse_argument(p, &argument));
        if (list.last && list.last->keyword.bytes && !argument->keyword.bytes)
            return shoal_parser_fails(p, "a positional argument behind one with a name");
        shoal_nodes_push(&list, argument);
    }
    *out = list.first;
    return SHOAL_OK;
}

static bool ends_slice_part(const shoal_parser *p)
{
    return shoal_parser_sees(p, ":") || shoal_parser_sees(p, "]");
}

/* Behind "[" of object[key] or object[start:stop:step]. */
static shoal_status parse_subscript(shoal_parser *p, shoal_node *object, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_SUBSCRIPT, out));
    shoal_node *node = *out;
    node->object = object;
    if (!shoal_parser_sees(p, ":"))
        SHOAL_TRY(shoal_parse_tuple(p, true, &node->key));
    if (shoal_parser_skips(p, ":")) {
        node->kind = SHOAL_NODE_SLICE;
        if (!ends_slice_part(p))
            SHOAL_TRY(shoal_parse_expression(p, true, &node->stop));
        if (shoal_parser_skips(p, ":") && !ends_slice_part(p))
            SHOAL_TRY(shoal_parse_expression(p, true, &node->step));
    }
    return shoal_parser_expects(p, "]");
}

/* Behind "." of object.name or object.0 */
static shoal_status parse_attribute(shoal_parser *p, shoal_node *object, shoal_node **out)
{
    const bool element =
        p->at->kind == SHOAL_LEXEME_LITERAL && p->at->value.kind == SHOAL_VALUE_INT;
    shoal_text name;
    SHOAL_TRY(shoal_node_make(p, element ? SHOAL_NODE_SUBSCRIPT : SHOAL_NODE_ATTRIBUTE, out));
    (*out)->object = object;
    if (element)
        return make_constant(p, (p->at++)->value, &(*out)->key);
    SHOAL_TRY(shoal_parser_takes_name(p, &name));
    return make_constant(p, shoal_string(name), &(*out)->key);
}

static shoal_status parse_call(shoal_parser *p, shoal_node *callee, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_CALL, out));
    (*out)->subject = callee;
    return parse_arguments(p, &(*out)->arguments);
}

static shoal_status parse_postfix(shoal_parser *p, shoal_node *node, shoal_node **out)
{
    for (;;) {
        if (shoal_parser_skips(p, "."))
            SHOAL_TRY(parse_attribute(p, node, &node));
        else if (shoal_parser_skips(p, "["))
            SHOAL_TRY(parse_subscript(p, node, &node));
        else if (shoal_parser_skips(p, "("))
            SHOAL_TRY(parse_call(p, node, &node));
        else
            break;
    }
    *out = node;
    return SHOAL_OK;
}

shoal_status shoal_parse_filter(shoal_parser *p, shoal_node *subject, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_FILTER, out));
    (*out)->subject = subject;
    SHOAL_TRY(shoal_parser_takes_name(p, &(*out)->called));
    (*out)->row = shoal_filter_find((*out)->called);
    return shoal_parser_skips(p, "(") ? parse_arguments(p, &(*out)->arguments) : SHOAL_OK;
}

/* May the next lexeme be the argument of a test without parentheses, `x is divisibleby 3`? */
static bool sees_bare_argument(const shoal_parser *p)
{
    static const char *const words[] = {"else", "or", "and", "if", "is", "in", "not", "recursive"};
    if (p->at->kind == SHOAL_LEXEME_LITERAL)
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (shoal_parser_sees(p, words[i]))
            return false;
    return p->at->kind == SHOAL_LEXEME_NAME || shoal_parser_sees(p, "[") ||
           shoal_parser_sees(p, "{");
}

static shoal_status parse_bare_argument(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_ARGUMENT, out));
    SHOAL_TRY(parse_primary(p, &(*out)->value));
    return parse_postfix(p, (*out)->value, &(*out)->value);
}

/* Behind `is`. */
static shoal_status parse_test(shoal_parser *p, shoal_node *subject, shoal_node **out)
{
    shoal_node *test, *negated = NULL;
    if (shoal_parser_skips(p, "not"))
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_UNARY, &negated));
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_TEST, &test));
    test->subject = subject;
    SHOAL_TRY(shoal_parser_takes_name(p, &test->called));
    test->row = shoal_test_find(test->called);
    if (shoal_parser_skips(p, "("))
        SHOAL_TRY(parse_arguments(p, &test->arguments));
    else if (sees_bare_argument(p))
        SHOAL_TRY(parse_bare_argument(p, &test->arguments));
    *out = test;
    if (negated) {
        negated->op = SHOAL_OPERATOR_NOT;
        negated->operand = test;
        *out = negated;
    }
    return SHOAL_OK;
}

shoal_status shoal_parse_filters(shoal_parser *p, shoal_node *subject, shoal_node **out)
{
    while (shoal_parser_skips(p, "|"))
        SHOAL_TRY(shoal_parse_filter(p, subject, &subject));
    *out = subject;
    return SHOAL_OK;
}

/* Filters, tests and calls of what they give. */
static shoal_status parse_filters_and_tests(shoal_parser *p, shoal_node *node, shoal_node **out)
{
    for (;;) {
        if (shoal_parser_skips(p, "|"))
            SHOAL_TRY(shoal_parse_filter(p, node, &node));
        else if (shoal_parser_skips(p, "is"))
            SHOAL_TRY(parse_test(p, node, &node));
        else if (shoal_parser_skips(p, "("))
            SHOAL_TRY(parse_call(p, node, &node));
        else
            break;
    }
    *out = node;
    return SHOAL_OK;
}

/* ---- operators ------------------------------------------------------------------------------- */

static shoal_status parse_signed(shoal_parser *p, shoal_node **out)
{
    shoal_node *sign = NULL;
    if (shoal_parser_sees(p, "-") || shoal_parser_sees(p, "+")) {
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_UNARY, &sign));
        sign->op = shoal_parser_sees(p, "-") ? SHOAL_OPERATOR_SUBTRACT : SHOAL_OPERATOR_ADD;
        p->at++;
        SHOAL_TRY(shoal_heap_enter(p->heap));
        const shoal_status st = parse_signed(p, &sign->operand);
        shoal_heap_leave(p->heap);
        *out = sign;
        return st;
    }
    SHOAL_TRY(parse_primary(p, out));
    return parse_postfix(p, *out, out);
}

static shoal_status parse_unary(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(parse_signed(p, out));
    return parse_filters_and_tests(p, *out, out);
}

/* The row of the next lexeme, or OPERATORS. */
static size_t next_operator(const shoal_parser *p)
{
    size_t i = 0;
    while (i < OPERATORS && !shoal_parser_sees(p, operators[i].word))
        i++;
    if (i < OPERATORS && operators[i].op == SHOAL_OPERATOR_NOT_IN &&
        !shoal_text_is(p->at[1].text, "in"))
        return OPERATORS;
    return i;
}

static shoal_status parse_level(shoal_parser *p, int level, shoal_node **out);

/* All comparisons of a chain a < b < c. One in parentheses is an operand, not a part of it. */
static shoal_status parse_comparisons(shoal_parser *p, shoal_node *left, shoal_node **out)
{
    shoal_nodes chain = {0};
    shoal_node *comparison;
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_COMPARE, out));
    for (size_t i; (i = next_operator(p)) < OPERATORS && operators[i].level == LEVEL_COMPARE;) {
        p->at += operators[i].op == SHOAL_OPERATOR_NOT_IN ? 2 : 1;
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_COMPARISON, &comparison));
        comparison->op = operators[i].op;
        SHOAL_TRY(parse_level(p, LEVEL_COMPARE + 1, &comparison->right));
        shoal_nodes_push(&chain, comparison);
    }
    (*out)->left = left;
    (*out)->right = chain.first;
    return SHOAL_OK;
}

static shoal_status parse_binary(shoal_parser *p, size_t row, shoal_node *left, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_BINARY, out));
    p->at++;
    (*out)->op = operators[row].op;
    (*out)->left = left;
    return parse_level(p, operators[row].level + 1, &(*out)->right);
}

static shoal_status parse_not(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_UNARY, out));
    (*out)->op = SHOAL_OPERATOR_NOT;
    p->at++;
    return parse_level(p, LEVEL_NOT, &(*out)->operand);
}

/* Operands joined by operators of at least this level. */
static shoal_status parse_operators(shoal_parser *p, int level, shoal_node **out)
{
    if (level <= LEVEL_NOT && shoal_parser_sees(p, "not"))
        SHOAL_TRY(parse_not(p, out));
    else
        SHOAL_TRY(parse_unary(p, out));
    for (;;) {
        const size_t i = next_operator(p);
        if (i == OPERATORS || operators[i].level < level)
            return SHOAL_OK;
        if (operators[i].level == LEVEL_COMPARE)
            SHOAL_TRY(parse_comparisons(p, *out, out));
        else
            SHOAL_TRY(parse_binary(p, i, *out, out));
    }
}

static shoal_status parse_level(shoal_parser *p, int level, shoal_node **out)
{
    SHOAL_TRY(shoal_heap_enter(p->heap));
    const shoal_status st = parse_operators(p, level, out);
    shoal_heap_leave(p->heap);
    return st;
}

shoal_status shoal_parse_expression(shoal_parser *p, bool conditional, shoal_node **out)
{
    SHOAL_TRY(parse_level(p, LEVEL_OR, out));
    while (conditional && shoal_parser_skips(p, "if")) {
        shoal_node *whole;
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_CONDITIONAL, &whole));
        whole->yes = *out;
        SHOAL_TRY(parse_level(p, LEVEL_OR, &whole->test));
        if (shoal_parser_skips(p, "else")) {
            SHOAL_TRY(shoal_heap_enter(p->heap));
            const shoal_status st = shoal_parse_expression(p, true, &whole->no);
            shoal_heap_leave(p->heap);
            SHOAL_TRY(st);
        }
        *out = whole;
    }
    return SHOAL_OK;
}

/* ---- tuples and targets ---------------------------------------------------------------------- */

static bool ends_tuple(const shoal_parser *p)
{
    return p->at->kind == SHOAL_LEXEME_OUTPUT_END || p->at->kind == SHOAL_LEXEME_BLOCK_END ||
           shoal_parser_sees(p, ")") || shoal_parser_sees(p, "]") || shoal_parser_sees(p, "=") ||
           shoal_parser_sees(p, "in") || shoal_parser_sees(p, "recursive");
}

static shoal_status parse_target_item(shoal_parser *p, shoal_node **out)
{
    if (shoal_parser_skips(p, "(")) {
        SHOAL_TRY(shoal_heap_enter(p->heap));
        const shoal_status st = shoal_parse_target(p, out);
        shoal_heap_leave(p->heap);
        SHOAL_TRY(st);
        return shoal_parser_expects(p, ")");
    }
    if (p->at->kind != SHOAL_LEXEME_NAME)
        return shoal_parser_fails(p, "expected the name of a variable");
    SHOAL_TRY(parse_name(p, out));
    if ((*out)->kind != SHOAL_NODE_NAME)
        return shoal_parser_fails(p, "a constant cannot be set");
    return shoal_parser_skips(p, ".") ? parse_attribute(p, *out, out) : SHOAL_OK;
}

/* *out is the first item, or all when no comma follows. */
static shoal_status parse_rest_of_tuple(shoal_parser *p, bool conditional, bool targets,
                                        shoal_node **out)
{
    shoal_nodes items = {*out, *out};
    shoal_node *item;
    if (!shoal_parser_sees(p, ","))
        return SHOAL_OK;
    while (shoal_parser_skips(p, ",") && !ends_tuple(p)) {
        SHOAL_TRY(targets ? parse_target_item(p, &item)
                          : shoal_parse_expression(p, conditional, &item));
        shoal_nodes_push(&items, item);
    }
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_TUPLE, out));
    (*out)->items = items.first;
    return SHOAL_OK;
}

shoal_status shoal_parse_tuple(shoal_parser *p, bool conditional, shoal_node **out)
{
    SHOAL_TRY(shoal_parse_expression(p, conditional, out));
    return parse_rest_of_tuple(p, conditional, false, out);
}

shoal_status shoal_parse_target(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(parse_target_item(p, out));
    return parse_rest_of_tuple(p, false, true, out);
}

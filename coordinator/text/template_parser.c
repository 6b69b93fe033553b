#include "coordinator/text/template_parser.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/text/utf8.h"

/* ---- lexemes and nodes ----------------------------------------------------------------------- */

shoal_status shoal_node_make(shoal_parser *p, shoal_node_kind kind, shoal_node **out)
{
    void *block;
    SHOAL_TRY(shoal_heap_take(p->heap, 1, sizeof(shoal_node), &block));
    *out = block;
    (*out)->kind = kind;
    (*out)->line = p->at->line;
    return SHOAL_OK;
}

void shoal_nodes_push(shoal_nodes *list, shoal_node *node)
{
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
}

bool shoal_parser_sees(const shoal_parser *p, const char *word)
{
    return (p->at->kind == SHOAL_LEXEME_NAME || p->at->kind == SHOAL_LEXEME_OPERATOR) &&
           shoal_text_is(p->at->text, word);
}

bool shoal_parser_skips(shoal_parser *p, const char *word)
{
    const bool seen = shoal_parser_sees(p, word);
    p->at += seen;
    return seen;
}

shoal_status shoal_parser_fails(const shoal_parser *p, const char *what)
{
    char shown[SHOAL_UTF8_SHOW] = "the end of the template";
    if (p->at->kind != SHOAL_LEXEME_END)
        (void)shoal_utf8_show(p->at->text.data, p->at->text.bytes, shown);
    return shoal_fail(SHOAL_ERR_DATA, "%s, line %d: %s, at %s", p->name, p->at->line, what, shown);
}

shoal_status shoal_parser_expects(shoal_parser *p, const char *word)
{
    char what[64];
    if (shoal_parser_skips(p, word))
        return SHOAL_OK;
    (void)snprintf(what, sizeof what, "expected '%s'", word);
    return shoal_parser_fails(p, what);
}

shoal_status shoal_parser_takes_name(shoal_parser *p, shoal_text *out)
{
    if (p->at->kind != SHOAL_LEXEME_NAME)
        return shoal_parser_fails(p, "expected a name");
    *out = (p->at++)->text;
    return SHOAL_OK;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static shoal_status parse_tag(shoal_parser *p, shoal_node **out);

static shoal_status take_end(shoal_parser *p)
{
    if (p->at->kind != SHOAL_LEXEME_BLOCK_END)
        return shoal_parser_fails(p, "expected the end of the tag");
    p->at++;
    return SHOAL_OK;
}

static shoal_status parse_output(shoal_parser *p, shoal_node **out)
{
    p->at++;
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_OUTPUT, out));
    SHOAL_TRY(shoal_parse_tuple(p, true, &(*out)->operand));
    if (p->at->kind != SHOAL_LEXEME_OUTPUT_END)
        return shoal_parser_fails(p, "expected '}}'");
    p->at++;
    return SHOAL_OK;
}

static shoal_status parse_data(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_DATA, out));
    (*out)->constant = shoal_string((p->at++)->text);
    return SHOAL_OK;
}

/* Is the next tag one of up to three words? */
static bool sees_tag(const shoal_parser *p, const char *const ends[3])
{
    if (p->at->kind != SHOAL_LEXEME_BLOCK_BEGIN || p->at[1].kind != SHOAL_LEXEME_NAME)
        return false;
    for (int i = 0; i < 3 && ends[i]; i++)
        if (shoal_text_is(p->at[1].text, ends[i]))
            return true;
    return false;
}

/* Statements up to one of the tags `ends`, whose name is next then; or up to the end of the
 * template when ends[0] is NULL. */
static shoal_status parse_statements(shoal_parser *p, const char *const ends[3], shoal_node **out)
{
    shoal_nodes list = {0};
    shoal_node *node;
    while (!sees_tag(p, ends)) {
        if (p->at->kind == SHOAL_LEXEME_END && ends[0])
            return shoal_fail(SHOAL_ERR_DATA, "%s, line %d: a block has no '%s'", p->name,
                              p->at->line, ends[0]);
        if (p->at->kind == SHOAL_LEXEME_END)
            break;
        SHOAL_TRY(p->at->kind == SHOAL_LEXEME_DATA           ? parse_data(p, &node)
                  : p->at->kind == SHOAL_LEXEME_OUTPUT_BEGIN ? parse_output(p, &node)
                                                             : parse_tag(p, &node));
        shoal_nodes_push(&list, node);
    }
    if (ends[0])
        p->at++;
    *out = list.first;
    return SHOAL_OK;
}

/* The end of the opening tag, the statements, and the closing tag's name. */
static shoal_status parse_body(shoal_parser *p, const char *end, shoal_node **out)
{
    const char *const ends[3] = {end};
    SHOAL_TRY(take_end(p));
    SHOAL_TRY(parse_statements(p, ends, out));
    p->at++;
    return SHOAL_OK;
}

/* ---- tags: the name is taken, the end of the tag is not ----------------------------------------
 */

static shoal_status parse_if(shoal_parser *p, shoal_node **out)
{
    static const char *const ends[3] = {"endif", "elif", "else"};
    static const char *const last[3] = {"endif"};
    shoal_nodes branches = {0};
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_IF, out));
    for (bool with_test = true;;) {
        shoal_node *branch;
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_BRANCH, &branch));
        if (with_test)
            SHOAL_TRY(shoal_parse_tuple(p, true, &branch->test));
        SHOAL_TRY(take_end(p));
        SHOAL_TRY(parse_statements(p, with_test ? ends : last, &branch->yes));
        shoal_nodes_push(&branches, branch);
        if (shoal_parser_skips(p, "endif"))
            break;
        with_test = shoal_parser_sees(p, "elif");
        p->at++;
    }
    (*out)->items = branches.first;
    return SHOAL_OK;
}

static shoal_status parse_for(shoal_parser *p, shoal_node **out)
{
    static const char *const ends[3] = {"endfor", "else"};
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_FOR, out));
    shoal_node *node = *out;
    SHOAL_TRY(shoal_parse_target(p, &node->target));
    SHOAL_TRY(shoal_parser_expects(p, "in"));
    SHOAL_TRY(shoal_parse_tuple(p, false, &node->source));
    if (shoal_parser_skips(p, "if"))
        SHOAL_TRY(shoal_parse_expression(p, true, &node->condition));
    if (shoal_parser_sees(p, "recursive"))
        return shoal_parser_fails(p, "not supported: a recursive loop");
    SHOAL_TRY(take_end(p));
    p->loops++;
    SHOAL_TRY(parse_statements(p, ends, &node->body));
    p->loops--;
    if (shoal_parser_skips(p, "endfor"))
        return SHOAL_OK;
    p->at++;
    return parse_body(p, "endfor", &node->otherwise);
}

static shoal_status parse_captured(shoal_parser *p, shoal_node **out)
{
    return shoal_node_make(p, SHOAL_NODE_CAPTURED, out);
}

static shoal_status parse_set(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_SET, out));
    shoal_node *node = *out;
    SHOAL_TRY(shoal_parse_target(p, &node->target));
    if (shoal_parser_skips(p, "="))
        return shoal_parse_tuple(p, true, &node->source);
    node->kind = SHOAL_NODE_SET_BLOCK;
    SHOAL_TRY(parse_captured(p, &node->source));
    SHOAL_TRY(shoal_parse_filters(p, node->source, &node->source));
    return parse_body(p, "endset", &node->body);
}

static shoal_status parse_filter_block(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_FILTER_BLOCK, out));
    shoal_node *node = *out;
    SHOAL_TRY(parse_captured(p, &node->source));
    SHOAL_TRY(shoal_parse_filter(p, node->source, &node->source));
    SHOAL_TRY(shoal_parse_filters(p, node->source, &node->source));
    return parse_body(p, "endfilter", &node->body);
}

/* Behind "(". */
static shoal_status parse_parameters(shoal_parser *p, shoal_node **out)
{
    shoal_nodes list = {0};
    shoal_node *parameter;
    while (!shoal_parser_skips(p, ")")) {
        if (list.first)
            SHOAL_TRY(shoal_parser_expects(p, ","));
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_PARAMETER, &parameter));
        SHOAL_TRY(shoal_parser_takes_name(p, &parameter->keyword));
        if (shoal_parser_skips(p, "="))
            SHOAL_TRY(shoal_parse_expression(p, true, &parameter->value));
        else if (list.last && list.last->value)
            return shoal_parser_fails(p, "a parameter without a default behind one with it");
        shoal_nodes_push(&list, parameter);
    }
    *out = list.first;
    return SHOAL_OK;
}

/* Loops around a macro are not its own. */
static shoal_status parse_macro_body(shoal_parser *p, const char *end, shoal_node **out)
{
    const int loops = p->loops;
    p->loops = 0;
    SHOAL_TRY(parse_body(p, end, out));
    p->loops = loops;
    return SHOAL_OK;
}

static shoal_status parse_macro(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_MACRO, out));
    shoal_macro_body *macro = &(*out)->macro;
    SHOAL_TRY(shoal_parser_takes_name(p, &macro->name));
    SHOAL_TRY(shoal_parser_expects(p, "("));
    SHOAL_TRY(parse_parameters(p, &macro->parameters));
    return parse_macro_body(p, "endmacro", &macro->body);
}

static shoal_status parse_call_block(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_CALL_BLOCK, out));
    shoal_node *node = *out;
    node->macro.name = SHOAL_TEXT("caller");
    if (shoal_parser_skips(p, "("))
        SHOAL_TRY(parse_parameters(p, &node->macro.parameters));
    SHOAL_TRY(shoal_parse_expression(p, true, &node->call));
    if (node->call->kind != SHOAL_NODE_CALL)
        return shoal_parser_fails(p, "expected the call of a macro");
    return parse_macro_body(p, "endcall", &node->macro.body);
}

static shoal_status parse_with(shoal_parser *p, shoal_node **out)
{
    shoal_nodes settings = {0};
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_SCOPE, out));
    while (p->at->kind != SHOAL_LEXEME_BLOCK_END) {
        shoal_node *set;
        if (settings.first)
            SHOAL_TRY(shoal_parser_expects(p, ","));
        SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_SET, &set));
        SHOAL_TRY(shoal_parse_target(p, &set->target));
        SHOAL_TRY(shoal_parser_expects(p, "="));
        SHOAL_TRY(shoal_parse_expression(p, true, &set->source));
        shoal_nodes_push(&settings, set);
    }
    (*out)->settings = settings.first;
    return parse_body(p, "endwith", &(*out)->inner);
}

static shoal_status parse_generation(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_node_make(p, SHOAL_NODE_SCOPE, out));
    return parse_macro_body(p, "endgeneration", &(*out)->inner);
}

static shoal_status parse_jump(shoal_parser *p, shoal_node_kind kind, shoal_node **out)
{
    if (p->loops == 0)
        return shoal_parser_fails(p, "break or continue outside of a loop");
    return shoal_node_make(p, kind, out);
}

static shoal_status parse_break(shoal_parser *p, shoal_node **out)
{
    return parse_jump(p, SHOAL_NODE_BREAK, out);
}

static shoal_status parse_continue(shoal_parser *p, shoal_node **out)
{
    return parse_jump(p, SHOAL_NODE_CONTINUE, out);
}

static const struct {
    const char *name;
    shoal_status (*parse)(shoal_parser *, shoal_node **);
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"break", parse_break},
    {"continue", parse_continue},
    {"filter", parse_filter_block},
    {"call", parse_call_block},
    {"with", parse_with},
    {"generation", parse_generation},
};

static shoal_status parse_known_tag(shoal_parser *p, shoal_node **out)
{
    char shown[SHOAL_UTF8_SHOW];
    shoal_text name;
    p->at++;
    const int line = p->at->line;
    SHOAL_TRY(shoal_parser_takes_name(p, &name));
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (shoal_text_is(name, tags[i].name)) {
            SHOAL_TRY(tags[i].parse(p, out));
            return take_end(p);
        }
    return shoal_fail(SHOAL_ERR_DATA, "%s, line %d: not supported: the tag '%s'", p->name, line,
                      shoal_utf8_show(name.data, name.bytes, shown));
}

static shoal_status parse_tag(shoal_parser *p, shoal_node **out)
{
    SHOAL_TRY(shoal_heap_enter(p->heap));
    const shoal_status st = parse_known_tag(p, out);
    shoal_heap_leave(p->heap);
    return st;
}

shoal_status shoal_parse(shoal_heap *heap, const char *name, shoal_text source, shoal_node **out)
{
    static const char *const no_end[3] = {NULL};
    shoal_parser p = {.heap = heap, .name = name};
    SHOAL_TRY(shoal_lex(heap, name, source, &p.at));
    return parse_statements(&p, no_end, out);
}

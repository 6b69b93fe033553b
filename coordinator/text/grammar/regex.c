#include "coordinator/text/grammar/regex.h"

#include "coordinator/text/grammar/grammar.h"
#include "coordinator/text/grammar/regex_parser.h"

/* Repetitions of nothing add no nodes, so the work is counted as well. */
#define WORK_MAX (4u << 20)

typedef struct {
    shoal_regex_parser *tree;
    shoal_nfa *nfa;
    uint32_t work;
} builder;

static shoal_status build(builder *b, int32_t node, int32_t next, int32_t *entry);

/* x{m,n} = m times x, then (x(x(...)?)?)?; without n the rest is a loop. */
static shoal_status build_repeat(builder *b, const shoal_regex_node *node, int32_t next,
                                 int32_t *entry)
{
    int32_t body;
    *entry = next;
    if (node->most == SHOAL_REGEX_NO_LIMIT) {
        SHOAL_TRY(shoal_nfa_add(b->nfa, SHOAL_NFA_SPLIT, next, next, entry));
        SHOAL_TRY(build(b, node->child, *entry, &body));
        b->nfa->nodes[*entry].with = body;
    }
    for (int32_t i = node->least; i < node->most; i++) {
        SHOAL_TRY(build(b, node->child, *entry, &body));
        SHOAL_TRY(shoal_nfa_add(b->nfa, SHOAL_NFA_SPLIT, next, body, entry));
    }
    for (int32_t i = 0; i < node->least; i++)
        SHOAL_TRY(build(b, node->child, *entry, entry));
    return SHOAL_OK;
}

static shoal_status build_choice(builder *b, const shoal_regex_node *node, int32_t next,
                                 int32_t *entry)
{
    int32_t child = node->child, branch;
    SHOAL_TRY(build(b, child, next, entry));
    while ((child = b->tree->nodes[child].sibling) >= 0) {
        SHOAL_TRY(build(b, child, next, &branch));
        SHOAL_TRY(shoal_nfa_add(b->nfa, SHOAL_NFA_SPLIT, *entry, branch, entry));
    }
    return SHOAL_OK;
}

/* Repeated ones are numbered once: a set may have hundreds of ranges. */
static shoal_status build_set(builder *b, shoal_regex_node *node, int32_t next, int32_t *entry)
{
    if (node->set_number < 0)
        SHOAL_TRY(shoal_nfa_set(b->nfa, &node->set, &node->set_number));
    return shoal_nfa_add(b->nfa, SHOAL_NFA_READ, next, node->set_number, entry);
}

/* *entry = a node from which `node` and then what `next` wants is read. */
static shoal_status build(builder *b, int32_t id, int32_t next, int32_t *entry)
{
    shoal_regex_node *node = &b->tree->nodes[id];
    if (++b->work > WORK_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "the repetitions of a regular expression are too large");
    switch (node->kind) {
    case SHOAL_REGEX_SET: return build_set(b, node, next, entry);
    case SHOAL_REGEX_CHAIN:
        *entry = next;
        for (int32_t child = node->child; child >= 0; child = b->tree->nodes[child].sibling)
            SHOAL_TRY(build(b, child, *entry, entry));
        return SHOAL_OK;
    case SHOAL_REGEX_CHOICE: return build_choice(b, node, next, entry);
    case SHOAL_REGEX_REPEAT: return build_repeat(b, node, next, entry);
    case SHOAL_REGEX_BEGIN: return shoal_nfa_add(b->nfa, SHOAL_NFA_BEGIN, next, 0, entry);
    case SHOAL_REGEX_END: return shoal_nfa_add(b->nfa, SHOAL_NFA_END, next, 0, entry);
    }
    return shoal_fail(SHOAL_ERR_INTERNAL, "a regular expression has a node of kind %d", node->kind);
}

/* Anything may stand before a match that is searched. */
static shoal_status build_prefix(shoal_nfa *nfa, int32_t *entry)
{
    shoal_charset all = {0};
    int32_t loop, skip = 0, set = 0;
    shoal_status st = shoal_nfa_add(nfa, SHOAL_NFA_SPLIT, *entry, 0, &loop);
    if (st == SHOAL_OK)
        st = shoal_charset_negate(&all);
    if (st == SHOAL_OK)
        st = shoal_nfa_set(nfa, &all, &set);
    if (st == SHOAL_OK)
        st = shoal_nfa_add(nfa, SHOAL_NFA_READ, loop, set, &skip);
    if (st == SHOAL_OK) {
        nfa->nodes[loop].with = skip;
        *entry = loop;
    }
    shoal_charset_free(&all);
    return st;
}

shoal_status shoal_regex_check_size(size_t bytes)
{
    if (bytes <= SHOAL_GRAMMAR_REGEX_MAX)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "a regular expression of %zu bytes; the limit is %u", bytes,
                      SHOAL_GRAMMAR_REGEX_MAX);
}

shoal_status shoal_regex_add(shoal_nfa *nfa, const char *regex, size_t bytes, shoal_regex_use use,
                             int32_t item)
{
    shoal_status st = SHOAL_OK;
    const bool search = use == SHOAL_REGEX_SEARCH;
    shoal_regex_parser parser = {.text = regex, .bytes = bytes};
    builder b = {.tree = &parser, .nfa = nfa};
    int32_t root, end, entry;
    SHOAL_TRY_GOTO(shoal_regex_parse(&parser, &root), done);
    for (size_t i = 0; i < parser.count; i++)
        nfa->work += parser.nodes[i].set.count;
    SHOAL_TRY_GOTO(shoal_nfa_add(nfa, search ? SHOAL_NFA_TAIL : SHOAL_NFA_ACCEPT, 0, item, &end),
                   done);
    SHOAL_TRY_GOTO(build(&b, root, end, &entry), done);
    if (search)
        SHOAL_TRY_GOTO(build_prefix(nfa, &entry), done);
    SHOAL_TRY_GOTO(shoal_ids_push(&nfa->roots, entry), done);
done:
    nfa->work += b.work;
    shoal_regex_parser_free(&parser);
    return st;
}

#include "coordinator/text/grammar/grammar.h"

#include "coordinator/text/grammar/dfa_pool.h"
#include "coordinator/text/grammar/grammar_parts.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

shoal_status shoal_grammar_create(shoal_grammar **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof **out, &block));
    *out = block;
    atomic_init(&(*out)->references, 1);
    (*out)->text = (*out)->root = SHOAL_DFA_NONE;
    return SHOAL_OK;
}

shoal_grammar *shoal_grammar_share(shoal_grammar *grammar)
{
    atomic_fetch_add_explicit(&grammar->references, 1, memory_order_relaxed);
    return grammar;
}

void shoal_grammar_release(shoal_grammar *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < g->dfas_count; i++)
        shoal_dfa_free(&g->dfas[i]);
    shoal_free(g->dfas);
    shoal_free(g->rules);
    shoal_free(g->objects);
    shoal_free(g->entries);
    shoal_free(g->names);
    shoal_free(g->arrays);
    shoal_ids_free(&g->items);
    shoal_ids_free(&g->cheap);
    shoal_free(g);
}

/* ---- parts ----------------------------------------------------------------------------------- */

#define ADDER(kind, vector)                                                                        \
    shoal_status shoal_grammar_add_##kind(shoal_grammar *g, shoal_grammar_##kind part)             \
    {                                                                                              \
        void *block = g->vector;                                                                   \
        if (g->vector##_count >= SHOAL_GRAMMAR_NODES_MAX)                                          \
            return shoal_fail(SHOAL_ERR_DATA, "a grammar of more than %u " #vector,                \
                              SHOAL_GRAMMAR_NODES_MAX);                                            \
        SHOAL_TRY(shoal_grow(&block, sizeof part, g->vector##_count, 1, &g->vector##_capacity));   \
        g->vector = block;                                                                         \
        g->vector[g->vector##_count++] = part;                                                     \
        return SHOAL_OK;                                                                           \
    }

ADDER(rule, rules)
ADDER(object, objects)
ADDER(entry, entries)
ADDER(name, names)
ADDER(array, arrays)

/* ---- plain text ------------------------------------------------------------------------------ */

/* The grammar of a graph. */
static shoal_status from_graph(shoal_nfa *nfa, shoal_grammar **out)
{
    shoal_grammar *g;
    shoal_status st = SHOAL_OK;
    shoal_dfa_pool pool = shoal_dfa_pool_make();
    SHOAL_TRY(shoal_grammar_create(&g));
    SHOAL_TRY_GOTO(shoal_dfa_pool_graph(&pool, nfa, &g->text), fail);
    g->dfas = pool.dfas;
    g->dfas_count = pool.count;
    pool.dfas = NULL;
    pool.count = 0;
    if (g->dfas[g->text].count == 0)
        st = shoal_fail(SHOAL_ERR_DATA, "no text matches");
    if (st == SHOAL_OK)
        st = shoal_grammar_measure(g);
fail:
    shoal_dfa_pool_free(&pool);
    if (st == SHOAL_OK)
        *out = g;
    else
        shoal_grammar_release(g);
    return st;
}

shoal_status shoal_grammar_from_regex(const char *regex, size_t bytes, shoal_grammar **out)
{
    shoal_nfa nfa = {0};
    SHOAL_TRY(shoal_regex_check_size(bytes));
    shoal_status st = shoal_regex_add(&nfa, regex, bytes, SHOAL_REGEX_WHOLE, 0);
    if (st == SHOAL_OK)
        st = from_graph(&nfa, out);
    shoal_nfa_free(&nfa);
    return st;
}

shoal_status shoal_grammar_from_choices(const char *const *texts, const size_t *bytes, size_t count,
                                        shoal_grammar **out)
{
    if (count < 1 || count > SHOAL_GRAMMAR_CHOICES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%zu choices; there must be 1 to %d", count,
                          SHOAL_GRAMMAR_CHOICES_MAX);
    shoal_nfa nfa = {0};
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < count && st == SHOAL_OK; i++)
        st = shoal_utf8_valid(texts[i], bytes[i]) == bytes[i]
                 ? shoal_nfa_literal(&nfa, texts[i], bytes[i], 0)
                 : shoal_fail(SHOAL_ERR_DATA, "choice %zu is no UTF-8", i);
    if (st == SHOAL_OK)
        st = from_graph(&nfa, out);
    shoal_nfa_free(&nfa);
    return st;
}

shoal_status shoal_grammar_json_object(shoal_grammar **out)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    if (!schema)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a schema");
    const shoal_status st = shoal_grammar_from_schema(schema, out);
    json_decref(schema);
    return st;
}

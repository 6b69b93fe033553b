#include "coordinator/text/grammar/dfa_pool.h"

#include "proto/arena.h"

/* What making an automaton costs whatever its size. */
#define FIXED_COST 256u

shoal_dfa_pool shoal_dfa_pool_make(void)
{
    return (shoal_dfa_pool){.budget = SHOAL_DFA_POOL_BUDGET};
}

void shoal_dfa_pool_free(shoal_dfa_pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        shoal_dfa_free(&pool->dfas[i]);
    shoal_free(pool->dfas);
    shoal_intern_free(&pool->recipes);
    shoal_ids_free(&pool->made);
    *pool = (shoal_dfa_pool){0};
}

shoal_status shoal_dfa_pool_spend(shoal_dfa_pool *pool, uint64_t steps)
{
    if (pool->budget < steps)
        return shoal_fail(SHOAL_ERR_DATA, "its parts are too many or too large");
    pool->budget -= steps;
    return SHOAL_OK;
}

shoal_status shoal_dfa_pool_add(shoal_dfa_pool *pool, shoal_dfa *dfa, int32_t *id)
{
    void *block = pool->dfas;
    shoal_status st = shoal_dfa_pool_spend(pool, FIXED_COST);
    if (st == SHOAL_OK)
        st = shoal_grow(&block, sizeof *pool->dfas, pool->count, 1, &pool->capacity);
    pool->dfas = block;
    if (st == SHOAL_OK) {
        *id = (int32_t)pool->count;
        pool->dfas[pool->count++] = *dfa;
    } else {
        shoal_dfa_free(dfa);
    }
    *dfa = (shoal_dfa){0};
    return st;
}

shoal_status shoal_dfa_pool_graph(shoal_dfa_pool *pool, shoal_nfa *nfa, int32_t *id)
{
    shoal_dfa dfa;
    SHOAL_TRY(shoal_dfa_build(nfa, &pool->budget, &dfa));
    return shoal_dfa_pool_add(pool, &dfa, id);
}

shoal_status shoal_dfa_pool_find(shoal_dfa_pool *pool, const void *recipe, size_t bytes,
                                 int32_t *id)
{
    int32_t number;
    bool fresh;
    SHOAL_TRY(shoal_dfa_pool_spend(pool, FIXED_COST + bytes / 4));
    SHOAL_TRY(shoal_intern_put(&pool->recipes, recipe, bytes, &number, &fresh));
    if (fresh)
        SHOAL_TRY(shoal_ids_push(&pool->made, (int32_t)pool->count));
    *id = fresh ? SHOAL_DFA_NONE : pool->made.data[number];
    return SHOAL_OK;
}

shoal_status shoal_dfa_pool_regex(shoal_dfa_pool *pool, const char *regex, size_t bytes,
                                  shoal_regex_use use, int32_t *id)
{
    shoal_strbuf recipe = {0};
    shoal_nfa nfa = {0};
    shoal_status st =
        shoal_strbuf_append(&recipe, use == SHOAL_REGEX_SEARCH ? "search " : "whole ", 6);
    if (st == SHOAL_OK)
        st = shoal_strbuf_append(&recipe, regex, bytes);
    if (st == SHOAL_OK)
        st = shoal_dfa_pool_find(pool, recipe.data, recipe.bytes, id);
    if (st == SHOAL_OK && *id == SHOAL_DFA_NONE) {
        st = shoal_regex_add(&nfa, regex, bytes, use, 0);
        if (st == SHOAL_OK)
            st = shoal_dfa_pool_graph(pool, &nfa, id);
    }
    shoal_nfa_free(&nfa);
    shoal_strbuf_free(&recipe);
    return st;
}

shoal_status shoal_dfa_pool_combine(shoal_dfa_pool *pool, int32_t a, int32_t b,
                                    shoal_dfa_combination how, int32_t *id)
{
    const int32_t recipe[] = {(int32_t)how, a, b};
    shoal_dfa dfa;
    SHOAL_TRY(shoal_dfa_pool_find(pool, recipe, sizeof recipe, id));
    if (*id != SHOAL_DFA_NONE)
        return SHOAL_OK;
    SHOAL_TRY(shoal_dfa_combine(&pool->dfas[a], &pool->dfas[b], how, &pool->budget, &dfa));
    return shoal_dfa_pool_add(pool, &dfa, id);
}

#include <stdlib.h>

#include "coordinator/text/grammar/number_form.h"

/* States of the automaton; a larger divisor is not enforced. */
#define STATES_MAX 65536

/* Classes of characters. */
enum { MINUS, POINT, DIGIT }; /* DIGIT + d */

/* States: the first few, then for each remainder: whole digits, a point behind them, and 1 ..
 * `places` digits of the fraction. The last of these only goes on with zeros. */
enum { START, SIGNED, ZERO, FIRST };

typedef struct {
    int64_t divisor;
    int places; /* decimal places that a multiple may use */
    shoal_dfa *dfa;
} maker;

static int32_t state_of(const maker *m, int row, int64_t rest)
{
    return (int32_t)(FIRST + row * m->divisor + rest);
}

static shoal_status add_ranges(shoal_dfa *dfa)
{
    SHOAL_TRY(shoal_dfa_add_range(dfa, 0, SHOAL_DFA_NONE));
    SHOAL_TRY(shoal_dfa_add_range(dfa, '-', MINUS));
    SHOAL_TRY(shoal_dfa_add_range(dfa, '.', POINT));
    SHOAL_TRY(shoal_dfa_add_range(dfa, '/', SHOAL_DFA_NONE));
    for (int d = 0; d < 10; d++)
        SHOAL_TRY(shoal_dfa_add_range(dfa, (uint32_t)('0' + d), DIGIT + d));
    return shoal_dfa_add_range(dfa, '9' + 1, SHOAL_DFA_NONE);
}

/* Edges by the digits from `first` on to the states of `row`. */
static shoal_status add_digits(const maker *m, int first, int row, int64_t rest)
{
    for (int d = first; d < 10; d++)
        SHOAL_TRY(
            shoal_dfa_add_edge(m->dfa, DIGIT + d, state_of(m, row, (rest * 10 + d) % m->divisor)));
    return SHOAL_OK;
}

static shoal_status add_first_states(const maker *m, int32_t item)
{
    for (int s = START; s <= SIGNED; s++) {
        SHOAL_TRY(shoal_dfa_add_state(m->dfa, SHOAL_DFA_NONE));
        if (s == START)
            SHOAL_TRY(shoal_dfa_add_edge(m->dfa, MINUS, SIGNED));
        SHOAL_TRY(shoal_dfa_add_edge(m->dfa, DIGIT, ZERO));
        SHOAL_TRY(add_digits(m, 1, 0, 0));
    }
    SHOAL_TRY(shoal_dfa_add_state(m->dfa, item));
    return shoal_dfa_add_edge(m->dfa, POINT, state_of(m, 1, 0));
}

/* Row 0: whole digits; 1: a point; 1 + k: k digits behind it, of which the last stay zeros. */
static shoal_status add_state(const maker *m, int row, int64_t rest, int32_t item)
{
    int64_t value = rest;
    for (int k = row > 1 ? row - 1 : 0; k < m->places; k++)
        value = value * 10 % m->divisor;
    const bool ends = row != 1 && value == 0;
    SHOAL_TRY(shoal_dfa_add_state(m->dfa, ends ? item : SHOAL_DFA_NONE));
    if (row == 0) {
        SHOAL_TRY(shoal_dfa_add_edge(m->dfa, POINT, state_of(m, 1, rest)));
        return add_digits(m, 0, 0, rest);
    }
    if (row <= m->places)
        return add_digits(m, 0, row + 1, rest);
    return shoal_dfa_add_edge(m->dfa, DIGIT, state_of(m, m->places + 1 + (m->places == 0), rest));
}

/* An edge per digit and state. */
static shoal_status pay(const maker *m, int rows, uint64_t *budget)
{
    const uint64_t edges = 10 * (uint64_t)m->divisor * (uint64_t)rows;
    if (edges > *budget)
        return shoal_fail(SHOAL_ERR_DATA, "the multiples of numbers need too large automata");
    *budget -= edges;
    return SHOAL_OK;
}

shoal_status shoal_number_multiples(const shoal_decimal *value, uint64_t *budget, shoal_dfa *out,
                                    bool *fits)
{
    static const int32_t items[] = {0};
    shoal_status st = SHOAL_OK;
    shoal_dfa dfa = {0};
    maker m = {.places = value->count > value->point ? value->count - value->point : 0,
               .dfa = &dfa};
    int32_t item;
    const int digits = value->point + m.places;
    for (int i = 0; i < digits && m.divisor < STATES_MAX; i++)
        m.divisor = m.divisor * 10 + (i < value->count ? value->digits[i] - '0' : 0);
    const int rows = m.places + 2 + (m.places == 0);
    *fits = rows < 64 && m.divisor > 0 && m.divisor * rows < STATES_MAX;
    if (!*fits)
        return SHOAL_OK;
    SHOAL_TRY(pay(&m, rows, budget));
    SHOAL_TRY_GOTO(add_ranges(&dfa), fail);
    SHOAL_TRY_GOTO(shoal_intern_put(&dfa.item_sets, items, sizeof items, &item, NULL), fail);
    SHOAL_TRY_GOTO(add_first_states(&m, item), fail);
    for (int row = 0; row < rows; row++)
        for (int64_t rest = 0; rest < m.divisor; rest++)
            SHOAL_TRY_GOTO(add_state(&m, row, rest, item), fail);
    SHOAL_TRY_GOTO(shoal_dfa_finish(&dfa), fail);
    *out = dfa;
    return SHOAL_OK;
fail:
    shoal_dfa_free(&dfa);
    return st;
}

#include "coordinator/text/grammar/grammar_states.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/grammar/char_reader.h"
#include "coordinator/text/grammar/grammar_frame.h"
#include "proto/arena.h"
#include "proto/bytes.h"

#define UNKNOWN (-2) /* a next state that nobody asked for yet; a need that is not known yet */

/* ---- work ------------------------------------------------------------------------------------ */

void shoal_grammar_states_pay_from(shoal_grammar_states *s, uint64_t *budget)
{
    s->budget = budget;
}

shoal_status shoal_states_spend(shoal_grammar_states *s, uint64_t steps)
{
    if (!s->budget)
        return SHOAL_OK;
    if (*s->budget > steps) {
        *s->budget -= steps;
        return SHOAL_OK;
    }
    *s->budget = 0;
    return shoal_fail(SHOAL_ERR_DATA, "the grammar leaves too much open at once: finding out what "
                                      "may come next takes too many steps");
}

/* Names, items and ranges are looked at faster than places. */
#define NAMES_PER_STEP  32
#define RANGES_PER_STEP 8

uint64_t shoal_names_work(const shoal_grammar_object *object)
{
    return 1 + (uint64_t)object->name_count / NAMES_PER_STEP;
}

uint64_t shoal_items_work(const shoal_grammar_array *array)
{
    return (uint64_t)array->item_count / NAMES_PER_STEP;
}

uint64_t shoal_ranges_work(const shoal_dfa *dfa)
{
    return dfa->range_count / RANGES_PER_STEP;
}

/* ---- frames ---------------------------------------------------------------------------------- */

shoal_frame shoal_frame_at(const shoal_grammar_states *s, int32_t number)
{
    size_t bytes;
    return *(const shoal_frame *)shoal_intern_key(&s->frames, number, &bytes);
}

shoal_status shoal_frame_number(shoal_grammar_states *s, const shoal_frame *frame, int32_t *number)
{
    bool fresh;
    void *block = s->needs;
    SHOAL_TRY(shoal_states_spend(s, 1));
    SHOAL_TRY(shoal_grow(&block, sizeof *s->needs, (size_t)shoal_intern_count(&s->frames), 1,
                         &s->needs_capacity));
    s->needs = block;
    if (shoal_intern_count(&s->frames) >= SHOAL_FRAMES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a text reached more than %d places of a grammar",
                          SHOAL_FRAMES_MAX);
    SHOAL_TRY(shoal_intern_put(&s->frames, frame, sizeof *frame, number, &fresh));
    if (fresh)
        s->needs[*number] = UNKNOWN;
    if (s->needs[*number] == UNKNOWN) { /* also when memory ran out the first time */
        int64_t need;
        SHOAL_TRY(shoal_frame_need(s, frame, &need));
        s->needs[*number] = need;
    }
    if (s->needs[*number] >= SHOAL_GRAMMAR_NEVER)
        *number = SHOAL_FRAME_NONE;
    return SHOAL_OK;
}

/* ---- states ---------------------------------------------------------------------------------- */

static bool frame_may_end(const shoal_grammar_states *s, shoal_frame f)
{
    if (f.kind == SHOAL_FRAME_END)
        return true;
    if (f.kind != SHOAL_FRAME_TEXT && f.kind != SHOAL_FRAME_NUMBER)
        return false;
    const bool outermost =
        f.kind == SHOAL_FRAME_TEXT || shoal_frame_at(s, f.parent).kind == SHOAL_FRAME_END;
    return outermost && f.character == 0 &&
           s->grammar->dfas[f.part].states[f.state].accept != SHOAL_DFA_NONE;
}

/* Nothing but white space can follow. */
static bool frame_must_end(const shoal_grammar_states *s, shoal_frame f)
{
    if (f.kind == SHOAL_FRAME_END)
        return true;
    if (f.kind != SHOAL_FRAME_TEXT || f.character != 0)
        return false;
    const shoal_dfa_state *state = &s->grammar->dfas[f.part].states[f.state];
    return state[0].edges == state[1].edges;
}

/* Before a state gets a number, so that every number has facts. */
static shoal_status reserve_facts(shoal_grammar_states *s)
{
    void *block = s->facts;
    const size_t states = (size_t)shoal_intern_count(&s->states);
    SHOAL_TRY(shoal_grow(&block, sizeof *s->facts, states, 1, &s->facts_capacity));
    s->facts = block;
    return SHOAL_OK;
}

static void note_facts(shoal_grammar_states *s, int32_t state)
{
    shoal_state_facts facts = {.distance = SHOAL_GRAMMAR_NEVER, .must_end = true};
    for (size_t i = 0; i < s->next.count; i++) {
        const shoal_frame f = shoal_frame_at(s, s->next.data[i]);
        facts.distance = shoal_min_i64(facts.distance, s->needs[s->next.data[i]]);
        facts.may_end |= frame_may_end(s, f);
        facts.must_end &= frame_must_end(s, f);
    }
    s->facts[state] = facts;
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The state of the frames in s->next. */
static shoal_status state_of_next(shoal_grammar_states *s, int32_t *state)
{
    size_t kept = 0;
    bool fresh;
    *state = SHOAL_GRAMMAR_DEAD;
    if (s->next.count == 0)
        return SHOAL_OK;
    if (s->next.count > 1)
        qsort(s->next.data, s->next.count, sizeof *s->next.data, by_number);
    for (size_t i = 0; i < s->next.count; i++)
        if (kept == 0 || s->next.data[kept - 1] != s->next.data[i])
            s->next.data[kept++] = s->next.data[i];
    s->next.count = kept;
    if (kept > SHOAL_GRAMMAR_PLACES_MAX ||
        shoal_intern_count(&s->states) > SHOAL_GRAMMAR_STATES_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "a text reached more than %d states of a grammar, or %d "
                          "places at once",
                          SHOAL_GRAMMAR_STATES_MAX, SHOAL_GRAMMAR_PLACES_MAX);
    SHOAL_TRY(reserve_facts(s));
    SHOAL_TRY(
        shoal_intern_put(&s->states, s->next.data, kept * sizeof *s->next.data, state, &fresh));
    if (fresh)
        note_facts(s, *state);
    return SHOAL_OK;
}

/* ---- many characters at once ----------------------------------------------------------------- */

/* Where all characters from U+0080 on lead to the same: true, and *to is that state or NONE. */
static bool leads_alike(const shoal_dfa *dfa, int32_t state, int32_t *to)
{
    return shoal_dfa_one_way(dfa, state, 0x80, SHOAL_CHAR_MAX, to);
}

/* The automaton that reads characters; NULL when the frame reads something else. */
static const shoal_dfa *reader_of(const shoal_grammar_states *s, const shoal_frame *f)
{
    const shoal_grammar *g = s->grammar;
    switch ((shoal_frame_kind)f->kind) {
    case SHOAL_FRAME_TEXT:
    case SHOAL_FRAME_STRING: return &g->dfas[f->part];
    case SHOAL_FRAME_IN_NAME: return &g->dfas[g->objects[f->part].names_dfa];
    default: return NULL;
    }
}

/* A look at a place by way of the ranges of its automaton, if it has one. */
static shoal_status spend_on_ranges(shoal_grammar_states *s, const shoal_dfa *dfa)
{
    return shoal_states_spend(s, 1 + (dfa ? shoal_ranges_work(dfa) : 0));
}

/* What the bytes from 0x80 on have in common for one frame. */
static shoal_beyond beyond_of(const shoal_dfa *dfa, const shoal_frame *f)
{
    shoal_char_outlook outlooks[SHOAL_CHAR_OUTLOOKS];
    int32_t to;
    if (f->character == 0)
        return !dfa || leads_alike(dfa, f->state, &to) ? SHOAL_BEYOND_FIRSTS : SHOAL_BEYOND_APART;
    if (!dfa || !shoal_char_stand_in(f->character))
        return SHOAL_BEYOND_APART; /* not all bytes may come, or it is no part of UTF-8 */
    (void)shoal_char_outlooks(f->character, outlooks);
    return shoal_dfa_one_way(dfa, f->state, outlooks[0].first, outlooks[0].last, &to)
               ? SHOAL_BEYOND_OTHERS
               : SHOAL_BEYOND_APART;
}

static shoal_status beyond_of_state(shoal_grammar_states *s, int32_t state, shoal_beyond *out)
{
    size_t bytes;
    const int32_t *frames = shoal_intern_key(&s->states, state, &bytes);
    shoal_beyond all = SHOAL_BEYOND_UNKNOWN;
    for (size_t i = 0; i < bytes / sizeof *frames && all != SHOAL_BEYOND_APART; i++) {
        const shoal_frame f = shoal_frame_at(s, frames[i]);
        const shoal_dfa *dfa = reader_of(s, &f);
        SHOAL_TRY(spend_on_ranges(s, dfa));
        const shoal_beyond one = beyond_of(dfa, &f);
        all = i == 0 || one == all ? one : SHOAL_BEYOND_APART;
    }
    *out = all;
    return SHOAL_OK;
}

/* A byte that stands for all that lead where this one leads. First bytes: those of characters of as
 * many bytes, of which all others may come; other bytes: any. */
static uint8_t representative(shoal_beyond beyond, uint8_t byte)
{
    if (beyond == SHOAL_BEYOND_OTHERS)
        return byte < 0xC0 ? 0x80 : byte;
    if (beyond == SHOAL_BEYOND_APART || byte == 0xE0 || byte == 0xED)
        return byte;
    return byte >= 0xC2 && byte < 0xE0   ? 0xC2
           : byte >= 0xE0 && byte < 0xF0 ? 0xE1
           : byte >= 0xF1 && byte < 0xF4 ? 0xF1
                                         : byte;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static shoal_status find_next(shoal_grammar_states *s, int32_t state, uint8_t byte, int32_t *next)
{
    size_t bytes;
    const int32_t *frames = shoal_intern_key(&s->states, state, &bytes);
    s->next.count = 0;
    for (size_t i = 0; i < bytes / sizeof *frames; i++) {
        SHOAL_TRY(shoal_states_spend(s, 1));
        SHOAL_TRY(shoal_frame_step(s, shoal_frame_at(s, frames[i]), byte));
    }
    return state_of_next(s, next);
}

static shoal_status make_row(shoal_state_facts *facts)
{
    void *row;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, 256, sizeof *facts->next, &row));
    facts->next = row;
    for (size_t i = 0; i < 256; i++)
        facts->next[i] = UNKNOWN;
    return SHOAL_OK;
}

shoal_status shoal_grammar_step(shoal_grammar_states *s, int32_t state, uint8_t byte, int32_t *next)
{
    if (state == SHOAL_GRAMMAR_DEAD) {
        *next = state;
        return SHOAL_OK;
    }
    if (byte >= 0x80) {
        shoal_state_facts *facts = &s->facts[state];
        if (facts->beyond == SHOAL_BEYOND_UNKNOWN)
            SHOAL_TRY(beyond_of_state(s, state, &facts->beyond));
        byte = representative(facts->beyond, byte);
    }
    if (!s->facts[state].next)
        SHOAL_TRY(make_row(&s->facts[state]));
    int32_t to = s->facts[state].next[byte];
    if (to == UNKNOWN) {
        SHOAL_TRY(find_next(s, state, byte, &to));
        s->facts[state].next[byte] = to;
    }
    *next = to;
    return SHOAL_OK;
}

shoal_status shoal_grammar_step_beyond_ascii(shoal_grammar_states *s, int32_t state, int32_t *next)
{
    size_t bytes;
    const int32_t *frames = shoal_intern_key(&s->states, state, &bytes);
    *next = SHOAL_GRAMMAR_DEAD;
    s->next.count = 0;
    for (size_t i = 0; i < bytes / sizeof *frames; i++) {
        shoal_frame f = shoal_frame_at(s, frames[i]);
        const shoal_dfa *dfa = reader_of(s, &f);
        int32_t number, to = SHOAL_DFA_NONE;
        SHOAL_TRY(spend_on_ranges(s, dfa));
        if (!dfa || f.character != 0 || !leads_alike(dfa, f.state, &to))
            return SHOAL_OK;
        if (to == SHOAL_DFA_NONE)
            continue;
        f.state = to;
        SHOAL_TRY(shoal_frame_number(s, &f, &number));
        if (number != SHOAL_FRAME_NONE)
            SHOAL_TRY(shoal_ids_push(&s->next, number));
    }
    return state_of_next(s, next);
}

/* A JSON string reads this byte as the character itself. */
static bool is_plain(uint32_t byte)
{
    return byte >= ' ' && byte != '"' && byte != '\\';
}

bool shoal_grammar_alike(shoal_grammar_states *s, int32_t state, const shoal_char_range *ranges,
                         size_t count)
{
    size_t bytes;
    const int32_t *frames = shoal_intern_key(&s->states, state, &bytes);
    for (size_t i = 0; i < bytes / sizeof *frames; i++) {
        const shoal_frame f = shoal_frame_at(s, frames[i]);
        const shoal_dfa *dfa = reader_of(s, &f);
        int32_t class = SHOAL_DFA_NONE;
        if (!dfa || f.character != 0 || shoal_states_spend(s, 1) != SHOAL_OK)
            return false;
        for (size_t k = 0; k < count; k++) {
            const shoal_char_range r = ranges[k];
            const int32_t before = class;
            if ((f.kind != SHOAL_FRAME_TEXT && !(is_plain(r.first) && is_plain(r.last))) ||
                !shoal_dfa_one_class(dfa, r.first, r.last, &class) || (k && class != before))
                return false;
        }
    }
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static shoal_status make_start(shoal_grammar_states *s)
{
    const shoal_grammar *g = s->grammar;
    const bool text = g->text != SHOAL_DFA_NONE;
    shoal_frame f = {.kind = SHOAL_FRAME_END, .parent = SHOAL_FRAME_NONE};
    int32_t number;
    if (!text) {
        SHOAL_TRY(shoal_frame_number(s, &f, &number));
        f.parent = number;
    }
    f.kind = text ? SHOAL_FRAME_TEXT : SHOAL_FRAME_VALUE;
    f.part = text ? g->text : g->root;
    SHOAL_TRY(shoal_frame_number(s, &f, &number));
    SHOAL_TRY(shoal_ids_push(&s->next, number));
    return state_of_next(s, &s->start);
}

/* Room for the largest automaton and the object with the most names. */
static shoal_status make_scratch(shoal_grammar_states *s)
{
    const shoal_grammar *g = s->grammar;
    uint64_t states = 1, names = 1;
    void *block;
    for (size_t i = 0; i < g->dfas_count; i++)
        states = g->dfas[i].count > states ? g->dfas[i].count : states;
    for (size_t i = 0; i < g->objects_count; i++)
        if ((uint64_t)g->objects[i].name_count > names)
            names = (uint64_t)g->objects[i].name_count;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, states, sizeof *s->distances, &block));
    s->distances = block;
    for (uint64_t i = 0; i < states; i++)
        s->distances[i] = INT32_MAX;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, names / 64 + 1, sizeof *s->bits, &block));
    s->bits = block;
    return SHOAL_OK;
}

shoal_status shoal_grammar_states_create(shoal_grammar *grammar, shoal_grammar_states **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof **out, &block));
    shoal_grammar_states *s = block;
    s->grammar = shoal_grammar_share(grammar);
    shoal_status st = make_scratch(s);
    if (st == SHOAL_OK)
        st = make_start(s);
    if (st == SHOAL_OK)
        *out = s;
    else
        shoal_grammar_states_destroy(s);
    return st;
}

void shoal_grammar_states_destroy(shoal_grammar_states *s)
{
    if (!s)
        return;
    for (int32_t i = 0; i < shoal_intern_count(&s->states); i++)
        shoal_free(s->facts[i].next);
    shoal_free(s->facts);
    shoal_intern_free(&s->frames);
    shoal_free(s->needs);
    shoal_intern_free(&s->seen);
    shoal_intern_free(&s->states);
    shoal_ids_free(&s->next);
    shoal_free(s->distances);
    shoal_ids_free(&s->reached);
    for (size_t i = 0; i < sizeof s->buckets / sizeof *s->buckets; i++)
        shoal_ids_free(&s->buckets[i]);
    shoal_free(s->bits);
    shoal_grammar_release(s->grammar);
    shoal_free(s);
}

int32_t shoal_grammar_start(shoal_grammar_states *s)
{
    return s->start;
}

bool shoal_grammar_may_end(const shoal_grammar_states *s, int32_t state)
{
    return state != SHOAL_GRAMMAR_DEAD && s->facts[state].may_end;
}

bool shoal_grammar_must_end(const shoal_grammar_states *s, int32_t state)
{
    return state != SHOAL_GRAMMAR_DEAD && s->facts[state].must_end;
}

int64_t shoal_grammar_distance(const shoal_grammar_states *s, int32_t state)
{
    return s->facts[state].distance;
}

bool shoal_grammar_states_full(const shoal_grammar_states *s)
{
    return shoal_intern_count(&s->states) > SHOAL_GRAMMAR_STATES_MAX ||
           shoal_intern_count(&s->frames) >= SHOAL_FRAMES_MAX;
}

int32_t shoal_grammar_state_count(const shoal_grammar_states *s)
{
    return shoal_intern_count(&s->states);
}

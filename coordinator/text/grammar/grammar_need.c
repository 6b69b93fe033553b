#include <string.h>

#include "coordinator/text/grammar/char_reader.h"
#include "coordinator/text/grammar/grammar_frame.h"
#include "proto/bytes.h"

#define BUCKETS (sizeof((shoal_grammar_states *)0)->buckets / sizeof(shoal_ids))

/* ---- strings --------------------------------------------------------------------------------- */

/* Fewest bytes to an accepting state when a part of a character has been read. */
static int64_t need_of_text(const shoal_dfa *dfa, int32_t state, uint32_t character)
{
    shoal_char_outlook outlooks[SHOAL_CHAR_OUTLOOKS];
    int64_t need = SHOAL_GRAMMAR_NEVER;
    if (character == 0)
        return dfa->states[state].least;
    const size_t n = shoal_char_outlooks(character, outlooks);
    for (size_t i = 0; i < n; i++) {
        size_t cursor = 0;
        int32_t to;
        while ((to = shoal_dfa_visit(dfa, state, outlooks[i].first, outlooks[i].last, &cursor)) !=
               SHOAL_DFA_NONE)
            need = shoal_min_i64(need, (int64_t)outlooks[i].bytes + dfa->states[to].least);
    }
    return need;
}

/* ---- levels ---------------------------------------------------------------------------------- */

bool shoal_frame_has_room(const shoal_frame *frame, int32_t levels)
{
    return frame->depth + levels <= SHOAL_FRAME_DEPTH_MAX;
}

/* ---- names ----------------------------------------------------------------------------------- */

int32_t shoal_frame_count_object(const shoal_grammar_object *object, int64_t count)
{
    const bool limited = object->most_count < INT32_MAX;
    return (int32_t)(limited ? count : shoal_min_i64(count, shoal_max_i64(object->least_count, 1)));
}

int32_t shoal_frame_count_array(const shoal_grammar_array *array, int64_t count)
{
    const int64_t enough = shoal_max_i64(shoal_max_i64(array->least_count, array->item_count), 1);
    return (int32_t)(array->most_count < INT32_MAX ? count : shoal_min_i64(count, enough));
}

static const uint64_t *seen_of(const shoal_grammar_states *s, const shoal_frame *frame,
                               size_t *bytes)
{
    return shoal_intern_key(&s->seen, frame->seen, bytes);
}

shoal_grammar_missing shoal_frame_missing(const shoal_grammar_states *s, const shoal_frame *frame)
{
    size_t bytes;
    return shoal_grammar_object_missing(s->grammar, &s->grammar->objects[frame->part],
                                        seen_of(s, frame, &bytes));
}

int64_t shoal_frame_rest(const shoal_grammar_states *s, const shoal_frame *frame)
{
    size_t bytes;
    return shoal_grammar_object_rest(s->grammar, &s->grammar->objects[frame->part],
                                     seen_of(s, frame, &bytes), frame->count,
                                     shoal_frame_missing(s, frame));
}

int64_t shoal_frame_rest_with(shoal_grammar_states *s, const shoal_frame *frame,
                              shoal_grammar_missing missing, shoal_grammar_entry e)
{
    const shoal_grammar *g = s->grammar;
    const shoal_grammar_object *object = &g->objects[frame->part];
    size_t bytes;
    const uint64_t *seen = seen_of(s, frame, &bytes);
    if (e.rule == SHOAL_DFA_NONE || g->rules[e.rule].least >= SHOAL_GRAMMAR_NEVER ||
        !shoal_frame_has_room(frame, g->rules[e.rule].levels))
        return SHOAL_GRAMMAR_NEVER;
    memcpy(s->bits, seen, bytes);
    if (e.name != SHOAL_DFA_NONE) {
        const uint64_t bit = UINT64_C(1) << e.name % 64;
        const shoal_grammar_name name = g->names[object->names + e.name];
        if (s->bits[e.name / 64] & bit)
            return SHOAL_GRAMMAR_NEVER;
        s->bits[e.name / 64] |= bit;
        missing.count -= name.required;
        missing.bytes -= name.required ? shoal_grammar_name_bytes(g, name) : 0;
    }
    return shoal_grammar_object_rest(g, object, s->bits,
                                     shoal_frame_count_object(object, frame->count + 1), missing);
}

/* The search for the cheapest name goes through the automaton of names in the order of distance. */
typedef struct {
    shoal_grammar_states *s;
    const shoal_dfa *dfa;
    shoal_grammar_missing missing;
    size_t waiting; /* states in the buckets */
} search;

static shoal_status reach(search *r, int32_t state, int32_t distance)
{
    if (distance >= r->s->distances[state])
        return SHOAL_OK;
    if (r->s->distances[state] == INT32_MAX)
        SHOAL_TRY(shoal_ids_push(&r->s->reached, state));
    r->s->distances[state] = distance;
    r->waiting++;
    return shoal_ids_push(&r->s->buckets[(size_t)distance % BUCKETS], state);
}

/* The states behind the character that the frame is in, or its state; NAME still has its quote. */
static shoal_status reach_first(search *r, const shoal_frame *frame)
{
    shoal_char_outlook outlooks[SHOAL_CHAR_OUTLOOKS];
    if (r->dfa->count == 0)
        return SHOAL_OK;
    if (frame->kind == SHOAL_FRAME_NAME)
        return reach(r, 0, 1);
    if (frame->character == 0)
        return reach(r, frame->state, 0);
    const size_t n = shoal_char_outlooks(frame->character, outlooks);
    for (size_t i = 0; i < n; i++) {
        size_t cursor = 0;
        int32_t to;
        while ((to = shoal_dfa_visit(r->dfa, frame->state, outlooks[i].first, outlooks[i].last,
                                     &cursor)) != SHOAL_DFA_NONE)
            SHOAL_TRY(reach(r, to, outlooks[i].bytes));
    }
    return SHOAL_OK;
}

/* Leave a state that has been reached in `distance` bytes: to others, or by ending the name. */
static shoal_status leave(search *r, const shoal_frame *frame, int32_t state, int32_t distance,
                          int64_t *best)
{
    const shoal_grammar *g = r->s->grammar;
    const shoal_dfa_state *at = &r->dfa->states[state];
    SHOAL_TRY(shoal_states_spend(r->s, 1 + (uint64_t)(at[1].edges - at[0].edges)));
    if (at->accept != SHOAL_DFA_NONE) {
        const shoal_grammar_entry e = g->entries[g->objects[frame->part].entries + at->accept];
        SHOAL_TRY(shoal_states_spend(r->s, shoal_names_work(&g->objects[frame->part])));
        const int64_t rest = shoal_frame_rest_with(r->s, frame, r->missing, e);
        if (rest < SHOAL_GRAMMAR_NEVER) /* a quote, a colon, the value, what is left */
            *best = shoal_min_i64(*best, distance + 2 + g->rules[e.rule].least + rest);
    }
    for (int32_t i = at[0].edges; i < at[1].edges; i++) {
        const shoal_dfa_edge edge = r->dfa->edges[i];
        SHOAL_TRY(reach(r, edge.to, distance + r->dfa->costs[edge.class]));
    }
    return SHOAL_OK;
}

/* The nearest first, until nothing nearer than *need can be found. */
static shoal_status search_names(search *r, const shoal_frame *frame, int64_t *need)
{
    SHOAL_TRY(shoal_states_spend(r->s, shoal_ranges_work(r->dfa)));
    SHOAL_TRY(reach_first(r, frame));
    for (int32_t d = 0; r->waiting && d + 4 <= *need; d++) {
        shoal_ids *bucket = &r->s->buckets[(size_t)d % BUCKETS];
        r->waiting -= bucket->count;
        while (bucket->count) {
            const int32_t state = bucket->data[--bucket->count];
            if (r->s->distances[state] == d)
                SHOAL_TRY(leave(r, frame, state, d, need));
        }
    }
    return SHOAL_OK;
}

/* Fewest bytes to the end of the object from inside a name, or from before its quote. */
static shoal_status need_of_name(shoal_grammar_states *s, const shoal_frame *frame, int64_t *need)
{
    const shoal_dfa *dfa = &s->grammar->dfas[s->grammar->objects[frame->part].names_dfa];
    search r = {.s = s, .dfa = dfa, .missing = shoal_frame_missing(s, frame)};
    *need = SHOAL_GRAMMAR_NEVER;
    const shoal_status st = search_names(&r, frame, need);
    for (size_t i = 0; i < s->reached.count; i++)
        s->distances[s->reached.data[i]] = INT32_MAX;
    s->reached.count = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        s->buckets[i].count = 0;
    return st;
}

/* ---- all frames ------------------------------------------------------------------------------ */

const char *shoal_frame_literal(int32_t bit)
{
    return bit == SHOAL_JSON_NULL ? "null" : bit == SHOAL_JSON_FALSE ? "false" : "true";
}

/* What finding that out counts as, but for searches among names, which count themselves. */
static uint64_t need_work(const shoal_grammar *g, const shoal_frame *f)
{
    switch ((shoal_frame_kind)f->kind) {
    case SHOAL_FRAME_TEXT:
    case SHOAL_FRAME_STRING: return f->character ? shoal_ranges_work(&g->dfas[f->part]) : 0;
    case SHOAL_FRAME_FIRST_NAME:
    case SHOAL_FRAME_NAME:
    case SHOAL_FRAME_IN_NAME:
    case SHOAL_FRAME_COLON:
    case SHOAL_FRAME_OBJECT: return shoal_names_work(&g->objects[f->part]);
    case SHOAL_FRAME_ARRAY: return shoal_items_work(&g->arrays[f->part]);
    default: return 0;
    }
}

/* Up to the end of the value that the frame is in, or of the object or array it belongs to. */
static shoal_status need_inside(shoal_grammar_states *s, const shoal_frame *f, int64_t *need)
{
    const shoal_grammar *g = s->grammar;
    switch ((shoal_frame_kind)f->kind) {
    case SHOAL_FRAME_END: *need = 0; break;
    case SHOAL_FRAME_TEXT:
    case SHOAL_FRAME_NUMBER: *need = need_of_text(&g->dfas[f->part], f->state, f->character); break;
    case SHOAL_FRAME_STRING:
        *need = need_of_text(&g->dfas[f->part], f->state, f->character) + 1;
        break;
    case SHOAL_FRAME_VALUE: *need = g->rules[f->part].least; break;
    case SHOAL_FRAME_LITERAL:
        *need = (int64_t)strlen(shoal_frame_literal(f->part)) - f->state;
        break;
    case SHOAL_FRAME_NAME:
    case SHOAL_FRAME_IN_NAME: return need_of_name(s, f, need);
    case SHOAL_FRAME_COLON: *need = 1 + g->rules[f->state].least + shoal_frame_rest(s, f); break;
    case SHOAL_FRAME_FIRST_NAME:
    case SHOAL_FRAME_OBJECT: *need = shoal_frame_rest(s, f); break;
    case SHOAL_FRAME_EMPTY_ARRAY: *need = 1; break;
    case SHOAL_FRAME_ARRAY:
        *need = shoal_grammar_array_rest(g, &g->arrays[f->part], f->count);
        break;
    }
    return SHOAL_OK;
}

shoal_status shoal_frame_need(shoal_grammar_states *s, const shoal_frame *frame, int64_t *need)
{
    int64_t inside = SHOAL_GRAMMAR_NEVER;
    SHOAL_TRY(shoal_states_spend(s, need_work(s->grammar, frame)));
    SHOAL_TRY(need_inside(s, frame, &inside));
    const int64_t outside = frame->parent == SHOAL_FRAME_NONE ? 0 : s->needs[frame->parent];
    *need = shoal_min_i64(inside + outside, SHOAL_GRAMMAR_NEVER);
    return SHOAL_OK;
}

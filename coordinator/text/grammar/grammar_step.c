#include <string.h>

#include "coordinator/text/grammar/char_reader.h"
#include "coordinator/text/grammar/grammar_frame.h"

/* Append a frame to what is behind the byte, if anything completes it. */
static shoal_status push(shoal_grammar_states *s, const shoal_frame *frame)
{
    int32_t number;
    SHOAL_TRY(shoal_frame_number(s, frame, &number));
    return number == SHOAL_FRAME_NONE ? SHOAL_OK : shoal_ids_push(&s->next, number);
}

/* A frame on top of another, of which only kind and part are known. */
static shoal_frame frame_on(const shoal_grammar_states *s, int32_t parent, shoal_frame_kind kind,
                            int32_t part)
{
    return (shoal_frame){.parent = parent,
                         .kind = (uint8_t)kind,
                         .depth = shoal_frame_at(s, parent).depth,
                         .part = part};
}

/* ---- the begin of a value -------------------------------------------------------------------- */

static shoal_status open_object(shoal_grammar_states *s, int32_t parent, int32_t number)
{
    const shoal_grammar_object *object = &s->grammar->objects[number];
    shoal_frame f = frame_on(s, parent, SHOAL_FRAME_FIRST_NAME, number);
    SHOAL_TRY(shoal_states_spend(s, shoal_names_work(object)));
    const size_t words = (size_t)object->name_count / 64 + 1;
    memset(s->bits, 0, words * sizeof *s->bits);
    if (!shoal_frame_has_room(&f, object->levels))
        return SHOAL_OK;
    f.depth++;
    SHOAL_TRY(shoal_intern_put(&s->seen, s->bits, words * sizeof *s->bits, &f.seen, NULL));
    return push(s, &f);
}

/* Before element `count` of an array: after "[" or a comma. */
static shoal_status open_element(shoal_grammar_states *s, shoal_frame array, int64_t count)
{
    const shoal_grammar_array *a = &s->grammar->arrays[array.part];
    const int32_t rule = shoal_grammar_array_rule(s->grammar, a, count);
    int32_t behind;
    if (rule == SHOAL_DFA_NONE || count >= a->most_count ||
        !shoal_frame_has_room(&array, s->grammar->rules[rule].levels))
        return SHOAL_OK;
    array.kind = SHOAL_FRAME_ARRAY;
    array.blanks = 0;
    array.count = shoal_frame_count_array(a, count + 1);
    SHOAL_TRY(shoal_frame_number(s, &array, &behind));
    if (behind == SHOAL_FRAME_NONE)
        return SHOAL_OK;
    const shoal_frame f = frame_on(s, behind, SHOAL_FRAME_VALUE, rule);
    return push(s, &f);
}

static shoal_status open_array(shoal_grammar_states *s, int32_t parent, int32_t number)
{
    shoal_frame f = frame_on(s, parent, SHOAL_FRAME_EMPTY_ARRAY, number);
    if (!shoal_frame_has_room(&f, s->grammar->arrays[number].levels))
        return SHOAL_OK;
    f.depth++;
    if (s->grammar->arrays[number].least_count == 0)
        SHOAL_TRY(push(s, &f));
    return open_element(s, f, 0);
}

static shoal_status open_literal(shoal_grammar_states *s, int32_t parent, unsigned literals,
                                 uint8_t byte)
{
    for (int32_t bit = SHOAL_JSON_NULL; bit <= SHOAL_JSON_TRUE; bit *= 2)
        if (literals & (unsigned)bit && *shoal_frame_literal(bit) == byte) {
            shoal_frame f = frame_on(s, parent, SHOAL_FRAME_LITERAL, bit);
            f.state = 1;
            return push(s, &f);
        }
    return SHOAL_OK;
}

static shoal_status open_number(shoal_grammar_states *s, int32_t parent, int32_t dfa, uint8_t byte)
{
    shoal_frame f = frame_on(s, parent, SHOAL_FRAME_NUMBER, dfa);
    f.state = shoal_dfa_next(&s->grammar->dfas[dfa], 0, byte);
    return f.state == SHOAL_DFA_NONE ? SHOAL_OK : push(s, &f);
}

static shoal_status open_value(shoal_grammar_states *s, shoal_frame value, uint8_t byte)
{
    const shoal_grammar_rule *rule = &s->grammar->rules[value.part];
    if (byte == '{')
        for (int32_t i = 0; i < rule->object_count; i++)
            SHOAL_TRY(open_object(s, value.parent, rule->objects + i));
    if (byte == '[')
        for (int32_t i = 0; i < rule->array_count; i++)
            SHOAL_TRY(open_array(s, value.parent, rule->arrays + i));
    if (byte == '"' && rule->string != SHOAL_DFA_NONE) {
        const shoal_frame f = frame_on(s, value.parent, SHOAL_FRAME_STRING, rule->string);
        return push(s, &f);
    }
    if ((byte == '-' || (byte >= '0' && byte <= '9')) && rule->number != SHOAL_DFA_NONE)
        return open_number(s, value.parent, rule->number, byte);
    return open_literal(s, value.parent, rule->literals, byte);
}

/* ---- inside a value -------------------------------------------------------------------------- */

static shoal_status step_literal(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const char *text = shoal_frame_literal(f.part);
    if ((uint8_t)text[f.state] != byte)
        return SHOAL_OK;
    if (!text[++f.state])
        return shoal_ids_push(&s->next, f.parent);
    return push(s, &f);
}

/* Where all that may come of a part is one to the automaton, the part may as well be another: else
 * a string would have a state for every beginning of every character. */
static uint32_t simplify(const shoal_dfa *dfa, uint32_t part)
{
    shoal_char_outlook ours[SHOAL_CHAR_OUTLOOKS], others[SHOAL_CHAR_OUTLOOKS];
    const uint32_t other = shoal_char_stand_in(part);
    int32_t our_class, other_class;
    if (!other)
        return part;
    (void)shoal_char_outlooks(part, ours);
    (void)shoal_char_outlooks(other, others);
    const bool same = shoal_dfa_one_class(dfa, ours[0].first, ours[0].last, &our_class) &&
                      shoal_dfa_one_class(dfa, others[0].first, others[0].last, &other_class) &&
                      our_class == other_class;
    return same ? other : part;
}

/* One more byte of a character of plain text, a string or a name. */
static shoal_status step_character(shoal_grammar_states *s, shoal_frame f, const shoal_dfa *dfa,
                                   uint8_t byte)
{
    uint32_t result;
    switch (shoal_char_read(f.kind != SHOAL_FRAME_TEXT, f.character, byte, &result)) {
    case SHOAL_CHAR_BROKEN: return SHOAL_OK;
    case SHOAL_CHAR_PART: f.character = simplify(dfa, result); return push(s, &f);
    case SHOAL_CHAR_WHOLE:
        f.character = 0;
        f.state = shoal_dfa_next(dfa, f.state, result);
        break;
    }
    return f.state == SHOAL_DFA_NONE ? SHOAL_OK : push(s, &f);
}

static shoal_status step_string(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const shoal_dfa *dfa = &s->grammar->dfas[f.part];
    if (byte != '"' || f.character != 0)
        return step_character(s, f, dfa, byte);
    if (dfa->states[f.state].accept == SHOAL_DFA_NONE)
        return SHOAL_OK;
    return shoal_ids_push(&s->next, f.parent);
}

/* A number ends where something else begins, which is for the parent to read. */
static shoal_status step_number(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const shoal_dfa_state *at = &s->grammar->dfas[f.part].states[f.state];
    const int32_t to = shoal_dfa_next(&s->grammar->dfas[f.part], f.state, byte);
    if (to == SHOAL_DFA_NONE)
        return at->accept == SHOAL_DFA_NONE
                   ? SHOAL_OK
                   : shoal_frame_step(s, shoal_frame_at(s, f.parent), byte);
    f.state = to;
    return push(s, &f);
}

/* ---- objects --------------------------------------------------------------------------------- */

static shoal_status step_in_name(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const shoal_grammar *g = s->grammar;
    const shoal_grammar_object *object = &g->objects[f.part];
    const shoal_dfa *dfa = &g->dfas[object->names_dfa];
    if (byte != '"' || f.character != 0)
        return step_character(s, f, dfa, byte);
    const int32_t accept = dfa->states[f.state].accept;
    if (accept == SHOAL_DFA_NONE)
        return SHOAL_OK;
    const shoal_grammar_entry e = g->entries[object->entries + accept];
    SHOAL_TRY(shoal_states_spend(s, shoal_names_work(object)));
    if (shoal_frame_rest_with(s, &f, shoal_frame_missing(s, &f), e) >= SHOAL_GRAMMAR_NEVER)
        return SHOAL_OK;
    const size_t words = (size_t)object->name_count / 64 + 1;
    f.kind = SHOAL_FRAME_COLON;
    f.state = e.rule;
    f.count = shoal_frame_count_object(object, f.count + 1);
    SHOAL_TRY(shoal_intern_put(&s->seen, s->bits, words * sizeof *s->bits, &f.seen, NULL));
    return push(s, &f);
}

static shoal_status step_colon(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const int32_t rule = f.state;
    int32_t behind;
    if (byte != ':')
        return SHOAL_OK;
    f.kind = SHOAL_FRAME_OBJECT;
    f.blanks = 0;
    f.state = 0;
    SHOAL_TRY(shoal_frame_number(s, &f, &behind));
    if (behind == SHOAL_FRAME_NONE)
        return SHOAL_OK;
    const shoal_frame value = frame_on(s, behind, SHOAL_FRAME_VALUE, rule);
    return push(s, &value);
}

/* Behind "{", a comma, or a value. */
static shoal_status step_object(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const shoal_grammar_object *object = &s->grammar->objects[f.part];
    const bool before_name = f.kind != SHOAL_FRAME_OBJECT;
    f.blanks = 0;
    if (byte == '"' && before_name) {
        if (s->grammar->dfas[object->names_dfa].count == 0)
            return SHOAL_OK;
        f.kind = SHOAL_FRAME_IN_NAME;
        return push(s, &f);
    }
    if (byte == ',' && !before_name) {
        f.kind = SHOAL_FRAME_NAME;
        return push(s, &f);
    }
    if (byte != '}' || f.kind == SHOAL_FRAME_NAME)
        return SHOAL_OK;
    SHOAL_TRY(shoal_states_spend(s, shoal_names_work(object)));
    if (shoal_frame_rest(s, &f) > 1)
        return SHOAL_OK; /* something is missing */
    return shoal_ids_push(&s->next, f.parent);
}

static shoal_status step_array(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    if (byte == ']') {
        if (f.kind == SHOAL_FRAME_ARRAY && f.count < s->grammar->arrays[f.part].least_count)
            return SHOAL_OK;
        return shoal_ids_push(&s->next, f.parent);
    }
    return byte == ',' && f.kind == SHOAL_FRAME_ARRAY ? open_element(s, f, f.count) : SHOAL_OK;
}

/* ---- all frames ------------------------------------------------------------------------------ */

static bool takes_blanks(shoal_frame_kind kind)
{
    switch (kind) {
    case SHOAL_FRAME_TEXT:
    case SHOAL_FRAME_LITERAL:
    case SHOAL_FRAME_NUMBER:
    case SHOAL_FRAME_STRING:
    case SHOAL_FRAME_IN_NAME: return false;
    default: return true;
    }
}

shoal_status shoal_frame_step(shoal_grammar_states *s, shoal_frame f, uint8_t byte)
{
    const bool blank = byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
    const shoal_frame_kind kind = (shoal_frame_kind)f.kind;
    if (blank && takes_blanks(kind)) {
        if (++f.blanks > SHOAL_FRAME_BLANKS_MAX)
            return SHOAL_OK;
        return push(s, &f);
    }
    switch (kind) {
    case SHOAL_FRAME_END: return SHOAL_OK;
    case SHOAL_FRAME_TEXT: return step_character(s, f, &s->grammar->dfas[f.part], byte);
    case SHOAL_FRAME_VALUE: return open_value(s, f, byte);
    case SHOAL_FRAME_LITERAL: return step_literal(s, f, byte);
    case SHOAL_FRAME_NUMBER: return step_number(s, f, byte);
    case SHOAL_FRAME_STRING: return step_string(s, f, byte);
    case SHOAL_FRAME_IN_NAME: return step_in_name(s, f, byte);
    case SHOAL_FRAME_COLON: return step_colon(s, f, byte);
    case SHOAL_FRAME_FIRST_NAME:
    case SHOAL_FRAME_NAME:
    case SHOAL_FRAME_OBJECT: return step_object(s, f, byte);
    case SHOAL_FRAME_EMPTY_ARRAY:
    case SHOAL_FRAME_ARRAY: return step_array(s, f, byte);
    }
    return SHOAL_OK;
}

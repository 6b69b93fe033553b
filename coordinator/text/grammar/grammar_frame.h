/* coordinator/text/grammar/grammar_frame.h - places in a grammar: frames, their numbers, and how
 * far each is from the end. Private to grammar_states.c, grammar_step.c and grammar_need.c.
 *
 * A frame says where a text stands inside one value, and by its parent where it goes on behind it.
 * Objects keep which names they have seen, so that properties come in any order without a state for
 * every order; counts stop where more makes no difference. Equal frames have equal numbers. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_FRAME_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_GRAMMAR_FRAME_H

#include "coordinator/text/grammar/grammar_parts.h"
#include "coordinator/text/grammar/grammar_states.h"

#define SHOAL_FRAME_DEPTH_MAX  1000 /* objects and arrays within each other           */
#define SHOAL_FRAME_BLANKS_MAX 64   /* white space in a row                           */
#define SHOAL_FRAMES_MAX       (1 << 20)
#define SHOAL_FRAME_NONE       (-1)

typedef enum {
    SHOAL_FRAME_END,         /* behind the whole text                                */
    SHOAL_FRAME_TEXT,        /* in plain text: automaton `part`, `state`             */
    SHOAL_FRAME_VALUE,       /* before a value of rule `part`                        */
    SHOAL_FRAME_LITERAL,     /* in literal `part` (its bit), `state` bytes of it read */
    SHOAL_FRAME_NUMBER,      /* in a number: automaton `part`, `state`               */
    SHOAL_FRAME_STRING,      /* in a string: the same                                */
    SHOAL_FRAME_FIRST_NAME,  /* behind '{' of object `part`                          */
    SHOAL_FRAME_NAME,        /* behind ',' of it                                     */
    SHOAL_FRAME_IN_NAME,     /* in a name, `state` of the automaton of names         */
    SHOAL_FRAME_COLON,       /* behind a name whose value is of rule `state`         */
    SHOAL_FRAME_OBJECT,      /* behind a value in it                                 */
    SHOAL_FRAME_EMPTY_ARRAY, /* behind '[' when ']' is next                          */
    SHOAL_FRAME_ARRAY        /* behind an element of array `part`                    */
} shoal_frame_kind;

typedef struct {
    int32_t parent;
    uint8_t kind, blanks; /* blanks: white space just read */
    uint16_t depth;
    int32_t part, state;
    uint32_t character; /* what was read of one: see char_reader.h  */
    int32_t seen;       /* set of names that are there              */
    int32_t count;      /* properties or elements, up to the value being read */
} shoal_frame;

/* What the bytes from 0x80 on have in common for a state. */
typedef enum {
    SHOAL_BEYOND_UNKNOWN,
    SHOAL_BEYOND_APART,
    SHOAL_BEYOND_FIRSTS, /* all characters beyond ASCII lead to the same     */
    SHOAL_BEYOND_OTHERS  /* inside of one: all bytes that go on with it do so */
} shoal_beyond;

typedef struct {
    int64_t distance;
    int32_t *next; /* by byte, once one was asked for */
    bool may_end, must_end;
    shoal_beyond beyond;
} shoal_state_facts;

struct shoal_grammar_states {
    shoal_grammar *grammar;
    shoal_intern frames; /* keys: shoal_frame                              */
    int64_t *needs;      /* by frame: fewest bytes from there to the end   */
    size_t needs_capacity;
    shoal_intern seen;   /* keys: arrays of uint64_t, a bit per name       */
    shoal_intern states; /* keys: ascending arrays of frames               */
    shoal_state_facts *facts;
    size_t facts_capacity;
    int32_t start;
    uint64_t *budget; /* work that may still be done; NULL: any */
    shoal_ids next;   /* frames behind the byte at hand */
    /* Of the search for names: by automaton state (INT32_MAX between searches), the states that
     * were reached, and states by distance modulo the number. */
    int32_t *distances;
    shoal_ids reached;
    shoal_ids buckets[16];
    uint64_t *bits; /* room for the names of any object */
};

/* Count work. SHOAL_ERR_DATA when the budget is spent: then it is at 0. */
SHOAL_MUST_USE shoal_status shoal_states_spend(shoal_grammar_states *s, uint64_t steps);

/* *number = the frame's; SHOAL_FRAME_NONE when nothing completes it. */
SHOAL_MUST_USE shoal_status shoal_frame_number(shoal_grammar_states *s, const shoal_frame *frame,
                                               int32_t *number);
shoal_frame shoal_frame_at(const shoal_grammar_states *s, int32_t number);

/* Append to s->next the frames behind one more byte. */
SHOAL_MUST_USE shoal_status shoal_frame_step(shoal_grammar_states *s, shoal_frame frame,
                                             uint8_t byte);

/* May a value that needs so many levels begin here? What must be inside it then has room, too. */
bool shoal_frame_has_room(const shoal_frame *frame, int32_t levels);

/* Fewest bytes from a frame to the end of the text. */
SHOAL_MUST_USE shoal_status shoal_frame_need(shoal_grammar_states *s, const shoal_frame *frame,
                                             int64_t *need);

/* What going through the names of an object, the items of an array or the ranges of an automaton
 * counts as. */
uint64_t shoal_names_work(const shoal_grammar_object *object);
uint64_t shoal_items_work(const shoal_grammar_array *array);
uint64_t shoal_ranges_work(const shoal_dfa *dfa);

/* After a name of entry `e` and its value: fewest bytes to the end of the object, with s->bits =
 * the names that are then there. `missing` is about the object before. SHOAL_GRAMMAR_NEVER: the
 * name must not come (again). */
int64_t shoal_frame_rest_with(shoal_grammar_states *s, const shoal_frame *frame,
                              shoal_grammar_missing missing, shoal_grammar_entry e);

/* What the object of a frame lacks, and the fewest bytes to its end as it stands. */
shoal_grammar_missing shoal_frame_missing(const shoal_grammar_states *s, const shoal_frame *frame);
int64_t shoal_frame_rest(const shoal_grammar_states *s, const shoal_frame *frame);

/* Counts as far as they matter. */
int32_t shoal_frame_count_object(const shoal_grammar_object *object, int64_t count);
int32_t shoal_frame_count_array(const shoal_grammar_array *array, int64_t count);

/* The text of a literal, by its bit. */
const char *shoal_frame_literal(int32_t bit);

#endif

/* shard/name_pattern.c - does a name match? All states of the program walk the name together, so
 * the time is program times name. A look-ahead is a program within the program, walked from where
 * it stands. See name_pattern.h. */
#include "shard/name_pattern.h"

#include <string.h>

#include "proto/arena.h"
#include "shard/name_pattern_code.h"

void shoal_name_pattern_free(shoal_name_pattern *pattern)
{
    if (!pattern)
        return;
    shoal_free(pattern->text);
    shoal_free(pattern->code);
    shoal_free(pattern);
}

static bool passes(const instruction *set, char name_byte)
{
    const unsigned char byte = (unsigned char)name_byte;
    return set->bits[byte / 64] >> (byte % 64) & 1;
}

typedef struct {
    const shoal_name_pattern *pattern;
    const char *name;
    size_t length;
    int64_t steps; /* left; below 0 nothing is true any more */
} walk;

typedef struct {
    int list[CODE_MAX], count;
    bool on[CODE_MAX];
} states;

static bool walk_from(walk *w, int start, size_t at);

static bool is_word(const walk *w, size_t at)
{
    return at < w->length && (is_alphanumeric(w->name[at]) || w->name[at] == '_');
}

/* Where a state that takes no byte leads to, in next[2]; how many places that are. */
static int follow(walk *w, int pc, size_t at, int *next)
{
    const instruction *i = &w->pattern->code[pc];
    const bool edge = is_word(w, at) != (at > 0 && is_word(w, at - 1));
    next[0] = pc + 1;
    switch (i->op) {
    case SPLIT: next[1] = pc + i->x; return 2;
    case JUMP: next[0] = pc + i->x; return 1;
    case BEGIN: return at == 0;
    case END: return at == w->length;
    case BOUNDARY: return edge;
    case INSIDE: return !edge;
    case LOOK:
    case LOOK_NOT: next[0] = pc + i->x; return walk_from(w, pc + 1, at) == (i->op == LOOK);
    default: return 0;
    }
}

static void add_one(states *set, int pc)
{
    if (set->on[pc])
        return;
    set->on[pc] = true;
    set->list[set->count++] = pc;
}

/* Add a state, and all that it leads to without a byte. */
static void add(walk *w, states *set, int pc, size_t at)
{
    int next[2];
    int i = set->count;
    add_one(set, pc);
    for (; i < set->count && w->steps >= 0; i++) {
        const int count = follow(w, set->list[i], at, next);
        w->steps--;
        for (int n = 0; n < count; n++)
            add_one(set, next[n]);
    }
}

static void empty(states *set)
{
    for (int i = 0; i < set->count; i++)
        set->on[set->list[i]] = false;
    set->count = 0;
}

/* Does the code at `start` reach its MATCH from byte `at` on? False when steps run out. */
static bool walk_from(walk *w, int start, size_t at)
{
    const instruction *code = w->pattern->code;
    states sets[2], *here = &sets[0], *there = &sets[1];
    for (int i = 0; i < 2; i++) {
        sets[i].count = 0;
        memset(sets[i].on, 0, (size_t)w->pattern->count);
    }
    add(w, here, start, at);
    for (; here->count > 0 && w->steps >= 0; at++) {
        w->steps -= here->count;
        for (int i = 0; i < here->count; i++) {
            const int pc = here->list[i];
            if (code[pc].op == MATCH)
                return true;
            if (code[pc].op == SET && at < w->length && passes(&code[pc], w->name[at]))
                add(w, there, pc + 1, at + 1);
        }
        states *const done = here;
        empty(done);
        here = there;
        there = done;
    }
    return false;
}

shoal_status shoal_name_pattern_matches(const shoal_name_pattern *pattern, const char *name,
                                        int64_t *steps, bool *out)
{
    walk w = {.pattern = pattern, .name = name, .length = strlen(name), .steps = *steps};
    const bool found = walk_from(&w, 0, 0);
    *steps = w.steps;
    if (w.steps < 0)
        return shoal_name_pattern_refuse(pattern->text, "takes too long to match");
    *out = found;
    return SHOAL_OK;
}

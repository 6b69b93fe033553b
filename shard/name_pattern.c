/* shard/name_pattern.c - does a name match? All states of the program walk the name together, so
 * the time is program times name. A look-ahead is a program within the program, walked from where
 * it stands. See name_pattern.h. */
#include "shard/name_pattern.h"

#include <string.h>

#include "proto/arena.h"
#include "shard/name_pattern_code.h"

#define STEPS_MAX (4ll << 20)

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
    int64_t steps;
} walk;

typedef struct {
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
    case SPLIT: next[1] = pc + i->y; return 2;
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

/* Add a state, and all that it leads to without a byte. */
static void add(walk *w, states *set, int pc, size_t at)
{
    int stack[CODE_MAX], top = 0, next[2];
    if (set->on[pc])
        return;
    set->on[pc] = true;
    stack[top++] = pc;
    while (top > 0) {
        const int count = follow(w, stack[--top], at, next);
        w->steps++;
        for (int i = 0; i < count; i++)
            if (!set->on[next[i]]) {
                set->on[next[i]] = true;
                stack[top++] = next[i];
            }
    }
}

/* Does the code at `start` reach its MATCH from byte `at` on? False when steps run out. */
static bool walk_from(walk *w, int start, size_t at)
{
    const instruction *code = w->pattern->code;
    const int count = w->pattern->count;
    states here = {0};
    add(w, &here, start, at);
    for (bool any = true; any && w->steps <= STEPS_MAX; at++) {
        states next = {0};
        any = false;
        w->steps += count;
        for (int pc = 0; pc < count; pc++) {
            if (!here.on[pc])
                continue;
            if (code[pc].op == MATCH)
                return true;
            if (code[pc].op != SET || at >= w->length || !passes(&code[pc], w->name[at]))
                continue;
            add(w, &next, pc + 1, at + 1);
            any = true;
        }
        here = next;
    }
    return false;
}

shoal_status shoal_name_pattern_matches(const shoal_name_pattern *pattern, const char *name,
                                        bool *out)
{
    walk w = {.pattern = pattern, .name = name, .length = strlen(name)};
    const bool found = walk_from(&w, 0, 0);
    if (w.steps > STEPS_MAX)
        return shoal_name_pattern_refuse(pattern->text, "takes too long to match");
    *out = found;
    return SHOAL_OK;
}

/* shard/name_pattern_compile.c - from the text of a name pattern to its program, in one pass of
 * recursive descent. See name_pattern.h. */
#include <string.h>

#include "proto/arena.h"
#include "shard/name_pattern_code.h"
#include "shard/quoted.h"

#define PATTERN_BYTES_MAX 1024
#define DEPTH_MAX         32
#define REPEAT_MAX        255

typedef struct {
    const char *text, *at;
    instruction *code; /* [CODE_MAX] */
    int count, depth;
    bool full;
} compiler;

shoal_status shoal_name_pattern_refuse(const char *text, const char *what)
{
    char quoted[SHOAL_QUOTED_ROOM];
    return shoal_fail(SHOAL_ERR_DATA, "quantization config: the pattern %s %s",
                      shoal_quoted(text, quoted, sizeof quoted), what);
}

static shoal_status refuse(const compiler *c, const char *what)
{
    return shoal_name_pattern_refuse(c->text, what);
}

/* The next instruction, cleared. Without room it is the last one again, and compiling fails in the
 * end. */
static instruction *emit(compiler *c, operation op)
{
    c->full = c->full || c->count == CODE_MAX;
    if (c->full)
        c->count = CODE_MAX - 1;
    c->code[c->count] = (instruction){.op = op};
    return &c->code[c->count++];
}

/* An instruction before the code from `start` on. */
static instruction *insert(compiler *c, int start, operation op)
{
    instruction *last = emit(c, op);
    if (c->full)
        return last;
    memmove(&c->code[start + 1], &c->code[start], (size_t)(c->count - 1 - start) * sizeof *c->code);
    c->code[start] = (instruction){.op = op};
    return &c->code[start];
}

static void set_range(instruction *set, int first, int last)
{
    for (int b = first; b <= last; b++)
        set->bits[b / 64] |= 1ull << (b % 64);
}

static void set_flip(instruction *set)
{
    for (int i = 0; i < 4; i++)
        set->bits[i] = ~set->bits[i];
}

/* \d, \w, \s and their opposites. False for another letter. */
static bool set_kind(instruction *set, char letter)
{
    instruction kind = {.op = SET};
    switch (letter | 0x20) {
    case 'd': set_range(&kind, '0', '9'); break;
    case 's':
        set_range(&kind, '\t', '\r');
        set_range(&kind, ' ', ' ');
        break;
    case 'w':
        set_range(&kind, '0', '9');
        set_range(&kind, 'A', 'Z');
        set_range(&kind, 'a', 'z');
        set_range(&kind, '_', '_');
        break;
    default: return false;
    }
    if (!(letter & 0x20))
        set_flip(&kind);
    for (int i = 0; i < 4; i++)
        set->bits[i] |= kind.bits[i];
    return true;
}

/* The byte that an escape names ("\." and the like). Letters and digits name none. */
static shoal_status escaped_byte(compiler *c, int *out)
{
    const char byte = *c->at;
    if (byte == '\0' || is_alphanumeric(byte))
        return refuse(c, "has an escape that is not read");
    c->at++;
    *out = (unsigned char)byte;
    return SHOAL_OK;
}

/* One byte of a class, or a kind, which is put into `set` (*out = -1). */
static shoal_status class_item(compiler *c, instruction *set, int *out)
{
    if (*c->at == '\0')
        return refuse(c, "has a class without end");
    if (*c->at != '\\') {
        *out = (unsigned char)*c->at++;
        return SHOAL_OK;
    }
    c->at++;
    if (set_kind(set, *c->at)) {
        c->at++;
        *out = -1;
        return SHOAL_OK;
    }
    return escaped_byte(c, out);
}

/* After "[". */
static shoal_status parse_class(compiler *c)
{
    instruction *set = emit(c, SET);
    const bool flip = *c->at == '^';
    c->at += flip;
    for (bool first = true; first || *c->at != ']'; first = false) {
        int from = 0, to;
        SHOAL_TRY(class_item(c, set, &from));
        to = from;
        if (from >= 0 && c->at[0] == '-' && c->at[1] != ']') {
            c->at++;
            SHOAL_TRY(class_item(c, set, &to));
        }
        if (to < from)
            return refuse(c, "has a class whose range is backwards");
        if (from >= 0)
            set_range(set, from, to);
    }
    c->at++;
    if (flip)
        set_flip(set);
    return SHOAL_OK;
}

static shoal_status parse_alternatives(compiler *c);

static shoal_status close_group(compiler *c)
{
    if (*c->at != ')')
        return refuse(c, "has a group without end");
    c->at++;
    return SHOAL_OK;
}

/* After "(?=" or "(?!". */
static shoal_status parse_look(compiler *c, operation op)
{
    const int start = c->count;
    emit(c, op);
    SHOAL_TRY(parse_alternatives(c));
    emit(c, MATCH);
    if (!c->full)
        c->code[start].x = c->count - start;
    return close_group(c);
}

/* After "(". */
static shoal_status parse_group(compiler *c)
{
    shoal_status st;
    if (c->depth == DEPTH_MAX)
        return refuse(c, "is nested too deep");
    c->depth++;
    if (c->at[0] == '?' && (c->at[1] == '=' || c->at[1] == '!')) {
        c->at += 2;
        st = parse_look(c, c->at[-1] == '=' ? LOOK : LOOK_NOT);
    } else {
        if (c->at[0] == '?' && c->at[1] == ':')
            c->at += 2;
        else if (strncmp(c->at, "?P<", 3) == 0 && strchr(c->at, '>'))
            c->at = strchr(c->at, '>') + 1;
        else if (c->at[0] == '?')
            return refuse(c, "has a kind of group that is not read");
        st = parse_alternatives(c);
        if (st == SHOAL_OK)
            st = close_group(c);
    }
    c->depth--;
    return st;
}

/* After "\". */
static shoal_status parse_escape(compiler *c)
{
    int byte = 0;
    if (*c->at == 'b' || *c->at == 'B') {
        emit(c, *c->at++ == 'b' ? BOUNDARY : INSIDE);
        return SHOAL_OK;
    }
    instruction *made = emit(c, SET);
    if (set_kind(made, *c->at)) {
        c->at++;
        return SHOAL_OK;
    }
    SHOAL_TRY(escaped_byte(c, &byte));
    set_range(made, byte, byte);
    return SHOAL_OK;
}

static shoal_status parse_atom(compiler *c)
{
    instruction *made;
    const unsigned char byte = (unsigned char)*c->at++;
    switch (byte) {
    case '(': return parse_group(c);
    case '[': return parse_class(c);
    case '\\': return parse_escape(c);
    case '^': emit(c, BEGIN); return SHOAL_OK;
    case '$': emit(c, END); return SHOAL_OK;
    case '*':
    case '+':
    case '?': return refuse(c, "repeats nothing");
    case '.':
        made = emit(c, SET);
        set_range(made, '\n', '\n');
        set_flip(made);
        return SHOAL_OK;
    default:
        made = emit(c, SET);
        set_range(made, byte, byte);
        return SHOAL_OK;
    }
}

static bool parse_number(const char **at, int *out)
{
    int number = 0, digits = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++, digits++)
        if (number <= REPEAT_MAX)
            number = number * 10 + (**at - '0');
    *out = number;
    return digits > 0;
}

/* "{n}", "{n,}", "{n,m}" or "{,m}"; anything else after "{" is a literal, as in Python. */
static bool parse_bounds(const char **at, int *least, int *most)
{
    const char *p = *at + 1;
    const bool first = parse_number(&p, least);
    bool second = first;
    *most = *least;
    if (*p == ',') {
        p++;
        second = parse_number(&p, most);
        if (!second)
            *most = -1;
    }
    if (*p != '}' || (!first && !second))
        return false;
    *at = p + 1;
    return true;
}

/* The repeat that follows: 0 and -1 for "*". False where there is none. */
static bool parse_repeat(compiler *c, int *least, int *most)
{
    *least = *c->at == '+';
    *most = *c->at == '?' ? 1 : -1;
    if (*c->at == '{')
        return parse_bounds(&c->at, least, most);
    if (*c->at != '*' && *c->at != '+' && *c->at != '?')
        return false;
    c->at++;
    return true;
}

/* The code from `start` on, made optional or any number of times. */
static void make_optional(compiler *c, int start, bool loop)
{
    const int length = c->count - start;
    instruction *split = insert(c, start, SPLIT);
    split->x = length + 1 + loop;
    if (loop)
        emit(c, JUMP)->x = -(length + 1);
}

/* The code from `start` on, `least` to `most` times (-1: no end). */
static shoal_status repeat(compiler *c, int start, int least, int most)
{
    instruction body[CODE_MAX / 4];
    const int length = c->count - start;
    if (most > REPEAT_MAX || least > REPEAT_MAX || (most >= 0 && most < least))
        return refuse(c, "has a repeat that is not read");
    if (length > CODE_MAX / 4)
        return refuse(c, "is too large");
    memcpy(body, &c->code[start], (size_t)length * sizeof *body);
    c->count = start;
    for (int i = 0; i < (most < 0 ? least + 1 : most); i++) {
        const int at = c->count;
        if (length > CODE_MAX - at)
            return refuse(c, "is too large");
        memcpy(&c->code[at], body, (size_t)length * sizeof *body);
        c->count += length;
        if (i >= least)
            make_optional(c, at, most < 0);
    }
    return SHOAL_OK;
}

static shoal_status parse_sequence(compiler *c)
{
    while (*c->at && *c->at != '|' && *c->at != ')') {
        const int start = c->count;
        int least, most;
        SHOAL_TRY(parse_atom(c));
        if (!parse_repeat(c, &least, &most))
            continue;
        SHOAL_TRY(repeat(c, start, least, most));
        if (*c->at == '?')
            c->at++;
        else if (*c->at == '+' || *c->at == '*')
            return refuse(c, "repeats a repeat");
    }
    return SHOAL_OK;
}

static shoal_status parse_alternatives(compiler *c)
{
    int jumps[CODE_MAX / 8], count = 0;
    int branch = c->count;
    SHOAL_TRY(parse_sequence(c));
    while (*c->at == '|') {
        if (count == CODE_MAX / 8)
            return refuse(c, "is too large");
        c->at++;
        instruction *split = insert(c, branch, SPLIT);
        split->x = c->count - branch + 1;
        jumps[count++] = c->count;
        emit(c, JUMP);
        branch = c->count;
        SHOAL_TRY(parse_sequence(c));
    }
    for (int i = 0; i < count && !c->full; i++)
        c->code[jumps[i]].x = c->count - jumps[i];
    return SHOAL_OK;
}

static shoal_status compile(compiler *c, shoal_name_pattern *pattern)
{
    void *block;
    SHOAL_TRY(parse_alternatives(c));
    if (*c->at)
        return refuse(c, "closes a group that it did not open");
    emit(c, MATCH);
    if (c->full)
        return refuse(c, "is too large");
    const uint64_t count = (uint64_t)c->count;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *c->code, &block));
    memcpy(block, c->code, count * sizeof *c->code);
    pattern->code = block;
    pattern->count = c->count;
    return SHOAL_OK;
}

shoal_status shoal_name_pattern_compile(const char *text, shoal_name_pattern **out)
{
    compiler c = {.text = text, .at = text};
    shoal_name_pattern *pattern = NULL;
    void *block = NULL;
    shoal_status st;
    if (strlen(text) > PATTERN_BYTES_MAX)
        return refuse(&c, "is too long");
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, sizeof *pattern, &block), fail);
    pattern = block;
    *pattern = (shoal_name_pattern){0};
    SHOAL_TRY_GOTO(shoal_strdup(SHOAL_MEM_CHECKPOINT, text, &pattern->text), fail);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, CODE_MAX, sizeof *c.code, &block), fail);
    c.code = block;
    st = compile(&c, pattern);
    shoal_free(c.code);
    if (st == SHOAL_OK) {
        *out = pattern;
        return SHOAL_OK;
    }
fail:
    shoal_name_pattern_free(pattern);
    return st;
}

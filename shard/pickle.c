#include "shard/pickle.h"

#include <string.h>

#include "proto/bytes.h"
#include "shard/quoted.h"

/* What trees may need: nodes, and places in tuples, lists, dicts and on the stack. */
#define NODES_MAX  (8u << 20)
#define PLACES_MAX (32u << 20)
#define DEPTH_MAX  (1u << 20) /* of the stack */
#define MEMO_MAX   (4u << 20)
#define MARKS_MAX  1024u
#define SLAB       1024u

typedef struct {
    const char *where;
    const uint8_t *data;
    uint64_t bytes, at, opcode_at;
    shoal_arena *arena;
    shoal_pickle *slab; /* nodes not yet given out */
    uint64_t slab_left, nodes, places;
    shoal_pickle **stack;
    uint64_t depth, stack_room;
    uint64_t marks[MARKS_MAX]; /* depths */
    uint64_t mark_count;
    shoal_pickle **memo;
    uint64_t memo_room;
} machine;

/* Never SHOAL_OK, which the compiler sees here. */
static shoal_status fault(const machine *m, const char *what)
{
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: pickle: %s at byte %llu", m->where, what,
                     (unsigned long long)m->opcode_at);
    return SHOAL_ERR_DATA;
}

/* ---- memory ---- */

static shoal_status new_node(machine *m, shoal_pickle_kind kind, shoal_pickle **out)
{
    if (m->slab_left == 0) {
        void *block;
        if (m->nodes >= NODES_MAX)
            return fault(m, "more than 8 million values");
        SHOAL_TRY(shoal_arena_array(m->arena, SLAB, sizeof(shoal_pickle), &block));
        m->slab = block;
        m->slab_left = SLAB;
        m->nodes += SLAB;
    }
    m->slab_left--;
    *out = m->slab++;
    (*out)->kind = kind;
    return SHOAL_OK;
}

static shoal_status new_places(machine *m, uint64_t count, shoal_pickle ***out)
{
    void *block;
    m->places += count;
    if (m->places > PLACES_MAX)
        return fault(m, "more than 32 million places in tuples, lists and dicts");
    SHOAL_TRY(shoal_arena_array(m->arena, count, sizeof(shoal_pickle *), &block));
    *out = block;
    return SHOAL_OK;
}

static shoal_status push(machine *m, shoal_pickle *value)
{
    if (m->depth == m->stack_room) {
        const uint64_t room = m->stack_room ? 2 * m->stack_room : 256;
        if (room > DEPTH_MAX)
            return fault(m, "a stack of more than a million values");
        void *stack = m->stack;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *m->stack, &stack));
        m->stack = stack;
        m->stack_room = room;
    }
    m->stack[m->depth++] = value;
    return SHOAL_OK;
}

/* Values above the last mark, or all. */
static uint64_t above_mark(const machine *m)
{
    return m->depth - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

static shoal_status pop(machine *m, shoal_pickle **out)
{
    if (above_mark(m) == 0)
        return fault(m, "an opcode that finds no value");
    *out = m->stack[--m->depth];
    return SHOAL_OK;
}

/* *count values from `*from` on, those above the last mark, which is taken away with them. */
static shoal_status pop_mark(machine *m, shoal_pickle ***from, uint64_t *count)
{
    if (m->mark_count == 0)
        return fault(m, "an opcode that finds no mark");
    *count = above_mark(m);
    m->depth = m->marks[--m->mark_count];
    *from = m->depth + *count ? m->stack + m->depth : NULL;
    return SHOAL_OK;
}

/* ---- bytes ---- */

static shoal_status take(machine *m, uint64_t bytes, const uint8_t **out)
{
    if (bytes > m->bytes - m->at)
        return fault(m, "an opcode whose argument is cut off");
    *out = m->data + m->at;
    m->at += bytes;
    return SHOAL_OK;
}

/* A little-endian number of `bytes` (at most 8) bytes, signed or not. */
static shoal_status take_number(machine *m, uint64_t bytes, bool is_signed, int64_t *out)
{
    const uint8_t *from;
    uint64_t value = 0;
    SHOAL_TRY(take(m, bytes, &from));
    for (uint64_t i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    if (is_signed && bytes > 0 && bytes < 8 && from[bytes - 1] & 0x80)
        value |= ~(uint64_t)0 << (8 * bytes);
    *out = (int64_t)value;
    return SHOAL_OK;
}

static shoal_status push_number(machine *m, uint64_t bytes, bool is_signed)
{
    shoal_pickle *node;
    int64_t value;
    SHOAL_TRY(take_number(m, bytes, is_signed, &value));
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_INTEGER, &node));
    node->as.integer = value;
    return push(m, node);
}

/* LONG1: u8 length, then two's complement. */
static shoal_status push_long(machine *m)
{
    int64_t bytes;
    SHOAL_TRY(take_number(m, 1, false, &bytes));
    if (bytes > 8)
        return fault(m, "an integer of more than 64 bits");
    return push_number(m, (uint64_t)bytes, true);
}

static shoal_status push_real(machine *m)
{
    const uint8_t *from;
    uint64_t bits = 0;
    shoal_pickle *node;
    SHOAL_TRY(take(m, 8, &from));
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | from[i];
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_REAL, &node));
    memcpy(&node->as.real, &bits, sizeof bits);
    return push(m, node);
}

static shoal_status push_text(machine *m, uint64_t length_bytes)
{
    shoal_pickle *node;
    const uint8_t *from;
    int64_t bytes;
    SHOAL_TRY(take_number(m, length_bytes, false, &bytes));
    SHOAL_TRY(take(m, (uint64_t)bytes, &from));
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_TEXT, &node));
    node->as.text = (const char *)from;
    node->count = (uint32_t)bytes;
    return push(m, node);
}

static shoal_status push_bool(machine *m, bool value)
{
    shoal_pickle *node;
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_BOOL, &node));
    node->as.integer = value;
    return push(m, node);
}

static shoal_status push_empty(machine *m, shoal_pickle_kind kind)
{
    shoal_pickle *node;
    SHOAL_TRY(new_node(m, kind, &node));
    return push(m, node);
}

/* ---- containers ---- */

static shoal_status push_tuple(machine *m, shoal_pickle *const *from, uint64_t count)
{
    shoal_pickle *node;
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_TUPLE, &node));
    if (count > 0)
        SHOAL_TRY(new_places(m, count, &node->as.items));
    for (uint64_t i = 0; i < count; i++)
        node->as.items[i] = from[i];
    node->count = (uint32_t)count;
    return push(m, node);
}

static shoal_status tuple_of_marked(machine *m)
{
    shoal_pickle **from;
    uint64_t count;
    SHOAL_TRY(pop_mark(m, &from, &count));
    return push_tuple(m, from, count);
}

static shoal_status tuple_of(machine *m, uint64_t count)
{
    if (above_mark(m) < count)
        return fault(m, "an opcode that finds no value");
    m->depth -= count;
    return push_tuple(m, m->stack + m->depth, count);
}

/* Put `count` values from `from` behind the items of `to`. */
static shoal_status append(machine *m, shoal_pickle *to, shoal_pickle *const *from, uint64_t count)
{
    if (to->count + count > to->room) {
        const uint64_t room = 2 * (uint64_t)to->count + count + 2;
        shoal_pickle **items;
        SHOAL_TRY(new_places(m, room, &items));
        for (uint32_t i = 0; i < to->count; i++)
            items[i] = to->as.items[i];
        to->as.items = items;
        to->room = (uint32_t)room;
    }
    for (uint64_t i = 0; i < count; i++)
        to->as.items[to->count++] = from[i];
    return SHOAL_OK;
}

/* APPENDS and SETITEMS: what lies above the mark goes into the list or dict below it. */
static shoal_status fill(machine *m, shoal_pickle_kind kind)
{
    shoal_pickle **from, *to;
    uint64_t count;
    SHOAL_TRY(pop_mark(m, &from, &count));
    SHOAL_TRY(pop(m, &to));
    if (to->kind != kind)
        return fault(m, kind == SHOAL_PICKLE_LIST ? "items for something that is no list"
                                                  : "items for something that is no dict");
    if (kind == SHOAL_PICKLE_DICT && count % 2)
        return fault(m, "a key without a value");
    SHOAL_TRY(append(m, to, from, count));
    return push(m, to);
}

/* APPEND and SETITEM: the same for one item. */
static shoal_status fill_one(machine *m, shoal_pickle_kind kind)
{
    const uint64_t count = kind == SHOAL_PICKLE_LIST ? 1 : 2;
    if (above_mark(m) < count + 1)
        return fault(m, "an opcode that finds no value");
    shoal_pickle *to = m->stack[m->depth - count - 1];
    if (to->kind != kind)
        return fault(m, "an item for something that is neither list nor dict");
    SHOAL_TRY(append(m, to, m->stack + m->depth - count, count));
    m->depth -= count;
    return SHOAL_OK;
}

/* ---- globals and calls ---- */

static shoal_status take_line(machine *m, const char **text, size_t *bytes)
{
    const uint8_t *from = m->data + m->at;
    const uint8_t *end = memchr(from, '\n', (size_t)(m->bytes - m->at));
    if (!end)
        return fault(m, "an opcode whose argument is cut off");
    *text = (const char *)from;
    *bytes = (size_t)(end - from);
    m->at += *bytes + 1;
    return SHOAL_OK;
}

static void copy_quoted(const char *text, size_t bytes, char *out, size_t room)
{
    char whole[SHOAL_QUOTED_ROOM];
    const size_t kept = bytes < sizeof whole - 1 ? bytes : sizeof whole - 1;
    memcpy(whole, text, kept);
    whole[kept] = '\0';
    for (size_t i = 0; i < kept; i++)
        if ((unsigned char)whole[i] >= 0x7f)
            whole[i] = '?';
    (void)shoal_quoted(whole, out, room);
}

static shoal_status push_global(machine *m)
{
    const char *module, *name;
    size_t module_bytes, name_bytes;
    shoal_pickle *node;
    SHOAL_TRY(take_line(m, &module, &module_bytes));
    SHOAL_TRY(take_line(m, &name, &name_bytes));
    const shoal_pickle_global *found =
        shoal_pickle_global_find(module, module_bytes, name, name_bytes);
    if (!found) {
        char a[SHOAL_QUOTED_ROOM], b[SHOAL_QUOTED_ROOM];
        copy_quoted(module, module_bytes, a, sizeof a);
        copy_quoted(name, name_bytes, b, sizeof b);
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: pickle: '%s %s' at byte %llu is not on the list of what a "
                          "checkpoint may name; nothing of the file was executed",
                          m->where, a, b, (unsigned long long)m->opcode_at);
    }
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_GLOBAL, &node));
    node->as.global = found;
    return push(m, node);
}

/* REDUCE and NEWOBJ: a global and a tuple of arguments become a call. */
static shoal_status call(machine *m)
{
    shoal_pickle *callee, *arguments, *node;
    SHOAL_TRY(pop(m, &arguments));
    SHOAL_TRY(pop(m, &callee));
    if (callee->kind != SHOAL_PICKLE_GLOBAL || !callee->as.global->callable)
        return fault(m, "a call of something that may not be called");
    if (arguments->kind != SHOAL_PICKLE_TUPLE)
        return fault(m, "arguments that are no tuple");
    if (callee->as.global->kind == SHOAL_GLOBAL_ORDERED_DICT) {
        if (arguments->count != 0)
            return fault(m, "an OrderedDict that is made from something");
        return push_empty(m, SHOAL_PICKLE_DICT);
    }
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_CALL, &node));
    SHOAL_TRY(new_places(m, 3, &node->as.items));
    node->as.items[0] = callee;
    node->as.items[1] = arguments;
    node->count = 3;
    return push(m, node);
}

/* BUILD: a dict's attributes (state dicts carry _metadata) mean nothing; a call keeps its state. */
static shoal_status build(machine *m)
{
    shoal_pickle *state, *object;
    SHOAL_TRY(pop(m, &state));
    SHOAL_TRY(pop(m, &object));
    if (object->kind == SHOAL_PICKLE_CALL && !object->as.items[2])
        object->as.items[2] = state;
    else if (object->kind != SHOAL_PICKLE_DICT)
        return fault(m, "a state for something that has none");
    return push(m, object);
}

static shoal_status push_persistent(machine *m)
{
    shoal_pickle *identity, *node;
    SHOAL_TRY(pop(m, &identity));
    SHOAL_TRY(new_node(m, SHOAL_PICKLE_PERSISTENT, &node));
    SHOAL_TRY(new_places(m, 1, &node->as.items));
    node->as.items[0] = identity;
    node->count = 1;
    return push(m, node);
}

/* ---- the memo ---- */

static shoal_status memo_put(machine *m, uint64_t index_bytes)
{
    int64_t index;
    SHOAL_TRY(take_number(m, index_bytes, false, &index));
    if (index >= MEMO_MAX || (uint64_t)index > m->at)
        return fault(m, "a memo index that is too large");
    if (above_mark(m) == 0)
        return fault(m, "an opcode that finds no value");
    if ((uint64_t)index >= m->memo_room) {
        const uint64_t room = 2 * (uint64_t)index + 256;
        void *memo = m->memo;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_CHECKPOINT, room, sizeof *m->memo, &memo));
        m->memo = memo;
        m->memo_room = room;
    }
    m->memo[index] = m->stack[m->depth - 1];
    return SHOAL_OK;
}

static shoal_status memo_get(machine *m, uint64_t index_bytes)
{
    int64_t index;
    SHOAL_TRY(take_number(m, index_bytes, false, &index));
    if ((uint64_t)index >= m->memo_room || !m->memo[index])
        return fault(m, "a memo index that was never set");
    return push(m, m->memo[index]);
}

/* ---- opcodes ---- */

static shoal_status push_mark(machine *m)
{
    if (m->mark_count == MARKS_MAX)
        return fault(m, "more than 1024 marks");
    m->marks[m->mark_count++] = m->depth;
    return SHOAL_OK;
}

static shoal_status check_protocol(machine *m)
{
    int64_t protocol;
    SHOAL_TRY(take_number(m, 1, false, &protocol));
    if (protocol != 2 && protocol != 3)
        return shoal_fail(SHOAL_ERR_DATA, "%s: pickle: protocol %lld; 2 and 3 are read", m->where,
                          (long long)protocol);
    return SHOAL_OK;
}

static shoal_status unknown_opcode(const machine *m, uint8_t opcode)
{
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: pickle: the opcode 0x%02x at byte %llu is not on the list of what "
                      "torch.save writes",
                      m->where, (unsigned)opcode, (unsigned long long)m->opcode_at);
}

static shoal_status container_step(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case ')': return push_tuple(m, NULL, 0);
    case 't': return tuple_of_marked(m);
    case 0x85: return tuple_of(m, 1);
    case 0x86: return tuple_of(m, 2);
    case 0x87: return tuple_of(m, 3);
    case ']': return push_empty(m, SHOAL_PICKLE_LIST);
    case 'a': return fill_one(m, SHOAL_PICKLE_LIST);
    case 'e': return fill(m, SHOAL_PICKLE_LIST);
    case '}': return push_empty(m, SHOAL_PICKLE_DICT);
    case 's': return fill_one(m, SHOAL_PICKLE_DICT);
    case 'u': return fill(m, SHOAL_PICKLE_DICT);
    case 0x8f: return push_empty(m, SHOAL_PICKLE_LIST); /* a set: nothing asks what is in it */
    case 'c': return push_global(m);
    case 'R': return call(m);
    case 0x81: return call(m);
    case 'b': return build(m);
    case 'Q': return push_persistent(m);
    default: return unknown_opcode(m, opcode);
    }
}

static shoal_status step(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: return check_protocol(m);
    case '(': return push_mark(m);
    case 'N': return push_empty(m, SHOAL_PICKLE_NONE);
    case 0x88: return push_bool(m, true);
    case 0x89: return push_bool(m, false);
    case 'J': return push_number(m, 4, true);
    case 'K': return push_number(m, 1, false);
    case 'M': return push_number(m, 2, false);
    case 0x8a: return push_long(m);
    case 'G': return push_real(m);
    case 'X': return push_text(m, 4);
    case 'U': return push_text(m, 1);
    case 'q': return memo_put(m, 1);
    case 'r': return memo_put(m, 4);
    case 'h': return memo_get(m, 1);
    case 'j': return memo_get(m, 4);
    default: return container_step(m, opcode);
    }
}

static shoal_status run(machine *m, const shoal_pickle **out)
{
    shoal_pickle *top;
    for (;;) {
        m->opcode_at = m->at;
        if (m->at == m->bytes)
            return fault(m, "no STOP; it is cut off");
        const uint8_t opcode = m->data[m->at++];
        if (opcode == '.')
            break;
        SHOAL_TRY(step(m, opcode));
    }
    if (m->mark_count != 0 || m->depth != 1)
        return fault(m, "more or less than one value left");
    SHOAL_TRY(pop(m, &top));
    *out = top;
    return SHOAL_OK;
}

shoal_status shoal_pickle_read(const uint8_t *data, uint64_t bytes, const char *where,
                               shoal_arena *arena, const shoal_pickle **out)
{
    machine m = {.where = where, .data = data, .bytes = bytes, .arena = arena};
    if (bytes > SHOAL_PICKLE_BYTES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a pickle of %llu bytes; the limit is %u", where,
                          (unsigned long long)bytes, SHOAL_PICKLE_BYTES_MAX);
    const shoal_status st = run(&m, out);
    shoal_free(m.stack);
    shoal_free(m.memo);
    return st;
}

/* ---- looking at values ---- */

bool shoal_pickle_is_text(const shoal_pickle *value, const char *text)
{
    return value && value->kind == SHOAL_PICKLE_TEXT &&
           shoal_text_is(value->as.text, value->count, text);
}

bool shoal_pickle_names(const shoal_pickle *value, shoal_global_kind kind)
{
    return value && value->kind == SHOAL_PICKLE_GLOBAL && value->as.global->kind == kind;
}

bool shoal_pickle_calls(const shoal_pickle *value, shoal_global_kind kind)
{
    return value && value->kind == SHOAL_PICKLE_CALL &&
           shoal_pickle_names(value->as.items[0], kind);
}

const shoal_pickle *shoal_pickle_argument(const shoal_pickle *call_node, uint32_t index)
{
    const shoal_pickle *arguments = call_node->as.items[1];
    return index < arguments->count ? arguments->as.items[index] : NULL;
}

const shoal_pickle *shoal_pickle_lookup(const shoal_pickle *dict, const char *key)
{
    if (!dict || dict->kind != SHOAL_PICKLE_DICT)
        return NULL;
    for (uint32_t i = dict->count; i > 0; i -= 2)
        if (shoal_pickle_is_text(dict->as.items[i - 2], key))
            return dict->as.items[i - 1];
    return NULL;
}

#include "coordinator/text/vocab.h"

#include <string.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

typedef struct {
    uint32_t at, bytes; /* in `strings` */
    unsigned kind;      /* 0: a hole    */
} entry;

typedef struct {
    uint32_t tag;  /* part of the hash, so that most others are told apart here */
    int32_t taken; /* id + 1; 0 = free */
} slot;

struct shoal_vocab {
    entry *entries; /* [capacity] by id                              */
    size_t capacity, size, count, expected;
    slot *slots; /* open addressing, [mask + 1] */
    size_t mask;
    shoal_strbuf strings;
};

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static uint64_t hash(const char *text, size_t bytes)
{
    uint64_t h = bytes, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, text, bytes);
    return mix(mix(h, word), 0);
}

static uint32_t tag_of(uint64_t h)
{
    return (uint32_t)(h >> 32);
}

/* The slot that holds the string of this hash, or the free one where it would go. */
static slot *slot_of(const shoal_vocab *v, uint64_t h, const char *text, size_t bytes)
{
    size_t at = h & v->mask;
    for (; v->slots[at].taken; at = (at + 1) & v->mask) {
        if (v->slots[at].tag != tag_of(h))
            continue;
        const entry *e = &v->entries[v->slots[at].taken - 1];
        if (e->bytes == bytes && memcmp(v->strings.data + e->at, text, bytes) == 0)
            break;
    }
    return &v->slots[at];
}

/* A table of at least twice the tokens it will hold. */
static shoal_status rehash(shoal_vocab *v, size_t tokens)
{
    size_t slots = 16;
    void *block;
    while (slots < 2 * tokens)
        slots *= 2;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, slots, sizeof *v->slots, &block));
    shoal_free(v->slots);
    v->slots = block;
    v->mask = slots - 1;
    for (size_t id = 0; id < v->size; id++) {
        const entry *e = &v->entries[id];
        if (!e->kind)
            continue;
        const char *text = v->strings.data + e->at;
        const uint64_t h = hash(text, e->bytes);
        *slot_of(v, h, text, e->bytes) = (slot){tag_of(h), (int32_t)id + 1};
    }
    return SHOAL_OK;
}

shoal_status shoal_vocab_create(size_t tokens, shoal_vocab **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_vocab), &block));
    shoal_vocab *v = block;
    if (tokens > SHOAL_VOCAB_MAX)
        tokens = SHOAL_VOCAB_MAX;
    SHOAL_TRY_GOTO(rehash(v, tokens), destroy);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_TEXT, tokens ? tokens : 1, sizeof *v->entries, &block),
        destroy);
    v->entries = block;
    v->capacity = tokens ? tokens : 1;
    v->expected = tokens;
    /* Never NULL, so that an empty token has an address too. */
    SHOAL_TRY_GOTO(shoal_strbuf_reserve(&v->strings, 1), destroy);
    *out = v;
    return SHOAL_OK;

destroy:
    shoal_vocab_destroy(v);
    return st;
}

void shoal_vocab_destroy(shoal_vocab *vocab)
{
    if (!vocab)
        return;
    shoal_strbuf_free(&vocab->strings);
    shoal_free(vocab->slots);
    shoal_free(vocab->entries);
    shoal_free(vocab);
}

static shoal_status check_limits(const shoal_vocab *v, int64_t id, const char *text, size_t bytes)
{
    char shown[SHOAL_UTF8_SHOW];
    if (bytes > SHOAL_VOCAB_TOKEN_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "token \"%s\" has %zu bytes (limit %u)",
                          shoal_utf8_show(text, bytes, shown), bytes, SHOAL_VOCAB_TOKEN_MAX);
    if (id < 0 || id >= (int64_t)SHOAL_VOCAB_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "token \"%s\" has id %lld (limit %u)",
                          shoal_utf8_show(text, bytes, shown), (long long)id, SHOAL_VOCAB_MAX);
    const size_t tokens = v->count > v->expected ? v->count : v->expected;
    if ((size_t)id > tokens + SHOAL_VOCAB_HOLES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "token \"%s\" has id %lld, far above the %zu tokens",
                          shoal_utf8_show(text, bytes, shown), (long long)id, tokens);
    if (bytes > SHOAL_VOCAB_STRING_MAX - v->strings.bytes)
        return shoal_fail(SHOAL_ERR_DATA, "the tokens have more than %u bytes together",
                          SHOAL_VOCAB_STRING_MAX);
    return SHOAL_OK;
}

/* Is the token there already (*known), or is its id or string taken by another? */
static shoal_status check_taken(const shoal_vocab *v, int64_t id, const char *text, size_t bytes,
                                bool *known)
{
    char shown[SHOAL_UTF8_SHOW], other[SHOAL_UTF8_SHOW];
    size_t there;
    const int32_t taken = slot_of(v, hash(text, bytes), text, bytes)->taken - 1;
    const char *piece = shoal_vocab_piece(v, id, &there);
    if (taken >= 0 && taken != id)
        return shoal_fail(SHOAL_ERR_DATA, "token \"%s\" has two ids, %d and %lld",
                          shoal_utf8_show(text, bytes, shown), taken, (long long)id);
    if (taken < 0 && piece)
        return shoal_fail(SHOAL_ERR_DATA, "id %lld is given to two tokens, \"%s\" and \"%s\"",
                          (long long)id, shoal_utf8_show(piece, there, other),
                          shoal_utf8_show(text, bytes, shown));
    *known = taken >= 0;
    return SHOAL_OK;
}

static shoal_status make_room(shoal_vocab *v, size_t id)
{
    if (id >= v->capacity) {
        const size_t wanted = id + 1 > v->capacity + v->capacity / 2 ? id + 1 : 2 * v->capacity;
        void *block = v->entries;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *v->entries, &block));
        v->entries = block;
        v->capacity = wanted;
    }
    if (2 * (v->count + 1) > v->mask + 1)
        SHOAL_TRY(rehash(v, 2 * (v->count + 1)));
    return SHOAL_OK;
}

shoal_status shoal_vocab_add(shoal_vocab *v, int64_t id, const char *text, size_t bytes,
                             unsigned kind)
{
    bool known = false;
    SHOAL_TRY(check_limits(v, id, text, bytes));
    SHOAL_TRY(check_taken(v, id, text, bytes, &known));
    if (known) {
        v->entries[id].kind |= kind;
        return SHOAL_OK;
    }
    SHOAL_TRY(make_room(v, (size_t)id));
    const size_t at = v->strings.bytes;
    SHOAL_TRY(shoal_strbuf_append(&v->strings, text, bytes));
    const uint64_t h = hash(text, bytes);
    *slot_of(v, h, text, bytes) = (slot){tag_of(h), (int32_t)id + 1};
    v->entries[id] = (entry){(uint32_t)at, (uint32_t)bytes, kind};
    v->count++;
    if ((size_t)id >= v->size)
        v->size = (size_t)id + 1;
    return SHOAL_OK;
}

int32_t shoal_vocab_find(const shoal_vocab *v, const char *text, size_t bytes, unsigned kind)
{
    const int32_t id = slot_of(v, hash(text, bytes), text, bytes)->taken - 1;
    return id >= 0 && v->entries[id].kind & kind ? id : -1;
}

const char *shoal_vocab_piece(const shoal_vocab *v, int64_t id, size_t *bytes)
{
    if (id < 0 || (uint64_t)id >= v->size || !v->entries[id].kind)
        return NULL;
    *bytes = v->entries[id].bytes;
    return v->strings.data + v->entries[id].at;
}

unsigned shoal_vocab_kind(const shoal_vocab *v, int64_t id)
{
    return id >= 0 && (uint64_t)id < v->size ? v->entries[id].kind : 0;
}

size_t shoal_vocab_count(const shoal_vocab *v)
{
    return v->count;
}

size_t shoal_vocab_size(const shoal_vocab *v)
{
    return v->size;
}

#include "coordinator/text/vocab.h"

#include <string.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

typedef struct {
    uint32_t at, bytes; /* in `strings` */
    unsigned kind;      /* 0: a hole    */
} entry;

struct shoal_vocab {
    entry *entries; /* [capacity] by id                              */
    size_t capacity, size, count, expected;
    int32_t *slots; /* open addressing, id + 1; 0 = free; [mask + 1] */
    size_t mask;
    shoal_strbuf strings;
};

static uint64_t hash(const char *text, size_t bytes)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ bytes;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001B3u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

/* The slot that holds the string, or the free one where it would go. */
static size_t slot_of(const shoal_vocab *v, const char *text, size_t bytes)
{
    size_t at = hash(text, bytes) & v->mask;
    while (v->slots[at]) {
        const entry *e = &v->entries[v->slots[at] - 1];
        if (e->bytes == bytes && memcmp(v->strings.data + e->at, text, bytes) == 0)
            break;
        at = (at + 1) & v->mask;
    }
    return at;
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
        if (e->kind)
            v->slots[slot_of(v, v->strings.data + e->at, e->bytes)] = (int32_t)id + 1;
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
    const int32_t taken = v->slots[slot_of(v, text, bytes)] - 1;
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
    v->slots[slot_of(v, text, bytes)] = (int32_t)id + 1;
    v->entries[id] = (entry){(uint32_t)at, (uint32_t)bytes, kind};
    v->count++;
    if ((size_t)id >= v->size)
        v->size = (size_t)id + 1;
    return SHOAL_OK;
}

int32_t shoal_vocab_find(const shoal_vocab *v, const char *text, size_t bytes, unsigned kind)
{
    const int32_t id = v->slots[slot_of(v, text, bytes)] - 1;
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

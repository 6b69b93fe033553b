#include "coordinator/text/grammar/intern.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

#define FIRST_SLOTS 64u

static uint64_t hash_of(const void *key, size_t bytes)
{
    const unsigned char *at = key;
    uint64_t h = bytes;
    for (; bytes >= 4; bytes -= 4, at += 4) {
        h = (h ^ shoal_load_le32(at)) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 32;
    }
    for (; bytes > 0; bytes--)
        h = (h ^ *at++) * UINT64_C(0x100000001B3);
    return h ^ h >> 29;
}

const void *shoal_intern_key(const shoal_intern *table, int32_t number, size_t *bytes)
{
    const shoal_span place = table->places.data[number];
    *bytes = place.end - place.begin - 1;
    return table->keys.data + place.begin;
}

int32_t shoal_intern_count(const shoal_intern *table)
{
    return (int32_t)table->places.count;
}

/* The slot of the key: taken by it, or free. There is always a free one. */
static size_t slot_of(const shoal_intern *table, const void *key, size_t bytes)
{
    size_t slot = (size_t)hash_of(key, bytes) & (table->slot_count - 1);
    while (table->slots[slot]) {
        size_t have;
        const void *other = shoal_intern_key(table, table->slots[slot] - 1, &have);
        if (have == bytes && (bytes == 0 || memcmp(other, key, bytes) == 0))
            break;
        slot = (slot + 1) & (table->slot_count - 1);
    }
    return slot;
}

/* At most two thirds of the slots are taken. */
static shoal_status make_room(shoal_intern *table)
{
    if ((table->places.count + 1) * 3 <= table->slot_count * 2)
        return SHOAL_OK;
    void *slots;
    const size_t count = table->slot_count ? table->slot_count * 2 : FIRST_SLOTS;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof *table->slots, &slots));
    shoal_free(table->slots);
    table->slots = slots;
    table->slot_count = count;
    for (int32_t i = 0; i < shoal_intern_count(table); i++) {
        size_t bytes;
        const void *key = shoal_intern_key(table, i, &bytes);
        table->slots[slot_of(table, key, bytes)] = i + 1;
    }
    return SHOAL_OK;
}

/* A byte behind each key keeps empty ones apart in `places`, which drops empty spans. */
static shoal_status append_key(shoal_intern *table, const void *key, size_t bytes)
{
    static const char padding[8];
    const size_t begin = table->keys.bytes;
    SHOAL_TRY(shoal_strbuf_reserve(&table->keys, bytes + sizeof padding));
    SHOAL_TRY(shoal_spans_push(&table->places, begin, begin + bytes + 1));
    SHOAL_TRY(shoal_strbuf_append(&table->keys, key, bytes));
    return shoal_strbuf_append(&table->keys, padding, sizeof padding - bytes % sizeof padding);
}

shoal_status shoal_intern_put(shoal_intern *table, const void *key, size_t bytes, int32_t *number,
                              bool *fresh)
{
    SHOAL_TRY(make_room(table));
    const size_t slot = slot_of(table, key, bytes);
    const bool missing = table->slots[slot] == 0;
    if (missing) {
        if (table->places.count >= INT32_MAX - 1)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "more than %d things to number", INT32_MAX - 1);
        SHOAL_TRY(append_key(table, key, bytes));
        table->slots[slot] = (int32_t)table->places.count;
    }
    if (fresh)
        *fresh = missing;
    *number = table->slots[slot] - 1;
    return SHOAL_OK;
}

void shoal_intern_free(shoal_intern *table)
{
    shoal_free(table->slots);
    shoal_spans_free(&table->places);
    shoal_strbuf_free(&table->keys);
    *table = (shoal_intern){0};
}

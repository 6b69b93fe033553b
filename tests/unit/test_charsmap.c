/* The charsmap against a plain list of keys: a trie made here by the published layout of double
 * arrays, random texts over a small alphabet, and damaged blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/charsmap.h"
#include "proto/bytes.h"

typedef struct {
    const char *key, *value;
} rule;

/* Keys of one another's beginnings, keys that differ in the last byte of a character, an empty
 * replacement, and one longer than its key. */
static const rule rules[] = {
    {"a", "A"},         {"ab", "B!"}, {"abc", ""},           {"\xC3\xA9", "e"},
    {"e\xCC\x81", "E"}, {"\t", " "},  {"\xC2\xA0", " "},     {"\xE2\x84\xA2", "TM"},
    {"ba", "\xC3\xA4"}, {"bab", "x"}, {"\xEF\xBD\x81", "a"},
};
enum { RULES = sizeof rules / sizeof rules[0] };

/* Every node has a block of 256 units for its children: no clever packing, the same layout. */
#define UNITS_MAX (64u << 8)
#define LEAF_BIT  (1u << 8)
#define VALUE_BIT (1u << 31)

typedef struct {
    uint32_t units[UNITS_MAX];
    uint32_t blocks;
    char text[256];
    size_t bytes;
} maker;

/* Block of the children of a node, which is given one if it has none. */
static uint32_t children(maker *m, uint32_t node)
{
    const uint32_t offset = m->units[node] >> 10;
    if (offset)
        return node ^ offset;
    const uint32_t block = m->blocks++ << 8;
    assert_true(block < UNITS_MAX);
    m->units[node] |= (node ^ block) << 10;
    return block;
}

static void add_rule(maker *m, const rule *r)
{
    uint32_t node = 0;
    for (const char *c = r->key; *c; c++) {
        node = children(m, node) | (unsigned char)*c;
        m->units[node] |= (unsigned char)*c;
    }
    m->units[children(m, node)] = VALUE_BIT | (uint32_t)m->bytes;
    m->units[node] |= LEAF_BIT;
    memcpy(m->text + m->bytes, r->value, strlen(r->value) + 1);
    m->bytes += strlen(r->value) + 1;
}

static unsigned char *make_blob(size_t *bytes)
{
    maker *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->blocks = 1;
    for (size_t i = 0; i < RULES; i++)
        add_rule(m, &rules[i]);
    const size_t trie = (size_t)m->blocks * 256 * 4;
    *bytes = 4 + trie + m->bytes;
    unsigned char *blob = malloc(*bytes);
    assert_non_null(blob);
    shoal_store_le32(blob, (uint32_t)trie);
    for (size_t i = 0; i < trie / 4; i++)
        shoal_store_le32(blob + 4 + 4 * i, m->units[i]);
    memcpy(blob + 4 + trie, m->text, m->bytes);
    free(m);
    return blob;
}

static const rule *longest(const char *text)
{
    const rule *best = NULL;
    for (size_t i = 0; i < RULES; i++)
        if (strncmp(text, rules[i].key, strlen(rules[i].key)) == 0 &&
            (!best || strlen(rules[i].key) > strlen(best->key)))
            best = &rules[i];
    return best;
}

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void test_random_texts(void **state)
{
    (void)state;
    static const char *const parts[] = {"a", "b",        "c",        "e",  "\xCC\x81",
                                        "z", "\xC3\xA9", "\xC3\xAA", "\t", "\xE2\x84\xA2"};
    size_t bytes;
    unsigned char *blob = make_blob(&bytes);
    shoal_charsmap *map;
    assert_int_equal(shoal_charsmap_create(blob, bytes, &map), SHOAL_OK);
    free(blob);
    for (int round = 0; round < 2000; round++) {
        char text[64] = "";
        for (unsigned n = 1 + draw(8); n > 0; n--)
            strcat(text, parts[draw(sizeof parts / sizeof parts[0])]);
        for (const char *at = text; *at;) {
            const char *got;
            size_t got_bytes;
            const rule *want = longest(at);
            const size_t step = shoal_charsmap_next(map, at, strlen(at), &got, &got_bytes);
            if (want) {
                assert_int_equal(step, strlen(want->key));
                assert_int_equal(got_bytes, strlen(want->value));
                assert_memory_equal(got, want->value, got_bytes);
            } else {
                assert_ptr_equal(got, at);
                assert_int_equal(step, got_bytes);
                assert_int_equal(step, (unsigned char)*at >= 0x80 ? 2 : 1);
            }
            at += step;
        }
    }
    shoal_charsmap_destroy(map);
}

/* What is cut or changed is refused, or walked without leaving its memory. */
static void test_damage(void **state)
{
    (void)state;
    static const char text[] = "abcabab\xC3\xA9\xE2\x84\xA2";
    size_t bytes;
    unsigned char *blob = make_blob(&bytes);
    shoal_charsmap *map;
    for (size_t cut = 0; cut < bytes; cut += cut < 64 || cut + 64 > bytes ? 1 : 509)
        if (blob[cut ? cut - 1 : 0] != 0 || cut < bytes - 64)
            assert_int_equal(shoal_charsmap_create(blob, cut, &map), SHOAL_ERR_DATA);
    for (int round = 0; round < 3000; round++) {
        unsigned char *copy = malloc(bytes);
        assert_non_null(copy);
        memcpy(copy, blob, bytes);
        for (unsigned n = 1 + draw(40); n > 0; n--)
            copy[draw((unsigned)bytes)] = (unsigned char)draw(256);
        if (shoal_charsmap_create(copy, bytes, &map) == SHOAL_OK) {
            for (size_t at = 0; at < sizeof text - 1;) {
                const char *got;
                size_t got_bytes;
                at += shoal_charsmap_next(map, text + at, sizeof text - 1 - at, &got, &got_bytes);
                assert_true(at < sizeof text);
            }
            shoal_charsmap_destroy(map);
        }
        free(copy);
    }
    free(blob);
}

/* A blob of one block of units, all zero but those that `set` says, and the replacements
 * "\xC3\xA9". */
typedef struct {
    uint32_t at, unit;
} unit_at;

static shoal_status open_units(const unit_at *set, size_t count, shoal_charsmap **map)
{
    unsigned char blob[4 + 4 * 256 + 3] = {0};
    shoal_store_le32(blob, 4 * 256);
    for (size_t i = 0; i < count; i++)
        shoal_store_le32(blob + 4 + 4 * set[i].at, set[i].unit);
    memcpy(blob + 4 + 4 * 256, "\xC3\xA9", 3);
    return shoal_charsmap_create(blob, sizeof blob, map);
}

/* The root's children lie at its offset, 0 here: unit 'a' is the child for that byte. */
static void test_hostile_tries(void **state)
{
    (void)state;
    const unit_at far_root[] = {{0, VALUE_BIT | 0x3FFFFC00u}};
    const unit_at inner_value[] = {{'a', 'a' | LEAF_BIT | ('a' ^ 'b') << 10}, {'b', VALUE_BIT | 1}};
    const unit_at circle[] = {{'a', 'a' | 'a' << 10}}; /* its child for 'a' is itself */
    const unit_at good[] = {{'a', 'a' | LEAF_BIT | ('a' ^ 'b') << 10}, {'b', VALUE_BIT}};
    shoal_charsmap *map;
    const char *got;
    size_t bytes;
    assert_int_equal(open_units(far_root, 1, &map), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "outside"));
    assert_int_equal(open_units(inner_value, 2, &map), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "replacement"));
    assert_int_equal(open_units(circle, 1, &map), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "key of more than"));
    assert_int_equal(open_units(good, 2, &map), SHOAL_OK);
    assert_int_equal(shoal_charsmap_next(map, "aa", 2, &got, &bytes), 1);
    assert_int_equal(bytes, 2);
    shoal_charsmap_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_hostile_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

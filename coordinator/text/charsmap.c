#include "coordinator/text/charsmap.h"

#include <stdbool.h>
#include <string.h>

#include "coordinator/text/utf8.h"
#include "proto/arena.h"
#include "proto/bytes.h"

struct shoal_charsmap {
    uint32_t *units;
    size_t count;
    char *replacements; /* each ended by a zero byte, the last one too */
    size_t bytes;
};

/* ---- a unit of the double array ----
 *
 * A node's children lie at (its own index ^ its offset) ^ byte; the child for byte 0 is the node's
 * value, a unit with the highest bit set. */

#define UNIT_IS_VALUE (1u << 31)

static bool has_value(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t label_of(uint32_t unit)
{
    return unit & (UNIT_IS_VALUE | 0xFF);
}

static uint32_t value_of(uint32_t unit)
{
    return unit & ~UNIT_IS_VALUE;
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* ---- construction ---- */

/* A trie on its way through the check. heights[i]: 1 + bytes of the longest key behind node i that
 * was checked, 0 for one that was not. Nodes may be shared, so this is what keeps the check linear;
 * that no key is too long is what ends it where nodes lead back to themselves. */
typedef struct {
    const shoal_charsmap *map;
    uint16_t *heights;
} trie_check;

/* The value of a node must be the beginning of a replacement's character. */
static shoal_status check_value(const shoal_charsmap *map, uint32_t value)
{
    if (value >= map->bytes || ((unsigned char)map->replacements[value] & 0xC0) == 0x80)
        return shoal_fail(SHOAL_ERR_DATA, "the charsmap names a replacement it does not have");
    return SHOAL_OK;
}

/* Whatever bytes come next, the walk from a node that `depth` bytes lead to stays inside and ends.
 * It calls itself for its children, at most SHOAL_CHARSMAP_KEY_MAX deep. */
static shoal_status check_node(trie_check *c, size_t node, size_t depth)
{
    const shoal_charsmap *map = c->map;
    const uint32_t unit = map->units[node];
    const size_t base = node ^ offset_of(unit);
    size_t height = 1;
    if (unit & UNIT_IS_VALUE || (base | 0xFF) >= map->count)
        return shoal_fail(SHOAL_ERR_DATA, "the charsmap's trie points outside itself");
    if (has_value(unit))
        SHOAL_TRY(check_value(map, value_of(map->units[base])));
    for (uint32_t byte = 1; byte < 256; byte++) {
        const size_t child = base ^ byte;
        if (label_of(map->units[child]) != byte)
            continue;
        if (depth + 1 + c->heights[child] > SHOAL_CHARSMAP_KEY_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "the charsmap has a key of more than %u bytes",
                              SHOAL_CHARSMAP_KEY_MAX);
        if (c->heights[child] == 0)
            SHOAL_TRY(check_node(c, child, depth + 1));
        if (height < 1u + c->heights[child])
            height = 1u + c->heights[child];
    }
    c->heights[node] = (uint16_t)height;
    return SHOAL_OK;
}

static shoal_status check_trie(const shoal_charsmap *map)
{
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, map->count, sizeof(uint16_t), &block));
    trie_check c = {map, block};
    const shoal_status st = check_node(&c, 0, 0);
    shoal_free(block);
    return st;
}

static shoal_status check_replacements(const char *text, size_t bytes)
{
    if (bytes == 0 || text[bytes - 1] != '\0')
        return shoal_fail(SHOAL_ERR_DATA, "the charsmap's last replacement is cut off");
    if (shoal_utf8_valid(text, bytes) != bytes)
        return shoal_fail(SHOAL_ERR_DATA, "the charsmap's replacements are not UTF-8");
    return SHOAL_OK;
}

static shoal_status copy_blob(shoal_charsmap *map, const unsigned char *trie, const char *rest)
{
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, map->count, sizeof *map->units, &block));
    map->units = block;
    for (size_t i = 0; i < map->count; i++)
        map->units[i] = shoal_load_le32(trie + 4 * i);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, map->bytes, &block));
    map->replacements = block;
    memcpy(map->replacements, rest, map->bytes);
    return SHOAL_OK;
}

shoal_status shoal_charsmap_create(const void *blob, size_t bytes, shoal_charsmap **out)
{
    shoal_status st = SHOAL_OK;
    const unsigned char *data = blob;
    void *block;
    if (bytes > SHOAL_CHARSMAP_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a charsmap of %zu bytes (limit %u)", bytes,
                          SHOAL_CHARSMAP_MAX);
    const size_t trie = bytes >= 4 ? shoal_load_le32(data) : 0;
    if (trie == 0 || trie % 4 != 0 || trie > bytes - 4)
        return shoal_fail(SHOAL_ERR_DATA, "a charsmap of %zu bytes with a trie of %zu", bytes,
                          trie);
    const char *rest = (const char *)data + 4 + trie;
    SHOAL_TRY(check_replacements(rest, bytes - 4 - trie));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_charsmap), &block));
    shoal_charsmap *map = block;
    map->count = trie / 4;
    map->bytes = bytes - 4 - trie;
    SHOAL_TRY_GOTO(copy_blob(map, data + 4, rest), destroy);
    SHOAL_TRY_GOTO(check_trie(map), destroy);
    *out = map;
    return SHOAL_OK;

destroy:
    shoal_charsmap_destroy(map);
    return st;
}

void shoal_charsmap_destroy(shoal_charsmap *map)
{
    if (!map)
        return;
    shoal_free(map->replacements);
    shoal_free(map->units);
    shoal_free(map);
}

/* ---- walking ---- */

/* Length of the longest key that the text begins with, 0 if none; *value is its value. Keys end
 * with a zero byte in the trie and hold none. */
static size_t longest_key(const shoal_charsmap *map, const char *text, size_t bytes,
                          uint32_t *value)
{
    size_t length = 0;
    size_t node = offset_of(map->units[0]);
    for (size_t i = 0; i < bytes; i++) {
        const uint32_t byte = (unsigned char)text[i];
        node ^= byte;
        const uint32_t unit = map->units[node];
        if (byte == 0 || label_of(unit) != byte)
            break;
        node ^= offset_of(unit);
        if (has_value(unit)) {
            *value = value_of(map->units[node]);
            length = i + 1;
        }
    }
    return length;
}

/* A key that ends inside a character would leave half of it behind: it is none. */
static bool ends_character(const char *text, size_t bytes, size_t length)
{
    return length == bytes || ((unsigned char)text[length] & 0xC0) != 0x80;
}

size_t shoal_charsmap_next(const shoal_charsmap *map, const char *text, size_t bytes,
                           const char **replacement, size_t *replacement_bytes)
{
    uint32_t value = 0;
    size_t length = longest_key(map, text, bytes, &value);
    if (length && ends_character(text, bytes, length)) {
        *replacement = map->replacements + value;
        *replacement_bytes = strlen(*replacement);
        return length;
    }
    length = 0;
    (void)shoal_utf8_next(text, &length);
    *replacement = text;
    *replacement_bytes = length;
    return length;
}

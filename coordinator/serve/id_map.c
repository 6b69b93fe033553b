#include "coordinator/serve/id_map.h"

#include <string.h>

#include "proto/arena.h"

#define ROOM_MIN 64

shoal_status shoal_id_map_add(shoal_id_map *map, uint64_t id, void *value)
{
    if (map->count > 0 && map->items[map->count - 1].id >= id)
        return shoal_fail(SHOAL_ERR_INTERNAL, "id %llu is not higher than those before",
                          (unsigned long long)id);
    if (map->count == map->room) {
        void *array = map->items;
        const int room = map->room ? 2 * map->room : ROOM_MIN;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, (uint64_t)room, sizeof *map->items, &array));
        map->items = array;
        map->room = room;
    }
    map->items[map->count++] = (shoal_id_item){id, value};
    return SHOAL_OK;
}

/* Where the id is; -1 if nowhere. */
static int place_of(const shoal_id_map *map, uint64_t id)
{
    int low = 0, high = map->count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (map->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->count && map->items[low].id == id ? low : -1;
}

void *shoal_id_map_find(const shoal_id_map *map, uint64_t id)
{
    const int at = place_of(map, id);
    return at < 0 ? NULL : map->items[at].value;
}

void *shoal_id_map_remove(shoal_id_map *map, uint64_t id)
{
    const int at = place_of(map, id);
    if (at < 0)
        return NULL;
    void *value = map->items[at].value;
    map->count--;
    memmove(map->items + at, map->items + at + 1, (size_t)(map->count - at) * sizeof *map->items);
    return value;
}

void shoal_id_map_free(shoal_id_map *map)
{
    shoal_free(map->items);
    *map = (shoal_id_map){0};
}

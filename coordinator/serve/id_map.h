/* coordinator/serve/id_map.h - from ids that only ever rise to pointers.
 *
 * Because a new id is higher than all before it, the map is a sorted array: adding appends, finding
 * halves, removing moves what comes after. All zero is an empty map; values are not owned. */
#ifndef SHOAL_COORDINATOR_SERVE_ID_MAP_H
#define SHOAL_COORDINATOR_SERVE_ID_MAP_H

#include <stdint.h>

#include "proto/status.h"

typedef struct {
    uint64_t id;
    void *value;
} shoal_id_item;

typedef struct {
    shoal_id_item *items; /* [count], ids rising */
    int count, room;
} shoal_id_map;

/* SHOAL_ERR_INTERNAL when the id is not higher than all that are there. */
SHOAL_MUST_USE shoal_status shoal_id_map_add(shoal_id_map *map, uint64_t id, void *value);

/* The value of an id, NULL if it is not there; remove also forgets it. */
void *shoal_id_map_find(const shoal_id_map *map, uint64_t id);
void *shoal_id_map_remove(shoal_id_map *map, uint64_t id);
void shoal_id_map_free(shoal_id_map *map);

#endif

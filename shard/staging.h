/* shard/staging.h - memory of one thread between a file and a packed panel, used over and over.
 *
 * A slot grows to the largest request and is never cleared: what a tile reads there stays until
 * the next tile asks for the same slot. */
#ifndef SHOAL_SHARD_STAGING_H
#define SHOAL_SHARD_STAGING_H

#include <stdint.h>

#include "proto/arena.h"

typedef enum {
    SHOAL_STAGE_CODES,
    SHOAL_STAGE_SCALES,
    SHOAL_STAGE_ZEROS,  /* as they are stored */
    SHOAL_STAGE_STORED, /* scales as they are stored, where they must be turned */
    SHOAL_STAGE_POINTS, /* a byte each        */
    SHOAL_STAGE_SLOTS
} shoal_stage_slot;

typedef struct {
    void *block[SHOAL_STAGE_SLOTS];
    uint64_t room[SHOAL_STAGE_SLOTS];
} shoal_staging; /* {0} to begin with */

/* *out = `bytes` bytes of slot `slot`, contents undefined. */
SHOAL_MUST_USE static inline shoal_status
shoal_staging_take(shoal_staging *staging, shoal_stage_slot slot, uint64_t bytes, uint8_t **out)
{
    if (bytes > staging->room[slot] || !staging->block[slot]) {
        shoal_free(staging->block[slot]);
        staging->block[slot] = NULL;
        SHOAL_TRY(shoal_alloc_unset(SHOAL_MEM_CHECKPOINT, bytes, &staging->block[slot]));
        staging->room[slot] = bytes;
    }
    *out = staging->block[slot];
    return SHOAL_OK;
}

static inline void shoal_staging_free(shoal_staging *staging)
{
    for (int i = 0; i < SHOAL_STAGE_SLOTS; i++)
        shoal_free(staging->block[i]);
    *staging = (shoal_staging){0};
}

#endif

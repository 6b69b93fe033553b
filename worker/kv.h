/* worker/kv.h - this rank's key/value pages of every layer, in one block.
 *
 * Page numbers are the scheduler's (worker/pages.h) and mean the same on every rank; a page holds
 * SHOAL_PAGE positions of this rank's kv heads, for all layers. Contents of a free page are
 * anything: attention never lets an unwritten position count. */
#ifndef SHOAL_WORKER_KV_H
#define SHOAL_WORKER_KV_H

#include <stdint.h>

#include "kernels/backend.h"
#include "proto/arena.h"

typedef struct {
    int64_t layers, pages, kv_heads, head_dim;
    shoal_kv_type type;
} shoal_kv_shape;

typedef struct {
    shoal_kv_layer *layers;
    shoal_arena *arena;
} shoal_kv;

SHOAL_MUST_USE shoal_status shoal_kv_create(const shoal_kv_shape *shape, shoal_kv *out);
void shoal_kv_destroy(shoal_kv *kv);

#endif

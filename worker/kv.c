#include "worker/kv.h"

#include <string.h>

#include "proto/bytes.h"

shoal_status shoal_kv_create(const shoal_kv_shape *shape, shoal_kv *out)
{
    shoal_status st = SHOAL_OK;
    /* The budget has multiplied the same numbers, and checked them. */
    const uint64_t stride = (uint64_t)shape->pages * (uint64_t)shape->kv_heads *
                            shoal_kv_head_bytes(shape->type, shape->head_dim);
    shoal_kv kv = {0};
    void *table = NULL, *block = NULL;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)shape->layers, sizeof(shoal_kv_layer),
                                &table));
    SHOAL_TRY_GOTO(shoal_arena_create(SHOAL_MEM_KV, &kv.arena), free_table);
    if (stride > 0)
        SHOAL_TRY_GOTO(shoal_arena_array(kv.arena, (uint64_t)shape->layers, stride, &block),
                       destroy_arena);
    /* Taken now: a cache for which there is no memory shows here, and no step waits for pages. */
    if (stride > 0)
        memset(block, 0, (uint64_t)shape->layers * stride);
    kv.layers = table;
    for (int64_t i = 0; i < shape->layers; i++) {
        kv.layers[i] = (shoal_kv_layer){
            .base = stride ? (uint8_t *)block + (uint64_t)i * stride : NULL,
            .pages = shape->pages,
            .kv_heads = shape->kv_heads,
            .head_dim = shape->head_dim,
            .type = shape->type,
        };
    }
    *out = kv;
    return SHOAL_OK;

destroy_arena:
    shoal_arena_destroy(kv.arena);
free_table:
    shoal_free(table);
    return st;
}

void shoal_kv_destroy(shoal_kv *kv)
{
    shoal_arena_destroy(kv->arena);
    shoal_free(kv->layers);
    *kv = (shoal_kv){0};
}

/* coordinator/text/merge_heap.h - joins of neighbouring symbols that wait for their turn.
 *
 * A candidate is rank << 32 | index of its left symbol: the lowest rank comes first, the leftmost
 * of equals first. The heap does not grow: the owner of `data` makes it large enough. */
#ifndef SHOAL_COORDINATOR_TEXT_MERGE_HEAP_H
#define SHOAL_COORDINATOR_TEXT_MERGE_HEAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t *data;
    size_t count;
} shoal_merge_heap;

void shoal_merge_heap_push(shoal_merge_heap *heap, uint64_t candidate);

/* Take the first candidate of a heap that is not empty. */
uint64_t shoal_merge_heap_pop(shoal_merge_heap *heap);

#endif

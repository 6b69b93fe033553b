#include "coordinator/text/merge_heap.h"

void shoal_merge_heap_push(shoal_merge_heap *heap, uint64_t candidate)
{
    size_t at = heap->count++;
    while (at > 0 && heap->data[(at - 1) / 2] > candidate) {
        heap->data[at] = heap->data[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->data[at] = candidate;
}

uint64_t shoal_merge_heap_pop(shoal_merge_heap *heap)
{
    const uint64_t top = heap->data[0];
    const uint64_t last = heap->data[--heap->count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && heap->data[child + 1] < heap->data[child])
            child++;
        if (heap->data[child] >= last)
            break;
        heap->data[at] = heap->data[child];
        at = child;
    }
    heap->data[at] = last;
    return top;
}

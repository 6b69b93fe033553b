#include "coordinator/text/template_sort.h"

#include <string.h>

/* The sorted halves [begin, middle) and [middle, end) of `from` become one of `to`. */
static shoal_status merge(shoal_heap *heap, const shoal_entry *from, size_t begin, size_t middle,
                          size_t end, bool descending, shoal_entry *to)
{
    size_t left = begin, right = middle;
    for (size_t i = begin; i < end; i++) {
        int order = 0;
        SHOAL_TRY(shoal_heap_work(heap, 0));
        if (left < middle && right < end)
            SHOAL_TRY(shoal_value_order(heap, &from[right].key, &from[left].key, "<", &order));
        const bool take_right =
            left == middle || (right < end && (descending ? order > 0 : order < 0));
        to[i] = from[take_right ? right++ : left++];
    }
    return SHOAL_OK;
}

shoal_status shoal_entries_sorted(shoal_heap *heap, const shoal_entry *entries, size_t count,
                                  bool descending, const shoal_entry **out)
{
    void *blocks[2];
    for (int i = 0; i < 2; i++)
        SHOAL_TRY(shoal_heap_take(heap, count, sizeof *entries, &blocks[i]));
    shoal_entry *from = blocks[0], *to = blocks[1];
    if (count)
        memcpy(from, entries, count * sizeof *entries);
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            const size_t rest = count - begin;
            const size_t middle = begin + (rest < width ? rest : width);
            const size_t end = begin + (rest < 2 * width ? rest : 2 * width);
            SHOAL_TRY(merge(heap, from, begin, middle, end, descending, to));
        }
        shoal_entry *swap = from;
        from = to;
        to = swap;
    }
    *out = from;
    return SHOAL_OK;
}

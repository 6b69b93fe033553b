#include "worker/pages.h"

#include <stdbool.h>

#include "proto/arena.h"

#define WORD_BITS 64

/* One bit per page, set while the page is free. No word below `lowest` has a bit set, so taking
 * the lowest pages does not walk over the ones in use. */
struct shoal_pages {
    int32_t total, free, words, lowest;
    uint64_t *map;
};

shoal_status shoal_pages_create(int32_t count, shoal_pages **out)
{
    shoal_status st = SHOAL_OK;
    void *record, *map;
    if (count < 0)
        return shoal_fail(SHOAL_ERR_USAGE, "a pool of %d pages", count);
    const int32_t words = count / WORD_BITS + (count % WORD_BITS != 0);

    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_pages), &record));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)words, sizeof(uint64_t), &map),
                   free_record);
    shoal_pages *pages = record;
    *pages = (shoal_pages){.total = count, .free = count, .words = words, .map = map};
    for (int32_t w = 0; w < words; w++)
        pages->map[w] = UINT64_MAX;
    if (count % WORD_BITS != 0)
        pages->map[words - 1] = (UINT64_C(1) << (count % WORD_BITS)) - 1;
    *out = pages;
    return SHOAL_OK;

free_record:
    shoal_free(record);
    return st;
}

void shoal_pages_destroy(shoal_pages *pages)
{
    if (!pages)
        return;
    shoal_free(pages->map);
    shoal_free(pages);
}

shoal_status shoal_pages_take(shoal_pages *pages, int32_t count, int32_t *out)
{
    if (count < 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%d pages asked for", count);
    if (count > pages->free)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%d pages asked for, %d of %d are free", count,
                          pages->free, pages->total);
    int32_t w = pages->lowest;
    for (int32_t i = 0; i < count; i++) {
        while (pages->map[w] == 0)
            w++;
        out[i] = w * WORD_BITS + __builtin_ctzll(pages->map[w]);
        pages->map[w] &= pages->map[w] - 1;
    }
    if (count > 0)
        pages->lowest = w;
    pages->free -= count;
    return SHOAL_OK;
}

/* Mark one page free; false when it is no page of the pool or free already. */
static bool put_back(shoal_pages *pages, int32_t page)
{
    if (page < 0 || page >= pages->total)
        return false;
    const uint64_t bit = UINT64_C(1) << (page % WORD_BITS);
    if (pages->map[page / WORD_BITS] & bit)
        return false;
    pages->map[page / WORD_BITS] |= bit;
    return true;
}

shoal_status shoal_pages_give(shoal_pages *pages, const int32_t *list, int32_t count)
{
    int32_t lowest = pages->lowest;
    for (int32_t i = 0; i < count; i++) {
        if (!put_back(pages, list[i])) {
            while (i-- > 0)
                pages->map[list[i] / WORD_BITS] &= ~(UINT64_C(1) << (list[i] % WORD_BITS));
            return shoal_fail(SHOAL_ERR_INTERNAL,
                              "a page given back was not taken, or is listed twice (pool of %d)",
                              pages->total);
        }
        if (list[i] / WORD_BITS < lowest)
            lowest = list[i] / WORD_BITS;
    }
    pages->lowest = lowest;
    if (count > 0)
        pages->free += count;
    return SHOAL_OK;
}

int32_t shoal_pages_free(const shoal_pages *pages)
{
    return pages->free;
}

int32_t shoal_pages_total(const shoal_pages *pages)
{
    return pages->total;
}

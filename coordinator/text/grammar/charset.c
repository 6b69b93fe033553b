#include "coordinator/text/grammar/charset.h"

#include <stdlib.h>

#include "coordinator/text/growable.h"
#include "proto/arena.h"

static shoal_status push(shoal_charset *set, uint32_t first, uint32_t last)
{
    if (first > last)
        return SHOAL_OK;
    void *block = set->data;
    SHOAL_TRY(shoal_grow(&block, sizeof *set->data, set->count, 1, &set->capacity));
    set->data = block;
    set->data[set->count++] = (shoal_char_range){first, last};
    return SHOAL_OK;
}

shoal_status shoal_charset_add(shoal_charset *set, uint32_t first, uint32_t last)
{
    if (last < SHOAL_SURROGATE_FIRST || first > SHOAL_SURROGATE_LAST)
        return push(set, first, last);
    if (first < SHOAL_SURROGATE_FIRST)
        SHOAL_TRY(push(set, first, SHOAL_SURROGATE_FIRST - 1));
    return push(set, SHOAL_SURROGATE_LAST + 1, last);
}

shoal_status shoal_charset_join(shoal_charset *set, const shoal_charset *other)
{
    for (size_t i = 0; i < other->count; i++)
        SHOAL_TRY(push(set, other->data[i].first, other->data[i].last));
    return SHOAL_OK;
}

static int by_first(const void *a, const void *b)
{
    const shoal_char_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static bool is_sorted(const shoal_charset *set)
{
    for (size_t i = 1; i < set->count; i++)
        if (set->data[i].first < set->data[i - 1].first)
            return false;
    return true;
}

void shoal_charset_settle(shoal_charset *set)
{
    size_t kept = 0;
    if (!is_sorted(set))
        qsort(set->data, set->count, sizeof *set->data, by_first);
    for (size_t i = 0; i < set->count; i++) {
        const shoal_char_range r = set->data[i];
        if (kept && r.first <= set->data[kept - 1].last + 1) {
            if (r.last > set->data[kept - 1].last)
                set->data[kept - 1].last = r.last;
        } else {
            set->data[kept++] = r;
        }
    }
    set->count = kept;
}

shoal_status shoal_charset_negate(shoal_charset *set)
{
    shoal_status st = SHOAL_OK;
    shoal_charset rest = {0};
    uint32_t from = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->data[i].first > from)
            SHOAL_TRY_GOTO(shoal_charset_add(&rest, from, set->data[i].first - 1), fail);
        from = set->data[i].last + 1;
    }
    if (from <= SHOAL_CHAR_MAX)
        SHOAL_TRY_GOTO(shoal_charset_add(&rest, from, SHOAL_CHAR_MAX), fail);
    shoal_charset_free(set);
    *set = rest;
    return SHOAL_OK;
fail:
    shoal_charset_free(&rest);
    return st;
}

void shoal_charset_free(shoal_charset *set)
{
    shoal_free(set->data);
    *set = (shoal_charset){0};
}

/* coordinator/text/template_sort.h - the one order of all that sorts: stable, and it may fail. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_SORT_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_SORT_H

#include "coordinator/text/template_value.h"

/* *out = the entries by ascending (or descending) key; equal keys keep their order. The given
 * ones stay as they are. SHOAL_ERR_DATA when two keys have no order. */
SHOAL_MUST_USE shoal_status shoal_entries_sorted(shoal_heap *heap, const shoal_entry *entries,
                                                 size_t count, bool descending,
                                                 const shoal_entry **out);

#endif

/* worker/pages.h - the KV page pool: a free list of page numbers, nothing else.
 *
 * Pure bookkeeping for whoever schedules (the pages themselves live on the ranks, the same number
 * on every rank). Pages are handed out lowest first, so that runs are reproducible. */
#ifndef SHOAL_WORKER_PAGES_H
#define SHOAL_WORKER_PAGES_H

#include <stdint.h>

#include "proto/status.h"

typedef struct shoal_pages shoal_pages;

SHOAL_MUST_USE shoal_status shoal_pages_create(int32_t count, shoal_pages **out);
void shoal_pages_destroy(shoal_pages *pages);

/* Take `count` pages, or none: SHOAL_ERR_TEMPORARY saying how many are free. */
SHOAL_MUST_USE shoal_status shoal_pages_take(shoal_pages *pages, int32_t count, int32_t *out);

/* Give pages back; SHOAL_ERR_INTERNAL when one was not taken (nothing is given back then). */
SHOAL_MUST_USE shoal_status shoal_pages_give(shoal_pages *pages, const int32_t *list,
                                             int32_t count);

int32_t shoal_pages_free(const shoal_pages *pages);
int32_t shoal_pages_total(const shoal_pages *pages);

#endif

/* coordinator/serve/prefix_cache.h - the pages of the KV cache: who uses them, what they hold.
 *
 * Bookkeeping only; the keys and values lie on the ranks, under the same page numbers. A page has
 * any number of users. One that is full can be kept: it is found again by its tokens and the page
 * before it, shared by counting, and only read. The words of a page without users stay findable
 * until the page is needed: empty pages are taken first, then the least recently used.
 *
 * Whoever uses a kept page uses all pages before it, and lets go of them from the last to the
 * first. So a page is always forgotten after the pages that continue it, and the number of the page
 * before stands for the whole text before: equal pages mean equal texts, not only equal hashes.
 *
 * No call fails once the cache exists; every one is O(1). Belongs to one thread. */
#ifndef SHOAL_COORDINATOR_SERVE_PREFIX_CACHE_H
#define SHOAL_COORDINATOR_SERVE_PREFIX_CACHE_H

#include <stdint.h>

#include "proto/status.h"

#define SHOAL_NO_PAGE (-1)

typedef struct shoal_prefix_cache shoal_prefix_cache;

/* `pages` pages, numbered from 0, all empty; `buckets` (>= 1) of the hash table. */
SHOAL_MUST_USE shoal_status shoal_prefix_cache_create(int32_t pages, int32_t buckets,
                                                      shoal_prefix_cache **out);
void shoal_prefix_cache_destroy(shoal_prefix_cache *cache);

/* A page to write to, with one user; SHOAL_NO_PAGE when all are used. */
int32_t shoal_prefix_cache_take(shoal_prefix_cache *cache);

/* The kept page that holds these SHOAL_PAGE tokens after `before` (a kept page, or SHOAL_NO_PAGE at
 * the beginning of a text), with one user more; or SHOAL_NO_PAGE. */
int32_t shoal_prefix_cache_find(shoal_prefix_cache *cache, int32_t before, const int32_t *tokens);

/* `page`, which its only user took, now holds these tokens after `before`, which that user uses
 * too. Returns the page to use from now on: `page`, kept, or the one that was kept with the same
 * words already (then `page` is empty again). */
int32_t shoal_prefix_cache_keep(shoal_prefix_cache *cache, int32_t page, int32_t before,
                                const int32_t *tokens);

/* One user less. */
void shoal_prefix_cache_release(shoal_prefix_cache *cache, int32_t page);

/* Forget every word. No page has users then. */
void shoal_prefix_cache_clear(shoal_prefix_cache *cache);

/* Pages without users, and how many of them are kept. */
int32_t shoal_prefix_cache_unused(const shoal_prefix_cache *cache);
int32_t shoal_prefix_cache_kept(const shoal_prefix_cache *cache);

#endif

#include "coordinator/serve/prefix_cache.h"

#include <stdbool.h>
#include <string.h>

#include "kernels/backend.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "proto/digest.h"

/* What a kept page is found by: hashed and compared as bytes. */
typedef struct {
    int32_t before;
    int32_t tokens[SHOAL_PAGE];
} page_words;

_Static_assert(sizeof(page_words) == (1 + SHOAL_PAGE) * sizeof(int32_t), "no padding to hash");

typedef struct {
    int32_t users;
    bool kept;
    page_words words;     /* of a kept page */
    int32_t bucket_next;  /* of a kept page: the next one with the same hash */
    int32_t older, newer; /* of a page without users: its neighbours in the line */
} page_record;

/* Pages without users stand in a line: empty ones at its old end, then kept ones by last use. */
struct shoal_prefix_cache {
    int32_t page_count, bucket_count;
    page_record *pages; /* [page_count] */
    int32_t *buckets;   /* [bucket_count], first page of each */
    int32_t oldest, newest;
    int32_t unused, unused_kept;
};

shoal_status shoal_prefix_cache_create(int32_t pages, int32_t buckets, shoal_prefix_cache **out)
{
    shoal_status st = SHOAL_OK;
    void *record, *page_array, *bucket_array;
    if (pages < 1 || buckets < 1)
        return shoal_fail(SHOAL_ERR_USAGE, "a cache of %d pages, %d buckets", pages, buckets);

    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_prefix_cache), &record));
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)pages, sizeof(page_record), &page_array),
        free_record);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)buckets, sizeof(int32_t), &bucket_array),
        free_pages);
    shoal_prefix_cache *cache = record;
    *cache = (shoal_prefix_cache){
        .page_count = pages, .bucket_count = buckets, .pages = page_array, .buckets = bucket_array};
    shoal_prefix_cache_clear(cache);
    *out = cache;
    return SHOAL_OK;

free_pages:
    shoal_free(page_array);
free_record:
    shoal_free(record);
    return st;
}

void shoal_prefix_cache_destroy(shoal_prefix_cache *cache)
{
    if (!cache)
        return;
    shoal_free(cache->buckets);
    shoal_free(cache->pages);
    shoal_free(cache);
}

/* ---- the line of pages without users --------------------------------------------------------- */

/* Join two neighbours; SHOAL_NO_PAGE stands for beyond the end. */
static void join(shoal_prefix_cache *cache, int32_t older, int32_t newer)
{
    *(older == SHOAL_NO_PAGE ? &cache->oldest : &cache->pages[older].newer) = newer;
    *(newer == SHOAL_NO_PAGE ? &cache->newest : &cache->pages[newer].older) = older;
}

static void enter_line(shoal_prefix_cache *cache, int32_t page)
{
    const bool kept = cache->pages[page].kept;
    const int32_t older = kept ? cache->newest : SHOAL_NO_PAGE;
    const int32_t newer = kept ? SHOAL_NO_PAGE : cache->oldest;
    join(cache, older, page);
    join(cache, page, newer);
    cache->unused++;
    cache->unused_kept += kept;
}

static void leave_line(shoal_prefix_cache *cache, int32_t page)
{
    const page_record *record = &cache->pages[page];
    join(cache, record->older, record->newer);
    cache->unused--;
    cache->unused_kept -= record->kept;
}

static void add_user(shoal_prefix_cache *cache, int32_t page)
{
    if (cache->pages[page].users++ == 0)
        leave_line(cache, page);
}

void shoal_prefix_cache_release(shoal_prefix_cache *cache, int32_t page)
{
    if (--cache->pages[page].users == 0)
        enter_line(cache, page);
}

/* ---- the table of kept pages ----------------------------------------------------------------- */

static page_words words_of(int32_t before, const int32_t *tokens)
{
    page_words words = {.before = before};
    memcpy(words.tokens, tokens, sizeof words.tokens);
    return words;
}

static int32_t *bucket_of(const shoal_prefix_cache *cache, const page_words *words)
{
    uint8_t hash[SHOAL_XXH128_BYTES];
    shoal_xxh128(words, sizeof *words, hash);
    return &cache->buckets[shoal_load_le64(hash) % (uint64_t)cache->bucket_count];
}

static int32_t look_up(const shoal_prefix_cache *cache, const page_words *words)
{
    int32_t page = *bucket_of(cache, words);
    while (page != SHOAL_NO_PAGE && memcmp(&cache->pages[page].words, words, sizeof *words) != 0)
        page = cache->pages[page].bucket_next;
    return page;
}

static void forget(shoal_prefix_cache *cache, int32_t page)
{
    int32_t *at = bucket_of(cache, &cache->pages[page].words);
    while (*at != page)
        at = &cache->pages[*at].bucket_next;
    *at = cache->pages[page].bucket_next;
    cache->pages[page].kept = false;
}

/* The lowest page goes first, so that runs are reproducible. */
void shoal_prefix_cache_clear(shoal_prefix_cache *cache)
{
    for (int32_t b = 0; b < cache->bucket_count; b++)
        cache->buckets[b] = SHOAL_NO_PAGE;
    cache->oldest = cache->newest = SHOAL_NO_PAGE;
    cache->unused = cache->unused_kept = 0;
    for (int32_t page = cache->page_count - 1; page >= 0; page--) {
        cache->pages[page] = (page_record){0};
        enter_line(cache, page);
    }
}

/* ---- pages for sequences --------------------------------------------------------------------- */

int32_t shoal_prefix_cache_take(shoal_prefix_cache *cache)
{
    const int32_t page = cache->oldest;
    if (page == SHOAL_NO_PAGE)
        return SHOAL_NO_PAGE;
    add_user(cache, page);
    if (cache->pages[page].kept)
        forget(cache, page);
    return page;
}

int32_t shoal_prefix_cache_find(shoal_prefix_cache *cache, int32_t before, const int32_t *tokens)
{
    const page_words words = words_of(before, tokens);
    const int32_t page = look_up(cache, &words);
    if (page != SHOAL_NO_PAGE)
        add_user(cache, page);
    return page;
}

int32_t shoal_prefix_cache_keep(shoal_prefix_cache *cache, int32_t page, int32_t before,
                                const int32_t *tokens)
{
    const page_words words = words_of(before, tokens);
    const int32_t twin = look_up(cache, &words);
    if (twin != SHOAL_NO_PAGE) {
        add_user(cache, twin);
        shoal_prefix_cache_release(cache, page);
        return twin;
    }
    page_record *record = &cache->pages[page];
    int32_t *bucket = bucket_of(cache, &words);
    record->words = words;
    record->kept = true;
    record->bucket_next = *bucket;
    *bucket = page;
    return page;
}

int32_t shoal_prefix_cache_unused(const shoal_prefix_cache *cache)
{
    return cache->unused;
}

int32_t shoal_prefix_cache_kept(const shoal_prefix_cache *cache)
{
    return cache->unused_kept;
}

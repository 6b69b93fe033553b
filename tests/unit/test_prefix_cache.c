/* The page book of the KV cache: order of reuse, sharing, collisions, and a long random history
 * against a model that looks through all pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/prefix_cache.h"
#include "kernels/backend.h"

static uint64_t random_state = 20260301;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

static shoal_prefix_cache *make(int32_t pages, int32_t buckets)
{
    shoal_prefix_cache *cache;
    assert_int_equal(shoal_prefix_cache_create(pages, buckets, &cache), SHOAL_OK);
    return cache;
}

/* SHOAL_PAGE tokens, different for different words. */
static const int32_t *words(int32_t word)
{
    static int32_t tokens[SHOAL_PAGE];
    for (int32_t i = 0; i < SHOAL_PAGE; i++)
        tokens[i] = word + i;
    return tokens;
}

/* Take a page and keep these words in it. */
static int32_t write_page(shoal_prefix_cache *cache, int32_t before, int32_t word)
{
    const int32_t page = shoal_prefix_cache_take(cache);
    assert_int_not_equal(page, SHOAL_NO_PAGE);
    return shoal_prefix_cache_keep(cache, page, before, words(word));
}

static void empty_pages_first_then_the_longest_unused(void **state)
{
    (void)state;
    shoal_prefix_cache *cache = make(4, 4);
    const int32_t a = write_page(cache, SHOAL_NO_PAGE, 100);
    const int32_t b = write_page(cache, SHOAL_NO_PAGE, 200);
    const int32_t c = write_page(cache, SHOAL_NO_PAGE, 300);
    const int32_t d = shoal_prefix_cache_take(cache);
    assert_int_equal(shoal_prefix_cache_take(cache), SHOAL_NO_PAGE);

    shoal_prefix_cache_release(cache, b);
    shoal_prefix_cache_release(cache, a);
    shoal_prefix_cache_release(cache, c);
    shoal_prefix_cache_release(cache, d); /* never kept: empty */
    assert_int_equal(shoal_prefix_cache_unused(cache), 4);
    assert_int_equal(shoal_prefix_cache_kept(cache), 3);

    assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, words(200)), b);
    shoal_prefix_cache_release(cache, b); /* used again: now the newest */
    assert_int_equal(shoal_prefix_cache_take(cache), d);
    assert_int_equal(shoal_prefix_cache_take(cache), a);
    assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, words(100)), SHOAL_NO_PAGE);
    assert_int_equal(shoal_prefix_cache_take(cache), c);
    assert_int_equal(shoal_prefix_cache_take(cache), b);
    assert_int_equal(shoal_prefix_cache_unused(cache), 0);
    assert_int_equal(shoal_prefix_cache_kept(cache), 0);
    shoal_prefix_cache_destroy(cache);
}

static void a_shared_page_lives_as_long_as_its_last_user(void **state)
{
    (void)state;
    shoal_prefix_cache *cache = make(1, 1);
    const int32_t page = write_page(cache, SHOAL_NO_PAGE, 7);
    assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, words(7)), page);
    shoal_prefix_cache_release(cache, page);
    assert_int_equal(shoal_prefix_cache_take(cache), SHOAL_NO_PAGE);
    shoal_prefix_cache_release(cache, page);
    assert_int_equal(shoal_prefix_cache_take(cache), page);
    shoal_prefix_cache_destroy(cache);
}

static void a_twin_gives_way(void **state)
{
    (void)state;
    shoal_prefix_cache *cache = make(3, 3);
    const int32_t first = write_page(cache, SHOAL_NO_PAGE, 7);
    assert_int_equal(write_page(cache, SHOAL_NO_PAGE, 7), first);
    assert_int_equal(shoal_prefix_cache_unused(cache), 2);
    assert_int_equal(shoal_prefix_cache_kept(cache), 0);
    shoal_prefix_cache_release(cache, first);
    assert_int_equal(shoal_prefix_cache_unused(cache), 2); /* two users, one has gone */
    shoal_prefix_cache_release(cache, first);
    assert_int_equal(shoal_prefix_cache_kept(cache), 1);
    shoal_prefix_cache_destroy(cache);
}

/* With a single bucket every two pages collide: only tokens and the page before tell them apart. */
static void a_collision_is_no_hit(void **state)
{
    (void)state;
    shoal_prefix_cache *cache = make(40, 1);
    int32_t first[20], second[20];
    for (int32_t i = 0; i < 20; i++) {
        first[i] = write_page(cache, SHOAL_NO_PAGE, 100 * i);
        second[i] = write_page(cache, first[i], 5); /* the same tokens after other texts */
    }
    for (int32_t i = 0; i < 20; i++) {
        assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, words(100 * i)), first[i]);
        assert_int_equal(shoal_prefix_cache_find(cache, first[i], words(5)), second[i]);
        assert_int_equal(shoal_prefix_cache_find(cache, second[i], words(5)), SHOAL_NO_PAGE);
    }
    for (int32_t i = 0; i < SHOAL_PAGE; i++) { /* every token counts */
        int32_t other[SHOAL_PAGE];
        memcpy(other, words(100), sizeof other);
        other[i] ^= 1;
        assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, other), SHOAL_NO_PAGE);
    }
    shoal_prefix_cache_destroy(cache);
}

static void clear_forgets_every_word(void **state)
{
    (void)state;
    shoal_prefix_cache *cache = make(5, 2);
    for (int32_t i = 0; i < 3; i++)
        shoal_prefix_cache_release(cache, write_page(cache, SHOAL_NO_PAGE, 100 * i));
    shoal_prefix_cache_clear(cache);
    assert_int_equal(shoal_prefix_cache_kept(cache), 0);
    assert_int_equal(shoal_prefix_cache_unused(cache), 5);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(shoal_prefix_cache_find(cache, SHOAL_NO_PAGE, words(100 * i)),
                         SHOAL_NO_PAGE);
    for (int32_t i = 0; i < 5; i++)
        assert_int_equal(shoal_prefix_cache_take(cache), i);
    shoal_prefix_cache_destroy(cache);
}

/* ---- a long history -------------------------------------------------------------------------- */

#define PAGES   24
#define READERS 6
#define LONGEST 5 /* pages of one text */
#define WORDS   3 /* different pages of tokens */

/* A text is the words of its pages in order; what a page holds is the whole text up to it. */
typedef struct {
    int length;
    int32_t word[LONGEST];
} text;

typedef struct {
    int users;
    bool kept;
    text held;
    uint64_t released; /* when its last user left */
} model_page;

typedef struct {
    text text;
    int32_t page[LONGEST];
} reader;

typedef struct {
    shoal_prefix_cache *cache;
    model_page pages[PAGES];
    reader readers[READERS];
    uint64_t now;
} history;

static bool same_text(const text *a, const text *b)
{
    return a->length == b->length &&
           memcmp(a->word, b->word, (size_t)a->length * sizeof a->word[0]) == 0;
}

static int32_t model_find(const history *h, const text *wanted)
{
    for (int32_t p = 0; p < PAGES; p++)
        if (h->pages[p].kept && same_text(&h->pages[p].held, wanted))
            return p;
    return SHOAL_NO_PAGE;
}

/* May this page be taken now, as the contract orders them? */
static bool is_next(const history *h, int32_t page)
{
    const model_page *m = &h->pages[page];
    if (m->users > 0)
        return false;
    for (int32_t p = 0; p < PAGES && m->kept; p++)
        if (h->pages[p].users == 0 && (!h->pages[p].kept || h->pages[p].released < m->released))
            return false;
    return true;
}

static void read_on(history *h, reader *r)
{
    const int32_t before = r->text.length ? r->page[r->text.length - 1] : SHOAL_NO_PAGE;
    const int32_t word = (int32_t)next_random(WORDS);
    text longer = r->text;
    longer.word[longer.length++] = word;
    int32_t page = shoal_prefix_cache_find(h->cache, before, words(word));
    assert_int_equal(page, model_find(h, &longer));
    if (page == SHOAL_NO_PAGE) {
        page = shoal_prefix_cache_take(h->cache);
        if (page == SHOAL_NO_PAGE) {
            for (int32_t p = 0; p < PAGES; p++)
                assert_int_not_equal(h->pages[p].users, 0);
            return;
        }
        assert_true(is_next(h, page));
        assert_int_equal(shoal_prefix_cache_keep(h->cache, page, before, words(word)), page);
        h->pages[page] = (model_page){.kept = true, .held = longer};
    }
    h->pages[page].users++;
    r->page[r->text.length] = page;
    r->text = longer;
}

static void put_down(history *h, reader *r)
{
    while (r->text.length > 0) {
        const int32_t page = r->page[--r->text.length];
        shoal_prefix_cache_release(h->cache, page);
        h->pages[page].users--;
        h->pages[page].released = ++h->now;
    }
}

static void check_counts(const history *h)
{
    int32_t unused = 0, kept = 0;
    for (int32_t p = 0; p < PAGES; p++) {
        unused += h->pages[p].users == 0;
        kept += h->pages[p].users == 0 && h->pages[p].kept;
    }
    assert_int_equal(shoal_prefix_cache_unused(h->cache), unused);
    assert_int_equal(shoal_prefix_cache_kept(h->cache), kept);
}

static void long_history(void **state)
{
    (void)state;
    for (int32_t buckets = 1; buckets <= PAGES; buckets += PAGES - 1) {
        history h = {.cache = make(PAGES, buckets)};
        for (int i = 0; i < 100000; i++) {
            reader *r = &h.readers[next_random(READERS)];
            if (r->text.length == LONGEST || next_random(6) == 0)
                put_down(&h, r);
            else
                read_on(&h, r);
            check_counts(&h);
        }
        for (int i = 0; i < READERS; i++)
            put_down(&h, &h.readers[i]);
        assert_int_equal(shoal_prefix_cache_unused(h.cache), PAGES);
        shoal_prefix_cache_destroy(h.cache);
    }
}

static void refusals(void **state)
{
    (void)state;
    shoal_prefix_cache *cache;
    assert_int_equal(shoal_prefix_cache_create(0, 1, &cache), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_prefix_cache_create(1, 0, &cache), SHOAL_ERR_USAGE);
    shoal_prefix_cache_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_pages_first_then_the_longest_unused),
        cmocka_unit_test(a_shared_page_lives_as_long_as_its_last_user),
        cmocka_unit_test(a_twin_gives_way),
        cmocka_unit_test(a_collision_is_no_hit),
        cmocka_unit_test(clear_forgets_every_word),
        cmocka_unit_test(long_history),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

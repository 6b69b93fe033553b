/* The page pool against a plain array of flags: every take and give of a long random history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "worker/pages.h"

#define POOL 1000

static uint64_t random_state = 20260101;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

static int32_t count_free(const bool *used, int32_t count)
{
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++)
        n += !used[i];
    return n;
}

static void lowest_first(void **state)
{
    (void)state;
    shoal_pages *pages;
    int32_t list[4];
    assert_int_equal(shoal_pages_create(130, &pages), SHOAL_OK);
    assert_int_equal(shoal_pages_total(pages), 130);
    assert_int_equal(shoal_pages_take(pages, 4, list), SHOAL_OK);
    for (int32_t i = 0; i < 4; i++)
        assert_int_equal(list[i], i);
    assert_int_equal(shoal_pages_give(pages, (int32_t[]){1}, 1), SHOAL_OK);
    assert_int_equal(shoal_pages_take(pages, 2, list), SHOAL_OK);
    assert_int_equal(list[0], 1);
    assert_int_equal(list[1], 4);
    shoal_pages_destroy(pages);
}

static void refusals_change_nothing(void **state)
{
    (void)state;
    shoal_pages *pages;
    int32_t list[70];
    assert_int_equal(shoal_pages_create(-1, &pages), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_pages_create(66, &pages), SHOAL_OK);
    assert_int_equal(shoal_pages_take(pages, 67, list), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_pages_take(pages, -1, list), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_pages_take(pages, 66, list), SHOAL_OK);
    assert_int_equal(list[65], 65);
    assert_int_equal(shoal_pages_take(pages, 1, list), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_pages_take(pages, 0, list), SHOAL_OK);

    static const int32_t bad[][3] = {{3, 4, 3}, {3, 66, 4}, {-1, 3, 4}, {3, 4, INT32_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(shoal_pages_give(pages, bad[i], 3), SHOAL_ERR_INTERNAL);
        assert_int_equal(shoal_pages_free(pages), 0);
    }
    assert_int_equal(shoal_pages_give(pages, bad[0], 2), SHOAL_OK);
    assert_int_equal(shoal_pages_give(pages, bad[0], 1), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_pages_free(pages), 2);
    shoal_pages_destroy(pages);
    shoal_pages_destroy(NULL);
}

static void empty_pool(void **state)
{
    (void)state;
    shoal_pages *pages;
    int32_t page;
    assert_int_equal(shoal_pages_create(0, &pages), SHOAL_OK);
    assert_int_equal(shoal_pages_take(pages, 1, &page), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_pages_give(pages, (int32_t[]){0}, 1), SHOAL_ERR_INTERNAL);
    shoal_pages_destroy(pages);
}

static void take_some(shoal_pages *pages, bool *used, int32_t want)
{
    int32_t list[POOL];
    const int32_t free_now = count_free(used, POOL);
    const shoal_status st = shoal_pages_take(pages, want, list);
    assert_int_equal(st, want <= free_now ? SHOAL_OK : SHOAL_ERR_TEMPORARY);
    for (int32_t i = 0, page = 0; st == SHOAL_OK && i < want; i++) {
        while (used[page])
            page++;
        assert_int_equal(list[i], page);
        used[page] = true;
    }
}

static void give_some(shoal_pages *pages, bool *used, int32_t want)
{
    int32_t list[POOL], count = 0;
    const int32_t start = (int32_t)next_random(POOL);
    for (int32_t i = 0; i < POOL && count < want; i++) {
        const int32_t page = (start + i * 7) % POOL; /* 7 and 1000 have no common factor */
        if (used[page]) {
            used[page] = false;
            list[count++] = page;
        }
    }
    assert_int_equal(shoal_pages_give(pages, list, count), SHOAL_OK);
}

static void random_history(void **state)
{
    (void)state;
    static bool used[POOL];
    shoal_pages *pages;
    assert_int_equal(shoal_pages_create(POOL, &pages), SHOAL_OK);
    for (int round = 0; round < 4000; round++) {
        if (next_random(2))
            take_some(pages, used, (int32_t)next_random(200));
        else
            give_some(pages, used, (int32_t)next_random(200));
        assert_int_equal(shoal_pages_free(pages), count_free(used, POOL));
    }
    shoal_pages_destroy(pages);
}

static void no_memory(void **state)
{
    (void)state;
    shoal_pages *pages = NULL;
    for (uint64_t n = 1; n <= 2; n++) {
        shoal_mem_fail_nth(n);
        assert_int_equal(shoal_pages_create(10, &pages), SHOAL_ERR_TEMPORARY);
    }
    shoal_mem_fail_nth(0);
    assert_null(pages);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_first), cmocka_unit_test(refusals_change_nothing),
        cmocka_unit_test(empty_pool),   cmocka_unit_test(random_history),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

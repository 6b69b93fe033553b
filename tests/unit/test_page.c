/* The page in the program is coordinator/serve/page.html, byte for byte, small, and fetches and
 * executes nothing that others could put into it. What it does is tests/clients/check_page.py's
 * business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/page.h"

#define PAGE_BYTES_MAX 40960

static void test_page_is_the_file(void **state)
{
    (void)state;
    static char file[PAGE_BYTES_MAX + 1];
    size_t bytes;
    const char *page = shoal_page(&bytes);
    FILE *f = fopen("coordinator/serve/page.html", "rb");
    assert_non_null(f);
    const size_t read = fread(file, 1, sizeof file, f);
    (void)fclose(f);
    assert_true(read < sizeof file);
    assert_int_equal(bytes, read);
    assert_memory_equal(page, file, read);
}

/* How often `word` occurs. */
static int occurrences(const char *page, size_t bytes, const char *word)
{
    int found = 0;
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= bytes; i++)
        found += memcmp(page + i, word, length) == 0;
    return found;
}

static void test_page_stands_alone(void **state)
{
    (void)state;
    size_t bytes;
    const char *page = shoal_page(&bytes);
    static const char *const forbidden[] = {
        "innerHTML",    "outerHTML",    "insertAdjacentHTML", "document.write", "eval(",
        "new Function", "localStorage", "sessionStorage",     "cookie",         "https://",
        "@import",      "<script src"};
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (occurrences(page, bytes, forbidden[i]))
            fail_msg("the page says %s", forbidden[i]);
    /* The only addresses are names of the SVG language, which nobody fetches. */
    assert_int_equal(occurrences(page, bytes, "http://"),
                     occurrences(page, bytes, "http://www.w3.org/2000/svg"));
    assert_int_equal(occurrences(page, bytes, "default-src 'none'"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_is_the_file),
        cmocka_unit_test(test_page_stands_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The slot of the last failure: sentences, what stands in front of them, and what must not come out
 * of a file onto a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/status.h"

static void test_sentences(void **state)
{
    (void)state;
    assert_int_equal(shoal_fail(SHOAL_ERR_DATA, "tensor %s", "w"), SHOAL_ERR_DATA);
    assert_string_equal(shoal_error_text(), "tensor w");
    assert_int_equal(shoal_fail_within(SHOAL_ERR_IO, "rank %d", 3), SHOAL_ERR_IO);
    assert_string_equal(shoal_error_text(), "rank 3: tensor w");
    shoal_error_clear();
    assert_string_equal(shoal_error_text(), "");
}

static void test_control_bytes(void **state)
{
    (void)state;
    (void)shoal_fail(SHOAL_ERR_DATA, "tensor %s is bad",
                     "a\x1b[31m\nb\x7f\t\xc3\xa9\xc2\x9b"
                     "1");
    assert_string_equal(shoal_error_text(), "tensor a?[31m b? \xc3\xa9??1 is bad");
    (void)shoal_fail_within(SHOAL_ERR_DATA, "file %s", "x\ry\xc2\xa0z\xc2");
    assert_string_equal(shoal_error_text(),
                        "file x y\xc2\xa0z\xc2: tensor a?[31m b? \xc3\xa9??1 is bad");
}

static void test_cut(void **state)
{
    char name[2 * SHOAL_ERROR_MAX];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)shoal_fail(SHOAL_ERR_DATA, "%s", name);
    assert_int_equal(strlen(shoal_error_text()), SHOAL_ERROR_MAX - 1);
    (void)shoal_fail_within(SHOAL_ERR_DATA, "%s", "file");
    assert_int_equal(strlen(shoal_error_text()), SHOAL_ERROR_MAX - 1);
    assert_memory_equal(shoal_error_text(), "file: nnn", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_control_bytes),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

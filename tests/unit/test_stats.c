/* A rank's timing as a message and back, and messages of ranks that know more or less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/stats.h"

static const shoal_worker_timing some = {UINT64_C(1) << 52, 77, 12.5, 3.25, 0.125,
                                         UINT64_C(1) << 40};

static void there_and_back(void **state)
{
    (void)state;
    shoal_stats_page page;
    shoal_wire_message sent, got;
    shoal_wire_buffer bytes = {0};
    shoal_worker_timing back = {0};
    shoal_stats_write(&some, &page, &sent);
    assert_int_equal(shoal_wire_encode(&sent, 1, &bytes), SHOAL_OK);
    assert_int_equal(shoal_wire_decode(SHOAL_WIRE_STATS, bytes.data + SHOAL_FRAME_HEADER,
                                       bytes.bytes - SHOAL_FRAME_HEADER, &got),
                     SHOAL_OK);
    shoal_stats_read(&got.stats, &back);
    assert_memory_equal(&back, &some, sizeof some);
    shoal_wire_free(&got);
    shoal_wire_buffer_free(&bytes);
}

static void unknown_names_and_odd_values(void **state)
{
    (void)state;
    static const char *const names[] = {"temperature", "steps", "waited_seconds"};
    static const double values[] = {40, -1, 0.5};
    const shoal_wire_stats stats = {names, values, 3};
    shoal_worker_timing t = some;
    shoal_stats_read(&stats, &t);
    assert_int_equal(t.steps, 0);
    assert_int_equal(t.exchanges, some.exchanges);
    assert_true(t.step_seconds == some.step_seconds && t.waited_seconds == 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(unknown_names_and_odd_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

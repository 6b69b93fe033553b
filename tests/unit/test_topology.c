/* Cores are dealt sensibly on machines we do not have (hwloc's synthetic ones), on this one every
 * core is allowed and named once, and pinned threads are where they were put. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/threads.h"
#include "kernels/topology.h"

static shoal_topology synthetic(const char *description)
{
    shoal_topology t;
    assert_int_equal(setenv("HWLOC_SYNTHETIC", description, 1), 0);
    assert_int_equal(shoal_topology_read(&t), SHOAL_OK);
    assert_int_equal(unsetenv("HWLOC_SYNTHETIC"), 0);
    return t;
}

static void two_sockets_are_two_ranks(void **state)
{
    (void)state;
    shoal_topology t = synthetic("package:2 numa:1 l3:2 core:4 pu:2");
    int processors[16];
    assert_int_equal(t.packages, 2);
    assert_int_equal(t.nodes, 2);
    assert_int_equal(t.caches, 4);
    assert_int_equal(t.core_count, 16);
    assert_int_equal(t.processors, 32);
    assert_int_equal(shoal_topology_ranks(&t), 2);
    assert_int_equal(shoal_topology_threads(&t, 2), 8);
    assert_int_equal(shoal_topology_threads(&t, 3), 5);
    assert_int_equal(shoal_topology_threads(&t, 40), 1);
    for (int share = 0; share < 2; share++) {
        assert_true(shoal_topology_place(&t, share, 2, 8, processors));
        for (int i = 0; i < 8; i++) /* one hyperthread per core, on the rank's own socket */
            assert_int_equal(processors[i], 2 * (8 * share + i));
    }
    for (int i = 0; i < 16; i++)
        assert_int_equal(t.cores[i].node, i / 8);
    shoal_topology_free(&t);
}

static void only_what_fills_the_cores_is_placed(void **state)
{
    (void)state;
    shoal_topology t = synthetic("numa:1 core:6 pu:1");
    int processors[8];
    assert_true(shoal_topology_place(&t, 0, 1, 6, processors));
    assert_true(shoal_topology_place(&t, 2, 3, 2, processors));
    assert_int_equal(processors[0], 4);
    assert_int_equal(processors[1], 5);
    assert_false(shoal_topology_place(&t, 0, 1, 5, processors));
    assert_false(shoal_topology_place(&t, 0, 1, 7, processors));
    assert_false(shoal_topology_place(&t, 0, 0, 6, processors)); /* nobody knows who shares */
    assert_false(shoal_topology_place(&t, 3, 3, 2, processors));
    assert_false(shoal_topology_settle(&t, 0, 1)); /* one node: memory is near anyway */
    shoal_topology_free(&t);
}

static void this_machine(void **state)
{
    (void)state;
    shoal_topology t;
    cpu_set_t mask;
    assert_int_equal(sched_getaffinity(0, sizeof mask, &mask), 0);
    assert_int_equal(shoal_topology_read(&t), SHOAL_OK);
    assert_in_range(t.core_count, 1, CPU_COUNT(&mask));
    assert_in_range(t.processors, t.core_count, CPU_COUNT(&mask));
    for (int i = 0; i < t.core_count; i++) {
        assert_true(CPU_ISSET((unsigned)t.cores[i].processor, &mask));
        CPU_CLR((unsigned)t.cores[i].processor, &mask);
    }
    shoal_topology_free(&t);
}

/* A mask that somebody set is respected. */
static void a_narrow_mask(void **state)
{
    (void)state;
    cpu_set_t before, one;
    shoal_topology t;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    unsigned last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before))
        last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(shoal_topology_read(&t), SHOAL_OK);
    assert_int_equal(t.core_count, 1);
    assert_int_equal(t.cores[0].processor, last);
    shoal_topology_free(&t);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

typedef struct {
    const int *processors;
    int wrong[2];
} places;

static void look(void *context, int thread, int threads)
{
    places *p = context;
    cpu_set_t mask;
    (void)threads;
    const int st = pthread_getaffinity_np(pthread_self(), sizeof mask, &mask);
    p->wrong[thread] = st != 0 || CPU_COUNT(&mask) != 1 ||
                       !CPU_ISSET((unsigned)p->processors[thread], &mask) ||
                       sched_getcpu() != p->processors[thread];
}

static void pinned_threads_stay(void **state)
{
    (void)state;
    cpu_set_t before, after;
    shoal_topology t;
    shoal_pool *pool;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(shoal_topology_read(&t), SHOAL_OK);
    const int processors[] = {t.cores[t.core_count - 1].processor, t.cores[0].processor};
    places p = {.processors = processors};
    assert_int_equal(shoal_pool_create(2, true, &pool), SHOAL_OK);
    assert_false(shoal_pool_pin(pool, (const int[]){processors[0], -1}));
    assert_false(shoal_pool_pin(pool, (const int[]){1 << 20, processors[1]}));
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    assert_true(shoal_pool_pin(pool, processors));
    for (int i = 0; i < 20; i++) {
        shoal_pool_run(pool, look, &p);
        assert_int_equal(p.wrong[0] + p.wrong[1], 0);
    }
    shoal_pool_destroy(pool);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    shoal_topology_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sockets_are_two_ranks),
        cmocka_unit_test(only_what_fills_the_cores_is_placed),
        cmocka_unit_test(this_machine),
        cmocka_unit_test(a_narrow_mask),
        cmocka_unit_test(pinned_threads_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

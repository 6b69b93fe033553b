/* Ranks as threads of this process: every exchange must give exactly what each rank wrote, for
 * any interleaving. Ranks are slowed down at random, parts are read late (as late as promised),
 * and idle ranks must use no CPU. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "worker/comm.h"
#include "worker/comm_exchange.h"

#define RANKS_MAX 8
#define VALUES    700

/* cmocka's asserts belong to the main thread; ranks count their faults. */
static _Atomic int faults;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition) && atomic_fetch_add(&faults, 1) < 5)                                      \
            printf("line %d: %s (%s)\n", __LINE__, #condition, shoal_error_text());                \
    } while (0)

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* What rank r puts at place i of round n. */
static int64_t value_of(uint64_t round, int rank, uint64_t i)
{
    return (int64_t)(mix(round * 1000003 + (uint64_t)rank * 7919 + i) >> 8);
}

/* Some ranks are late in some rounds, by nothing, a little, or a sleep. */
static void dawdle(uint64_t round, int rank)
{
    const uint64_t dice = mix(round * 31 + (uint64_t)rank + 5) % 400;
    if (dice == 0)
        (void)usleep(2000);
    else if (dice < 40)
        for (volatile int i = 0; i < 3000; i = i + 1)
            ;
}

static void one_reduce(shoal_comm *comm, uint64_t round)
{
    const uint64_t count = mix(round) % VALUES;
    const int64_t *parts[RANKS_MAX];
    int part_count = 0;
    int64_t *mine = shoal_comm_slot(comm);
    dawdle(round, comm->rank);
    for (uint64_t i = 0; i < count; i++)
        mine[i] = value_of(round, comm->rank, i);
    CHECK(shoal_comm_reduce(comm, count, parts, &part_count) == SHOAL_OK);
    /* The next slot may be filled while these parts are read. */
    memset(shoal_comm_slot(comm), 0x5a, VALUES * sizeof(int64_t));
    dawdle(round + 1, comm->rank);
    for (uint64_t i = 0; i < count; i++) {
        int64_t sum = 0, want = 0;
        for (int p = 0; p < part_count; p++)
            sum += parts[p][i];
        for (int r = 0; r < comm->size; r++)
            want += value_of(round, r, i);
        CHECK(sum == want);
    }
}

static void one_scatter(shoal_comm *comm, uint64_t round)
{
    uint64_t counts[RANKS_MAX], all = 0;
    const int64_t *parts[RANKS_MAX];
    int part_count = 0;
    for (int r = 0; r < comm->size; r++)
        all += counts[r] = mix(round * 23 + (uint64_t)r) % (VALUES / RANKS_MAX);
    int64_t *mine = shoal_comm_slot(comm);
    for (uint64_t i = 0; i < all; i++)
        mine[i] = value_of(round, comm->rank, i);
    dawdle(round, comm->rank);
    CHECK(shoal_comm_scatter(comm, counts, parts, &part_count) == SHOAL_OK);
    const uint64_t begin = shoal_comm_share_begin(comm, counts, comm->place[comm->rank]);
    for (uint64_t i = 0; i < counts[comm->rank]; i++) {
        int64_t sum = 0, want = 0;
        for (int p = 0; p < part_count; p++)
            sum += parts[p][i];
        for (int r = 0; r < comm->size; r++)
            want += value_of(round, r, begin + i);
        CHECK(sum == want);
    }
}

static void one_gather(shoal_comm *comm, uint64_t round)
{
    uint64_t bytes[RANKS_MAX];
    const void *parts[RANKS_MAX];
    for (int r = 0; r < comm->size; r++)
        bytes[r] = mix(round * 17 + (uint64_t)r) % (VALUES * 8);
    unsigned char *mine = shoal_comm_slot(comm);
    for (uint64_t i = 0; i < bytes[comm->rank]; i++)
        mine[i] = (unsigned char)value_of(round, comm->rank, i);
    CHECK(shoal_comm_gather(comm, bytes, parts) == SHOAL_OK);
    /* A broadcast in between does not touch the parts. */
    uint64_t word = round;
    CHECK(shoal_comm_broadcast(comm, &word, sizeof word, (int)(round % (uint64_t)comm->size)) ==
          SHOAL_OK);
    dawdle(round, comm->rank);
    for (int r = 0; r < comm->size; r++)
        for (uint64_t i = 0; i < bytes[r]; i++)
            CHECK(((const unsigned char *)parts[r])[i] == (unsigned char)value_of(round, r, i));
}

static void one_broadcast(shoal_comm *comm, uint64_t round)
{
    static const uint64_t sizes[] = {0, 1, 7, 4096, SHOAL_EXCHANGE_PIECE, 100001};
    static _Thread_local unsigned char data[100001];
    const uint64_t bytes = sizes[mix(round) % (sizeof sizes / sizeof sizes[0])];
    const int root = (int)(mix(round + 9) % (uint64_t)comm->size);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = comm->rank == root ? (unsigned char)value_of(round, root, i) : 0xee;
    dawdle(round, comm->rank);
    CHECK(shoal_comm_broadcast(comm, data, bytes, root) == SHOAL_OK);
    for (uint64_t i = 0; i < bytes; i++)
        CHECK(data[i] == (unsigned char)value_of(round, root, i));
}

typedef struct {
    shoal_comm *comm;
    uint64_t rounds;
    double idle_seconds;
    pthread_t thread;
} rank_arg;

static void *mixed_rank(void *context)
{
    const rank_arg *a = context;
    CHECK(shoal_comm_slot(a->comm) == NULL);
    CHECK(shoal_comm_open_slots(a->comm, VALUES * 8) == SHOAL_OK);
    CHECK(shoal_comm_open_slots(a->comm, VALUES * 8) == SHOAL_ERR_INTERNAL);
    CHECK(a->comm->slot_bytes >= VALUES * 8 && a->comm->bytes_held == 2 * a->comm->slot_bytes);
    for (uint64_t round = 0; round < a->rounds; round++) {
        switch (mix(round + 77) % 8) {
        case 0: one_gather(a->comm, round); break;
        case 1: one_broadcast(a->comm, round); break;
        case 3: one_scatter(a->comm, round); break;
        case 2: CHECK(shoal_comm_barrier(a->comm) == SHOAL_OK); break;
        default: one_reduce(a->comm, round);
        }
    }
    shoal_comm_close(a->comm);
    return NULL;
}

static void run_ranks(int size, int threads, uint64_t rounds, double idle,
                      void *(*body)(void *context))
{
    shoal_comm *comms[RANKS_MAX];
    rank_arg args[RANKS_MAX];
    const uint64_t before = shoal_mem_live(SHOAL_MEM_WINDOW);
    assert_int_equal(shoal_comm_local_create(size, threads, comms), SHOAL_OK);
    for (int r = 0; r < size; r++) {
        assert_int_equal(comms[r]->rank, r);
        assert_int_equal(comms[r]->size, size);
        assert_int_equal(comms[r]->crowded, size * threads > shoal_allowed_cores());
        args[r] = (rank_arg){.comm = comms[r], .rounds = rounds, .idle_seconds = idle};
        assert_int_equal(pthread_create(&args[r].thread, NULL, body, &args[r]), 0);
    }
    for (int r = 0; r < size; r++)
        assert_int_equal(pthread_join(args[r].thread, NULL), 0);
    assert_int_equal(faults, 0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WINDOW), before);
}

static void mixed_exchanges(void **state)
{
    (void)state;
    for (int size = 1; size <= RANKS_MAX; size++)
        run_ranks(size, 1, 3000, 0, mixed_rank);
}

static void *agree_rank(void *context)
{
    const rank_arg *a = context;
    shoal_comm *comm = a->comm;
    CHECK(shoal_comm_agree(comm, SHOAL_OK) == SHOAL_OK);
    for (int first = 0; first < comm->size; first++) {
        shoal_error_clear();
        shoal_status mine = SHOAL_OK;
        if (comm->rank >= first)
            mine = shoal_fail(comm->rank == first ? SHOAL_ERR_IO : SHOAL_ERR_DATA, "fault of %d",
                              comm->rank);
        CHECK(shoal_comm_agree(comm, mine) == SHOAL_ERR_IO);
        char want[64];
        (void)snprintf(want, sizeof want, "rank %d: fault of %d", first, first);
        CHECK(strcmp(shoal_error_text(), comm->size > 1 ? want : "fault of 0") == 0);
    }
    CHECK(shoal_comm_open_slots(comm, 64) == SHOAL_OK);
    const void *parts[RANKS_MAX];
    const int64_t *sums[RANKS_MAX];
    uint64_t bytes[RANKS_MAX] = {0};
    int part_count;
    bytes[comm->size - 1] = 65;
    CHECK(shoal_comm_gather(comm, bytes, parts) == SHOAL_ERR_INTERNAL);
    CHECK(shoal_comm_reduce(comm, 9, sums, &part_count) == SHOAL_ERR_INTERNAL);
    CHECK(shoal_comm_reduce(comm, 8, sums, &part_count) == SHOAL_OK);
    CHECK(!comm->broken);
    shoal_comm_close(comm);
    return NULL;
}

static void agreement(void **state)
{
    (void)state;
    for (int size = 1; size <= 5; size++)
        run_ranks(size, 1, 0, 0, agree_rank);
}

/* Rank 0 leaves while the others wait for it in every way there is: all of them get an error. */
static void *deserted_rank(void *context)
{
    const rank_arg *a = context;
    shoal_comm *comm = a->comm;
    uint64_t word = 0;
    const int64_t *parts[RANKS_MAX];
    int part_count;
    CHECK(shoal_comm_open_slots(comm, 64) == SHOAL_OK);
    if (comm->rank == 0)
        (void)usleep(20000);
    else if (comm->rank == 1)
        CHECK(shoal_comm_broadcast(comm, &word, sizeof word, 0) == SHOAL_ERR_TEMPORARY);
    else if (comm->rank == 2)
        CHECK(shoal_comm_barrier(comm) == SHOAL_ERR_TEMPORARY);
    else
        CHECK(shoal_comm_reduce(comm, 1, parts, &part_count) == SHOAL_ERR_TEMPORARY);
    CHECK(comm->rank == 0 || comm->broken);
    shoal_comm_close(comm);
    return NULL;
}

static void a_rank_that_leaves(void **state)
{
    (void)state;
    const double begin = shoal_seconds_now();
    run_ranks(4, 1, 0, 0, deserted_rank);
    assert_true(shoal_seconds_now() - begin < 2.0);
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void *idle_rank(void *context)
{
    const rank_arg *a = context;
    uint64_t word = 0;
    CHECK(shoal_comm_barrier(a->comm) == SHOAL_OK);
    if (a->comm->rank == 0)
        (void)usleep((useconds_t)(a->idle_seconds * 1e6));
    CHECK(shoal_comm_broadcast(a->comm, &word, sizeof word, 0) == SHOAL_OK);
    CHECK(a->comm->rank == 0 || a->comm->waited > 0.9 * a->idle_seconds);
    shoal_comm_close(a->comm);
    return NULL;
}

static void idle_ranks_sleep(void **state)
{
    (void)state;
    const double idle = 1.0, before = cpu_seconds();
    run_ranks(5, 1, 0, idle, idle_rank);
    const double used = cpu_seconds() - before;
    printf("4 idle ranks: %.2f %% of one core\n", 100 * used / idle);
    assert_true(used < 0.02 * idle);
}

static void *measured_rank(void *context)
{
    const rank_arg *a = context;
    const int64_t *parts[RANKS_MAX];
    int part_count;
    CHECK(shoal_comm_open_slots(a->comm, 2048 * 8) == SHOAL_OK);
    CHECK(shoal_comm_barrier(a->comm) == SHOAL_OK);
    const double begin = shoal_seconds_now();
    for (uint64_t i = 0; i < a->rounds; i++)
        CHECK(shoal_comm_reduce(a->comm, 2048, parts, &part_count) == SHOAL_OK);
    if (a->comm->rank == 0)
        printf("%d ranks: %.2f us per exchange\n", a->comm->size,
               1e6 * (shoal_seconds_now() - begin) / (double)a->rounds);
    shoal_comm_close(a->comm);
    return NULL;
}

/* Printed for the curious; what is checked is that every exchange succeeds. */
static void exchange_time(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size *= 2)
        run_ranks(size, 1, 5000, 0, measured_rank);
}

static void refusals(void **state)
{
    (void)state;
    shoal_comm *comms[RANKS_MAX];
    assert_int_equal(shoal_comm_local_create(0, 1, comms), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_comm_local_create(1, 0, comms), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_comm_local_create(100000, 1, comms), SHOAL_ERR_USAGE);
    for (uint64_t n = 1; n <= 4; n++) {
        shoal_mem_fail_nth(n);
        assert_int_equal(shoal_comm_local_create(2, 1, comms), SHOAL_ERR_TEMPORARY);
    }
    shoal_mem_fail_nth(0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WINDOW), 0);
}

static void *short_memory_rank(void *context)
{
    const rank_arg *a = context;
    CHECK(shoal_comm_open_slots(a->comm, 64) == SHOAL_ERR_TEMPORARY);
    CHECK(shoal_comm_slot(a->comm) == NULL);
    CHECK(shoal_comm_open_slots(a->comm, 64) == SHOAL_OK);
    shoal_comm_close(a->comm);
    return NULL;
}

static void slots_fail_on_one_rank(void **state)
{
    (void)state;
    shoal_comm *comms[3];
    rank_arg args[3];
    assert_int_equal(shoal_comm_local_create(3, 1, comms), SHOAL_OK);
    shoal_mem_fail_nth(2);
    for (int r = 0; r < 3; r++) {
        args[r] = (rank_arg){.comm = comms[r]};
        assert_int_equal(pthread_create(&args[r].thread, NULL, short_memory_rank, &args[r]), 0);
    }
    for (int r = 0; r < 3; r++)
        assert_int_equal(pthread_join(args[r].thread, NULL), 0);
    assert_int_equal(faults, 0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WINDOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),           cmocka_unit_test(slots_fail_on_one_rank),
        cmocka_unit_test(mixed_exchanges),    cmocka_unit_test(agreement),
        cmocka_unit_test(a_rank_that_leaves), cmocka_unit_test(idle_ranks_sleep),
        cmocka_unit_test(exchange_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

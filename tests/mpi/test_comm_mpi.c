/* The MPI communicator, run by mpirun with any number of ranks: what every rank receives must be
 * exactly what the others wrote. SHOAL_COMM=network makes every rank a node; the first argument
 * deals the ranks to that many pretended nodes. A fault prints and exits, which ends the launch. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/arena.h"
#include "worker/comm.h"
#include "worker/comm_exchange.h"

#define RANKS_MAX 64
#define VALUES    3000
#define ROUNDS    1500

/* More than one MPI call carries: see worker/comm_mpi_net.c. */
#define LONG_VALUES ((UINT64_C(1) << 22) + 12345)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("rank %d, line %d: %s (%s)\n", me, __LINE__, #condition, shoal_error_text());   \
            (void)fflush(stdout);                                                                  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static int me;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static int64_t value_of(uint64_t round, int rank, uint64_t i)
{
    return (int64_t)(mix(round * 1000003 + (uint64_t)rank * 7919 + i) >> 8);
}

static void dawdle(uint64_t round, int rank)
{
    if (mix(round * 31 + (uint64_t)rank + 5) % 300 == 0)
        (void)usleep(1500);
}

static void one_reduce(shoal_comm *comm, uint64_t round, uint64_t count)
{
    const int64_t *parts[RANKS_MAX];
    int part_count = 0;
    int64_t *mine = shoal_comm_slot(comm);
    for (uint64_t i = 0; i < count; i++)
        mine[i] = value_of(round, me, i);
    dawdle(round, me);
    CHECK(shoal_comm_reduce(comm, count, parts, &part_count) == SHOAL_OK);
    CHECK(part_count >= 1 && part_count <= comm->size);
    memset(shoal_comm_slot(comm), 0x5a, count * sizeof(int64_t)); /* early, as a fast rank does */
    dawdle(round + 1, me);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t sum = 0, want = 0;
        for (int p = 0; p < part_count; p++)
            sum += (uint64_t)parts[p][i];
        for (int r = 0; r < comm->size; r++)
            want += (uint64_t)value_of(round, r, i);
        CHECK(sum == want);
    }
}

/* Uneven shares, some empty. */
static void one_scatter(shoal_comm *comm, uint64_t round, uint64_t most)
{
    uint64_t counts[RANKS_MAX], all = 0;
    const int64_t *parts[RANKS_MAX];
    int part_count = 0;
    for (int r = 0; r < comm->size; r++) {
        const uint64_t dice = mix(round * 23 + (uint64_t)r);
        counts[r] = dice % 4 ? dice % (most / (uint64_t)comm->size + 1) : 0;
        all += counts[r];
    }
    int64_t *mine = shoal_comm_slot(comm);
    for (uint64_t i = 0; i < all; i++)
        mine[i] = value_of(round, me, i);
    dawdle(round, me);
    CHECK(shoal_comm_scatter(comm, counts, parts, &part_count) == SHOAL_OK);
    memset(shoal_comm_slot(comm), 0x5a, all * sizeof(int64_t));
    const uint64_t begin = shoal_comm_share_begin(comm, counts, comm->place[me]);
    for (uint64_t i = 0; i < counts[me]; i++) {
        uint64_t sum = 0, want = 0;
        for (int p = 0; p < part_count; p++)
            sum += (uint64_t)parts[p][i];
        for (int r = 0; r < comm->size; r++)
            want += (uint64_t)value_of(round, r, begin + i);
        CHECK(sum == want);
    }
}

static void one_gather(shoal_comm *comm, uint64_t round, uint64_t most)
{
    uint64_t bytes[RANKS_MAX];
    const void *parts[RANKS_MAX];
    for (int r = 0; r < comm->size; r++)
        bytes[r] = mix(round * 17 + (uint64_t)r) % 4 ? mix(round * 19 + (uint64_t)r) % most : 0;
    unsigned char *mine = shoal_comm_slot(comm);
    for (uint64_t i = 0; i < bytes[me]; i++)
        mine[i] = (unsigned char)value_of(round, me, i);
    CHECK(shoal_comm_gather(comm, bytes, parts) == SHOAL_OK);
    uint64_t word = round; /* a broadcast in between does not touch the parts */
    CHECK(shoal_comm_broadcast(comm, &word, sizeof word, (int)(round % (uint64_t)comm->size)) ==
          SHOAL_OK);
    memset(shoal_comm_slot(comm), 0xa5, 64);
    dawdle(round, me);
    for (int r = 0; r < comm->size; r++)
        for (uint64_t i = 0; i < bytes[r]; i++)
            CHECK(((const unsigned char *)parts[r])[i] == (unsigned char)value_of(round, r, i));
}

static void one_broadcast(shoal_comm *comm, uint64_t round)
{
    static const uint64_t sizes[] = {0, 1, 7, 4096, SHOAL_EXCHANGE_PIECE, 100001};
    static unsigned char data[100001];
    const uint64_t bytes = sizes[mix(round) % (sizeof sizes / sizeof sizes[0])];
    const int root = (int)(mix(round + 9) % (uint64_t)comm->size);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = me == root ? (unsigned char)value_of(round, root, i) : 0xee;
    dawdle(round, me);
    CHECK(shoal_comm_broadcast(comm, data, bytes, root) == SHOAL_OK);
    for (uint64_t i = 0; i < bytes; i++)
        CHECK(data[i] == (unsigned char)value_of(round, root, i));
}

static void mixed_exchanges(shoal_comm *comm)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        switch (mix(round + 77) % 8) {
        case 0: one_gather(comm, round, VALUES * 8); break;
        case 1: one_broadcast(comm, round); break;
        case 3: one_scatter(comm, round, VALUES); break;
        case 2: CHECK(shoal_comm_barrier(comm) == SHOAL_OK); break;
        default: one_reduce(comm, round, mix(round) % VALUES);
        }
    }
    CHECK(comm->sequence > 0);
}

/* Sums and blocks that need several MPI calls, and a broadcast of many pieces. */
static void long_exchanges(shoal_comm *comm)
{
    one_reduce(comm, 1, LONG_VALUES);
    one_scatter(comm, 1, LONG_VALUES);
    one_gather(comm, 1, LONG_VALUES * 8);
    unsigned char *data = malloc(5000001);
    CHECK(data != NULL);
    for (uint64_t i = 0; i < 5000001; i++)
        data[i] = me == comm->size - 1 ? (unsigned char)value_of(5, 0, i) : 0;
    CHECK(shoal_comm_broadcast(comm, data, 5000001, comm->size - 1) == SHOAL_OK);
    for (uint64_t i = 0; i < 5000001; i++)
        CHECK(data[i] == (unsigned char)value_of(5, 0, i));
    free(data);
}

static void agreement(shoal_comm *comm)
{
    CHECK(shoal_comm_agree(comm, SHOAL_OK) == SHOAL_OK);
    const int first = comm->size / 2;
    const shoal_status mine =
        me >= first ? shoal_fail(me == first ? SHOAL_ERR_IO : SHOAL_ERR_DATA, "fault of %d", me)
                    : SHOAL_OK;
    CHECK(shoal_comm_agree(comm, mine) == SHOAL_ERR_IO);
    char want[64];
    (void)snprintf(want, sizeof want, "rank %d: fault of %d", first, first);
    CHECK(strcmp(shoal_error_text(), comm->size > 1 ? want : "fault of 0") == 0);
}

/* Rows of 300 values and a count, small and large side by side, whole groups of zeros. */
#define ROUNDED_WIDTH 300
#define ROUNDED_ROWS  11

static int64_t rounded_value(int rank, uint64_t row, uint64_t i)
{
    const int64_t v = value_of(row, rank, i);
    return i == ROUNDED_WIDTH ? v & 3 : row == 4 || i / 7 % 5 == 0 ? 0 : v >> (10 + i % 40);
}

/* The sum of what the rounding of each node's part may lose; nodes are ranks modulo `nodes`. */
static double rounded_bound(int size, int nodes, shoal_payload payload, uint64_t row, uint64_t i)
{
    double bound = 0;
    for (int node = 0; node < nodes; node++) {
        double part = 0, most = 0;
        for (uint64_t k = 0; k < ROUNDED_WIDTH; k++) {
            double sum = 0;
            for (int r = node; r < size; r += nodes)
                sum += (double)rounded_value(r, row, k);
            sum = sum < 0 ? -sum : sum;
            part = k == i ? sum : part;
            if (k / SHOAL_PAYLOAD_GROUP == i / SHOAL_PAYLOAD_GROUP && sum > most)
                most = sum;
        }
        bound += payload == SHOAL_PAYLOAD_BF16 ? part / 255 : most / 253;
        bound += 1;
    }
    return nodes > 1 ? bound : 0;
}

static void check_rounded(const shoal_comm *comm, int nodes, shoal_payload payload, uint64_t row,
                          const int64_t *got)
{
    for (uint64_t i = 0; i <= ROUNDED_WIDTH; i++) {
        int64_t want = 0;
        for (int r = 0; r < comm->size; r++)
            want += rounded_value(r, row, i);
        const double lost = (double)(got[i] > want ? got[i] - want : want - got[i]);
        CHECK(lost <= (i == ROUNDED_WIDTH ? 0 : rounded_bound(comm->size, nodes, payload, row, i)));
    }
}

static void fill_rounded(int64_t *slot)
{
    for (uint64_t row = 0; row < ROUNDED_ROWS; row++)
        for (uint64_t i = 0; i <= ROUNDED_WIDTH; i++)
            *slot++ = rounded_value(me, row, i);
}

/* Inexact sums stay within what is said about them, counts are exact, every rank has the same bits,
 * and dealt rows are those of the whole reduce. */
static void rounded_sums(shoal_comm *comm, int nodes, shoal_payload payload)
{
    static int64_t sums[ROUNDED_ROWS * (ROUNDED_WIDTH + 1)];
    const int64_t *parts[RANKS_MAX];
    const void *all[RANKS_MAX];
    uint64_t bytes[RANKS_MAX], counts[RANKS_MAX];
    int part_count;
    shoal_comm_round(comm, payload, ROUNDED_WIDTH + 1);
    fill_rounded(shoal_comm_slot(comm));
    CHECK(shoal_comm_reduce(comm, sizeof sums / 8, parts, &part_count) == SHOAL_OK);
    for (uint64_t i = 0; i < sizeof sums / 8; i++)
        for (int p = 0; p < part_count; p++)
            sums[i] += parts[p][i];
    for (uint64_t row = 0; row < ROUNDED_ROWS; row++)
        check_rounded(comm, nodes, payload, row, sums + row * (ROUNDED_WIDTH + 1));

    memcpy(shoal_comm_slot(comm), sums, sizeof sums);
    for (int r = 0; r < comm->size; r++) {
        bytes[r] = sizeof sums;
        counts[r] = (uint64_t)(r % 3) * (ROUNDED_WIDTH + 1);
    }
    CHECK(shoal_comm_gather(comm, bytes, all) == SHOAL_OK);
    for (int r = 0; r < comm->size; r++)
        CHECK(memcmp(all[r], sums, sizeof sums) == 0);

    fill_rounded(shoal_comm_slot(comm));
    const uint64_t begin = shoal_comm_share_begin(comm, counts, comm->place[me]);
    CHECK(shoal_comm_scatter(comm, counts, parts, &part_count) == SHOAL_OK);
    for (uint64_t i = 0; i < counts[me]; i++) {
        int64_t sum = 0;
        for (int p = 0; p < part_count; p++)
            sum += parts[p][i];
        CHECK(sum == sums[begin + i]);
    }
    fill_rounded(shoal_comm_slot(comm));
    CHECK(payload == SHOAL_PAYLOAD_EXACT ||
          shoal_comm_reduce(comm, ROUNDED_WIDTH, parts, &part_count) == SHOAL_ERR_INTERNAL);
    shoal_comm_round(comm, SHOAL_PAYLOAD_EXACT, 0);
    memset(sums, 0, sizeof sums);
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* The others wait for rank 0's next step. Their share of a core (about 1 %, 1 % each over the
 * network) is told; judged is only that they sleep: one that spins would take a core. */
static void idle_ranks_sleep(shoal_comm *comm)
{
    const double idle = 1.0;
    int64_t *mine = shoal_comm_slot(comm);
    uint64_t word = 0;
    CHECK(shoal_comm_barrier(comm) == SHOAL_OK);
    const double before = cpu_seconds();
    if (me == 0)
        (void)usleep((useconds_t)(idle * 1e6));
    CHECK(shoal_comm_broadcast(comm, &word, sizeof word, 0) == SHOAL_OK);
    mine[0] = me == 0 ? 0 : (int64_t)(1e6 * (cpu_seconds() - before));
    const int64_t *parts[RANKS_MAX];
    int part_count;
    int64_t used = 0;
    CHECK(shoal_comm_reduce(comm, 1, parts, &part_count) == SHOAL_OK);
    for (int p = 0; p < part_count; p++)
        used += parts[p][0];
    if (me == 0)
        printf("%d idle ranks: %.2f %% of one core\n", comm->size - 1,
               100e-6 * (double)used / idle);
    CHECK((double)used < 0.25 * 1e6 * idle);
}

/* The last rank fails alone, and the others sit in an exchange: closing must not hang. */
static void leave_alone(shoal_comm *comm)
{
    const int64_t *parts[RANKS_MAX];
    int part_count;
    if (me == comm->size - 1)
        comm->broken = true;
    else
        CHECK(shoal_comm_reduce(comm, 1, parts, &part_count) != SHOAL_OK);
    shoal_comm_close(comm);
}

int main(int argc, char **argv)
{
    shoal_comm *comm;
    int rank = -1, size = -1;
    const char *word = getenv("SHOAL_COMM");
    const bool network = word && strcmp(word, "network") == 0;
    const bool leaves = argc > 2 && strcmp(argv[2], "leave") == 0;
    const int nodes = argc > 1 ? atoi(argv[1]) : 0;
    const shoal_status st =
        nodes ? shoal_comm_mpi_open_nodes(1, nodes, &comm) : shoal_comm_mpi_open(1, network, &comm);
    CHECK(st == SHOAL_OK);
    me = comm->rank;
    CHECK(shoal_comm_mpi_launched(&rank, &size) && rank == me && size == comm->size);
    CHECK(comm->size <= RANKS_MAX && shoal_comm_slot(comm) == NULL);
    CHECK(shoal_comm_open_slots(comm, leaves ? 64 : LONG_VALUES * 8) == SHOAL_OK);
    if (leaves) {
        leave_alone(comm);
        return 0;
    }
    mixed_exchanges(comm);
    agreement(comm);
    long_exchanges(comm);
    for (shoal_payload p = SHOAL_PAYLOAD_BF16; p <= SHOAL_PAYLOAD_INT8; p++)
        rounded_sums(comm, network ? comm->size : nodes ? nodes : 1, p);
    idle_ranks_sleep(comm);
    if (me == 0)
        printf("ok: %d ranks, %s, %.3f s waited\n", comm->size,
               comm->crowded ? "crowded" : "not crowded", comm->waited);
    shoal_comm_close(comm);
    return 0;
}

/* Ranks as MPI processes. On a node they share memory made by MPI and talk through it
 * (worker/comm_exchange.h); between nodes the first rank of every node, its leader, speaks MPI for
 * the others:
 *
 *     reduce     leader adds its node's slots into its own, MPI_Allreduce, answers: one part
 *     scatter    likewise, by MPI_Reduce_scatter: only the node's own shares come back
 *     gather     leader copies its node's slots into the staging window, MPI_Allgatherv, answers
 *     broadcast  root's node, then down a tree of leaders, then each node
 *
 * Between opening and closing other ranks call MPI only where staging grows. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/log.h"
#include "worker/comm.h"
#include "worker/comm_exchange.h"
#include "worker/comm_mpi_net.h"
#include "worker/comm_mpi_rounded.h"
#include "worker/comm_mpi_window.h"

/* How long a broken rank waits at closing for the others to notice. */
#define FAREWELL_SECONDS 2.0

/* More would not fit 31 bits somewhere in MPI. */
#define STAGING_BLOCKS_MAX INT32_MAX

typedef struct {
    shoal_comm base;
    shoal_exchange exchange;
    MPI_Comm world, node, leaders; /* leaders: MPI_COMM_NULL on other ranks */
    int nodes, node_index;
    shoal_window control, slots, staging;
    uint8_t *staging_base;       /* as this process sees the leader's staging */
    uint64_t staging_bytes;      /* alike on all ranks of the node            */
    shoal_arena *arena;          /* the tables below                          */
    int *node_of, *node_rank_of; /* [size] */
    int *place;                  /* [size] */
    int64_t *first, *blocks;     /* [nodes]: staging blocks of a node    */
    int64_t *offset;             /* [size]: a rank's first staging block */
    int *scratch;                /* [4 * nodes] */
    shoal_rounded rounded;       /* leaders: where sums do not travel exactly */
    uint8_t **slot_places;       /* [ranks on the node] */
} mpi_comm;

static mpi_comm *of(shoal_comm *comm)
{
    return (mpi_comm *)comm;
}

/* After a failure nobody on the node may wait for this rank. */
static shoal_status note(mpi_comm *c, shoal_status st)
{
    if (st != SHOAL_OK && !c->base.broken) {
        c->base.broken = true;
        shoal_exchange_leave(&c->exchange);
    }
    return st;
}

static bool is_leader(const mpi_comm *c)
{
    return c->exchange.rank == 0;
}

/* --- slots ----------------------------------------------------------------------------------- */

static shoal_status find_slots(mpi_comm *c)
{
    for (int r = 0; r < c->exchange.size; r++) {
        void *place;
        SHOAL_TRY(shoal_window_part(&c->slots, r, &place));
        c->slot_places[r] = place;
    }
    return SHOAL_OK;
}

static shoal_status mpi_open_slots(shoal_comm *comm, uint64_t slot_bytes)
{
    mpi_comm *c = of(comm);
    const uint64_t stride = shoal_exchange_stride(slot_bytes);
    shoal_status st = stride > PTRDIFF_MAX / 4
                          ? shoal_fail(SHOAL_ERR_TEMPORARY, "slots of %llu bytes are too large",
                                       (unsigned long long)slot_bytes)
                          : shoal_window_open(c->node, 2 * stride, &c->slots);
    if (st == SHOAL_OK)
        st = find_slots(c);
    SHOAL_TRY(shoal_comm_agree(comm, st));
    c->exchange.slots = c->slot_places;
    c->exchange.slot_stride = stride;
    comm->slot_bytes = stride;
    comm->bytes_held += 2 * stride;
    return SHOAL_OK;
}

static void *mpi_slot(shoal_comm *comm)
{
    return of(comm)->exchange.slots ? shoal_exchange_slot(&of(comm)->exchange) : NULL;
}

/* --- reduce ---------------------------------------------------------------------------------- */

/* The leader's slot becomes the sum over the node. */
static void add_node(const mpi_comm *c, uint64_t count)
{
    uint64_t *sum = shoal_exchange_part(&c->exchange, 0);
    for (int r = 1; r < c->exchange.size; r++) {
        const uint64_t *part = shoal_exchange_part(&c->exchange, r);
        for (uint64_t i = 0; i < count; i++)
            sum[i] += part[i];
    }
}

/* Rows for every node, by first and blocks of the tables. */
static shoal_status sum_rounded(mpi_comm *c)
{
    c->rounded.payload = c->base.payload;
    c->rounded.row_values = c->base.row_values;
    return shoal_rounded_sum(&c->rounded, c->leaders, c->nodes, c->first, c->blocks,
                             shoal_exchange_part(&c->exchange, 0), c->scratch);
}

/* The leaders' slots become the sum over the nodes. */
static shoal_status sum_nodes(mpi_comm *c, uint64_t count)
{
    if (c->base.payload == SHOAL_PAYLOAD_EXACT)
        return shoal_net_sum(c->leaders, shoal_exchange_part(&c->exchange, 0), count);
    for (int i = 0; i < c->nodes; i++) {
        c->first[i] = 0;
        c->blocks[i] = (int64_t)(count / c->base.row_values);
    }
    return sum_rounded(c);
}

/* Each leader's slot begins with the sum over the nodes of its node's shares. */
static shoal_status scatter_nodes(mpi_comm *c, const uint64_t *counts)
{
    const bool exact = c->base.payload == SHOAL_PAYLOAD_EXACT;
    const uint64_t unit = exact ? 1 : c->base.row_values;
    memset(c->blocks, 0, (size_t)c->nodes * sizeof *c->blocks);
    for (int r = 0; r < c->base.size; r++)
        c->blocks[c->node_of[r]] += (int64_t)(counts[r] / unit);
    c->first[0] = 0;
    for (int i = 1; i < c->nodes; i++)
        c->first[i] = c->first[i - 1] + c->blocks[i - 1];
    if (!exact)
        return sum_rounded(c);
    return shoal_net_scatter(c->leaders, shoal_exchange_part(&c->exchange, 0), c->nodes, c->blocks,
                             c->scratch);
}

static shoal_status reduce_across(mpi_comm *c, uint64_t count)
{
    shoal_exchange *x = &c->exchange;
    shoal_exchange_publish(x);
    if (!is_leader(c))
        return shoal_exchange_wait_answer(x);
    SHOAL_TRY(shoal_exchange_wait_published(x));
    add_node(c, count);
    const double begin = shoal_seconds_now();
    SHOAL_TRY(sum_nodes(c, count));
    c->base.waited += shoal_seconds_now() - begin;
    shoal_exchange_answer(x);
    return SHOAL_OK;
}

static shoal_status exchange_on_node(mpi_comm *c)
{
    shoal_exchange_publish(&c->exchange);
    return shoal_exchange_wait_published(&c->exchange);
}

static shoal_status mpi_reduce(shoal_comm *comm, uint64_t count, const int64_t **parts,
                               int *part_count)
{
    mpi_comm *c = of(comm);
    SHOAL_TRY(shoal_comm_check_reduce(comm, count));
    if (c->nodes == 1) {
        SHOAL_TRY(note(c, exchange_on_node(c)));
        *part_count = comm->size;
    } else {
        SHOAL_TRY(note(c, reduce_across(c, count)));
        *part_count = 1; /* the leader's slot */
    }
    for (int r = 0; r < *part_count; r++)
        parts[r] = shoal_exchange_part(&c->exchange, r);
    comm->sequence++;
    return SHOAL_OK;
}

/* The sum over all nodes of the shares of this node's ranks comes to lie at the beginning of the
 * leader's slot. */
static shoal_status scatter_across(mpi_comm *c, const uint64_t *counts)
{
    shoal_exchange *x = &c->exchange;
    shoal_exchange_publish(x);
    if (!is_leader(c))
        return shoal_exchange_wait_answer(x);
    SHOAL_TRY(shoal_exchange_wait_published(x));
    add_node(c, shoal_comm_share_begin(&c->base, counts, c->base.size));
    const double begin = shoal_seconds_now();
    SHOAL_TRY(scatter_nodes(c, counts));
    c->base.waited += shoal_seconds_now() - begin;
    shoal_exchange_answer(x);
    return SHOAL_OK;
}

/* The place of the first rank of this node. */
static int node_place(const mpi_comm *c)
{
    return c->base.place[c->base.rank] - c->exchange.rank;
}

static shoal_status mpi_scatter(shoal_comm *comm, const uint64_t *counts, const int64_t **parts,
                                int *part_count)
{
    mpi_comm *c = of(comm);
    const uint64_t begin = shoal_comm_share_begin(comm, counts, comm->place[comm->rank]);
    if (c->nodes == 1) {
        const uint64_t all = shoal_comm_share_begin(comm, counts, comm->size);
        SHOAL_TRY(mpi_reduce(comm, all, parts, part_count));
        for (int p = 0; p < *part_count; p++)
            parts[p] += begin;
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_comm_check_reduce(comm, shoal_comm_share_begin(comm, counts, comm->size)));
    SHOAL_TRY(note(c, scatter_across(c, counts)));
    const int64_t *sums = shoal_exchange_part(&c->exchange, 0);
    parts[0] = sums + (begin - shoal_comm_share_begin(comm, counts, node_place(c)));
    *part_count = 1;
    comm->sequence++;
    return SHOAL_OK;
}

shoal_status shoal_comm_mpi_allreduce(shoal_comm *comm, const float *from, float *to, int count)
{
    return shoal_net_check(MPI_Allreduce(from, to, count, MPI_FLOAT, MPI_SUM, of(comm)->world),
                           "MPI_Allreduce");
}

/* --- gather ---------------------------------------------------------------------------------- */

static int64_t blocks_of(uint64_t bytes)
{
    return (int64_t)(bytes / SHOAL_NET_BLOCK + (bytes % SHOAL_NET_BLOCK != 0));
}

/* Staging holds the nodes one after another, and a node's ranks in their order there. */
static shoal_status lay_out_staging(mpi_comm *c, const uint64_t *bytes_of_rank, int64_t *total)
{
    memset(c->blocks, 0, (size_t)c->nodes * sizeof *c->blocks);
    for (int r = 0; r < c->base.size; r++) {
        c->offset[r] = c->blocks[c->node_of[r]];
        c->blocks[c->node_of[r]] += blocks_of(bytes_of_rank[r]);
    }
    *total = 0;
    for (int i = 0; i < c->nodes; i++) {
        c->first[i] = *total;
        *total += c->blocks[i];
    }
    if (*total > STAGING_BLOCKS_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "gather: %lld blocks of %d bytes are too many",
                          (long long)*total, SHOAL_NET_BLOCK);
    for (int r = 0; r < c->base.size; r++)
        c->offset[r] += c->first[c->node_of[r]];
    return SHOAL_OK;
}

/* Collective over the node. A rank comes here only when it has done with the parts of the gather
 * before, so the old staging may go. */
static shoal_status grow_staging(mpi_comm *c, uint64_t bytes)
{
    if (bytes <= c->staging_bytes)
        return SHOAL_OK;
    if (is_leader(c))
        c->base.bytes_held += bytes - c->staging_bytes;
    shoal_window_close(&c->staging);
    c->staging_bytes = 0;
    SHOAL_TRY(shoal_window_open(c->node, is_leader(c) ? bytes : 0, &c->staging));
    void *base;
    SHOAL_TRY(shoal_window_part(&c->staging, 0, &base));
    c->staging_base = base;
    c->staging_bytes = bytes;
    return SHOAL_OK;
}

static shoal_status gather_across(mpi_comm *c, const uint64_t *bytes_of_rank, const void **parts)
{
    shoal_exchange *x = &c->exchange;
    int64_t total;
    SHOAL_TRY(lay_out_staging(c, bytes_of_rank, &total));
    SHOAL_TRY(grow_staging(c, (uint64_t)(total + 1) * SHOAL_NET_BLOCK));
    for (int r = 0; r < c->base.size; r++)
        parts[r] = c->staging_base + c->offset[r] * SHOAL_NET_BLOCK;

    shoal_exchange_publish(x);
    if (!is_leader(c))
        return shoal_exchange_wait_answer(x);
    SHOAL_TRY(shoal_exchange_wait_published(x));
    for (int r = 0; r < c->base.size; r++)
        if (c->node_of[r] == c->node_index)
            memcpy(c->staging_base + c->offset[r] * SHOAL_NET_BLOCK,
                   shoal_exchange_part(x, c->node_rank_of[r]), bytes_of_rank[r]);
    const double begin = shoal_seconds_now();
    SHOAL_TRY(shoal_net_gather(c->leaders, c->staging_base, c->first, c->blocks, c->scratch));
    c->base.waited += shoal_seconds_now() - begin;
    shoal_exchange_answer(x);
    return SHOAL_OK;
}

static shoal_status mpi_gather(shoal_comm *comm, const uint64_t *bytes_of_rank, const void **parts)
{
    mpi_comm *c = of(comm);
    SHOAL_TRY(shoal_comm_check_gather(comm, bytes_of_rank));
    if (c->nodes > 1) {
        SHOAL_TRY(note(c, gather_across(c, bytes_of_rank, parts)));
    } else {
        SHOAL_TRY(note(c, exchange_on_node(c)));
        for (int r = 0; r < comm->size; r++)
            parts[r] = shoal_exchange_part(&c->exchange, r);
    }
    comm->sequence++;
    return SHOAL_OK;
}

/* --- broadcast and barrier ------------------------------------------------------------------- */

static shoal_status broadcast_across(mpi_comm *c, void *data, uint64_t bytes, int root)
{
    const int root_node = c->node_of[root];
    const bool mine = root_node == c->node_index;
    /* On the root's node the leader may have to hear it first; elsewhere the leader is the root. */
    if (mine)
        SHOAL_TRY(shoal_exchange_broadcast(&c->exchange, data, bytes, c->node_rank_of[root]));
    if (is_leader(c))
        SHOAL_TRY(shoal_net_broadcast(c->leaders, data, bytes, root_node, c->base.crowded));
    return mine ? SHOAL_OK : shoal_exchange_broadcast(&c->exchange, data, bytes, 0);
}

static shoal_status mpi_broadcast(shoal_comm *comm, void *data, uint64_t bytes, int root)
{
    mpi_comm *c = of(comm);
    if (bytes == 0)
        return SHOAL_OK;
    return note(c, c->nodes == 1 ? shoal_exchange_broadcast(&c->exchange, data, bytes, root)
                                 : broadcast_across(c, data, bytes, root));
}

static shoal_status barrier_across(mpi_comm *c)
{
    bool all;
    SHOAL_TRY(shoal_exchange_barrier(&c->exchange));
    if (!is_leader(c))
        return shoal_exchange_wait_answer(&c->exchange);
    SHOAL_TRY(shoal_net_barrier(c->leaders, 0, c->base.crowded, &all));
    shoal_exchange_answer(&c->exchange);
    return SHOAL_OK;
}

static shoal_status mpi_barrier(shoal_comm *comm)
{
    mpi_comm *c = of(comm);
    return note(c, c->nodes == 1 ? shoal_exchange_barrier(&c->exchange) : barrier_across(c));
}

/* --- opening and closing --------------------------------------------------------------------- */

/* Everybody comes here, or the launch is over: MPI_Finalize with a missing rank never returns. */
static void say_farewell(mpi_comm *c)
{
    bool all = false;
    shoal_exchange_leave(&c->exchange);
    const shoal_status st =
        shoal_net_barrier(c->world, c->base.broken ? FAREWELL_SECONDS : 0, c->base.crowded, &all);
    if (st == SHOAL_OK && all)
        return;
    shoal_log(SHOAL_LOG_ERROR, "comm", "rank %d leaves alone and ends the launch", c->base.rank);
    (void)MPI_Abort(MPI_COMM_WORLD, SHOAL_ERR_TEMPORARY);
    _Exit(SHOAL_ERR_TEMPORARY);
}

static void mpi_close(shoal_comm *comm)
{
    mpi_comm *c = of(comm);
    say_farewell(c);
    shoal_window_close(&c->staging);
    shoal_window_close(&c->slots);
    shoal_window_close(&c->control);
    if (c->leaders != MPI_COMM_NULL)
        (void)MPI_Comm_free(&c->leaders);
    (void)MPI_Comm_free(&c->node);
    (void)MPI_Comm_free(&c->world);
    (void)MPI_Finalize();
    shoal_rounded_close(&c->rounded);
    shoal_arena_destroy(c->arena);
    shoal_free(c);
}

static const shoal_comm_ops mpi_ops = {
    .name = "mpi",
    .open_slots = mpi_open_slots,
    .slot = mpi_slot,
    .gather = mpi_gather,
    .reduce = mpi_reduce,
    .scatter = mpi_scatter,
    .broadcast = mpi_broadcast,
    .barrier = mpi_barrier,
    .close = mpi_close,
};

static shoal_status start_mpi(void)
{
    int begun = 0, ended = 0, level = 0;
    (void)MPI_Initialized(&begun);
    (void)MPI_Finalized(&ended);
    if (ended)
        return shoal_fail(SHOAL_ERR_INTERNAL, "MPI cannot be started twice in a process");
    if (!begun) {
        SHOAL_TRY(
            shoal_net_check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "MPI_Init"));
        if (level < MPI_THREAD_FUNNELED)
            return shoal_fail(SHOAL_ERR_UNAVAILABLE,
                              "this MPI does not allow threads (level %d, need %d)", level,
                              MPI_THREAD_FUNNELED);
    }
    return SHOAL_OK;
}

static shoal_status combine(MPI_Comm host, const cpu_set_t *mine, MPI_Op op, cpu_set_t *out)
{
    return shoal_net_check(MPI_Allreduce(mine, out, (int)sizeof *out, MPI_BYTE, op, host),
                           "MPI_Allreduce");
}

/* More threads than cores: the cores are all those that some rank on this machine may use. Ranks
 * share cores when all may use the same ones; a rank whose cores nobody else may use has them
 * alone.
 */
static shoal_status find_crowding(MPI_Comm host, int threads, shoal_comm *comm)
{
    int ranks, rank, counts[2];
    cpu_set_t mine, any, every;
    CPU_ZERO(&mine);
    SHOAL_TRY(shoal_net_check(MPI_Comm_size(host, &ranks), "MPI_Comm_size"));
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(host, &rank), "MPI_Comm_rank"));
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        CPU_ZERO(&mine);
    SHOAL_TRY(combine(host, &mine, MPI_BOR, &any));
    SHOAL_TRY(combine(host, &mine, MPI_BAND, &every));
    counts[0] = CPU_COUNT(&mine);
    SHOAL_TRY(shoal_net_check(MPI_Allreduce(&counts[0], &counts[1], 1, MPI_INT, MPI_SUM, host),
                              "MPI_Allreduce"));
    const int all = counts[0] ? CPU_COUNT(&any) : shoal_allowed_cores();
    comm->crowded = (int64_t)ranks * threads > all || (counts[0] && threads > counts[0]);
    const bool alike = CPU_EQUAL(&any, &every), apart = CPU_COUNT(&any) == counts[1];
    comm->share = apart ? 0 : rank;
    comm->shares = apart ? 1 : alike ? ranks : 0;
    return SHOAL_OK;
}

/* A communicator that reports errors to us instead of ending the process. */
static shoal_status split(MPI_Comm from, int color, int key, MPI_Comm *out)
{
    SHOAL_TRY(shoal_net_check(MPI_Comm_split(from, color, key, out), "MPI_Comm_split"));
    if (*out == MPI_COMM_NULL)
        return SHOAL_OK;
    return shoal_net_check(MPI_Comm_set_errhandler(*out, MPI_ERRORS_RETURN),
                           "MPI_Comm_set_errhandler");
}

static shoal_status make_communicators(mpi_comm *c, int threads, int pretended_nodes)
{
    MPI_Comm host;
    int rank, host_first = 0;
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank"));
    SHOAL_TRY(split(MPI_COMM_WORLD, 0, rank, &c->world));
    SHOAL_TRY(shoal_net_check(MPI_Comm_size(c->world, &c->base.size), "MPI_Comm_size"));
    c->base.rank = rank;

    SHOAL_TRY(shoal_net_check(
        MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host),
        "MPI_Comm_split_type"));
    SHOAL_TRY(find_crowding(host, threads, &c->base));
    host_first = rank;
    SHOAL_TRY(shoal_net_check(MPI_Bcast(&host_first, 1, MPI_INT, 0, host), "MPI_Bcast"));
    (void)MPI_Comm_free(&host);

    int node_rank;
    SHOAL_TRY(
        split(c->world, pretended_nodes ? rank % pretended_nodes : host_first, rank, &c->node));
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(c->node, &node_rank), "MPI_Comm_rank"));
    return split(c->world, node_rank == 0 ? 0 : MPI_UNDEFINED, rank, &c->leaders);
}

/* A zeroed table, or NULL and *st. */
static void *table(mpi_comm *c, uint64_t count, uint64_t size, shoal_status *st)
{
    void *block = NULL;
    if (*st == SHOAL_OK)
        *st = shoal_arena_array(c->arena, count, size, &block);
    return block;
}

static shoal_status make_tables(mpi_comm *c)
{
    const uint64_t size = (uint64_t)c->base.size, nodes = (uint64_t)c->nodes;
    shoal_status st = shoal_arena_create(SHOAL_MEM_OTHER, &c->arena);
    c->node_of = table(c, size, sizeof(int), &st);
    c->node_rank_of = table(c, size, sizeof(int), &st);
    c->place = table(c, size, sizeof(int), &st);
    c->first = table(c, nodes, sizeof(int64_t), &st);
    c->blocks = table(c, nodes, sizeof(int64_t), &st);
    c->offset = table(c, size, sizeof(int64_t), &st);
    c->scratch = table(c, 4 * nodes, sizeof(int), &st);
    c->slot_places = table(c, size, sizeof(uint8_t *), &st);
    return st;
}

/* Places count the ranks of the first node, then those of the second, … */
static void make_places(mpi_comm *c)
{
    for (int r = 0; r < c->base.size; r++)
        for (int other = 0; other < c->base.size; other++)
            c->place[r] +=
                c->node_of[other] < c->node_of[r] ||
                (c->node_of[other] == c->node_of[r] && c->node_rank_of[other] < c->node_rank_of[r]);
    c->base.place = c->place;
}

/* Everybody learns which node, and which place on it, every rank has. */
static shoal_status map_nodes(mpi_comm *c)
{
    int node_rank, place[2] = {0, 0}; /* number of nodes, index of mine */
    if (c->leaders != MPI_COMM_NULL) {
        SHOAL_TRY(shoal_net_check(MPI_Comm_size(c->leaders, &place[0]), "MPI_Comm_size"));
        SHOAL_TRY(shoal_net_check(MPI_Comm_rank(c->leaders, &place[1]), "MPI_Comm_rank"));
    }
    SHOAL_TRY(shoal_net_check(MPI_Bcast(place, 2, MPI_INT, 0, c->node), "MPI_Bcast"));
    c->nodes = place[0];
    c->node_index = place[1];
    SHOAL_TRY(make_tables(c));
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(c->node, &node_rank), "MPI_Comm_rank"));
    SHOAL_TRY(
        shoal_net_check(MPI_Allgather(&c->node_index, 1, MPI_INT, c->node_of, 1, MPI_INT, c->world),
                        "MPI_Allgather"));
    SHOAL_TRY(shoal_net_check(
        MPI_Allgather(&node_rank, 1, MPI_INT, c->node_rank_of, 1, MPI_INT, c->world),
        "MPI_Allgather"));
    make_places(c);
    return SHOAL_OK;
}

static shoal_status open_control(mpi_comm *c)
{
    int node_rank, node_size;
    void *region;
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(c->node, &node_rank), "MPI_Comm_rank"));
    SHOAL_TRY(shoal_net_check(MPI_Comm_size(c->node, &node_size), "MPI_Comm_size"));
    const uint64_t bytes = node_rank == 0 ? shoal_exchange_region_bytes(node_size) : 0;
    SHOAL_TRY(shoal_window_open(c->node, bytes, &c->control));
    SHOAL_TRY(shoal_window_part(&c->control, 0, &region));
    shoal_exchange_init(&c->exchange, node_rank, node_size, c->base.crowded, region,
                        &c->base.waited);
    return SHOAL_OK;
}

/* A failure here leaves MPI as it is: the process is about to exit, and a rank that exits without
 * MPI_Finalize ends the launch. */
shoal_status shoal_comm_mpi_open_nodes(int threads, int pretended_nodes, shoal_comm **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    if (threads < 1 || pretended_nodes < 0)
        return shoal_fail(SHOAL_ERR_USAGE, "%d threads per rank, %d pretended nodes", threads,
                          pretended_nodes);
    SHOAL_TRY(start_mpi());
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(mpi_comm), &block));
    mpi_comm *c = block;
    c->base.ops = &mpi_ops;
    c->world = c->node = c->leaders = MPI_COMM_NULL;
    c->control = c->slots = c->staging = SHOAL_WINDOW_NONE;
    SHOAL_TRY_GOTO(make_communicators(c, threads, pretended_nodes), fail);
    SHOAL_TRY_GOTO(map_nodes(c), fail);
    SHOAL_TRY_GOTO(open_control(c), fail);
    *out = &c->base;
    return SHOAL_OK;

fail:
    shoal_arena_destroy(c->arena);
    shoal_free(c);
    return st;
}

shoal_status shoal_comm_mpi_open(int threads, bool force_network, shoal_comm **out)
{
    return shoal_comm_mpi_open_nodes(threads, force_network ? INT_MAX : 0, out);
}

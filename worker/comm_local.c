/* Ranks as threads of one process: what `--emulate-ranks` and the tests run on. */
#include <stdatomic.h>

#include "proto/arena.h"
#include "shard/plan.h"
#include "worker/comm.h"
#include "worker/comm_exchange.h"

typedef struct {
    shoal_comm base;
    shoal_exchange exchange;
    struct local_group *group;
} local_comm;

/* Lives until the last rank closes, and the slots with it: a slow rank may still be reading. */
typedef struct local_group {
    int size;
    _Atomic int open_ranks;
    void *region_block;
    uint8_t **slots;     /* [size]; each allocated by its rank */
    local_comm *members; /* [size] */
    int *place;          /* [size] */
} local_group;

static local_comm *of(shoal_comm *comm)
{
    return (local_comm *)comm;
}

static shoal_status note(local_comm *c, shoal_status st)
{
    if (st != SHOAL_OK)
        c->base.broken = true;
    return st;
}

static shoal_status local_open_slots(shoal_comm *comm, uint64_t slot_bytes)
{
    local_comm *c = of(comm);
    const uint64_t stride = shoal_exchange_stride(slot_bytes);
    void *slot = NULL;
    shoal_status st = shoal_alloc_array(SHOAL_MEM_WINDOW, 2, stride, &slot);
    if (st == SHOAL_OK)
        c->group->slots[comm->rank] = slot;
    SHOAL_TRY_GOTO(shoal_comm_agree(comm, st), free_slot);
    c->exchange.slots = c->group->slots;
    c->exchange.slot_stride = stride;
    comm->slot_bytes = stride;
    comm->bytes_held += 2 * stride;
    return SHOAL_OK;

free_slot:
    c->group->slots[comm->rank] = NULL;
    shoal_free(slot);
    return st;
}

static void *local_slot(shoal_comm *comm)
{
    return of(comm)->exchange.slots ? shoal_exchange_slot(&of(comm)->exchange) : NULL;
}

static shoal_status local_exchange(local_comm *c)
{
    shoal_exchange_publish(&c->exchange);
    SHOAL_TRY(note(c, shoal_exchange_wait_published(&c->exchange)));
    c->base.sequence++;
    return SHOAL_OK;
}

static shoal_status local_gather(shoal_comm *comm, const uint64_t *bytes_of_rank,
                                 const void **parts)
{
    local_comm *c = of(comm);
    SHOAL_TRY(shoal_comm_check_gather(comm, bytes_of_rank));
    SHOAL_TRY(local_exchange(c));
    for (int r = 0; r < comm->size; r++)
        parts[r] = shoal_exchange_part(&c->exchange, r);
    return SHOAL_OK;
}

static shoal_status local_reduce(shoal_comm *comm, uint64_t count, const int64_t **parts,
                                 int *part_count)
{
    local_comm *c = of(comm);
    SHOAL_TRY(shoal_comm_check_reduce(comm, count));
    SHOAL_TRY(local_exchange(c));
    for (int r = 0; r < comm->size; r++)
        parts[r] = shoal_exchange_part(&c->exchange, r);
    *part_count = comm->size;
    return SHOAL_OK;
}

static shoal_status local_scatter(shoal_comm *comm, const uint64_t *counts, const int64_t **parts,
                                  int *part_count)
{
    const uint64_t begin = shoal_comm_share_begin(comm, counts, comm->rank);
    const uint64_t all = shoal_comm_share_begin(comm, counts, comm->size);
    SHOAL_TRY(local_reduce(comm, all, parts, part_count));
    for (int p = 0; p < *part_count; p++)
        parts[p] += begin;
    return SHOAL_OK;
}

static shoal_status local_broadcast(shoal_comm *comm, void *data, uint64_t bytes, int root)
{
    return note(of(comm), shoal_exchange_broadcast(&of(comm)->exchange, data, bytes, root));
}

static shoal_status local_barrier(shoal_comm *comm)
{
    return note(of(comm), shoal_exchange_barrier(&of(comm)->exchange));
}

static void free_group(local_group *group)
{
    for (int r = 0; r < group->size; r++)
        shoal_free(group->slots[r]);
    shoal_free(group->slots);
    shoal_free(group->members);
    shoal_free(group->place);
    shoal_free(group->region_block);
    shoal_free(group);
}

static void local_close(shoal_comm *comm)
{
    local_group *group = of(comm)->group;
    shoal_exchange_leave(&of(comm)->exchange);
    if (atomic_fetch_sub(&group->open_ranks, 1) == 1)
        free_group(group);
}

static const shoal_comm_ops local_ops = {
    .name = "local",
    .open_slots = local_open_slots,
    .slot = local_slot,
    .gather = local_gather,
    .reduce = local_reduce,
    .scatter = local_scatter,
    .broadcast = local_broadcast,
    .barrier = local_barrier,
    .close = local_close,
};

static shoal_status make_group(int size, local_group **out)
{
    shoal_status st = SHOAL_OK;
    void *group_block, *members, *slots, *place, *region;
    const uint64_t region_bytes = shoal_exchange_region_bytes(size) + SHOAL_EXCHANGE_LINE;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_WINDOW, sizeof(local_group), &group_block));
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_WINDOW, (uint64_t)size, sizeof(local_comm), &members),
        free_group);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_WINDOW, (uint64_t)size, sizeof(uint8_t *), &slots),
                   free_members);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_WINDOW, (uint64_t)size, sizeof(int), &place),
                   free_slots);
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_WINDOW, region_bytes, &region), free_place);
    local_group *group = group_block;
    group->size = size;
    atomic_init(&group->open_ranks, size);
    group->region_block = region;
    group->slots = slots;
    group->members = members;
    group->place = place;
    for (int r = 0; r < size; r++)
        group->place[r] = r;
    *out = group;
    return SHOAL_OK;

free_place:
    shoal_free(place);
free_slots:
    shoal_free(slots);
free_members:
    shoal_free(members);
free_group:
    shoal_free(group_block);
    return st;
}

shoal_status shoal_comm_local_create(int size, int threads, shoal_comm **out)
{
    if (size < 1 || size > SHOAL_RANKS_MAX || threads < 1)
        return shoal_fail(SHOAL_ERR_USAGE, "%d ranks of %d threads in one process (1 to %d ranks)",
                          size, threads, SHOAL_RANKS_MAX);
    local_group *group;
    SHOAL_TRY(make_group(size, &group));
    const uintptr_t at = (uintptr_t)group->region_block;
    void *region = (char *)group->region_block + (-at & (SHOAL_EXCHANGE_LINE - 1));
    const bool crowded = (int64_t)size * threads > shoal_allowed_cores();
    for (int r = 0; r < size; r++) {
        local_comm *c = &group->members[r];
        c->base = (shoal_comm){.ops = &local_ops,
                               .rank = r,
                               .size = size,
                               .share = r,
                               .shares = size,
                               .place = group->place,
                               .crowded = crowded};
        c->group = group;
        shoal_exchange_init(&c->exchange, r, size, crowded, region, &c->base.waited);
        out[r] = &c->base;
    }
    return SHOAL_OK;
}

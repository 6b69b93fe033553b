#include "worker/comm.h"

#include <string.h>

#include "worker/comm_exchange.h"

shoal_status shoal_comm_gather(shoal_comm *comm, const uint64_t *bytes_of_rank, const void **parts)
{
    const double begin = shoal_seconds_now();
    const shoal_status st = comm->ops->gather(comm, bytes_of_rank, parts);
    comm->exchanged += shoal_seconds_now() - begin;
    return st;
}

shoal_status shoal_comm_reduce(shoal_comm *comm, uint64_t count, const int64_t **parts,
                               int *part_count)
{
    const double begin = shoal_seconds_now();
    const shoal_status st = comm->ops->reduce(comm, count, parts, part_count);
    comm->exchanged += shoal_seconds_now() - begin;
    return st;
}

shoal_status shoal_comm_scatter(shoal_comm *comm, const uint64_t *counts, const int64_t **parts,
                                int *part_count)
{
    const double begin = shoal_seconds_now();
    const shoal_status st = comm->ops->scatter(comm, counts, parts, part_count);
    comm->exchanged += shoal_seconds_now() - begin;
    return st;
}

shoal_status shoal_comm_broadcast(shoal_comm *comm, void *data, uint64_t bytes, int root)
{
    const double begin = shoal_seconds_now();
    const shoal_status st = comm->ops->broadcast(comm, data, bytes, root);
    comm->exchanged += shoal_seconds_now() - begin;
    return st;
}

/* Small and rare: one broadcast per rank keeps it independent of slots, which may not exist yet. */
shoal_status shoal_comm_agree(shoal_comm *comm, shoal_status mine)
{
    if (comm->size == 1)
        return mine;
    for (int r = 0; r < comm->size; r++) {
        int32_t code = (int32_t)mine;
        SHOAL_TRY(shoal_comm_broadcast(comm, &code, sizeof code, r));
        if (code == SHOAL_OK)
            continue;
        char sentence[SHOAL_ERROR_MAX];
        memset(sentence, 0, sizeof sentence);
        memcpy(sentence, shoal_error_text(), strnlen(shoal_error_text(), sizeof sentence - 1));
        SHOAL_TRY(shoal_comm_broadcast(comm, sentence, sizeof sentence, r));
        return shoal_fail((shoal_status)code, "rank %d: %s", r, sentence);
    }
    return SHOAL_OK;
}

shoal_status shoal_comm_open_slots(shoal_comm *comm, uint64_t slot_bytes)
{
    if (comm->slot_bytes != 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "reduce slots are opened twice");
    return comm->ops->open_slots(comm, slot_bytes);
}

void shoal_comm_round(shoal_comm *comm, shoal_payload payload, uint64_t row_values)
{
    comm->payload = payload;
    comm->row_values = row_values;
}

shoal_status shoal_comm_check_gather(const shoal_comm *comm, const uint64_t *bytes_of_rank)
{
    if (comm->slot_bytes == 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "gather: the slots are not open");
    for (int r = 0; r < comm->size; r++)
        if (bytes_of_rank[r] > comm->slot_bytes)
            return shoal_fail(SHOAL_ERR_INTERNAL, "gather: %llu bytes of rank %d, slots hold %llu",
                              (unsigned long long)bytes_of_rank[r], r,
                              (unsigned long long)comm->slot_bytes);
    return SHOAL_OK;
}

shoal_status shoal_comm_check_reduce(const shoal_comm *comm, uint64_t count)
{
    if (comm->slot_bytes == 0 || count > comm->slot_bytes / sizeof(int64_t))
        return shoal_fail(SHOAL_ERR_INTERNAL, "reduce: %llu values, slots hold %llu bytes",
                          (unsigned long long)count, (unsigned long long)comm->slot_bytes);
    if (comm->payload != SHOAL_PAYLOAD_EXACT && count % comm->row_values != 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "reduce: %llu values in rows of %llu",
                          (unsigned long long)count, (unsigned long long)comm->row_values);
    return SHOAL_OK;
}

uint64_t shoal_comm_share_begin(const shoal_comm *comm, const uint64_t *counts, int place)
{
    uint64_t begin = 0;
    for (int r = 0; r < comm->size; r++)
        begin += comm->place[r] < place ? counts[r] : 0;
    return begin;
}

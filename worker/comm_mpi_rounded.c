#include "worker/comm_mpi_rounded.h"

#include <string.h>

#include "proto/arena.h"
#include "worker/comm_mpi_net.h"

void shoal_rounded_close(shoal_rounded *r)
{
    shoal_free(r->send);
    shoal_free(r->receive);
    *r = (shoal_rounded){0};
}

static shoal_status grow(uint8_t **block, uint64_t *held, uint64_t bytes)
{
    void *larger = *block;
    if (bytes <= *held)
        return SHOAL_OK;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_WINDOW, bytes, 1, &larger));
    *block = larger;
    *held = bytes;
    return SHOAL_OK;
}

/* Counts and places are rows: an MPI type of their own keeps them below 2^31. */
static shoal_status exchange(const shoal_rounded *r, MPI_Comm comm, uint64_t row_bytes,
                             const int *sizes, int nodes)
{
    MPI_Datatype row;
    SHOAL_TRY(shoal_net_check(MPI_Type_contiguous((int)row_bytes, MPI_BYTE, &row),
                              "MPI_Type_contiguous"));
    shoal_status st = shoal_net_check(MPI_Type_commit(&row), "MPI_Type_commit");
    if (st == SHOAL_OK)
        st = shoal_net_check(MPI_Alltoallv(r->send, sizes, sizes + nodes, row, r->receive,
                                           sizes + 2 * nodes, sizes + 3 * nodes, row, comm),
                             "MPI_Alltoallv");
    (void)MPI_Type_free(&row);
    return st;
}

shoal_status shoal_rounded_sum(shoal_rounded *r, MPI_Comm comm, int nodes, const int64_t *first,
                               const int64_t *rows, int64_t *values, int *scratch)
{
    int me;
    int64_t end = 0;
    const uint64_t width = r->row_values - 1, bytes = shoal_payload_bytes(r->payload, width);
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(comm, &me), "MPI_Comm_rank"));
    const int64_t mine = rows[me];
    for (int i = 0; i < nodes; i++) {
        end = first[i] + rows[i] > end ? first[i] + rows[i] : end;
        scratch[i] = (int)rows[i];
        scratch[nodes + i] = (int)first[i];
        scratch[2 * nodes + i] = (int)mine;
        scratch[3 * nodes + i] = (int)(i * mine);
    }
    SHOAL_TRY(grow(&r->send, &r->send_bytes, (uint64_t)end * bytes));
    SHOAL_TRY(grow(&r->receive, &r->receive_bytes, (uint64_t)(nodes * mine) * bytes));
    for (int64_t i = 0; i < end; i++)
        shoal_payload_pack(r->payload, values + (uint64_t)i * r->row_values, width,
                           r->send + (uint64_t)i * bytes);
    SHOAL_TRY(exchange(r, comm, bytes, scratch, nodes));
    memset(values, 0, (uint64_t)mine * r->row_values * sizeof *values);
    for (int64_t i = 0; i < nodes * mine; i++)
        shoal_payload_add(r->payload, r->receive + (uint64_t)i * bytes, width,
                          values + (uint64_t)(i % mine) * r->row_values);
    return SHOAL_OK;
}

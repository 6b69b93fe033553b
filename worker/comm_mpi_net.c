#include "worker/comm_mpi_net.h"

#include "worker/comm_exchange.h"

/* Elements, blocks and bytes per MPI call. */
#define SUM_PIECE    (UINT64_C(1) << 22)
#define GATHER_PIECE (INT64_C(1) << 18)
#define SEND_PIECE   (UINT64_C(4) << 20)

#define TAG_BROADCAST 11

shoal_status shoal_net_check(int rc, const char *what)
{
    if (rc == MPI_SUCCESS)
        return SHOAL_OK;
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    (void)MPI_Error_string(rc, text, &length);
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s: %s", what, text);
}

shoal_status shoal_net_sum(MPI_Comm comm, int64_t *values, uint64_t count)
{
    while (count > 0) {
        const uint64_t piece = count < SUM_PIECE ? count : SUM_PIECE;
        SHOAL_TRY(shoal_net_check(
            MPI_Allreduce(MPI_IN_PLACE, values, (int)piece, MPI_INT64_T, MPI_SUM, comm),
            "MPI_Allreduce"));
        values += piece;
        count -= piece;
    }
    return SHOAL_OK;
}

shoal_status shoal_net_scatter(MPI_Comm comm, int64_t *values, int nodes, const int64_t *counts,
                               int *scratch)
{
    int64_t all = 0;
    for (int i = 0; i < nodes; i++) {
        all += counts[i];
        scratch[i] = (int)counts[i];
    }
    if (all > INT32_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%lld sums are too many for one exchange",
                          (long long)all);
    return shoal_net_check(
        MPI_Reduce_scatter(MPI_IN_PLACE, values, scratch, MPI_INT64_T, MPI_SUM, comm),
        "MPI_Reduce_scatter");
}

/* Round by round, everybody at most GATHER_PIECE blocks: counts and places of round `done`. */
static int64_t plan_round(int nodes, const int64_t *first, const int64_t *blocks, int64_t done,
                          int *counts, int *places)
{
    int64_t most = 0;
    for (int i = 0; i < nodes; i++) {
        int64_t now = blocks[i] - done;
        now = now < 0 ? 0 : now > GATHER_PIECE ? GATHER_PIECE : now;
        counts[i] = (int)now;
        places[i] = (int)(now ? first[i] + done : 0);
        most = now > most ? now : most;
    }
    return most;
}

shoal_status shoal_net_gather(MPI_Comm comm, void *base, const int64_t *first,
                              const int64_t *blocks, int *scratch)
{
    int nodes;
    MPI_Datatype block;
    SHOAL_TRY(shoal_net_check(MPI_Comm_size(comm, &nodes), "MPI_Comm_size"));
    SHOAL_TRY(shoal_net_check(MPI_Type_contiguous(SHOAL_NET_BLOCK, MPI_BYTE, &block),
                              "MPI_Type_contiguous"));
    shoal_status st = shoal_net_check(MPI_Type_commit(&block), "MPI_Type_commit");
    int *counts = scratch, *places = scratch + nodes;
    for (int64_t done = 0; st == SHOAL_OK; done += GATHER_PIECE) {
        if (plan_round(nodes, first, blocks, done, counts, places) == 0)
            break;
        st = shoal_net_check(
            MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, base, counts, places, block, comm),
            "MPI_Allgatherv");
    }
    (void)MPI_Type_free(&block);
    return st;
}

/* MPI_Recv spins; a rank may wait here for hours. */
static shoal_status wait_for_message(MPI_Comm comm, int from, bool crowded)
{
    shoal_backoff backoff = {.crowded = crowded};
    for (int there = 0;;) {
        SHOAL_TRY(shoal_net_check(MPI_Iprobe(from, TAG_BROADCAST, comm, &there, MPI_STATUS_IGNORE),
                                  "MPI_Iprobe"));
        if (there)
            return SHOAL_OK;
        shoal_backoff_turn(&backoff);
    }
}

static shoal_status transfer(MPI_Comm comm, char *data, uint64_t bytes, int peer, bool send)
{
    while (bytes > 0) {
        const uint64_t piece = bytes < SEND_PIECE ? bytes : SEND_PIECE;
        const int rc = send ? MPI_Send(data, (int)piece, MPI_BYTE, peer, TAG_BROADCAST, comm)
                            : MPI_Recv(data, (int)piece, MPI_BYTE, peer, TAG_BROADCAST, comm,
                                       MPI_STATUS_IGNORE);
        SHOAL_TRY(shoal_net_check(rc, send ? "MPI_Send" : "MPI_Recv"));
        data += piece;
        bytes -= piece;
    }
    return SHOAL_OK;
}

shoal_status shoal_net_broadcast(MPI_Comm comm, void *data, uint64_t bytes, int root, bool crowded)
{
    int nodes, me;
    SHOAL_TRY(shoal_net_check(MPI_Comm_size(comm, &nodes), "MPI_Comm_size"));
    SHOAL_TRY(shoal_net_check(MPI_Comm_rank(comm, &me), "MPI_Comm_rank"));
    const int place = (me - root + nodes) % nodes; /* the root has place 0 */

    int step = 1;
    while (step < nodes && !(place & step))
        step *= 2;
    if (place != 0) {
        const int parent = (place - step + root) % nodes;
        SHOAL_TRY(wait_for_message(comm, parent, crowded));
        SHOAL_TRY(transfer(comm, data, bytes, parent, false));
    }
    for (step /= 2; step > 0; step /= 2)
        if (place + step < nodes)
            SHOAL_TRY(transfer(comm, data, bytes, (place + step + root) % nodes, true));
    return SHOAL_OK;
}

shoal_status shoal_net_barrier(MPI_Comm comm, double seconds, bool crowded, bool *all)
{
    MPI_Request request;
    shoal_backoff backoff = {.crowded = crowded};
    SHOAL_TRY(shoal_net_check(MPI_Ibarrier(comm, &request), "MPI_Ibarrier"));
    for (int done = 0;;) {
        SHOAL_TRY(shoal_net_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test"));
        if (done || (seconds > 0 && backoff.waited > seconds)) {
            *all = done != 0;
            return SHOAL_OK;
        }
        shoal_backoff_turn(&backoff);
    }
}

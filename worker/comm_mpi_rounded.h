/* worker/comm_mpi_rounded.h - sums between nodes whose rows travel rounded (worker/payload.h).
 *
 * Private to worker/comm_mpi*.c. Every node sends its rounded part of a row to whoever needs the
 * row, and receivers add the parts, their own rounded one too, in the order of the nodes. */
#ifndef SHOAL_WORKER_COMM_MPI_ROUNDED_H
#define SHOAL_WORKER_COMM_MPI_ROUNDED_H

#include <mpi.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/payload.h"

typedef struct {
    shoal_payload payload;
    uint64_t row_values;     /* int64 of a row, the count included */
    uint8_t *send, *receive; /* owned; they grow when needed       */
    uint64_t send_bytes, receive_bytes;
} shoal_rounded;

void shoal_rounded_close(shoal_rounded *r);

/* Rows [first[i], first[i] + rows[i]) of `values` are summed over all `nodes` of `comm` for node i;
 * this node's come to lie at the beginning of `values`, the rest is lost. `scratch`: 4 * nodes. */
SHOAL_MUST_USE shoal_status shoal_rounded_sum(shoal_rounded *r, MPI_Comm comm, int nodes,
                                              const int64_t *first, const int64_t *rows,
                                              int64_t *values, int *scratch);

#endif

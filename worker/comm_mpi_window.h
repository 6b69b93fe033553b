/* worker/comm_mpi_window.h - memory shared by the processes of a node, made by MPI.
 *
 * Private to worker/comm_mpi*.c. Every rank of `node` asks for its own number of bytes (0 is
 * legal) and gets them on its own pages, zeroed; peers' parts are reached through pointers. All
 * functions are collective over the node. */
#ifndef SHOAL_WORKER_COMM_MPI_WINDOW_H
#define SHOAL_WORKER_COMM_MPI_WINDOW_H

#include <mpi.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct {
    MPI_Win win;
    uint64_t bytes; /* of this rank */
} shoal_window;

#define SHOAL_WINDOW_NONE ((shoal_window){MPI_WIN_NULL, 0})

SHOAL_MUST_USE shoal_status shoal_window_open(MPI_Comm node, uint64_t bytes, shoal_window *out);
void shoal_window_close(shoal_window *window);

/* Where rank r's part is in this process, aligned to SHOAL_EXCHANGE_LINE. */
SHOAL_MUST_USE shoal_status shoal_window_part(const shoal_window *window, int r, void **out);

#endif

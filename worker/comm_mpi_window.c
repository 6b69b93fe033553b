#include "worker/comm_mpi_window.h"

#include <string.h>

#include "worker/comm_exchange.h"
#include "worker/comm_mpi_net.h"

/* Every rank's part starts on a page of its own, so it is placed near the rank that owns it. */
static shoal_status allocate(MPI_Comm node, uint64_t bytes, void **base, MPI_Win *win)
{
    MPI_Info info;
    SHOAL_TRY(shoal_net_check(MPI_Info_create(&info), "MPI_Info_create"));
    shoal_status st =
        shoal_net_check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set");
    if (st == SHOAL_OK)
        st = shoal_net_check(MPI_Win_allocate_shared((MPI_Aint)bytes, 1, info, node, base, win),
                             "MPI_Win_allocate_shared");
    (void)MPI_Info_free(&info);
    return st;
}

shoal_status shoal_window_open(MPI_Comm node, uint64_t bytes, shoal_window *out)
{
    void *base = NULL;
    shoal_window window = {MPI_WIN_NULL, bytes};
    const uint64_t padded = bytes ? bytes + SHOAL_EXCHANGE_LINE : 0; /* room to align */
    SHOAL_TRY(allocate(node, padded, &base, &window.win));
    shoal_status st =
        shoal_net_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, window.win), "MPI_Win_lock_all");
    if (st == SHOAL_OK && padded)
        memset(base, 0, padded);
    if (st == SHOAL_OK)
        st = shoal_net_check(MPI_Barrier(node), "MPI_Barrier"); /* nobody sees it unzeroed */
    if (st == SHOAL_OK)
        *out = window;
    return st;
}

void shoal_window_close(shoal_window *window)
{
    if (window->win == MPI_WIN_NULL)
        return;
    (void)MPI_Win_unlock_all(window->win);
    (void)MPI_Win_free(&window->win);
    *window = SHOAL_WINDOW_NONE;
}

shoal_status shoal_window_part(const shoal_window *window, int r, void **out)
{
    MPI_Aint bytes;
    int unit;
    void *base;
    SHOAL_TRY(shoal_net_check(MPI_Win_shared_query(window->win, r, &bytes, &unit, &base),
                              "MPI_Win_shared_query"));
    /* Mappings start on pages, so every process finds the same place. */
    const uintptr_t at = (uintptr_t)base;
    *out = (char *)base + (-at & (SHOAL_EXCHANGE_LINE - 1));
    return SHOAL_OK;
}

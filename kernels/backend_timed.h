/* kernels/backend_timed.h - a filling of kernels/backend.h that wraps another and keeps books.
 *
 * Calls go through unchanged; every one is added to a line for its operation and shape: how long
 * it took, the bytes it must touch at least (weights and scales, KV pages, rows in and out, each
 * once) and its multiplications and additions (linears and attention; the rest counts none). It
 * belongs to the thread that makes the calls, as every backend does. */
#ifndef SHOAL_KERNELS_BACKEND_TIMED_H
#define SHOAL_KERNELS_BACKEND_TIMED_H

#include "kernels/backend.h"

/* Further shapes share the last line. */
#define SHOAL_TIMED_LINES_MAX 32

typedef struct {
    const char *op; /* the entry of the table: "whole", "cut", ... */
    int64_t n, k;   /* outputs and inputs of its linears; 0: it has none */
    uint64_t calls;
    double seconds, bytes, operations;
} shoal_timed_line;

/* Takes over `inner`: it is closed with the new one, and at once when this fails. */
SHOAL_MUST_USE shoal_status shoal_backend_timed_open(shoal_backend *inner, shoal_backend **out);

/* The lines so far, in order of first use; they stay where they are and go on counting. */
const shoal_timed_line *shoal_backend_timed_lines(const shoal_backend *timed, int *count);
void shoal_backend_timed_reset(shoal_backend *timed);

#endif

/* shard/tensor_view.h - tensors whose rows do not lie one after the other in the file: slices of a
 * larger storage and transposed matrices, as torch.save keeps them.
 *
 * Readers of a tensor see it row-major, whatever lies in the file. Dimensions of one element and
 * dimensions that follow each other without a gap count as one; what then has rows of adjacent
 * elements, or columns of adjacent elements, is a view. Nothing else is read. */
#ifndef SHOAL_SHARD_TENSOR_VIEW_H
#define SHOAL_SHARD_TENSOR_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/file_runs.h"

typedef struct {
    int64_t rows, columns; /* 0, 0: no view, the tensor lies as it is read              */
    uint64_t stride;       /* bytes from row to row; from column to column if transposed */
    bool transposed;
} shoal_tensor_view;

/* The view that sizes[rank] and strides[rank] (in elements, none negative) make of elements of
 * `element` bytes. False where it is none that is read: elements that overlap (a stride of 0) or
 * more than one gap. */
bool shoal_view_make(int rank, const int64_t *sizes, const int64_t *strides, uint64_t element,
                     shoal_tensor_view *out);

/* Bytes from the first to the last element of a view. */
uint64_t shoal_view_span(const shoal_tensor_view *view, uint64_t element);

/* Reads runs of a file. */
typedef shoal_status (*shoal_view_source)(void *context, const shoal_row_runs *runs, void *out);

/* Read runs that count in the tensor as it is seen, at whole elements, from a view that begins at
 * byte `begin` of the file. Reads exactly those elements. */
SHOAL_MUST_USE shoal_status shoal_view_read(const shoal_tensor_view *view, uint64_t element,
                                            uint64_t begin, const shoal_row_runs *runs,
                                            shoal_view_source source, void *context, void *out);

#endif

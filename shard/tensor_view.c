#include "shard/tensor_view.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

bool shoal_view_make(int rank, const int64_t *sizes, const int64_t *strides, uint64_t element,
                     shoal_tensor_view *out)
{
    int64_t size[2] = {1, 1}, stride[2] = {0, 0}; /* the innermost first */
    int parts = 0;
    *out = (shoal_tensor_view){0};
    for (int i = 0; i < rank; i++)
        if (sizes[i] == 0)
            return true;
    for (int i = rank - 1; i >= 0; i--) {
        if (sizes[i] == 1)
            continue;
        if (parts > 0 && strides[i] == size[parts - 1] * stride[parts - 1]) {
            size[parts - 1] *= sizes[i];
            continue;
        }
        if (parts == 2)
            return false;
        size[parts] = sizes[i];
        stride[parts++] = strides[i];
    }
    if (parts == 0 || (parts == 1 && stride[0] == 1))
        return true;
    if (parts == 1) { /* single elements, apart from each other */
        *out = (shoal_tensor_view){size[0], 1, (uint64_t)stride[0] * element, false};
        return stride[0] > 1;
    }
    out->rows = size[1];
    out->columns = size[0];
    out->transposed = stride[0] != 1;
    out->stride = (uint64_t)stride[out->transposed ? 0 : 1] * element;
    return out->transposed ? stride[1] == 1 && stride[0] >= size[1] : stride[1] >= size[0];
}

uint64_t shoal_view_span(const shoal_tensor_view *view, uint64_t element)
{
    const uint64_t runs = (uint64_t)(view->transposed ? view->columns : view->rows);
    const uint64_t length = (uint64_t)(view->transposed ? view->rows : view->columns);
    return (runs - 1) * view->stride + length * element;
}

/* What a read is about. */
typedef struct {
    const shoal_tensor_view *view;
    uint64_t element, begin;
    shoal_view_source source;
    void *context;
} reading;

/* A rectangle of what is seen: rows from `row`, columns from `column`. */
typedef struct {
    uint64_t row, rows, column, columns;
} rectangle;

static void turn(const char *from, const rectangle *r, uint64_t element, char *out)
{
    for (uint64_t i = 0; i < r->rows; i++)
        for (uint64_t j = 0; j < r->columns; j++)
            memcpy(out + (i * r->columns + j) * element, from + (j * r->rows + i) * element,
                   element);
}

static shoal_status read_rectangle(const reading *g, const rectangle *r, char *out)
{
    const uint64_t element = g->element, stride = g->view->stride;
    void *block;
    if (!g->view->transposed) {
        const shoal_row_runs runs = {g->begin + r->row * stride + r->column * element,
                                     r->columns * element, stride, r->rows};
        return g->source(g->context, &runs, out);
    }
    const shoal_row_runs runs = {g->begin + r->row * element + r->column * stride,
                                 r->rows * element, stride, r->columns};
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, r->rows * r->columns, element, &block));
    const shoal_status st = g->source(g->context, &runs, block);
    if (st == SHOAL_OK)
        turn(block, r, element, out);
    shoal_free(block);
    return st;
}

/* Elements [first, first + count): the end of a row, whole rows, the beginning of a row. */
static shoal_status read_elements(const reading *g, uint64_t first, uint64_t count, char *out)
{
    const uint64_t columns = (uint64_t)g->view->columns;
    while (count > 0) {
        rectangle r = {first / columns, 1, first % columns, columns - first % columns};
        if (r.column == 0 && count >= columns)
            r.rows = count / columns;
        else if (r.columns > count)
            r.columns = count;
        SHOAL_TRY(read_rectangle(g, &r, out));
        first += r.rows * r.columns;
        count -= r.rows * r.columns;
        out += r.rows * r.columns * g->element;
    }
    return SHOAL_OK;
}

shoal_status shoal_view_read(const shoal_tensor_view *view, uint64_t element, uint64_t begin,
                             const shoal_row_runs *runs, shoal_view_source source, void *context,
                             void *out)
{
    const reading g = {view, element, begin, source, context};
    const uint64_t width = (uint64_t)view->columns * element;
    const uint64_t in_row = runs->offset % width;
    if (runs->offset % element || runs->bytes % element || runs->stride % element)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a view is read from the middle of an element");
    if (runs->stride == width && in_row + runs->bytes <= width) {
        const rectangle r = {runs->offset / width, runs->rows, in_row / element,
                             runs->bytes / element};
        return read_rectangle(&g, &r, out);
    }
    for (uint64_t row = 0; row < runs->rows; row++)
        SHOAL_TRY(read_elements(&g, (runs->offset + row * runs->stride) / element,
                                runs->bytes / element, (char *)out + row * runs->bytes));
    return SHOAL_OK;
}

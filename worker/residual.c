#include "worker/residual.h"

#include <string.h>

#include "proto/bytes.h"

/* What travels of every dealt row: its bad units, then either x or three arrays per act. */
#define COLUMNS_MAX (1 + 3 * SHOAL_STAGE_ACTS_MAX)

/* An array with one element of `bytes` per row. */
typedef struct {
    uint8_t *rows;
    uint64_t bytes;
} column;

static column values_of(const shoal_act *a)
{
    const uint64_t bytes = (uint64_t)(a->ld * shoal_act_value_bytes(a->like->spec.act));
    if (a->q)
        return (column){(uint8_t *)a->q, bytes};
    return (column){a->bf16 ? (uint8_t *)a->bf16 : (uint8_t *)a->f32, bytes};
}

static int columns_of(const shoal_scratch *s, int64_t hidden, const shoal_stage_view *view,
                      column *out)
{
    int n = 0;
    out[n++] = (column){(uint8_t *)s->bad, sizeof *s->bad};
    if (!view)
        out[n++] = (column){(uint8_t *)s->x, (uint64_t)hidden * sizeof *s->x};
    for (int i = 0; view && i < view->count; i++) {
        const shoal_act *a = &view->acts[i];
        const shoal_linear_size *size = &a->like->size;
        out[n++] = values_of(a);
        if (!a->q)
            continue;
        out[n++] = (column){(uint8_t *)a->scales, (uint64_t)size->act_groups * sizeof *a->scales};
        out[n++] = (column){(uint8_t *)a->sums, (uint64_t)size->segments * sizeof *a->sums};
    }
    return n;
}

static uint64_t bytes_of(const column *columns, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += columns[i].bytes;
    return bytes;
}

uint64_t shoal_residual_row_bytes(const shoal_forward *f)
{
    static const shoal_stage stages[] = {SHOAL_STAGE_QKV, SHOAL_STAGE_GATE_UP};
    const int64_t hidden = f->model->hidden;
    column columns[COLUMNS_MAX];
    uint64_t most = bytes_of(columns, columns_of(f->scratch, hidden, NULL, columns));
    for (int64_t layer = 0; layer < f->weights->layer_count; layer++)
        for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
            const shoal_stage_view *view = shoal_scratch_view(f->scratch, layer, stages[i]);
            const uint64_t bytes = bytes_of(columns, columns_of(f->scratch, hidden, view, columns));
            most = bytes > most ? bytes : most;
        }
    return most;
}

bool shoal_residual_deals(const shoal_forward *f, int64_t rows)
{
    const uint64_t share = (uint64_t)shoal_ceil_div(rows, f->comm->size);
    return f->comm->size > 1 && rows >= f->deal_rows &&
           share * f->dealt_row_bytes <= f->comm->slot_bytes;
}

shoal_range shoal_residual_share(const shoal_forward *f, int64_t rows, int rank)
{
    shoal_range share = {0, rows};
    if (f->dealt)
        shoal_share(rows, f->comm->place[rank], f->comm->size, &share.begin, &share.end);
    return share;
}

shoal_status shoal_residual_reduce(const shoal_forward *f, int64_t rows, shoal_branch *b)
{
    const uint64_t width = (uint64_t)f->model->hidden + 1;
    uint64_t counts[SHOAL_RANKS_MAX];
    if (!f->dealt)
        return shoal_comm_reduce(f->comm, (uint64_t)rows * width, b->parts, &b->part_count);
    for (int r = 0; r < f->comm->size; r++)
        counts[r] = (uint64_t)shoal_range_size(shoal_residual_share(f, rows, r)) * width;
    return shoal_comm_scatter(f->comm, counts, b->parts, &b->part_count);
}

/* This rank's rows: x += branch, acts = norm of x. */
static shoal_status join(const shoal_forward *f, shoal_range own, const shoal_branch *b,
                         const float *weight, const shoal_stage_view *view)
{
    const shoal_scratch *s = f->scratch;
    const int64_t hidden = f->model->hidden, rows = shoal_range_size(own);
    shoal_act acts[SHOAL_STAGE_ACTS_MAX];
    const int count = view ? view->count : 0;
    for (int i = 0; i < count; i++)
        acts[i] = shoal_act_from(&view->acts[i], own.begin);
    const shoal_norm_args args = {
        .x = s->x + own.begin * hidden,
        .rows = rows,
        .hidden = hidden,
        .parts = b->parts,
        .part_count = b->part_count,
        .branch = b->rows ? b->rows + own.begin * hidden : NULL,
        .bias = b->bias,
        .branch_norm = b->norm,
        .bad = s->bad + own.begin,
        .weight = weight,
        .eps = f->model->norm_eps,
        .picked = rows,
        .acts = acts,
        .act_count = count,
        .pending = s->pending + own.begin,
    };
    return f->backend->ops->norm(f->backend, &args);
}

/* Every rank publishes the columns of its rows and takes those of the others. */
static shoal_status hand_round(const shoal_forward *f, int64_t rows, const column *columns,
                               int count)
{
    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    const uint64_t each = bytes_of(columns, count);
    const shoal_range own = shoal_residual_share(f, rows, f->comm->rank);
    uint8_t *slot = shoal_comm_slot(f->comm);
    for (int i = 0; i < count; i++) {
        const uint64_t size = (uint64_t)shoal_range_size(own) * columns[i].bytes;
        memcpy(slot, columns[i].rows + (uint64_t)own.begin * columns[i].bytes, size);
        slot += size;
    }
    for (int r = 0; r < f->comm->size; r++)
        bytes[r] = (uint64_t)shoal_range_size(shoal_residual_share(f, rows, r)) * each;
    SHOAL_TRY(shoal_comm_gather(f->comm, bytes, parts));
    for (int r = 0; r < f->comm->size; r++) {
        const shoal_range theirs = shoal_residual_share(f, rows, r);
        const uint8_t *from = parts[r];
        for (int i = 0; i < count && r != f->comm->rank; i++) {
            const uint64_t size = (uint64_t)shoal_range_size(theirs) * columns[i].bytes;
            memcpy(columns[i].rows + (uint64_t)theirs.begin * columns[i].bytes, from, size);
            from += size;
        }
    }
    return SHOAL_OK;
}

shoal_status shoal_residual_norm(const shoal_forward *f, int64_t rows, shoal_branch *b,
                                 const float *weight, const shoal_stage_view *view)
{
    shoal_scratch *s = f->scratch;
    column columns[COLUMNS_MAX];
    SHOAL_TRY(join(f, shoal_residual_share(f, rows, f->comm->rank), b, weight, view));
    if (f->dealt)
        SHOAL_TRY(hand_round(f, rows, columns, columns_of(s, f->model->hidden, view, columns)));
    for (int64_t r = 0; r < rows; r++)
        if (s->bad[r] && s->failed_layer[r] < 0)
            s->failed_layer[r] = b->layer;
    *b = (shoal_branch){.layer = b->layer};
    return SHOAL_OK;
}

shoal_status shoal_residual_end(const shoal_forward *f, int64_t rows, shoal_branch *b)
{
    return shoal_residual_norm(f, rows, b, NULL, NULL);
}

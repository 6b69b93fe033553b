#include "kernels/linear_run.h"

#include <string.h>

#include "kernels/linear_row.h"
#include "proto/bytes.h"

/* Work for every thread is worth more than long blocks: aim at this many pieces a thread. */
#define PIECES_PER_THREAD 4
#define ROW_BLOCK_MIN     16

static const shoal_linear_row *row_for(const shoal_linear *w, int64_t rows)
{
    return rows <= SHOAL_DECODE_ROWS ? w->decode : w->prefill;
}

/* Rows per piece when `panels` panels are shared; any number gives the same bits. */
static int64_t block_of(int64_t panels, int64_t rows, int threads)
{
    int64_t block = SHOAL_ROW_BLOCK;
    while (block > ROW_BLOCK_MIN &&
           panels * shoal_ceil_div(rows, block) < (int64_t)PIECES_PER_THREAD * threads)
        block /= 2;
    return block;
}

/* One piece: `rows` rows from `row0` of one panel. */
typedef struct {
    int64_t panel, row0, rows, columns;
} piece;

/* Piece number `i` of a linear: the blocks of a panel follow each other, so that its weights stay
 * in the cache. */
static piece piece_at(const shoal_linear *w, int64_t i, int64_t rows, int64_t block)
{
    const int64_t blocks = shoal_ceil_div(rows, block), panel = i / blocks;
    const int64_t row0 = i % blocks * block;
    return (piece){panel, row0, shoal_min_i64(block, rows - row0),
                   shoal_min_i64(SHOAL_PANEL, w->spec.n - panel * SHOAL_PANEL)};
}

typedef struct {
    const shoal_whole_job *jobs;
    int count;
    int64_t rows, block;
} whole_context;

static void whole_piece(const shoal_whole_job *job, int64_t rows, piece at)
{
    const shoal_linear *w = job->linear;
    const int64_t n0 = at.panel * SHOAL_PANEL;
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    memset(acc, 0, (size_t)(at.rows * SHOAL_PANEL) * sizeof *acc);
    const shoal_linear_row *row = row_for(w, rows);
    row->accumulate(w, job->act, at.row0, at.rows, at.panel, 0, w->size.segments, acc);
    row->put(acc, at.rows, at.columns, w->bias ? w->bias + n0 : NULL,
             job->out + at.row0 * job->ld + n0, job->ld);
}

static void whole_task(void *context, int thread, int threads)
{
    const whole_context *x = context;
    const int64_t blocks = shoal_ceil_div(x->rows, x->block);
    int64_t begin, end, total = 0;
    for (int j = 0; j < x->count; j++)
        total += x->jobs[j].linear->size.panels * blocks;
    shoal_share(total, thread, threads, &begin, &end);
    for (int j = 0; j < x->count; j++) {
        const shoal_linear *w = x->jobs[j].linear;
        const int64_t pieces = w->size.panels * blocks;
        for (int64_t i = shoal_max_i64(begin, 0); i < shoal_min_i64(end, pieces); i++)
            whole_piece(&x->jobs[j], x->rows, piece_at(w, i, x->rows, x->block));
        begin -= pieces;
        end -= pieces;
    }
}

void shoal_linear_whole(shoal_pool *pool, const shoal_whole_job *jobs, int count, int64_t rows)
{
    if (rows <= 0)
        return;
    int64_t panels = 0;
    for (int j = 0; j < count; j++)
        panels += jobs[j].linear->size.panels;
    whole_context context = {jobs, count, rows, block_of(panels, rows, shoal_pool_threads(pool))};
    shoal_pool_run(pool, whole_task, &context);
}

typedef struct {
    const shoal_linear *linear;
    const shoal_act *act;
    int64_t rows, block;
    int64_t *slot;
    int64_t ld;
} cut_context;

/* One past the last segment of the unit that segment `begin` is in. */
static int64_t unit_end(const shoal_linear *w, int64_t begin)
{
    int64_t i = begin + 1;
    while (i < w->size.segments && w->segments[i].unit == w->segments[begin].unit)
        i++;
    return i;
}

static void cut_piece(const cut_context *x, piece at)
{
    const shoal_linear *w = x->linear;
    const shoal_linear_row *row = row_for(w, x->rows);
    int64_t *slot = x->slot + at.row0 * x->ld + at.panel * SHOAL_PANEL;
    int64_t bad[SHOAL_ROW_BLOCK] = {0};
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    for (int64_t begin = 0, end; begin < w->size.segments; begin = end) {
        end = unit_end(w, begin);
        memset(acc, 0, (size_t)(at.rows * SHOAL_PANEL) * sizeof *acc);
        row->accumulate(w, x->act, at.row0, at.rows, at.panel, begin, end, acc);
        row->flush(acc, at.rows, at.columns, slot, x->ld, bad, begin == 0);
    }
    /* Panels of one row may be on several threads; bad units are rare. */
    for (int64_t r = 0; r < at.rows; r++) {
        if (bad[r])
            (void)__atomic_fetch_add(&x->slot[(at.row0 + r) * x->ld + w->spec.n], bad[r],
                                     __ATOMIC_RELAXED);
    }
}

static void cut_task(void *context, int thread, int threads)
{
    const cut_context *x = context;
    const shoal_linear *w = x->linear;
    int64_t begin, end;
    shoal_share(w->size.panels * shoal_ceil_div(x->rows, x->block), thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        cut_piece(x, piece_at(w, i, x->rows, x->block));
}

void shoal_linear_cut(shoal_pool *pool, const shoal_linear *linear, const shoal_act *act,
                      int64_t rows, int64_t *slot, int64_t ld_slot, const int64_t *pending)
{
    const int64_t n = linear->spec.n;
    for (int64_t r = 0; r < rows; r++) {
        slot[r * ld_slot + n] = pending ? pending[r] : 0;
        if (linear->size.segments == 0)
            memset(slot + r * ld_slot, 0, (size_t)n * sizeof *slot);
    }
    if (rows <= 0 || n == 0 || linear->size.segments == 0)
        return;
    const int64_t block = block_of(linear->size.panels, rows, shoal_pool_threads(pool));
    cut_context context = {linear, act, rows, block, slot, ld_slot};
    shoal_pool_run(pool, cut_task, &context);
}

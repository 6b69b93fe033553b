#include "kernels/linear_run.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/linear_row.h"
#include "kernels/quantize_rows.h"
#include "proto/bytes.h"

/* Work for every thread is worth more than long blocks: aim at this many pieces a thread. */
#define PIECES_PER_THREAD 4
#define ROW_BLOCK_MIN     16

/* The inputs of a block should stay in an L2 cache while all panels pass. */
#define INPUT_BYTES (1 << 20)

/* Pieces are claimed in runs, at least this many runs a thread, so that few rows read long streams
 * and yet nobody waits long for a slower core. */
#define RUNS_PER_THREAD 16

/* How the rows and panels of a linear, or of several, are cut into pieces. Piece i is block
 * i / columns of the rows and column i % columns; a column is `width` panels. */
typedef struct {
    int64_t rows, block, columns;
} cutting;

/* Pieces that the threads claim, a run at a time. */
typedef struct {
    int64_t pieces, run;
    _Atomic int64_t next; /* first one that nobody has claimed */
} queue;

/* Rows per piece; any number gives the same bits. */
static int64_t block_of(int64_t columns, int64_t rows, int64_t most, int threads)
{
    int64_t block = most;
    while (block > ROW_BLOCK_MIN &&
           columns * shoal_ceil_div(rows, block) < (int64_t)PIECES_PER_THREAD * threads)
        block /= 2;
    return block;
}

/* Rows of `act` whose values fill the room for inputs, at most `most`. */
static int64_t fitting(const shoal_act *act, int64_t most)
{
    const int64_t row_bytes = act->ld * shoal_act_value_bytes(act->like->spec.act);
    while (most > 2 * ROW_BLOCK_MIN && most * row_bytes > INPUT_BYTES + INPUT_BYTES / 8)
        most /= 2;
    return most;
}

/* Returns the number of pieces. */
static int64_t cut_pieces(cutting *c, int64_t columns, int64_t rows, int64_t most, int threads)
{
    c->rows = rows;
    c->columns = columns;
    c->block = block_of(columns, rows, most, threads);
    return columns * shoal_ceil_div(rows, c->block);
}

static void line_up(queue *q, int64_t pieces, int threads)
{
    q->pieces = pieces;
    q->run = shoal_max_i64(1, pieces / ((int64_t)RUNS_PER_THREAD * threads));
    atomic_init(&q->next, 0);
}

/* One piece: `rows` rows from `row0`, column `column`. */
typedef struct {
    int64_t column, row0, rows;
} piece;

/* Claim the next run of pieces [*begin, *end); false when none are left. */
static bool claim(queue *q, int64_t *begin, int64_t *end)
{
    *begin = atomic_fetch_add_explicit(&q->next, q->run, memory_order_relaxed);
    *end = shoal_min_i64(*begin + q->run, q->pieces);
    return *begin < q->pieces;
}

static piece piece_at(const cutting *c, int64_t i)
{
    const int64_t row0 = i / c->columns * c->block;
    return (piece){i % c->columns, row0, shoal_min_i64(c->block, c->rows - row0)};
}

static int64_t panel_columns(const shoal_linear *w, int64_t panel)
{
    return shoal_min_i64(SHOAL_PANEL, w->spec.n - panel * SHOAL_PANEL);
}

/* ---- whole ---------------------------------------------------------------------------------- */

typedef struct {
    cutting cut;
    queue queue;
    const shoal_whole_job *jobs;
} whole_context;

/* W·act of one panel and some rows into acc [rows][64]. */
static const shoal_linear_row *sums_of(const shoal_linear *w, const shoal_act *act, int64_t all,
                                       piece at, int64_t panel, float *acc)
{
    const shoal_linear_row *row = shoal_linear_row_for(w, all);
    memset(acc, 0, (size_t)(at.rows * SHOAL_PANEL) * sizeof *acc);
    row->accumulate(w, act, at.row0, at.rows, panel, 0, w->size.segments, acc);
    return row;
}

static const float *bias_at(const shoal_linear *w, int64_t panel)
{
    return w->bias ? w->bias + panel * SHOAL_PANEL : NULL;
}

static void whole_piece(const shoal_whole_job *job, int64_t rows, piece at, int64_t panel)
{
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const shoal_linear *w = job->linear;
    sums_of(w, job->act, rows, at, panel, acc)
        ->epilogue->put(acc, at.rows, panel_columns(w, panel), bias_at(w, panel),
                        job->out + at.row0 * job->ld + panel * SHOAL_PANEL, job->ld);
}

static void whole_task(void *context, int thread, int threads)
{
    whole_context *x = context;
    int64_t begin, end;
    (void)thread;
    (void)threads;
    while (claim(&x->queue, &begin, &end)) {
        for (int64_t i = begin; i < end; i++) {
            const piece at = piece_at(&x->cut, i);
            const shoal_whole_job *job = x->jobs;
            int64_t panel = at.column;
            for (; panel >= job->linear->size.panels; job++)
                panel -= job->linear->size.panels;
            whole_piece(job, x->cut.rows, at, panel);
        }
    }
}

void shoal_linear_whole(shoal_pool *pool, const shoal_whole_job *jobs, int count, int64_t rows)
{
    whole_context context = {.jobs = jobs};
    int64_t panels = 0;
    for (int j = 0; j < count; j++)
        panels += jobs[j].linear->size.panels;
    if (rows <= 0 || panels == 0)
        return;
    const int threads = shoal_pool_threads(pool);
    line_up(&context.queue,
            cut_pieces(&context.cut, panels, rows, fitting(jobs[0].act, SHOAL_ROW_BLOCK), threads),
            threads);
    shoal_pool_run(pool, whole_task, &context);
}

/* ---- cut ------------------------------------------------------------------------------------ */

typedef struct {
    cutting cut;
    queue queue;
    const shoal_linear *linear;
    const shoal_act *act;
    int64_t *slot;
    int64_t ld;
} cut_context;

int64_t shoal_linear_unit_end(const shoal_linear *w, int64_t begin)
{
    int64_t i = begin + 1;
    while (i < w->size.segments && w->segments[i].unit == w->segments[begin].unit)
        i++;
    return i;
}

void shoal_linear_units_by_calls(const shoal_linear_row *row, const shoal_linear *w,
                                 const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                 int64_t columns, int64_t *sums, int64_t *bad)
{
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    for (int64_t begin = 0, end; begin < w->size.segments; begin = end) {
        end = shoal_linear_unit_end(w, begin);
        memset(acc, 0, (size_t)(rows * SHOAL_PANEL) * sizeof *acc);
        row->accumulate(w, a, row0, rows, panel, begin, end, acc);
        row->epilogue->flush(acc, rows, columns, sums, SHOAL_PANEL, bad, begin == 0);
    }
}

static void cut_piece(const cut_context *x, piece at)
{
    _Alignas(64) int64_t sums[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const shoal_linear *w = x->linear;
    const shoal_linear_row *row = shoal_linear_row_for(w, x->cut.rows);
    const int64_t columns = panel_columns(w, at.column);
    int64_t bad[SHOAL_ROW_BLOCK] = {0};
    row->units(row, w, x->act, at.row0, at.rows, at.column, columns, sums, bad);
    for (int64_t r = 0; r < at.rows; r++) {
        int64_t *slot = x->slot + (at.row0 + r) * x->ld;
        memcpy(slot + at.column * SHOAL_PANEL, sums + r * SHOAL_PANEL,
               (size_t)columns * sizeof *sums);
        /* Panels of one row may be on several threads; bad units are rare. */
        if (bad[r])
            (void)__atomic_fetch_add(&slot[w->spec.n], bad[r], __ATOMIC_RELAXED);
    }
}

static void cut_task(void *context, int thread, int threads)
{
    cut_context *x = context;
    int64_t begin, end;
    (void)thread;
    (void)threads;
    while (claim(&x->queue, &begin, &end)) {
        for (int64_t i = begin; i < end; i++)
            cut_piece(x, piece_at(&x->cut, i));
    }
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
    cut_context context = {.linear = linear, .act = act, .slot = slot, .ld = ld_slot};
    const int threads = shoal_pool_threads(pool);
    line_up(
        &context.queue,
        cut_pieces(&context.cut, linear->size.panels, rows, fitting(act, SHOAL_ROW_BLOCK), threads),
        threads);
    shoal_pool_run(pool, cut_task, &context);
}

/* ---- gated ---------------------------------------------------------------------------------- */

typedef struct {
    cutting cut;
    const shoal_gated_args *a;
    int64_t width; /* columns of a piece: whole panels and whole activation groups */
    int64_t end;   /* one past its last piece in the queue */
} gated_job;

typedef struct {
    gated_job jobs[SHOAL_GATED_JOBS_MAX];
    queue queue;
    const shoal_ops_row *ops;
    shoal_cpu_level cap;
    float *scratch;
    int64_t each;
} gated_context;

/* Columns that can be quantized together. */
static int64_t gated_width(const shoal_act *act)
{
    const int64_t k = act->like->spec.k;
    int64_t width = SHOAL_PANEL;
    while (act->q && width < k && width % act->like->spec.act_group)
        width += SHOAL_PANEL;
    return width;
}

/* Wide groups have fewer rows to a block: the scratch stays in the L2 cache. */
static int64_t gated_block(int64_t width)
{
    int64_t block = SHOAL_ROW_BLOCK;
    while (block > ROW_BLOCK_MIN && block * width > 2 * SHOAL_ROW_BLOCK * SHOAL_PANEL)
        block /= 2;
    return block;
}

int64_t shoal_linear_gated_scratch(const shoal_act *act)
{
    const int64_t width = gated_width(act);
    return gated_block(width) * (width + 2 * SHOAL_PANEL);
}

/* One panel of gate and of up, with their biases, through the activation into `to` [rows][width].
 */
static void gated_panel(const gated_job *x, const shoal_ops_row *ops, piece at, int64_t panel,
                        float *acc, float *to)
{
    const shoal_linear *const of[2] = {x->a->gate, x->a->up};
    const shoal_act *const acts[2] = {x->a->gate_act, x->a->up_act};
    float *const sums[2] = {acc, acc + at.rows * SHOAL_PANEL};
    const int64_t columns = panel_columns(of[0], panel);
    for (int i = 0; i < 2; i++) {
        const shoal_linear_row *row = sums_of(of[i], acts[i], x->cut.rows, at, panel, sums[i]);
        if (of[i]->bias)
            row->epilogue->put(sums[i], at.rows, columns, bias_at(of[i], panel), sums[i],
                               SHOAL_PANEL);
    }
    ops->gated(x->a->kind, sums[0], sums[1], at.rows * SHOAL_PANEL, sums[0]);
    for (int64_t r = 0; r < at.rows; r++)
        memcpy(to + r * x->width, sums[0] + r * SHOAL_PANEL, (size_t)columns * sizeof *to);
}

static void gated_piece(const gated_context *context, const gated_job *x, piece at, float *scratch)
{
    const int64_t n = x->a->gate->spec.n, begin = at.column * x->width;
    const int64_t end = shoal_min_i64(begin + x->width, n);
    float *out = scratch + 2 * at.rows * SHOAL_PANEL;
    for (int64_t column = begin; column < end; column += SHOAL_PANEL)
        gated_panel(x, context->ops, at, column / SHOAL_PANEL, scratch, out + (column - begin));
    for (int64_t r = 0; r < at.rows; r++) {
        const int64_t row = at.row0 + r;
        const int64_t errors = shoal_quantize_part(context->cap, out + r * x->width, row, begin,
                                                   end - begin, x->a->act);
        if (errors && x->a->pending) /* parts of one row may be on several threads */
            (void)__atomic_fetch_add(&x->a->pending[x->a->rows_of ? x->a->rows_of[row] : row],
                                     errors, __ATOMIC_RELAXED);
    }
}

static void gated_task(void *context, int thread, int threads)
{
    gated_context *x = context;
    int64_t begin, end;
    (void)threads;
    while (claim(&x->queue, &begin, &end)) {
        const gated_job *job = x->jobs;
        for (int64_t i = begin; i < end; i++) {
            while (i >= job->end)
                job++;
            const int64_t first = job == x->jobs ? 0 : job[-1].end;
            gated_piece(x, job, piece_at(&job->cut, i - first), x->scratch + thread * x->each);
        }
    }
}

void shoal_linear_gated(shoal_pool *pool, const shoal_gated_args *args, int count,
                        const shoal_ops_row *ops, shoal_cpu_level cap, float *scratch, int64_t each)
{
    gated_context context = {.ops = ops, .cap = cap, .scratch = scratch, .each = each};
    const int threads = shoal_pool_threads(pool);
    int64_t pieces = 0;
    for (int i = 0; i < count; i++) {
        gated_job *job = &context.jobs[i];
        *job = (gated_job){.a = &args[i], .width = gated_width(args[i].act)};
        const int64_t columns = shoal_ceil_div(args[i].gate->spec.n, job->width);
        const int64_t most = fitting(args[i].gate_act, gated_block(job->width));
        if (args[i].rows > 0 && columns > 0) /* else no unit is held: down gets no input */
            pieces += cut_pieces(&job->cut, columns, args[i].rows, most, threads);
        job->end = pieces;
    }
    line_up(&context.queue, pieces, threads);
    if (pieces > 0)
        shoal_pool_run(pool, gated_task, &context);
}

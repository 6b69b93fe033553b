#include "kernels/experts_run.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/linear_row.h"
#include "kernels/quantize_rows.h"
#include "proto/bytes.h"

/* ---- inputs --------------------------------------------------------------------------------- */

typedef struct {
    const shoal_experts_args *a;
    shoal_cpu_level cap;
    int64_t pairs; /* rows of all jobs */
} quantize_context;

static bool one_input(const shoal_expert_job *job)
{
    return job->gate_act.f32 == job->up_act.f32 && job->gate_act.q == job->up_act.q &&
           job->gate_act.bf16 == job->up_act.bf16;
}

static void quantize_row(const quantize_context *x, shoal_expert_job *job, int64_t row)
{
    const shoal_experts_args *a = x->a;
    const float *from = a->x + job->rows_of[row] * a->ld;
    int64_t errors = 0;
    shoal_quantize_rows(x->cap, from, a->ld, row, 1, &job->gate_act, &errors);
    if (!one_input(job))
        shoal_quantize_rows(x->cap, from, a->ld, row, 1, &job->up_act, &errors);
    if (errors) /* a row's experts may be on several threads */
        (void)__atomic_fetch_add(&a->pending[job->rows_of[row]], errors, __ATOMIC_RELAXED);
}

static void quantize_task(void *context, int thread, int threads)
{
    const quantize_context *x = context;
    int64_t begin, end, first = 0;
    shoal_share(x->pairs, thread, threads, &begin, &end);
    for (int j = 0; j < x->a->job_count && first < end; j++) {
        shoal_expert_job *job = &x->a->jobs[j];
        const int64_t last = shoal_min_i64(end - first, job->rows);
        for (int64_t row = shoal_max_i64(0, begin - first); row < last; row++)
            quantize_row(x, job, row);
        first += job->rows;
    }
}

void shoal_experts_quantize(shoal_pool *pool, const shoal_experts_args *args, shoal_cpu_level cap)
{
    quantize_context context = {.a = args, .cap = cap};
    for (int j = 0; j < args->job_count; j++)
        context.pairs += args->jobs[j].rows;
    if (context.pairs > 0)
        shoal_pool_run(pool, quantize_task, &context);
}

/* ---- down ----------------------------------------------------------------------------------- */

typedef struct {
    const shoal_experts_args *a;
    int64_t panels;
    _Atomic int64_t next; /* first panel that nobody has claimed */
} cut_context;

/* Rows [row0, row0 + rows) of a job, and one panel of its down. */
typedef struct {
    const shoal_expert_job *job;
    int64_t row0, rows, panel, columns;
    int64_t *sums; /* [rows][64] */
    int64_t *bad;  /* [rows] */
} block;

/* acc times the weights of the rows, into the sums. */
static void flush_weighted(const block *b, const shoal_epilogue *epilogue, float *acc, bool first)
{
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t c = 0; c < SHOAL_PANEL; c++)
            acc[r * SHOAL_PANEL + c] *= b->job->weight[b->row0 + r];
    epilogue->flush(acc, b->rows, b->columns, b->sums, SHOAL_PANEL, b->bad, first);
}

static void add_units(const block *b)
{
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const shoal_linear *w = b->job->down;
    const shoal_linear_row *row = shoal_linear_row_for(w, b->job->rows);
    for (int64_t begin = 0, end; begin < w->size.segments; begin = end) {
        end = shoal_linear_unit_end(w, begin);
        memset(acc, 0, (size_t)(b->rows * SHOAL_PANEL) * sizeof *acc);
        row->accumulate(w, &b->job->act, b->row0, b->rows, b->panel, begin, end, acc);
        flush_weighted(b, row->epilogue, acc, begin == 0);
    }
    if (!w->bias || w->spec.k_begin > 0)
        return;
    memset(acc, 0, (size_t)(b->rows * SHOAL_PANEL) * sizeof *acc);
    for (int64_t r = 0; r < b->rows; r++)
        memcpy(acc + r * SHOAL_PANEL, w->bias + b->panel * SHOAL_PANEL,
               (size_t)b->columns * sizeof *acc);
    flush_weighted(b, row->epilogue, acc, false);
}

static void add_to_slot(const shoal_experts_args *a, const block *b)
{
    for (int64_t r = 0; r < b->rows; r++) {
        int64_t *slot = a->slot + b->job->rows_of[b->row0 + r] * (a->n + 1);
        for (int64_t c = 0; c < b->columns; c++)
            slot[b->panel * SHOAL_PANEL + c] += b->sums[r * SHOAL_PANEL + c];
        /* Panels of one row may be on several threads; bad units are rare. */
        if (b->bad[r])
            (void)__atomic_fetch_add(&slot[a->n], b->bad[r], __ATOMIC_RELAXED);
    }
}

/* One panel of every job: its columns of the slot are this thread's alone. */
static void cut_panel(const shoal_experts_args *a, int64_t panel)
{
    _Alignas(64) int64_t sums[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const int64_t columns = shoal_min_i64(SHOAL_PANEL, a->n - panel * SHOAL_PANEL);
    for (int64_t r = 0; r < a->rows; r++)
        memset(a->slot + r * (a->n + 1) + panel * SHOAL_PANEL, 0, (size_t)columns * sizeof *sums);
    for (int j = 0; j < a->job_count; j++) {
        const shoal_expert_job *job = &a->jobs[j];
        for (int64_t row0 = 0; row0 < job->rows; row0 += SHOAL_ROW_BLOCK) {
            int64_t bad[SHOAL_ROW_BLOCK] = {0};
            const block b = {job,   row0,    shoal_min_i64(SHOAL_ROW_BLOCK, job->rows - row0),
                             panel, columns, sums,
                             bad};
            if (job->down->size.segments == 0)
                continue;
            add_units(&b);
            add_to_slot(a, &b);
        }
    }
}

static void cut_task(void *context, int thread, int threads)
{
    cut_context *x = context;
    (void)thread;
    (void)threads;
    for (;;) {
        const int64_t panel = atomic_fetch_add_explicit(&x->next, 1, memory_order_relaxed);
        if (panel >= x->panels)
            return;
        cut_panel(x->a, panel);
    }
}

void shoal_experts_cut(shoal_pool *pool, const shoal_experts_args *args)
{
    cut_context context = {.a = args, .panels = shoal_ceil_div(args->n, SHOAL_PANEL)};
    atomic_init(&context.next, 0);
    for (int64_t r = 0; r < args->rows; r++)
        args->slot[r * (args->n + 1) + args->n] = args->pending[r];
    shoal_pool_run(pool, cut_task, &context);
}

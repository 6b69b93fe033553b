#include "kernels/backend_timed.h"

#include <string.h>

#include "kernels/counter.h"
#include "proto/arena.h"
#include "proto/bytes.h"

typedef struct {
    shoal_backend base;
    shoal_backend *inner;
    shoal_timed_line lines[SHOAL_TIMED_LINES_MAX];
    int count;
} timed_backend;

static timed_backend *self(shoal_backend *backend)
{
    return (timed_backend *)backend;
}

/* `call` is what one call costs; its line takes it. */
static void book(shoal_backend *backend, const shoal_timed_line *call)
{
    timed_backend *t = self(backend);
    int i = 0;
    while (i < t->count && (strcmp(t->lines[i].op, call->op) != 0 || t->lines[i].n != call->n ||
                            t->lines[i].k != call->k))
        i++;
    if (i == SHOAL_TIMED_LINES_MAX)
        i--;
    if (i == t->count)
        t->lines[t->count++] = (shoal_timed_line){.op = call->op, .n = call->n, .k = call->k};
    t->lines[i].calls++;
    t->lines[i].seconds += call->seconds;
    t->lines[i].bytes += call->bytes;
    t->lines[i].operations += call->operations;
}

/* ---- what calls cost ------------------------------------------------------------------------- */

static double act_bytes(const shoal_act *act, int64_t rows)
{
    const shoal_linear *like = act->like;
    return (double)rows * (double)(like->spec.k * shoal_act_value_bytes(like->spec.act) +
                                   like->size.act_groups * (int64_t)sizeof(float));
}

static double weight_bytes(const shoal_linear *linear)
{
    const shoal_linear_size *s = &linear->size;
    return (double)(s->codes_bytes + s->scales_bytes + s->zeros_bytes + s->mins_bytes +
                    s->steps_bytes + s->min_steps_bytes);
}

/* A linear of `rows` rows with outputs of `element` bytes; outputs add up where jobs share a
 * line. */
static void add_linear(shoal_timed_line *call, const shoal_linear *linear, int64_t rows,
                       int64_t element)
{
    const shoal_linear_spec *s = &linear->spec;
    call->n += s->n;
    call->k = s->k;
    call->bytes += weight_bytes(linear) + (double)(rows * s->n * element);
    call->operations += 2.0 * (double)rows * (double)s->n * (double)s->k;
}

static double acts_bytes(const shoal_act *acts, int count, int64_t rows)
{
    double bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += act_bytes(&acts[i], rows);
    return bytes;
}

/* Keys and values of the positions that each row sees; a sequence's pages are read once. */
static void add_attention(shoal_timed_line *call, const shoal_attention_args *a)
{
    const double page = (double)shoal_kv_head_bytes(a->kv->type, a->head_dim) / SHOAL_PAGE;
    for (int64_t i = 0; i < a->sequence_count; i++) {
        const shoal_sequence_rows *s = &a->sequences[i];
        const int64_t end = s->position + s->rows;
        const int64_t most = a->window > 0 ? a->window : INT64_MAX;
        double seen = 0; /* by all rows together */
        for (int64_t p = s->position + 1; p <= end; p++)
            seen += (double)shoal_min_i64(p, most);
        int64_t read = end;
        if (s->rows == 0)
            read = 0;
        else if (a->window > 0)
            read = shoal_min_i64(end, a->window + s->rows - 1);
        call->bytes += (double)(read * a->kv_heads) * page;
        call->operations += 4.0 * seen * (double)(a->heads * a->head_dim);
    }
    call->bytes += (double)(a->rows * (2 * a->heads + 2 * a->kv_heads) * a->head_dim) * 4;
}

/* ---- the operations -------------------------------------------------------------------------- */

static shoal_status embed(shoal_backend *backend, const shoal_embed_args *a)
{
    shoal_timed_line call = {.op = "embed"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->embed(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    call.bytes = (double)(a->rows * a->hidden) * (4.0 + (double)shoal_dtype_bytes(a->dtype));
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status rope(shoal_backend *backend, const shoal_rope_args *a)
{
    shoal_timed_line call = {.op = "rope"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->rope(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    call.bytes = (double)(a->rows * a->dim) * 4;
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status norm(shoal_backend *backend, const shoal_norm_args *a)
{
    shoal_timed_line call = {.op = "norm"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->norm(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    const double branch = a->part_count * 8 + (a->branch ? 4 : 0); /* per element */
    call.bytes = (double)(a->rows * a->hidden) * (branch + 4 + (branch > 0 ? 4 : 0));
    if (a->weight)
        call.bytes += acts_bytes(a->acts, a->act_count, a->picked);
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status whole(shoal_backend *backend, const shoal_whole_job *jobs, int count,
                          int64_t rows)
{
    shoal_timed_line call = {.op = "whole"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->whole(self(backend)->inner, jobs, count, rows));
    call.seconds = shoal_seconds_now() - begin;
    for (int i = 0; i < count; i++) {
        add_linear(&call, jobs[i].linear, rows, sizeof(float));
        if (i == 0 || jobs[i].act != jobs[i - 1].act)
            call.bytes += act_bytes(jobs[i].act, rows);
    }
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status attention(shoal_backend *backend, const shoal_attention_args *a)
{
    shoal_timed_line call = {.op = "attention"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->attention(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    add_attention(&call, a);
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status cut(shoal_backend *backend, const shoal_cut_args *a)
{
    shoal_timed_line call = {.op = "cut"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->cut(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    add_linear(&call, a->linear, a->rows, sizeof(int64_t));
    call.bytes += act_bytes(a->act, a->rows);
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status gated(shoal_backend *backend, const shoal_gated_args *a)
{
    shoal_timed_line call = {.op = "gated"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->gated(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    add_linear(&call, a->gate, a->rows, 0);
    add_linear(&call, a->up, a->rows, 0);
    call.bytes += act_bytes(a->gate_act, a->rows);
    if (a->up_act != a->gate_act)
        call.bytes += act_bytes(a->up_act, a->rows);
    if (a->gate->spec.n > 0)
        call.bytes += act_bytes(a->act, a->rows);
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status quantize(shoal_backend *backend, const shoal_quantize_args *a)
{
    shoal_timed_line call = {.op = "quantize"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->quantize(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    for (int i = 0; i < a->source_count; i++)
        call.bytes += (double)(a->rows * a->widths[i]) * 4;
    call.bytes += acts_bytes(a->acts, a->act_count, a->rows);
    book(backend, &call);
    return SHOAL_OK;
}

static shoal_status route(shoal_backend *backend, const shoal_route_args *a)
{
    shoal_timed_line call = {.op = "route"};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->route(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    call.bytes = (double)(a->rows * (a->experts + 2 * a->chosen)) * 4;
    book(backend, &call);
    return SHOAL_OK;
}

/* A line per shape would be one per number of experts that rows happen to choose. */
static shoal_status experts(shoal_backend *backend, const shoal_experts_args *a)
{
    shoal_timed_line call = {.op = "experts"}, part = {0};
    const double begin = shoal_seconds_now();
    SHOAL_TRY(self(backend)->inner->ops->experts(self(backend)->inner, a));
    call.seconds = shoal_seconds_now() - begin;
    for (int j = 0; j < a->job_count; j++) {
        const shoal_expert_job *job = &a->jobs[j];
        add_linear(&part, job->gate, job->rows, 0);
        add_linear(&part, job->up, job->rows, 0);
        add_linear(&part, job->down, job->rows, sizeof(int64_t));
        part.bytes += act_bytes(&job->gate_act, job->rows) + act_bytes(&job->act, job->rows);
    }
    call.bytes = part.bytes;
    call.operations = part.operations;
    book(backend, &call);
    return SHOAL_OK;
}

/* ---- open, close ----------------------------------------------------------------------------- */

static void close_timed(shoal_backend *backend)
{
    self(backend)->inner->ops->close(self(backend)->inner);
    shoal_free(backend);
}

static const shoal_backend_ops operations = {
    .name = "timed",
    .embed = embed,
    .rope = rope,
    .norm = norm,
    .whole = whole,
    .attention = attention,
    .cut = cut,
    .gated = gated,
    .quantize = quantize,
    .route = route,
    .experts = experts,
    .close = close_timed,
};

shoal_status shoal_backend_timed_open(shoal_backend *inner, shoal_backend **out)
{
    void *block;
    const shoal_status st = shoal_alloc(SHOAL_MEM_OTHER, sizeof(timed_backend), &block);
    if (st != SHOAL_OK) {
        inner->ops->close(inner);
        return st;
    }
    timed_backend *t = block;
    t->base = (shoal_backend){&operations, inner->cap};
    t->inner = inner;
    *out = &t->base;
    return SHOAL_OK;
}

const shoal_timed_line *shoal_backend_timed_lines(const shoal_backend *timed, int *count)
{
    const timed_backend *t = (const timed_backend *)timed;
    *count = t->count;
    return t->lines;
}

void shoal_backend_timed_reset(shoal_backend *timed)
{
    self(timed)->count = 0;
}

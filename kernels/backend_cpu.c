#include "kernels/backend_cpu.h"

#include <string.h>

#include "kernels/experts_run.h"
#include "kernels/linear_row.h"
#include "kernels/linear_run.h"
#include "kernels/mathf.h"
#include "kernels/route.h"
#include "proto/arena.h"
#include "proto/bytes.h"

static shoal_backend_cpu *self(shoal_backend *backend)
{
    return (shoal_backend_cpu *)backend;
}

shoal_status shoal_backend_cpu_scratch(shoal_backend_cpu *cpu, int64_t each)
{
    void *block;
    if (each <= cpu->scratch_each)
        return SHOAL_OK;
    each = shoal_round_up(each, 16);
    const uint64_t threads = (uint64_t)shoal_pool_threads(cpu->pool);
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_SCRATCH, threads * (uint64_t)each, sizeof(float), &block));
    shoal_free(cpu->scratch);
    cpu->scratch = block;
    cpu->scratch_each = each;
    return SHOAL_OK;
}

/* What every parallel region gets. */
typedef struct {
    shoal_backend_cpu *cpu;
    const void *args;
} region;

/* One piece of work is nothing to share: no thread is woken and none is waited for. */
static void run(shoal_backend_cpu *cpu, shoal_pool_task task, const void *args, int64_t pieces)
{
    region r = {cpu, args};
    if (pieces > 1) {
        shoal_pool_run(cpu->pool, task, &r);
    } else {
        shoal_fp_reset();
        task(&r, 0, 1);
    }
}

/* ---- embed, rope ---------------------------------------------------------------------------- */

static void widen_row(const shoal_embed_args *a, int64_t id, float *out)
{
    if (a->table) {
        const uint64_t bytes = (uint64_t)a->hidden * shoal_dtype_bytes(a->dtype);
        shoal_widen_f32(a->table + (uint64_t)id * bytes, a->dtype, (size_t)a->hidden, out);
        return;
    }
    const uint8_t *panel = shoal_panel_codes(a->tied, id / SHOAL_PANEL);
    const size_t column = (size_t)(id % SHOAL_PANEL);
    for (int64_t k = 0; k < a->hidden; k++)
        out[k] = shoal_load_f32(panel, a->tied->spec.dtype, (size_t)k * SHOAL_PANEL + column);
}

static void embed_row(const shoal_embed_args *a, int64_t row)
{
    const int64_t id = a->tokens[row] - a->first;
    float *out = a->out + row * a->hidden;
    if (id < 0 || id >= a->count)
        return;
    widen_row(a, id, out);
    for (int64_t k = 0; k < a->hidden && a->scale != 1.0f; k++)
        out[k] *= a->scale;
}

static void embed_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_embed_args *a = r->args;
    int64_t begin, end;
    shoal_share(a->rows, thread, threads, &begin, &end);
    for (int64_t row = begin; row < end; row++)
        embed_row(a, row);
}

static shoal_status embed(shoal_backend *backend, const shoal_embed_args *args)
{
    run(self(backend), embed_task, args, args->rows);
    return SHOAL_OK;
}

static void rope_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_rope_args *a = r->args;
    const int64_t half = a->dim / 2;
    int64_t begin, end;
    shoal_share(a->rows * half, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float sine, cosine;
        shoal_sincosf((float)a->positions[i / half] * a->inv_freq[i % half], &sine, &cosine);
        a->sin[i] = sine * a->factor;
        a->cos[i] = cosine * a->factor;
    }
}

static shoal_status rope(shoal_backend *backend, const shoal_rope_args *args)
{
    run(self(backend), rope_task, args, args->rows);
    return SHOAL_OK;
}

/* ---- norm ----------------------------------------------------------------------------------- */

/* Sum of the parts' extra elements: how many units of this row some rank could not represent. */
static int64_t bad_units(const shoal_norm_args *a, int64_t row)
{
    uint64_t sum = 0;
    for (int p = 0; p < a->part_count; p++)
        sum += (uint64_t)a->parts[p][row * (a->hidden + 1) + a->hidden];
    return (int64_t)sum;
}

/* x += branch; `branch` [hidden] is scratch. */
static void join_row(const shoal_ops_row *ops, const shoal_norm_args *a, int64_t row, float *branch)
{
    const int64_t n = a->hidden;
    float *x = a->x + row * n;
    if (a->part_count > 0) {
        const int64_t bad = bad_units(a, row);
        if (bad != 0) {
            a->bad[row] += bad;
            memset(x, 0, (size_t)n * sizeof *x);
            return;
        }
        ops->join(a->parts, a->part_count, row * (n + 1), n, branch);
    } else if (a->branch) {
        memcpy(branch, a->branch + row * n, (size_t)n * sizeof *branch);
    } else {
        return;
    }
    if (a->bias)
        ops->add(branch, a->bias, n);
    if (a->branch_norm)
        ops->norm(branch, n, a->branch_norm, a->eps, branch);
    ops->add(x, branch, n);
}

static void norm_row(const shoal_backend_cpu *cpu, const shoal_norm_args *a, int64_t row,
                     int64_t act_row, float *y)
{
    cpu->ops->norm(a->x + row * a->hidden, a->hidden, a->weight, a->eps, y);
    for (int i = 0; i < a->act_count; i++)
        shoal_quantize_rows(cpu->base.cap, y, a->hidden, act_row, 1, &a->acts[i],
                            a->pending ? a->pending + row : NULL);
}

static void norm_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_norm_args *a = r->args;
    float *scratch = r->cpu->scratch + thread * r->cpu->scratch_each;
    int64_t begin, end;
    shoal_share(a->rows, thread, threads, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        join_row(r->cpu->ops, a, row, scratch);
        if (a->weight && !a->pick)
            norm_row(r->cpu, a, row, row, scratch);
    }
}

static void pick_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_norm_args *a = r->args;
    float *scratch = r->cpu->scratch + thread * r->cpu->scratch_each;
    int64_t begin, end;
    shoal_share(a->picked, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        norm_row(r->cpu, a, a->pick[i], i, scratch);
}

static shoal_status norm(shoal_backend *backend, const shoal_norm_args *args)
{
    shoal_backend_cpu *cpu = self(backend);
    SHOAL_TRY(shoal_backend_cpu_scratch(cpu, args->hidden));
    run(cpu, norm_task, args, args->rows);
    if (args->weight && args->pick)
        run(cpu, pick_task, args, args->picked);
    return SHOAL_OK;
}

/* ---- linears -------------------------------------------------------------------------------- */

typedef struct {
    const shoal_whole_job *jobs;
    int count;
    int64_t rows;
} whole_args;

static void soft_cap_task(void *context, int thread, int threads)
{
    const region *r = context;
    const whole_args *a = r->args;
    for (int j = 0; j < a->count; j++) {
        const shoal_whole_job *job = &a->jobs[j];
        int64_t begin, end;
        if (job->soft_cap == 0.0f)
            continue;
        shoal_share(job->linear->spec.n, thread, threads, &begin, &end);
        for (int64_t row = 0; row < a->rows; row++)
            r->cpu->ops->soft_cap(job->out + row * job->ld + begin, end - begin, job->soft_cap);
    }
}

static shoal_status whole(shoal_backend *backend, const shoal_whole_job *jobs, int count,
                          int64_t rows)
{
    shoal_backend_cpu *cpu = self(backend);
    const whole_args args = {jobs, count, rows};
    bool caps = false;
    shoal_linear_whole(cpu->pool, jobs, count, rows);
    for (int j = 0; j < count; j++)
        caps |= jobs[j].soft_cap != 0.0f;
    if (caps)
        run(cpu, soft_cap_task, &args, shoal_pool_threads(cpu->pool));
    return SHOAL_OK;
}

static shoal_status cut(shoal_backend *backend, const shoal_cut_args *args)
{
    shoal_linear_cut(self(backend)->pool, args->linear, args->act, args->rows, args->slot,
                     args->linear->spec.n + 1, args->pending);
    return SHOAL_OK;
}

static shoal_status gated(shoal_backend *backend, const shoal_gated_args *args)
{
    shoal_backend_cpu *cpu = self(backend);
    SHOAL_TRY(shoal_backend_cpu_scratch(cpu, shoal_linear_gated_scratch(args->act)));
    shoal_linear_gated(cpu->pool, args, 1, cpu->ops, cpu->base.cap, cpu->scratch,
                       cpu->scratch_each);
    return SHOAL_OK;
}

/* ---- experts -------------------------------------------------------------------------------- */

static void route_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_route_args *a = r->args;
    float *scratch = r->cpu->scratch + thread * r->cpu->scratch_each;
    int64_t begin, end;
    shoal_share(a->rows, thread, threads, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        a->pending[row] += shoal_route_row(r->cpu->ops, a->scores + row * a->experts, a->experts,
                                           a->chosen, a->renormalize, a->index + row * a->chosen,
                                           a->weight + row * a->chosen, scratch);
        if (a->shared)
            a->shared_weight[row] = shoal_route_shared(a->shared[row]);
    }
}

static shoal_status route(shoal_backend *backend, const shoal_route_args *args)
{
    shoal_backend_cpu *cpu = self(backend);
    SHOAL_TRY(shoal_backend_cpu_scratch(cpu, args->experts));
    run(cpu, route_task, args, args->rows);
    return SHOAL_OK;
}

/* Gate and up of some jobs, as many at a time as one parallel region takes. */
static shoal_status gate_jobs(shoal_backend_cpu *cpu, const shoal_experts_args *a)
{
    shoal_gated_args gated[SHOAL_GATED_JOBS_MAX];
    int64_t scratch = 0;
    for (int j = 0; j < a->job_count; j++)
        scratch = shoal_max_i64(scratch, shoal_linear_gated_scratch(&a->jobs[j].act));
    SHOAL_TRY(shoal_backend_cpu_scratch(cpu, scratch));
    for (int first = 0, count; first < a->job_count; first += count) {
        count = (int)shoal_min_i64(SHOAL_GATED_JOBS_MAX, a->job_count - first);
        for (int i = 0; i < count; i++) {
            shoal_expert_job *job = &a->jobs[first + i];
            gated[i] = (shoal_gated_args){
                .gate = job->gate,
                .up = job->up,
                .gate_act = &job->gate_act,
                .up_act = &job->up_act,
                .rows = job->rows,
                .kind = a->kind,
                .act = &job->act,
                .rows_of = job->rows_of,
                .pending = a->pending,
            };
        }
        shoal_linear_gated(cpu->pool, gated, count, cpu->ops, cpu->base.cap, cpu->scratch,
                           cpu->scratch_each);
    }
    return SHOAL_OK;
}

static shoal_status experts(shoal_backend *backend, const shoal_experts_args *args)
{
    shoal_backend_cpu *cpu = self(backend);
    shoal_experts_quantize(cpu->pool, args, cpu->base.cap);
    SHOAL_TRY(gate_jobs(cpu, args));
    shoal_experts_cut(cpu->pool, args);
    return SHOAL_OK;
}

/* ---- quantize ------------------------------------------------------------------------------- */

static void quantize_task(void *context, int thread, int threads)
{
    const region *r = context;
    const shoal_quantize_args *a = r->args;
    int64_t begin, end, width = 0;
    for (int i = 0; i < a->source_count; i++)
        width += a->widths[i];
    shoal_share(a->rows, thread, threads, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        float *at = a->scratch + row * width;
        for (int i = 0; i < a->source_count; i++) {
            const int64_t w = a->widths[i];
            if (w > 0)
                memcpy(at, a->sources[i] + row * w, (size_t)w * sizeof *at);
            at += w;
        }
        for (int i = 0; i < a->act_count; i++)
            shoal_quantize_rows(r->cpu->base.cap, a->scratch + row * width, width, row, 1,
                                &a->acts[i], a->pending ? a->pending + row : NULL);
    }
}

static shoal_status quantize(shoal_backend *backend, const shoal_quantize_args *args)
{
    run(self(backend), quantize_task, args, args->rows);
    return SHOAL_OK;
}

/* ---- open, close ---------------------------------------------------------------------------- */

static void close_cpu(shoal_backend *backend)
{
    if (!backend)
        return;
    shoal_backend_cpu *cpu = self(backend);
    shoal_pool_destroy(cpu->pool);
    shoal_free(cpu->scratch);
    shoal_free(cpu->row_sequence);
    shoal_free(cpu->blocks);
    shoal_free(cpu->parts);
    shoal_free(cpu);
}

static const shoal_backend_ops operations = {
    .name = "cpu",
    .embed = embed,
    .rope = rope,
    .norm = norm,
    .whole = whole,
    .attention = shoal_backend_cpu_attention,
    .cut = cut,
    .gated = gated,
    .quantize = quantize,
    .route = route,
    .experts = experts,
    .close = close_cpu,
};

shoal_status shoal_backend_cpu_open(const shoal_backend_options *options, shoal_backend **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_backend_cpu), &block));
    shoal_backend_cpu *cpu = block;
    cpu->base.ops = &operations;
    cpu->base.cap = options->cap;
    cpu->ops = shoal_ops_pick(options->cap);
    cpu->attention = shoal_attention_pick(options->cap);
    cpu->quantize = shoal_quantize_pick(options->cap);
    const shoal_status st = shoal_pool_create(options->threads, options->crowded, &cpu->pool);
    if (st != SHOAL_OK) {
        shoal_free(cpu);
        return st;
    }
    if (options->processors)
        (void)shoal_pool_pin(cpu->pool, options->processors);
    *out = &cpu->base;
    return SHOAL_OK;
}

shoal_pool *shoal_backend_cpu_pool(shoal_backend *backend)
{
    return self(backend)->pool;
}

const char *shoal_backend_cpu_ops(const shoal_backend *backend)
{
    return ((const shoal_backend_cpu *)backend)->ops->name;
}

const char *shoal_backend_cpu_attention_row(const shoal_backend *backend)
{
    return ((const shoal_backend_cpu *)backend)->attention->name;
}

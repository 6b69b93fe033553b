#include "worker/experts.h"

/* Scores of all experts for all rows, then the choice. */
static shoal_status choose(const shoal_forward *f, int64_t layer, int64_t rows)
{
    const shoal_expert_scratch *s = &f->scratch->experts;
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const shoal_layer *about = &f->model->layers[layer];
    const shoal_act *act = shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_GATE_UP)->acts;
    const shoal_whole_job jobs[2] = {
        {.linear = &w->router, .act = act, .out = s->scores, .ld = about->experts},
        {.linear = &w->shared_router, .act = act, .out = s->shared_scores, .ld = 1},
    };
    const shoal_route_args args = {
        .scores = s->scores,
        .shared = w->has_shared ? s->shared_scores : NULL,
        .rows = rows,
        .experts = about->experts,
        .chosen = about->experts_per_token,
        .renormalize = about->renormalize_experts,
        .index = s->index,
        .weight = s->weight,
        .shared_weight = s->shared_weight,
        .pending = f->scratch->pending,
    };
    SHOAL_TRY(f->backend->ops->whole(f->backend, jobs, w->has_shared ? 2 : 1, rows));
    return f->backend->ops->route(f->backend, &args);
}

/* Pairs by expert, and of one expert by row: first[e] .. first[e + 1) are those of expert e. */
static void sort_pairs(const shoal_expert_scratch *s, const shoal_layer *about, int64_t rows)
{
    const int64_t pairs = rows * about->experts_per_token;
    int64_t *first = s->first;
    for (int64_t e = 0; e <= about->experts; e++)
        first[e] = 0;
    for (int64_t i = 0; i < pairs; i++)
        first[s->index[i] + 1]++;
    for (int64_t e = 0; e < about->experts; e++)
        first[e + 1] += first[e];
    for (int64_t i = 0; i < pairs; i++) {
        const int64_t at = first[s->index[i]]++;
        s->rows_of[at] = (int32_t)(i / about->experts_per_token);
        s->pair_weight[at] = s->weight[i];
    }
    for (int64_t e = about->experts; e > 0; e--) /* each has moved to the next one's place */
        first[e] = first[e - 1];
    first[0] = 0;
}

/* Memory of acts that is handed out to the jobs of a step. */
typedef struct {
    uint8_t *inputs, *gated;
} acts_memory;

static void place(const shoal_linear *like, const int32_t *order, int64_t rows, uint8_t **memory,
                  shoal_act *out)
{
    shoal_act_place(like, order, rows, *memory, out);
    *memory += shoal_act_bytes(like, rows);
}

/* The rows of one expert; false when none of them is for this rank. */
static bool make_job(const shoal_expert_weights *w, int64_t rows, const int32_t *rows_of,
                     const float *weight, acts_memory *memory, shoal_expert_job *job)
{
    const shoal_linear *gate = &w->linear[0], *up = &w->linear[1], *down = &w->linear[2];
    if (rows == 0 || down->spec.k == 0)
        return false;
    *job = (shoal_expert_job){
        .gate = gate, .up = up, .down = down, .rows = rows, .rows_of = rows_of, .weight = weight};
    place(gate, w->order[0], rows, &memory->inputs, &job->gate_act);
    if (shoal_act_shared(gate, up) && shoal_same_order(w->order[0], w->order[1], gate->spec.k))
        job->up_act = job->gate_act;
    else
        place(up, w->order[1], rows, &memory->inputs, &job->up_act);
    place(down, NULL, rows, &memory->gated, &job->act);
    return true;
}

static int make_jobs(const shoal_forward *f, int64_t layer, int64_t rows)
{
    const shoal_expert_scratch *s = &f->scratch->experts;
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const int64_t experts = f->model->layers[layer].experts;
    acts_memory memory = {s->inputs, s->gated};
    int count = 0;
    for (int64_t e = 0; e < experts; e++)
        count += make_job(&w->experts[e], s->first[e + 1] - s->first[e], s->rows_of + s->first[e],
                          s->pair_weight + s->first[e], &memory, &s->jobs[count]);
    if (w->has_shared)
        count += make_job(&w->experts[experts], rows, s->every_row, s->shared_weight, &memory,
                          &s->jobs[count]);
    return count;
}

shoal_status shoal_experts_step(const shoal_forward *f, int64_t layer, int64_t rows)
{
    const shoal_layer *about = &f->model->layers[layer];
    const shoal_act *act = shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_GATE_UP)->acts;
    SHOAL_TRY(choose(f, layer, rows));
    sort_pairs(&f->scratch->experts, about, rows);
    SHOAL_TRY(shoal_stream_fetch_experts(f->weights->stream, layer, f->scratch->experts.first));
    const shoal_experts_args args = {
        .x = act->f32,
        .ld = act->ld,
        .rows = rows,
        .n = f->model->hidden,
        .jobs = f->scratch->experts.jobs,
        .job_count = make_jobs(f, layer, rows),
        .kind = (shoal_gate)about->activation,
        .slot = shoal_comm_slot(f->comm),
        .pending = f->scratch->pending,
    };
    return f->backend->ops->experts(f->backend, &args);
}

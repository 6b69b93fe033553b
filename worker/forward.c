#include "worker/forward.h"

#include <string.h>

#include "proto/bytes.h"
#include "worker/experts.h"
#include "worker/fault.h"
#include "worker/residual.h"

static void beat(const shoal_forward *f)
{
    atomic_fetch_add_explicit(f->heartbeat, 1, memory_order_relaxed);
}

static const shoal_rank_plan *own(const shoal_forward *f)
{
    return &f->plan->rank[f->comm->rank];
}

uint64_t shoal_forward_slot_bytes(const shoal_scratch_shape *shape, const shoal_plan *plan)
{
    int64_t widest = shape->hidden * (int64_t)sizeof(float);
    for (int r = 0; r < plan->ranks; r++)
        widest = shoal_max_i64(widest, shoal_range_size(plan->rank[r].q_heads) *
                                           plan->shape.head_dim * (int64_t)sizeof(float));
    const int64_t reduce = shape->rows_max * (shape->hidden + 1) * (int64_t)sizeof(int64_t);
    int64_t vocab = 0;
    for (int r = 0; r < plan->ranks; r++)
        vocab = shoal_max_i64(vocab, shoal_range_size(plan->rank[r].vocab));
    const int64_t logits = shape->logit_rows * vocab * (int64_t)sizeof(float);
    return (uint64_t)shoal_max_i64(shoal_max_i64(reduce, logits), shape->rows_max * widest);
}

/* Rows, positions, pages and picks of the step, from its sequences. Returns the number of picks. */
static int64_t lay_out_rows(const shoal_forward *f, const shoal_step_view *view)
{
    shoal_scratch *s = f->scratch;
    int64_t picks = 0;
    for (int32_t i = 0; i < view->step->sequence_count; i++) {
        const shoal_step_sequence *seq = &view->sequences[i];
        s->sequences[i] = (shoal_sequence_rows){
            .row = seq->first_token,
            .rows = seq->rows,
            .position = seq->position,
            .pages = view->pages + seq->first_page,
        };
        for (int32_t r = 0; r < seq->rows; r++) {
            const bool last = r == seq->rows - 1;
            const bool wanted = seq->want == SHOAL_WANT_LOGITS ||
                                (seq->want == SHOAL_WANT_NLL && !last) ||
                                (seq->want == SHOAL_WANT_TOKEN && last);
            s->positions[seq->first_token + r] = seq->position + r;
            if (wanted) {
                s->pick[picks] = seq->first_token + r;
                s->pick_sequence[picks++] = i;
            }
        }
    }
    const size_t rows = (size_t)view->step->token_count;
    memset(s->bad, 0, rows * sizeof *s->bad);
    memset(s->pending, 0, rows * sizeof *s->pending);
    for (size_t r = 0; r < rows; r++)
        s->failed_layer[r] = -1;
    return picks;
}

static shoal_status make_ropes(const shoal_forward *f, int64_t rows)
{
    for (int i = 0; i < f->model->rope_count; i++) {
        const shoal_rope *rope = &f->model->ropes[i];
        const shoal_rope_args args = {
            .positions = f->scratch->positions,
            .rows = rows,
            .dim = rope->dim,
            .inv_freq = f->inv_freq[i],
            .factor = (float)rope->attention_factor,
            .cos = f->scratch->cos[i],
            .sin = f->scratch->sin[i],
        };
        SHOAL_TRY(f->backend->ops->rope(f->backend, &args));
    }
    return SHOAL_OK;
}

static int owner_of(const shoal_plan *plan, int32_t token)
{
    int rank = 0;
    while (token >= plan->rank[rank].vocab.end)
        rank++;
    return rank;
}

/* Each rank writes the rows of the ids it owns; everybody then takes every row from its owner. */
static shoal_status embed(const shoal_forward *f, const shoal_step_view *view)
{
    const int64_t rows = view->step->token_count, hidden = f->model->hidden;
    const bool alone = f->comm->size == 1;
    float *out = alone ? f->scratch->x : shoal_comm_slot(f->comm);
    const shoal_embed_args args = {
        .table = f->weights->embedding,
        .tied = f->weights->embedding ? NULL : &f->weights->lm_head,
        .dtype = f->weights->embedding_dtype,
        .first = own(f)->vocab.begin,
        .count = shoal_range_size(own(f)->vocab),
        .tokens = view->tokens,
        .rows = rows,
        .hidden = hidden,
        .scale = f->model->embedding_scale,
        .out = out,
    };
    SHOAL_TRY(f->backend->ops->embed(f->backend, &args));
    if (alone)
        return SHOAL_OK;

    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    const size_t row_bytes = (size_t)hidden * sizeof(float);
    for (int r = 0; r < f->comm->size; r++)
        bytes[r] = (uint64_t)rows * row_bytes;
    SHOAL_TRY(shoal_comm_gather(f->comm, bytes, parts));
    for (int64_t r = 0; r < rows; r++) {
        const float *from = parts[owner_of(f->plan, view->tokens[r])];
        memcpy(f->scratch->x + r * hidden, from + r * hidden, row_bytes);
    }
    return SHOAL_OK;
}

static shoal_status qkv(const shoal_forward *f, int64_t layer, int64_t rows)
{
    shoal_scratch *s = f->scratch;
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const shoal_stage_view *view = shoal_scratch_view(s, layer, SHOAL_STAGE_QKV);
    float *const out[3] = {s->q, s->k, s->v};
    shoal_whole_job jobs[3];
    for (int i = 0; i < 3; i++) {
        const shoal_linear *linear = &w->linear[SHOAL_ROLE_Q + i];
        jobs[i] = (shoal_whole_job){
            .linear = linear,
            .act = &view->acts[view->of_linear[i]],
            .out = out[i],
            .ld = linear->spec.n,
        };
    }
    return f->backend->ops->whole(f->backend, jobs, 3, rows);
}

static shoal_status attention(const shoal_forward *f, const shoal_step_view *step, int64_t layer)
{
    shoal_scratch *s = f->scratch;
    const shoal_model *m = f->model;
    const shoal_layer *about = &m->layers[layer];
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const shoal_rank_plan *mine = own(f);
    const int rope = about->rope;
    const shoal_attention_args args = {
        .q = s->q,
        .k = s->k,
        .v = s->v,
        .rows = step->step->token_count,
        .heads = shoal_range_size(mine->q_heads),
        .head_first = mine->q_heads.begin,
        .kv_heads = shoal_range_size(mine->kv_heads),
        .kv_head_first = mine->kv_heads.begin,
        .group = m->heads / m->kv_heads,
        .head_dim = m->head_dim,
        .rope_dim = rope < 0 ? 0 : m->ropes[rope].dim,
        .cos = rope < 0 ? NULL : s->cos[rope],
        .sin = rope < 0 ? NULL : s->sin[rope],
        .q_norm = w->norm[SHOAL_ROLE_Q_NORM],
        .k_norm = w->norm[SHOAL_ROLE_K_NORM],
        .norm_eps = m->norm_eps,
        .scale = about->attention_scale,
        .soft_cap = about->attention_soft_cap,
        .window = about->window,
        .sequences = s->sequences,
        .sequence_count = step->step->sequence_count,
        .kv = &f->kv->layers[layer],
        .out = s->attention,
        .act = w->gathered_o ? NULL : shoal_scratch_view(s, layer, SHOAL_STAGE_O)->acts,
        .pending = s->pending,
    };
    return f->backend->ops->attention(f->backend, &args);
}

/* The slot holds unit sums: the exchange, the parts go to the branch. */
static shoal_status reduce(const shoal_forward *f, int64_t layer, const float *bias, int64_t rows,
                           shoal_branch *b)
{
    SHOAL_FAULT(REDUCE);
    beat(f);
    b->bias = bias;
    b->layer = (int)layer;
    return shoal_residual_reduce(f, rows, b);
}

/* Unit sums of a cut linear into the slot, then the exchange. */
static shoal_status cut_and_reduce(const shoal_forward *f, int64_t layer, shoal_role role,
                                   shoal_stage stage, int64_t rows, shoal_branch *b)
{
    const shoal_linear *linear = &f->weights->layers[layer].linear[role];
    const shoal_cut_args args = {
        .linear = linear,
        .act = shoal_scratch_view(f->scratch, layer, stage)->acts,
        .rows = rows,
        .slot = shoal_comm_slot(f->comm),
        .pending = f->scratch->pending,
    };
    SHOAL_TRY(f->backend->ops->cut(f->backend, &args));
    return reduce(f, layer, linear->bias, rows, b);
}

/* Act-order o: gather the attention of all ranks, cut o along its outputs, gather those. */
static shoal_status gathered_o(const shoal_forward *f, int64_t layer, int64_t rows, shoal_branch *b)
{
    shoal_scratch *s = f->scratch;
    const int ranks = f->comm->size;
    uint64_t bytes[SHOAL_RANKS_MAX];
    int64_t widths[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    const float *sources[SHOAL_RANKS_MAX];
    for (int r = 0; r < ranks; r++) {
        widths[r] = shoal_range_size(f->plan->rank[r].q_heads) * f->model->head_dim;
        bytes[r] = (uint64_t)(rows * widths[r]) * sizeof(float);
    }
    if (bytes[f->comm->rank] > 0) /* a rank without heads has no such buffer */
        memcpy(shoal_comm_slot(f->comm), s->attention, bytes[f->comm->rank]);
    SHOAL_TRY(shoal_comm_gather(f->comm, bytes, parts));
    for (int r = 0; r < ranks; r++)
        sources[r] = parts[r];
    shoal_stage_view *view = shoal_scratch_view(s, layer, SHOAL_STAGE_O);
    const shoal_quantize_args quantize = {
        .sources = sources,
        .widths = widths,
        .source_count = ranks,
        .rows = rows,
        .scratch = s->gathered,
        .acts = view->acts,
        .act_count = view->count,
        .pending = s->pending,
    };
    SHOAL_TRY(f->backend->ops->quantize(f->backend, &quantize));

    const shoal_linear *o = &f->weights->layers[layer].linear[SHOAL_ROLE_O];
    const shoal_whole_job job = {
        .linear = o, .act = view->acts, .out = shoal_comm_slot(f->comm), .ld = o->spec.n};
    SHOAL_TRY(f->backend->ops->whole(f->backend, &job, 1, rows));
    for (int r = 0; r < ranks; r++)
        bytes[r] = (uint64_t)(rows * shoal_range_size(f->plan->rank[r].hidden)) * sizeof(float);
    SHOAL_TRY(shoal_comm_gather(f->comm, bytes, parts));
    const shoal_range own_rows = shoal_residual_share(f, rows, f->comm->rank);
    for (int r = 0; r < ranks; r++) {
        const shoal_range columns = f->plan->rank[r].hidden;
        const size_t width = (size_t)shoal_range_size(columns);
        for (int64_t row = own_rows.begin; row < own_rows.end; row++)
            memcpy(s->branch + row * f->model->hidden + columns.begin,
                   (const float *)parts[r] + (size_t)row * width, width * sizeof(float));
    }
    b->rows = s->branch;
    b->layer = (int)layer;
    return SHOAL_OK;
}

static shoal_status plain_mlp(const shoal_forward *f, int64_t layer, int64_t rows, shoal_branch *b)
{
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const shoal_stage_view *in = shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_GATE_UP);
    const shoal_gated_args args = {
        .gate = &w->linear[SHOAL_ROLE_GATE],
        .up = &w->linear[SHOAL_ROLE_UP],
        .gate_act = &in->acts[in->of_linear[0]],
        .up_act = &in->acts[in->of_linear[1]],
        .rows = rows,
        .kind = (shoal_gate)f->model->layers[layer].activation,
        .act = shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_DOWN)->acts,
        .pending = f->scratch->pending,
    };
    SHOAL_TRY(f->backend->ops->gated(f->backend, &args));
    return cut_and_reduce(f, layer, SHOAL_ROLE_DOWN, SHOAL_STAGE_DOWN, rows, b);
}

static shoal_status mlp(const shoal_forward *f, int64_t layer, int64_t rows, shoal_branch *b)
{
    const shoal_layer_weights *w = &f->weights->layers[layer];
    if (w->experts) {
        SHOAL_TRY(shoal_experts_step(f, layer, rows));
        SHOAL_TRY(reduce(f, layer, NULL, rows, b));
    } else {
        SHOAL_TRY(plain_mlp(f, layer, rows, b));
    }
    b->norm = w->norm[SHOAL_ROLE_AFTER_MLP_NORM];
    return SHOAL_OK;
}

static shoal_status layer_step(const shoal_forward *f, const shoal_step_view *step, int64_t layer,
                               shoal_branch *b)
{
    const shoal_layer_weights *w = &f->weights->layers[layer];
    const int64_t rows = step->step->token_count;
    SHOAL_TRY(shoal_stream_fetch(f->weights->stream, layer));
    SHOAL_TRY(shoal_residual_norm(f, rows, b, w->norm[SHOAL_ROLE_INPUT_NORM],
                                  shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_QKV)));
    SHOAL_TRY(qkv(f, layer, rows));
    SHOAL_TRY(attention(f, step, layer));
    if (w->gathered_o)
        SHOAL_TRY(gathered_o(f, layer, rows, b));
    else
        SHOAL_TRY(cut_and_reduce(f, layer, SHOAL_ROLE_O, SHOAL_STAGE_O, rows, b));
    b->norm = w->norm[SHOAL_ROLE_AFTER_ATTENTION_NORM];
    beat(f);
    SHOAL_TRY(shoal_residual_norm(f, rows, b, w->norm[SHOAL_ROLE_MLP_NORM],
                                  shoal_scratch_view(f->scratch, layer, SHOAL_STAGE_GATE_UP)));
    return mlp(f, layer, rows, b);
}

/* The final norm of `count` picked rows. No exchange follows that could carry a row error, but all
 * ranks compute the same norm. */
static shoal_status final_norm(const shoal_forward *f, int64_t first, int64_t count,
                               shoal_stage_view *view)
{
    shoal_scratch *s = f->scratch;
    const shoal_norm_args args = {
        .x = s->x,
        .rows = count,
        .hidden = f->model->hidden,
        .bad = s->bad,
        .weight = f->weights->final_norm,
        .eps = f->model->norm_eps,
        .pick = s->pick + first,
        .picked = count,
        .acts = view->acts,
        .act_count = view->count,
        .pending = s->pending,
    };
    SHOAL_TRY(f->backend->ops->norm(f->backend, &args));
    for (int64_t i = first; i < first + count; i++) {
        const int32_t row = s->pick[i];
        if (s->pending[row] && s->failed_layer[row] < 0)
            s->failed_layer[row] = (int32_t)f->weights->layer_count;
    }
    return SHOAL_OK;
}

/* Final norm and lm_head for up to logit_rows picked rows; rank 0 hands whole rows to the sink. */
static shoal_status logits_block(const shoal_forward *f, int64_t first, int64_t count,
                                 shoal_row_sink sink, void *context)
{
    shoal_scratch *s = f->scratch;
    shoal_stage_view *view = shoal_scratch_view(s, f->weights->layer_count, SHOAL_STAGE_LM_HEAD);
    SHOAL_TRY(final_norm(f, first, count, view));
    const shoal_whole_job job = {
        .linear = &f->weights->lm_head,
        .act = view->acts,
        .out = shoal_comm_slot(f->comm),
        .ld = f->weights->lm_head.spec.n,
        .soft_cap = f->model->logits_soft_cap,
    };
    SHOAL_TRY(f->backend->ops->whole(f->backend, &job, 1, count));

    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    for (int r = 0; r < f->comm->size; r++)
        bytes[r] = (uint64_t)(count * shoal_range_size(f->plan->rank[r].vocab)) * sizeof(float);
    SHOAL_TRY(shoal_comm_gather(f->comm, bytes, parts));
    if (f->comm->rank != 0)
        return SHOAL_OK;
    for (int64_t i = 0; i < count; i++) {
        for (int r = 0; r < f->comm->size; r++) {
            const shoal_range ids = f->plan->rank[r].vocab;
            const size_t width = (size_t)shoal_range_size(ids);
            memcpy(s->logits + ids.begin, (const float *)parts[r] + (size_t)i * width,
                   width * sizeof(float));
        }
        SHOAL_TRY(sink(context, first + i, s->logits));
    }
    return SHOAL_OK;
}

shoal_status shoal_forward_step(shoal_forward *f, const shoal_step_view *step, shoal_row_sink sink,
                                void *context)
{
    const int64_t rows = step->step->token_count;
    const int64_t picks = lay_out_rows(f, step);
    shoal_branch b = {.layer = -1};
    f->dealt = shoal_residual_deals(f, rows);
    SHOAL_TRY(make_ropes(f, rows));
    SHOAL_TRY(embed(f, step));
    for (int64_t layer = 0; layer < f->weights->layer_count; layer++)
        SHOAL_TRY(layer_step(f, step, layer, &b));
    SHOAL_TRY(shoal_residual_end(f, rows, &b));
    if (picks > 0)
        SHOAL_TRY(shoal_stream_fetch(f->weights->stream, f->weights->layer_count));
    for (int64_t first = 0; first < picks; first += f->logit_rows) {
        const int64_t count = shoal_min_i64(f->logit_rows, picks - first);
        SHOAL_TRY(logits_block(f, first, count, sink, context));
        beat(f);
    }
    return SHOAL_OK;
}

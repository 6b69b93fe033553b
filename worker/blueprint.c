#include "worker/blueprint.h"

#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/digest.h"
#include "shard/offload.h"
#include "worker/forward.h"

/* Rows of logits computed at once: as many as fit here, at most LOGIT_ROWS. */
#define LOGIT_BYTES (8 << 20)
#define LOGIT_ROWS  64

/* Tokens in the page pool unless asked for: all sequences at full length, up to this many, but at
 * least one full sequence. */
#define POOL_TOKENS 65536

/* Most tokens in the page pool: page numbers are 32 bits wide. */
#define KV_TOKENS_MAX ((int64_t)INT32_MAX * SHOAL_PAGE)

/* Slots are double-buffered (worker/comm.h). */
#define SLOT_BUFFERS 2

/* Numbers that are wrong whatever the model is. */
static shoal_status check_settings(const shoal_worker_settings *s)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } numbers[] = {
        {"prefill chunk", s->prefill_chunk, 1, SHOAL_STEP_ROWS_MAX},
        {"number of sequences", s->max_sequences, 1, SHOAL_SEQUENCES_MAX},
        {"context", s->context, 0, SHOAL_CONTEXT_MAX},
        {"number of KV tokens", s->kv_tokens, 0, KV_TOKENS_MAX},
        {"number of rows to deal", s->deal_rows, 0, INT64_MAX},
        {"KV type", s->kv, -1, SHOAL_KV_INT8},
        {"way to reduce", s->reduce, SHOAL_PAYLOAD_EXACT, SHOAL_PAYLOAD_INT8},
        {"activation mode", s->activations, SHOAL_ACTIVATIONS_AUTO, SHOAL_ACTIVATIONS_F32},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].least || numbers[i].value > numbers[i].most)
            return shoal_fail(SHOAL_ERR_USAGE, "the %s is %lld; it may be %lld to %lld",
                              numbers[i].name, (long long)numbers[i].value,
                              (long long)numbers[i].least, (long long)numbers[i].most);
    return SHOAL_OK;
}

/* Only a pack file has runs in the order that ranks want them, with checksums, and is there for
 * every rank at every step. */
static shoal_status place_weights(const shoal_worker_settings *settings, shoal_blueprint *b)
{
    bool streams;
    SHOAL_TRY(shoal_offload_mark(b->manifest, settings->offload, &streams));
    if (streams && !shoal_checkpoint_pack(b->checkpoint))
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--offload mmap streams from a pack file, and %s is none: write one with "
                          "`shoal pack %s OUT.shoal` first",
                          settings->model, settings->model);
    if (streams && settings->push)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--offload mmap streams from a file that every rank reads: it does not "
                          "go with --load push");
    return SHOAL_OK;
}

static shoal_status open_parts(const shoal_worker_settings *settings, const char *folder,
                               shoal_blueprint *b)
{
    const shoal_manifest_options options = {settings->quantize, settings->keep_regex};
    SHOAL_TRY(shoal_model_open(folder, &b->model));
    SHOAL_TRY(shoal_checkpoint_open(folder, &b->checkpoint));
    SHOAL_TRY(shoal_manifest_create(b->model, b->checkpoint, &options, &b->manifest));
    return settings->offload ? place_weights(settings, b) : SHOAL_OK;
}

/* Everything that decides a bit. What a machine adds up is part of the name only where machines
 * differ. */
static shoal_status name_arithmetic(const shoal_worker_settings *settings, char *out, size_t size)
{
    static const char *const reduces[] = {"", "+reduce-bf16/1", "+reduce-int8/1"};
    const char *id = settings->activations == SHOAL_ACTIVATIONS_F32 ? "cpu-f32/1" : "cpu-int8/1";
    shoal_cpu_level cap;
    if (settings->activations == SHOAL_ACTIVATIONS_BF16) {
        SHOAL_TRY(shoal_cpu_cap(settings->cpu, &cap));
        id = shoal_bf16_arithmetic(shoal_bf16_pick(cap));
    }
    const int length = snprintf(out, size, "%s%s", id, reduces[settings->reduce]);
    return length >= 0 && (size_t)length < size
               ? SHOAL_OK
               : shoal_fail(SHOAL_ERR_INTERNAL, "the arithmetic id '%s' is too long", id);
}

static shoal_status choose_sizes(const shoal_worker_settings *settings, shoal_blueprint *b)
{
    const bool f32 = settings->activations == SHOAL_ACTIVATIONS_F32;
    SHOAL_TRY(name_arithmetic(settings, b->arithmetic, sizeof b->arithmetic));
    b->kv = settings->kv >= 0 ? (shoal_kv_type)settings->kv : f32 ? SHOAL_KV_F32 : SHOAL_KV_F16;
    b->context = settings->context ? settings->context : b->model->context;
    if (b->context > b->model->reach)
        return shoal_fail(SHOAL_ERR_USAGE, "--max-model-len %lld is more than the model's %lld",
                          (long long)b->context, (long long)b->model->reach);
    const int64_t all = b->context * settings->max_sequences;
    const int64_t wanted = settings->kv_tokens
                               ? settings->kv_tokens
                               : shoal_min_i64(all, shoal_max_i64(b->context, POOL_TOKENS));
    b->kv_tokens = shoal_round_up(wanted, SHOAL_PAGE);
    return SHOAL_OK;
}

void shoal_blueprint_scratch(const shoal_worker_settings *settings, const shoal_blueprint *b,
                             int rank, shoal_scratch_shape *out)
{
    const shoal_model *m = b->model;
    const shoal_rank_plan *mine = &b->plan.rank[rank];
    const int64_t rows = shoal_max_i64(settings->prefill_chunk, settings->max_sequences);
    const int64_t fitting = LOGIT_BYTES / (m->vocab * (int64_t)sizeof(float));
    bool gathers = false;
    int64_t half = 0, chosen = 0;
    for (int layer = 0; layer < (int)m->layer_count; layer++) {
        gathers |= shoal_slice_o_gathered(b->manifest, layer);
        chosen = shoal_max_i64(chosen, m->layers[layer].experts_per_token);
    }
    for (int i = 0; i < m->rope_count; i++)
        half = shoal_max_i64(half, m->ropes[i].dim / 2);
    *out = (shoal_scratch_shape){
        .rows_max = rows,
        .sequences_max = settings->max_sequences,
        .logit_rows = shoal_max_i64(1, shoal_min_i64(fitting, shoal_min_i64(rows, LOGIT_ROWS))),
        .assembles_logits = rank == 0,
        .hidden = m->hidden,
        .vocab = m->vocab,
        .q_width = shoal_range_size(mine->q_heads) * m->head_dim,
        .kv_width = shoal_range_size(mine->kv_heads) * m->head_dim,
        .attention_width_total = gathers ? m->heads * m->head_dim : 0,
        .rope_half = half,
        .rope_count = m->rope_count,
        .experts_chosen = chosen,
    };
}

void shoal_blueprint_kv(const shoal_blueprint *b, int rank, shoal_kv_shape *out)
{
    *out = (shoal_kv_shape){
        .layers = b->model->layer_count,
        .pages = b->kv_tokens / SHOAL_PAGE,
        .kv_heads = shoal_range_size(b->plan.rank[rank].kv_heads),
        .head_dim = b->model->head_dim,
        .type = b->kv,
    };
}

/* Scratch, slots and the rope table of one rank. */
static shoal_status other_bytes(const shoal_worker_settings *settings, shoal_blueprint *b, int rank)
{
    shoal_status st = SHOAL_OK;
    shoal_scratch_shape shape;
    shoal_weights outline;
    uint64_t scratch;
    shoal_blueprint_scratch(settings, b, rank, &shape);
    SHOAL_TRY(shoal_weights_outline(&b->slicing, rank, &outline));
    SHOAL_TRY_GOTO(shoal_scratch_measure(&shape, &outline, &scratch), destroy);
    b->other_bytes[rank] = scratch + SLOT_BUFFERS * shoal_forward_slot_bytes(&shape, &b->plan);

destroy:
    shoal_weights_destroy(&outline);
    return st;
}

/* How many layers each rank streams: as few as leave room for pages of `context` tokens. */
static shoal_status choose_streamed(const shoal_worker_settings *settings, shoal_blueprint *b,
                                    int64_t context)
{
    for (int rank = 0; rank < b->plan.ranks && settings->offload; rank++) {
        const uint64_t page = shoal_budget_page_bytes(&b->slicing, rank, b->kv);
        uint64_t taken;
        if (!shoal_mul_u64(page, (uint64_t)(context / SHOAL_PAGE), &taken) ||
            !shoal_add_u64(taken, b->other_bytes[rank], &taken))
            taken = UINT64_MAX;
        const uint64_t room = settings->memory > taken ? settings->memory - taken : 0;
        SHOAL_TRY(shoal_offload_plan(&b->slicing, rank, room, &b->plan.rank[rank].streamed));
    }
    return SHOAL_OK;
}

/* Under a memory limit the pool takes what is left, if that still holds one full sequence. */
static shoal_status make_budget(const shoal_worker_settings *settings, shoal_blueprint *b)
{
    const int64_t least = shoal_round_up(b->context, SHOAL_PAGE);
    shoal_budget_request request = {
        .slicing = b->slicing,
        .kv = b->kv,
        .context = settings->memory ? least : b->kv_tokens,
        .memory = settings->memory,
        .other_bytes = b->other_bytes,
    };
    SHOAL_TRY(choose_streamed(settings, b, least));
    SHOAL_TRY(shoal_budget_make(&request, &b->budget));
    if (!settings->memory)
        return SHOAL_OK;
    if (b->budget.fits && b->budget.kv_tokens > least) {
        const int64_t left = b->budget.kv_tokens / SHOAL_PAGE * SHOAL_PAGE;
        b->kv_tokens = shoal_min_i64(b->kv_tokens, left);
        request.context = b->kv_tokens;
        return shoal_budget_make(&request, &b->budget);
    }
    b->kv_tokens = least;
    return SHOAL_OK;
}

shoal_status shoal_blueprint_open(const shoal_worker_settings *settings, const char *folder,
                                  int ranks, shoal_blueprint **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    shoal_plan_shape shape;
    SHOAL_TRY(check_settings(settings));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_blueprint), &block));
    shoal_blueprint *b = block;
    SHOAL_TRY_GOTO(open_parts(settings, folder, b), close);
    SHOAL_TRY_GOTO(choose_sizes(settings, b), close);
    SHOAL_TRY_GOTO(shoal_slices_shape(b->manifest, &shape), close);
    shape.whole_experts = settings->expert_parallel;
    SHOAL_TRY_GOTO(shoal_plan_make(&shape, ranks, settings->capacity, &b->plan), close);
    b->slicing = (shoal_slicing){b->manifest, &b->plan, settings->activations};
    for (int rank = 0; rank < ranks; rank++)
        SHOAL_TRY_GOTO(other_bytes(settings, b, rank), close);
    SHOAL_TRY_GOTO(make_budget(settings, b), close);
    *out = b;
    return SHOAL_OK;

close:
    shoal_blueprint_close(b);
    return st;
}

void shoal_blueprint_close(shoal_blueprint *b)
{
    if (!b)
        return;
    if (b->manifest)
        shoal_manifest_destroy(b->manifest);
    if (b->checkpoint)
        shoal_checkpoint_close(b->checkpoint);
    if (b->model)
        shoal_model_close(b->model);
    shoal_free(b);
}

shoal_status shoal_blueprint_check_fit(const shoal_worker_settings *settings,
                                       const shoal_blueprint *b)
{
    const shoal_budget_request request = {
        .slicing = b->slicing,
        .kv = b->kv,
        .context = b->kv_tokens,
        .memory = settings->memory,
        .other_bytes = b->other_bytes,
    };
    return shoal_budget_check(&request, &b->budget);
}

/* ---- digest: number by number, because padding and byte order must not decide --------------- */

static void add_text(shoal_xxh128_stream *s, const char *text)
{
    shoal_xxh128_add(s, text, strlen(text) + 1);
}

static void add_real(shoal_xxh128_stream *s, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    shoal_xxh128_add_i64(s, (int64_t)bits);
}

static void add_model(shoal_xxh128_stream *s, const shoal_model *m)
{
    add_text(s, m->family);
    add_real(s, (double)m->norm_eps);
    add_real(s, (double)m->norm_weight_offset);
    add_real(s, (double)m->embedding_scale);
    add_real(s, (double)m->logits_soft_cap);
    shoal_xxh128_add_i64(s, m->tied);
    for (int i = 0; i < m->rope_count; i++) {
        const shoal_rope *r = &m->ropes[i];
        const double reals[] = {r->theta,     r->factor,    r->low_freq_factor, r->high_freq_factor,
                                r->beta_fast, r->beta_slow, r->attention_factor};
        for (size_t k = 0; k < sizeof reals / sizeof reals[0]; k++)
            add_real(s, reals[k]);
        shoal_xxh128_add_i64(s, (int64_t)r->kind);
        shoal_xxh128_add_i64(s, r->dim);
        shoal_xxh128_add_i64(s, r->original_context);
        shoal_xxh128_add_i64(s, r->truncate);
        for (int64_t k = 0; r->factors && k < r->dim / 2; k++)
            add_real(s, (double)r->factors[k]);
        for (int64_t k = 0; r->kind == SHOAL_ROPE_LONGROPE && k < r->dim / 2; k++) {
            add_real(s, (double)r->short_factors[k]);
            add_real(s, (double)r->long_factors[k]);
        }
    }
    for (int64_t i = 0; i < m->layer_count; i++) {
        const shoal_layer *l = &m->layers[i];
        shoal_xxh128_add_i64(s, l->window);
        shoal_xxh128_add_i64(s, l->rope);
        shoal_xxh128_add_i64(s, (int64_t)l->activation);
        add_real(s, (double)l->attention_scale);
        add_real(s, (double)l->attention_soft_cap);
        shoal_xxh128_add_i64(s, l->experts);
        shoal_xxh128_add_i64(s, l->experts_per_token);
        shoal_xxh128_add_i64(s, l->renormalize_experts);
    }
}

static void add_weight(shoal_xxh128_stream *s, const shoal_weight *w)
{
    const int64_t numbers[] = {w->present,
                               w->layer,
                               w->expert,
                               (int64_t)w->role,
                               (int64_t)w->kind,
                               (int64_t)w->dtype,
                               w->group,
                               w->super_group,
                               w->variant,
                               w->has_zeros,
                               w->has_mins,
                               w->zero_const,
                               w->act_order,
                               w->row_offset,
                               w->run,
                               w->period,
                               w->per_token,
                               w->bias != NULL,
                               w->input_scale != NULL,
                               w->input_multiply};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        shoal_xxh128_add_i64(s, numbers[i]);
}

static void add_tensor(shoal_xxh128_stream *s, const shoal_tensor *t)
{
    add_text(s, t->name);
    shoal_xxh128_add_i64(s, (int64_t)t->dtype);
    shoal_xxh128_add_i64(s, t->block_type);
    shoal_xxh128_add_i64(s, t->pairs);
    shoal_xxh128_add_i64(s, t->file);
    shoal_xxh128_add_i64(s, (int64_t)t->offset);
    shoal_xxh128_add_i64(s, (int64_t)t->bytes);
}

void shoal_blueprint_digest(const shoal_worker_settings *settings, const shoal_blueprint *b,
                            uint8_t out[16])
{
    shoal_xxh128_stream s;
    uint8_t plan[16];
    const int64_t sizes[] = {
        (int64_t)b->kv,          b->context,         b->kv_tokens, settings->prefill_chunk,
        settings->max_sequences, settings->deal_rows};
    shoal_plan_digest(&b->plan, plan);
    shoal_xxh128_begin(&s);
    shoal_xxh128_add(&s, plan, sizeof plan);
    add_text(&s, b->arithmetic);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        shoal_xxh128_add_i64(&s, sizes[i]);
    add_model(&s, b->model);
    for (size_t i = 0; i < shoal_manifest_count(b->manifest); i++)
        add_weight(&s, shoal_manifest_at(b->manifest, i));
    for (size_t i = 0; i < shoal_checkpoint_count(b->checkpoint); i++)
        add_tensor(&s, shoal_checkpoint_at(b->checkpoint, i));
    shoal_xxh128_finish(&s, out);
}

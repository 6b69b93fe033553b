#include "worker/scratch.h"

#include <string.h>

#include "proto/bytes.h"

/* Acts made so far, for all layers together. */
#define POOL_MAX 64

typedef struct {
    shoal_stage stage;
    shoal_act act;
    bool taken; /* by the layer being viewed */
} pool_entry;

typedef struct {
    pool_entry entries[POOL_MAX];
    int count;
    const shoal_scratch_shape *shape;
    shoal_arena *arena; /* NULL: only count */
    uint64_t bytes;
} act_pool;

void shoal_stage_roles(shoal_stage stage, shoal_role *first, int *count)
{
    static const struct {
        shoal_role first;
        int count;
    } rows[SHOAL_STAGES] = {
        [SHOAL_STAGE_QKV] = {SHOAL_ROLE_Q, 3},           [SHOAL_STAGE_O] = {SHOAL_ROLE_O, 1},
        [SHOAL_STAGE_GATE_UP] = {SHOAL_ROLE_GATE, 2},    [SHOAL_STAGE_DOWN] = {SHOAL_ROLE_DOWN, 1},
        [SHOAL_STAGE_LM_HEAD] = {SHOAL_ROLE_LM_HEAD, 1},
    };
    *first = rows[stage].first;
    *count = rows[stage].count;
}

static shoal_status pool_take(act_pool *pool, shoal_stage stage, const shoal_linear *like,
                              shoal_act *out)
{
    for (int i = 0; i < pool->count; i++) {
        pool_entry *e = &pool->entries[i];
        if (e->stage == stage && !e->taken && shoal_act_shared(e->act.like, like)) {
            e->taken = true;
            *out = e->act;
            return SHOAL_OK;
        }
    }
    if (pool->count == POOL_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "the layers need more than %d kinds of activations",
                          POOL_MAX);
    pool_entry *e = &pool->entries[pool->count];
    *e = (pool_entry){.stage = stage, .act = {.like = like}, .taken = true};
    const int64_t rows =
        stage == SHOAL_STAGE_LM_HEAD ? pool->shape->logit_rows : pool->shape->rows_max;
    if (pool->arena)
        SHOAL_TRY(shoal_act_create(like, NULL, rows, pool->arena, &e->act));
    pool->bytes += shoal_act_bytes(like, rows);
    pool->count++;
    *out = e->act;
    return SHOAL_OK;
}

bool shoal_same_order(const int32_t *a, const int32_t *b, int64_t k)
{
    return a == b || (a && b && memcmp(a, b, (size_t)k * sizeof *a) == 0);
}

/* What changes the input of a linear before it is quantized. */
typedef struct {
    const int32_t *order;
    const float *scale;
    bool multiply;
} input_change;

static bool same_change(const shoal_act *act, const input_change *change, int64_t k)
{
    const float *a = act->input_scale, *b = change->scale;
    return shoal_same_order(act->perm, change->order, k) &&
           act->input_multiply == change->multiply &&
           (a == b || (a && b && memcmp(a, b, (size_t)k * sizeof *a) == 0));
}

/* A linear with an order or a scale of its inputs always reserves an act of its own, so that sizes
 * do not depend on their contents; where two turn out equal the second is simply not used. */
static shoal_status view_stage(act_pool *pool, shoal_stage stage, const shoal_linear *linears,
                               const input_change *changes, int count, shoal_stage_view *view)
{
    for (int i = 0; i < pool->count; i++)
        pool->entries[i].taken = false;
    view->count = 0;
    for (int i = 0; i < count; i++) {
        const input_change *change = &changes[i];
        int found = -1;
        for (int j = 0; j < view->count && found < 0; j++)
            if (shoal_act_shared(view->acts[j].like, &linears[i]) &&
                same_change(&view->acts[j], change, linears[i].spec.k))
                found = j;
        if (found < 0 || change->order || change->scale) {
            shoal_act act;
            SHOAL_TRY(pool_take(pool, stage, &linears[i], &act));
            if (found < 0) {
                act.like = &linears[i];
                act.perm = change->order;
                act.input_scale = change->scale;
                act.input_multiply = change->multiply;
                found = view->count;
                view->acts[view->count++] = act;
            }
        }
        view->of_linear[i] = found;
    }
    return SHOAL_OK;
}

static shoal_status view_layer_stage(act_pool *pool, shoal_stage stage,
                                     const shoal_layer_weights *w, shoal_stage_view *view)
{
    input_change changes[SHOAL_STAGE_ACTS_MAX];
    shoal_role first;
    int count;
    shoal_stage_roles(stage, &first, &count);
    if (first >= SHOAL_ROLE_GATE && w->experts) {
        const input_change none = {0};
        return stage == SHOAL_STAGE_GATE_UP ? view_stage(pool, stage, &w->router, &none, 1, view)
                                            : SHOAL_OK;
    }
    for (int i = 0; i < count; i++)
        changes[i] = (input_change){w->order[(int)first + i], w->input_scale[(int)first + i],
                                    w->input_multiply[(int)first + i]};
    return view_stage(pool, stage, &w->linear[first], changes, count, view);
}

/* views: [layer_count + 1][SHOAL_STAGES]; NULL in count mode. */
static shoal_status view_all(act_pool *pool, const shoal_weights *weights, shoal_stage_view *views)
{
    const input_change head = {.order = weights->lm_head_order};
    shoal_stage_view unused;
    for (int64_t layer = 0; layer < weights->layer_count; layer++)
        for (shoal_stage stage = SHOAL_STAGE_QKV; stage < SHOAL_STAGE_LM_HEAD; stage++)
            SHOAL_TRY(view_layer_stage(pool, stage, &weights->layers[layer],
                                       views ? &views[layer * SHOAL_STAGES + stage] : &unused));
    return view_stage(pool, SHOAL_STAGE_LM_HEAD, &weights->lm_head, &head, 1,
                      views ? &views[weights->layer_count * SHOAL_STAGES + SHOAL_STAGE_LM_HEAD]
                            : &unused);
}

/* Hands out buffers; without an arena it only counts them. The first failure stays. */
typedef struct {
    shoal_arena *arena;
    uint64_t bytes;
    shoal_status st;
} supply;

/* `count` elements of `size` bytes; NULL for none. */
static void *take(supply *from, int64_t count, size_t size)
{
    void *block = NULL;
    if (count == 0 || from->st != SHOAL_OK)
        return NULL;
    from->bytes += (uint64_t)shoal_round_up(count * (int64_t)size, 64);
    if (from->arena)
        from->st = shoal_arena_array(from->arena, (uint64_t)count, size, &block);
    return block;
}

/* Bytes of memory for acts of experts: inputs of gate and up, and of down. */
typedef struct {
    uint64_t inputs, gated;
} expert_bytes;

/* As view_stage does: an act-order linear has an act of its own, whatever its order turns out to
 * be. Padding of many rows is never more than padding of each. */
static expert_bytes bytes_of(const shoal_expert_weights *w)
{
    const shoal_linear *gate = &w->linear[0], *up = &w->linear[1];
    const bool one = shoal_act_shared(gate, up) && !w->order[0] && !w->order[1];
    return (expert_bytes){shoal_act_bytes(gate, 1) + (one ? 0 : shoal_act_bytes(up, 1)),
                          shoal_act_bytes(&w->linear[2], 1)};
}

static expert_bytes larger(expert_bytes a, expert_bytes b)
{
    return (expert_bytes){a.inputs > b.inputs ? a.inputs : b.inputs,
                          a.gated > b.gated ? a.gated : b.gated};
}

static expert_bytes layer_bytes(const shoal_layer_weights *w, int64_t chosen)
{
    expert_bytes most = {0, 0}, shared = {0, 0};
    for (int e = 0; e < w->expert_count; e++) {
        const expert_bytes bytes = bytes_of(&w->experts[e]);
        if (w->has_shared && e == w->expert_count - 1)
            shared = bytes;
        else
            most = larger(most, bytes);
    }
    return (expert_bytes){most.inputs * (uint64_t)chosen + shared.inputs,
                          most.gated * (uint64_t)chosen + shared.gated};
}

static void take_experts(const shoal_scratch_shape *s, const shoal_weights *w, supply *from,
                         shoal_expert_scratch *to)
{
    const int64_t n = s->rows_max, pairs = n * s->experts_chosen;
    int64_t experts = 0;
    expert_bytes most = {0, 0};
    for (int64_t layer = 0; layer < w->layer_count; layer++) {
        most = larger(most, layer_bytes(&w->layers[layer], s->experts_chosen));
        experts = shoal_max_i64(experts, w->layers[layer].expert_count);
    }
    *to = (shoal_expert_scratch){0};
    if (experts == 0)
        return;
    to->scores = take(from, n * experts, sizeof *to->scores);
    to->shared_scores = take(from, n, sizeof *to->shared_scores);
    to->index = take(from, pairs, sizeof *to->index);
    to->weight = take(from, pairs, sizeof *to->weight);
    to->shared_weight = take(from, n, sizeof *to->shared_weight);
    to->every_row = take(from, n, sizeof *to->every_row);
    to->first = take(from, experts + 1, sizeof *to->first);
    to->rows_of = take(from, pairs, sizeof *to->rows_of);
    to->pair_weight = take(from, pairs, sizeof *to->pair_weight);
    to->jobs = take(from, experts, sizeof *to->jobs);
    to->inputs = take(from, n, (size_t)most.inputs);
    to->gated = take(from, n, (size_t)most.gated);
    for (int64_t i = 0; to->every_row && i < n; i++)
        to->every_row[i] = (int32_t)i;
}

static void take_buffers(const shoal_scratch_shape *s, const shoal_weights *w, supply *from,
                         shoal_scratch *to)
{
    const int64_t n = s->rows_max, layers = w->layer_count;
    to->x = take(from, n * s->hidden, sizeof *to->x);
    to->q = take(from, n * s->q_width, sizeof *to->q);
    to->k = take(from, n * s->kv_width, sizeof *to->k);
    to->v = take(from, n * s->kv_width, sizeof *to->v);
    to->attention = take(from, n * s->q_width, sizeof *to->attention);
    to->gathered = take(from, n * s->attention_width_total, sizeof *to->gathered);
    to->branch = take(from, s->attention_width_total ? n * s->hidden : 0, sizeof *to->branch);
    to->logits = take(from, s->assembles_logits ? s->vocab : 0, sizeof *to->logits);
    to->positions = take(from, n, sizeof *to->positions);
    to->bad = take(from, n, sizeof *to->bad);
    to->pending = take(from, n, sizeof *to->pending);
    to->failed_layer = take(from, n, sizeof *to->failed_layer);
    to->pick = take(from, n, sizeof *to->pick);
    to->pick_sequence = take(from, n, sizeof *to->pick_sequence);
    to->sequences = take(from, s->sequences_max, sizeof *to->sequences);
    to->views = take(from, (layers + 1) * SHOAL_STAGES, sizeof *to->views);
    for (int i = 0; i < s->rope_count; i++) {
        to->cos[i] = take(from, n * s->rope_half, sizeof *to->cos[i]);
        to->sin[i] = take(from, n * s->rope_half, sizeof *to->sin[i]);
    }
    take_experts(s, w, from, &to->experts);
}

shoal_status shoal_scratch_measure(const shoal_scratch_shape *shape, const shoal_weights *weights,
                                   uint64_t *out)
{
    shoal_scratch nowhere;
    supply buffers = {0};
    act_pool pool = {.shape = shape};
    SHOAL_TRY(view_all(&pool, weights, NULL));
    take_buffers(shape, weights, &buffers, &nowhere);
    *out = buffers.bytes + pool.bytes;
    return SHOAL_OK;
}

shoal_status shoal_scratch_create(const shoal_scratch_shape *shape, const shoal_weights *weights,
                                  shoal_scratch *out)
{
    shoal_status st = SHOAL_OK;
    shoal_scratch scratch = {0};
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_SCRATCH, &scratch.arena));
    supply buffers = {.arena = scratch.arena};
    take_buffers(shape, weights, &buffers, &scratch);
    SHOAL_TRY_GOTO(buffers.st, destroy);
    act_pool pool = {.shape = shape, .arena = scratch.arena};
    SHOAL_TRY_GOTO(view_all(&pool, weights, scratch.views), destroy);
    *out = scratch;
    return SHOAL_OK;

destroy:
    shoal_arena_destroy(scratch.arena);
    return st;
}

void shoal_scratch_destroy(shoal_scratch *scratch)
{
    shoal_arena_destroy(scratch->arena);
    *scratch = (shoal_scratch){0};
}

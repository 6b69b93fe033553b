#include "worker/weights.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/log.h"
#include "shard/load.h"
#include "shard/offload.h"
#include "worker/fault.h"

/* The linears of a layer are filled together. */
typedef struct {
    const shoal_slicing *slicing;
    int rank;
    shoal_cpu_level cap;
    shoal_pool *pool;
    shoal_weights_progress progress;
    void *context;
    shoal_weights *w;
    shoal_arena *temporary; /* orders that are needed until the layer is filled */
    int32_t *down_order;    /* in it: of the gate listed last; NULL: plain          */
    shoal_load_task *tasks;
    int count;
} loader;

static const shoal_model *model_of(const shoal_slicing *slicing)
{
    return slicing->manifest->model;
}

/* Room for the experts of all layers, in one array. */
static shoal_status make_experts(const shoal_manifest *manifest, shoal_weights *w)
{
    uint64_t count = 0;
    void *experts;
    for (int64_t layer = 0; layer < w->layer_count; layer++)
        count += (uint64_t)manifest->experts[layer].count;
    if (count == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, count, sizeof *w->experts, &experts));
    w->experts = experts;
    count = 0;
    for (int64_t layer = 0; layer < w->layer_count; layer++) {
        const shoal_expert_set *set = &manifest->experts[layer];
        w->layers[layer].expert_count = set->count;
        w->layers[layer].has_shared = set->shared_router.present;
        w->layers[layer].experts = set->count ? w->experts + count : NULL;
        count += (uint64_t)set->count;
    }
    return SHOAL_OK;
}

static shoal_status make_empty(const shoal_slicing *slicing, shoal_weights *w)
{
    shoal_status st = SHOAL_OK;
    void *layers;
    *w = (shoal_weights){.layer_count = model_of(slicing)->layer_count};
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)w->layer_count,
                                sizeof(shoal_layer_weights), &layers));
    w->layers = layers;
    SHOAL_TRY_GOTO(make_experts(slicing->manifest, w), destroy);
    SHOAL_TRY_GOTO(shoal_arena_create(SHOAL_MEM_WEIGHTS, &w->arena), destroy);
    SHOAL_TRY_GOTO(shoal_arena_create(SHOAL_MEM_WEIGHTS, &w->filled), destroy);
    for (int layer = 0; layer < (int)w->layer_count; layer++)
        w->layers[layer].gathered_o = shoal_slice_o_gathered(slicing->manifest, layer);
    return SHOAL_OK;

destroy:
    shoal_weights_destroy(w);
    return st;
}

void shoal_weights_destroy(shoal_weights *weights)
{
    shoal_stream_destroy(weights->stream);
    shoal_arena_destroy(weights->filled);
    shoal_arena_destroy(weights->arena);
    shoal_free(weights->experts);
    shoal_free(weights->layers);
    *weights = (shoal_weights){0};
}

uint64_t shoal_weights_bytes(const shoal_weights *weights)
{
    return shoal_arena_bytes(weights->arena) + shoal_arena_bytes(weights->filled);
}

/* Where a weight that is present lives, and where its order does. */
typedef struct {
    const shoal_weight *weight;
    shoal_linear *linear;
    const int32_t **order;
} place;

typedef shoal_status (*place_visitor)(void *context, const place *at);

/* Call `visit` for every linear of a layer that is present. */
static shoal_status visit_linears(const shoal_manifest *manifest, shoal_weights *w, int layer,
                                  place_visitor visit, void *context)
{
    const shoal_expert_set *set = &manifest->experts[layer];
    shoal_layer_weights *to = &w->layers[layer];
    const int32_t *no_order = NULL;
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++) {
        const shoal_weight *weight = shoal_manifest_weight(manifest, layer, role);
        if (weight->present)
            SHOAL_TRY(visit(context, &(place){weight, &to->linear[role], &to->order[role]}));
    }
    if (set->router.present)
        SHOAL_TRY(visit(context, &(place){&set->router, &to->router, &no_order}));
    if (set->shared_router.present)
        SHOAL_TRY(visit(context, &(place){&set->shared_router, &to->shared_router, &no_order}));
    for (int i = 0; i < set->count * SHOAL_EXPERT_LINEARS; i++) {
        shoal_expert_weights *expert = &to->experts[i / SHOAL_EXPERT_LINEARS];
        const int part = i % SHOAL_EXPERT_LINEARS;
        SHOAL_TRY(visit(context,
                        &(place){&set->linears[i], &expert->linear[part], &expert->order[part]}));
    }
    return SHOAL_OK;
}

static shoal_status visit_lm_head(const shoal_manifest *manifest, shoal_weights *w,
                                  place_visitor visit, void *context)
{
    const shoal_weight *weight = shoal_manifest_weight(manifest, -1, SHOAL_ROLE_LM_HEAD);
    return visit(context, &(place){weight, &w->lm_head, &w->lm_head_order});
}

/* A linear's share of this rank. */
static shoal_status slice_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                             shoal_rect *rect, shoal_linear_spec *spec)
{
    if (shoal_slice_rect_of(slicing, rank, weight, rect) &&
        shoal_slice_spec_of(slicing, rank, weight, spec))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_INTERNAL, "layer %d has no %s", weight->layer,
                      shoal_role_name(weight->role));
}

/* ---- outline ---- */

typedef struct {
    const shoal_slicing *slicing;
    int rank;
} outliner;

static shoal_status outline_linear(void *context, const place *at)
{
    static const int32_t kept = 0; /* stands for "an order is kept" */
    const outliner *o = context;
    shoal_rect rect;
    SHOAL_TRY(slice_of(o->slicing, o->rank, at->weight, &rect, &at->linear->spec));
    *at->order = shoal_slice_keeps_order_of(o->slicing, o->rank, at->weight) ? &kept : NULL;
    return shoal_linear_measure(&at->linear->spec, &at->linear->size);
}

/* A marker where an input scale is kept. */
static void outline_input_scale(const shoal_slicing *slicing, int rank, int layer, shoal_role role,
                                shoal_layer_weights *w)
{
    static const float kept = 0;
    const shoal_weight *weight = shoal_manifest_weight(slicing->manifest, layer, role);
    shoal_rect rect;
    w->input_multiply[role] = weight->input_multiply;
    if (shoal_slice_rect(slicing, rank, layer, role, &rect) &&
        shoal_weight_input_scale_bytes(weight, &rect) > 0)
        w->input_scale[role] = &kept;
}

shoal_status shoal_weights_outline(const shoal_slicing *slicing, int rank, shoal_weights *out)
{
    const shoal_manifest *manifest = slicing->manifest;
    outliner o = {slicing, rank};
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(make_empty(slicing, out));
    for (int layer = 0; layer < (int)out->layer_count; layer++) {
        SHOAL_TRY_GOTO(visit_linears(manifest, out, layer, outline_linear, &o), destroy);
        for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
            outline_input_scale(slicing, rank, layer, role, &out->layers[layer]);
    }
    SHOAL_TRY_GOTO(visit_lm_head(manifest, out, outline_linear, &o), destroy);
    return SHOAL_OK;

destroy:
    shoal_weights_destroy(out);
    return st;
}

/* ---- load ---- */

/* An order goes into the weights' arena when the step needs it. */
static shoal_status read_order(const loader *l, const shoal_weight *weight, bool keep,
                               int32_t **out)
{
    shoal_arena *arena = keep ? l->w->arena : l->temporary;
    void *order;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)weight->k, sizeof(int32_t), &order));
    SHOAL_TRY(shoal_weight_order(l->slicing->manifest, weight, order));
    *out = order;
    return SHOAL_OK;
}

/* The order of the down linear that belongs to a gate, an up or a down; NULL: plain, or nothing of
 * it is held. Gate, which comes first, has it read. */
static shoal_status find_down_order(loader *l, const shoal_weight *weight, int32_t **out)
{
    *out = NULL;
    if (weight->role < SHOAL_ROLE_GATE || weight->role > SHOAL_ROLE_DOWN)
        return SHOAL_OK;
    if (weight->role == SHOAL_ROLE_GATE) {
        const shoal_weight *down =
            shoal_manifest_sibling(l->slicing->manifest, weight, SHOAL_ROLE_DOWN);
        l->down_order = NULL;
        if (shoal_slice_reads_order_of(l->slicing, l->rank, down))
            SHOAL_TRY(read_order(l, down, shoal_offload_keeps_order(l->slicing, l->rank, down),
                                 &l->down_order));
    }
    *out = l->down_order;
    return SHOAL_OK;
}

/* Make a linear: held, or where its place streams. */
static shoal_status make_linear(loader *l, const shoal_load_task *task,
                                const shoal_linear_spec *spec)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const int64_t turn = shoal_offload_place(manifest, task->weight);
    const bool streamed = shoal_offload_streams(l->slicing, l->rank, task->weight);
    shoal_linear_size size;
    void *memory = NULL;
    SHOAL_TRY(shoal_linear_measure(spec, &size));
    const uint64_t bytes = shoal_linear_packed_bytes(&size);
    if (streamed)
        SHOAL_TRY(shoal_stream_take(l->w->stream, turn, bytes, &memory));
    else if (bytes)
        SHOAL_TRY(shoal_arena_alloc(l->w->filled, bytes, &memory));
    SHOAL_TRY(shoal_load_create(manifest, task->weight, &task->rect, spec, l->cap, l->w->arena,
                                memory, task->linear));
    if (!streamed)
        return SHOAL_OK;
    shoal_linear_clear_padding(task->linear);
    shoal_stream_add(l->w->stream, turn, task);
    return SHOAL_OK;
}

/* Make a linear and put it on the list of what to fill. */
static shoal_status list_linear(void *context, const place *at)
{
    loader *l = context;
    const shoal_weight *weight = at->weight;
    SHOAL_FAULT(READ);
    shoal_linear_spec spec;
    shoal_rect rect;
    int32_t *order = NULL, *down_order = NULL;
    SHOAL_TRY(slice_of(l->slicing, l->rank, weight, &rect, &spec));
    SHOAL_TRY(find_down_order(l, weight, &down_order));
    if (weight->role == SHOAL_ROLE_DOWN) {
        order = down_order;
    } else if (shoal_slice_keeps_order_of(l->slicing, l->rank, weight)) {
        SHOAL_TRY(read_order(l, weight, true, &order));
        *at->order = order;
    }
    rect.order = order;
    if (down_order && weight->role != SHOAL_ROLE_DOWN)
        rect.columns = down_order + rect.n_begin;
    const shoal_load_task task = {weight, rect, at->linear, NULL};
    l->tasks[l->count++] = task;
    return make_linear(l, &task, &spec);
}

static shoal_status fill_listed(loader *l)
{
    const int count = l->count;
    l->count = 0;
    SHOAL_TRY(
        shoal_load_fill(l->slicing->manifest, l->tasks, count, l->pool, l->progress, l->context));
    for (int i = 0; i < count; i++)
        SHOAL_FAULT(PACK);
    return SHOAL_OK;
}

static shoal_status load_norm(const loader *l, int layer, shoal_role role, const float **out)
{
    const shoal_weight *weight = shoal_manifest_weight(l->slicing->manifest, layer, role);
    float *vector;
    if (!weight->present)
        return SHOAL_OK;
    SHOAL_TRY(shoal_load_vector(l->slicing->manifest, weight, l->w->arena, &vector));
    const float offset = model_of(l->slicing)->norm_weight_offset;
    for (int64_t i = 0; i < weight->n && offset != 0.0f; i++)
        vector[i] += offset;
    *out = vector;
    return SHOAL_OK;
}

static shoal_status load_input_scale(const loader *l, int layer, shoal_role role,
                                     shoal_layer_weights *w)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const shoal_weight *weight = shoal_manifest_weight(manifest, layer, role);
    shoal_rect rect;
    if (!shoal_slice_rect(l->slicing, l->rank, layer, role, &rect))
        return SHOAL_OK;
    w->input_multiply[role] = weight->input_multiply;
    return shoal_load_input_scale(manifest, weight, &rect, l->w->arena, &w->input_scale[role]);
}

static shoal_status load_layer(loader *l, int layer)
{
    shoal_layer_weights *w = &l->w->layers[layer];
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &l->temporary));
    SHOAL_TRY_GOTO(visit_linears(l->slicing->manifest, l->w, layer, list_linear, l), destroy);
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
        SHOAL_TRY_GOTO(load_input_scale(l, layer, role, w), destroy);
    SHOAL_TRY_GOTO(fill_listed(l), destroy);
    for (shoal_role role = SHOAL_ROLE_INPUT_NORM; role < SHOAL_ROLE_LAYER_ALL; role++)
        SHOAL_TRY_GOTO(load_norm(l, layer, role, &w->norm[role]), destroy);

destroy:
    shoal_arena_destroy(l->temporary);
    l->temporary = NULL;
    return st;
}

/* The rows of this rank's ids. */
static shoal_status load_embedding(loader *l)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const shoal_weight *weight = shoal_manifest_weight(manifest, -1, SHOAL_ROLE_EMBEDDING);
    shoal_load_task task = {.weight = weight};
    void *rows;
    l->w->embedding_dtype = weight->dtype;
    if (shoal_slice_embedding_shared(manifest) ||
        !shoal_slice_rect(l->slicing, l->rank, -1, SHOAL_ROLE_EMBEDDING, &task.rect))
        return SHOAL_OK;
    const uint64_t row = (uint64_t)weight->k * shoal_dtype_bytes(l->w->embedding_dtype);
    const uint64_t count = (uint64_t)(task.rect.n_end - task.rect.n_begin);
    SHOAL_TRY(shoal_arena_array(l->w->filled, count, row, &rows));
    task.rows = rows;
    SHOAL_TRY(shoal_load_fill(manifest, &task, 1, l->pool, l->progress, l->context));
    l->w->embedding = rows;
    return SHOAL_OK;
}

/* ---- pinning --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t locked, refused; /* bytes */
    int error;                /* of the first refusal */
} pinning;

static shoal_status pin_linear(void *context, const place *at)
{
    pinning *p = context;
    const shoal_linear *linear = at->linear;
    const uint64_t bytes = shoal_linear_packed_bytes(&linear->size);
    if (at->weight->placement != SHOAL_PLACED_PINNED || bytes == 0)
        return SHOAL_OK;
    if (mlock(linear->codes, bytes) == 0) {
        p->locked += bytes;
        return SHOAL_OK;
    }
    p->error = p->refused ? p->error : errno;
    p->refused += bytes;
    return SHOAL_OK;
}

/* A system that will not lock memory is no reason not to run. */
static void pin(const loader *l)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    pinning p = {0};
    for (int layer = 0; layer < (int)l->w->layer_count; layer++)
        (void)visit_linears(manifest, l->w, layer, pin_linear, &p);
    (void)visit_lm_head(manifest, l->w, pin_linear, &p);
    l->w->pinned = p.locked;
    if (p.refused)
        shoal_log(SHOAL_LOG_WARN, "worker",
                  "rank %d: %llu bytes of weights cannot be locked in memory (%s; see ulimit -l): "
                  "they are held unpinned, %llu bytes are pinned",
                  l->rank, (unsigned long long)p.refused, strerror(p.error),
                  (unsigned long long)p.locked);
}

/* ---- all ------------------------------------------------------------------------------------- */

static shoal_status load_all(loader *l)
{
    shoal_weights *w = l->w;
    shoal_weight_bytes bytes;
    SHOAL_TRY(shoal_budget_weights(l->slicing, l->rank, &bytes));
    SHOAL_TRY(shoal_arena_reserve(w->filled, bytes.filled));
    SHOAL_TRY(shoal_arena_reserve(w->arena, bytes.held - bytes.filled));
    if (bytes.linears.streamed)
        SHOAL_TRY(shoal_stream_create(l->slicing, l->rank, bytes.buffer,
                                      (uint64_t)bytes.linears.streamed, w->arena, &w->stream));
    SHOAL_TRY(load_embedding(l));
    for (int layer = 0; layer < (int)w->layer_count; layer++)
        SHOAL_TRY(load_layer(l, layer));
    SHOAL_TRY(visit_lm_head(l->slicing->manifest, w, list_linear, l));
    SHOAL_TRY(fill_listed(l));
    pin(l);
    return load_norm(l, -1, SHOAL_ROLE_FINAL_NORM, &w->final_norm);
}

/* Room for the linears of the largest layer. */
static shoal_status make_tasks(loader *l)
{
    int most = 0;
    void *tasks;
    for (int64_t layer = 0; layer < l->w->layer_count; layer++)
        most = l->w->layers[layer].expert_count > most ? l->w->layers[layer].expert_count : most;
    const int all = SHOAL_ROLE_LAYER_LINEARS + 2 + most * SHOAL_EXPERT_LINEARS;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)all, sizeof *l->tasks, &tasks));
    l->tasks = tasks;
    return SHOAL_OK;
}

shoal_status shoal_weights_load(const shoal_slicing *slicing, int rank, shoal_cpu_level cap,
                                shoal_pool *pool, shoal_weights_progress progress, void *context,
                                shoal_weights *out)
{
    loader l = {.slicing = slicing,
                .rank = rank,
                .cap = cap,
                .pool = pool,
                .progress = progress,
                .context = context,
                .w = out};
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(make_empty(slicing, out));
    SHOAL_TRY_GOTO(make_tasks(&l), done);
    st = load_all(&l);
done:
    shoal_free(l.tasks);
    if (st != SHOAL_OK)
        shoal_weights_destroy(out);
    return st;
}

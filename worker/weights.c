#include "worker/weights.h"

#include <string.h>

#include "shard/load.h"
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
    int32_t *down_order; /* of the layer being loaded; NULL: plain */
    shoal_load_task tasks[SHOAL_ROLE_LAYER_LINEARS];
    int count;
} loader;

static const shoal_model *model_of(const shoal_slicing *slicing)
{
    return slicing->manifest->model;
}

static shoal_status make_empty(const shoal_slicing *slicing, shoal_weights *w)
{
    shoal_status st = SHOAL_OK;
    void *layers;
    *w = (shoal_weights){.layer_count = model_of(slicing)->layer_count};
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)w->layer_count,
                                sizeof(shoal_layer_weights), &layers));
    w->layers = layers;
    SHOAL_TRY_GOTO(shoal_arena_create(SHOAL_MEM_WEIGHTS, &w->arena), free_layers);
    for (int layer = 0; layer < (int)w->layer_count; layer++)
        w->layers[layer].gathered_o = shoal_slice_o_gathered(slicing->manifest, layer);
    return SHOAL_OK;

free_layers:
    shoal_free(layers);
    *w = (shoal_weights){0};
    return st;
}

void shoal_weights_destroy(shoal_weights *weights)
{
    shoal_arena_destroy(weights->arena);
    shoal_free(weights->layers);
    *weights = (shoal_weights){0};
}

/* ---- outline ---- */

static shoal_status outline_linear(const shoal_slicing *slicing, int rank, int layer,
                                   shoal_role role, shoal_linear *linear, const int32_t **order)
{
    static const int32_t kept = 0; /* stands for "an order is kept" */
    if (!shoal_slice_spec(slicing, rank, layer, role, &linear->spec))
        return shoal_fail(SHOAL_ERR_INTERNAL, "layer %d has no %s", layer, shoal_role_name(role));
    *order = shoal_slice_keeps_order(slicing, rank, layer, role) ? &kept : NULL;
    return shoal_linear_measure(&linear->spec, &linear->size);
}

shoal_status shoal_weights_outline(const shoal_slicing *slicing, int rank, shoal_weights *out)
{
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(make_empty(slicing, out));
    for (int layer = 0; layer < (int)out->layer_count; layer++) {
        shoal_layer_weights *w = &out->layers[layer];
        for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
            SHOAL_TRY_GOTO(
                outline_linear(slicing, rank, layer, role, &w->linear[role], &w->order[role]),
                destroy);
    }
    SHOAL_TRY_GOTO(
        outline_linear(slicing, rank, -1, SHOAL_ROLE_LM_HEAD, &out->lm_head, &out->lm_head_order),
        destroy);
    return SHOAL_OK;

destroy:
    shoal_weights_destroy(out);
    return st;
}

/* ---- load ---- */

/* An order goes into the weights' arena when the step needs it, else it is freed by the caller. */
static shoal_status read_order(const loader *l, const shoal_weight *weight, bool keep,
                               int32_t **out)
{
    shoal_status st = SHOAL_OK;
    void *order;
    if (keep)
        SHOAL_TRY(shoal_arena_array(l->w->arena, (uint64_t)weight->k, sizeof(int32_t), &order));
    else
        SHOAL_TRY(
            shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)weight->k, sizeof(int32_t), &order));
    st = shoal_weight_order(l->slicing->manifest, weight, order);
    if (st == SHOAL_OK)
        *out = order;
    else if (!keep)
        shoal_free(order);
    return st;
}

/* Make a linear and put it on the list of what to fill. */
static shoal_status list_linear(loader *l, int layer, shoal_role role, shoal_linear *linear,
                                const int32_t **kept)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const shoal_weight *weight = shoal_manifest_weight(manifest, layer, role);
    SHOAL_FAULT(READ);
    shoal_linear_spec spec;
    shoal_rect rect;
    int32_t *order = NULL;
    if (!shoal_slice_rect(l->slicing, l->rank, layer, role, &rect) ||
        !shoal_slice_spec(l->slicing, l->rank, layer, role, &spec))
        return shoal_fail(SHOAL_ERR_INTERNAL, "layer %d has no %s", layer, shoal_role_name(role));
    if (role == SHOAL_ROLE_DOWN) {
        order = l->down_order;
    } else if (shoal_slice_keeps_order(l->slicing, l->rank, layer, role)) {
        SHOAL_TRY(read_order(l, weight, true, &order));
        *kept = order;
    }
    rect.order = order;
    if (l->down_order && shoal_slice_in_down_order(manifest, layer, role))
        rect.columns = l->down_order + rect.n_begin;
    SHOAL_TRY(shoal_load_create(manifest, weight, &rect, &spec, l->cap, l->w->arena, linear));
    l->tasks[l->count++] = (shoal_load_task){weight, rect, linear, NULL};
    return SHOAL_OK;
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

static shoal_status load_layer(loader *l, int layer)
{
    shoal_layer_weights *w = &l->w->layers[layer];
    shoal_status st = SHOAL_OK;
    l->down_order = NULL;
    if (shoal_slice_reads_order(l->slicing, l->rank, layer, SHOAL_ROLE_DOWN))
        SHOAL_TRY(read_order(l, shoal_manifest_weight(l->slicing->manifest, layer, SHOAL_ROLE_DOWN),
                             false, &l->down_order));
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
        SHOAL_TRY_GOTO(list_linear(l, layer, role, &w->linear[role], &w->order[role]), free_order);
    SHOAL_TRY_GOTO(fill_listed(l), free_order);
    for (shoal_role role = SHOAL_ROLE_INPUT_NORM; role < SHOAL_ROLE_LAYER_ALL; role++)
        SHOAL_TRY_GOTO(load_norm(l, layer, role, &w->norm[role]), free_order);

free_order:
    shoal_free(l->down_order);
    l->down_order = NULL;
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
    SHOAL_TRY(shoal_arena_array(l->w->arena, count, row, &rows));
    task.rows = rows;
    SHOAL_TRY(shoal_load_fill(manifest, &task, 1, l->pool, l->progress, l->context));
    l->w->embedding = rows;
    return SHOAL_OK;
}

static shoal_status load_all(loader *l)
{
    shoal_weights *w = l->w;
    uint64_t read, held;
    SHOAL_TRY(shoal_budget_weights(l->slicing, l->rank, &read, &held));
    SHOAL_TRY(shoal_arena_reserve(w->arena, held));
    SHOAL_TRY(load_embedding(l));
    for (int layer = 0; layer < (int)w->layer_count; layer++)
        SHOAL_TRY(load_layer(l, layer));
    SHOAL_TRY(list_linear(l, -1, SHOAL_ROLE_LM_HEAD, &w->lm_head, &w->lm_head_order));
    SHOAL_TRY(fill_listed(l));
    return load_norm(l, -1, SHOAL_ROLE_FINAL_NORM, &w->final_norm);
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
    SHOAL_TRY(make_empty(slicing, out));
    const shoal_status st = load_all(&l);
    if (st != SHOAL_OK)
        shoal_weights_destroy(out);
    return st;
}

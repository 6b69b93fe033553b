#include "worker/weights.h"

#include <string.h>

#include "shard/load.h"
#include "worker/fault.h"

typedef struct {
    const shoal_slicing *slicing;
    int rank;
    shoal_cpu_level cap;
    shoal_weights_progress progress;
    void *context;
    shoal_weights *w;
    int32_t *down_order; /* of the layer being loaded; NULL: plain */
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

static void tell(const loader *l)
{
    if (l->progress)
        l->progress(l->context);
}

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

static shoal_status load_linear(const loader *l, int layer, shoal_role role, shoal_linear *linear,
                                const int32_t **kept)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const shoal_weight *weight = shoal_manifest_weight(manifest, layer, role);
    SHOAL_FAULT(READ);
    const bool down = role == SHOAL_ROLE_DOWN;
    shoal_status st = SHOAL_OK;
    shoal_linear_spec spec;
    shoal_rect rect;
    int32_t *order = NULL;
    bool borrowed = true;
    if (!shoal_slice_rect(l->slicing, l->rank, layer, role, &rect) ||
        !shoal_slice_spec(l->slicing, l->rank, layer, role, &spec))
        return shoal_fail(SHOAL_ERR_INTERNAL, "layer %d has no %s", layer, shoal_role_name(role));
    if (down) {
        order = l->down_order;
    } else if (shoal_slice_reads_order(l->slicing, l->rank, layer, role)) {
        const bool keep = shoal_slice_keeps_order(l->slicing, l->rank, layer, role);
        SHOAL_TRY(read_order(l, weight, keep, &order));
        borrowed = keep;
        *kept = keep ? order : NULL;
    }
    rect.order = order;
    if (l->down_order && shoal_slice_in_down_order(manifest, layer, role))
        rect.columns = l->down_order + rect.n_begin;
    st = shoal_load_linear(manifest, weight, &rect, &spec, l->cap, l->w->arena, linear);
    if (!borrowed)
        shoal_free(order);
    SHOAL_TRY(st);
    SHOAL_FAULT(PACK);
    tell(l);
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
        SHOAL_TRY_GOTO(load_linear(l, layer, role, &w->linear[role], &w->order[role]), free_order);
    for (shoal_role role = SHOAL_ROLE_INPUT_NORM; role < SHOAL_ROLE_LAYER_ALL; role++)
        SHOAL_TRY_GOTO(load_norm(l, layer, role, &w->norm[role]), free_order);

free_order:
    shoal_free(l->down_order);
    l->down_order = NULL;
    return st;
}

/* The rows of this rank's ids, as they lie in the file. */
static shoal_status load_embedding(const loader *l)
{
    const shoal_manifest *manifest = l->slicing->manifest;
    const shoal_weight *weight = shoal_manifest_weight(manifest, -1, SHOAL_ROLE_EMBEDDING);
    const shoal_tensor *tensor = weight->parts[0];
    shoal_rect rect;
    void *rows;
    l->w->embedding_dtype = tensor->dtype;
    if (shoal_slice_embedding_shared(manifest) ||
        !shoal_slice_rect(l->slicing, l->rank, -1, SHOAL_ROLE_EMBEDDING, &rect))
        return SHOAL_OK;
    const uint64_t row = (uint64_t)weight->k * shoal_dtype_bytes(tensor->dtype);
    const uint64_t count = (uint64_t)(rect.n_end - rect.n_begin);
    SHOAL_TRY(shoal_arena_array(l->w->arena, count, row, &rows));
    SHOAL_TRY(shoal_checkpoint_read(manifest->checkpoint, tensor, (uint64_t)rect.n_begin * row,
                                    count * row, rows));
    l->w->embedding = rows;
    tell(l);
    return SHOAL_OK;
}

shoal_status shoal_weights_load(const shoal_slicing *slicing, int rank, shoal_cpu_level cap,
                                shoal_weights_progress progress, void *context, shoal_weights *out)
{
    shoal_status st = SHOAL_OK;
    loader l = {slicing, rank, cap, progress, context, out, NULL};
    SHOAL_TRY(make_empty(slicing, out));
    SHOAL_TRY_GOTO(load_embedding(&l), destroy);
    for (int layer = 0; layer < (int)out->layer_count; layer++)
        SHOAL_TRY_GOTO(load_layer(&l, layer), destroy);
    SHOAL_TRY_GOTO(load_linear(&l, -1, SHOAL_ROLE_LM_HEAD, &out->lm_head, &out->lm_head_order),
                   destroy);
    SHOAL_TRY_GOTO(load_norm(&l, -1, SHOAL_ROLE_FINAL_NORM, &out->final_norm), destroy);
    return SHOAL_OK;

destroy:
    shoal_weights_destroy(out);
    return st;
}

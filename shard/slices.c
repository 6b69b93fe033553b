#include "shard/slices.h"

#include <string.h>

/* Activation group of hidden inputs, and of attention outputs where heads allow it. */
#define ACT_GROUP 128

static const char *const activation_names[] = {
    [SHOAL_ACTIVATIONS_AUTO] = "auto",
    [SHOAL_ACTIVATIONS_INT8] = "int8",
    [SHOAL_ACTIVATIONS_BF16] = "bf16",
    [SHOAL_ACTIVATIONS_F32] = "f32",
};

bool shoal_activations_parse(const char *word, shoal_activations *out)
{
    for (int i = 0; i <= SHOAL_ACTIVATIONS_F32; i++)
        if (strcmp(word, activation_names[i]) == 0) {
            *out = (shoal_activations)i;
            return true;
        }
    return false;
}

const char *shoal_activations_name(shoal_activations activations)
{
    return activation_names[activations];
}

/* Weight group of a down linear as the unit rule counts it. */
static int64_t unit_group(const shoal_weight *down)
{
    const bool grouped = down->kind != SHOAL_WEIGHT_FLOAT && down->group < down->k;

    return grouped ? down->group : ACT_GROUP;
}

shoal_status shoal_slices_shape(const shoal_manifest *manifest, shoal_plan_shape *out)
{
    const shoal_model *model = manifest->model;
    const int64_t intermediate = model->layers[0].intermediate;
    int64_t groups[SHOAL_LAYERS_MAX], unit = 0;

    for (int layer = 0; layer < model->layer_count; layer++) {
        if (model->layers[layer].intermediate != intermediate)
            return shoal_fail(SHOAL_ERR_DATA,
                              "layer %d has %lld intermediate elements, layer 0 %lld: one plan "
                              "serves layers of one size",
                              layer, (long long)model->layers[layer].intermediate,
                              (long long)intermediate);
        groups[layer] = unit_group(shoal_manifest_weight(manifest, layer, SHOAL_ROLE_DOWN));
    }
    SHOAL_TRY(shoal_plan_down_unit(groups, model->layer_count, intermediate, &unit));
    *out = (shoal_plan_shape){
        .heads = model->heads,
        .kv_heads = model->kv_heads,
        .head_dim = model->head_dim,
        .intermediate = intermediate,
        .unit = unit,
        .vocab = model->vocab,
        .hidden = model->hidden,
    };
    return SHOAL_OK;
}

bool shoal_slice_o_gathered(const shoal_manifest *manifest, int layer)
{
    return shoal_manifest_weight(manifest, layer, SHOAL_ROLE_O)->act_order;
}

bool shoal_slice_in_down_order(const shoal_manifest *manifest, int layer, shoal_role role)
{
    return (role == SHOAL_ROLE_GATE || role == SHOAL_ROLE_UP) &&
           shoal_manifest_weight(manifest, layer, SHOAL_ROLE_DOWN)->act_order;
}

bool shoal_slice_embedding_shared(const shoal_manifest *manifest)
{
    return manifest->model->tied &&
           shoal_manifest_weight(manifest, -1, SHOAL_ROLE_LM_HEAD)->kind == SHOAL_WEIGHT_FLOAT;
}

static shoal_range in_elements(shoal_range heads, int64_t head_dim)
{
    return (shoal_range){heads.begin * head_dim, heads.end * head_dim};
}

/* Is K of this role cut between ranks? */
static bool is_cut(const shoal_manifest *manifest, int layer, shoal_role role)
{
    return role == SHOAL_ROLE_DOWN ||
           (role == SHOAL_ROLE_O && !shoal_slice_o_gathered(manifest, layer));
}

/* The rank's share of the dimension along which this role is cut; false for norms. */
static bool share(const shoal_slicing *slicing, int rank, int layer, shoal_role role,
                  shoal_range *out)
{
    const shoal_rank_plan *mine = &slicing->plan->rank[rank];
    const int64_t head_dim = slicing->plan->shape.head_dim;

    switch (role) {
    case SHOAL_ROLE_Q: *out = in_elements(mine->q_heads, head_dim); return true;
    case SHOAL_ROLE_K:
    case SHOAL_ROLE_V: *out = in_elements(mine->kv_heads, head_dim); return true;
    case SHOAL_ROLE_O:
        *out = is_cut(slicing->manifest, layer, role) ? in_elements(mine->q_heads, head_dim)
                                                      : mine->hidden;
        return true;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP:
    case SHOAL_ROLE_DOWN: *out = mine->intermediate; return true;
    case SHOAL_ROLE_EMBEDDING:
    case SHOAL_ROLE_LM_HEAD: *out = mine->vocab; return true;
    default: return false;
    }
}

bool shoal_slice_rect(const shoal_slicing *slicing, int rank, int layer, shoal_role role,
                      shoal_rect *out)
{
    const shoal_weight *weight = shoal_manifest_weight(slicing->manifest, layer, role);
    shoal_range mine;

    if (!weight->present || !share(slicing, rank, layer, role, &mine))
        return false;
    if (role == SHOAL_ROLE_EMBEDDING && shoal_slice_embedding_shared(slicing->manifest))
        return false;
    *out = (shoal_rect){.n_end = weight->n, .k_end = weight->k};
    if (is_cut(slicing->manifest, layer, role)) {
        out->k_begin = mine.begin;
        out->k_end = mine.end;
    } else {
        out->n_begin = mine.begin;
        out->n_end = mine.end;
    }
    return true;
}

/* Length of the stretch of inputs that shares one activation scale. */
static int64_t act_group(const shoal_slicing *slicing, const shoal_weight *weight, int64_t unit)
{
    const int64_t head_dim = slicing->plan->shape.head_dim;

    if (weight->per_token)
        return unit ? unit : weight->k;
    if (weight->role == SHOAL_ROLE_O && head_dim % ACT_GROUP)
        return head_dim;
    return ACT_GROUP;
}

static shoal_act_form act_form(const shoal_weight *weight, shoal_activations activations)
{
    if (weight->kind == SHOAL_WEIGHT_FLOAT || activations == SHOAL_ACTIVATIONS_F32)
        return SHOAL_ACT_F32;
    return activations == SHOAL_ACTIVATIONS_BF16 ? SHOAL_ACT_BF16 : SHOAL_ACT_INT8;
}

bool shoal_slice_spec(const shoal_slicing *slicing, int rank, int layer, shoal_role role,
                      shoal_linear_spec *out)
{
    const shoal_weight *weight = shoal_manifest_weight(slicing->manifest, layer, role);
    int64_t unit = 0;
    shoal_rect rect;

    if (role == SHOAL_ROLE_EMBEDDING || !shoal_slice_rect(slicing, rank, layer, role, &rect))
        return false;
    if (is_cut(slicing->manifest, layer, role))
        unit = role == SHOAL_ROLE_O ? slicing->plan->shape.head_dim : slicing->plan->shape.unit;
    *out = (shoal_linear_spec){
        .n = rect.n_end - rect.n_begin,
        .k = rect.k_end - rect.k_begin,
        .k_begin = rect.k_begin,
        .kind = weight->kind,
        .dtype = weight->dtype,
        .group = weight->group > 0 ? weight->group : weight->k,
        .has_zeros = weight->has_zeros,
        .zero_const = weight->zero_const,
        .has_mins = weight->has_mins,
        .act = act_form(weight, slicing->activations),
        .act_group = act_group(slicing, weight, unit),
        .unit = unit,
    };
    return true;
}

bool shoal_slice_reads_order(const shoal_slicing *slicing, int rank, int layer, shoal_role role)
{
    const bool fed_by_norm = role != SHOAL_ROLE_O && role != SHOAL_ROLE_DOWN;
    shoal_rect rect;

    return shoal_manifest_weight(slicing->manifest, layer, role)->act_order &&
           shoal_slice_rect(slicing, rank, layer, role, &rect) &&
           (fed_by_norm || !shoal_rect_empty(&rect));
}

bool shoal_slice_keeps_order(const shoal_slicing *slicing, int rank, int layer, shoal_role role)
{
    return role != SHOAL_ROLE_DOWN && shoal_slice_reads_order(slicing, rank, layer, role);
}

uint64_t shoal_slice_read_bytes(const shoal_slicing *slicing, int rank, int layer, shoal_role role)
{
    /* Which columns a permuted slice takes does not change what is read, only that they are
     * permuted does: the plan need not know the order. */
    static const int32_t some_order = 0;
    const shoal_weight *weight = shoal_manifest_weight(slicing->manifest, layer, role);
    shoal_rect rect;

    if (!shoal_slice_rect(slicing, rank, layer, role, &rect))
        return 0;
    if (shoal_slice_in_down_order(slicing->manifest, layer, role))
        rect.columns = &some_order;
    return shoal_weight_read_bytes(weight, &rect);
}

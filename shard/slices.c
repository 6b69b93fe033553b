#include "shard/slices.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

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

/* The down linears of one size of MLP, as they are found. */
typedef struct {
    int64_t *groups;
    int64_t count, intermediate;
    int first; /* layer that has the first of them */
} downs;

static shoal_status add_down(downs *d, const shoal_weight *down)
{
    if (d->count && down->k != d->intermediate)
        return shoal_fail(SHOAL_ERR_DATA,
                          "layer %d has %lld intermediate elements, layer %d %lld: one plan serves "
                          "layers of one size",
                          down->layer, (long long)down->k, d->first, (long long)d->intermediate);
    if (d->count == 0) {
        d->intermediate = down->k;
        d->first = down->layer;
    }
    d->groups[d->count++] = unit_group(down);
    return SHOAL_OK;
}

enum { PLAIN, EXPERTS, SHARED, MLP_KINDS };

static shoal_status add_layer_downs(const shoal_manifest *manifest, int layer, downs *kinds)
{
    const shoal_expert_set *set = &manifest->experts[layer];
    if (set->count == 0)
        return add_down(&kinds[PLAIN], shoal_manifest_weight(manifest, layer, SHOAL_ROLE_DOWN));
    for (int e = 0; e < set->count; e++) {
        const shoal_weight *down = shoal_expert_weight(set, e, SHOAL_ROLE_DOWN);
        SHOAL_TRY(add_down(&kinds[down->expert == SHOAL_EXPERT_SHARED ? SHARED : EXPERTS], down));
    }
    return SHOAL_OK;
}

/* `units` 0 where there is no MLP of the kind. */
static shoal_status find_units(const shoal_manifest *manifest, downs *kinds, int64_t *units)
{
    for (int layer = 0; layer < manifest->model->layer_count; layer++)
        SHOAL_TRY(add_layer_downs(manifest, layer, kinds));
    for (int i = 0; i < MLP_KINDS; i++)
        if (kinds[i].count)
            SHOAL_TRY(shoal_plan_down_unit(kinds[i].groups, kinds[i].count, kinds[i].intermediate,
                                           &units[i]));
    return SHOAL_OK;
}

static void state_shape(const shoal_manifest *manifest, const downs *kinds, const int64_t *units,
                        shoal_plan_shape *out)
{
    const shoal_model *model = manifest->model;
    shoal_plan_shape shape = {
        .heads = model->heads,
        .kv_heads = model->kv_heads,
        .head_dim = model->head_dim,
        .intermediate = kinds[PLAIN].intermediate,
        .unit = units[PLAIN],
        .vocab = model->vocab,
        .hidden = model->hidden,
        .experts = {0, kinds[EXPERTS].intermediate, units[EXPERTS]},
        .shared = {kinds[SHARED].count > 0, kinds[SHARED].intermediate, units[SHARED]},
    };
    for (int layer = 0; layer < model->layer_count; layer++) {
        shape.experts.count = shoal_max_i64(shape.experts.count, model->layers[layer].experts);
        shape.chosen = shoal_max_i64(shape.chosen, model->layers[layer].experts_per_token);
    }
    *out = shape;
}

shoal_status shoal_slices_shape(const shoal_manifest *manifest, shoal_plan_shape *out)
{
    downs kinds[MLP_KINDS] = {0};
    int64_t units[MLP_KINDS] = {0};
    uint64_t most = 0;
    void *block;
    for (int layer = 0; layer < manifest->model->layer_count; layer++)
        most += (uint64_t)shoal_max_i64(1, manifest->experts[layer].count);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, MLP_KINDS * most, sizeof(int64_t), &block));
    for (int i = 0; i < MLP_KINDS; i++)
        kinds[i].groups = (int64_t *)block + (uint64_t)i * most;
    const shoal_status st = find_units(manifest, kinds, units);
    if (st == SHOAL_OK)
        state_shape(manifest, kinds, units, out);
    shoal_free(block);
    return st;
}

bool shoal_slice_o_gathered(const shoal_manifest *manifest, int layer)
{
    return shoal_manifest_weight(manifest, layer, SHOAL_ROLE_O)->act_order;
}

bool shoal_slice_in_down_order_of(const shoal_manifest *manifest, const shoal_weight *weight)
{
    return (weight->role == SHOAL_ROLE_GATE || weight->role == SHOAL_ROLE_UP) &&
           shoal_manifest_sibling(manifest, weight, SHOAL_ROLE_DOWN)->act_order;
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

/* Is K of this weight cut between ranks? */
static bool is_cut(const shoal_weight *weight)
{
    return weight->role == SHOAL_ROLE_DOWN || (weight->role == SHOAL_ROLE_O && !weight->act_order);
}

/* The intermediate elements of an MLP, or of an expert, that the rank holds. */
static shoal_range intermediate_share(const shoal_slicing *slicing, int rank,
                                      const shoal_weight *weight)
{
    const shoal_rank_plan *mine = &slicing->plan->rank[rank];

    if (weight->expert == 0)
        return mine->intermediate;
    return weight->expert == SHOAL_EXPERT_SHARED
               ? mine->shared
               : shoal_plan_expert(slicing->plan, rank, weight->expert - 1);
}

/* The rank's share of the dimension along which this weight is cut; false for norms. */
static bool share(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                  shoal_range *out)
{
    const shoal_rank_plan *mine = &slicing->plan->rank[rank];
    const int64_t head_dim = slicing->plan->shape.head_dim;

    switch (weight->role) {
    case SHOAL_ROLE_Q: *out = in_elements(mine->q_heads, head_dim); return true;
    case SHOAL_ROLE_K:
    case SHOAL_ROLE_V: *out = in_elements(mine->kv_heads, head_dim); return true;
    case SHOAL_ROLE_O:
        *out = is_cut(weight) ? in_elements(mine->q_heads, head_dim) : mine->hidden;
        return true;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP:
    case SHOAL_ROLE_DOWN: *out = intermediate_share(slicing, rank, weight); return true;
    case SHOAL_ROLE_EMBEDDING:
    case SHOAL_ROLE_LM_HEAD: *out = mine->vocab; return true;
    case SHOAL_ROLE_ROUTER:
    case SHOAL_ROLE_SHARED_ROUTER: *out = (shoal_range){0, weight->n}; return true;
    default: return false;
    }
}

bool shoal_slice_rect_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                         shoal_rect *out)
{
    shoal_range mine;

    if (!weight->present || !share(slicing, rank, weight, &mine))
        return false;
    if (weight->role == SHOAL_ROLE_EMBEDDING && shoal_slice_embedding_shared(slicing->manifest))
        return false;
    *out = (shoal_rect){.n_end = weight->n, .k_end = weight->k};
    if (is_cut(weight)) {
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
    if (weight->kind == SHOAL_WEIGHT_FLOAT || shoal_role_routes(weight->role) ||
        activations == SHOAL_ACTIVATIONS_F32)
        return SHOAL_ACT_F32;
    return activations == SHOAL_ACTIVATIONS_BF16 ? SHOAL_ACT_BF16 : SHOAL_ACT_INT8;
}

/* Length of a unit of this weight's K; 0 where K is whole. */
static int64_t unit_of(const shoal_plan_shape *shape, const shoal_weight *weight)
{
    if (!is_cut(weight))
        return 0;
    if (weight->role == SHOAL_ROLE_O)
        return shape->head_dim;
    if (weight->expert == 0)
        return shape->unit;
    return weight->expert == SHOAL_EXPERT_SHARED ? shape->shared.unit : shape->experts.unit;
}

bool shoal_slice_spec_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                         shoal_linear_spec *out)
{
    const int64_t unit = unit_of(&slicing->plan->shape, weight);
    shoal_rect rect;

    if (weight->role == SHOAL_ROLE_EMBEDDING || !shoal_slice_rect_of(slicing, rank, weight, &rect))
        return false;
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
        .super_group = weight->super_group,
        .act = act_form(weight, slicing->activations),
        .act_group = act_group(slicing, weight, unit),
        .unit = unit,
    };
    return true;
}

bool shoal_slice_reads_order_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight)
{
    const bool fed_by_norm =
        weight->role != SHOAL_ROLE_O && weight->role != SHOAL_ROLE_DOWN && weight->expert == 0;
    shoal_rect rect;

    return weight->act_order && shoal_slice_rect_of(slicing, rank, weight, &rect) &&
           (fed_by_norm || !shoal_rect_empty(&rect));
}

bool shoal_slice_keeps_order_of(const shoal_slicing *slicing, int rank, const shoal_weight *weight)
{
    return weight->role != SHOAL_ROLE_DOWN && shoal_slice_reads_order_of(slicing, rank, weight);
}

uint64_t shoal_slice_read_bytes_of(const shoal_slicing *slicing, int rank,
                                   const shoal_weight *weight)
{
    /* Which columns a permuted slice takes does not change what is read, only that they are
     * permuted does: the plan need not know the order. */
    static const int32_t some_order = 0;
    shoal_rect rect;

    if (!shoal_slice_rect_of(slicing, rank, weight, &rect))
        return 0;
    if (shoal_slice_in_down_order_of(slicing->manifest, weight))
        rect.columns = &some_order;
    return shoal_weight_read_bytes(weight, &rect);
}

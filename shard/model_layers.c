#include "shard/model_layers.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "shard/quoted.h"

/* ---- windows ---- */

static bool has_window(const shoal_family *family, int64_t layer, int64_t first, int64_t pattern)
{
    switch (family->windows) {
    case SHOAL_WINDOWS_ALL:
    case SHOAL_WINDOWS_ALL_USED: return true;
    case SHOAL_WINDOWS_UPPER: return layer >= first;
    case SHOAL_WINDOWS_ALTERNATE: return layer % 2 == 0;
    case SHOAL_WINDOWS_LOWER: return layer % 2 == 0 && layer < first;
    case SHOAL_WINDOWS_PATTERN: return (layer + 1) % pattern != 0;
    default: return false;
    }
}

/* The size of the window, 0 where the model has none. */
static shoal_status read_window(const shoal_config *config, const shoal_family *family,
                                int64_t *window)
{
    bool used = family->windows != SHOAL_WINDOWS_UPPER &&
                family->windows != SHOAL_WINDOWS_ALL_USED && family->windows != SHOAL_WINDOWS_LOWER;
    *window = shoal_config_is_null(config, "sliding_window") ? 0 : family->window;
    SHOAL_TRY(shoal_config_int(config, "sliding_window", 1, SHOAL_CONTEXT_MAX, window));
    SHOAL_TRY(shoal_config_bool(config, "use_sliding_window", &used));
    if (!used || family->windows == SHOAL_WINDOWS_NONE)
        *window = 0;
    return SHOAL_OK;
}

static shoal_status read_type(const shoal_config *config, const json_t *types, size_t layer,
                              bool *sliding)
{
    char quoted[SHOAL_QUOTED_ROOM];
    const char *text = json_string_value(json_array_get(types, layer));
    *sliding = text && strcmp(text, "sliding_attention") == 0;
    if (*sliding || (text && strcmp(text, "full_attention") == 0))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: layer_types gives layer %zu '%s'; full_attention and sliding_attention "
                      "are known",
                      config->where, layer,
                      text ? shoal_quoted(text, quoted, sizeof quoted) : "no string");
}

/* layer_types decides where the family's own code listens to it; elsewhere two descriptions that
 * differ are refused rather than one of them believed. */
static shoal_status read_layer_types(const shoal_config *config, const shoal_family *family,
                                     const shoal_model *model, int64_t window, bool *sliding)
{
    const json_t *types = NULL;
    SHOAL_TRY(shoal_config_array(config, "layer_types", &types));
    if (!types)
        return SHOAL_OK;
    if (json_array_size(types) != (size_t)model->layer_count)
        return shoal_fail(SHOAL_ERR_DATA, "%s: layer_types has %zu entries for %lld layers",
                          config->where, json_array_size(types), (long long)model->layer_count);
    for (size_t i = 0; i < (size_t)model->layer_count; i++) {
        bool said;
        SHOAL_TRY(read_type(config, types, i, &said));
        if (said && window == 0)
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: layer_types gives layer %zu a sliding window, but there is "
                              "none%s",
                              config->where, i,
                              shoal_config_has(config, "use_sliding_window")
                                  ? " (use_sliding_window, sliding_window)"
                                  : " (sliding_window)");
        if (said != sliding[i] && !family->layer_types_decide)
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: layer_types gives layer %zu %s, where a %s model with this "
                              "sliding_window has %s",
                              config->where, i, said ? "sliding_attention" : "full_attention",
                              family->model_type,
                              sliding[i] ? "sliding_attention" : "full_attention");
        sliding[i] = said;
    }
    return SHOAL_OK;
}

static shoal_status read_windows(const shoal_config *config, const shoal_family *family,
                                 shoal_model *model, bool *sliding)
{
    int64_t window, first = 28, pattern = 6;
    SHOAL_TRY(read_window(config, family, &window));
    SHOAL_TRY(shoal_config_int(config, "max_window_layers", 0, SHOAL_CONTEXT_MAX, &first));
    SHOAL_TRY(shoal_config_int(config, "_sliding_window_pattern", 1, SHOAL_LAYERS_MAX, &pattern));
    SHOAL_TRY(shoal_config_int(config, "sliding_window_pattern", 1, SHOAL_LAYERS_MAX, &pattern));
    for (int64_t i = 0; i < model->layer_count; i++)
        sliding[i] = window > 0 && has_window(family, i, first, pattern);
    SHOAL_TRY(read_layer_types(config, family, model, window, sliding));
    for (int64_t i = 0; i < model->layer_count; i++)
        model->layers[i].window = sliding[i] ? window : 0;
    return SHOAL_OK;
}

/* ---- what all layers have in common ---- */

static shoal_status read_activation(const shoal_config *config, const shoal_family *family,
                                    shoal_activation *out)
{
    static const struct {
        const char *name;
        shoal_activation activation;
    } names[] = {
        {"silu", SHOAL_ACTIVATION_SILU},          {"swish", SHOAL_ACTIVATION_SILU},
        {"gelu", SHOAL_ACTIVATION_GELU},          {"gelu_pytorch_tanh", SHOAL_ACTIVATION_GELU_TANH},
        {"gelu_new", SHOAL_ACTIVATION_GELU_TANH},
    };
    const char *key = family->activation_key ? family->activation_key : "hidden_act";
    const char *text = family->activation ? family->activation : "silu";
    char quoted[SHOAL_QUOTED_ROOM];
    SHOAL_TRY(shoal_config_text(config, key, &text));
    if (family->gelu_is_by_tanh && strcmp(text, "gelu") == 0)
        text = "gelu_pytorch_tanh";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].activation;
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s is '%s'; silu, gelu and gelu_pytorch_tanh are known",
                      config->where, key, shoal_quoted(text, quoted, sizeof quoted));
}

static shoal_status read_biases(const shoal_config *config, const shoal_family *family,
                                shoal_layer *layer)
{
    layer->qkv_bias = family->bias == SHOAL_BIAS_QKV;
    if (layer->qkv_bias)
        SHOAL_TRY(shoal_config_bool(config, "qkv_bias", &layer->qkv_bias));
    if (family->bias == SHOAL_BIAS_CONFIG) {
        const char *key = family->bias_key ? family->bias_key : "attention_bias";
        layer->qkv_bias = family->bias_absent;
        SHOAL_TRY(shoal_config_bool(config, key, &layer->qkv_bias));
        layer->o_bias = layer->qkv_bias;
    }
    if (family->mlp_bias)
        SHOAL_TRY(shoal_config_bool(config, "mlp_bias", &layer->mlp_bias));
    return SHOAL_OK;
}

/* What is done to scores: divided, and capped. */
static shoal_status read_scores(const shoal_config *config, const shoal_family *family,
                                const shoal_model *model, shoal_layer *layer)
{
    double divisor = family->query_scalar, cap = 0;
    if (divisor > 0)
        SHOAL_TRY(shoal_config_real(config, "query_pre_attn_scalar", 1e-3, 1e6, &divisor));
    else
        divisor = (double)model->head_dim;
    if (family->soft_caps)
        SHOAL_TRY(
            shoal_config_soft_cap(config, "attn_logit_softcapping", family->attention_cap, &cap));
    layer->attention_scale = (float)(1 / sqrt(divisor));
    layer->attention_soft_cap = (float)cap;
    return SHOAL_OK;
}

static shoal_status check_causal(const shoal_config *config)
{
    bool both_ways = false;
    SHOAL_TRY(shoal_config_bool(config, "use_bidirectional_attention", &both_ways));
    if (both_ways)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: use_bidirectional_attention is true; only causal models are known",
                          config->where);
    return SHOAL_OK;
}

static shoal_status read_common(const shoal_config *config, const shoal_family *family,
                                const shoal_model *model, shoal_layer *layer)
{
    SHOAL_TRY(shoal_config_require(config, "intermediate_size"));
    SHOAL_TRY(shoal_config_int(config, "intermediate_size", 1, SHOAL_INTERMEDIATE_MAX,
                               &layer->intermediate));
    SHOAL_TRY(read_activation(config, family, &layer->activation));
    SHOAL_TRY(read_biases(config, family, layer));
    SHOAL_TRY(read_scores(config, family, model, layer));
    layer->qk_norm = family->qk_norm;
    layer->norm_after_attention = layer->norm_after_mlp = family->norms_after;
    return check_causal(config);
}

/* ---- experts ---- */

/* Layers that stay dense: every one but each step-th, and those of a list. */
static shoal_status mark_dense(const shoal_config *config, const shoal_model *model, bool *dense)
{
    int64_t step = 1;
    const json_t *list = NULL;
    SHOAL_TRY(shoal_config_int(config, "decoder_sparse_step", 1, SHOAL_LAYERS_MAX, &step));
    SHOAL_TRY(shoal_config_array(config, "mlp_only_layers", &list));
    for (int64_t i = 0; i < model->layer_count; i++)
        dense[i] = (i + 1) % step != 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_int_t layer = json_integer_value(entry);
        if (!json_is_integer(entry) || layer < 0 || layer >= model->layer_count)
            return shoal_fail(SHOAL_ERR_DATA, "%s: mlp_only_layers names no layer at position %zu",
                              config->where, i);
        dense[layer] = true;
    }
    return SHOAL_OK;
}

/* Numbers of experts and their sizes, into the layers that are not dense. */
static shoal_status read_experts(const shoal_config *config, const shoal_family_experts *family,
                                 shoal_model *model)
{
    bool dense[SHOAL_LAYERS_MAX];
    int64_t experts = family->count, chosen = family->chosen, shared = family->shared;
    int64_t intermediate =
        family->intermediate ? family->intermediate : model->layers[0].intermediate;
    bool renormalize = family->renormalized;
    SHOAL_TRY(shoal_config_int(config, "num_experts", 1, SHOAL_EXPERTS_MAX, &experts));
    SHOAL_TRY(shoal_config_int(config, "num_local_experts", 1, SHOAL_EXPERTS_MAX, &experts));
    SHOAL_TRY(shoal_config_int(config, "num_experts_per_tok", 1, SHOAL_EXPERTS_MAX, &chosen));
    if (family->intermediate)
        SHOAL_TRY(shoal_config_int(config, "moe_intermediate_size", 1, SHOAL_INTERMEDIATE_MAX,
                                   &intermediate));
    if (family->shared)
        SHOAL_TRY(shoal_config_int(config, "shared_expert_intermediate_size", 1,
                                   SHOAL_INTERMEDIATE_MAX, &shared));
    if (!family->renormalized)
        SHOAL_TRY(shoal_config_bool(config, "norm_topk_prob", &renormalize));
    if (chosen > experts)
        return shoal_fail(SHOAL_ERR_DATA, "%s: num_experts_per_tok is %lld of %lld experts",
                          config->where, (long long)chosen, (long long)experts);
    SHOAL_TRY(mark_dense(config, model, dense));
    for (int64_t i = 0; i < model->layer_count; i++) {
        shoal_layer *layer = &model->layers[i];
        if (dense[i])
            continue;
        layer->mlp = SHOAL_MLP_EXPERTS;
        layer->experts = experts;
        layer->experts_per_token = chosen;
        layer->renormalize_experts = renormalize;
        layer->intermediate = intermediate;
        layer->shared_intermediate = shared;
    }
    return SHOAL_OK;
}

shoal_status shoal_model_layers_read(const shoal_config *config, const shoal_family *family,
                                     shoal_model *model, bool **sliding)
{
    shoal_layer common = {.mlp = SHOAL_MLP_DENSE};
    void *flags;
    SHOAL_TRY(shoal_arena_array(model->arena, (uint64_t)model->layer_count, sizeof(bool), &flags));
    SHOAL_TRY(read_common(config, family, model, &common));
    for (int64_t i = 0; i < model->layer_count; i++)
        model->layers[i] = common;
    SHOAL_TRY(read_windows(config, family, model, flags));
    if (family->experts.count)
        SHOAL_TRY(read_experts(config, &family->experts, model));
    *sliding = flags;
    return SHOAL_OK;
}

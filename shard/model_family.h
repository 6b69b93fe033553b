/* shard/model_family.h - what the model types of Hugging Face configs mean beyond their numbers.
 *
 * One row per model_type: defaults of what a config may leave out (those of transformers'
 * configuration classes) and how its layers are made. To add a family: a row here, a row in
 * roles.c if its tensors have other names, and fields in model.h if it is new in kind. */
#ifndef SHOAL_SHARD_MODEL_FAMILY_H
#define SHOAL_SHARD_MODEL_FAMILY_H

#include <stdbool.h>
#include <stdint.h>

/* Which layers see a sliding window. */
typedef enum {
    SHOAL_WINDOWS_NONE,
    SHOAL_WINDOWS_ALL,       /* sliding_window on every layer                                 */
    SHOAL_WINDOWS_ALL_USED,  /* the same, where use_sliding_window says so                    */
    SHOAL_WINDOWS_UPPER,     /* where use_sliding_window: layers from max_window_layers up    */
    SHOAL_WINDOWS_ALTERNATE, /* layers 0, 2, 4, ...                                           */
    SHOAL_WINDOWS_PATTERN    /* all but every sliding_window_pattern-th; another rope in them */
} shoal_window_rule;

typedef enum {
    SHOAL_BIAS_NONE,
    SHOAL_BIAS_QKV,   /* q, k, v always                        */
    SHOAL_BIAS_CONFIG /* q, k, v and o where attention_bias is */
} shoal_bias_rule;

typedef struct {
    const char *model_type;
    const char *roles; /* the row of roles.c */

    /* What holds where the config has no such member. */
    int64_t kv_heads; /* 0: as many as heads              */
    int64_t head_dim; /* 0: hidden / heads                */
    int64_t context;
    int64_t window; /* 0: none */
    double norm_eps, theta;
    double attention_cap, logits_cap; /* 0: none */
    bool tied;

    shoal_window_rule windows;
    bool layer_types_decide; /* else they may only repeat what the rule says */
    shoal_bias_rule bias;
    bool mlp_bias; /* the config may say so */
    bool qk_norm;
    bool gemma;   /* norms of w + 1, norms after, scaled embedding, gelu, soft caps */
    bool fused;   /* qkv and gate, up as one tensor                                 */
    bool experts; /* read the members about experts                                 */
} shoal_family;

/* NULL when unknown. */
const shoal_family *shoal_family_find(const char *model_type);

/* "llama, mistral, ...", for messages. */
const char *shoal_family_list(void);

#endif

/* shard/model_family.h - what the model types of Hugging Face configs mean beyond their numbers.
 *
 * One row per model_type: defaults of what a config may leave out (those of transformers'
 * configuration classes) and how its layers are made. To add a family: docs/adding_a_model.md. */
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
    SHOAL_WINDOWS_LOWER,     /* of these where use_sliding_window, below max_window_layers    */
    SHOAL_WINDOWS_PATTERN    /* all but every sliding_window_pattern-th; another rope in them */
} shoal_window_rule;

typedef enum {
    SHOAL_BIAS_NONE,
    SHOAL_BIAS_QKV,   /* q, k, v, unless qkv_bias is false     */
    SHOAL_BIAS_CONFIG /* q, k, v and o where the config says so */
} shoal_bias_rule;

/* Defaults of a family of mixtures of experts. */
typedef struct {
    int64_t count; /* 0: the family has no experts */
    int64_t chosen;
    int64_t intermediate; /* 0: intermediate_size           */
    int64_t shared;       /* intermediate; 0: no such expert */
    bool renormalized;    /* always; else norm_topk_prob says, false when absent */
} shoal_family_experts;

typedef struct {
    const char *model_type;
    const char *roles; /* the row of roles.c */

    /* What holds where the config has no such member. */
    int64_t vocab, heads; /* 0: the config must say it        */
    int64_t kv_heads;     /* 0: as many as heads              */
    int64_t head_dim;     /* 0: hidden / heads                */
    int64_t context;      /* 0: the config must say it        */
    int64_t window;       /* 0: none */
    double norm_eps, theta;
    double query_scalar;              /* scores are divided by its root; 0: by that of head_dim */
    double attention_cap, logits_cap; /* 0: none                                                */
    const char *activation;           /* NULL: silu                                             */
    bool tied;

    /* What the config is asked. */
    const char *activation_key; /* NULL: hidden_act                                 */
    bool gelu_is_by_tanh;       /* where configs say gelu, they mean gelu_pytorch_tanh */
    bool soft_caps;             /* attn_logit_softcapping, final_logit_softcapping  */
    bool mlp_bias;
    shoal_window_rule windows;
    bool layer_types_decide; /* else they may only repeat what the rule says     */
    shoal_bias_rule bias;
    const char *bias_key; /* NULL: attention_bias                             */
    bool bias_absent;     /* what holds where the config has no such member   */

    /* What no config says. */
    bool qk_norm;          /* q and k are normed per head, before rope                      */
    bool norms_after;      /* attention and MLP are normed once more before they join       */
    bool norms_less_one;   /* norms are stored as w - 1                                     */
    bool scaled_embedding; /* by the root of hidden_size                                    */
    int64_t normed_head;   /* with a vocabulary of this size, rows of lm_head are normed    */
    shoal_family_experts experts;
} shoal_family;

/* NULL when unknown. */
const shoal_family *shoal_family_find(const char *model_type);

/* "llama, mistral, ...", for messages. */
const char *shoal_family_list(void);

#endif

/* shard/roles.c - see roles.h. */
#include "shard/roles.h"

#include <stdio.h>
#include <string.h>

#define LAYER "model.layers.%d."

/* What nearly every decoder on the Hugging Face hub calls them; Qwen3 adds the q and k norms. */
#define ATTENTION                                                                                  \
    [SHOAL_ROLE_Q] = LAYER "self_attn.q_proj", [SHOAL_ROLE_K] = LAYER "self_attn.k_proj",          \
    [SHOAL_ROLE_V] = LAYER "self_attn.v_proj"
#define GATE_UP [SHOAL_ROLE_GATE] = LAYER "mlp.gate_proj", [SHOAL_ROLE_UP] = LAYER "mlp.up_proj"
#define OUTPUTS [SHOAL_ROLE_O] = LAYER "self_attn.o_proj", [SHOAL_ROLE_DOWN] = LAYER "mlp.down_proj"
#define INPUT_NORMS                                                                                \
    [SHOAL_ROLE_INPUT_NORM] = LAYER "input_layernorm",                                             \
    [SHOAL_ROLE_Q_NORM] = LAYER "self_attn.q_norm", [SHOAL_ROLE_K_NORM] = LAYER "self_attn.k_norm"
#define MLP_NORM [SHOAL_ROLE_MLP_NORM] = LAYER "post_attention_layernorm"
#define OUTSIDE                                                                                    \
    [SHOAL_ROLE_EMBEDDING] = "model.embed_tokens", [SHOAL_ROLE_FINAL_NORM] = "model.norm",         \
    [SHOAL_ROLE_LM_HEAD] = "lm_head"

#define LLAMA_LIKE                                                                                 \
    {                                                                                              \
        ATTENTION, GATE_UP, OUTPUTS, INPUT_NORMS, MLP_NORM, OUTSIDE                                \
    }

/* From its second version on, Gemma norms both the input and the output of attention and MLP. */
#define GEMMA_LIKE                                                                                 \
    {                                                                                              \
        ATTENTION, GATE_UP, OUTPUTS,                                                               \
            INPUT_NORMS, [SHOAL_ROLE_AFTER_ATTENTION_NORM] = LAYER "post_attention_layernorm",     \
                         [SHOAL_ROLE_MLP_NORM] = LAYER "pre_feedforward_layernorm",                \
                         [SHOAL_ROLE_AFTER_MLP_NORM] = LAYER "post_feedforward_layernorm", OUTSIDE \
    }

/* Phi-3 stacks q, k, v and gate, up. */
#define PHI3                                                                                       \
    {                                                                                              \
        [SHOAL_ROLE_Q] = LAYER "self_attn.qkv_proj", [SHOAL_ROLE_K] = LAYER "self_attn.qkv_proj",  \
        [SHOAL_ROLE_V] = LAYER "self_attn.qkv_proj", [SHOAL_ROLE_GATE] = LAYER "mlp.gate_up_proj", \
        [SHOAL_ROLE_UP] = LAYER "mlp.gate_up_proj", OUTPUTS, INPUT_NORMS, MLP_NORM, OUTSIDE        \
    }

/* Baichuan stacks q, k and v only. */
#define BAICHUAN                                                                                   \
    {                                                                                              \
        [SHOAL_ROLE_Q] = LAYER "self_attn.W_pack", [SHOAL_ROLE_K] = LAYER "self_attn.W_pack",      \
        [SHOAL_ROLE_V] = LAYER "self_attn.W_pack", GATE_UP, OUTPUTS, INPUT_NORMS, MLP_NORM,        \
        OUTSIDE                                                                                    \
    }

/* InternLM2 has names of its own. */
#define INTERNLM2                                                                                  \
    {                                                                                              \
        [SHOAL_ROLE_Q] = LAYER "attention.wqkv", [SHOAL_ROLE_K] = LAYER "attention.wqkv",          \
        [SHOAL_ROLE_V] = LAYER "attention.wqkv", [SHOAL_ROLE_O] = LAYER "attention.wo",            \
        [SHOAL_ROLE_GATE] = LAYER "feed_forward.w1", [SHOAL_ROLE_UP] = LAYER "feed_forward.w3",    \
        [SHOAL_ROLE_DOWN] = LAYER "feed_forward.w2",                                               \
        [SHOAL_ROLE_INPUT_NORM] = LAYER "attention_norm",                                          \
        [SHOAL_ROLE_MLP_NORM] = LAYER "ffn_norm", [SHOAL_ROLE_EMBEDDING] = "model.tok_embeddings", \
        [SHOAL_ROLE_FINAL_NORM] = "model.norm", [SHOAL_ROLE_LM_HEAD] = "output"                    \
    }

/* Layers of experts; those that stay dense have a plain MLP. */
#define AROUND_EXPERTS ATTENTION, GATE_UP, OUTPUTS, INPUT_NORMS, MLP_NORM, OUTSIDE

#define MIXTRAL                                                                                    \
    {                                                                                              \
        AROUND_EXPERTS, [SHOAL_ROLE_ROUTER] = LAYER "block_sparse_moe.gate"                        \
    }
#define MIXTRAL_EXPERT LAYER "block_sparse_moe.experts.%d."
#define MIXTRAL_EXPERTS                                                                            \
    {                                                                                              \
        MIXTRAL_EXPERT "w1", MIXTRAL_EXPERT "w3", MIXTRAL_EXPERT "w2"                              \
    }

#define QWEN_MOE                                                                                   \
    {                                                                                              \
        AROUND_EXPERTS, [SHOAL_ROLE_ROUTER] = LAYER "mlp.gate",                                    \
                        [SHOAL_ROLE_SHARED_ROUTER] = LAYER "mlp.shared_expert_gate"                \
    }
#define QWEN_MLP(prefix)                                                                           \
    {                                                                                              \
        prefix "gate_proj", prefix "up_proj", prefix "down_proj"                                   \
    }
#define QWEN_EXPERTS QWEN_MLP(LAYER "mlp.experts.%d.")
#define QWEN_SHARED  QWEN_MLP(LAYER "mlp.shared_expert.")

static const shoal_family_roles families[] = {
    {.family = "llama", .module = LLAMA_LIKE},
    {.family = "mistral", .module = LLAMA_LIKE},
    {.family = "qwen2", .module = LLAMA_LIKE},
    {.family = "qwen3", .module = LLAMA_LIKE},
    {.family = "gemma", .module = LLAMA_LIKE},
    {.family = "gemma2", .module = GEMMA_LIKE},
    {.family = "gemma3_text", .module = GEMMA_LIKE},
    {.family = "phi3", .module = PHI3},
    {.family = "baichuan", .module = BAICHUAN},
    {.family = "internlm2", .module = INTERNLM2, .by_kv_head = true},
    {.family = "mixtral", .module = MIXTRAL, .expert = MIXTRAL_EXPERTS},
    {.family = "qwen2_moe", .module = QWEN_MOE, .expert = QWEN_EXPERTS, .shared = QWEN_SHARED},
    {.family = "qwen3_moe", .module = QWEN_MOE, .expert = QWEN_EXPERTS, .shared = QWEN_SHARED},
};

#define BLOCK "blk.%d."

#define GGUF_LINEARS                                                                               \
    [SHOAL_ROLE_O] = BLOCK "attn_output", [SHOAL_ROLE_DOWN] = BLOCK "ffn_down",                    \
    [SHOAL_ROLE_EMBEDDING] = "token_embd", [SHOAL_ROLE_LM_HEAD] = "output"
#define GGUF_NORMS                                                                                 \
    [SHOAL_ROLE_INPUT_NORM] = BLOCK "attn_norm", [SHOAL_ROLE_MLP_NORM] = BLOCK "ffn_norm",         \
    [SHOAL_ROLE_Q_NORM] = BLOCK "attn_q_norm", [SHOAL_ROLE_K_NORM] = BLOCK "attn_k_norm",          \
    [SHOAL_ROLE_AFTER_ATTENTION_NORM] = BLOCK "post_attention_norm",                               \
    [SHOAL_ROLE_AFTER_MLP_NORM] = BLOCK "post_ffw_norm", [SHOAL_ROLE_FINAL_NORM] = "output_norm"

/* Experts as shard/gguf_experts.h lists them. */
static const shoal_family_roles gguf = {
    .family = "gguf",
    .module = {[SHOAL_ROLE_Q] = BLOCK "attn_q",
               [SHOAL_ROLE_K] = BLOCK "attn_k",
               [SHOAL_ROLE_V] = BLOCK "attn_v",
               [SHOAL_ROLE_GATE] = BLOCK "ffn_gate",
               [SHOAL_ROLE_UP] = BLOCK "ffn_up",
               [SHOAL_ROLE_ROUTER] = BLOCK "ffn_gate_inp",
               [SHOAL_ROLE_SHARED_ROUTER] = BLOCK "ffn_gate_inp_shexp",
               GGUF_LINEARS,
               GGUF_NORMS},
    .expert = {BLOCK "ffn_gate.%d", BLOCK "ffn_up.%d", BLOCK "ffn_down.%d"},
    .shared = {BLOCK "ffn_gate_shexp", BLOCK "ffn_up_shexp", BLOCK "ffn_down_shexp"},
};

/* ffn_up holds gate and up. */
static const shoal_family_roles gguf_stacked = {.family = "gguf",
                                                .module = {[SHOAL_ROLE_Q] = BLOCK "attn_qkv",
                                                           [SHOAL_ROLE_K] = BLOCK "attn_qkv",
                                                           [SHOAL_ROLE_V] = BLOCK "attn_qkv",
                                                           [SHOAL_ROLE_GATE] = BLOCK "ffn_up",
                                                           [SHOAL_ROLE_UP] = BLOCK "ffn_up",
                                                           GGUF_LINEARS,
                                                           GGUF_NORMS}};

const shoal_family_roles *shoal_roles_gguf(void)
{
    return &gguf;
}

const shoal_family_roles *shoal_roles_gguf_of(const char *family)
{
    return strcmp(family, "phi3") == 0 ? &gguf_stacked : &gguf;
}

const shoal_family_roles *shoal_roles_find(const char *family)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].family, family) == 0)
            return &families[i];
    return NULL;
}

const shoal_roles_part shoal_roles_parts[] = {
    {"model.", ""},
    {"language_model.model.", "language_model."},
    {"model.language_model.", ""},
};
const int shoal_roles_part_count = sizeof shoal_roles_parts / sizeof shoal_roles_parts[0];

static bool begins_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

bool shoal_roles_beside_text(const char *tensor)
{
    return begins_with(tensor, "vision_tower.") || begins_with(tensor, "multi_modal_projector.") ||
           begins_with(tensor, "model.vision_tower.") ||
           begins_with(tensor, "model.multi_modal_projector.");
}

const char *shoal_roles_pattern(const shoal_family_roles *roles, const shoal_weight *weight)
{
    if (weight->expert == 0)
        return roles->module[weight->role];
    const int part = (int)(weight->role - SHOAL_ROLE_GATE);
    return weight->expert == SHOAL_EXPERT_SHARED ? roles->shared[part] : roles->expert[part];
}

bool shoal_roles_module(const shoal_family_roles *roles, const shoal_roles_part *part,
                        const shoal_weight *weight, char *out, size_t room)
{
    static const char model[] = "model.";
    const int numbers[] = {weight->layer, weight->expert - 1};
    const char *from = shoal_roles_pattern(roles, weight);
    if (!from)
        return false;
    const bool inside = begins_with(from, model);
    const char *head = inside ? part->inside : part->outside;
    size_t at = strlen(head);
    if (at >= room)
        return false;
    memcpy(out, head, at);
    from += inside ? strlen(model) : 0;
    for (int i = 0;; i++) {
        const char *mark = i < 2 ? strstr(from, "%d") : NULL;
        const int length =
            mark ? snprintf(out + at, room - at, "%.*s%d", (int)(mark - from), from, numbers[i])
                 : snprintf(out + at, room - at, "%s", from);
        if (length < 0 || (size_t)length >= room - at)
            return false;
        if (!mark)
            return true;
        at += (size_t)length;
        from = mark + strlen("%d");
    }
}

bool shoal_roles_stacked(const shoal_family_roles *roles, shoal_role role, shoal_role other)
{
    const char *a = roles->module[role], *b = roles->module[other];
    return a && b && strcmp(a, b) == 0;
}

/* Does `name` end in whole path components equal to `tail`? */
static bool ends_in(const char *name, const char *tail)
{
    const size_t length = strlen(name), tail_length = strlen(tail);
    if (length < tail_length || strcmp(name + length - tail_length, tail) != 0)
        return false;
    return length == tail_length || name[length - tail_length - 1] == '.';
}

bool shoal_roles_ignorable(const char *tensor)
{
    static const char *const tails[] = {
        "rotary_emb.inv_freq",
        "rotary_emb.original_inv_freq",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
        "position_ids",
        "rope_freqs.weight", /* of GGUF files: read with the model's description */
    };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
        if (ends_in(tensor, tails[i]))
            return true;
    return false;
}

const char *shoal_role_name(shoal_role role)
{
    static const char *const names[SHOAL_ROLE_NAMES] = {
        [SHOAL_ROLE_Q] = "q_proj",
        [SHOAL_ROLE_K] = "k_proj",
        [SHOAL_ROLE_V] = "v_proj",
        [SHOAL_ROLE_O] = "o_proj",
        [SHOAL_ROLE_GATE] = "gate_proj",
        [SHOAL_ROLE_UP] = "up_proj",
        [SHOAL_ROLE_DOWN] = "down_proj",
        [SHOAL_ROLE_INPUT_NORM] = "input_norm",
        [SHOAL_ROLE_MLP_NORM] = "mlp_norm",
        [SHOAL_ROLE_Q_NORM] = "q_norm",
        [SHOAL_ROLE_K_NORM] = "k_norm",
        [SHOAL_ROLE_AFTER_ATTENTION_NORM] = "after_attention_norm",
        [SHOAL_ROLE_AFTER_MLP_NORM] = "after_mlp_norm",
        [SHOAL_ROLE_EMBEDDING] = "embed_tokens",
        [SHOAL_ROLE_FINAL_NORM] = "norm",
        [SHOAL_ROLE_LM_HEAD] = "lm_head",
        [SHOAL_ROLE_ROUTER] = "router",
        [SHOAL_ROLE_SHARED_ROUTER] = "shared_router",
    };
    return names[role];
}

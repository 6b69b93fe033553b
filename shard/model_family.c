#include "shard/model_family.h"

#include <stddef.h>
#include <string.h>

static const shoal_family families[] = {
    {
        .model_type = "llama",
        .roles = "llama",
        .context = 2048,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .bias = SHOAL_BIAS_CONFIG,
        .mlp_bias = true,
    },
    {
        .model_type = "mistral",
        .roles = "mistral",
        .kv_heads = 8,
        .context = 131072,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .windows = SHOAL_WINDOWS_ALL,
    },
    {
        .model_type = "qwen2",
        .roles = "qwen2",
        .kv_heads = 32,
        .context = 32768,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .windows = SHOAL_WINDOWS_UPPER,
        .layer_types_decide = true,
        .bias = SHOAL_BIAS_QKV,
    },
    {
        .model_type = "qwen3",
        .roles = "qwen3",
        .kv_heads = 32,
        .head_dim = 128,
        .context = 32768,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .windows = SHOAL_WINDOWS_UPPER,
        .layer_types_decide = true,
        .bias = SHOAL_BIAS_CONFIG,
        .qk_norm = true,
    },
    {
        .model_type = "gemma2",
        .roles = "gemma2",
        .kv_heads = 4,
        .head_dim = 256,
        .context = 8192,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .attention_cap = 50,
        .logits_cap = 30,
        .tied = true,
        .windows = SHOAL_WINDOWS_ALTERNATE,
        .layer_types_decide = true,
        .bias = SHOAL_BIAS_CONFIG,
        .gemma = true,
    },
    {
        .model_type = "gemma3_text",
        .roles = "gemma3_text",
        .kv_heads = 4,
        .head_dim = 256,
        .context = 131072,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e6,
        .tied = true,
        .windows = SHOAL_WINDOWS_PATTERN,
        .layer_types_decide = true,
        .bias = SHOAL_BIAS_CONFIG,
        .qk_norm = true,
        .gemma = true,
    },
    {
        .model_type = "phi3",
        .roles = "phi3",
        .context = 4096,
        .norm_eps = 1e-5,
        .theta = 1e4,
        .windows = SHOAL_WINDOWS_ALL,
        .fused = true,
    },
    {
        .model_type = "mixtral",
        .roles = "mixtral",
        .kv_heads = 8,
        .context = 131072,
        .norm_eps = 1e-5,
        .theta = 1e6,
        .windows = SHOAL_WINDOWS_ALL,
        .experts = true,
    },
    {
        .model_type = "qwen3_moe",
        .roles = "qwen3_moe",
        .kv_heads = 4,
        .context = 32768,
        .window = 4096,
        .norm_eps = 1e-6,
        .theta = 1e4,
        .windows = SHOAL_WINDOWS_ALL_USED,
        .bias = SHOAL_BIAS_CONFIG,
        .qk_norm = true,
        .experts = true,
    },
};

const shoal_family *shoal_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

const char *shoal_family_list(void)
{
    return "llama, mistral, qwen2, qwen3, gemma2, gemma3, gemma3_text, phi3, mixtral, qwen3_moe";
}

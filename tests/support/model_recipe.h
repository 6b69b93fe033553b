/* tests/support/model_recipe.h - whole models from a few numbers: the shape of a known model with
 * nothing in it, or a small one with random weights.
 *
 * Families are those of the Hugging Face configs: llama, mistral, qwen2, qwen3, phi3, internlm2,
 * gemma2, gemma3_text, mixtral, qwen2_moe, qwen3_moe. Linears are bf16, or GPTQ v1 (symmetric) with
 * 4 or 8 bits; embedding, lm_head, routers and norms are always bf16. The same recipe gives the
 * same bytes everywhere. */
#ifndef SHOAL_TESTS_SUPPORT_MODEL_RECIPE_H
#define SHOAL_TESTS_SUPPORT_MODEL_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/model_maker.h"

typedef struct {
    const char *family;
    int64_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, context;
    int64_t window; /* sliding window; 0: none       */
    bool qkv_bias;  /* where the family has it       */
    bool qk_norm;   /* qwen3                         */
    bool tied;      /* no lm_head.weight             */
    int bits;       /* 0: bf16; 4 or 8: GPTQ         */
    int64_t group;  /* of GPTQ; -1: per channel      */
    bool act_order; /* g_idx is shuffled             */
    /* mixtures of experts: in every layer but the first `dense` ones */
    int64_t experts, chosen, expert_intermediate, shared_intermediate, dense;
    bool renormalize, expert_bias; /* bias: on gate, up and down of experts */
    uint64_t seed;                 /* 0: sparse, nothing is written */
    uint64_t shard_bytes;
} shoal_recipe;

/* Published shapes: dense, sparse, in shards of about 5 GB. */
extern const shoal_recipe shoal_recipe_llama31_70b;
extern const shoal_recipe shoal_recipe_qwen25_72b;
extern const shoal_recipe shoal_recipe_llama31_405b;

/* Write the model; its folder lives until shoal_maker_end. */
shoal_maker *shoal_recipe_make(const shoal_recipe *recipe);

#endif

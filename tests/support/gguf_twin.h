/* tests/support/gguf_twin.h - the GGUF file of a made-up mixture of experts, as llama.cpp's own
 * converter would write it: names, rows of q and k in pairs, experts merged, vectors and routers in
 * F32. */
#ifndef SHOAL_TESTS_SUPPORT_GGUF_TWIN_H
#define SHOAL_TESTS_SUPPORT_GGUF_TWIN_H

#include "shard/checkpoint.h"
#include "tests/support/gguf_maker.h"
#include "tests/support/model_recipe.h"

/* What stands behind "model.layers.N." and "blk.N.". */
static inline const char *gguf_twin_module(const char *module)
{
    static const char *const names[][2] = {
        {"self_attn.q_proj", "attn_q"},
        {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},
        {"self_attn.o_proj", "attn_output"},
        {"self_attn.q_norm", "attn_q_norm"},
        {"self_attn.k_norm", "attn_k_norm"},
        {"input_layernorm", "attn_norm"},
        {"post_attention_layernorm", "ffn_norm"},
        {"block_sparse_moe.gate", "ffn_gate_inp"},
        {"mlp.gate", "ffn_gate_inp"},
        {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
        {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
        {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
        {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
        {"w1", "ffn_gate_exps"},
        {"gate_proj", "ffn_gate_exps"},
        {"w3", "ffn_up_exps"},
        {"up_proj", "ffn_up_exps"},
        {"w2", "ffn_down_exps"},
        {"down_proj", "ffn_down_exps"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(module, names[i][0]) == 0)
            return names[i][1];
    abort();
}

/* The name in GGUF of a tensor, and its expert, or -1. */
static inline int gguf_twin_name(const char *name, char *out, size_t room)
{
    static const char *const outside[][2] = {{"model.embed_tokens.weight", "token_embd.weight"},
                                             {"model.norm.weight", "output_norm.weight"},
                                             {"lm_head.weight", "output.weight"}};
    char module[96];
    int layer, expert = -1, end = 0;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, outside[i][0]) == 0) {
            snprintf(out, room, "%s", outside[i][1]);
            return -1;
        }
    if (sscanf(name, "model.layers.%d.%n", &layer, &end) != 1)
        abort();
    const char *tail = strrchr(name, '.'), *experts = strstr(name, ".experts.");
    if (experts) {
        int digits = 0;
        if (sscanf(experts, ".experts.%d.%n", &expert, &digits) != 1)
            abort();
        end = (int)(experts - name) + digits;
    }
    snprintf(module, sizeof module, "%.*s", (int)(tail - name) - end, name + end);
    snprintf(out, room, "blk.%d.%s%s", layer, gguf_twin_module(module), tail);
    return expert;
}

/* Row `row` of a matrix whose heads have their halves interleaved. */
static inline int64_t gguf_twin_row(int64_t row, int64_t head_dim)
{
    const int64_t in = row % head_dim, half = head_dim / 2;
    return row - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

/* Put rows of BF16 into a tensor of BF16 or F32, from row `first` on. */
static inline void gguf_twin_rows(gguf_maker_tensor *t, const uint8_t *from, int64_t first,
                                  int64_t rows, int64_t head_dim)
{
    const int64_t inner = (int64_t)t->dims[0];
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *to =
            t->data + (size_t)(first + (head_dim ? gguf_twin_row(r, head_dim) : r)) * t->row_bytes;
        const uint8_t *row = from + r * inner * 2;
        if (t->type == 30)
            memcpy(to, row, (size_t)inner * 2);
        for (int64_t i = 0; t->type == 0 && i < inner; i++)
            shoal_store_le32(to + 4 * i, (uint32_t)(row[2 * i] | row[2 * i + 1] << 8) << 16);
    }
}

static inline void gguf_twin_tensor(gguf_maker *m, const shoal_recipe *r,
                                    const shoal_checkpoint *checkpoint, const shoal_tensor *from)
{
    char name[96];
    const int expert = gguf_twin_name(from->name, name, sizeof name);
    const bool matrix = from->rank == 2 && !strstr(name, "_inp");
    const bool one_row = strstr(name, "ffn_gate_inp_shexp") != NULL;
    const bool pairs =
        strcmp(r->family, "mixtral") == 0 && (strstr(name, "attn_q.") || strstr(name, "attn_k."));
    const int64_t rows = from->rank == 2 ? from->shape[0] : 1, inner = from->shape[from->rank - 1];
    gguf_maker_tensor *t = expert > 0 ? gguf_find(m, name) : NULL;
    uint8_t *bytes = malloc(from->bytes);
    if (!bytes || shoal_checkpoint_read(checkpoint, from, 0, from->bytes, bytes) != SHOAL_OK)
        abort();
    if (!t && expert == 0)
        t = gguf_planes(m, name, 30, (uint64_t)r->experts, (uint64_t)rows, (uint64_t)inner);
    else if (!t)
        t = gguf_tensor(m, name, matrix ? 30 : 0, from->rank == 2 && !one_row ? (uint64_t)rows : 0,
                        (uint64_t)inner);
    gguf_twin_rows(t, bytes, expert > 0 ? expert * rows : 0, rows, pairs ? r->head_dim : 0);
    free(bytes);
}

static inline void gguf_twin_entries(gguf_maker *m, const shoal_recipe *r, const char *architecture)
{
    const bool llama = strcmp(architecture, "llama") == 0;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"block_count", r->layers},
        {"context_length", r->context},
        {"embedding_length", r->hidden},
        {"feed_forward_length", llama ? r->expert_intermediate : r->intermediate},
        {"attention.head_count", r->heads},
        {"attention.head_count_kv", r->kv_heads},
        {"attention.key_length", r->head_dim},
        {"attention.value_length", r->head_dim},
        {"expert_count", r->experts},
        {"expert_used_count", r->chosen},
        {"expert_feed_forward_length", llama ? 0 : r->expert_intermediate},
        {"expert_shared_feed_forward_length", r->shared_intermediate},
    };
    char key[128];
    gguf_text(m, "general.architecture", architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(key, sizeof key, "%s.%s", architecture, numbers[i].name);
        if (numbers[i].value)
            gguf_u32(m, key, (uint32_t)numbers[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    gguf_f32(m, key, 1e-5f);
    snprintf(key, sizeof key, "%s.rope.freq_base", architecture);
    gguf_f32(m, key, 5e5f);
}

/* The twin of the folder that a recipe of mixtral, qwen2_moe or qwen3_moe in bf16 made. */
static inline void gguf_twin(gguf_maker *m, const shoal_recipe *recipe, const char *folder)
{
    static const char *const architectures[][2] = {
        {"mixtral", "llama"}, {"qwen2_moe", "qwen2moe"}, {"qwen3_moe", "qwen3moe"}};
    shoal_checkpoint *checkpoint;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(recipe->family, architectures[i][0]) == 0)
            gguf_twin_entries(m, recipe, architectures[i][1]);
    if (shoal_checkpoint_open(folder, &checkpoint) != SHOAL_OK)
        abort();
    for (size_t i = 0; i < shoal_checkpoint_count(checkpoint); i++)
        gguf_twin_tensor(m, recipe, checkpoint, shoal_checkpoint_at(checkpoint, i));
    shoal_checkpoint_close(checkpoint);
}

#endif

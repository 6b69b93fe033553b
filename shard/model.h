/* shard/model.h - one validated description of a model, whatever file said it.
 *
 * Families differ in data here, not in code elsewhere: everything forward.c needs to know about a
 * layer stands in its struct. Every number has been checked against a cap and against its
 * neighbours (docs: config.json of transformers 4 and 5). */
#ifndef SHOAL_SHARD_MODEL_H
#define SHOAL_SHARD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h" /* SHOAL_HEAD_DIM_MAX */
#include "proto/arena.h"
#include "proto/dtype.h"
#include "proto/status.h"

#define SHOAL_LAYERS_MAX       1024
#define SHOAL_HIDDEN_MAX       131072
#define SHOAL_HEADS_MAX        4096
#define SHOAL_INTERMEDIATE_MAX 1048576
#define SHOAL_VOCAB_MAX        4194304
#define SHOAL_CONTEXT_MAX      16777216
#define SHOAL_EXPERTS_MAX      65536
#define SHOAL_EOS_MAX          16
#define SHOAL_ROPES_MAX        2

typedef enum {
    SHOAL_ROPE_DEFAULT,
    SHOAL_ROPE_LINEAR,
    SHOAL_ROPE_LLAMA3,
    SHOAL_ROPE_YARN,
    SHOAL_ROPE_DYNAMIC, /* theta grows with the longest sequence, beyond original_context */
    SHOAL_ROPE_LONGROPE /* a factor per frequency: short ones up to original_context, else long */
} shoal_rope_kind;

typedef struct {
    shoal_rope_kind kind;
    int64_t dim; /* rotary dimensions, even, <= head_dim; pairs are (i, i + dim/2) */
    double theta;
    double factor;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn */
    double attention_factor; /* yarn, longrope: cos and sin are multiplied; else 1 */
    bool truncate;           /* yarn: round the correction range (default) */
    const float *short_factors, *long_factors; /* longrope: [dim / 2], of the model's arena */
    int64_t original_context;
    const float *factors; /* [dim / 2]: frequencies are divided by these at last; NULL: none */
} shoal_rope;

typedef enum {
    SHOAL_ACTIVATION_SILU,
    SHOAL_ACTIVATION_GELU_TANH,
    SHOAL_ACTIVATION_GELU
} shoal_activation;

typedef enum { SHOAL_MLP_DENSE, SHOAL_MLP_EXPERTS } shoal_mlp_kind;

typedef struct {
    /* attention */
    int64_t window;           /* a row sees its last `window` positions; 0: all before it   */
    int rope;                 /* index into ropes; -1: none                                 */
    bool qkv_bias, o_bias;    /* what the family says; the checkpoint may say more (ledger) */
    bool qk_norm;             /* rmsnorm over head_dim of q and k, before rope              */
    float attention_scale;    /* score multiplier: 1/sqrt(head_dim) unless the family differs */
    float attention_soft_cap; /* 0: none                                                    */
    /* norms: input and before the MLP always; these only from Gemma 2 on */
    bool norm_after_attention, norm_after_mlp;
    /* MLP */
    shoal_mlp_kind mlp;
    shoal_activation activation;
    bool mlp_bias;
    int64_t intermediate; /* of the MLP, or of one expert                               */
    int64_t experts, experts_per_token;
    int64_t shared_intermediate; /* of the expert that every row goes through; 0: none      */
    bool renormalize_experts;    /* the weights of the chosen ones sum to 1                 */
} shoal_layer;

typedef struct {
    char family[32]; /* "llama", "mistral", "qwen2", … : the row of the role table            */
    int64_t hidden, vocab;
    int64_t context; /* longest sequence that it was made for                               */
    int64_t reach;   /* longest that it takes at all: more where a rope is dynamic          */
    int64_t heads, kv_heads, head_dim;
    int64_t layer_count;
    shoal_layer *layers;
    shoal_rope ropes[SHOAL_ROPES_MAX];
    int rope_count;
    float norm_eps;
    float norm_weight_offset; /* 1 where the family stores w - 1 (Gemma), else 0           */
    float embedding_scale;    /* 1 unless the family multiplies (Gemma)                    */
    float logits_soft_cap;    /* 0: none                                                   */
    bool tied;                /* lm_head is the embedding                                  */
    bool text_part;           /* of a model of text and images: the rest is left unread     */
    shoal_dtype dtype;        /* the checkpoint's own float type                           */
    int32_t bos, eos[SHOAL_EOS_MAX];
    int eos_count;           /* bos is -1 when there is none */
    char *quantization_json; /* text of quantization_config or quantize_config.json; or NULL */
    shoal_arena *arena;      /* owns layers and strings                                     */
} shoal_model;

/* Read and validate `config.json` (and generation_config.json, quantize_config.json,
 * quant_config.json where present) of a model folder, or the metadata of a GGUF file (see
 * shoal_folder_gguf). */
SHOAL_MUST_USE shoal_status shoal_model_open(const char *path, shoal_model **out);
void shoal_model_close(shoal_model *model);

/* The same from the text of a config.json, for tests and fuzzing; `name` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_model_parse(const char *text, size_t bytes, const char *name,
                                              shoal_model **out);

/* Does a rope of this model depend on how long sequences may become? */
bool shoal_model_minds_length(const shoal_model *model);

/* inv_freq[rope.dim / 2] in fp32, as transformers computes it (fp32 arithmetic where it does) for
 * sequences of up to `longest` tokens. That is a promise made before the first token: a sequence
 * that is still short has the frequencies that it will need. */
void shoal_rope_frequencies(const shoal_rope *rope, int64_t longest, float *inv_freq);

/* What a GGUF file divides frequency i by for llama3 scaling: the number that gives the frequency
 * of transformers to the bit, or, where no fp32 number does, the one that llama.cpp's converter
 * writes. */
float shoal_rope_llama3_factor(const shoal_rope *rope, int64_t i);

/* The llama3 scaling (low and high factor 1 and 4, as all published ones; a context of a power of
 * two) that the factors of `rope` were made of, by either of these rules; false where they are no
 * such. */
bool shoal_rope_find_llama3(const shoal_rope *rope, shoal_rope *out);

#endif

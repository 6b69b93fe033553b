#include "tests/support/model_recipe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/status.h"

#define GB5 5000000000u

const shoal_recipe shoal_recipe_llama31_70b = {
    .family = "llama",
    .layers = 80,
    .hidden = 8192,
    .intermediate = 28672,
    .heads = 64,
    .kv_heads = 8,
    .head_dim = 128,
    .vocab = 128256,
    .context = 131072,
    .group = 128,
    .shard_bytes = GB5,
};

const shoal_recipe shoal_recipe_qwen25_72b = {
    .family = "qwen2",
    .layers = 80,
    .hidden = 8192,
    .intermediate = 29568,
    .heads = 64,
    .kv_heads = 8,
    .head_dim = 128,
    .vocab = 152064,
    .context = 32768,
    .qkv_bias = true,
    .group = 128,
    .shard_bytes = GB5,
};

const shoal_recipe shoal_recipe_llama31_405b = {
    .family = "llama",
    .layers = 126,
    .hidden = 16384,
    .intermediate = 53248,
    .heads = 128,
    .kv_heads = 8,
    .head_dim = 128,
    .vocab = 128256,
    .context = 131072,
    .group = 128,
    .shard_bytes = GB5,
};

typedef enum { FILL_WEIGHT, FILL_NORM, FILL_BIAS, FILL_CODES, FILL_SCALES, FILL_ZEROS } fill_kind;

/* What one tensor's fill needs; lives until the model is written. */
typedef struct {
    fill_kind kind;
    uint64_t seed;
    double size; /* of a weight, bias or scale */
    int bits;
} filling;

typedef struct {
    int64_t k, group;
    uint64_t seed; /* 0: groups in order */
    int32_t *g_idx;
} order;

typedef struct {
    const shoal_recipe *recipe;
    shoal_maker *maker;
    void **owned; /* fillings and orders */
    size_t owned_count, owned_room;
    uint64_t tensors;
} kitchen;

static void *own(kitchen *k, size_t bytes)
{
    void *block = calloc(1, bytes);

    if (k->owned_count == k->owned_room) {
        k->owned_room = k->owned_room ? 2 * k->owned_room : 64;
        k->owned = realloc(k->owned, k->owned_room * sizeof *k->owned);
    }
    if (!block || !k->owned) {
        fprintf(stderr, "model recipe: no memory\n");
        exit(1);
    }
    return k->owned[k->owned_count++] = block;
}

/* A well mixed 64-bit number for (seed, index): splitmix64's output function. */
static uint64_t mix(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Roughly normal, unit variance: four uniform numbers. */
static double bell(uint64_t seed, uint64_t index)
{
    const uint64_t z = mix(seed, index);
    double sum = 0;

    for (int i = 0; i < 4; i++)
        sum += (double)((z >> (16 * i)) & 0xffff) / 65535.0 - 0.5;
    return sum * 1.7320508;
}

static uint16_t half_word(const filling *f, uint64_t index)
{
    switch (f->kind) {
    case FILL_NORM: return shoal_bf16_from_f32((float)(1 + 0.1 * bell(f->seed, index)));
    case FILL_SCALES:
        return shoal_f16_from_f32((float)(f->size * (0.75 + 0.1 * bell(f->seed, index))));
    default: return shoal_bf16_from_f32((float)(f->size * bell(f->seed, index)));
    }
}

static void fill(void *context, uint64_t offset, size_t bytes, uint8_t *out)
{
    const filling *f = context;

    if (f->kind == FILL_CODES || f->kind == FILL_ZEROS) {
        /* v1 stores the zero less one: 8 - 1 in every nibble, 128 - 1 in every byte. */
        const uint32_t zeros = f->bits == 4 ? 0x77777777u : 0x7f7f7f7fu;
        for (size_t i = 0; i < bytes; i += 4)
            shoal_store_le32(
                out + i, f->kind == FILL_ZEROS ? zeros : (uint32_t)mix(f->seed, (offset + i) / 4));
        return;
    }
    for (size_t i = 0; i < bytes; i += 2) {
        const uint16_t word = half_word(f, (offset + i) / 2);
        out[i] = (uint8_t)word;
        out[i + 1] = (uint8_t)(word >> 8);
    }
}

/* Groups of equal size, members shuffled (Fisher and Yates) where act-order. */
static void fill_order(void *context, uint64_t offset, size_t bytes, uint8_t *out)
{
    const order *o = context;

    for (size_t i = 0; i < bytes; i += 4)
        shoal_store_le32(out + i, (uint32_t)o->g_idx[(offset + i) / 4]);
}

static order *make_order(kitchen *in, int64_t k, int64_t group, uint64_t seed)
{
    order *o = own(in, sizeof *o);

    *o = (order){k, group, seed, own(in, (size_t)k * sizeof(int32_t))};
    for (int64_t i = 0; i < k; i++)
        o->g_idx[i] = (int32_t)(i / group);
    for (int64_t i = k - 1; seed && i > 0; i--) {
        const int64_t j = (int64_t)(mix(seed, (uint64_t)i) % (uint64_t)(i + 1));
        const int32_t swap = o->g_idx[i];
        o->g_idx[i] = o->g_idx[j];
        o->g_idx[j] = swap;
    }
    return o;
}

static void add(kitchen *k, fill_kind kind, double size, shoal_dtype dtype, int64_t rows,
                int64_t columns, const char *format, ...) SHOAL_PRINTF(7, 8);

/* List one tensor, [rows][columns] or, with columns 0, [rows]. */
static void add(kitchen *k, fill_kind kind, double size, shoal_dtype dtype, int64_t rows,
                int64_t columns, const char *format, ...)
{
    const int64_t shape[2] = {rows, columns};
    filling *f = NULL;
    char name[256];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    k->tensors++;
    if (k->recipe->seed) {
        f = own(k, sizeof *f);
        *f = (filling){kind, mix(k->recipe->seed, k->tensors), size, k->recipe->bits};
    }
    shoal_maker_tensor(k->maker, name, dtype, columns ? 2 : 1, shape, f ? fill : NULL, f);
}

static void add_gptq(kitchen *in, const char *module, int64_t n, int64_t k, double size)
{
    const shoal_recipe *r = in->recipe;
    const int64_t group = r->group > 0 ? r->group : k;
    const int64_t groups = shoal_ceil_div(k, group);
    /* Uniform codes have this deviation; the scale makes it `size`. */
    const double spread = r->bits == 4 ? 4.6 : 73.9;
    char name[256];

    add(in, FILL_CODES, 0, SHOAL_I32, shoal_ceil_div(k * r->bits, 32), n, "%s.qweight", module);
    add(in, FILL_ZEROS, 0, SHOAL_I32, groups, shoal_ceil_div(n * r->bits, 32), "%s.qzeros", module);
    add(in, FILL_SCALES, size / spread / 0.75, SHOAL_F16, groups, n, "%s.scales", module);
    order *o = NULL;
    if (r->seed)
        o = make_order(in, k, group, r->act_order ? mix(r->seed, 1000000 + in->tensors) : 0);
    snprintf(name, sizeof name, "%s.g_idx", module);
    shoal_maker_tensor(in->maker, name, SHOAL_I32, 1, &k, o ? fill_order : NULL, o);
}

static void add_linear(kitchen *k, int64_t layer, const char *part, int64_t n, int64_t inputs,
                       bool bias)
{
    /* Outputs about as large as inputs, so that nothing grows from layer to layer. */
    double size = 1;
    char module[128];

    for (int64_t i = 4; i <= inputs; i *= 4)
        size /= 2;
    snprintf(module, sizeof module, "model.layers.%lld.%s", (long long)layer, part);
    if (k->recipe->bits)
        add_gptq(k, module, n, inputs, size);
    else
        add(k, FILL_WEIGHT, size, SHOAL_BF16, n, inputs, "%s.weight", module);
    if (bias)
        add(k, FILL_BIAS, 0.1, SHOAL_BF16, n, 0, "%s.bias", module);
}

static const char *const plain_names[] = {"gate_proj", "up_proj", "down_proj"};

/* Gate, up and down under `prefix`. */
static void add_mlp(kitchen *k, int64_t layer, const char *prefix, const char *const *names,
                    int64_t intermediate)
{
    const bool bias = k->recipe->expert_bias && strstr(prefix, "expert");
    const int64_t hidden = k->recipe->hidden;
    char part[128];

    for (int i = 0; i < 3; i++) {
        snprintf(part, sizeof part, "%s%s", prefix, names[i]);
        add_linear(k, layer, part, i < 2 ? intermediate : hidden, i < 2 ? hidden : intermediate,
                   bias);
    }
}

/* Scores far enough apart that the experts of a row get unlike weights. */
static void add_experts(kitchen *k, int64_t layer)
{
    static const char *const mixtral_names[] = {"w1", "w3", "w2"};
    const shoal_recipe *r = k->recipe;
    const bool mixtral = strcmp(r->family, "mixtral") == 0;
    const char *block = mixtral ? "block_sparse_moe" : "mlp";
    const long long at = (long long)layer;
    char prefix[64];

    add(k, FILL_WEIGHT, 0.2, SHOAL_BF16, r->experts, r->hidden, "model.layers.%lld.%s.gate.weight",
        at, block);
    for (int64_t e = 0; e < r->experts; e++) {
        snprintf(prefix, sizeof prefix, "%s.experts.%lld.", block, (long long)e);
        add_mlp(k, layer, prefix, mixtral ? mixtral_names : plain_names, r->expert_intermediate);
    }
    if (!r->shared_intermediate)
        return;
    add(k, FILL_WEIGHT, 0.1, SHOAL_BF16, 1, r->hidden,
        "model.layers.%lld.mlp.shared_expert_gate.weight", at);
    add_mlp(k, layer, "mlp.shared_expert.", plain_names, r->shared_intermediate);
}

/* How a family calls its weights; modules and norms as they follow each other in a layer. */
typedef struct {
    const char *family, *architecture;
    const char *qkv[3]; /* only the first: all three in one */
    const char *o;
    const char *gate_up[2]; /* none: plain_names; only the first: both in one */
    const char *down;
    const char *norms[4];
    const char *outside[3]; /* embedding, final norm, lm_head */
    bool norms_less_one;
    bool o_bias; /* o has a bias where q, k and v have one */
} naming;

#define QKV                                                                                        \
    {                                                                                              \
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"                                 \
    }
#define O "self_attn.o_proj"
#define NORMS                                                                                      \
    {                                                                                              \
        "input_layernorm", "post_attention_layernorm"                                              \
    }
#define NORMS_AFTER                                                                                \
    {                                                                                              \
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",                \
            "post_feedforward_layernorm"                                                           \
    }
#define OUTSIDE                                                                                    \
    {                                                                                              \
        "model.embed_tokens", "model.norm", "lm_head"                                              \
    }

static const naming namings[] = {
    {"llama", "LlamaForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"mistral", "MistralForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"qwen2", "Qwen2ForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"qwen3", "Qwen3ForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"mixtral", "MixtralForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"qwen2_moe", "Qwen2MoeForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"qwen3_moe", "Qwen3MoeForCausalLM", QKV, O, {NULL}, NULL, NORMS, OUTSIDE, false, false},
    {"gemma2", "Gemma2ForCausalLM", QKV, O, {NULL}, NULL, NORMS_AFTER, OUTSIDE, true, false},
    {"gemma3_text", "Gemma3ForCausalLM", QKV, O, {NULL}, NULL, NORMS_AFTER, OUTSIDE, true, false},
    {"phi3",
     "Phi3ForCausalLM",
     {"self_attn.qkv_proj"},
     O,
     {"mlp.gate_up_proj"},
     "mlp.down_proj",
     NORMS,
     OUTSIDE,
     false,
     false},
    {"internlm2",
     "InternLM2ForCausalLM",
     {"attention.wqkv"},
     "attention.wo",
     {"feed_forward.w1", "feed_forward.w3"},
     "feed_forward.w2",
     {"attention_norm", "ffn_norm"},
     {"model.tok_embeddings", "model.norm", "output"},
     false,
     true},
};

static const naming *naming_of(const char *family)
{
    for (size_t i = 0; i < sizeof namings / sizeof namings[0]; i++)
        if (strcmp(family, namings[i].family) == 0)
            return &namings[i];
    fprintf(stderr, "model recipe: no family %s\n", family);
    exit(1);
}

static void add_norm(kitchen *k, int64_t layer, const char *part, int64_t n)
{
    const fill_kind kind = naming_of(k->recipe->family)->norms_less_one ? FILL_BIAS : FILL_NORM;

    add(k, kind, 0.1, SHOAL_BF16, n, 0, "model.layers.%lld.%s.weight", (long long)layer, part);
}

static void add_named_mlp(kitchen *k, int64_t layer, const naming *names)
{
    const int64_t hidden = k->recipe->hidden, intermediate = k->recipe->intermediate;

    for (int i = 0; i < 2 && names->gate_up[i]; i++)
        add_linear(k, layer, names->gate_up[i], names->gate_up[1] ? intermediate : 2 * intermediate,
                   hidden, false);
    add_linear(k, layer, names->down, hidden, intermediate, false);
}

static void add_layer(kitchen *k, int64_t layer)
{
    const shoal_recipe *r = k->recipe;
    const naming *names = naming_of(r->family);
    const int64_t q = r->heads * r->head_dim, kv = r->kv_heads * r->head_dim;
    const int64_t qkv[3] = {names->qkv[1] ? q : q + 2 * kv, kv, kv};

    for (int i = 0; i < 4 && names->norms[i]; i++)
        add_norm(k, layer, names->norms[i], r->hidden);
    for (int i = 0; i < 3 && names->qkv[i]; i++)
        add_linear(k, layer, names->qkv[i], qkv[i], r->hidden, r->qkv_bias);
    add_linear(k, layer, names->o, r->hidden, q, r->qkv_bias && names->o_bias);
    if (r->qk_norm) {
        add_norm(k, layer, "self_attn.q_norm", r->head_dim);
        add_norm(k, layer, "self_attn.k_norm", r->head_dim);
    }
    if (names->gate_up[0]) {
        add_named_mlp(k, layer, names);
        return;
    }
    if (r->experts && layer >= r->dense)
        add_experts(k, layer);
    else
        add_mlp(k, layer, "mlp.", plain_names, r->intermediate);
}

/* Members about experts, "" where there are none. */
static void describe_experts(const shoal_recipe *r, char *out, size_t room)
{
    const bool mixtral = strcmp(r->family, "mixtral") == 0;
    size_t at = 0;

    out[0] = '\0';
    if (!r->experts)
        return;
    at += (size_t)snprintf(out, room, ", \"%s\": %lld, \"num_experts_per_tok\": %lld",
                           mixtral ? "num_local_experts" : "num_experts", (long long)r->experts,
                           (long long)r->chosen);
    if (!mixtral)
        at += (size_t)snprintf(
            out + at, room - at, ", \"moe_intermediate_size\": %lld, \"norm_topk_prob\": %s",
            (long long)r->expert_intermediate, r->renormalize ? "true" : "false");
    if (r->shared_intermediate)
        at += (size_t)snprintf(out + at, room - at, ", \"shared_expert_intermediate_size\": %lld",
                               (long long)r->shared_intermediate);
    for (int64_t i = 0; i < r->dense; i++)
        at +=
            (size_t)snprintf(out + at, room - at, "%s%lld%s", i ? ", " : ", \"mlp_only_layers\": [",
                             (long long)i, i == r->dense - 1 ? "]" : "");
}

static void write_config(const shoal_recipe *r, shoal_maker *maker)
{
    char text[4096], window[32] = "null", quantization[256] = "", experts[256];

    if (r->window)
        snprintf(window, sizeof window, "%lld", (long long)r->window);
    if (r->bits)
        snprintf(quantization, sizeof quantization,
                 ", \"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": %d, "
                 "\"group_size\": %lld, \"desc_act\": %s, \"sym\": true, "
                 "\"checkpoint_format\": \"gptq\"}",
                 r->bits, (long long)r->group, r->act_order ? "true" : "false");
    describe_experts(r, experts, sizeof experts);
    snprintf(text, sizeof text,
             "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"hidden_size\": %lld, "
             "\"intermediate_size\": %lld, \"num_hidden_layers\": %lld, "
             "\"num_attention_heads\": %lld, \"num_key_value_heads\": %lld, \"head_dim\": %lld, "
             "\"vocab_size\": %lld, \"max_position_embeddings\": %lld, \"sliding_window\": %s, "
             "\"use_sliding_window\": %s, \"tie_word_embeddings\": %s, \"hidden_act\": \"silu\", "
             "\"rms_norm_eps\": 1e-05, \"rope_theta\": 500000.0, \"rope_scaling\": null, "
             "\"bias\": %s, "
             "\"bos_token_id\": 1, \"eos_token_id\": 2, \"torch_dtype\": \"bfloat16\"%s%s}\n",
             naming_of(r->family)->architecture, r->family, (long long)r->hidden,
             (long long)r->intermediate, (long long)r->layers, (long long)r->heads,
             (long long)r->kv_heads, (long long)r->head_dim, (long long)r->vocab,
             (long long)r->context, window, r->window ? "true" : "false",
             r->tied ? "true" : "false", r->qkv_bias ? "true" : "false", experts, quantization);
    shoal_maker_text(maker, "config.json", text);
}

shoal_maker *shoal_recipe_make(const shoal_recipe *recipe)
{
    const naming *names = naming_of(recipe->family);
    kitchen k = {.recipe = recipe, .maker = shoal_maker_begin()};

    write_config(recipe, k.maker);
    add(&k, FILL_WEIGHT, 1, SHOAL_BF16, recipe->vocab, recipe->hidden, "%s.weight",
        names->outside[0]);
    for (int64_t layer = 0; layer < recipe->layers; layer++)
        add_layer(&k, layer);
    add(&k, names->norms_less_one ? FILL_BIAS : FILL_NORM, 0.1, SHOAL_BF16, recipe->hidden, 0,
        "%s.weight", names->outside[1]);
    if (!recipe->tied)
        add(&k, FILL_WEIGHT, 0.05, SHOAL_BF16, recipe->vocab, recipe->hidden, "%s.weight",
            names->outside[2]);
    shoal_maker_write(k.maker, recipe->shard_bytes);
    for (size_t i = 0; i < k.owned_count; i++)
        free(k.owned[i]);
    free(k.owned);
    return k.maker;
}

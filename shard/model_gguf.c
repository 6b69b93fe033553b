#include "shard/model_gguf.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/gguf.h"
#include "shard/power.h"
#include "shard/quoted.h"

#define KEY_ROOM 160

/* Architectures and the model_type that computes them. */
static const struct {
    const char *architecture, *model_type;
    int64_t odd_layers; /* Gemma: the size whose scores are divided by hidden / heads */
} families[] = {
    {"llama", "llama", 0}, /* Mistral and Mixtral, too */
    {"internlm2", "llama", 0},    {"qwen2", "qwen2", 0},        {"qwen3", "qwen3", 0},
    {"qwen2moe", "qwen2_moe", 0}, {"qwen3moe", "qwen3_moe", 0}, {"phi3", "phi3", 0},
    {"gemma", "gemma", 0},        {"gemma2", "gemma2", 46},     {"gemma3", "gemma3_text", 62},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

typedef struct {
    const shoal_checkpoint *checkpoint;
    const shoal_gguf *gguf;
    const char *path;
    char architecture[64];
    int64_t odd_layers;
    json_t *config; /* NULL after a failed allocation */
} source;

/* "llama.block_count" */
static const char *key_of(const source *s, const char *name, char *room)
{
    snprintf(room, KEY_ROOM, "%s.%s", s->architecture, name);
    return room;
}

static shoal_status within(const source *s, shoal_status st)
{
    return st == SHOAL_OK ? st : shoal_fail_within(st, "%s", s->path);
}

/* `code` is what the JSON library returned: only memory can be lacking. */
static shoal_status added(const source *s, int code)
{
    if (code == 0)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for the metadata of %s", s->path);
}

static shoal_status put_in(const source *s, json_t *object, const char *member, json_t *value)
{
    return added(s, json_object_set_new(object, member, value));
}

static shoal_status put(const source *s, const char *member, json_t *value)
{
    return put_in(s, s->config, member, value);
}

static bool is_of(const source *s, const char *architecture)
{
    return strcmp(s->architecture, architecture) == 0;
}

static bool is_gemma(const source *s)
{
    return strncmp(s->architecture, "gemma", strlen("gemma")) == 0;
}

/* ---- single values ---- */

static shoal_status integer_of(const source *s, const char *name, int64_t absent, int64_t *out)
{
    char key[KEY_ROOM];
    *out = absent;
    return within(s, shoal_gguf_repeated(s->gguf, key_of(s, name, key), out));
}

static shoal_status real_of(const source *s, const char *name, double absent, double *out)
{
    char key[KEY_ROOM];
    *out = absent;
    SHOAL_TRY(within(s, shoal_gguf_number(s->gguf, key_of(s, name, key), out)));
    if (isfinite(*out))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s is not a finite number", s->path, key);
}

static shoal_status missing(const source *s, const char *name)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s.%s is missing", s->path, s->architecture, name);
}

/* Integers that become members under another name. */
static shoal_status put_integers(const source *s)
{
    static const struct {
        const char *name, *member;
    } numbers[] = {
        {"embedding_length", "hidden_size"},
        {"block_count", "num_hidden_layers"},
        {"feed_forward_length", "intermediate_size"},
        {"attention.head_count", "num_attention_heads"},
        {"context_length", "max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t value;
        SHOAL_TRY(integer_of(s, numbers[i].name, -1, &value));
        if (value == -1)
            return missing(s, numbers[i].name);
        SHOAL_TRY(put(s, numbers[i].member, json_integer(value)));
    }
    return SHOAL_OK;
}

/* What is absent has the value that llama.cpp gives it, not the config class of transformers. */
static shoal_status put_defaults(const source *s)
{
    int64_t heads, kv_heads, hidden, head_dim;
    SHOAL_TRY(integer_of(s, "attention.head_count", 0, &heads));
    SHOAL_TRY(integer_of(s, "attention.head_count_kv", heads, &kv_heads));
    SHOAL_TRY(integer_of(s, "embedding_length", 0, &hidden));
    SHOAL_TRY(put(s, "num_key_value_heads", json_integer(kv_heads)));
    if (heads < 1 || hidden < 1)
        return SHOAL_OK; /* refused when the config is read */
    SHOAL_TRY(integer_of(s, "attention.key_length", hidden / heads, &head_dim));
    return put(s, "head_dim", json_integer(head_dim));
}

static shoal_status check_value_length(const source *s)
{
    int64_t key, value;
    SHOAL_TRY(integer_of(s, "attention.key_length", 0, &key));
    SHOAL_TRY(integer_of(s, "attention.value_length", key, &value));
    if (key == value)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: %s.attention.key_length is %lld and value_length %lld; heads of one "
                      "length are read",
                      s->path, s->architecture, (long long)key, (long long)value);
}

static shoal_status put_norm(const source *s)
{
    static const char name[] = "attention.layer_norm_rms_epsilon";
    double eps;
    SHOAL_TRY(real_of(s, name, -1, &eps));
    return eps == -1 ? missing(s, name) : put(s, "rms_norm_eps", json_real(eps));
}

/* ---- what is not computed ---- */

static shoal_status refuse(const source *s, const char *name, double value)
{
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s.%s is %g, which this version does not compute",
                      s->path, s->architecture, name, value);
}

static shoal_status refuse_numbers(const source *s)
{
    static const struct {
        const char *name;
        double harmless;
    } numbers[] = {
        {"expert_weights_scale", 1},
        {"expert_gating_func", 1}, /* softmax */
        {"leading_dense_block_count", 0},
        {"logit_scale", 0},
        {"embedding_scale", 0},
        {"residual_scale", 0},
        {"attention.scale", 0},
        {"attention.clamp_kqv", 0},
        {"attention.max_alibi_bias", 0},
        {"attention.temperature_length", 0},
        {"rope.scaling.yarn_ext_factor", 1},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double value;
        SHOAL_TRY(real_of(s, numbers[i].name, numbers[i].harmless, &value));
        if (value != numbers[i].harmless)
            return refuse(s, numbers[i].name, value);
    }
    return SHOAL_OK;
}

/* ---- experts ---- */

/* What is absent has the value that llama.cpp gives it. */
static shoal_status put_expert_sizes(const source *s, int64_t chosen)
{
    int64_t intermediate, one, shared;
    SHOAL_TRY(integer_of(s, "feed_forward_length", 0, &intermediate));
    SHOAL_TRY(integer_of(s, "expert_feed_forward_length", 0, &one));
    SHOAL_TRY(integer_of(s, "expert_shared_feed_forward_length", 0, &shared));
    if (is_of(s, "llama"))
        return one ? put(s, "intermediate_size", json_integer(one)) : SHOAL_OK;
    if (one == 0 && chosen > 0)
        one = intermediate / chosen;
    SHOAL_TRY(put(s, "moe_intermediate_size", json_integer(one)));
    if (!is_of(s, "qwen2moe"))
        return SHOAL_OK;
    return put(s, "shared_expert_intermediate_size", json_integer(shared ? shared : intermediate));
}

static bool has_tensor(const source *s, const char *form, int layer)
{
    char name[64];
    (void)snprintf(name, sizeof name, form, layer);
    return shoal_checkpoint_find(s->checkpoint, name) != NULL;
}

/* Layers without experts: no metadata names them (`mlp_only_layers` and `decoder_sparse_step` of
 * config.json), but they have a plain MLP and no router. */
static shoal_status put_dense_layers(const source *s)
{
    int64_t layers;
    json_t *list = json_array();
    SHOAL_TRY(put(s, "mlp_only_layers", list));
    SHOAL_TRY(integer_of(s, "block_count", 0, &layers));
    layers = shoal_min_i64(layers, SHOAL_LAYERS_MAX);
    for (int i = 0; i < (int)layers; i++)
        if (has_tensor(s, "blk.%d.ffn_gate.weight", i) &&
            !has_tensor(s, "blk.%d.ffn_gate_inp.weight", i))
            SHOAL_TRY(added(s, json_array_append_new(list, json_integer(i))));
    return SHOAL_OK;
}

/* Mixtral is the llama with experts. */
static shoal_status put_experts(const source *s)
{
    int64_t count, chosen;
    char key[KEY_ROOM];
    const bool llama = is_of(s, "llama"), must = is_of(s, "qwen2moe") || is_of(s, "qwen3moe");
    bool norm = !is_of(s, "qwen2moe");
    SHOAL_TRY(integer_of(s, "expert_count", 0, &count));
    SHOAL_TRY(integer_of(s, "expert_used_count", 0, &chosen));
    if (count == 0)
        return must ? missing(s, "expert_count") : SHOAL_OK;
    if (!llama && !must)
        return refuse(s, "expert_count", (double)count);
    SHOAL_TRY(within(s, shoal_gguf_bool(s->gguf, key_of(s, "expert_weights_norm", key), &norm)));
    if (llama && !norm)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s is false, which this version does not compute",
                          s->path, key);
    if (llama)
        SHOAL_TRY(put(s, "model_type", json_string("mixtral")));
    else
        SHOAL_TRY(put(s, "norm_topk_prob", json_boolean(norm)));
    SHOAL_TRY(put(s, llama ? "num_local_experts" : "num_experts", json_integer(count)));
    SHOAL_TRY(put(s, "num_experts_per_tok", json_integer(chosen)));
    SHOAL_TRY(put_expert_sizes(s, chosen));
    return put_dense_layers(s);
}

/* ---- Gemma ---- */

/* Soft caps are Gemma's; what scores are divided by is not in the file: head_dim, but for one size
 * of each generation. */
static shoal_status put_gemma(const source *s)
{
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    int64_t layers, hidden, heads, pattern;
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        double cap;
        SHOAL_TRY(real_of(s, caps[i], 0, &cap));
        if (cap != 0 && !is_gemma(s))
            return refuse(s, caps[i], cap);
        if (cap != 0)
            SHOAL_TRY(put(s, caps[i], json_real(cap)));
    }
    if (!s->odd_layers)
        return SHOAL_OK;
    SHOAL_TRY(integer_of(s, "attention.sliding_window_pattern", 0, &pattern));
    if (pattern)
        SHOAL_TRY(put(s, "sliding_window_pattern", json_integer(pattern)));
    SHOAL_TRY(integer_of(s, "block_count", 0, &layers));
    SHOAL_TRY(integer_of(s, "embedding_length", 0, &hidden));
    SHOAL_TRY(integer_of(s, "attention.head_count", 0, &heads));
    if (layers == s->odd_layers && heads > 0)
        return put(s, "query_pre_attn_scalar", json_real((double)hidden / (double)heads));
    const json_t *head_dim = json_object_get(s->config, "head_dim");
    return put(s, "query_pre_attn_scalar", json_real((double)json_integer_value(head_dim)));
}

static shoal_status refuse_flags(const source *s)
{
    static const struct {
        const char *name;
        bool harmless;
    } flags[] = {{"attention.causal", true}, {"use_parallel_residual", false}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        bool value = flags[i].harmless;
        char key[KEY_ROOM];
        SHOAL_TRY(within(s, shoal_gguf_bool(s->gguf, key_of(s, flags[i].name, key), &value)));
        if (value != flags[i].harmless)
            return shoal_fail(SHOAL_ERR_DATA, "%s: %s is %s, which this version does not compute",
                              s->path, key, value ? "true" : "false");
    }
    return SHOAL_OK;
}

/* ---- rope ---- */

static shoal_status scaling_of(const source *s, char *out, size_t room)
{
    char key[KEY_ROOM];
    shoal_gguf_text text = {"none", 4};
    SHOAL_TRY(within(s, shoal_gguf_string(s->gguf, key_of(s, "rope.scaling.type", key), &text)));
    snprintf(out, room, "%.*s", (int)shoal_min_i64((int64_t)text.bytes, (int64_t)room - 1),
             text.data);
    return SHOAL_OK;
}

/* llama.cpp multiplies its own magnitude scale by attn_factor. */
static shoal_status put_yarn(const source *s, json_t *scaling, double factor)
{
    static const struct {
        const char *name, *member;
    } betas[] = {{"rope.scaling.yarn_beta_fast", "beta_fast"},
                 {"rope.scaling.yarn_beta_slow", "beta_slow"}};
    int64_t original;
    double attention;
    SHOAL_TRY(integer_of(s, "rope.scaling.original_context_length", -1, &original));
    if (original != -1)
        SHOAL_TRY(put_in(s, scaling, "original_max_position_embeddings", json_integer(original)));
    for (size_t i = 0; i < sizeof betas / sizeof betas[0]; i++) {
        double beta;
        SHOAL_TRY(real_of(s, betas[i].name, 0, &beta));
        SHOAL_TRY(put_in(s, scaling, betas[i].member, json_real(beta)));
    }
    SHOAL_TRY(real_of(s, "rope.scaling.attn_factor", 1, &attention));
    if (attention == 1)
        return SHOAL_OK;
    const double all = factor >= 1 ? attention * (0.1 * shoal_log_double(factor) + 1) : 0;
    if (all == 0 || !isfinite(all))
        return refuse(s, "rope.scaling.attn_factor", attention);
    return put_in(s, scaling, "attention_factor", json_real(all));
}

static shoal_status fill_scaling(const source *s, const char *kind, json_t *scaling)
{
    double factor;
    SHOAL_TRY(real_of(s, "rope.scale_linear", 0, &factor));
    SHOAL_TRY(real_of(s, "rope.scaling.factor", factor, &factor));
    const bool yarn = strcmp(kind, "yarn") == 0;
    if (strcmp(kind, "none") == 0 && (factor == 0 || factor == 1))
        return SHOAL_OK;
    if (!yarn && strcmp(kind, "linear") != 0 && strcmp(kind, "none") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: %s.rope.scaling.type is '%s'; none, linear and yarn are read",
                          s->path, s->architecture, kind);
    SHOAL_TRY(put_in(s, scaling, "rope_type", json_string(yarn ? "yarn" : "linear")));
    if (factor != 0)
        SHOAL_TRY(put_in(s, scaling, "factor", json_real(factor)));
    return yarn ? put_yarn(s, scaling, factor) : SHOAL_OK;
}

static shoal_status put_rope(const source *s)
{
    char kind[SHOAL_QUOTED_ROOM], quoted[SHOAL_QUOTED_ROOM];
    double theta;
    int64_t dim;
    const int64_t head_dim = json_integer_value(json_object_get(s->config, "head_dim"));
    SHOAL_TRY(real_of(s, "rope.freq_base", 10000, &theta));
    SHOAL_TRY(put(s, "rope_theta", json_real(theta)));
    SHOAL_TRY(integer_of(s, "rope.dimension_count", head_dim, &dim));
    if (dim != head_dim)
        return refuse(s, "rope.dimension_count", (double)dim);
    SHOAL_TRY(scaling_of(s, kind, sizeof kind));
    json_t *scaling = json_object();
    const shoal_status st = fill_scaling(s, shoal_quoted(kind, quoted, sizeof quoted), scaling);
    if (st == SHOAL_OK && json_object_size(scaling) > 0)
        return put(s, "rope_scaling", scaling);
    json_decref(scaling);
    return st;
}

/* ---- windows, tokens, tensors ---- */

/* Mistral is the llama that sees a window, as Gemma and Phi-3 do; the others' is not used by
 * llama.cpp either. */
static shoal_status put_family(const source *s, const char *model_type)
{
    int64_t window;
    SHOAL_TRY(integer_of(s, "attention.sliding_window", 0, &window));
    const bool mistral = strcmp(model_type, "llama") == 0 && window > 0;
    if (mistral || (window > 0 && (is_gemma(s) || strcmp(model_type, "phi3") == 0)))
        SHOAL_TRY(put(s, "sliding_window", json_integer(window)));
    return put(s, "model_type", json_string(mistral ? "mistral" : model_type));
}

/* Ends of text and of a turn: each is an end of what is said. */
static shoal_status put_tokens(const source *s)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t id = -1;
    json_t *list = json_array();
    SHOAL_TRY(put(s, "eos_token_id", list));
    SHOAL_TRY(within(s, shoal_gguf_integer(s->gguf, "tokenizer.ggml.bos_token_id", &id)));
    if (id >= 0)
        SHOAL_TRY(put(s, "bos_token_id", json_integer(id)));
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        id = -1;
        SHOAL_TRY(within(s, shoal_gguf_integer(s->gguf, ends[i], &id)));
        if (id >= 0)
            SHOAL_TRY(added(s, json_array_append_new(list, json_integer(id))));
    }
    if (json_array_size(list) == 0) /* a file without a vocabulary */
        (void)json_object_del(s->config, "eos_token_id");
    return SHOAL_OK;
}

static shoal_status put_what_tensors_say(const source *s)
{
    const shoal_tensor *embedding = shoal_checkpoint_find(s->checkpoint, "token_embd.weight");
    if (!embedding || embedding->rank != 2)
        return shoal_fail(SHOAL_ERR_DATA, "%s: tensor token_embd.weight is %s", s->path,
                          embedding ? "no matrix" : "missing");
    SHOAL_TRY(put(s, "vocab_size", json_integer(embedding->shape[0])));
    const bool tied = !shoal_checkpoint_find(s->checkpoint, "output.weight");
    return put(s, "tie_word_embeddings", json_boolean(tied));
}

/* ---- the whole ---- */

static shoal_status find_family(source *s, const char **model_type)
{
    char quoted[SHOAL_QUOTED_ROOM], known[160] = "";
    shoal_gguf_text text = {"", 0};
    SHOAL_TRY(within(s, shoal_gguf_string(s->gguf, "general.architecture", &text)));
    snprintf(s->architecture, sizeof s->architecture, "%.*s",
             (int)shoal_min_i64((int64_t)text.bytes, sizeof s->architecture - 1), text.data);
    for (size_t i = 0; i < FAMILIES; i++) {
        if (strcmp(s->architecture, families[i].architecture) == 0) {
            *model_type = families[i].model_type;
            s->odd_layers = families[i].odd_layers;
            return SHOAL_OK;
        }
        const size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", families[i].architecture);
    }
    return shoal_fail(SHOAL_ERR_DATA, "%s: general.architecture '%s' is not known; known are %s",
                      s->path, shoal_quoted(s->architecture, quoted, sizeof quoted), known);
}

static shoal_status fill(source *s)
{
    const char *model_type = "";
    SHOAL_TRY(find_family(s, &model_type));
    SHOAL_TRY(put_family(s, model_type));
    SHOAL_TRY(put_integers(s));
    SHOAL_TRY(put_defaults(s));
    SHOAL_TRY(check_value_length(s));
    SHOAL_TRY(put_norm(s));
    SHOAL_TRY(refuse_numbers(s));
    SHOAL_TRY(put_experts(s));
    SHOAL_TRY(put_gemma(s));
    SHOAL_TRY(refuse_flags(s));
    SHOAL_TRY(put_rope(s));
    SHOAL_TRY(put_tokens(s));
    return put_what_tensors_say(s);
}

shoal_status shoal_gguf_config(const shoal_checkpoint *checkpoint, const char *path, json_t **out)
{
    source s = {.checkpoint = checkpoint,
                .gguf = shoal_checkpoint_gguf(checkpoint),
                .path = path,
                .config = json_object()};
    const shoal_status st = fill(&s);
    if (st == SHOAL_OK)
        *out = s.config;
    else
        json_decref(s.config);
    return st;
}

/* ---- factors of the rope ---- */

static shoal_status check_factors(const shoal_tensor *tensor, const float *factors, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(factors[i] > 0) || !isfinite(factors[i]))
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: element %lld is %g, no factor",
                              tensor->name, (long long)i, (double)factors[i]);
    return SHOAL_OK;
}

shoal_status shoal_gguf_rope_factors(const shoal_checkpoint *checkpoint, shoal_model *model)
{
    const shoal_tensor *tensor = shoal_checkpoint_find(checkpoint, "rope_freqs.weight");
    const int64_t count = model->ropes[0].dim / 2;
    void *stored, *factors;
    if (!tensor)
        return SHOAL_OK;
    if (tensor->dtype != SHOAL_F32 || tensor->rank != 1 || tensor->shape[0] != count)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s is not %lld elements of F32", tensor->name,
                          (long long)count);
    SHOAL_TRY(shoal_arena_array(model->arena, (uint64_t)count, sizeof(float), &stored));
    SHOAL_TRY(shoal_arena_array(model->arena, (uint64_t)count, sizeof(float), &factors));
    SHOAL_TRY(shoal_checkpoint_read(checkpoint, tensor, 0, tensor->bytes, stored));
    shoal_widen_f32(stored, SHOAL_F32, (size_t)count, factors);
    SHOAL_TRY(check_factors(tensor, factors, count));
    model->ropes[0].factors = factors;
    return SHOAL_OK;
}

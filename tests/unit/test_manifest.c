/* The manifest and its ledger: real checkpoints of every family and dialect, their dequantized
 * weights against what the libraries computed, and made-up folders with one thing wrong each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/dialect.h"
#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} loaded;

static shoal_status load(const char *folder, const shoal_manifest_options *options, loaded *l)
{
    memset(l, 0, sizeof *l);
    SHOAL_TRY(shoal_model_open(folder, &l->model));
    SHOAL_TRY(shoal_checkpoint_open(folder, &l->checkpoint));
    return shoal_manifest_create(l->model, l->checkpoint, options, &l->manifest);
}

static void unload(loaded *l)
{
    shoal_manifest_destroy(l->manifest);
    shoal_checkpoint_close(l->checkpoint);
    shoal_model_close(l->model);
}

static void golden_path(const char *name, char *out, size_t room)
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(out, room, "%s/%s", root ? root : "../shared/golden", name);
}

static bool golden_is_there(void)
{
    char path[512];
    golden_path("quant", path, sizeof path);
    if (access(path, R_OK) == 0)
        return true;
    print_message("skipped: no golden data\n");
    return false;
}

/* One element as docs/arithmetic.md rule 1 has it, in the fp32 of the golden files. */
static float element(const shoal_canonical *b, int64_t group, int64_t k_begin, int64_t n, int64_t k)
{
    if (b->dense)
        return shoal_load_f32(b->dense, b->dtype, (size_t)(n * b->k + k));
    const int64_t at = n * b->groups + (k_begin + k) / group - k_begin / group;
    const int zero = b->zeros ? b->zeros[at] : b->zero_const;
    const float min = b->mins ? b->mins[at] : 0;
    return (float)(b->codes[n * b->k + k] - zero) * b->scales[at] + min;
}

/* A rectangle of a weight against the library's [n][k] in fp32. */
static void check_rect(const loaded *l, const shoal_weight *w, const shoal_rect *rect,
                       const float *want)
{
    shoal_arena *arena;
    shoal_canonical b;
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    const uint64_t before = shoal_checkpoint_bytes_read(l->checkpoint);
    if (shoal_weight_read(l->manifest, w, rect, arena, &b) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(l->checkpoint) - before,
                     shoal_weight_read_bytes(w, rect));
    for (int64_t n = 0; n < b.n; n++)
        for (int64_t k = 0; k < b.k; k++) {
            const int64_t row = rect->columns ? rect->columns[n] : rect->n_begin + n;
            const int64_t column = rect->order ? rect->order[rect->k_begin + k] : rect->k_begin + k;
            const float got = element(&b, w->group, rect->k_begin, n, k);
            if (got != want[row * w->k + column])
                fail_msg("%s [%lld][%lld] is %a, not %a", shoal_role_name(w->role), (long long)row,
                         (long long)column, (double)got, (double)want[row * w->k + column]);
        }
    shoal_arena_destroy(arena);
}

static void check_rects(const loaded *l, const shoal_weight *w, const float *want, maker *random)
{
    int32_t *order = maker_alloc((size_t)w->k * sizeof *order);
    int32_t *columns = maker_alloc((size_t)w->n * sizeof *columns);
    if (w->act_order)
        assert_int_equal(shoal_weight_order(l->manifest, w, order), SHOAL_OK);
    for (int round = 0; round < 24; round++) {
        shoal_rect rect = {.n_end = w->n, .k_end = w->k, .order = w->act_order ? order : NULL};
        if (round & 1) {
            rect.n_begin = maker_below(random, w->n);
            rect.n_end = rect.n_begin + maker_below(random, w->n - rect.n_begin + 1);
        }
        if (round & 2) {
            rect.k_begin = maker_below(random, w->k);
            rect.k_end = rect.k_begin + maker_below(random, w->k - rect.k_begin + 1);
        }
        for (int64_t i = 0; i < rect.n_end - rect.n_begin; i++)
            columns[i] = (int32_t)maker_below(random, w->n);
        rect.columns = round & 4 ? columns : NULL;
        check_rect(l, w, &rect, want);
    }
    free(order);
    free(columns);
}

static void check_golden_bias(const loaded *l, const shoal_weight *w,
                              const shoal_checkpoint *expected, const char *name)
{
    char tensor[300];
    float got[1024], want[1024];
    snprintf(tensor, sizeof tensor, "%s.bias", name);
    const shoal_tensor *bias = shoal_checkpoint_find(expected, tensor);
    if (!bias)
        return;
    assert_non_null(w->bias);
    assert_true(w->n <= 1024);
    assert_int_equal(shoal_checkpoint_read(expected, bias, 0, bias->bytes, want), SHOAL_OK);
    assert_int_equal(shoal_vector_read(l->manifest, w->bias, 0, w->n, NULL, got), SHOAL_OK);
    assert_memory_equal(got, want, (size_t)w->n * sizeof(float));
}

/* "NAME.weight", or its first rows: "NAME.weight[0:64]". */
static const shoal_tensor *expected_weight(const shoal_checkpoint *expected, const char *name)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < shoal_checkpoint_count(expected); i++) {
        const shoal_tensor *t = shoal_checkpoint_at(expected, i);
        if (strncmp(t->name, name, length) == 0 && strncmp(t->name + length, ".weight", 7) == 0)
            return t;
    }
    return NULL;
}

static void check_golden_weight(const loaded *l, const shoal_weight *w,
                                const shoal_checkpoint *expected, maker *random)
{
    char name[256];
    shoal_weight part = *w;
    shoal_weight_name(l->manifest, w, name, sizeof name);
    const shoal_tensor *t = expected_weight(expected, name);
    assert_non_null(t);
    float *want = maker_alloc(t->bytes);
    assert_int_equal(shoal_checkpoint_read(expected, t, 0, t->bytes, want), SHOAL_OK);
    part.n = t->shape[0];
    assert_int_equal(t->shape[1], w->k);
    check_rects(l, &part, want, random);
    check_golden_bias(l, w, expected, name);
    free(want);
}

static const struct {
    const char *name, *dialect;
    int bits;
    bool act_order, has_zeros;
} quantized[] = {
    {"gptq-2b-g32", "gptq_v2", 2, false, true},
    {"gptq-3b-g128", "gptq", 3, false, false},
    {"gptq-4b-channel", "gptq (word zeros)", 4, false, false},
    {"gptq-4b-g128-asym-v1", "gptq (word zeros)", 4, false, true},
    {"gptq-4b-g32-actorder", "gptq (word zeros)", 4, true, false},
    {"gptq-4b-g64-asym-v2-bias", "gptq_v2", 4, false, true},
    {"gptq-4b-g64-sym-v2-actorder-bias", "gptq_v2", 4, true, false},
    {"gptq-8b-g128", "gptq (word zeros)", 8, false, false},
    {"gptq-autogptq-4b-g128-bias", "gptq", 4, false, false},
    {"gptq-autogptq-4b-g64-asym", "gptq", 4, true, true},
    {"gptq-tiny-4b-g128", "gptq (word zeros)", 4, false, false},
    {"awq-gemm-g128-autoawq", "awq-gemm", 4, false, true},
    {"awq-gemm-gptqmodel-bias", "awq-gemm", 4, false, true},
    {"awq-gemv-g64-autoawq-bias", "awq-gemv", 4, false, true},
    {"awq-gemvfast-g128-autoawq", "awq-gemv-fast", 4, false, false},
    {"ct-w4a16-asym-g64-bias", "pack-quantized", 4, false, true},
    {"ct-w8a16-channel", "pack-quantized", 8, false, false},
    {"ct-w8a8-int-asym", "int-quantized", 8, false, true},
    {"ct-w8a8-int-bias", "int-quantized", 8, false, false},
    {"marlin-autogptq-channel", "marlin", 4, false, false},
    {"marlin-autogptq-g128-bias", "marlin", 4, false, false},
    {"lmdeploy-sq-bias", "lmdeploy", 8, false, false},
    {"lmdeploy-migration", "lmdeploy", 8, false, false},
    {"torchao-int8dyn-safetensors", "torchao", 8, false, true},
    {"torchao-int4-tile4d-safetensors", "torchao int4", 4, false, false},
    {"torchao-int4-opaque-cpu-pickle", "torchao int4", 4, false, false},
    {"torchao09-int4-cpu-pickle", "torchao int4 (AQT)", 4, false, false},
    {"torchao09-int4-tiled-pickle", "torchao int4 (AQT)", 4, false, false},
    {"torchao09-int8dyn-pickle", "torchao (AQT)", 8, false, false},
};

static void golden_weights(void **state)
{
    maker random = {.seed = 11};
    (void)state;
    if (!golden_is_there())
        skip();
    for (size_t i = 0; i < LENGTH(quantized); i++) {
        char name[128], path[512];
        shoal_checkpoint *expected;
        loaded l;
        snprintf(name, sizeof name, "quant/%s", quantized[i].name);
        golden_path(name, path, sizeof path);
        if (load(path, NULL, &l) != SHOAL_OK)
            fail_msg("%s: %s", name, shoal_error_text());
        snprintf(name, sizeof name, "quant/%s/expected/dequant.safetensors", quantized[i].name);
        golden_path(name, path, sizeof path);
        assert_int_equal(shoal_checkpoint_open(path, &expected), SHOAL_OK);
        static const shoal_role roles[] = {SHOAL_ROLE_Q, SHOAL_ROLE_DOWN};
        for (size_t r = 0; r < 2; r++) {
            const shoal_weight *w = shoal_manifest_weight(l.manifest, 0, roles[r]);
            assert_string_equal(w->dialect->name, quantized[i].dialect);
            assert_int_equal(w->bits, quantized[i].bits);
            assert_int_equal(w->act_order, quantized[i].act_order);
            assert_int_equal(w->has_zeros, quantized[i].has_zeros);
            check_golden_weight(&l, w, expected, &random);
        }
        assert_string_equal(
            shoal_manifest_weight(l.manifest, -1, SHOAL_ROLE_LM_HEAD)->dialect->name, "dense");
        shoal_checkpoint_close(expected);
        unload(&l);
    }
}

/* Every dense family: each linear is the rows of its tensor, fused ones included. */
static void golden_families(void **state)
{
    static const char *const names[] = {
        "arch/gemma2",
        "arch/gemma3-text",
        "arch/llama-odd-h6kv2",
        "arch/llama-odd-kv1",
        "arch/llama-rope-yarn",
        "arch/mistral-sw16",
        "arch/phi3",
        "arch/qwen2-tied",
        "arch/qwen2-yarn-v4",
        "arch/pico-bias-2shards",
        "arch/qwen3",
        "tiny-llama",
    };
    maker random = {.seed = 12};
    (void)state;
    if (!golden_is_there())
        skip();
    for (size_t i = 0; i < LENGTH(names); i++) {
        char path[512];
        loaded l;
        golden_path(names[i], path, sizeof path);
        if (load(path, NULL, &l) != SHOAL_OK)
            fail_msg("%s: %s", names[i], shoal_error_text());
        for (int role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++) {
            const shoal_weight *w = shoal_manifest_weight(l.manifest, 1, (shoal_role)role);
            const shoal_tensor *t = w->parts[0];
            const int64_t rows = t->shape[0];
            uint8_t *stored = maker_alloc(t->bytes);
            float *wide = maker_alloc((size_t)(rows * w->k) * sizeof(float));
            assert_int_equal(shoal_checkpoint_read(l.checkpoint, t, 0, t->bytes, stored), SHOAL_OK);
            shoal_widen_f32(stored, t->dtype, (size_t)(rows * w->k), wide);
            assert_true(w->row_offset + w->n <= rows);
            check_rects(&l, w, wide + w->row_offset * w->k, &random);
            free(stored);
            free(wide);
        }
        unload(&l);
    }
}

/* A two-layer model with every linear dense; `extra` goes into its config.json. */
enum { HIDDEN = 64, HEADS = 4, KV = 2, HEAD = 16, FFN = 96, VOCAB = 80, LAYERS = 2 };

static void make_config(const char *family, const char *extra, char *out, size_t room)
{
    snprintf(out, room,
             "{\"architectures\":[\"%sForCausalLM\"],\"model_type\":\"%s\",\"hidden_size\":%d,"
             "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,"
             "\"intermediate_size\":%d,\"vocab_size\":%d,\"num_hidden_layers\":%d,"
             "\"max_position_embeddings\":256,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\","
             "\"rope_theta\":10000.0,\"torch_dtype\":\"bfloat16\",\"bos_token_id\":1,"
             "\"eos_token_id\":2%s%s}",
             strcmp(family, "qwen2") == 0 ? "Qwen2" : "Llama", family, HIDDEN, HEADS, KV, HEAD, FFN,
             VOCAB, LAYERS, extra[0] ? "," : "", extra);
}

static void make_model(maker *m)
{
    static const struct {
        const char *name;
        int n, k;
    } parts[] = {
        {"self_attn.q_proj", HEADS * HEAD, HIDDEN},
        {"self_attn.k_proj", KV * HEAD, HIDDEN},
        {"self_attn.v_proj", KV * HEAD, HIDDEN},
        {"self_attn.o_proj", HIDDEN, HEADS * HEAD},
        {"mlp.gate_proj", FFN, HIDDEN},
        {"mlp.up_proj", FFN, HIDDEN},
        {"mlp.down_proj", HIDDEN, FFN},
        {"input_layernorm", HIDDEN, 0},
        {"post_attention_layernorm", HIDDEN, 0},
    };
    char name[128];
    for (int layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < LENGTH(parts); i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, parts[i].name);
            maker_add_random(m, name, SHOAL_BF16, parts[i].n, parts[i].k);
        }
    maker_add_random(m, "model.embed_tokens.weight", SHOAL_BF16, VOCAB, HIDDEN);
    maker_add_random(m, "model.norm.weight", SHOAL_BF16, HIDDEN, 0);
    maker_add_random(m, "lm_head.weight", SHOAL_BF16, VOCAB, HIDDEN);
}

#define L0 "model.layers.0."
#define L1 "model.layers.1."

static void change_nothing(maker *m)
{
    (void)m;
}

static void extra_tensor(maker *m)
{
    maker_add_random(m, L1 "self_attn.q_proj.lora_A", SHOAL_BF16, 4, HIDDEN);
}

static void extra_layer(maker *m)
{
    maker_add_random(m, "model.layers.2.input_layernorm.weight", SHOAL_BF16, HIDDEN, 0);
}

static void twelve_extra(maker *m)
{
    char name[64];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "stray.%02d", i);
        maker_add(m, name, SHOAL_BF16, 1, 0);
    }
}

static void lookalike(maker *m)
{
    maker_add(m, "model.my_rotary_emb.inv_freq", SHOAL_F32, 8, 0);
}

static void caches(maker *m)
{
    maker_add(m, L0 "self_attn.rotary_emb.inv_freq", SHOAL_F32, 8, 0);
    maker_add(m, "model.rotary_emb.inv_freq", SHOAL_F32, 8, 0);
    maker_add(m, L0 "self_attn.rotary_emb.cos_cached", SHOAL_F32, 8, 8);
}

static void zero_biases(maker *m)
{
    maker_add(m, L0 "self_attn.o_proj.bias", SHOAL_F16, HIDDEN, 0);
    maker_add(m, L1 "mlp.gate_proj.bias", SHOAL_F16, FFN, 0);
}

static void qkv_biases(maker *m)
{
    maker_add_random(m, L0 "self_attn.q_proj.bias", SHOAL_BF16, HEADS * HEAD, 0);
    maker_add_random(m, L0 "self_attn.k_proj.bias", SHOAL_BF16, KV * HEAD, 0);
    maker_add_random(m, L0 "self_attn.v_proj.bias", SHOAL_BF16, KV * HEAD, 0);
    maker_add_random(m, L1 "self_attn.q_proj.bias", SHOAL_BF16, HEADS * HEAD, 0);
    maker_add_random(m, L1 "self_attn.k_proj.bias", SHOAL_BF16, KV * HEAD, 0);
    maker_add_random(m, L1 "self_attn.v_proj.bias", SHOAL_BF16, KV * HEAD, 0);
}

static void lost_bias(maker *m)
{
    qkv_biases(m);
    maker_remove(m, L1 "self_attn.v_proj.bias");
}

static void short_bias(maker *m)
{
    maker_add(m, L0 "self_attn.o_proj.bias", SHOAL_F16, HIDDEN - 1, 0);
}

static void bias_of_integers(maker *m)
{
    maker_add(m, L0 "self_attn.o_proj.bias", SHOAL_I32, HIDDEN, 0);
}

static void lost_linear(maker *m)
{
    maker_remove(m, L1 "mlp.up_proj.weight");
}

static void lost_norm(maker *m)
{
    maker_remove(m, L1 "input_layernorm.weight");
}

static void lost_lm_head(maker *m)
{
    maker_remove(m, "lm_head.weight");
}

static void lost_embedding(maker *m)
{
    maker_remove(m, "model.embed_tokens.weight");
}

static void long_embedding(maker *m)
{
    lost_embedding(m);
    maker_add(m, "model.embed_tokens.weight", SHOAL_BF16, VOCAB + 8, HIDDEN);
}

static void turned_linear(maker *m)
{
    lost_linear(m);
    maker_add(m, L1 "mlp.up_proj.weight", SHOAL_BF16, HIDDEN, FFN);
}

static void flat_linear(maker *m)
{
    lost_linear(m);
    maker_add(m, L1 "mlp.up_proj.weight", SHOAL_BF16, HIDDEN * FFN, 0);
}

static void long_norm(maker *m)
{
    maker_remove(m, "model.norm.weight");
    maker_add(m, "model.norm.weight", SHOAL_BF16, HIDDEN + 1, 0);
}

static void byte_linear(maker *m)
{
    lost_linear(m);
    maker_add(m, L1 "mlp.up_proj.weight", SHOAL_I8, FFN, HIDDEN);
    maker_add(m, L1 "mlp.up_proj.scale_inv", SHOAL_F32, FFN, 0);
}

static void packed_linear(maker *m)
{
    lost_linear(m);
    maker_add(m, L1 "mlp.up_proj.qweight", SHOAL_I32, HIDDEN / 8, FFN);
}

static void q_norms(maker *m)
{
    maker_add_random(m, L0 "self_attn.q_norm.weight", SHOAL_BF16, HEAD, 0);
}

#define GPTQ_CONFIG                                                                                \
    "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,"             \
    "\"sym\":true,\"desc_act\":false}"
#define AWQ_CONFIG "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32}"
#define TIED       "\"tie_word_embeddings\":true"
#define UNTIED     "\"tie_word_embeddings\":false"

static const struct {
    const char *family, *config;
    void (*change)(maker *);
    shoal_manifest_options options;
    shoal_status status;
    const char *says[2]; /* words of the sentence */
} ledger[] = {
    {"llama", UNTIED, change_nothing, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"llama", TIED, change_nothing, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"llama", TIED, lost_lm_head, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"llama", UNTIED, lost_lm_head, {NULL, NULL}, SHOAL_ERR_DATA, {"lm_head.weight", "tie_word"}},
    {"llama", UNTIED, caches, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"llama", UNTIED, zero_biases, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"llama", UNTIED, qkv_biases, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"qwen2", UNTIED, qkv_biases, {NULL, NULL}, SHOAL_OK, {"", ""}},
    {"qwen2",
     UNTIED,
     lost_bias,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {L1 "self_attn.v_proj.bias is missing", ""}},
    {"llama",
     UNTIED,
     extra_tensor,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {"1 tensor that", L1 "self_attn.q_proj.lora_A"}},
    {"llama", UNTIED, extra_layer, {NULL, NULL}, SHOAL_ERR_DATA, {"model.layers.2.input", ""}},
    {"llama", UNTIED, twelve_extra, {NULL, NULL}, SHOAL_ERR_DATA, {"12 tensors", "stray.09, ..."}},
    {"llama", UNTIED, lookalike, {NULL, NULL}, SHOAL_ERR_DATA, {"my_rotary_emb.inv_freq", ""}},
    {"llama", UNTIED, q_norms, {NULL, NULL}, SHOAL_ERR_DATA, {L0 "self_attn.q_norm.weight", ""}},
    {"llama", UNTIED, short_bias, {NULL, NULL}, SHOAL_ERR_DATA, {"o_proj.bias", "[63]"}},
    {"llama", UNTIED, bias_of_integers, {NULL, NULL}, SHOAL_ERR_DATA, {"o_proj.bias", "I32"}},
    {"llama", UNTIED, lost_linear, {NULL, NULL}, SHOAL_ERR_DATA, {L1 "mlp.up_proj", "no tensor"}},
    {"llama",
     UNTIED,
     lost_norm,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {L1 "input_layernorm.weight is missing", ""}},
    {"llama",
     UNTIED,
     lost_embedding,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {"model.embed_tokens.weight is missing", ""}},
    {"llama", UNTIED, long_embedding, {NULL, NULL}, SHOAL_ERR_DATA, {"[88, 64]", "[80, 64]"}},
    {"llama", UNTIED, turned_linear, {NULL, NULL}, SHOAL_ERR_DATA, {"[64, 96]", "[96, 64]"}},
    {"llama", UNTIED, flat_linear, {NULL, NULL}, SHOAL_ERR_DATA, {"[6144]", "[96, 64]"}},
    {"llama", UNTIED, long_norm, {NULL, NULL}, SHOAL_ERR_DATA, {"model.norm.weight", "[65]"}},
    {"llama",
     UNTIED,
     byte_linear,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {"scale_inv F32 [96], weight I8", "'none'"}},
    {"llama", UNTIED, packed_linear, {NULL, NULL}, SHOAL_ERR_DATA, {"qweight I32", "'none'"}},
    {"llama", GPTQ_CONFIG, change_nothing, {NULL, NULL}, SHOAL_ERR_DATA, {"says gptq", ""}},
    {"llama", GPTQ_CONFIG, packed_linear, {NULL, NULL}, SHOAL_ERR_DATA, {"up_proj.qzeros", ""}},
    {"llama",
     AWQ_CONFIG,
     packed_linear,
     {NULL, NULL},
     SHOAL_ERR_DATA,
     {"as gptq does", "says awq"}},
    {"llama", UNTIED, change_nothing, {"int4-g64", "lm_head"}, SHOAL_OK, {"", ""}},
    {"llama", UNTIED, change_nothing, {"int3", NULL}, SHOAL_ERR_USAGE, {"int3", "int4-g128"}},
    {"llama", UNTIED, change_nothing, {"int8", "(["}, SHOAL_ERR_USAGE, {"--keep ([", ""}},
};

static void made_up_folders(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(ledger); i++) {
        maker m = {.seed = i};
        char config[1024];
        loaded l;
        make_model(&m);
        ledger[i].change(&m);
        make_config(ledger[i].family, ledger[i].config, config, sizeof config);
        const shoal_status st = load(maker_write(&m, config), &ledger[i].options, &l);
        if (st != ledger[i].status)
            fail_msg("case %zu: %s: %s", i, shoal_status_name(st), shoal_error_text());
        for (int w = 0; w < 2 && st != SHOAL_OK; w++)
            if (!strstr(shoal_error_text(), ledger[i].says[w]))
                fail_msg("case %zu: '%s' lacks '%s'", i, shoal_error_text(), ledger[i].says[w]);
        unload(&l);
        maker_forget(&m);
    }
}

static void open_made_up(maker *m, const char *extra, const shoal_manifest_options *options,
                         loaded *l)
{
    char config[1024];
    make_config("llama", extra, config, sizeof config);
    if (load(maker_write(m, config), options, l) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
}

/* A bias that the family does not know is still a bias. */
static void unexpected_bias_is_claimed(void **state)
{
    maker m = {.seed = 1};
    loaded l;
    (void)state;
    make_model(&m);
    zero_biases(&m);
    open_made_up(&m, UNTIED, NULL, &l);
    const shoal_weight *o = shoal_manifest_weight(l.manifest, 0, SHOAL_ROLE_O);
    assert_string_equal(o->bias->name, L0 "self_attn.o_proj.bias");
    assert_non_null(shoal_manifest_weight(l.manifest, 1, SHOAL_ROLE_GATE)->bias);
    assert_null(shoal_manifest_weight(l.manifest, 1, SHOAL_ROLE_UP)->bias);
    unload(&l);
    maker_forget(&m);
}

static void tied_head_is_the_embedding(void **state)
{
    static const char *const words[] = {NULL, "int4-g32", "int8"};
    (void)state;
    for (size_t i = 0; i < LENGTH(words); i++) {
        const shoal_manifest_options options = {.quantize = words[i]};
        maker m = {.seed = 2};
        char name[128];
        loaded l;
        make_model(&m);
        open_made_up(&m, TIED, &options, &l);
        const shoal_weight *head = shoal_manifest_weight(l.manifest, -1, SHOAL_ROLE_LM_HEAD);
        const shoal_weight *embedding = shoal_manifest_weight(l.manifest, -1, SHOAL_ROLE_EMBEDDING);
        shoal_weight_name(l.manifest, head, name, sizeof name);
        assert_string_equal(name, "lm_head");
        assert_ptr_equal(head->parts[0], embedding->parts[0]);
        assert_int_equal(embedding->kind, SHOAL_WEIGHT_FLOAT);
        assert_int_equal(head->quantized_at_load, words[i] != NULL);
        unload(&l);
        maker_forget(&m);
    }
}

static void keep_leaves_linears_dense(void **state)
{
    const shoal_manifest_options options = {"int4-g64", "(layers\\.0\\..*_proj|lm_head)$"};
    maker m = {.seed = 3};
    loaded l;
    (void)state;
    make_model(&m);
    open_made_up(&m, UNTIED, &options, &l);
    for (int role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++) {
        const shoal_weight *kept = shoal_manifest_weight(l.manifest, 0, (shoal_role)role);
        const shoal_weight *made = shoal_manifest_weight(l.manifest, 1, (shoal_role)role);
        assert_int_equal(kept->kind, SHOAL_WEIGHT_FLOAT);
        assert_false(kept->quantized_at_load);
        assert_int_equal(made->kind, SHOAL_WEIGHT_INT4);
        assert_true(made->quantized_at_load);
        assert_int_equal(made->group, 64);
        assert_int_equal(made->zero_const, 8);
        assert_int_equal(made->bits, 16);
        assert_int_equal(made->dtype, SHOAL_F32);
    }
    assert_int_equal(shoal_manifest_weight(l.manifest, -1, SHOAL_ROLE_LM_HEAD)->kind,
                     SHOAL_WEIGHT_FLOAT);
    assert_false(shoal_manifest_weight(l.manifest, 0, SHOAL_ROLE_Q_NORM)->present);
    assert_true(shoal_manifest_weight(l.manifest, 0, SHOAL_ROLE_MLP_NORM)->present);
    unload(&l);
    maker_forget(&m);
}

static void memory_runs_out(void **state)
{
    const shoal_manifest_options options = {"int8", "q_proj"};
    maker m = {.seed = 4};
    loaded l;
    (void)state;
    make_model(&m);
    open_made_up(&m, UNTIED, &options, &l);
    const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT);
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        shoal_manifest *manifest = NULL;
        shoal_mem_fail_nth(nth);
        const shoal_status st = shoal_manifest_create(l.model, l.checkpoint, &options, &manifest);
        shoal_mem_fail_nth(0);
        done = st == SHOAL_OK;
        assert_true(done || (st == SHOAL_ERR_TEMPORARY && !manifest));
        assert_true(nth < 100);
        shoal_manifest_destroy(manifest);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
    }
    unload(&l);
    maker_forget(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_weights),
        cmocka_unit_test(golden_families),
        cmocka_unit_test(made_up_folders),
        cmocka_unit_test(unexpected_bias_is_claimed),
        cmocka_unit_test(tied_head_is_the_embedding),
        cmocka_unit_test(keep_leaves_linears_dense),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

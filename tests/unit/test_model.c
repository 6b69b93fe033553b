/* config.json to a model description: configs that transformers wrote, the same model said in the
 * words of version 4 and 5, every family's own rules, and what is refused with which sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/model.h"
#include "tests/unit/model_case.h"

/* ---- what transformers wrote ---- */

static void golden_path(const char *name, char *out, size_t room)
{
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(out, room, "%s/%s", root ? root : "../shared/golden", name);
}

typedef struct {
    const char *name, *family;
    int64_t hidden, heads, kv_heads, head_dim, layers, intermediate, vocab;
    double theta;
    shoal_rope_kind rope;
    int64_t window; /* of layer 0 */
    bool qkv_bias, o_bias, mlp_bias, qk_norm, tied;
} golden;

static const golden goldens[] = {
    {"arch/llama-odd-h6kv2", "llama", 192, 6, 2, 32, 2, 320, 259, 1e4, SHOAL_ROPE_DEFAULT, 0, 0, 0,
     0, 0, 0},
    {"arch/llama-rope-llama3", "llama", 128, 4, 2, 32, 3, 256, 320, 5e5, SHOAL_ROPE_LLAMA3, 0, 0, 0,
     0, 0, 0},
    {"arch/llama-rope-yarn", "llama", 128, 4, 2, 32, 2, 256, 320, 1e6, SHOAL_ROPE_YARN, 0, 0, 0, 0,
     0, 0},
    {"arch/mistral-sw16", "mistral", 128, 4, 2, 32, 2, 256, 320, 1e6, SHOAL_ROPE_DEFAULT, 16, 0, 0,
     0, 0, 0},
    {"arch/pico-bias-2shards", "llama", 128, 4, 4, 32, 2, 256, 320, 1e4, SHOAL_ROPE_DEFAULT, 0, 1,
     1, 1, 0, 0},
    {"arch/qwen2-tied", "qwen2", 128, 4, 2, 32, 2, 256, 320, 1e6, SHOAL_ROPE_DEFAULT, 0, 1, 0, 0, 0,
     1},
    {"arch/qwen2-yarn-v4", "qwen2", 128, 4, 2, 32, 2, 256, 320, 1e6, SHOAL_ROPE_YARN, 0, 1, 0, 0, 0,
     0},
    {"arch/qwen3", "qwen3", 128, 4, 2, 48, 2, 256, 320, 1e6, SHOAL_ROPE_DEFAULT, 0, 0, 0, 0, 1, 0},
    {"arch/gemma2", "gemma2", 128, 4, 2, 48, 2, 256, 320, 1e4, SHOAL_ROPE_DEFAULT, 16, 0, 0, 0, 0,
     1},
    {"arch/gemma3-text", "gemma3_text", 128, 4, 2, 32, 4, 256, 320, 1e6, SHOAL_ROPE_DEFAULT, 16, 0,
     0, 0, 1, 1},
    {"arch/phi3", "phi3", 128, 4, 2, 32, 2, 256, 320, 1e4, SHOAL_ROPE_DEFAULT, 0, 0, 0, 0, 0, 0},
    {"arch/mixtral", "mixtral", 128, 4, 2, 32, 2, 128, 320, 1e6, SHOAL_ROPE_DEFAULT, 0, 0, 0, 0, 0,
     0},
    {"arch/qwen3-moe", "qwen3_moe", 128, 4, 2, 32, 2, 64, 320, 1e6, SHOAL_ROPE_DEFAULT, 0, 0, 0, 0,
     1, 0},
    {"tiny-llama", "llama", 256, 8, 4, 32, 4, 768, 1024, 1e4, SHOAL_ROPE_DEFAULT, 0, 0, 0, 0, 0, 0},
};

static void check_golden(const golden *g, const shoal_model *m)
{
    const shoal_layer *l = &m->layers[0];
    assert_string_equal(m->family, g->family);
    assert_int_equal(m->hidden, g->hidden);
    assert_int_equal(m->heads, g->heads);
    assert_int_equal(m->kv_heads, g->kv_heads);
    assert_int_equal(m->head_dim, g->head_dim);
    assert_int_equal(m->layer_count, g->layers);
    assert_int_equal(l->intermediate, g->intermediate);
    assert_int_equal(m->vocab, g->vocab);
    assert_true(m->ropes[0].theta == g->theta);
    assert_int_equal(m->ropes[0].kind, g->rope);
    assert_int_equal(m->ropes[0].dim, g->head_dim);
    assert_int_equal(l->window, g->window);
    assert_int_equal(l->qkv_bias, g->qkv_bias);
    assert_int_equal(l->o_bias, g->o_bias);
    assert_int_equal(l->mlp_bias, g->mlp_bias);
    assert_int_equal(l->qk_norm, g->qk_norm);
    assert_int_equal(m->tied, g->tied);
    assert_int_equal(m->dtype, SHOAL_BF16);
    assert_null(m->quantization_json);
}

static void golden_configs(void **state)
{
    char path[512];
    (void)state;
    golden_path("arch", path, sizeof path);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no golden data\n");
        skip();
    }
    for (size_t i = 0; i < LENGTH(goldens); i++) {
        shoal_model *m = NULL;
        golden_path(goldens[i].name, path, sizeof path);
        if (shoal_model_open(path, &m) != SHOAL_OK)
            fail_msg("%s: %s", path, shoal_error_text());
        check_golden(&goldens[i], m);
        shoal_model_close(m);
    }
}

static void golden_details(void **state)
{
    char path[512];
    shoal_model *m;
    (void)state;
    golden_path("arch/gemma2", path, sizeof path);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no golden data\n");
        skip();
    }
    assert_int_equal(shoal_model_open(path, &m), SHOAL_OK);
    assert_int_equal(m->layers[1].window, 0);
    assert_true(m->layers[0].attention_soft_cap == 50 && m->logits_soft_cap == 30);
    assert_true(m->layers[0].attention_scale == (float)(1 / sqrt(40.0)));
    assert_true(m->layers[0].norm_after_attention && m->layers[0].norm_after_mlp);
    assert_true(m->norm_weight_offset == 1);
    assert_true(m->embedding_scale == (float)sqrt(128.0));
    assert_int_equal(m->layers[0].activation, SHOAL_ACTIVATION_GELU_TANH);
    shoal_model_close(m);

    golden_path("arch/gemma3-text", path, sizeof path);
    assert_int_equal(shoal_model_open(path, &m), SHOAL_OK);
    assert_int_equal(m->rope_count, 2);
    assert_true(m->ropes[1].theta == 1e4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(m->layers[i].window, i < 3 ? 16 : 0);
        assert_int_equal(m->layers[i].rope, i < 3 ? 1 : 0);
    }
    assert_true(m->layers[0].attention_soft_cap == 0 && m->logits_soft_cap == 0);
    shoal_model_close(m);

    golden_path("arch/qwen3-moe", path, sizeof path);
    assert_int_equal(shoal_model_open(path, &m), SHOAL_OK);
    assert_int_equal(m->layers[1].mlp, SHOAL_MLP_EXPERTS);
    assert_int_equal(m->layers[1].experts, 8);
    assert_int_equal(m->layers[1].experts_per_token, 2);
    assert_true(m->layers[1].renormalize_experts);
    shoal_model_close(m);

    golden_path("arch/qwen2-yarn-v4", path, sizeof path);
    assert_int_equal(shoal_model_open(path, &m), SHOAL_OK);
    assert_int_equal(m->ropes[0].original_context, 64);
    assert_true(m->ropes[0].factor == 4 && m->ropes[0].truncate);
    assert_true(fabs(m->ropes[0].attention_factor - (0.1 * log(4.0) + 1)) < 1e-15);
    shoal_model_close(m);

    golden_path("quant/gptq-autogptq-4b-g64-asym", path, sizeof path);
    assert_int_equal(shoal_model_open(path, &m), SHOAL_OK);
    assert_non_null(strstr(m->quantization_json, "\"bits\":4"));
    assert_int_equal(m->dtype, SHOAL_BF16);
    shoal_model_close(m);
}

/* ---- one model, two ways to say it ---- */

static void assert_same(const shoal_model *a, const shoal_model *b)
{
    assert_int_equal(a->layer_count, b->layer_count);
    assert_int_equal(a->reach, b->reach);
    assert_int_equal(a->rope_count, b->rope_count);
    for (int i = 0; i < a->rope_count; i++) {
        const shoal_rope *x = &a->ropes[i], *y = &b->ropes[i];
        assert_int_equal(x->kind, y->kind);
        assert_int_equal(x->dim, y->dim);
        assert_int_equal(x->original_context, y->original_context);
        assert_true(x->theta == y->theta && x->factor == y->factor);
        assert_true(x->low_freq_factor == y->low_freq_factor);
        assert_true(x->high_freq_factor == y->high_freq_factor);
        assert_true(x->beta_fast == y->beta_fast && x->beta_slow == y->beta_slow);
        assert_true(x->attention_factor == y->attention_factor && x->truncate == y->truncate);
        for (int64_t k = 0; x->kind == SHOAL_ROPE_LONGROPE && k < x->dim / 2; k++) {
            assert_true(x->short_factors[k] == y->short_factors[k]);
            assert_true(x->long_factors[k] == y->long_factors[k]);
        }
    }
    for (int64_t i = 0; i < a->layer_count; i++) {
        assert_int_equal(a->layers[i].window, b->layers[i].window);
        assert_int_equal(a->layers[i].rope, b->layers[i].rope);
    }
    assert_int_equal(a->dtype, b->dtype);
}

#define FACTORS "\"short_factor\": [1.0, 1.5], \"long_factor\": [1.0, 8.5]"

static void versions_agree(void **state)
{
    static const struct {
        const char *family, *v4, *v5;
    } cases[] = {
        {"llama", "{}",
         "{\"rope_theta\": \"-\", \"torch_dtype\": \"-\", \"dtype\": \"bfloat16\","
         "\"rope_parameters\": {\"rope_theta\": 10000.0, \"rope_type\": \"default\"}}"},
        {"llama", "{\"rope_theta\": 500000, \"rope_scaling\": null}",
         "{\"rope_theta\": \"-\", \"rope_parameters\": {\"rope_theta\": 500000.0}}"},
        {"llama", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}}",
         "{\"rope_theta\": \"-\", \"rope_parameters\": {\"rope_theta\": 10000.0,"
         "\"rope_type\": \"linear\", \"factor\": 2.0}}"},
        {"llama",
         "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0,"
         "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}}",
         "{\"rope_parameters\": {\"rope_theta\": 10000.0, \"rope_type\": \"llama3\","
         "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
         "\"original_max_position_embeddings\": 64}}"},
        /* the original context may stand outside, the factor may follow from it */
        {"qwen2",
         "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0,"
         "\"original_max_position_embeddings\": 64}}",
         "{\"original_max_position_embeddings\": 64, \"rope_theta\": \"-\", \"rope_parameters\":"
         "{\"rope_theta\": 10000.0, \"rope_type\": \"yarn\", \"factor\": null, \"beta_fast\": 32,"
         "\"beta_slow\": 0}}"},
        {"internlm2",
         "{\"bias\": false, \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}}",
         "{\"bias\": false, \"rope_parameters\": {\"rope_theta\": 10000.0,"
         "\"rope_type\": \"dynamic\", \"factor\": 2}}"},
        /* all names that longrope has had, and its factor, which may follow from the contexts */
        {"phi3",
         "{\"head_dim\": 4, \"original_max_position_embeddings\": 64, \"rope_scaling\":"
         "{\"type\": \"su\", " FACTORS "}}",
         "{\"head_dim\": 4, \"original_max_position_embeddings\": 64, \"rope_parameters\":"
         "{\"rope_theta\": 10000.0, \"rope_type\": \"longrope\", \"factor\": 4.0, " FACTORS "}}"},
        {"phi3",
         "{\"head_dim\": 4, \"original_max_position_embeddings\": 64, \"rope_scaling\":"
         "{\"type\": \"yarn\", " FACTORS "}}",
         "{\"head_dim\": 4, \"rope_parameters\": {\"rope_theta\": 10000.0,"
         "\"original_max_position_embeddings\": 64, \"rope_type\": \"longrope\", " FACTORS "}}"},
        {"qwen2",
         "{\"use_sliding_window\": true, \"sliding_window\": 64, \"max_window_layers\": 2}",
         "{\"use_sliding_window\": true, \"sliding_window\": 64, \"layer_types\":"
         "[\"full_attention\", \"full_attention\", \"sliding_attention\", \"sliding_attention\"]}"},
        {"gemma3_text",
         "{\"sliding_window\": 16, \"sliding_window_pattern\": 2, \"rope_theta\": 1000000.0,"
         "\"rope_local_base_freq\": 5000.0, \"rope_scaling\": {\"rope_type\": \"linear\","
         "\"factor\": 8.0}}",
         "{\"sliding_window\": 16, \"layer_types\": [\"sliding_attention\", \"full_attention\","
         "\"sliding_attention\", \"full_attention\"], \"rope_theta\": \"-\", \"rope_parameters\":"
         "{\"full_attention\": {\"rope_theta\": 1000000.0, \"rope_type\": \"linear\","
         "\"factor\": 8.0}, \"sliding_attention\": {\"rope_theta\": 5000.0,"
         "\"rope_type\": \"default\"}}}"},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *a = must_parse(cases[i].family, cases[i].v4);
        shoal_model *b = must_parse(cases[i].family, cases[i].v5);
        assert_same(a, b);
        shoal_model_close(a);
        shoal_model_close(b);
    }
}

/* ---- defaults and rules ---- */

static void windows(void **state)
{
    static const struct {
        const char *family, *changes;
        int64_t window[4];
    } cases[] = {
        {"llama", "{\"sliding_window\": 64, \"use_sliding_window\": true}", {0, 0, 0, 0}},
        {"mistral", "{}", {4096, 4096, 4096, 4096}},
        {"mistral", "{\"sliding_window\": 64}", {64, 64, 64, 64}},
        {"mistral", "{\"sliding_window\": null}", {0, 0, 0, 0}},
        {"qwen2", "{\"sliding_window\": 64, \"max_window_layers\": 0}", {0, 0, 0, 0}},
        {"qwen2", "{\"sliding_window\": 64, \"use_sliding_window\": false}", {0, 0, 0, 0}},
        {"qwen2",
         "{\"sliding_window\": 64, \"use_sliding_window\": true, \"max_window_layers\": 3}",
         {0, 0, 0, 64}},
        {"qwen2", "{\"sliding_window\": 64, \"use_sliding_window\": true}", {0, 0, 0, 0}},
        {"qwen3", "{\"sliding_window\": null, \"use_sliding_window\": true}", {0, 0, 0, 0}},
        {"qwen3",
         "{\"sliding_window\": 8, \"use_sliding_window\": true, \"layer_types\":"
         "[\"sliding_attention\", \"full_attention\", \"full_attention\", \"sliding_attention\"]}",
         {8, 0, 0, 8}},
        {"gemma2", "{\"sliding_window\": 64}", {64, 0, 64, 0}},
        {"gemma3_text", "{\"sliding_window\": 64, \"sliding_window_pattern\": 3}", {64, 64, 0, 64}},
        {"phi3", "{}", {0, 0, 0, 0}},
        {"phi3", "{\"sliding_window\": 64}", {64, 64, 64, 64}},
        {"mixtral", "{\"sliding_window\": null}", {0, 0, 0, 0}},
        {"mistral",
         "{\"sliding_window\": 64, \"layer_types\": [\"sliding_attention\", \"sliding_attention\","
         "\"sliding_attention\", \"sliding_attention\"]}",
         {64, 64, 64, 64}},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse(cases[i].family, cases[i].changes);
        for (int layer = 0; layer < 4; layer++)
            if (m->layers[layer].window != cases[i].window[layer])
                fail_msg("%s %s: layer %d has a window of %lld", cases[i].family, cases[i].changes,
                         layer, (long long)m->layers[layer].window);
        shoal_model_close(m);
    }
}

static void biases(void **state)
{
    static const struct {
        const char *family, *changes;
        bool qkv, o, mlp, qk_norm;
    } cases[] = {
        {"llama", "{}", 0, 0, 0, 0},
        {"llama", "{\"attention_bias\": true}", 1, 1, 0, 0},
        {"llama", "{\"mlp_bias\": true}", 0, 0, 1, 0},
        {"mistral", "{\"attention_bias\": true, \"mlp_bias\": true}", 0, 0, 0, 0},
        {"qwen2", "{}", 1, 0, 0, 0},
        {"qwen2", "{\"attention_bias\": false}", 1, 0, 0, 0},
        {"qwen3", "{\"attention_bias\": true}", 1, 1, 0, 1},
        {"qwen3", "{}", 0, 0, 0, 1},
        {"internlm2", "{}", 1, 1, 0, 0},
        {"internlm2", "{\"bias\": false, \"attention_bias\": true}", 0, 0, 0, 0},
        {"gemma", "{\"attention_bias\": true}", 1, 1, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse(cases[i].family, cases[i].changes);
        const shoal_layer *l = &m->layers[3];
        assert_int_equal(l->qkv_bias, cases[i].qkv);
        assert_int_equal(l->o_bias, cases[i].o);
        assert_int_equal(l->mlp_bias, cases[i].mlp);
        assert_int_equal(l->qk_norm, cases[i].qk_norm);
        shoal_model_close(m);
    }
}

/* Gemma's first configs say gelu where gelu by tanh is meant; nobody else's do. */
static void activations(void **state)
{
    static const struct {
        const char *family, *changes;
        shoal_activation activation;
    } cases[] = {
        {"llama", "{}", SHOAL_ACTIVATION_SILU},
        {"llama", "{\"hidden_act\": \"gelu\"}", SHOAL_ACTIVATION_GELU},
        {"llama", "{\"hidden_act\": \"gelu_new\"}", SHOAL_ACTIVATION_GELU_TANH},
        {"gemma", "{}", SHOAL_ACTIVATION_GELU_TANH},
        {"gemma", "{\"hidden_act\": \"gelu\"}", SHOAL_ACTIVATION_GELU_TANH},
        {"gemma", "{\"hidden_act\": \"silu\"}", SHOAL_ACTIVATION_SILU},
        {"gemma2", "{\"hidden_act\": \"silu\"}", SHOAL_ACTIVATION_GELU_TANH},
        {"gemma2", "{\"hidden_activation\": \"gelu\"}", SHOAL_ACTIVATION_GELU},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse(cases[i].family, cases[i].changes);
        assert_int_equal(m->layers[0].activation, cases[i].activation);
        shoal_model_close(m);
    }
}

static void heads_and_ties(void **state)
{
    static const struct {
        const char *family, *changes;
        int64_t kv_heads, head_dim;
        bool tied;
    } cases[] = {
        {"llama", "{\"num_key_value_heads\": \"-\", \"head_dim\": \"-\"}", 4, 32, false},
        {"llama", "{\"num_key_value_heads\": null, \"head_dim\": null}", 4, 32, false},
        {"mistral", "{\"num_key_value_heads\": null}", 4, 32, false},
        {"mistral", "{\"num_attention_heads\": 16, \"num_key_value_heads\": \"-\"}", 8, 32, false},
        {"qwen2", "{\"num_key_value_heads\": null, \"head_dim\": \"-\"}", 4, 32, false},
        {"qwen2", "{\"tie_word_embeddings\": true}", 2, 32, true},
        {"qwen3", "{\"head_dim\": \"-\"}", 2, 128, false},
        {"qwen3", "{\"head_dim\": null}", 2, 32, false},
        {"gemma2", "{\"head_dim\": \"-\"}", 2, 256, true},
        {"gemma3_text", "{\"tie_word_embeddings\": false}", 2, 32, false},
        {"gemma", "{\"num_key_value_heads\": \"-\", \"num_attention_heads\": \"-\"}", 16, 32, true},
        {"phi3", "{\"num_key_value_heads\": \"-\", \"head_dim\": \"-\"}", 4, 32, false},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse(cases[i].family, cases[i].changes);
        assert_int_equal(m->kv_heads, cases[i].kv_heads);
        assert_int_equal(m->head_dim, cases[i].head_dim);
        assert_int_equal(m->tied, cases[i].tied);
        if (strcmp(cases[i].family, "gemma2") != 0 && strcmp(cases[i].family, "gemma3_text") != 0)
            assert_true(m->layers[0].attention_scale == (float)(1 / sqrt((double)m->head_dim)));
        shoal_model_close(m);
    }
}

static void nested_text_config(void **state)
{
    static const char config[] =
        "{\"model_type\": \"gemma3\", \"torch_dtype\": \"bfloat16\", \"eos_token_id\": [1, 106],"
        " \"text_config\": {\"model_type\": \"gemma3_text\", \"hidden_size\": 2560,"
        " \"intermediate_size\": 10240, \"num_hidden_layers\": 34, \"sliding_window\": 1024,"
        " \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}},"
        " \"vision_config\": {\"hidden_size\": 1152}}";
    shoal_model *m;
    (void)state;
    assert_int_equal(shoal_model_parse(config, sizeof config - 1, "config.json", &m), SHOAL_OK);
    assert_string_equal(m->family, "gemma3_text");
    assert_int_equal(m->heads, 8);
    assert_int_equal(m->kv_heads, 4);
    assert_int_equal(m->head_dim, 256);
    assert_int_equal(m->vocab, 262208);
    assert_int_equal(m->eos_count, 2);
    assert_int_equal(m->dtype, SHOAL_BF16);
    assert_int_equal(m->layers[4].window, 1024);
    assert_int_equal(m->layers[5].window, 0);
    assert_int_equal(m->ropes[0].kind, SHOAL_ROPE_LINEAR);
    assert_int_equal(m->ropes[1].kind, SHOAL_ROPE_DEFAULT);
    shoal_model_close(m);
}

static void ends_of_text(void **state)
{
    static const struct {
        const char *changes;
        int32_t bos;
        int count;
        int32_t eos[4];
    } cases[] = {
        {"{}", 1, 1, {2}},
        {"{\"eos_token_id\": [7, 5, 7]}", 1, 2, {7, 5}},
        {"{\"eos_token_id\": null, \"bos_token_id\": null}", -1, 0, {0}},
        {"{\"eos_token_id\": [], \"bos_token_id\": \"-\"}", -1, 0, {0}},
        /* ids that no sampler can give are no end */
        {"{\"eos_token_id\": [319, 320, -1], \"bos_token_id\": 320}", -1, 1, {319}},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse("llama", cases[i].changes);
        assert_int_equal(m->bos, cases[i].bos);
        assert_int_equal(m->eos_count, cases[i].count);
        for (int e = 0; e < m->eos_count; e++)
            assert_int_equal(m->eos[e], cases[i].eos[e]);
        shoal_model_close(m);
    }
}

static void dtypes(void **state)
{
    static const struct {
        const char *changes;
        shoal_dtype dtype;
    } cases[] = {
        {"{\"torch_dtype\": \"float16\"}", SHOAL_F16},
        {"{\"torch_dtype\": \"torch.float32\"}", SHOAL_F32},
        {"{\"torch_dtype\": \"-\"}", SHOAL_F32},
        {"{\"torch_dtype\": \"float16\", \"dtype\": \"bfloat16\"}", SHOAL_BF16},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse("llama", cases[i].changes);
        assert_int_equal(m->dtype, cases[i].dtype);
        shoal_model_close(m);
    }
}

/* ---- refused ---- */

static const struct {
    const char *family, *changes, *says, *also;
} refusals[] = {
    {"gpt2", "{}", "'gpt2'", "llama, mistral"},
    {"a\\u001b[31m", "{}", "not known", NULL},
    {"llama", "{\"model_type\": \"-\"}", "model_type is missing", NULL},
    {"llama", "{\"model_type\": 7}", "model_type is not a string", NULL},
    /* dimensions: absent, of another type, at both ends */
    {"llama", "{\"hidden_size\": \"-\"}", "hidden_size is missing", NULL},
    {"llama", "{\"hidden_size\": null}", "hidden_size is missing", NULL},
    {"llama", "{\"hidden_size\": \"128\"}", "hidden_size is not a whole number", NULL},
    {"llama", "{\"hidden_size\": 128.0}", "hidden_size is not a whole number", NULL},
    {"llama", "{\"hidden_size\": true}", "hidden_size is not a whole number", NULL},
    {"llama", "{\"hidden_size\": 0}", "hidden_size is 0", "131072"},
    {"llama", "{\"hidden_size\": -128}", "hidden_size is -128", NULL},
    {"llama", "{\"hidden_size\": 131073}", "hidden_size is 131073", NULL},
    {"llama", "{\"num_hidden_layers\": 0}", "num_hidden_layers is 0", NULL},
    {"llama", "{\"num_hidden_layers\": 1025}", "num_hidden_layers is 1025", "1024"},
    {"llama", "{\"num_hidden_layers\": \"-\"}", "num_hidden_layers is missing", NULL},
    {"llama", "{\"num_attention_heads\": 4097}", "num_attention_heads is 4097", "4096"},
    {"llama", "{\"num_attention_heads\": \"-\"}", "num_attention_heads is missing", NULL},
    {"llama", "{\"num_key_value_heads\": 0}", "num_key_value_heads is 0", NULL},
    {"llama", "{\"num_key_value_heads\": 3}", "num_attention_heads is 4", "num_key_value_heads 3"},
    {"llama", "{\"num_key_value_heads\": 8}", "num_key_value_heads 8", NULL},
    {"llama", "{\"head_dim\": 0}", "head_dim is 0", NULL},
    {"llama", "{\"head_dim\": 33}", "head_dim is 33", "even"},
    {"llama", "{\"head_dim\": 1025}", "head_dim is 1025", "1024"},
    {"llama", "{\"head_dim\": null, \"hidden_size\": 130}", "head_dim is missing", "130"},
    {"llama",
     "{\"head_dim\": null, \"num_attention_heads\": 1, \"num_key_value_heads\": 1,"
     "\"hidden_size\": 2048}",
     "head_dim is 2048", NULL},
    {"llama", "{\"intermediate_size\": \"-\"}", "intermediate_size is missing", NULL},
    {"llama", "{\"intermediate_size\": 1048577}", "intermediate_size is 1048577", NULL},
    {"llama", "{\"vocab_size\": 4194305}", "vocab_size is 4194305", NULL},
    {"llama", "{\"vocab_size\": \"-\"}", "vocab_size is missing", NULL},
    {"baichuan", "{\"vocab_size\": 125696}", "output matrix", "125696"},
    {"baichuan", "{\"max_position_embeddings\": \"-\"}", "max_position_embeddings is missing",
     NULL},
    {"llama", "{\"max_position_embeddings\": 0}", "max_position_embeddings is 0", NULL},
    {"llama", "{\"max_position_embeddings\": 16777217}", "max_position_embeddings is", NULL},
    {"llama", "{\"rms_norm_eps\": 0}", "rms_norm_eps is 0", NULL},
    {"llama", "{\"rms_norm_eps\": -1e-5}", "rms_norm_eps is -1e-05", NULL},
    {"llama", "{\"rms_norm_eps\": 2}", "rms_norm_eps is 2", NULL},
    {"llama", "{\"rms_norm_eps\": \"1e-5\"}", "rms_norm_eps is not a number", NULL},
    {"llama", "{\"tie_word_embeddings\": 1}", "tie_word_embeddings is not true or false", NULL},
    {"llama", "{\"attention_bias\": \"yes\"}", "attention_bias", NULL},
    {"llama", "{\"hidden_act\": \"relu\"}", "hidden_act is 'relu'", "silu"},
    {"llama", "{\"torch_dtype\": \"float8_e4m3fn\"}", "torch_dtype is 'float8_e4m3fn'", NULL},
    {"llama", "{\"eos_token_id\": \"</s>\"}", "eos_token_id", NULL},
    {"llama", "{\"eos_token_id\": [2.0]}", "eos_token_id", NULL},
    {"llama", "{\"eos_token_id\": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", "more than 16",
     NULL},
    {"llama", "{\"bos_token_id\": 1.5}", "bos_token_id", NULL},
    {"llama", "{\"quantization_config\": 4}", "quantization_config is not an object", NULL},
    /* ropes */
    {"llama", "{\"rope_theta\": 0}", "rope_theta is 0", NULL},
    {"llama", "{\"rope_theta\": -10000}", "rope_theta is -10000", NULL},
    {"llama", "{\"rope_theta\": 1e300}", "rope_theta is 1e+300", NULL},
    {"llama", "{\"rope_theta\": \"10000\"}", "rope_theta is not a number", NULL},
    {"llama", "{\"rope_scaling\": {\"type\": \"ntk\", \"factor\": 2.0}}", "'ntk'", "yarn"},
    {"llama", "{\"rope_scaling\": {\"type\": \"dynamic\"}}", "factor is missing", NULL},
    {"llama", "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 65}}", "factor is 65", NULL},
    {"llama", "{\"head_dim\": 2, \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}}",
     "needs 4 dimensions", NULL},
    {"phi3", "{\"rope_scaling\": {\"type\": \"longrope\"}}", "short_factor is missing", NULL},
    {"phi3",
     "{\"head_dim\": 4, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1],"
     "\"long_factor\": [1, 1]}}",
     "short_factor has 3 numbers", "2 frequencies"},
    {"phi3",
     "{\"head_dim\": 4, \"rope_scaling\": {\"type\": \"su\", \"short_factor\": [1, 1],"
     "\"long_factor\": [1, 0]}}",
     "long_factor holds no number", "position 1"},
    {"phi3",
     "{\"head_dim\": 4, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [\"1\", 1],"
     "\"long_factor\": [1, 1]}}",
     "short_factor holds no number", "position 0"},
    {"llama", "{\"rope_scaling\": {\"type\": \"linear\"}}", "factor is missing", NULL},
    {"llama", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}", "factor is 0", NULL},
    {"llama", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 1e9}}", "factor is 1e+09",
     NULL},
    {"llama", "{\"rope_scaling\": \"linear\"}", "rope_scaling is not an object", NULL},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}}",
     "low_freq_factor is missing", NULL},
    {"llama",
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 4.0,"
     "\"high_freq_factor\": 4.0}}",
     "high_freq_factor is 4", NULL},
    {"llama",
     "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"beta_fast\": 1,"
     "\"beta_slow\": 32}}",
     "beta_fast is 1", NULL},
    {"llama",
     "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0,"
     "\"original_max_position_embeddings\": 0}}",
     "original_max_position_embeddings is 0", NULL},
    {"llama", "{\"partial_rotary_factor\": 0.1}", "partial_rotary_factor 0.1", "3 rotary"},
    {"llama", "{\"partial_rotary_factor\": 1.5}", "partial_rotary_factor is 1.5", NULL},
    {"gemma3_text", "{\"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 10000.0}}}",
     "full_attention is missing", NULL},
    {"qwen2",
     "{\"use_sliding_window\": true, \"max_window_layers\": 0, \"rope_parameters\":"
     "{\"full_attention\": {\"rope_theta\": 10000.0}}}",
     "sliding_attention is missing", NULL},
    /* windows */
    {"mistral", "{\"sliding_window\": 0}", "sliding_window is 0", NULL},
    {"mistral", "{\"sliding_window\": -1}", "sliding_window is -1", NULL},
    {"qwen2", "{\"layer_types\": [\"full_attention\"]}", "layer_types has 1 entries", "4 layers"},
    {"qwen2",
     "{\"layer_types\": [\"full_attention\", \"chunked_attention\", \"full_attention\","
     "\"full_attention\"]}",
     "'chunked_attention'", "layer 1"},
    {"qwen2", "{\"layer_types\": [1, 2, 3, 4]}", "no string", NULL},
    {"qwen2",
     "{\"sliding_window\": 64, \"use_sliding_window\": false, \"layer_types\":"
     "[\"sliding_attention\", \"full_attention\", \"full_attention\", \"full_attention\"]}",
     "there is none", "use_sliding_window"},
    {"mistral",
     "{\"sliding_window\": 64, \"layer_types\": [\"sliding_attention\", \"full_attention\","
     "\"sliding_attention\", \"full_attention\"]}",
     "layer 1 full_attention", NULL},
    {"llama",
     "{\"sliding_window\": 64, \"layer_types\": [\"sliding_attention\", \"full_attention\","
     "\"sliding_attention\", \"full_attention\"]}",
     "there is none", NULL},
    /* experts, Gemma */
    {"mixtral", "{\"num_local_experts\": 4, \"num_experts_per_tok\": 5}", "5 of 4", NULL},
    {"qwen3_moe", "{\"mlp_only_layers\": [4]}", "mlp_only_layers", NULL},
    {"qwen3_moe", "{\"mlp_only_layers\": [\"1\"]}", "mlp_only_layers", NULL},
    {"qwen3_moe", "{\"decoder_sparse_step\": 0}", "decoder_sparse_step is 0", NULL},
    {"gemma3_text", "{\"use_bidirectional_attention\": true}", "bidirectional", NULL},
    {"gemma2", "{\"query_pre_attn_scalar\": 0}", "query_pre_attn_scalar is 0", NULL},
    {"gemma3", "{}", "text_config is missing", NULL},
};

static void refused_configs(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(refusals); i++) {
        shoal_model *m = NULL;
        if (parse(refusals[i].family, refusals[i].changes, &m) != SHOAL_ERR_DATA)
            fail_msg("accepted: %s %s", refusals[i].family, refusals[i].changes);
        assert_null(m);
        if (!strstr(shoal_error_text(), refusals[i].says) ||
            (refusals[i].also && !strstr(shoal_error_text(), refusals[i].also)) ||
            strncmp(shoal_error_text(), "config.json: ", 13) != 0)
            fail_msg("%s %s: %s", refusals[i].family, refusals[i].changes, shoal_error_text());
    }
}

/* The largest allowed values are allowed, though no such model exists. */
static void caps_are_inclusive(void **state)
{
    (void)state;
    shoal_model_close(must_parse(
        "llama", "{\"hidden_size\": 131072, \"num_hidden_layers\": 1024,"
                 "\"num_attention_heads\": 4096, \"num_key_value_heads\": 4096,"
                 "\"head_dim\": 1024, \"intermediate_size\": 1048576, \"vocab_size\": 4194304,"
                 "\"max_position_embeddings\": 16777216, \"rms_norm_eps\": 1}"));
    shoal_model_close(must_parse(
        "llama", "{\"hidden_size\": 1, \"num_hidden_layers\": 1, \"num_attention_heads\": 1,"
                 "\"num_key_value_heads\": 1, \"head_dim\": 2, \"intermediate_size\": 1,"
                 "\"vocab_size\": 1, \"max_position_embeddings\": 1}"));
}

static void bad_json(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "line"},
        {"[]", "not a JSON object"},
        {"{", "line 1"},
        {"{\"model_type\": \"llama\", \"model_type\": \"qwen2\"}", "duplicate"},
        {"{\"a\": NaN}", "line 1"},
        {"{\"a\": 1e999}", "overflow"},
        {"{\"a\": 99999999999999999999}", "too big"},
        {"{} {}", "end of file"},
        {"{\"a\": \"\xff\"}", "decode"},
        {"{\"a\": \"\\u0000\"}", "NUL"},
    };
    shoal_model *m;
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(shoal_model_parse(cases[i].text, strlen(cases[i].text), "config.json", &m),
                         SHOAL_ERR_DATA);
        if (!strstr(shoal_error_text(), cases[i].says))
            fail_msg("%s: %s", cases[i].text, shoal_error_text());
        for (const char *c = shoal_error_text(); *c; c++)
            assert_true((unsigned char)*c >= 0x20);
    }
    char deep[200];
    memset(deep, '[', sizeof deep);
    assert_int_equal(shoal_model_parse(deep, sizeof deep, "config.json", &m), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "deeper than 32"));
}

/* What a config may leave out, and the two layers in four that stay dense. */
static void layers_of_experts(void **state)
{
    static const struct {
        const char *family, *changes;
        int64_t experts, chosen, intermediate, shared;
        bool renormalize;
    } cases[] = {
        {"mixtral", "{}", 8, 2, 256, 0, true},
        {"mixtral", "{\"num_local_experts\": 4, \"moe_intermediate_size\": 9}", 4, 2, 256, 0, true},
        {"qwen3_moe", "{}", 128, 8, 768, 0, false},
        {"qwen3_moe", "{\"norm_topk_prob\": true, \"moe_intermediate_size\": 96}", 128, 8, 96, 0,
         true},
        {"qwen2_moe", "{}", 60, 4, 1408, 5632, false},
        {"qwen2_moe",
         "{\"num_experts\": 5, \"num_experts_per_tok\": 3,"
         " \"shared_expert_intermediate_size\": 192}",
         5, 3, 1408, 192, false},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse(cases[i].family, cases[i].changes);
        const shoal_layer *l = &m->layers[3];
        assert_int_equal(l->mlp, SHOAL_MLP_EXPERTS);
        assert_int_equal(l->experts, cases[i].experts);
        assert_int_equal(l->experts_per_token, cases[i].chosen);
        assert_int_equal(l->intermediate, cases[i].intermediate);
        assert_int_equal(l->shared_intermediate, cases[i].shared);
        assert_int_equal(l->renormalize_experts, cases[i].renormalize);
        assert_int_equal(l->qkv_bias, strcmp(cases[i].family, "qwen2_moe") == 0);
        shoal_model_close(m);
    }
    shoal_model *m = must_parse("qwen2_moe", "{\"decoder_sparse_step\": 2, \"qkv_bias\": false,"
                                             " \"sliding_window\": 8, \"max_window_layers\": 2,"
                                             " \"use_sliding_window\": true}");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(m->layers[i].mlp, i % 2 ? SHOAL_MLP_EXPERTS : SHOAL_MLP_DENSE);
        assert_int_equal(m->layers[i].intermediate, i % 2 ? 1408 : 256);
        assert_int_equal(m->layers[i].shared_intermediate, i % 2 ? 5632 : 0);
        assert_int_equal(m->layers[i].window, i == 0 ? 8 : 0);
        assert_false(m->layers[i].qkv_bias);
    }
    shoal_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_configs),  cmocka_unit_test(golden_details),
        cmocka_unit_test(versions_agree),  cmocka_unit_test(windows),
        cmocka_unit_test(biases),          cmocka_unit_test(activations),
        cmocka_unit_test(heads_and_ties),  cmocka_unit_test(nested_text_config),
        cmocka_unit_test(ends_of_text),    cmocka_unit_test(dtypes),
        cmocka_unit_test(refused_configs), cmocka_unit_test(caps_are_inclusive),
        cmocka_unit_test(bad_json),        cmocka_unit_test(layers_of_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Quantization configs that say different things of different modules, on whole made-up models:
 * which form and which bits every weight gets, lm_head included, and what contradicts its tensors.
 * Codes and zeros are random words; what they mean is tested in test_dialect_*.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/dialect.h"
#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

enum { HIDDEN = 128, FFN = 128, VOCAB = 96, LAYERS = 2, ROLES = 7 };

static const struct {
    const char *name;
    shoal_role role;
    int n, k;
} linears[ROLES] = {
    {"self_attn.q_proj", SHOAL_ROLE_Q, HIDDEN, HIDDEN},
    {"self_attn.k_proj", SHOAL_ROLE_K, HIDDEN / 2, HIDDEN},
    {"self_attn.v_proj", SHOAL_ROLE_V, HIDDEN / 2, HIDDEN},
    {"self_attn.o_proj", SHOAL_ROLE_O, HIDDEN, HIDDEN},
    {"mlp.gate_proj", SHOAL_ROLE_GATE, FFN, HIDDEN},
    {"mlp.up_proj", SHOAL_ROLE_UP, FFN, HIDDEN},
    {"mlp.down_proj", SHOAL_ROLE_DOWN, HIDDEN, FFN},
};

/* How one module is stored. */
typedef enum { DENSE, GPTQ, MARLIN, AWQ, PACKED, BYTES } form;

typedef struct {
    form form;
    int bits, group; /* -1: one group */
} stored;

static void name_part(char *out, size_t room, const char *module, const char *part)
{
    const int length = snprintf(out, room, "%s.%s", module, part);
    assert_in_range(length, 1, room - 1);
}

static void add_words(maker *m, const char *module, const char *part, int64_t rows, int64_t columns)
{
    char name[128];
    name_part(name, sizeof name, module, part);
    uint32_t *words = maker_add(m, name, SHOAL_I32, rows, columns);
    for (int64_t i = 0; i < rows * columns; i++)
        words[i] = (uint32_t)maker_random(m);
}

static void add_floats(maker *m, const char *module, const char *part, int64_t rows,
                       int64_t columns)
{
    char name[128];
    name_part(name, sizeof name, module, part);
    maker_add_random(m, name, SHOAL_F16, rows, columns);
}

static void add_module(maker *m, const char *module, const stored *s, int n, int k)
{
    const int groups = s->group < 0 || s->form == DENSE ? 1 : k / s->group;
    char name[128];
    switch (s->form) {
    case DENSE: add_floats(m, module, "weight", n, k); return;
    case GPTQ:
        add_words(m, module, "qweight", k * s->bits / 32, n);
        add_words(m, module, "qzeros", groups, n * s->bits / 32);
        add_floats(m, module, "scales", groups, n);
        return;
    case MARLIN:
        add_words(m, module, "B", k / 16, 2 * n);
        add_words(m, module, "workspace", n / 128 * 16, 0);
        add_floats(m, module, "s", groups, n);
        return;
    case AWQ:
        add_words(m, module, "qweight", k, n / 8);
        add_words(m, module, "qzeros", groups, n / 8);
        add_floats(m, module, "scales", groups, n);
        return;
    case PACKED:
        add_words(m, module, "weight_packed", n, k * s->bits / 32);
        add_floats(m, module, "weight_scale", n, groups);
        return;
    case BYTES:
        name_part(name, sizeof name, module, "weight");
        maker_add(m, name, SHOAL_I8, n, k);
        add_floats(m, module, "weight_scale", n, groups);
        return;
    }
}

/* A model all of whose linears are stored as `usual`, but [layer 0, layer 1] of one of them as
 * `other`, and lm_head as `head`. */
typedef struct {
    stored usual;
    int linear;
    stored other[LAYERS];
    stored head;
} layout;

static void make_model(maker *m, const layout *l)
{
    char name[128];
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int i = 0; i < ROLES; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, linears[i].name);
            add_module(m, name, i == l->linear ? &l->other[layer] : &l->usual, linears[i].n,
                       linears[i].k);
        }
        snprintf(name, sizeof name, "model.layers.%d.input_layernorm", layer);
        add_floats(m, name, "weight", HIDDEN, 0);
        snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm", layer);
        add_floats(m, name, "weight", HIDDEN, 0);
    }
    add_floats(m, "model.embed_tokens", "weight", VOCAB, HIDDEN);
    add_floats(m, "model.norm", "weight", HIDDEN, 0);
    add_module(m, "lm_head", &l->head, VOCAB, HIDDEN);
}

#define CONFIG                                                                                     \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":128,"      \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":128,"               \
    "\"vocab_size\":96,\"num_hidden_layers\":2,\"max_position_embeddings\":256,"                   \
    "\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\",\"rope_theta\":10000.0,"                        \
    "\"torch_dtype\":\"float16\",\"bos_token_id\":1,\"eos_token_id\":2,"                           \
    "\"tie_word_embeddings\":false"

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} loaded;

/* `legacy`: the text lies in quantize_config.json. */
static shoal_status load(maker *m, const char *quantization, bool legacy, loaded *l)
{
    char config[4096];
    memset(l, 0, sizeof *l);
    snprintf(config, sizeof config, legacy ? CONFIG "}" : CONFIG ",\"quantization_config\":%s}",
             quantization);
    const char *folder = maker_write(m, config);
    if (legacy) {
        FILE *f = maker_open(m, "quantize_config.json");
        fputs(quantization, f);
        fclose(f);
    }
    SHOAL_TRY(shoal_model_open(folder, &l->model));
    SHOAL_TRY(shoal_checkpoint_open(folder, &l->checkpoint));
    return shoal_manifest_create(l->model, l->checkpoint, NULL, &l->manifest);
}

static void unload(maker *m, bool legacy, loaded *l)
{
    char path[320];
    shoal_manifest_destroy(l->manifest);
    shoal_checkpoint_close(l->checkpoint);
    shoal_model_close(l->model);
    maker_path(m, "quantize_config.json", path, sizeof path);
    if (legacy)
        unlink(path);
    maker_forget(m);
}

static void check_weight(const loaded *l, int layer, shoal_role role, const stored *want)
{
    static const char *const names[] = {"dense",    "gptq_v2",        "marlin",
                                        "awq-gemm", "pack-quantized", "int-quantized"};
    const shoal_weight *w = shoal_manifest_weight(l->manifest, layer, role);
    const int64_t group = want->group < 0 || want->form == DENSE ? w->k : want->group;
    if (strcmp(w->dialect->name, names[want->form]) != 0 || w->group != group ||
        w->bits != (want->form == DENSE ? 16 : want->bits))
        fail_msg("%s of layer %d: %s, %d bits, groups of %d", shoal_role_name(role), layer,
                 w->dialect->name, w->bits, (int)w->group);
    const shoal_rect all = {.n_end = w->n, .k_end = w->k};
    shoal_canonical block;
    shoal_arena *arena;
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    assert_int_equal(shoal_weight_read(l->manifest, w, &all, arena, &block), SHOAL_OK);
    shoal_arena_destroy(arena);
}

static void check_model(const char *quantization, bool legacy, const layout *want)
{
    maker m = {.seed = 3};
    loaded l;
    make_model(&m, want);
    if (load(&m, quantization, legacy, &l) != SHOAL_OK)
        fail_msg("%s: %s", quantization, shoal_error_text());
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < ROLES; i++)
            check_weight(&l, layer, linears[i].role,
                         i == want->linear ? &want->other[layer] : &want->usual);
    check_weight(&l, -1, SHOAL_ROLE_LM_HEAD, &want->head);
    unload(&m, legacy, &l);
}

static void check_refused(const char *quantization, const layout *model, const char *says)
{
    maker m = {.seed = 4};
    loaded l;
    make_model(&m, model);
    assert_int_equal(load(&m, quantization, false, &l), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), says))
        fail_msg("'%s' lacks '%s'", shoal_error_text(), says);
    unload(&m, false, &l);
}

#define GPTQ_CONFIG                                                                                \
    "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":false,\"desc_act\":false,"    \
    "\"checkpoint_format\":\"gptq_v2\",\"lm_head\":true"

/* GPTQModel: other bits and groups of some modules, others left out, lm_head quantized. */
static void gptq_dynamic(void **state)
{
    static const char text[] =
        GPTQ_CONFIG ",\"dynamic\":{\"-:model\\\\.layers\\\\.0\\\\.mlp\\\\.down\":{},"
                    "\"+:.*\\\\.mlp\\\\.down_proj\":{\"bits\":8,\"group_size\":64},"
                    "\"lm_head\":{\"bits\":8,\"group_size\":16}}}";
    const layout right = {{GPTQ, 4, 32}, 6, {{DENSE, 16, 0}, {GPTQ, 8, 64}}, {GPTQ, 8, 16}};
    layout wrong = right;
    (void)state;
    check_model(text, false, &right);
    wrong.other[0] = right.other[1];
    check_refused(text, &wrong, "model.layers.0.mlp.down_proj: the quantization config leaves it");
    wrong = right;
    wrong.other[1] = right.usual;
    check_refused(text, &wrong, "model.layers.1.mlp.down_proj.qweight");
    wrong = right;
    wrong.head.group = 32;
    check_refused(text, &wrong, "lm_head.qzeros");
}

/* Without dynamic: lm_head quantized like the rest, or dense; the config in a file of its own. */
static void gptq_plain(void **state)
{
    layout l = {{GPTQ, 4, 32}, 0, {{GPTQ, 4, 32}, {GPTQ, 4, 32}}, {GPTQ, 4, 32}};
    (void)state;
    check_model(GPTQ_CONFIG "}", false, &l);
    check_model(GPTQ_CONFIG "}", true, &l);
    l.head = (stored){DENSE, 16, 0};
    check_model(GPTQ_CONFIG "}", true, &l);
    l.other[1] = (stored){DENSE, 16, 0};
    check_model(GPTQ_CONFIG "}", false, &l);
}

/* A bias is there when its tensor is: zero or not, of one linear or another. */
static void marlin_with_biases(void **state)
{
    static const char text[] = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,"
                               "\"sym\":true,\"desc_act\":false,\"is_marlin_format\":true}";
    const stored dense = {DENSE, 16, 0};
    const layout l = {{MARLIN, 4, 64}, 5, {{MARLIN, 4, 64}, dense}, dense};
    maker m = {.seed = 5};
    loaded opened;
    (void)state;
    check_model(text, false, &l);
    make_model(&m, &l);
    maker_add_random(&m, "model.layers.0.self_attn.q_proj.bias", SHOAL_F16, HIDDEN, 0);
    maker_add(&m, "model.layers.1.mlp.down_proj.bias", SHOAL_F16, HIDDEN, 0);
    if (load(&m, text, false, &opened) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < ROLES; i++) {
            const shoal_weight *w = shoal_manifest_weight(opened.manifest, layer, linears[i].role);
            const bool has_bias = (layer == 0 && i == 0) || (layer == 1 && i == ROLES - 1);
            assert_int_equal(w->bias != NULL, has_bias);
        }
    unload(&m, false, &opened);
}

static void awq_not_converted(void **state)
{
    static const char text[] = "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,"
                               "\"zero_point\":true,\"version\":\"gemm\","
                               "\"modules_to_not_convert\":[\"v_proj\",\"gate\"]}";
    const stored dense = {DENSE, 16, 0};
    const layout l = {{AWQ, 4, 32}, 2, {dense, dense}, dense};
    (void)state;
    check_model(text, false, &l);
}

/* Groups by class, by pattern and by name; ignored modules. */
static void compressed_groups(void **state)
{
    static const char text[] =
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\","
        "\"ignore\":[\"lm_head\",\"re:.*layers\\\\.0\\\\.self_attn\\\\.o_proj$\"],"
        "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
        "\"weights\":{\"num_bits\":4,\"strategy\":\"group\",\"group_size\":32}},"
        "\"group_1\":{\"targets\":[\"re:.*o_proj\"],\"format\":\"int-quantized\","
        "\"weights\":{\"num_bits\":8,\"strategy\":\"channel\"},"
        "\"input_activations\":{\"num_bits\":8,\"dynamic\":true,\"strategy\":\"token\"}}}}";
    const stored dense = {DENSE, 16, 0};
    const layout right = {{PACKED, 4, 32}, 3, {dense, {BYTES, 8, -1}}, dense};
    layout wrong = right;
    (void)state;
    check_model(text, false, &right);
    wrong.head = right.usual;
    check_refused(text, &wrong, "lm_head: the quantization config leaves it");
    wrong = right;
    wrong.other[1] = (stored){PACKED, 8, -1};
    check_refused(text, &wrong, "o_proj.weight_packed is packed in words");
    wrong = right;
    wrong.usual.bits = 8;
    check_refused(text, &wrong, "q_proj.weight_packed has shape");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gptq_dynamic),       cmocka_unit_test(gptq_plain),
        cmocka_unit_test(marlin_with_biases), cmocka_unit_test(awq_not_converted),
        cmocka_unit_test(compressed_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

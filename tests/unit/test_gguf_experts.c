/* Experts of GGUF files: every type of block, merged in one tensor or one by one; numbers from
 * metadata; what is refused. */
#include "tests/unit/gguf_case.h"

#define EXPERTS      3
#define EXPERT_INNER 256 /* inputs of an expert's down */
#define SHARED_INNER 512

static void make_biases(gguf_maker *m, int layer)
{
    char name[64];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "blk.%d.attn_%c.bias", layer, "qkv"[i]);
        gguf_tensor(m, name, 0, 0, (i ? GGUF_KV_HEADS : GGUF_HEADS) * GGUF_HEAD_DIM);
    }
}

/* Instead of the plain MLP of layer 0: three experts in merged tensors, or in one per expert as
 * older files have them, a router, and a shared expert with its own. */
static void make_experts(gguf_maker *m, uint32_t type, bool merged)
{
    static const char *const linears[] = {"gate", "up", "down"};
    char name[64];
    gguf_model(m, "qwen2moe", type);
    for (int i = 0; i < 3; i++) {
        const uint64_t rows = i < 2 ? EXPERT_INNER : GGUF_HIDDEN;
        const uint64_t inner = i < 2 ? GGUF_HIDDEN : EXPERT_INNER;
        snprintf(name, sizeof name, "blk.0.ffn_%s.weight", linears[i]);
        gguf_drop(m, name);
        snprintf(name, sizeof name, "blk.0.ffn_%s_exps.weight", linears[i]);
        if (merged)
            gguf_planes(m, name, type, EXPERTS, rows, inner);
        for (int e = 0; !merged && e < EXPERTS; e++) {
            snprintf(name, sizeof name, "blk.0.ffn_%s.%d.weight", linears[i], e);
            gguf_tensor(m, name, type, rows, inner);
        }
        snprintf(name, sizeof name, "blk.0.ffn_%s_shexp.weight", linears[i]);
        gguf_tensor(m, name, type, i < 2 ? SHARED_INNER : GGUF_HIDDEN,
                    i < 2 ? GGUF_HIDDEN : SHARED_INNER);
    }
    make_biases(m, 0);
    gguf_tensor(m, "blk.0.ffn_gate_inp.weight", 0, EXPERTS, GGUF_HIDDEN);
    gguf_tensor(m, "blk.0.ffn_gate_inp_shexp.weight", 0, 0, GGUF_HIDDEN);
    gguf_u32(m, "qwen2moe.expert_count", EXPERTS);
    gguf_u32(m, "qwen2moe.expert_used_count", 2);
    gguf_u32(m, "qwen2moe.expert_shared_feed_forward_length", SHARED_INNER);
}

/* The matrix of expert `e`, or the tensor of another name. */
static gguf_maker_tensor expert_of(gguf_maker *m, const char *linear, int e, bool merged)
{
    char name[64];
    if (e == EXPERTS)
        snprintf(name, sizeof name, "blk.0.ffn_%s_shexp.weight", linear);
    else if (merged)
        snprintf(name, sizeof name, "blk.0.ffn_%s_exps.weight", linear);
    else
        snprintf(name, sizeof name, "blk.0.ffn_%s.%d.weight", linear, e);
    gguf_maker_tensor t = *gguf_find(m, name);
    if (merged && e < EXPERTS)
        t.data += (size_t)e * t.dims[1] * t.row_bytes;
    return t;
}

static void compare_experts(uint32_t type, bool merged)
{
    static const char *const linears[] = {"gate", "up", "down"};
    gguf_maker m = {.seed = 40 + type};
    opened o;
    make_experts(&m, type, merged);
    write_and_open(&m, &o);
    const shoal_expert_set *set = &o.manifest->experts[0];
    assert_int_equal(set->count, EXPERTS + 1);
    for (int i = 0; i < set->count * SHOAL_EXPERT_LINEARS; i++) {
        const shoal_weight *w = &set->linears[i];
        const gguf_maker_tensor t = expert_of(&m, linears[i % 3], i / 3, merged);
        compare_rect(&o, w, &t, &(shoal_rect){.n_end = w->n, .k_end = w->k}, 0);
        compare_rect(&o, w, &t,
                     &(shoal_rect){.n_begin = 9, .n_end = 40, .k_begin = 24, .k_end = 152}, 0);
    }
    const shoal_weight *routers[] = {&set->router, &set->shared_router};
    for (int i = 0; i < 2; i++)
        compare_rect(
            &o, routers[i],
            gguf_find(&m, i ? "blk.0.ffn_gate_inp_shexp.weight" : "blk.0.ffn_gate_inp.weight"),
            &(shoal_rect){.n_end = routers[i]->n, .k_end = routers[i]->k}, 0);
    remove_folder(&o);
    gguf_forget(&m);
}

static void test_experts(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(block_types); i++)
        compare_experts(block_types[i], true);
    for (size_t i = 0; i < LENGTH(plain_types); i++)
        compare_experts(plain_types[i], true);
    compare_experts(12, false);
}

/* Numbers of experts from metadata, with the values that llama.cpp gives what is absent. */
static void test_expert_description(void **state)
{
    gguf_maker m = {.seed = 1};
    opened o;
    (void)state;
    make_experts(&m, 8, true); /* feed_forward_length / expert_used_count = 256 */
    write_and_open(&m, &o);
    const shoal_layer *layer = &o.model->layers[0];
    assert_string_equal(o.model->family, "qwen2_moe");
    assert_int_equal(layer->experts, EXPERTS);
    assert_int_equal(layer->experts_per_token, 2);
    assert_int_equal(layer->intermediate, EXPERT_INNER);
    assert_int_equal(layer->shared_intermediate, SHARED_INNER);
    assert_false(layer->renormalize_experts);
    remove_folder(&o);
    gguf_u32(&m, "qwen2moe.expert_gating_func", 2);
    refuse(&m, "qwen2moe.expert_gating_func is 2");
    gguf_forget(&m);

    make_experts(&m, 8, true);
    gguf_drop(&m, "blk.0.ffn_up_exps.weight");
    gguf_planes(&m, "blk.0.ffn_up_exps.weight", 8, EXPERTS - 1, EXPERT_INNER, GGUF_HIDDEN);
    refuse(&m, "blk.0.ffn_up.2");
    gguf_forget(&m);

    make_experts(&m, 8, true); /* an expert too many */
    gguf_drop(&m, "blk.0.ffn_up_exps.weight");
    gguf_planes(&m, "blk.0.ffn_up_exps.weight", 8, EXPERTS + 1, EXPERT_INNER, GGUF_HIDDEN);
    refuse(&m, "does not use: blk.0.ffn_up.3.weight");
    gguf_forget(&m);
}

/* What config.json says by mlp_only_layers, a file says by its tensors. */
static void test_dense_layers(void **state)
{
    static const char *const linears[] = {"blk.1.ffn_gate.weight", "blk.1.ffn_up.weight",
                                          "blk.1.ffn_down.weight"};
    gguf_maker m = {.seed = 2, .layers = 2};
    opened o;
    (void)state;
    make_experts(&m, 8, true);
    make_biases(&m, 1);
    write_and_open(&m, &o);
    assert_int_equal(o.model->layers[0].mlp, SHOAL_MLP_EXPERTS);
    assert_int_equal(o.model->layers[1].mlp, SHOAL_MLP_DENSE);
    assert_int_equal(o.model->layers[1].intermediate, GGUF_INTERMEDIATE);
    for (int i = 0; i < 3; i++) {
        const shoal_weight *w =
            shoal_manifest_weight(o.manifest, 1, (shoal_role)(SHOAL_ROLE_GATE + i));
        compare_rect(&o, w, gguf_find(&m, linears[i]), &(shoal_rect){.n_end = w->n, .k_end = w->k},
                     0);
    }
    remove_folder(&o);
    gguf_drop(&m, linears[0]); /* neither the one nor the other */
    refuse(&m, "blk.1.ffn_gate_inp");
    gguf_forget(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_experts),
                                       cmocka_unit_test(test_expert_description),
                                       cmocka_unit_test(test_dense_layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

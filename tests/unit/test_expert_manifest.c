/* Mixtures of experts in the ledger: what is missing, too much or of another shape is named; the
 * walk over a manifest meets every expert once; routers stay as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

#define HIDDEN    32
#define VOCAB     40
#define FFN       24
#define SHARED    48
#define EXPERTS   3
#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

#define MLP "model.layers.0.mlp."

static const char config[] =
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 32, \"num_hidden_layers\": 1,"
    " \"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"intermediate_size\": 64,"
    " \"moe_intermediate_size\": 24, \"shared_expert_intermediate_size\": 48, \"num_experts\": 3,"
    " \"num_experts_per_tok\": 2, \"vocab_size\": 40, \"max_position_embeddings\": 64,"
    " \"qkv_bias\": false}";

static void add_mlp(maker *m, const char *prefix, int64_t intermediate)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    char name[128];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, MLP "%s%s.weight", prefix, names[i]);
        maker_add_random(m, name, SHOAL_BF16, i < 2 ? intermediate : HIDDEN,
                         i < 2 ? HIDDEN : intermediate);
    }
}

static void make_model(maker *m)
{
    static const char *const square[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    char name[128];
    maker_add_random(m, "model.embed_tokens.weight", SHOAL_BF16, VOCAB, HIDDEN);
    for (size_t i = 0; i < LENGTH(square); i++) {
        snprintf(name, sizeof name, "model.layers.0.self_attn.%s.weight", square[i]);
        maker_add_random(m, name, SHOAL_BF16, HIDDEN, HIDDEN);
    }
    maker_add_random(m, "model.layers.0.input_layernorm.weight", SHOAL_BF16, HIDDEN, 0);
    maker_add_random(m, "model.layers.0.post_attention_layernorm.weight", SHOAL_BF16, HIDDEN, 0);
    maker_add_random(m, MLP "gate.weight", SHOAL_BF16, EXPERTS, HIDDEN);
    maker_add_random(m, MLP "shared_expert_gate.weight", SHOAL_BF16, 1, HIDDEN);
    for (int e = 0; e < EXPERTS; e++) {
        snprintf(name, sizeof name, "experts.%d.", e);
        add_mlp(m, name, FFN);
    }
    add_mlp(m, "shared_expert.", SHARED);
    maker_add_random(m, "model.norm.weight", SHOAL_BF16, HIDDEN, 0);
    maker_add_random(m, "lm_head.weight", SHOAL_BF16, VOCAB, HIDDEN);
}

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} loaded;

static shoal_status load(maker *m, const char *quantize, loaded *l)
{
    const char *folder = maker_write(m, config);
    const shoal_manifest_options options = {.quantize = quantize};
    *l = (loaded){NULL, NULL, NULL};
    assert_int_equal(shoal_model_open(folder, &l->model), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_open(folder, &l->checkpoint), SHOAL_OK);
    return shoal_manifest_create(l->model, l->checkpoint, &options, &l->manifest);
}

static void unload(maker *m, loaded *l)
{
    shoal_manifest_destroy(l->manifest);
    shoal_checkpoint_close(l->checkpoint);
    shoal_model_close(l->model);
    maker_forget(m);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void lost_expert(maker *m)
{
    maker_remove(m, MLP "experts.1.up_proj.weight");
}

static void lost_router(maker *m)
{
    maker_remove(m, MLP "gate.weight");
}

static void lost_shared_router(maker *m)
{
    maker_remove(m, MLP "shared_expert_gate.weight");
}

static void one_expert_more(maker *m)
{
    add_mlp(m, "experts.3.", FFN);
}

static void narrow_expert(maker *m)
{
    maker_find(m, MLP "experts.2.down_proj.weight")->shape[1] = FFN / 2;
    maker_find(m, MLP "experts.2.down_proj.weight")->shape[0] = HIDDEN * 2;
}

static void wide_router(maker *m)
{
    maker_remove(m, MLP "gate.weight");
    maker_add_random(m, MLP "gate.weight", SHOAL_BF16, EXPERTS + 1, HIDDEN);
}

static void plain_mlp_beside(maker *m)
{
    add_mlp(m, "", 64);
}

static void problems_are_named(void **state)
{
    static const struct {
        void (*change)(maker *m);
        const char *says[2];
    } cases[] = {
        {lost_expert, {"mlp.experts.1.up_proj", "needs it"}},
        {lost_router, {"mlp.gate", "needs it"}},
        {lost_shared_router, {"mlp.shared_expert_gate", "needs it"}},
        {one_expert_more, {"mlp.experts.3.gate_proj.weight", "does not use"}},
        {narrow_expert, {"mlp.experts.2.down_proj.weight", "[64, 12]"}},
        {wide_router, {"mlp.gate.weight", "[4, 32]"}},
        {plain_mlp_beside, {"mlp.gate_proj.weight", "does not use"}},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        maker m = {.seed = i};
        loaded l;
        make_model(&m);
        cases[i].change(&m);
        assert_int_equal(load(&m, NULL, &l), SHOAL_ERR_DATA);
        for (int s = 0; s < 2; s++)
            if (!strstr(shoal_error_text(), cases[i].says[s]))
                fail_msg("case %zu: %s", i, shoal_error_text());
        unload(&m, &l);
    }
}

/* Every place once, in order, under its own name. */
static void walk_meets_every_expert(void **state)
{
    (void)state;
    maker m = {.seed = 9};
    loaded l;
    int experts = 0, shared = 0, routers = 0, others = 0;
    make_model(&m);
    assert_int_equal(load(&m, "int8", &l), SHOAL_OK);
    for (size_t i = 0; i < shoal_manifest_count(l.manifest); i++) {
        const shoal_weight *w = shoal_manifest_at(l.manifest, i);
        char name[SHOAL_TENSOR_NAME_MAX];
        if (!w->present)
            continue;
        shoal_weight_name(l.manifest, w, name, sizeof name);
        if (w->expert == SHOAL_EXPERT_SHARED) {
            assert_non_null(strstr(name, MLP "shared_expert."));
            assert_int_equal(w->role == SHOAL_ROLE_DOWN ? w->k : w->n, SHARED);
            shared++;
        } else if (w->expert > 0) {
            char expected[64];
            snprintf(expected, sizeof expected, MLP "experts.%d.", w->expert - 1);
            assert_non_null(strstr(name, expected));
            assert_int_equal(w->kind, SHOAL_WEIGHT_INT8);
            assert_ptr_equal(shoal_manifest_sibling(l.manifest, w, w->role), w);
            experts++;
        } else if (shoal_role_routes(w->role)) {
            assert_int_equal(w->kind, SHOAL_WEIGHT_FLOAT); /* --quantize leaves them alone */
            routers++;
        } else {
            others++;
        }
    }
    assert_int_equal(experts, 3 * EXPERTS);
    assert_int_equal(shared, 3);
    assert_int_equal(routers, 2);
    assert_int_equal(others, 4 + 2 + 3);
    assert_ptr_equal(shoal_manifest_example(l.manifest, SHOAL_ROLE_UP),
                     shoal_expert_weight(&l.manifest->experts[0], 0, SHOAL_ROLE_UP));
    unload(&m, &l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problems_are_named),
        cmocka_unit_test(walk_meets_every_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

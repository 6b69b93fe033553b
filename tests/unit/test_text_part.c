/* The text part of a model of text and images (Gemma 3): found wherever its writer put it, alone or
 * beside the other parts, which are left unread; what belongs to nobody is still refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

enum { HIDDEN = 64, HEADS = 4, KV = 2, HEAD = 16, FFN = 96, VOCAB = 80 };

static const char nested[] =
    "{\"model_type\":\"gemma3\",\"torch_dtype\":\"bfloat16\",\"vision_config\":{\"hidden_size\":8},"
    "\"text_config\":{\"model_type\":\"gemma3_text\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"vocab_size\":80,\"sliding_window\":16}}";

static const char plain[] =
    "{\"model_type\":\"gemma3_text\",\"torch_dtype\":\"bfloat16\",\"hidden_size\":64,"
    "\"intermediate_size\":96,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":80,\"sliding_window\":16}";

static void add_text(maker *m, const char *prefix)
{
    static const struct {
        const char *name;
        int n, k;
    } parts[] = {
        {"embed_tokens", VOCAB, HIDDEN},
        {"norm", HIDDEN, 0},
        {"layers.0.self_attn.q_proj", HEADS * HEAD, HIDDEN},
        {"layers.0.self_attn.k_proj", KV * HEAD, HIDDEN},
        {"layers.0.self_attn.v_proj", KV * HEAD, HIDDEN},
        {"layers.0.self_attn.o_proj", HIDDEN, HEADS * HEAD},
        {"layers.0.self_attn.q_norm", HEAD, 0},
        {"layers.0.self_attn.k_norm", HEAD, 0},
        {"layers.0.mlp.gate_proj", FFN, HIDDEN},
        {"layers.0.mlp.up_proj", FFN, HIDDEN},
        {"layers.0.mlp.down_proj", HIDDEN, FFN},
        {"layers.0.input_layernorm", HIDDEN, 0},
        {"layers.0.post_attention_layernorm", HIDDEN, 0},
        {"layers.0.pre_feedforward_layernorm", HIDDEN, 0},
        {"layers.0.post_feedforward_layernorm", HIDDEN, 0},
    };
    for (size_t i = 0; i < LENGTH(parts); i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s.weight", prefix, parts[i].name);
        maker_add_random(m, name, SHOAL_BF16, parts[i].n, parts[i].k);
    }
}

/* NULL ends the lists; `says`: a word of the refusal, NULL: it loads. */
typedef struct {
    const char *config, *prefix, *others[3], *says;
} part_case;

static const part_case cases[] = {
    {plain, "model.", {NULL}, NULL},
    {nested, "model.", {NULL}, NULL},
    {nested,
     "language_model.model.",
     {"vision_tower.vision_model.head.weight", "multi_modal_projector.mm_soft_emb_norm.weight"},
     NULL},
    {nested,
     "model.language_model.",
     {"model.vision_tower.embeddings.weight", "model.multi_modal_projector.norm.weight"},
     NULL},
    {nested, "language_model.model.", {"language_model.lm_head.weight"}, NULL},
    {nested, "language_model.model.", {"audio_tower.conv.weight"}, "audio_tower"},
    {nested, "language_model.model.", {"language_model.model.layers.1.norm.weight"}, "layers.1"},
    {plain, "model.", {"vision_tower.head.weight"}, "vision_tower"},
    {plain, "language_model.model.", {NULL}, "model.layers.0.self_attn.q_proj"},
};

static void check_weights(const shoal_manifest *manifest, const char *prefix)
{
    char want[160], name[160];
    const shoal_weight *down = shoal_manifest_weight(manifest, 0, SHOAL_ROLE_DOWN);
    snprintf(want, sizeof want, "%slayers.0.mlp.down_proj", prefix);
    shoal_weight_name(manifest, down, name, sizeof name);
    assert_string_equal(name, want);
    strcat(want, ".weight");
    assert_string_equal(down->parts[0]->name, want);
    assert_true(shoal_manifest_weight(manifest, 0, SHOAL_ROLE_AFTER_MLP_NORM)->present);
}

static void check_case(const part_case *c)
{
    maker m = {.seed = 5};
    shoal_model *model = NULL;
    shoal_checkpoint *checkpoint = NULL;
    shoal_manifest *manifest = NULL;
    add_text(&m, c->prefix);
    for (size_t i = 0; i < LENGTH(c->others) && c->others[i]; i++)
        maker_add_random(&m, c->others[i], SHOAL_BF16, VOCAB, HIDDEN);
    const char *folder = maker_write(&m, c->config);
    assert_int_equal(shoal_model_open(folder, &model), SHOAL_OK);
    assert_int_equal(model->text_part, c->config == nested);
    assert_int_equal(shoal_checkpoint_open(folder, &checkpoint), SHOAL_OK);
    const shoal_status st = shoal_manifest_create(model, checkpoint, NULL, &manifest);
    if (st != (c->says ? SHOAL_ERR_DATA : SHOAL_OK))
        fail_msg("%s: %s", c->prefix, shoal_error_text());
    if (c->says && !strstr(shoal_error_text(), c->says))
        fail_msg("'%s' lacks '%s'", shoal_error_text(), c->says);
    if (st == SHOAL_OK)
        check_weights(manifest, c->prefix);
    shoal_manifest_destroy(manifest);
    shoal_checkpoint_close(checkpoint);
    shoal_model_close(model);
    maker_forget(&m);
}

static void the_text_part_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        check_case(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_part_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

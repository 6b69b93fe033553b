/* tests/support/make_model.c - write one of a few made-up models to a folder, for the tests that
 * drive the program from outside.
 *
 *     make_model NAME OUT      OUT must not exist; its parent must
 *
 * "long" is small but long enough to matter: random int4 weights, a sliding window shorter than
 * a prompt, an intermediate size that is no whole number of units, a vocabulary that is no whole
 * number of panels. "mixtral", "least" and those with "moe" are tiny. The others are published
 * shapes with nothing in them (sparse files). */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/model_recipe.h"

static const shoal_recipe long_recipe = {
    .family = "mistral",
    .layers = 2,
    .hidden = 1024,
    .intermediate = 5504,
    .heads = 8,
    .kv_heads = 2,
    .head_dim = 128,
    .vocab = 1000,
    .context = 2048,
    .window = 300,
    .bits = 4,
    .group = 128,
    .seed = 20240607,
};

/* Mixtures of experts, small enough for a reference in an interpreter. */
static const shoal_recipe mixtral_recipe = {
    .family = "mixtral",
    .layers = 2,
    .hidden = 64,
    .intermediate = 160,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .vocab = 80,
    .context = 64,
    .experts = 4,
    .chosen = 2,
    .expert_intermediate = 160,
    .expert_bias = true,
    .seed = 31,
};

static const shoal_recipe qwen2_moe_recipe = {
    .family = "qwen2_moe",
    .layers = 3,
    .hidden = 64,
    .intermediate = 192,
    .heads = 4,
    .kv_heads = 4,
    .head_dim = 16,
    .vocab = 80,
    .context = 64,
    .qkv_bias = true,
    .experts = 6,
    .chosen = 3,
    .expert_intermediate = 96,
    .shared_intermediate = 128,
    .dense = 1,
    .expert_bias = true,
    .seed = 32,
};

static const shoal_recipe qwen3_moe_recipe = {
    .family = "qwen3_moe",
    .layers = 2,
    .hidden = 64,
    .intermediate = 128,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 24,
    .vocab = 80,
    .context = 64,
    .qk_norm = true,
    .experts = 8,
    .chosen = 2,
    .expert_intermediate = 64,
    .dense = 1,
    .bits = 4,
    .group = 32,
    .act_order = true,
    .seed = 33,
};

/* As little as every verb takes, for tests that run it very often. */
static const shoal_recipe least_recipe = {
    .family = "llama",
    .layers = 1,
    .hidden = 64,
    .intermediate = 96,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .vocab = 80,
    .context = 64,
    .bits = 4,
    .group = 32,
    .seed = 34,
};

static const struct {
    const char *name;
    const shoal_recipe *recipe;
} models[] = {
    {"long", &long_recipe},
    {"least", &least_recipe},
    {"mixtral", &mixtral_recipe},
    {"qwen2-moe", &qwen2_moe_recipe},
    {"qwen3-moe", &qwen3_moe_recipe},
    {"llama31-70b", &shoal_recipe_llama31_70b},
    {"qwen25-72b", &shoal_recipe_qwen25_72b},
    {"llama31-405b", &shoal_recipe_llama31_405b},
};

#define MODEL_COUNT (sizeof models / sizeof *models)

static int usage(void)
{
    (void)fprintf(stderr, "usage: make_model NAME OUT, where NAME is one of");
    for (size_t i = 0; i < MODEL_COUNT; i++)
        (void)fprintf(stderr, " %s", models[i].name);
    (void)fputc('\n', stderr);
    return 64;
}

/* Models are made in a folder of their own under $TMPDIR; beside OUT it can become OUT by name. */
static int make(const shoal_recipe *recipe, const char *out)
{
    char parent[4096];
    if (snprintf(parent, sizeof parent, "%s", out) >= (int)sizeof parent ||
        setenv("TMPDIR", dirname(parent), 1) != 0) {
        (void)fprintf(stderr, "make_model: cannot use %s\n", out);
        return 73;
    }
    shoal_maker *maker = shoal_recipe_make(recipe);
    const int failed = rename(shoal_maker_path(maker), out);
    if (failed)
        (void)fprintf(stderr, "make_model: %s: %s\n", out, strerror(errno));
    shoal_maker_end(maker);
    return failed ? 73 : 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return usage();
    for (size_t i = 0; i < MODEL_COUNT; i++)
        if (strcmp(argv[1], models[i].name) == 0)
            return make(models[i].recipe, argv[2]);
    return usage();
}

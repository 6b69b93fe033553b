/* Made-up mixtures of experts from end to end: any number of ranks, chunk, batch, threads and level
 * gives the bits of one rank, and every rank reads and holds exactly what the plan says; the same
 * model as a GGUF file gives the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "coordinator/engine.h"
#include "coordinator/runner.h"
#include "kernels/cpu.h"
#include "shard/convert.h"
#include "tests/support/gguf_twin.h"
#include "tests/support/model_recipe.h"

#define VOCAB  96
#define TOKENS 24
#define RUNS   3

static int32_t prompts[RUNS][TOKENS];

static const shoal_recipe recipes[] = {
    {.family = "mixtral",
     .layers = 2,
     .hidden = 128,
     .intermediate = 320,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .experts = 4,
     .chosen = 2,
     .expert_intermediate = 320,
     .expert_bias = true,
     .seed = 21},
    {.family = "qwen3_moe", /* experts of less than a unit, a plain layer before them */
     .layers = 2,
     .hidden = 192,
     .intermediate = 256,
     .heads = 6,
     .kv_heads = 3,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qk_norm = true,
     .experts = 8,
     .chosen = 3,
     .expert_intermediate = 96,
     .dense = 1,
     .renormalize = true,
     .bits = 4,
     .group = 32,
     .seed = 22},
    {.family = "qwen2_moe", /* three sizes: plain, shared, experts */
     .layers = 3,
     .hidden = 128,
     .intermediate = 384,
     .heads = 4,
     .kv_heads = 4,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qkv_bias = true,
     .experts = 5,
     .chosen = 2,
     .expert_intermediate = 256,
     .shared_intermediate = 448,
     .dense = 1,
     .expert_bias = true,
     .bits = 8,
     .group = 64,
     .seed = 23},
    {.family = "qwen3_moe", /* every expert in an order of its own */
     .layers = 1,
     .hidden = 128,
     .intermediate = 128,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .vocab = VOCAB,
     .context = 64,
     .qk_norm = true,
     .experts = 6,
     .chosen = 2,
     .expert_intermediate = 384,
     .bits = 4,
     .group = 64,
     .act_order = true,
     .seed = 24},
};
#define RECIPES ((int)(sizeof recipes / sizeof recipes[0]))

typedef struct {
    int ranks, threads;
    int64_t chunk;
    const char *cpu, *quantize;
    shoal_activations activations;
    bool whole_experts;
} setting;

static shoal_status keep_row(void *context, int run, int64_t row, const float *logits,
                             int64_t vocab)
{
    float *out = context;
    memcpy(out + ((int64_t)run * TOKENS + row) * vocab, logits, (size_t)vocab * sizeof(float));
    return SHOAL_OK;
}

static void check_promise(const shoal_engine *engine)
{
    for (int r = 0; r < engine->ranks; r++) {
        assert_int_equal(engine->memory[r].measured_read, engine->memory[r].planned_read);
        /* slots of a communicator are rounded up to its pages */
        const uint64_t planned = engine->memory[r].planned_resident;
        assert_in_range(engine->memory[r].measured_resident, planned, planned + planned / 100);
    }
}

/* Logits of the first `count` prompts, run together, into `out`. */
static void run(const char *model, const setting *s, int count, float *out)
{
    shoal_engine *engine = NULL;
    shoal_engine_request request = {.ranks = s->ranks, .ranks_given = true, .emulate = s->ranks};
    shoal_run runs[RUNS] = {0};
    const shoal_run_hooks hooks = {.on_row = keep_row, .context = out};
    shoal_worker_defaults(&request.settings);
    request.settings.model = model;
    request.settings.threads = s->threads;
    request.settings.prefill_chunk = s->chunk;
    request.settings.cpu = s->cpu;
    request.settings.quantize = s->quantize;
    request.settings.activations = s->activations;
    request.settings.expert_parallel = s->whole_experts;
    request.settings.max_sequences = RUNS;
    request.settings.probe = s->ranks == 3;
    if (shoal_engine_open(&request, &engine) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    check_promise(engine);
    for (int i = 0; i < count; i++)
        runs[i] = (shoal_run){
            .prompt = prompts[i], .prompt_count = TOKENS - 5 * i, .want = SHOAL_WANT_LOGITS};
    if (shoal_run_all(engine, s->chunk, runs, count, &hooks, NULL) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
}

static void expect_same(const char *model, const setting *s, const float *want, int count)
{
    float *got = calloc((size_t)RUNS * TOKENS * VOCAB, sizeof *got);
    assert_non_null(got);
    run(model, s, count, got);
    if (memcmp(got, want, (size_t)TOKENS * VOCAB * sizeof *got) != 0)
        fail_msg("%s: %d ranks, %d threads, chunks of %d, %d prompts, %s: other bits", model,
                 s->ranks, s->threads, (int)s->chunk, count, s->cpu ? s->cpu : "best level");
    free(got);
}

/* `base` in many ways against itself. */
static void many_ways(const char *model, setting base)
{
    static const setting ways[] = {
        {.ranks = 2, .threads = 1, .chunk = 256}, {.ranks = 3, .threads = 1, .chunk = 7},
        {.ranks = 5, .threads = 1, .chunk = 256}, {.ranks = 7, .threads = 2, .chunk = 5},
        {.ranks = 1, .threads = 3, .chunk = 1},
    };
    static float want[RUNS * TOKENS * VOCAB];
    base.ranks = base.threads = 1;
    base.chunk = 256;
    run(model, &base, 1, want);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        setting s = base;
        s.ranks = ways[i].ranks;
        s.threads = ways[i].threads;
        s.chunk = ways[i].chunk;
        s.whole_experts = i % 2;
        expect_same(model, &s, want, i % 2 ? RUNS : 1);
    }
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
        setting s = base;
        s.cpu = shoal_cpu_name((shoal_cpu_level)level);
        s.ranks = 1 + level % 2;
        /* the bits of bf16 products are those of one kind of machine */
        if (shoal_cpu_has((shoal_cpu_level)level) && base.activations != SHOAL_ACTIVATIONS_BF16)
            expect_same(model, &s, want, 1);
    }
}

static void any_way_gives_the_same(void **state)
{
    (void)state;
    static const shoal_activations modes[] = {SHOAL_ACTIVATIONS_AUTO, SHOAL_ACTIVATIONS_F32,
                                              SHOAL_ACTIVATIONS_BF16};
    for (int i = 0; i < RECIPES; i++) {
        shoal_maker *model = shoal_recipe_make(&recipes[i]);
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++)
            many_ways(shoal_maker_path(model), (setting){.activations = modes[m]});
        if (!recipes[i].bits)
            many_ways(shoal_maker_path(model), (setting){.quantize = "int4-g32"});
        shoal_maker_end(model);
    }
}

/* ---- the same model as a GGUF file ---- */

static const shoal_recipe gguf_recipes[] = {
    {.family = "mixtral",
     .layers = 2,
     .hidden = 128,
     .intermediate = 192,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .experts = 4,
     .chosen = 2,
     .expert_intermediate = 192,
     .seed = 31},
    {.family = "qwen2_moe",
     .layers = 2,
     .hidden = 128,
     .intermediate = 384,
     .heads = 4,
     .kv_heads = 4,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qkv_bias = true,
     .experts = 5,
     .chosen = 2,
     .expert_intermediate = 96,
     .shared_intermediate = 320,
     .seed = 32},
    {.family = "qwen3_moe",
     .layers = 2,
     .hidden = 192,
     .intermediate = 256,
     .heads = 6,
     .kv_heads = 3,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qk_norm = true,
     .experts = 8,
     .chosen = 3,
     .expert_intermediate = 64,
     .renormalize = true,
     .seed = 33},
};

/* In blocks of 256 with two levels of scales, which no width of an expert minds. */
static void blocks_give_the_same(void **state)
{
    (void)state;
    static const shoal_recipe recipe = {.family = "qwen3_moe",
                                        .layers = 2,
                                        .hidden = 256,
                                        .intermediate = 256,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_dim = 64,
                                        .vocab = VOCAB,
                                        .context = 64,
                                        .qk_norm = true,
                                        .experts = 4,
                                        .chosen = 2,
                                        .expert_intermediate = 256,
                                        .renormalize = true,
                                        .seed = 34};
    static const char *const targets[] = {"gguf:q4_k", "gguf:q6_k"};
    static float want[RUNS * TOKENS * VOCAB];
    shoal_maker *model = shoal_recipe_make(&recipe);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/blocks%d.gguf", shoal_maker_path(model), (int)i);
        const shoal_convert_listener nobody = {0};
        shoal_convert_request request = {
            .source = shoal_maker_path(model), .destination = path, .threads = 1};
        shoal_convert_result result;
        assert_int_equal(shoal_target_parse(targets[i], &request.target), SHOAL_OK);
        request.target.allow_requantize = true;
        if (shoal_convert(&request, &nobody, &result) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        run(path, &(setting){.ranks = 1, .threads = 1, .chunk = 256}, 1, want);
        for (int ranks = 2; ranks <= 5; ranks += ranks == 3 ? 2 : 1)
            expect_same(path, &(setting){.ranks = ranks, .threads = 1, .chunk = 256}, want, 1);
    }
    shoal_maker_end(model);
}

static void gguf_gives_the_same(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 5};
    static float want[RUNS * TOKENS * VOCAB];
    for (size_t i = 0; i < sizeof gguf_recipes / sizeof gguf_recipes[0]; i++) {
        gguf_maker m = {0};
        char path[512];
        shoal_maker *model = shoal_recipe_make(&gguf_recipes[i]);
        run(shoal_maker_path(model), &(setting){.ranks = 1, .threads = 1, .chunk = 256}, 1, want);
        gguf_twin(&m, &gguf_recipes[i], shoal_maker_path(model));
        snprintf(path, sizeof path, "%s/twin.gguf", shoal_maker_path(model));
        gguf_write(&m, path);
        for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++)
            expect_same(path, &(setting){.ranks = ranks[r], .threads = 1, .chunk = 256}, want, 1);
        gguf_forget(&m);
        shoal_maker_end(model);
    }
}

int main(void)
{
    for (int i = 0; i < RUNS; i++)
        for (int t = 0; t < TOKENS; t++)
            prompts[i][t] = (i * 31 + t * 17 + t * t) % VOCAB;
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_way_gives_the_same),
                                       cmocka_unit_test(gguf_gives_the_same),
                                       cmocka_unit_test(blocks_give_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

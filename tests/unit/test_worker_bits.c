/* The same bits, however the work is cut: ranks, threads, prefill chunks, batch, kernel level,
 * rounding mode found in the thread. Everything is compared with memcmp against one rank, one
 * thread, one chunk; the first rows also with a committed digest, which every compiler, level and
 * machine must reproduce. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "coordinator/engine.h"
#include "coordinator/runner.h"
#include "kernels/cpu.h"
#include "proto/digest.h"
#include "tests/support/model_recipe.h"

#define VOCAB  384
#define TOKENS 700
#define RUNS   8

/* Of bf16 activations. */
#define BF16_TOKENS 150

/* Long enough to matter: several attention chunks, a window across them, uneven units. */
static const shoal_recipe long_model = {.family = "mistral",
                                        .layers = 2,
                                        .hidden = 1024,
                                        .intermediate = 5504,
                                        .heads = 8,
                                        .kv_heads = 2,
                                        .head_dim = 128,
                                        .vocab = VOCAB,
                                        .context = 1024,
                                        .window = 300,
                                        .bits = 4,
                                        .group = 128,
                                        .seed = 5};

static shoal_maker *maker;
static int32_t prompts[RUNS][TOKENS];
static float *want;    /* [TOKENS][VOCAB] of prompts[0] alone */
static float *scratch; /* [RUNS][TOKENS][VOCAB] */

typedef struct {
    int ranks, threads;
    int64_t chunk;
    const char *cpu;
    shoal_activations activations;
    int kv;
    const char *model;
} setting;

static const setting base = {.ranks = 1, .threads = 1, .chunk = 256, .kv = -1};

static shoal_status keep_row(void *context, int run, int64_t row, const float *logits,
                             int64_t vocab)
{
    float *out = context;
    memcpy(out + ((int64_t)run * TOKENS + row) * vocab, logits, (size_t)vocab * sizeof(float));
    return SHOAL_OK;
}

static shoal_engine *open_engine(const setting *s)
{
    shoal_engine *engine = NULL;
    shoal_engine_request request = {.ranks = s->ranks, .ranks_given = true, .emulate = s->ranks};
    shoal_worker_defaults(&request.settings);
    request.settings.model = s->model ? s->model : shoal_maker_path(maker);
    request.settings.threads = s->threads;
    request.settings.prefill_chunk = s->chunk;
    request.settings.cpu = s->cpu;
    request.settings.activations = s->activations;
    request.settings.kv = s->kv;
    request.settings.max_sequences = RUNS;
    request.settings.kv_tokens = (int64_t)RUNS * 1024;
    const shoal_status st = shoal_engine_open(&request, &engine);
    if (st != SHOAL_OK)
        print_error("%s\n", shoal_error_text());
    assert_int_equal(st, SHOAL_OK);
    return engine;
}

/* Logits of the first `tokens` of the first `count` prompts, run together, into `out`. */
static void run(const setting *s, int count, int64_t tokens, float *out)
{
    shoal_engine *engine = open_engine(s);
    shoal_run runs[RUNS] = {0};
    const shoal_run_hooks hooks = {.on_row = keep_row, .context = out};
    for (int i = 0; i < count; i++)
        runs[i] = (shoal_run){
            .prompt = prompts[i], .prompt_count = tokens - 37 * i, .want = SHOAL_WANT_LOGITS};
    const shoal_status st = shoal_run_all(engine, s->chunk, runs, count, &hooks, NULL);
    if (st != SHOAL_OK)
        print_error("%s\n", shoal_error_text());
    assert_int_equal(st, SHOAL_OK);
    assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
}

static void expect_same(const setting *s, int64_t tokens, const char *what)
{
    memset(scratch, 0xff, (size_t)tokens * VOCAB * sizeof(float));
    run(s, 1, tokens, scratch);
    const int differs = memcmp(scratch, want, (size_t)tokens * VOCAB * sizeof(float));
    if (differs)
        print_error("differs: %s\n", what);
    assert_int_equal(differs, 0);
}

static void any_number_of_ranks(void **state)
{
    (void)state;
    static const int ranks[] = {2, 3, 4, 5, 7};
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        setting s = base;
        char what[32];
        s.ranks = ranks[i];
        (void)snprintf(what, sizeof what, "%d ranks", ranks[i]);
        expect_same(&s, i == 1 ? TOKENS : 300, what);
    }
}

static void threads_and_chunks(void **state)
{
    (void)state;
    static const struct {
        int threads;
        int64_t chunk, tokens;
    } cases[] = {{2, 256, 300}, {1, 1, 330}, {1, 7, 330}, {2, 257, TOKENS}, {1, 700, TOKENS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setting s = base;
        char what[64];
        s.threads = cases[i].threads;
        s.chunk = cases[i].chunk;
        (void)snprintf(what, sizeof what, "%d threads, chunks of %d", s.threads, (int)s.chunk);
        expect_same(&s, cases[i].tokens, what);
    }
}

static void alone_and_in_a_batch(void **state)
{
    (void)state;
    const int64_t tokens = 330;
    const size_t one = (size_t)TOKENS * VOCAB;
    float *alone = malloc(one * sizeof(float));
    setting s = base;
    assert_non_null(alone);
    s.ranks = 2;
    s.chunk = 64;
    run(&s, RUNS, tokens, scratch);
    assert_memory_equal(scratch, want, (size_t)tokens * VOCAB * sizeof(float));
    for (int i = 1; i < RUNS; i += 3) {
        int32_t first[TOKENS];
        memcpy(first, prompts[0], sizeof first);
        memcpy(prompts[0], prompts[i], sizeof first);
        run(&base, 1, tokens - 37 * i, alone);
        memcpy(prompts[0], first, sizeof first);
        assert_memory_equal(scratch + (size_t)i * one, alone,
                            (size_t)(tokens - 37 * i) * VOCAB * sizeof(float));
    }
    free(alone);
}

static void every_level(void **state)
{
    (void)state;
    for (shoal_cpu_level level = SHOAL_CPU_REF; level < SHOAL_CPU_LEVELS; level++) {
        setting s = base;
        if (!shoal_cpu_has(level)) {
            print_message("skipped: this machine has no %s\n", shoal_cpu_name(level));
            continue;
        }
        s.cpu = shoal_cpu_name(level);
        shoal_engine *engine = open_engine(&s);
        print_message("%-10s down_proj: decode %s, prefill %s\n", s.cpu,
                      engine->kernels[SHOAL_ROLE_DOWN].decode,
                      engine->kernels[SHOAL_ROLE_DOWN].prefill);
        assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
        expect_same(&s, level == SHOAL_CPU_REF ? 40 : 300, s.cpu);
    }
}

/* A caller that left another rounding mode behind changes nothing. */
static void rounding_mode_is_reset(void **state)
{
    (void)state;
    fesetround(FE_UPWARD);
    expect_same(&base, 40, "FE_UPWARD in the calling thread");
    fesetround(FE_TONEAREST);
}

/* So does a library that turned denormals off when it was loaded. */
static void fast_math_library_changes_nothing(void **state)
{
    (void)state;
    void *library = dlopen(FAST_MATH_LIBRARY, RTLD_NOW);
    assert_non_null(library);
#if defined(__x86_64__)
    if (!(_mm_getcsr() & 0x8040u)) {
        print_message("the loader left denormals on; set them off by hand\n");
        _mm_setcsr(_mm_getcsr() | 0x8040u);
    }
#endif
    expect_same(&base, 40, "denormals off in the calling thread");
    dlclose(library);
}

static void kv_and_activation_modes(void **state)
{
    (void)state;
    static const setting modes[] = {
        {.threads = 1, .chunk = 256, .activations = SHOAL_ACTIVATIONS_F32, .kv = SHOAL_KV_F32},
        {.threads = 1, .chunk = 256, .kv = SHOAL_KV_INT8},
        {.threads = 1, .chunk = 256, .kv = SHOAL_KV_F32},
    };
    const int64_t tokens = 300;
    const size_t bytes = (size_t)tokens * VOCAB * sizeof(float);
    float *first = malloc(bytes);
    assert_non_null(first);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        setting s = modes[i];
        s.ranks = 1;
        run(&s, 1, tokens, scratch);
        memcpy(first, scratch, bytes);
        assert_int_not_equal(memcmp(first, want, bytes), 0); /* it is another arithmetic */
        s.ranks = 3;
        s.chunk = 33;
        run(&s, 1, tokens, scratch);
        assert_memory_equal(scratch, first, bytes);
    }
    free(first);
}

/* Form bf16 at one kind of product: ranks, threads, chunks and batches against `first`. */
static void bf16_ways(setting s, const float *first)
{
    static const setting ways[] = {{.ranks = 2, .threads = 1, .chunk = 256},
                                   {.ranks = 3, .threads = 1, .chunk = 7},
                                   {.ranks = 1, .threads = 2, .chunk = 33},
                                   {.ranks = 1, .threads = 1, .chunk = 1}};
    const size_t bytes = (size_t)BF16_TOKENS * VOCAB * sizeof(float);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        s.ranks = ways[i].ranks;
        s.threads = ways[i].threads;
        s.chunk = ways[i].chunk;
        run(&s, i == 0 ? 3 : 1, BF16_TOKENS, scratch);
        assert_memory_equal(scratch, first, bytes);
    }
}

/* All levels of a kind; `first` is room for logits. */
static void bf16_kind(shoal_bf16_kind kind, float *first)
{
    setting s = base;
    bool have = false;
    s.activations = SHOAL_ACTIVATIONS_BF16;
    for (int level = SHOAL_CPU_LEVELS - 1; level >= SHOAL_CPU_REF; level--) {
        const int64_t tokens = level == SHOAL_CPU_REF ? 20 : BF16_TOKENS;
        const size_t bytes = (size_t)tokens * VOCAB * sizeof(float);
        if (!shoal_cpu_has((shoal_cpu_level)level) ||
            shoal_bf16_pick((shoal_cpu_level)level) != kind)
            continue;
        s.cpu = shoal_cpu_name((shoal_cpu_level)level);
        run(&s, 1, tokens, have ? scratch : first);
        if (have)
            assert_memory_equal(scratch, first, bytes);
        else
            bf16_ways(s, first);
        have = true;
    }
}

static void bf16_activations(void **state)
{
    (void)state;
    float *first = malloc((size_t)BF16_TOKENS * VOCAB * sizeof(float));
    assert_non_null(first);
    for (int kind = SHOAL_BF16_F32; kind <= SHOAL_BF16_AMX; kind++)
        bf16_kind((shoal_bf16_kind)kind, first);
    free(first);
}

/* Shapes that divide badly: every head dimension meets group sizes, dense and act-order. */
static void odd_shapes(void **state)
{
    (void)state;
    static const int64_t dims[] = {24, 40, 48, 64, 80, 96, 128, 192, 256};
    static const int64_t groups[] = {32, 64, 128, -1};
    static const int ranks[] = {2, 3, 7};
    int at = 0;
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        for (size_t g = 0; g < 6; g++, at++) {
            const shoal_recipe recipe = {.family = g % 2 ? "qwen2" : "llama",
                                         .layers = 2,
                                         .hidden = 256,
                                         .intermediate = 448,
                                         .heads = 6,
                                         .kv_heads = 3,
                                         .head_dim = dims[d],
                                         .vocab = VOCAB,
                                         .context = 64,
                                         .qkv_bias = g % 2,
                                         .bits = g == 5   ? 0
                                                 : g == 3 ? 8
                                                          : 4,
                                         .group = g < 4 ? groups[g] : groups[d % 3],
                                         .act_order = g == 4,
                                         .seed = 3 + (uint64_t)at};
            shoal_maker *model = shoal_recipe_make(&recipe);
            const size_t bytes = 20 * VOCAB * sizeof(float);
            float first[20 * VOCAB];
            setting s = base;
            s.model = shoal_maker_path(model);
            run(&s, 1, 20, scratch);
            memcpy(first, scratch, bytes);
            for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++) {
                s.ranks = ranks[r];
                s.cpu = (d + r) % 3 ? NULL : "ref";
                run(&s, 1, 20, scratch);
                if (memcmp(first, scratch, bytes) != 0)
                    print_error("head_dim %d, case %zu, %d ranks\n", (int)dims[d], g, s.ranks);
                assert_memory_equal(first, scratch, bytes);
            }
            shoal_maker_end(model);
        }
    }
}

/* What families do beyond Llama: stacked modules, norms after, soft caps, windows in some layers,
 * a second rope, gelu; dense, in groups, in groups with act-order. */
static void families(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        bool qk_norm, qkv_bias;
    } cases[] = {{"phi3", false, false},
                 {"internlm2", false, true},
                 {"gemma2", false, false},
                 {"gemma3_text", true, false}};
    static const setting ways[] = {{.ranks = 2, .threads = 1, .chunk = 256},
                                   {.ranks = 3, .threads = 2, .chunk = 1},
                                   {.ranks = 7, .threads = 1, .chunk = 7},
                                   {.ranks = 2, .threads = 1, .chunk = 33, .cpu = "ref"}};
    enum { ROWS = 40 };
    static float first[ROWS * VOCAB];
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (int form = 0; form < 3; form++) {
            const shoal_recipe recipe = {.family = cases[c].family,
                                         .layers = 3,
                                         .hidden = 128,
                                         .intermediate = 320,
                                         .heads = 6,
                                         .kv_heads = 3,
                                         .head_dim = 40,
                                         .vocab = VOCAB,
                                         .context = 64,
                                         .window = 16,
                                         .qk_norm = cases[c].qk_norm,
                                         .qkv_bias = cases[c].qkv_bias,
                                         .bits = form ? 4 : 0,
                                         .group = 32,
                                         .act_order = form == 2,
                                         .seed = 70 + c};
            shoal_maker *model = shoal_recipe_make(&recipe);
            setting s = base;
            s.model = shoal_maker_path(model);
            run(&s, 1, ROWS, scratch);
            memcpy(first, scratch, sizeof first);
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                s = ways[w];
                s.kv = -1;
                s.model = shoal_maker_path(model);
                run(&s, 1, ROWS, scratch);
                if (memcmp(first, scratch, sizeof first) != 0)
                    print_error("%s, form %d, way %zu\n", cases[c].family, form, w);
                assert_memory_equal(first, scratch, sizeof first);
            }
            shoal_maker_end(model);
        }
}

static void committed_digest(void **state)
{
    (void)state;
    uint8_t digest[SHOAL_XXH128_BYTES];
    char text[2 * SHOAL_XXH128_BYTES + 1];
    shoal_xxh128(want, (size_t)TOKENS * VOCAB * sizeof(float), digest);
    shoal_hex(digest, sizeof digest, text);
    assert_string_equal(text, "97d01f57ab541005e12fe7d117edb178");
}

static int set_up(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (int i = 0; i < RUNS; i++)
        for (int t = 0; t < TOKENS; t++) {
            x = x * 1664525u + 1013904223u;
            prompts[i][t] = (int32_t)((x >> 8) % VOCAB);
        }
    maker = shoal_recipe_make(&long_model);
    want = malloc((size_t)TOKENS * VOCAB * sizeof(float));
    scratch = malloc((size_t)RUNS * TOKENS * VOCAB * sizeof(float));
    if (!want || !scratch)
        return 1;
    run(&base, 1, TOKENS, want);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(want);
    free(scratch);
    shoal_maker_end(maker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_ranks),
        cmocka_unit_test(threads_and_chunks),
        cmocka_unit_test(alone_and_in_a_batch),
        cmocka_unit_test(every_level),
        cmocka_unit_test(rounding_mode_is_reset),
        cmocka_unit_test(fast_math_library_changes_nothing),
        cmocka_unit_test(kv_and_activation_modes),
        cmocka_unit_test(bf16_activations),
        cmocka_unit_test(odd_shapes),
        cmocka_unit_test(families),
        cmocka_unit_test(committed_digest),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

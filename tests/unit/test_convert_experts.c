/* Mixtures of experts as GGUF files and back: what is written is what llama.cpp's converter would
 * write, byte for byte where a test can say so; integers stay as they are; what GGUF cannot say is
 * refused, and so is a result that is not what its source is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/convert_source.h"
#include "tests/support/gguf_twin.h"
#include "tests/unit/convert_case.h"

static const shoal_recipe mixtral = {.family = "mixtral",
                                     .layers = 2,
                                     .hidden = 128,
                                     .intermediate = 192,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 32,
                                     .vocab = 96,
                                     .context = 64,
                                     .experts = 4,
                                     .chosen = 2,
                                     .expert_intermediate = 192,
                                     .seed = 51};

static const shoal_recipe qwen2_moe = {.family = "qwen2_moe",
                                       .layers = 2,
                                       .hidden = 128,
                                       .intermediate = 384,
                                       .heads = 4,
                                       .kv_heads = 4,
                                       .head_dim = 32,
                                       .vocab = 96,
                                       .context = 64,
                                       .qkv_bias = true,
                                       .experts = 3,
                                       .chosen = 2,
                                       .expert_intermediate = 96,
                                       .shared_intermediate = 160,
                                       .seed = 52};

static const shoal_recipe qwen3_moe = {.family = "qwen3_moe",
                                       .layers = 1,
                                       .hidden = 128,
                                       .intermediate = 256,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .head_dim = 32,
                                       .vocab = 96,
                                       .context = 64,
                                       .qk_norm = true,
                                       .experts = 5,
                                       .chosen = 2,
                                       .expert_intermediate = 64,
                                       .renormalize = true,
                                       .seed = 53};

static void path_in(const shoal_maker *model, const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", shoal_maker_path(model), name);
}

static shoal_status convert(const char *from, const char *to, const char *target)
{
    shoal_convert_result r;
    const shoal_convert_request request = case_request(from, to, target);
    return case_convert(&request, &r);
}

static void must_convert(const char *from, const char *to, const char *target)
{
    if (convert(from, to, target) != SHOAL_OK)
        fail_msg("%s: %s", target, shoal_error_text());
}

/* Tensors of two GGUF files: the same names, types, shapes and bytes. */
static void expect_same_tensors(const char *a, const char *b)
{
    case_model x, y;
    case_open(a, &x);
    case_open(b, &y);
    assert_int_equal(shoal_checkpoint_count(x.checkpoint), shoal_checkpoint_count(y.checkpoint));
    for (size_t i = 0; i < shoal_checkpoint_count(x.checkpoint); i++) {
        const shoal_tensor *p = shoal_checkpoint_at(x.checkpoint, i);
        const shoal_tensor *q = shoal_checkpoint_at(y.checkpoint, i);
        uint8_t *u = maker_alloc(p->bytes), *v = maker_alloc(p->bytes);
        assert_string_equal(p->name, q->name);
        assert_true(p->dtype == q->dtype && p->rank == q->rank && p->bytes == q->bytes);
        assert_int_equal(shoal_checkpoint_read(x.checkpoint, p, 0, p->bytes, u), SHOAL_OK);
        assert_int_equal(shoal_checkpoint_read(y.checkpoint, q, 0, q->bytes, v), SHOAL_OK);
        assert_memory_equal(u, v, p->bytes);
        free(u);
        free(v);
    }
    case_close(&x);
    case_close(&y);
}

/* How many tensors the file itself lists. */
static uint64_t listed(const char *path)
{
    uint8_t head[16];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    fclose(f);
    return shoal_load_le64(head + 8);
}

static void there_and_back(const shoal_recipe *recipe)
{
    char twin[512], there[512], back[512];
    gguf_maker m = {0};
    shoal_maker *model = shoal_recipe_make(recipe);
    path_in(model, "twin.gguf", twin);
    path_in(model, "there.gguf", there);
    path_in(model, "back", back);
    gguf_twin(&m, recipe, shoal_maker_path(model));
    gguf_write(&m, twin);
    must_convert(shoal_maker_path(model), there, "gguf:bf16");
    assert_int_equal(listed(there), m.count);
    expect_same_tensors(twin, there);
    must_convert(there, back, "hf:bf16");
    const shoal_difference d = case_compare(shoal_maker_path(model), back);
    assert_false(shoal_differs(&d));
    gguf_forget(&m);
    shoal_maker_end(model);
}

static void test_there_and_back(void **state)
{
    (void)state;
    there_and_back(&mixtral);
    there_and_back(&qwen2_moe);
    there_and_back(&qwen3_moe);
}

/* Integers of GPTQ are the same in blocks, and again outside of them. */
static void test_integers(void **state)
{
    static const char *const targets[] = {"gguf:q4_0", "gguf:q5_0", "gguf:q8_0"};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        shoal_recipe recipe = qwen2_moe;
        char there[512], back[512];
        recipe.bits = 4;
        recipe.group = 32;
        shoal_maker *model = shoal_recipe_make(&recipe);
        path_in(model, "there.gguf", there);
        path_in(model, "back", back);
        must_convert(shoal_maker_path(model), there, targets[i]);
        shoal_difference d = case_compare(shoal_maker_path(model), there);
        assert_false(shoal_differs(&d));
        must_convert(there, back, i == 1 ? "compressed-tensors" : "gptq_v2");
        d = case_compare(shoal_maker_path(model), back);
        assert_false(shoal_differs(&d));
        shoal_maker_end(model);
    }
}

static void refuse(const shoal_recipe *recipe, const char *says)
{
    char there[512];
    shoal_maker *model = shoal_recipe_make(recipe);
    path_in(model, "there.gguf", there);
    assert_int_equal(convert(shoal_maker_path(model), there, "gguf:bf16"), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), says))
        fail_msg("\"%s\" does not say \"%s\"", shoal_error_text(), says);
    assert_int_not_equal(access(there, F_OK), 0);
    shoal_maker_end(model);
}

static void test_refused(void **state)
{
    shoal_recipe recipe = qwen3_moe;
    (void)state;
    recipe.renormalize = false;
    refuse(&recipe, "norm_topk_prob is false, which GGUF has no form for in qwen3_moe");
    recipe = qwen2_moe;
    recipe.dense = 1;
    refuse(&recipe, "layer 0 has no experts");
    recipe = mixtral;
    recipe.expert_bias = true;
    refuse(&recipe, "experts.0.w1.bias has no name in GGUF");
}

/* What was written is held against its source: weights that are not there, or are others, are not
 * published. */
static void test_read_back(void **state)
{
    (void)state;
    static const struct {
        int64_t layers, intermediate;
        const char *says;
    } others[] = {{1, 192, "weights"}, {2, 128, "experts.0.w1 is not in"}};
    shoal_maker *model = shoal_recipe_make(&mixtral);
    shoal_convert_source source = {0};
    const char *from = shoal_maker_path(model);
    assert_int_equal(shoal_convert_source_open(from, NULL, NULL, &source), SHOAL_OK);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char there[512];
        shoal_recipe recipe = mixtral;
        recipe.layers = others[i].layers;
        recipe.intermediate = recipe.expert_intermediate = others[i].intermediate;
        shoal_maker *other = shoal_recipe_make(&recipe);
        path_in(other, "there.gguf", there);
        must_convert(shoal_maker_path(other), there, "gguf:bf16");
        assert_int_equal(shoal_convert_read_back(&source, from, there), SHOAL_ERR_INTERNAL);
        assert_non_null(strstr(shoal_error_text(), others[i].says));
        shoal_maker_end(other);
    }
    shoal_convert_source_close(&source);
    shoal_maker_end(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_read_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

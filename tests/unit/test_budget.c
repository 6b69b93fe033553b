/* tests/unit/test_budget.c - what a plan costs, before and after reading.
 *
 * Big models: sparse files with the shapes of Llama-3.1-70B, Qwen2.5-72B and Llama-3.1-405B; every
 * byte of the file is read by some rank, and little more than that. Small models with random
 * weights: every rank reads and packs its slices for real, and the counts are what was planned,
 * to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/budget.h"
#include "shard/checkpoint.h"
#include "shard/load.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "shard/plan.h"
#include "shard/slices.h"
#include "tests/support/model_recipe.h"
#include "tests/support/sanitized.h"

/* A model as it is before loading. */
typedef struct {
    shoal_maker *maker;
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
    shoal_plan *plan;
    shoal_budget *budget;
    shoal_slicing slicing;
} opened;

static void must(shoal_status st)
{
    if (st != SHOAL_OK)
        fail_msg("status %d: %s", (int)st, shoal_error_text());
}

static void open_folder(const char *path, const shoal_manifest_options *options, opened *o)
{
    must(shoal_model_open(path, &o->model));
    must(shoal_checkpoint_open(path, &o->checkpoint));
    must(shoal_manifest_create(o->model, o->checkpoint, options, &o->manifest));
    o->plan = test_malloc(sizeof *o->plan);
    o->budget = test_malloc(sizeof *o->budget);
    o->slicing = (shoal_slicing){o->manifest, o->plan, SHOAL_ACTIVATIONS_AUTO};
}

static void open_recipe(const shoal_recipe *recipe, const shoal_manifest_options *options,
                        opened *o)
{
    *o = (opened){.maker = shoal_recipe_make(recipe)};
    open_folder(shoal_maker_path(o->maker), options, o);
}

static void close_folder(opened *o)
{
    shoal_manifest_destroy(o->manifest);
    shoal_checkpoint_close(o->checkpoint);
    shoal_model_close(o->model);
    test_free(o->plan);
    test_free(o->budget);
}

static void close_recipe(opened *o)
{
    close_folder(o);
    shoal_maker_end(o->maker);
}

static void plan_for(opened *o, int ranks, const double *capacity)
{
    shoal_plan_shape shape;

    must(shoal_slices_shape(o->manifest, &shape));
    must(shoal_plan_make(&shape, ranks, capacity, o->plan));
}

static void budget_for(opened *o, uint64_t memory, int64_t context)
{
    const shoal_budget_request request = {
        .slicing = o->slicing, .kv = SHOAL_KV_F16, .context = context, .memory = memory};

    must(shoal_budget_make(&request, o->budget));
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Sums over the tensors of a checkpoint, found by the ends of their names. */
typedef struct {
    uint64_t all, norms, orders, one_kv_head;
} file_sums;

static bool ends_with(const char *text, const char *tail)
{
    const size_t a = strlen(text), b = strlen(tail);

    return a >= b && strcmp(text + a - b, tail) == 0;
}

static file_sums sum_file(const opened *o)
{
    file_sums sums = {0};

    for (size_t i = 0; i < shoal_checkpoint_count(o->checkpoint); i++) {
        const shoal_tensor *t = shoal_checkpoint_at(o->checkpoint, i);
        sums.all += t->bytes;
        if (ends_with(t->name, "norm.weight"))
            sums.norms += t->bytes;
        else if (ends_with(t->name, ".g_idx"))
            sums.orders += t->bytes;
        else if (strstr(t->name, ".k_proj.") || strstr(t->name, ".v_proj."))
            sums.one_kv_head += t->bytes / (uint64_t)o->model->kv_heads;
    }
    return sums;
}

/* Returns what all ranks read together, in files. */
static double check_big_plan(opened *o, const file_sums *sums, int ranks)
{
    const shoal_model *m = o->model;
    uint64_t read = 0, held = 0;
    int64_t kv = 0;

    plan_for(o, ranks, NULL);
    budget_for(o, 0, 8192);
    assert_true(o->budget->fits);
    for (int r = 0; r < ranks; r++) {
        const shoal_rank_budget *rank = &o->budget->rank[r];
        const int64_t heads = shoal_range_size(o->plan->rank[r].kv_heads);
        read += rank->read_bytes;
        held += rank->memory.weight_bytes;
        kv += heads;
        assert_int_equal(rank->kv_tokens, 8192);
        /* fp16 keys and values of every layer */
        assert_int_equal(rank->memory.kv_bytes,
                         m->layer_count * heads * 2 * m->head_dim * 2 * 8192);
        assert_int_equal(rank->resident_bytes, rank->memory.weight_bytes + rank->memory.kv_bytes);
    }
    const uint64_t twice = (uint64_t)(kv - m->kv_heads) * sums->one_kv_head;
    const uint64_t small = (uint64_t)ranks * (sums->norms + sums->orders);
    assert_true(read >= sums->all);
    assert_true((double)read <=
                1.01 * (double)shoal_maker_bytes(o->maker) + (double)twice + (double)small);
    if (sums->orders == 0) { /* dense: packed as it lies, padded to panels, norms widened */
        assert_true(ranks > 1 || read == sums->all);
        assert_true(held >= read - (uint64_t)ranks * sums->norms);
        assert_true((double)held <= 1.01 * (double)read);
    }
    assert_true(o->budget->imbalance >= 0);
    assert_int_equal(o->budget->reduce_bytes_per_token, m->layer_count * 2 * (m->hidden + 1) * 8);
    return (double)read / (double)shoal_maker_bytes(o->maker);
}

static void check_big(const shoal_recipe *shape, const char *name, int bits)
{
    shoal_recipe recipe = *shape;
    double slowest = 0, most = 0;
    opened o;

    recipe.bits = bits;
    shoal_maker *maker = shoal_recipe_make(&recipe);
    for (int ranks = 1; ranks <= 16; ranks += SANITIZED ? 5 : 1) {
        const double begin = seconds();
        o = (opened){.maker = maker};
        open_folder(shoal_maker_path(maker), NULL, &o);
        plan_for(&o, ranks, NULL);
        budget_for(&o, 0, 8192);
        const double took = seconds() - begin;
        slowest = took > slowest ? took : slowest;
        const file_sums sums = sum_file(&o);
        const double files = check_big_plan(&o, &sums, ranks);
        most = files > most ? files : most;
        assert_int_equal(shoal_checkpoint_bytes_read(o.checkpoint), 0);
        close_folder(&o);
    }
    print_message(
        "%s %s: %.1f GB, plans for 1 to 16 ranks, slowest %.3f s, at most %.4f files read\n", name,
        bits ? "int4" : "bf16", (double)shoal_maker_bytes(maker) * 1e-9, slowest, most);
    shoal_maker_end(maker);
}

static void test_big_models(void **state)
{
    (void)state;
    for (int bits = 0; bits <= 4; bits += 4) {
        check_big(&shoal_recipe_llama31_70b, "Llama-3.1-70B", bits);
        check_big(&shoal_recipe_qwen25_72b, "Qwen2.5-72B", bits);
        check_big(&shoal_recipe_llama31_405b, "Llama-3.1-405B", bits);
    }
}

/* The worked example: 29568 at g 128 is 116 units of 256, the last of 128. */
static void test_qwen_units(void **state)
{
    (void)state;
    shoal_recipe recipe = shoal_recipe_qwen25_72b;
    opened o;

    recipe.bits = 4;
    recipe.layers = 2;
    open_recipe(&recipe, NULL, &o);
    plan_for(&o, 8, NULL);
    assert_int_equal(o.plan->shape.unit, 256);
    for (int r = 0; r < 8; r++)
        assert_int_equal(shoal_range_size(o.plan->rank[r].units), r < 4 ? 15 : 14);
    assert_int_equal(shoal_range_size(o.plan->rank[7].intermediate), 13 * 256 + 128);
    close_recipe(&o);
}

static const shoal_recipe small[] = {
    {.family = "qwen2",
     .layers = 2,
     .hidden = 192,
     .intermediate = 320,
     .heads = 6,
     .kv_heads = 2,
     .head_dim = 32,
     .vocab = 259,
     .context = 512,
     .qkv_bias = true,
     .seed = 1},
    {.family = "llama",
     .layers = 2,
     .hidden = 256,
     .intermediate = 704,
     .heads = 8,
     .kv_heads = 4,
     .head_dim = 64,
     .vocab = 320,
     .context = 512,
     .tied = true,
     .seed = 2},
    {.family = "llama",
     .layers = 2,
     .hidden = 256,
     .intermediate = 704,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .vocab = 320,
     .context = 512,
     .bits = 4,
     .group = 128,
     .seed = 3},
    {.family = "qwen2",
     .layers = 2,
     .hidden = 256,
     .intermediate = 512,
     .heads = 4,
     .kv_heads = 1,
     .head_dim = 64,
     .vocab = 300,
     .context = 512,
     .qkv_bias = true,
     .bits = 4,
     .group = 32,
     .act_order = true,
     .seed = 4},
    {.family = "qwen3",
     .layers = 1,
     .hidden = 128,
     .intermediate = 4608,
     .heads = 3,
     .kv_heads = 3,
     .head_dim = 48,
     .vocab = 130,
     .context = 512,
     .qk_norm = true,
     .bits = 8,
     .group = -1,
     .seed = 5},
};
#define SMALL ((int)(sizeof small / sizeof small[0]))

static const shoal_weight *at(const opened *o, int layer, shoal_role role)
{
    return shoal_manifest_weight(o->manifest, layer, role);
}

/* Read one linear as a loader does; adds to the arena what a rank would hold. */
static void load_linear(const opened *o, int rank, int layer, shoal_role role,
                        const int32_t *down_order, shoal_arena *arena)
{
    const shoal_weight *weight = shoal_manifest_weight(o->manifest, layer, role);
    shoal_linear_spec spec;
    shoal_linear linear;
    shoal_rect rect;
    void *order = NULL;

    assert_true(shoal_slice_rect(&o->slicing, rank, layer, role, &rect));
    assert_true(shoal_slice_spec_of(&o->slicing, rank, at(o, layer, role), &spec));
    if (shoal_slice_in_down_order_of(o->manifest, at(o, layer, role)) && down_order)
        rect.columns = down_order + rect.n_begin;
    if (role == SHOAL_ROLE_DOWN) {
        rect.order = down_order;
    } else if (shoal_slice_reads_order_of(&o->slicing, rank, at(o, layer, role))) {
        assert_true(shoal_slice_keeps_order_of(&o->slicing, rank, at(o, layer, role)));
        must(shoal_arena_array(arena, (uint64_t)weight->k, sizeof(int32_t), &order));
        must(shoal_weight_order(o->manifest, weight, order));
        rect.order = order;
    }
    must(shoal_load_linear(o->manifest, weight, &rect, &spec, SHOAL_CPU_REF, arena, NULL, &linear));
}

static void load_norm(const opened *o, int layer, shoal_role role, shoal_arena *arena)
{
    const shoal_weight *weight = shoal_manifest_weight(o->manifest, layer, role);
    float *vector = NULL;

    if (weight->present)
        must(shoal_load_vector(o->manifest, weight, arena, &vector));
}

static void load_layer(const opened *o, int rank, int layer, shoal_arena *arena)
{
    const shoal_weight *down = shoal_manifest_weight(o->manifest, layer, SHOAL_ROLE_DOWN);
    int32_t *down_order = NULL;

    if (shoal_slice_reads_order_of(&o->slicing, rank, at(o, layer, SHOAL_ROLE_DOWN))) {
        assert_false(shoal_slice_keeps_order_of(&o->slicing, rank, at(o, layer, SHOAL_ROLE_DOWN)));
        down_order = test_malloc((size_t)down->k * sizeof *down_order);
        must(shoal_weight_order(o->manifest, down, down_order));
    }
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
        load_linear(o, rank, layer, role, down_order, arena);
    for (shoal_role role = SHOAL_ROLE_LAYER_LINEARS; role < SHOAL_ROLE_LAYER_ALL; role++)
        load_norm(o, layer, role, arena);
    if (down_order)
        test_free(down_order);
}

static void load_embedding(const opened *o, int rank, shoal_arena *arena)
{
    const shoal_tensor *table =
        shoal_manifest_weight(o->manifest, -1, SHOAL_ROLE_EMBEDDING)->parts[0];
    shoal_rect rect;
    void *rows = NULL;

    if (!shoal_slice_rect(&o->slicing, rank, -1, SHOAL_ROLE_EMBEDDING, &rect) ||
        shoal_rect_empty(&rect))
        return;
    const uint64_t row = (uint64_t)rect.k_end * shoal_dtype_bytes(table->dtype);
    const uint64_t bytes = row * (uint64_t)(rect.n_end - rect.n_begin);
    must(shoal_arena_alloc(arena, bytes, &rows));
    must(shoal_checkpoint_read(o->checkpoint, table, row * (uint64_t)rect.n_begin, bytes, rows));
}

/* Planned = measured, read and resident, for every rank of this plan. */
static void check_loaded(const opened *o)
{
    for (int r = 0; r < o->plan->ranks; r++) {
        const uint64_t before = shoal_checkpoint_bytes_read(o->checkpoint);
        shoal_arena *arena = NULL;

        must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena));
        for (int layer = 0; layer < o->model->layer_count; layer++)
            load_layer(o, r, layer, arena);
        load_linear(o, r, -1, SHOAL_ROLE_LM_HEAD, NULL, arena);
        load_norm(o, -1, SHOAL_ROLE_FINAL_NORM, arena);
        load_embedding(o, r, arena);
        assert_int_equal(shoal_checkpoint_bytes_read(o->checkpoint) - before,
                         o->budget->rank[r].read_bytes);
        assert_int_equal(shoal_arena_bytes(arena), o->budget->rank[r].memory.weight_bytes);
        shoal_arena_destroy(arena);
    }
}

static void test_planned_is_measured(void **state)
{
    (void)state;
    static const char *const quantize[] = {NULL, "int4-g128", "int8"};
    static const double uneven[] = {1, 5, 0.01};
    opened o;

    for (int i = 0; i < SMALL; i++)
        for (int q = 0; q < (small[i].bits ? 1 : 3); q++) {
            const shoal_manifest_options options = {.quantize = quantize[q]};
            open_recipe(&small[i], &options, &o);
            for (int ranks = 1; ranks <= 7; ranks += ranks < 3 ? 1 : 2) {
                plan_for(&o, ranks, ranks == 3 ? uneven : NULL);
                budget_for(&o, 0, 512);
                check_loaded(&o);
            }
            o.slicing.activations = SHOAL_ACTIVATIONS_F32;
            budget_for(&o, 0, 512);
            check_loaded(&o);
            close_recipe(&o);
        }
}

/* Settings that docs/arithmetic.md fixes per role. */
static void test_specs(void **state)
{
    (void)state;
    static const int64_t head_dims[] = {24, 64, 96, 128, 192, 256};
    shoal_recipe recipe = {.family = "llama",
                           .layers = 1,
                           .hidden = 1024,
                           .intermediate = 5504,
                           .heads = 8,
                           .kv_heads = 2,
                           .vocab = 1000,
                           .context = 512,
                           .bits = 4,
                           .group = 128};
    shoal_linear_spec spec;
    opened o;

    for (size_t i = 0; i < sizeof head_dims / sizeof head_dims[0]; i++) {
        const int64_t head_dim = recipe.head_dim = head_dims[i];
        open_recipe(&recipe, NULL, &o);
        plan_for(&o, 3, NULL);
        assert_true(shoal_slice_spec_of(&o.slicing, 1, at(&o, 0, SHOAL_ROLE_O), &spec));
        assert_int_equal(spec.unit, head_dim);
        assert_int_equal(spec.act_group, head_dim % 128 ? head_dim : 128);
        assert_int_equal(spec.k_begin, o.plan->rank[1].q_heads.begin * head_dim);
        assert_int_equal(spec.n, 1024);
        assert_int_equal(spec.group, 128);
        assert_int_equal(spec.act, SHOAL_ACT_INT8);
        assert_true(shoal_slice_spec_of(&o.slicing, 2, at(&o, 0, SHOAL_ROLE_DOWN), &spec));
        assert_int_equal(spec.unit, 256);
        assert_int_equal(spec.act_group, 128);
        assert_int_equal(spec.k_begin % 256, 0);
        assert_int_equal(spec.k_begin + spec.k, 5504);
        assert_true(shoal_slice_spec_of(&o.slicing, 0, at(&o, 0, SHOAL_ROLE_K), &spec));
        assert_int_equal(spec.n, shoal_range_size(o.plan->rank[0].kv_heads) * head_dim);
        assert_int_equal(spec.unit, 0);
        assert_int_equal(spec.k, 1024);
        assert_true(shoal_slice_spec_of(&o.slicing, 0, at(&o, -1, SHOAL_ROLE_LM_HEAD), &spec));
        assert_int_equal(spec.act, SHOAL_ACT_F32); /* left in float by GPTQ */
        assert_int_equal(spec.n, 384);             /* 16 panels over 3 ranks: 6, 5, 5 */
        assert_false(shoal_slice_spec_of(&o.slicing, 0, at(&o, -1, SHOAL_ROLE_EMBEDDING), &spec));
        assert_false(shoal_slice_spec_of(&o.slicing, 0, at(&o, 0, SHOAL_ROLE_INPUT_NORM), &spec));
        o.slicing.activations = SHOAL_ACTIVATIONS_BF16;
        assert_true(shoal_slice_spec_of(&o.slicing, 0, at(&o, 0, SHOAL_ROLE_Q), &spec));
        assert_int_equal(spec.act, SHOAL_ACT_BF16);
        assert_true(shoal_slice_spec_of(&o.slicing, 0, at(&o, -1, SHOAL_ROLE_LM_HEAD), &spec));
        assert_int_equal(spec.act, SHOAL_ACT_F32);
        o.slicing.activations = SHOAL_ACTIVATIONS_F32;
        assert_true(shoal_slice_spec_of(&o.slicing, 0, at(&o, 0, SHOAL_ROLE_Q), &spec));
        assert_int_equal(spec.act, SHOAL_ACT_F32);
        close_recipe(&o);
    }
}

static void test_act_order(void **state)
{
    (void)state;
    shoal_linear_spec spec;
    shoal_rect rect;
    opened o;

    open_recipe(&small[3], NULL, &o);
    plan_for(&o, 3, NULL);
    budget_for(&o, 0, 512);
    assert_true(shoal_slice_o_gathered(o.manifest, 0));
    assert_true(shoal_slice_in_down_order_of(o.manifest, at(&o, 0, SHOAL_ROLE_UP)));
    assert_false(shoal_slice_in_down_order_of(o.manifest, at(&o, 0, SHOAL_ROLE_Q)));
    assert_true(shoal_slice_spec_of(&o.slicing, 1, at(&o, 0, SHOAL_ROLE_O), &spec));
    assert_int_equal(spec.unit, 0);
    assert_int_equal(spec.k, 256);
    assert_int_equal(spec.act_group, 64);
    assert_true(shoal_slice_rect(&o.slicing, 1, 0, SHOAL_ROLE_O, &rect));
    assert_int_equal(rect.n_begin, o.plan->rank[1].hidden.begin);
    assert_int_equal(rect.n_end, o.plan->rank[1].hidden.end);
    /* one int64 reduce, two fp32 gathers */
    assert_int_equal(o.budget->reduce_bytes_per_token, 2 * (257 * 8 + (256 + 256) * 4));
    close_recipe(&o);
}

static void test_tied(void **state)
{
    (void)state;
    const shoal_manifest_options quantized = {.quantize = "int8"};
    shoal_rect rect;
    opened o;

    open_recipe(&small[1], NULL, &o);
    plan_for(&o, 2, NULL);
    assert_true(shoal_slice_embedding_shared(o.manifest));
    assert_false(shoal_slice_rect(&o.slicing, 0, -1, SHOAL_ROLE_EMBEDDING, &rect));
    close_recipe(&o);
    open_recipe(&small[1], &quantized, &o);
    plan_for(&o, 2, NULL);
    assert_false(shoal_slice_embedding_shared(o.manifest));
    assert_true(shoal_slice_rect(&o.slicing, 1, -1, SHOAL_ROLE_EMBEDDING, &rect));
    assert_int_equal(rect.n_begin, 192);
    assert_int_equal(rect.n_end, 320);
    close_recipe(&o);
}

/* A limit of exactly what is needed fits, one byte less does not; the advice given is true. */
static void test_memory(void **state)
{
    (void)state;
    shoal_recipe recipe = shoal_recipe_llama31_70b;
    opened o;

    recipe.bits = 4;
    open_recipe(&recipe, NULL, &o);
    plan_for(&o, 3, NULL);
    budget_for(&o, 0, 8192);
    const uint64_t needed = o.budget->memory_needed;
    uint64_t other[3] = {1000, 2000, 3000};
    shoal_budget_request request = {.slicing = o.slicing,
                                    .kv = SHOAL_KV_F16,
                                    .context = 8192,
                                    .memory = needed + 3000,
                                    .other_bytes = other};
    must(shoal_budget_make(&request, o.budget));
    assert_true(o.budget->fits);
    assert_true(o.budget->kv_tokens >= 8192);
    must(shoal_budget_check(&request, o.budget));
    assert_int_equal(o.budget->rank[2].memory.other_bytes, 3000);

    request.other_bytes = NULL;
    request.memory = needed - 1;
    must(shoal_budget_make(&request, o.budget));
    assert_false(o.budget->fits);
    assert_int_equal(o.budget->kv_tokens, 8192 - SHOAL_PAGE);
    assert_int_equal(o.budget->memory_needed, needed);
    shoal_mem_fail_nth(1);
    assert_int_equal(shoal_budget_check(&request, o.budget), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_budget_check(&request, o.budget), SHOAL_ERR_NOFIT);
    print_message("%s\n", shoal_error_text());
    char expected[64];
    snprintf(expected, sizeof expected, "--memory %llu", (unsigned long long)needed);
    assert_non_null(strstr(shoal_error_text(), expected));
    assert_non_null(strstr(shoal_error_text(), "8176 tokens"));
    const char *advice = strstr(shoal_error_text(), "-n ");
    assert_non_null(advice);
    plan_for(&o, atoi(advice + 3), NULL);
    must(shoal_budget_make(&request, o.budget));
    assert_true(o.budget->fits);

    plan_for(&o, 3, NULL);
    request.memory = 1 << 20;
    must(shoal_budget_make(&request, o.budget));
    assert_int_equal(o.budget->kv_tokens, 0);
    assert_int_equal(shoal_budget_check(&request, o.budget), SHOAL_ERR_NOFIT);
    assert_null(strstr(shoal_error_text(), "-n "));
    close_recipe(&o);
}

/* Ranks without any head need no pages and limit nobody. */
static void test_more_ranks_than_heads(void **state)
{
    (void)state;
    opened o;

    open_recipe(&small[0], NULL, &o);
    plan_for(&o, 16, NULL);
    budget_for(&o, 100u << 20, 512);
    assert_int_equal(o.budget->rank[15].memory.kv_bytes, 0);
    assert_int_equal(o.budget->rank[15].kv_tokens, 512);
    assert_true(o.budget->rank[0].kv_tokens > 512);
    check_loaded(&o);
    close_recipe(&o);
}

static void test_activations(void **state)
{
    (void)state;
    shoal_activations found = SHOAL_ACTIVATIONS_AUTO;

    assert_true(shoal_activations_parse("f32", &found));
    assert_int_equal(found, SHOAL_ACTIVATIONS_F32);
    assert_false(shoal_activations_parse("fp8", &found));
    assert_int_equal(found, SHOAL_ACTIVATIONS_F32);
    assert_true(shoal_activations_parse("bf16", &found));
    assert_int_equal(found, SHOAL_ACTIVATIONS_BF16);
    assert_string_equal(shoal_activations_name(SHOAL_ACTIVATIONS_INT8), "int8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_big_models),
        cmocka_unit_test(test_qwen_units),
        cmocka_unit_test(test_planned_is_measured),
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_act_order),
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_more_ranks_than_heads),
        cmocka_unit_test(test_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

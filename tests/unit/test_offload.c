/* Where weights lie: what SPEC may say, which places a memory limit makes stream (every small
 * case), and that plan and budget count what is held and what is streamed to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/budget.h"
#include "shard/offload.h"
#include "tests/support/model_recipe.h"

#define LAYERS 5

static const shoal_recipe experts = {.family = "qwen2_moe",
                                     .layers = LAYERS,
                                     .hidden = 64,
                                     .intermediate = 192,
                                     .heads = 4,
                                     .kv_heads = 4,
                                     .head_dim = 16,
                                     .vocab = 80,
                                     .context = 64,
                                     .qkv_bias = true,
                                     .experts = 3,
                                     .chosen = 2,
                                     .expert_intermediate = 96,
                                     .shared_intermediate = 128,
                                     .dense = 2,
                                     .bits = 4,
                                     .group = 32,
                                     .seed = 5};

typedef struct {
    shoal_maker *maker;
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
    shoal_plan plan;
    shoal_slicing slicing;
} opened;

static void must(shoal_status st)
{
    if (st != SHOAL_OK)
        fail_msg("status %d: %s", (int)st, shoal_error_text());
}

static opened *open_model(const shoal_recipe *recipe, int ranks)
{
    opened *o = calloc(1, sizeof *o);
    shoal_plan_shape shape;
    assert_non_null(o);
    o->maker = shoal_recipe_make(recipe);
    must(shoal_model_open(shoal_maker_path(o->maker), &o->model));
    must(shoal_checkpoint_open(shoal_maker_path(o->maker), &o->checkpoint));
    must(shoal_manifest_create(o->model, o->checkpoint, NULL, &o->manifest));
    must(shoal_slices_shape(o->manifest, &shape));
    must(shoal_plan_make(&shape, ranks, NULL, &o->plan));
    o->slicing = (shoal_slicing){o->manifest, &o->plan, SHOAL_ACTIVATIONS_AUTO};
    return o;
}

static void close_model(opened *o)
{
    shoal_manifest_destroy(o->manifest);
    shoal_checkpoint_close(o->checkpoint);
    shoal_model_close(o->model);
    shoal_maker_end(o->maker);
    free(o);
}

/* ---- SPEC ------------------------------------------------------------------------------------ */

static shoal_placement placed(const opened *o, int layer, shoal_role role)
{
    return shoal_manifest_weight(o->manifest, layer, role)->placement;
}

static void test_spec(void **state)
{
    (void)state;
    opened *o = open_model(&experts, 1);
    bool streams;

    must(shoal_offload_mark(o->manifest, "mmap", &streams));
    assert_true(streams);
    assert_int_equal(placed(o, 0, SHOAL_ROLE_DOWN), SHOAL_PLACED_FREE);
    assert_int_equal(placed(o, -1, SHOAL_ROLE_LM_HEAD), SHOAL_PLACED_FREE);
    assert_int_equal(placed(o, -1, SHOAL_ROLE_EMBEDDING), SHOAL_PLACED_HOST);
    assert_int_equal(placed(o, 0, SHOAL_ROLE_INPUT_NORM), SHOAL_PLACED_HOST);
    assert_int_equal(o->manifest->experts[3].linears[2].placement, SHOAL_PLACED_FREE);

    /* the first match decides, also where a later rule matches; a regex may have commas and '=' */
    must(shoal_offload_mark(
        o->manifest,
        "layers\\.[01]\\..*[gk]_proj=pinned,.*(x=mmapx|\\.up_proj){1,2}$=mmap,mmap,host",
        &streams));
    assert_true(streams);
    assert_int_equal(placed(o, 1, SHOAL_ROLE_K), SHOAL_PLACED_PINNED);
    assert_int_equal(placed(o, 2, SHOAL_ROLE_K), SHOAL_PLACED_FREE);
    assert_int_equal(placed(o, 1, SHOAL_ROLE_UP), SHOAL_PLACED_STREAMED);
    assert_int_equal(o->manifest->experts[2].linears[1].placement, SHOAL_PLACED_STREAMED);

    must(shoal_offload_mark(o->manifest, "lm_head=pinned", &streams));
    assert_false(streams);
    assert_int_equal(placed(o, -1, SHOAL_ROLE_LM_HEAD), SHOAL_PLACED_PINNED);
    assert_int_equal(placed(o, 1, SHOAL_ROLE_UP), SHOAL_PLACED_HOST);

    static const char *const bad[][2] = {
        {"", "'' is neither"},
        {"mmap,", "'' is neither"},
        {"disk", "'disk' is neither"},
        {"down=disk", "'down=disk' is neither"},
        {"down=mmapped", "'down=mmapped' is neither"},
        {"host,down", "'down' is neither"},
        {"=mmap", "a regex of 0 characters"},
        {"a(=mmap", "'a(': "},
        {"down_proj=host,nothing=mmap", "rule 2 matches no linear"},
        {"norm=mmap", "rule 1 matches no linear"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(shoal_offload_mark(o->manifest, bad[i][0], &streams), SHOAL_ERR_USAGE);
        if (!strstr(shoal_error_text(), bad[i][1]))
            fail_msg("no \"%s\" in: %s", bad[i][1], shoal_error_text());
    }
    char *longest = calloc(1, 1 << 16);
    memset(longest, 'a', (1 << 16) - 6);
    strcat(longest, "=mmap");
    assert_int_equal(shoal_offload_mark(o->manifest, longest, &streams), SHOAL_ERR_USAGE);
    free(longest);
    close_model(o);
}

/* A tied lm_head that is float serves as embedding: it stays. */
static void test_tied(void **state)
{
    (void)state;
    shoal_recipe recipe = experts;
    recipe.tied = true;
    opened *o = open_model(&recipe, 1);
    bool streams;
    must(shoal_offload_mark(o->manifest, "mmap", &streams));
    assert_int_equal(placed(o, -1, SHOAL_ROLE_LM_HEAD), SHOAL_PLACED_HOST);
    assert_int_equal(shoal_offload_mark(o->manifest, "lm_head=mmap", &streams), SHOAL_ERR_USAGE);
    close_model(o);
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* `streamed` of `layers` layers, spread evenly: no stretch of streams has two more than another of
 * its length. */
static void test_spread(void **state)
{
    (void)state;
    for (int64_t places = 2; places <= 12; places++)
        for (int64_t streamed = 0; streamed <= places; streamed++) {
            int64_t count = 0;
            for (int64_t p = 0; p < places; p++)
                count += shoal_offload_is_streamed(p, places, streamed);
            assert_int_equal(count, streamed);
            assert_int_equal(shoal_offload_is_streamed(places - 1, places, streamed),
                             streamed == places);
            for (int64_t length = 1; length < places; length++) {
                int64_t least = places, most = 0;
                for (int64_t begin = 0; begin + length < places; begin++) {
                    int64_t in = 0;
                    for (int64_t p = begin; p < begin + length; p++)
                        in += shoal_offload_is_streamed(p, places, streamed);
                    least = in < least ? in : least;
                    most = in > most ? in : most;
                }
                assert_true(most <= least + 1);
            }
        }
}

/* Held bytes, counted one by one. */
static uint64_t held(const shoal_offload_costs *c, int64_t streamed)
{
    uint64_t fixed = c->held, largest = 0;
    for (int64_t p = 0; p < c->places; p++) {
        const bool goes = shoal_offload_is_streamed(p, c->places, streamed);
        const uint64_t buffer = c->chosen[p] + (goes ? c->free[p] : 0);
        fixed -= goes ? c->free[p] : 0;
        largest = buffer > largest ? buffer : largest;
    }
    return fixed + largest;
}

/* Every assignment of small costs to 4 places, every room: the fewest that fit, or all. */
static void test_decisions(void **state)
{
    (void)state;
    enum { PLACES = 4 };
    for (unsigned code = 0; code < 1u << (4 * PLACES); code++) {
        uint64_t chosen[PLACES], free_bytes[PLACES], sum = 3;
        for (unsigned p = 0; p < PLACES; p++) {
            static const uint64_t sizes[] = {0, 1, 2, 5};
            chosen[p] = sizes[code >> (4 * p) & 3u];
            free_bytes[p] = sizes[code >> (4 * p + 2) & 3u];
            sum += free_bytes[p];
        }
        const shoal_offload_costs c = {sum, PLACES, chosen, free_bytes};
        for (int64_t s = 0; s <= PLACES; s++) {
            assert_int_equal(shoal_offload_held(&c, s), held(&c, s));
            assert_true(held(&c, PLACES) <= held(&c, s));
        }
        for (uint64_t room = 0; room <= sum + 6; room++) {
            const int64_t got = shoal_offload_decide(&c, room);
            assert_true(got == PLACES || held(&c, got) <= room);
            for (int64_t fewer = 0; fewer < got; fewer++)
                assert_true(held(&c, fewer) > room);
        }
    }
}

/* ---- plan and budget ------------------------------------------------------------------------- */

static shoal_weight_bytes weigh(const opened *o, int rank)
{
    shoal_weight_bytes b;
    must(shoal_budget_weights(&o->slicing, rank, &b));
    return b;
}

/* For every number of layers that a rank streams: what is held and streamed together is what was
 * held, but for the buffer; what is read stays the same; the plan finds this number from the bytes
 * it needs, and the next from one byte less. */
static void test_budget(void **state)
{
    (void)state;
    opened *o = open_model(&experts, 3);
    bool streams;
    for (int rank = 0; rank < 3; rank++) {
        must(shoal_offload_mark(o->manifest, "mmap", &streams));
        o->plan.rank[rank].streamed = 0;
        const shoal_weight_bytes none = weigh(o, rank);
        assert_int_equal(none.streamed, 0);
        assert_int_equal(none.buffer, 0);
        uint64_t before = UINT64_MAX;
        for (int64_t streamed = 0; streamed <= LAYERS + 1; streamed++) {
            int64_t planned;
            o->plan.rank[rank].streamed = streamed;
            const shoal_weight_bytes b = weigh(o, rank);
            assert_int_equal(b.held - b.buffer + b.streamed, none.held);
            assert_int_equal(b.read, none.read);
            assert_int_equal(b.linears.host + b.linears.streamed, none.linears.host);
            o->plan.rank[rank].streamed = 0;
            must(shoal_offload_plan(&o->slicing, rank, b.held, &planned));
            assert_true(planned <= streamed);
            if (b.held < before)
                assert_int_equal(planned, streamed);
            before = b.held < before ? b.held : before;
        }
        o->plan.rank[rank].streamed = LAYERS + 1;
        const shoal_weight_bytes all = weigh(o, rank);
        assert_int_equal(all.linears.host, 0);
        assert_true(all.buffer < all.streamed);
        o->plan.rank[rank].streamed = 0;
        int64_t planned;
        must(shoal_offload_plan(&o->slicing, rank, 0, &planned));
        assert_int_equal(planned, LAYERS + 1);

        must(shoal_offload_mark(o->manifest, "down_proj=mmap,k_proj=pinned", &streams));
        const shoal_weight_bytes some = weigh(o, rank);
        assert_int_equal(some.linears.pinned, LAYERS);
        assert_int_equal(some.linears.streamed, 2 + (LAYERS - 2) * 4);
        assert_int_equal(some.held - some.buffer + some.streamed, none.held);
    }
    close_model(o);
}

/* A limit that not even streaming meets says what would, and that is true. */
static void test_refusal(void **state)
{
    (void)state;
    opened *o = open_model(&experts, 1);
    shoal_budget *budget = calloc(1, sizeof *budget);
    bool streams;
    assert_non_null(budget);
    must(shoal_offload_mark(o->manifest, "mmap", &streams));
    shoal_budget_request request = {.slicing = o->slicing, .kv = SHOAL_KV_F16, .context = 64};
    o->plan.rank[0].streamed = LAYERS + 1;
    must(shoal_budget_make(&request, budget));
    request.memory = budget->memory_needed - 1;
    must(shoal_budget_make(&request, budget));
    assert_int_equal(shoal_budget_check(&request, budget), SHOAL_ERR_NOFIT);
    char expected[64];
    snprintf(expected, sizeof expected, "--memory %llu", (unsigned long long)budget->memory_needed);
    assert_non_null(strstr(shoal_error_text(), expected));
    assert_non_null(strstr(shoal_error_text(), "-n 2"));
    request.memory++;
    must(shoal_budget_make(&request, budget));
    must(shoal_budget_check(&request, budget));
    free(budget);
    close_model(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec),   cmocka_unit_test(test_tied),
        cmocka_unit_test(test_spread), cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_budget), cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
